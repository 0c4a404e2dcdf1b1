//! Quantization schemes: weights to codes and scales, and back.

#![allow(clippy::inline_always, reason = "loops must be inlined into the function compiled for an instruction set")]

mod codebook;
mod damage;
mod float8;
mod ggml;
mod hqq;
mod integer;
mod microscaling;
mod mlx;
mod naive;
mod quantized;
mod recipe;
mod registry;
mod rounding;
mod scheme;
mod torch_sum;

pub use codebook::{Block4, Dynamic8, DynamicSearch, Map4};
pub use damage::Damage;
pub use float8::{Extent, Float8};
pub use ggml::{BlockType, GgmlType, IqType};
pub use hqq::Hqq;
pub use integer::{Group, Integers, Spread};
pub use microscaling::{Element, Microscaling, Nvfp4, ScaleRule};
pub use naive::{Arithmetic, NaiveGrid, Range, WholeLevels};
pub use quantized::Quantized;
pub use recipe::{FileType, ModelTensor, module};
pub use registry::{SchemeInfo, schemes};
pub(crate) use rounding::{SmallFloat, power_of_two};
pub use scheme::{Applied, DEFAULT_LEVELS, Scheme, parse_levels};
