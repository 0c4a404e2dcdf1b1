//! Scales, zeros and maps of a packed weight as numbers: what all its windows need.

use super::bits::{code, code_down};
use super::{Layout, Nested, Packed, Piece, TensorScale};
use crate::error::{Error, Result, quoted};
use crate::format::tensor::TensorInfo;
use crate::quant::{SmallFloat, power_of_two};
use crate::tensor::decode_f32;

/// Numbers beside a weight's codes, each in the order in which it is stored; empty where a layout has none, or reads them a
/// byte at a time.
#[derive(Debug, Default)]
pub struct Tables {
    /// Of the groups or blocks.
    pub(super) scales: Vec<f32>,
    /// In the order of the scales: what is subtracted from a code before, or of MLX added behind.
    pub(super) zeros: Vec<f32>,
    /// The values of the codes, or of the bytes that say scales.
    pub(super) map: Vec<f32>,
    /// The group of every column.
    pub(super) groups: Vec<u32>,
}

/// Bytes of the tables of a weight, at most: scales and zeros of all groups, and the group of each column.
pub(super) fn bytes(packed: &Packed, info: &TensorInfo) -> u64 {
    if matches!(packed.layout, Layout::Mxfp4 | Layout::Nvfp4 { .. }) {
        return 0;
    }
    let groups = packed.pieces.iter().map(|piece| piece.shape.iter().product::<u64>()).max();
    let cols = info.shape.last().copied().unwrap_or(1);
    groups.unwrap_or(0).saturating_mul(2).saturating_add(cols).saturating_mul(4)
}

/// `2^(code - 127)`; 255 is no number.
fn exponent(code: u8) -> f32 {
    if code == u8::MAX { f32::NAN } else { power_of_two(i32::from(code) - 127) }
}

impl Tables {
    pub(super) fn new(packed: &Packed, info: &TensorInfo, bytes: &[u8]) -> Result<Self> {
        let cols = info.shape.last().copied().unwrap_or(1) as usize;
        let rows = info.elements().checked_div(cols as u64).unwrap_or(0) as usize;
        let (_, pieces) = packed.split(info, bytes);
        let stored = Stored { packed, name: &info.name, pieces, rows, cols };
        let mut tables = Self::default();
        match packed.layout {
            Layout::Gptq { group, has_groups, .. } => {
                tables.scales = stored.floats(1)?;
                let count = tables.scales.len() / rows;
                tables.groups = stored.groups(has_groups.then_some(2), group, count)?;
            }
            Layout::Awq { group } | Layout::AwqRows { group } => {
                tables.scales = stored.floats(1)?;
                tables.groups = stored.groups(None, group, 0)?;
            }
            Layout::Bnb4 { nested, .. } => {
                tables.map = stored.floats(1)?;
                tables.scales = stored.bnb_scales(nested)?;
            }
            Layout::LlmInt8 => tables.scales = stored.floats(0)?,
            Layout::Ints { has_zeros, has_groups, group, .. } => {
                tables.scales = stored.floats(0)?;
                let count = tables.scales.len() / rows;
                tables.groups = stored.groups(has_groups.then(|| 1 + usize::from(has_zeros)), group, count)?;
            }
            Layout::Bytes { has_zeros, .. } => {
                tables.scales = stored.floats(0)?;
                tables.zeros = if has_zeros { stored.floats(1)? } else { Vec::new() };
            }
            Layout::Mlx { .. } => (tables.scales, tables.zeros) = (stored.floats(0)?, stored.floats(1)?),
            Layout::Mxfp4 => tables.map = (0..=u8::MAX).map(exponent).collect(),
            Layout::Mxfp8 => tables.scales = stored.pieces[0].iter().map(|code| exponent(*code)).collect(),
            Layout::Nvfp4 { tensor_scale } => {
                let whole = if packed.pieces.len() > 1 { stored.floats(1)?[0] } else { 1.0 };
                // A factor of one changes no bit.
                let scale = |code| match tensor_scale {
                    TensorScale::Divides => SmallFloat::E4M3.decode(code) / whole,
                    TensorScale::Multiplies | TensorScale::None => SmallFloat::E4M3.decode(code) * whole,
                };
                tables.map = (0..=u8::MAX).map(scale).collect();
            }
        }
        if !tables.groups.is_empty() {
            tables.zeros = (0..tables.scales.len()).map(|at| stored.zero(at, tables.scales.len())).collect();
        }
        Ok(tables)
    }
}

/// The pieces of a weight with their bytes.
struct Stored<'a> {
    packed: &'a Packed,
    name: &'a str,
    pieces: Vec<&'a [u8]>,
    rows: usize,
    cols: usize,
}

impl Stored<'_> {
    fn piece(&self, index: usize) -> &Piece {
        &self.packed.pieces[index]
    }

    /// A piece's values.
    fn floats(&self, index: usize) -> Result<Vec<f32>> {
        let piece = self.piece(index);
        let mut values = vec![0.0; piece.shape.iter().product::<u64>() as usize];
        decode_f32(piece.dtype, self.pieces[index], &mut values)?;
        Ok(values)
    }

    /// The group of every column: a piece's, or one after another.
    fn groups(&self, index: Option<usize>, size: u64, count: usize) -> Result<Vec<u32>> {
        let size = within(size, self.cols);
        let in_order = || (0..self.cols).map(|col| (col / size) as u32).collect();
        let Some(index) = index else { return Ok(in_order()) };
        // compressed-tensors may leave it unset.
        if self.pieces[index].starts_with(&[0xff; 4]) {
            return Ok(in_order());
        }
        let words = self.pieces[index].as_chunks().0.iter().map(|word| i32::from_le_bytes(*word));
        let group = |word: i32| u32::try_from(word).ok().filter(|group| (*group as usize) < count);
        words.map(group).collect::<Option<_>>().ok_or_else(|| {
            Error::Format(format!(
                "tensor {} has columns in groups that do not exist (there are {count}); the file is damaged",
                quoted(self.name)
            ))
        })
    }

    /// The zero that goes with the scale at `at` of `count`, where zeros are codes.
    fn zero(&self, at: usize, count: usize) -> f32 {
        let rows = self.rows;
        match self.packed.layout {
            Layout::Gptq { bits, offset, .. } => {
                let (width, bytes) = (usize::from(bits), rows * usize::from(bits) / 8);
                let group = &self.pieces[0][at / rows * bytes..][..bytes];
                f32::from(code(group, at % rows * width, bits)) + f32::from(offset)
            }
            Layout::Awq { .. } => awq_code(self.pieces[0], rows, at / rows, at % rows).into(),
            Layout::Ints { bits, has_zeros: true, .. } => {
                let groups = count / rows;
                code_down(self.pieces[1], groups, at % groups, at / groups * usize::from(bits), bits).into()
            }
            // Codes are raised by half of their range.
            Layout::Ints { bits, .. } => f32::from(1_u8 << (bits - 1)),
            _ => code(self.pieces[0], 4 * at, 4).into(),
        }
    }

    /// Scales of the blocks, which may be codes themselves.
    fn bnb_scales(&self, nested: Option<Nested>) -> Result<Vec<f32>> {
        let mut scales = self.floats(0)?;
        if let Some(Nested { block, offset }) = nested {
            let (outer, outer_map) = (self.floats(2)?, self.floats(3)?);
            let block = within(block, scales.len());
            for (i, scale) in scales.iter_mut().enumerate() {
                let code = usize::from(self.pieces[0][i]);
                *scale = outer_map[code] * outer[i / block] + f32::from_bits(offset);
            }
        }
        Ok(scales)
    }
}

/// AWQ's nibble of row `row` in line `line` of the transpose: eight to a word, in an order of their own.
pub(super) fn awq_code(bytes: &[u8], rows: usize, line: usize, row: usize) -> u8 {
    const ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
    let at = 8 * (line * (rows / 8) + row / 8) + ORDER[row % 8];
    bytes[at / 2] >> (4 * (at % 2)) & 15
}

/// The length of a group or block, a number out of a file, among `count` values: a longer one holds all of them, and may not
/// fit into a browser's `usize`.
pub(super) fn within(length: u64, count: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).clamp(1, count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_stay_within_what_there_is() {
        // 2^32 is 0 in 32 bits; so is what is left of 2^32 + 64, 64.
        assert_eq!([1 << 32, (1 << 32) + 64, u64::MAX].map(|length| within(length, 8192)), [8192; 3]);
        assert_eq!([0, 1, 64, 8192].map(|length| within(length, 8192)), [1, 1, 64, 8192]);
        assert_eq!(within(64, 0), 1);
    }
}
