//! From codes, scales and zeros to weights, each with the roundings of the tool that made them.

use super::bits::{code, code_down};
use super::{Layout, Nested, Packed, Piece, TensorScale};
use crate::error::{Error, Result, quoted};
use crate::format::tensor::TensorInfo;
use crate::quant::{SmallFloat, power_of_two};
use crate::tensor::{Dtype, Rounding, decode_f32};

/// A weight's pieces with their bytes.
struct Source<'a> {
    packed: &'a Packed,
    name: &'a str,
    codes: &'a [u8],
    rest: Vec<&'a [u8]>,
    rows: usize,
    cols: usize,
}

pub(super) fn decode(packed: &Packed, info: &TensorInfo, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    let (codes, mut bytes) = bytes.split_at((info.end - info.begin) as usize);
    let mut rest = Vec::with_capacity(packed.pieces.len());
    for part in packed.parts() {
        let piece;
        (piece, bytes) = bytes.split_at((part.end - part.begin) as usize);
        rest.push(piece);
    }
    let cols = info.shape.last().copied().unwrap_or(1) as usize;
    let source = Source { packed, name: &info.name, codes, rest, rows: out.len() / cols.max(1), cols };
    match packed.layout {
        Layout::Gptq { bits, offset, group, has_groups } => source.gptq(bits, offset, group, has_groups, out),
        Layout::Awq { group } => source.awq(within(group, cols), out),
        Layout::AwqRows { group } => source.awq_rows(within(group, cols), out),
        Layout::Bnb4 { block, nested, .. } => source.bnb4(within(block, out.len()), nested, out),
        Layout::LlmInt8 => source.llm_int8(out),
        Layout::Ints { bits, has_zeros, has_groups, group } => source.ints(bits, has_zeros, has_groups, group, out),
        Layout::Bytes { dtype, rows: block_rows, cols: block_cols, has_zeros } => {
            source.bytes(dtype, within(block_rows, source.rows), within(block_cols, cols), has_zeros, out)
        }
        Layout::Mxfp4 => {
            source.small_floats(32, exponent, Rounding::None, out);
            Ok(())
        }
        Layout::Nvfp4 { tensor_scale } => source.nvfp4(tensor_scale, info.dtype, out),
        Layout::Mlx { bits, group } => source.mlx(bits, within(group, cols), out),
        Layout::Mxfp8 => source.mxfp8(out),
    }
}

/// The length of a group or block, a number out of a file, among `count` values: a longer one holds all of them, and may not
/// fit into a browser's `usize`.
fn within(length: u64, count: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).clamp(1, count.max(1))
}

/// `2^(code - 127)`; 255 is no number.
fn exponent(code: u8) -> f32 {
    if code == u8::MAX { f32::NAN } else { power_of_two(i32::from(code) - 127) }
}

impl Source<'_> {
    fn piece(&self, index: usize) -> &Piece {
        &self.packed.pieces[index]
    }

    /// A piece's values.
    fn floats(&self, index: usize) -> Result<Vec<f32>> {
        let piece = self.piece(index);
        let mut values = vec![0.0; piece.shape.iter().product::<u64>() as usize];
        decode_f32(piece.dtype, self.rest[index], &mut values)?;
        Ok(values)
    }

    /// The group of every column: a piece's, or one after another.
    fn groups(&self, index: Option<usize>, size: u64, count: usize) -> Result<Vec<usize>> {
        let size = within(size, self.cols);
        let in_order = || (0..self.cols).map(|col| col / size).collect();
        let Some(index) = index else { return Ok(in_order()) };
        // compressed-tensors may leave it unset.
        if self.rest[index].starts_with(&[0xff; 4]) {
            return Ok(in_order());
        }
        let words = self.rest[index].as_chunks().0.iter().map(|word| i32::from_le_bytes(*word));
        let group = |word: i32| usize::try_from(word).ok().filter(|group| *group < count);
        words.map(group).collect::<Option<_>>().ok_or_else(|| {
            Error::Format(format!(
                "tensor {} has columns in groups that do not exist (there are {count}); the file is damaged",
                quoted(self.name)
            ))
        })
    }

    /// `(code - zero) * scale`, codes down the columns, scales `[groups, rows]`.
    fn gptq(&self, bits: u8, offset: u8, group: u64, has_groups: bool, out: &mut [f32]) -> Result<()> {
        /// Columns at a time: a part of the codes that stays in the processor's cache.
        const BLOCK: usize = 64;
        let (rows, cols) = (self.rows, self.cols);
        let scales = self.floats(1)?;
        let groups = self.groups(has_groups.then_some(2), group, scales.len() / rows)?;
        let width = usize::from(bits);
        let zero_bytes = rows * width / 8;
        let zero = |group: usize, row: usize| {
            let stored = code(&self.rest[0][group * zero_bytes..][..zero_bytes], row * width, bits);
            f32::from(stored) + f32::from(offset)
        };
        let zeros: Vec<f32> = (0..scales.len()).map(|i| zero(i / rows, i % rows)).collect();
        for first in (0..cols).step_by(BLOCK) {
            for row in 0..rows {
                for col in first..cols.min(first + BLOCK) {
                    let at = groups[col] * rows + row;
                    let code = code_down(self.codes, rows, row, col * width, bits);
                    out[row * cols + col] = (f32::from(code) - zeros[at]) * scales[at];
                }
            }
        }
        Ok(())
    }

    /// As GPTQ, but codes along the rows of the transpose, eight in an order of their own.
    fn awq(&self, group: usize, out: &mut [f32]) -> Result<()> {
        const ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
        const BLOCK: usize = 64;
        let (rows, cols) = (self.rows, self.cols);
        let scales = self.floats(1)?;
        let nibble = |bytes: &[u8], i: usize, row: usize| {
            let at = 8 * (i * (rows / 8) + row / 8) + ORDER[row % 8];
            f32::from(bytes[at / 2] >> (4 * (at % 2)) & 15)
        };
        for first in (0..cols).step_by(BLOCK) {
            for row in 0..rows {
                for col in first..cols.min(first + BLOCK) {
                    let zero = nibble(self.rest[0], col / group, row);
                    let scale = scales[col / group * rows + row];
                    out[row * cols + col] = (nibble(self.codes, col, row) - zero) * scale;
                }
            }
        }
        Ok(())
    }

    /// Codes along rows, zeros and scales of each row's groups.
    fn awq_rows(&self, group: usize, out: &mut [f32]) -> Result<()> {
        let scales = self.floats(1)?;
        let (across, row_bytes) = (scales.len() / self.rows, self.cols / 2);
        for (row, out) in out.chunks_mut(self.cols).enumerate() {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            let zeros = &self.rest[0][row * across / 2..][..across / 2];
            for (index, out) in out.chunks_mut(group).enumerate() {
                let (zero, scale) = (f32::from(code(zeros, 4 * index, 4)), scales[row * across + index]);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = (f32::from(code(codes, 4 * (index * group + i), 4)) - zero) * scale;
                }
            }
        }
        Ok(())
    }

    /// A map's values times the scale of their block. (At work the tool rounds them to the model's dtype.)
    fn bnb4(&self, block: usize, nested: Option<Nested>, out: &mut [f32]) -> Result<()> {
        let map = self.floats(1)?;
        let mut scales = self.floats(0)?;
        if let Some(Nested { block, offset }) = nested {
            let (outer, outer_map) = (self.floats(2)?, self.floats(3)?);
            let block = within(block, scales.len());
            for (i, scale) in scales.iter_mut().enumerate() {
                let code = usize::from(self.rest[0][i]);
                *scale = outer_map[code] * outer[i / block] + f32::from_bits(offset);
            }
        }
        for (i, out) in out.iter_mut().enumerate() {
            let byte = self.codes[i / 2];
            let code = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
            *out = map[usize::from(code)] * scales[i / block];
        }
        Ok(())
    }

    fn llm_int8(&self, out: &mut [f32]) -> Result<()> {
        // 1 / 127 in f32: the tool multiplies with it, after the scale.
        const STEP: f32 = 7.874_016e-3;
        let scales = self.floats(0)?;
        for ((out, codes), scale) in out.chunks_mut(self.cols).zip(self.codes.chunks(self.cols)).zip(scales) {
            for (out, code) in out.iter_mut().zip(codes) {
                *out = f32::from(*code as i8) * scale * STEP;
            }
        }
        Ok(())
    }

    /// Codes along rows of whole words, raised by half their range; zeros down the columns of `[rows, groups]`.
    fn ints(&self, bits: u8, has_zeros: bool, has_groups: bool, group: u64, out: &mut [f32]) -> Result<()> {
        let width = usize::from(bits);
        let scales = self.floats(0)?;
        let rounding = Rounding::of(self.piece(0).dtype);
        let count = scales.len() / self.rows;
        let groups = self.groups(has_groups.then(|| 1 + usize::from(has_zeros)), group, count)?;
        let half = if has_zeros { 0.0 } else { f32::from(1_u8 << (bits - 1)) };
        let row_bytes = self.codes.len() / self.rows;
        let rows = out.chunks_mut(self.cols).zip(self.codes.chunks(row_bytes)).zip(scales.chunks(count));
        for (row, ((out, codes), scales)) in rows.enumerate() {
            // Both are raised by the same.
            let zero =
                |group| if has_zeros { code_down(self.rest[1], count, group, row * width, bits).into() } else { half };
            let zeros: Vec<f32> = (0..count).map(zero).collect();
            for (col, out) in out.iter_mut().enumerate() {
                let group = groups[col];
                *out = rounding.apply((f32::from(code(codes, col * width, bits)) - zeros[group]) * scales[group]);
            }
        }
        Ok(())
    }

    /// Integers or floats of a byte, with a scale for a block of rows and columns.
    fn bytes(
        &self,
        dtype: Dtype,
        block_rows: usize,
        block_cols: usize,
        has_zeros: bool,
        out: &mut [f32],
    ) -> Result<()> {
        decode_f32(dtype, self.codes, out)?;
        let scales = self.floats(0)?;
        let zeros = if has_zeros { self.floats(1)? } else { Vec::new() };
        let rounding = Rounding::of(self.piece(0).dtype);
        let across = self.cols.div_ceil(block_cols);
        for (row, out) in out.chunks_mut(self.cols).enumerate() {
            for (j, out) in out.chunks_mut(block_cols).enumerate() {
                let at = row / block_rows * across + j;
                let zero = zeros.get(at).copied().unwrap_or(0.0);
                for out in out {
                    *out = rounding.apply((*out - zero) * scales[at]);
                }
            }
        }
        Ok(())
    }

    /// Pairs of E2M1, the first in the low nibble, times what `scale` makes of a byte for each `group`.
    fn small_floats(&self, group: usize, scale: impl Fn(u8) -> f32, rounding: Rounding, out: &mut [f32]) {
        let elements: [f32; 16] = std::array::from_fn(|code| SmallFloat::E2M1.decode(code as u8));
        for ((out, codes), byte) in out.chunks_mut(group).zip(self.codes.chunks(group / 2)).zip(self.rest[0]) {
            let scale = scale(*byte);
            for (pair, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                *pair = [code & 15, code >> 4].map(|code| rounding.apply(elements[usize::from(code)] * scale));
            }
        }
    }

    fn nvfp4(&self, tensor_scale: TensorScale, dtype: Dtype, out: &mut [f32]) -> Result<()> {
        let scale = |code| SmallFloat::E4M3.decode(code);
        let rounding = Rounding::of(dtype);
        if tensor_scale == TensorScale::None {
            self.small_floats(16, scale, rounding, out);
            return Ok(());
        }
        let whole = self.floats(1)?[0];
        match tensor_scale {
            TensorScale::Divides => self.small_floats(16, |code| scale(code) / whole, rounding, out),
            _ => self.small_floats(16, |code| scale(code) * whole, rounding, out),
        }
        Ok(())
    }

    /// `code * scale + bias`, each step rounded to the model's dtype.
    fn mlx(&self, bits: u8, group: usize, out: &mut [f32]) -> Result<()> {
        let (scales, biases) = (self.floats(0)?, self.floats(1)?);
        let rounding = Rounding::of(self.piece(0).dtype);
        let group_bytes = group * usize::from(bits) / 8;
        let groups = out.chunks_mut(group).zip(self.codes.chunks(group_bytes)).zip(scales.iter().zip(&biases));
        for ((out, codes), (scale, bias)) in groups {
            for (i, out) in out.iter_mut().enumerate() {
                let code = f32::from(code(codes, i * usize::from(bits), bits));
                *out = rounding.apply(rounding.apply(code * scale) + bias);
            }
        }
        Ok(())
    }

    fn mxfp8(&self, out: &mut [f32]) -> Result<()> {
        decode_f32(Dtype::F8_E4M3, self.codes, out)?;
        for (out, byte) in out.chunks_mut(32).zip(self.rest[0]) {
            for out in out {
                *out *= exponent(*byte);
            }
        }
        Ok(())
    }
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
