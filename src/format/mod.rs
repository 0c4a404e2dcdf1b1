//! File formats: from bytes to a checked table of contents, and from a tensor's bytes to its values. Offsets are u64
//! everywhere: a browser's `usize` has 32 bits, model files have 5 GB.

mod archive;
mod deflate;
mod gguf;
mod model;
mod numpy;
mod packed;
mod pickle;
mod pytorch;
mod reader;
mod safetensors;
mod shards;
mod tensor;
mod window;
mod zip;

pub use self::model::{Model, ModelBuilder, ModelFile, Part, TensorEntry};
pub use self::packed::{Config, Packed};
pub use self::reader::{Contents, FileReader};
pub use self::safetensors::{MAX_HEADER_BYTES, header_len, parse_header};
pub use self::shards::{CountedName, ShardIndex, is_index_name, parse_index, shard_of};
pub use self::tensor::{FileFormat, Header, Storage, TensorInfo};
pub use self::window::{StoredTensor, Window};
