//! Quantization schemes: weights to codes and scales, and back.

mod damage;
mod integer;
mod scheme;

pub use damage::Damage;
pub use integer::{Arithmetic, NaiveGrid, Range};
pub use scheme::{DEFAULT_LEVELS, Scheme, parse_levels};
