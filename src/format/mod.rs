//! File formats: from bytes to a checked table of contents. Offsets are u64 everywhere: a browser's `usize` has 32 bits,
//! model files have 5 GB.

mod model;
mod safetensors;
mod shards;

pub use self::model::{Model, ModelBuilder, ModelFile, TensorEntry};
pub use self::safetensors::{Header, MAX_HEADER_BYTES, TensorInfo, header_len, parse_header};
pub use self::shards::{ShardIndex, is_index_name, parse_index};
