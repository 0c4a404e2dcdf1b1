//! Checkpoints that are quantized already: a weight is a tensor of codes and, in tensors of their own, scales, zero points
//! and the like. Recognised by what is there; where that leaves a doubt, by the model's `config.json`.

mod bits;
mod bytes;
mod codes;
mod config;
mod decode;
mod recognise;
mod tables;
mod words;

use std::fmt;

use safetensors::Dtype;

pub use self::config::Config;
pub(super) use self::recognise::assemble;
pub(super) use self::tables::Tables;
use super::model::Part;
use super::tensor::TensorInfo;
use super::window::Window;
use crate::error::Result;

/// A tensor that belongs to another one's codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    part: Part,
    dtype: Dtype,
    shape: Vec<u64>,
}

/// How a weight is packed, and where what belongs to its codes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    layout: Layout,
    pieces: Vec<Piece>,
}

/// The ways of packing. Behind each its pieces, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Zeros, scales, and the group of each column if `has_groups`. The stored zero is `offset` less than the zero.
    Gptq { bits: u8, offset: u8, group: u64, has_groups: bool },
    /// Zeros, scales.
    Awq { group: u64 },
    /// The same, neither transposed nor interleaved (GEMV): rows of zeros and scales may be longer than there are groups.
    AwqRows { group: u64 },
    /// Scales, the map of codes; with nested scales also their scales and their map.
    Bnb4 { is_nf4: bool, block: u64, nested: Option<Nested> },
    /// The largest magnitude of each row.
    LlmInt8,
    /// compressed-tensors' packed integers: scales, zeros if there are any, the group of each column if `has_groups`.
    Ints { bits: u8, has_zeros: bool, has_groups: bool, group: u64 },
    /// A code a byte, with a scale a block of rows and columns: scales, zeros if there are any.
    Bytes { dtype: Dtype, rows: u64, cols: u64, has_zeros: bool },
    /// E2M1 and a power of two for 32: scales.
    Mxfp4,
    /// E2M1 and an E4M3 for 16: scales, then the tensor's scale if there is one.
    Nvfp4 { tensor_scale: TensorScale },
    /// Scales, biases.
    Mlx { bits: u8, group: u64 },
    /// E4M3 and a power of two for 32: scales.
    Mxfp8,
}

/// Scales of scales, as bitsandbytes has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nested {
    block: u64,
    /// Bits of the f32 that is added.
    offset: u32,
}

/// What NVFP4's scale of the whole tensor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TensorScale {
    None,
    /// compressed-tensors.
    Divides,
    /// ModelOpt.
    Multiplies,
}

impl Packed {
    /// Where its pieces are, in the order in which [`TensorInfo::decode`] takes them.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.pieces.iter().map(|piece| piece.part)
    }

    /// See [`TensorInfo::decode`]: all lengths are right.
    pub(super) fn decode(&self, info: &TensorInfo, bytes: &[u8], out: &mut [f32]) -> Result<()> {
        let cols = info.shape.last().copied().unwrap_or(1) as usize;
        let rows = out.len().checked_div(cols).unwrap_or(0);
        let window = Window { rows: 0..rows, cols: 0..cols, position: 0 };
        self.decode_window(info, bytes, &self.tables(info, bytes)?, &window, out)
    }

    /// The weights of a window within `[rows, cols]`, the columns being the last dimension, row-major. Groups of columns may be
    /// cut anywhere, pairs of codes in a byte see [`Packed::columns_together`].
    pub(super) fn decode_window(
        &self,
        info: &TensorInfo,
        bytes: &[u8],
        tables: &Tables,
        window: &Window,
        out: &mut [f32],
    ) -> Result<()> {
        decode::decode(self, info, bytes, tables, window, out)
    }

    /// What all windows of a weight need.
    ///
    /// # Errors
    /// [`crate::Error::Format`] if what is stored makes no sense.
    pub(super) fn tables(&self, info: &TensorInfo, bytes: &[u8]) -> Result<Tables> {
        Tables::new(self, info, bytes)
    }

    /// Bytes that these tables take.
    pub(super) fn table_bytes(&self, info: &TensorInfo) -> u64 {
        tables::bytes(self, info)
    }

    /// Columns that have to be decoded together.
    pub(super) fn columns_together(&self) -> usize {
        if matches!(self.layout, Layout::Mxfp4 | Layout::Nvfp4 { .. }) { 2 } else { 1 }
    }

    /// Its codes, and its pieces, among the bytes of all of them.
    fn split<'a>(&self, info: &TensorInfo, bytes: &'a [u8]) -> (&'a [u8], Vec<&'a [u8]>) {
        let (codes, mut bytes) = bytes.split_at((info.end - info.begin) as usize);
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for part in self.parts() {
            let piece;
            (piece, bytes) = bytes.split_at((part.end - part.begin) as usize);
            pieces.push(piece);
        }
        (codes, pieces)
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layout {
            Layout::Gptq { bits, group, .. } => write!(f, "GPTQ {bits}-bit g{group}"),
            Layout::Awq { group } | Layout::AwqRows { group } => write!(f, "AWQ 4-bit g{group}"),
            Layout::Bnb4 { is_nf4, block, nested } => {
                let (name, nested) = (if is_nf4 { "NF4" } else { "FP4" }, if nested.is_some() { " dq" } else { "" });
                write!(f, "{name} b{block}{nested}")
            }
            Layout::LlmInt8 => f.write_str("LLM.int8"),
            Layout::Ints { bits, group, .. } => write!(f, "INT{bits} g{group}"),
            Layout::Bytes { dtype, rows, cols, .. } => {
                let name = if dtype == Dtype::I8 { "INT8".to_owned() } else { dtype.to_string() };
                write!(f, "{name} {rows}x{cols}")
            }
            Layout::Mxfp4 => f.write_str("MXFP4"),
            Layout::Mxfp8 => f.write_str("MXFP8"),
            Layout::Nvfp4 { .. } => f.write_str("NVFP4"),
            Layout::Mlx { bits, group } => write!(f, "MLX {bits}-bit g{group}"),
        }
    }
}
