//! From codes, scales and zeros to the weights of a window, each with the roundings of the tool that made them.

use std::ops::Range;

use super::bits::{code, code_down};
use super::tables::{Tables, awq_code, within};
use super::{Layout, Packed, TensorScale};
use crate::error::Result;
use crate::format::tensor::TensorInfo;
use crate::format::window::Window;
use crate::quant::{SmallFloat, power_of_two};
use crate::tensor::{Dtype, Rounding, decode_f32};

/// A window of a weight `[height, width]`, and what it is decoded from.
struct Part<'a> {
    codes: &'a [u8],
    pieces: Vec<&'a [u8]>,
    tables: &'a Tables,
    /// Of what the scales round to.
    rounding: Rounding,
    height: usize,
    width: usize,
    rows: Range<usize>,
    cols: Range<usize>,
}

pub(super) fn decode(
    packed: &Packed,
    info: &TensorInfo,
    bytes: &[u8],
    tables: &Tables,
    window: &Window,
    out: &mut [f32],
) -> Result<()> {
    let (codes, pieces) = packed.split(info, bytes);
    let width = info.shape.last().copied().unwrap_or(1) as usize;
    let height = info.elements().checked_div(width as u64).unwrap_or(0) as usize;
    let Window { rows, cols, .. } = window.clone();
    let rounding = packed.pieces.first().map_or(Rounding::None, |piece| Rounding::of(piece.dtype));
    let part = Part { codes, pieces, tables, rounding, height, width, rows, cols };
    match packed.layout {
        Layout::Gptq { bits, .. } => part.gptq(bits, out),
        Layout::Awq { group } => part.awq(within(group, width), out),
        Layout::AwqRows { group } => part.awq_rows(within(group, width), out),
        Layout::Bnb4 { block, .. } => part.bnb4(within(block, height * width), out),
        Layout::LlmInt8 => part.llm_int8(out),
        Layout::Ints { bits, .. } => part.ints(bits, out),
        Layout::Bytes { dtype, rows, cols, .. } => {
            return part.bytes(dtype, within(rows, height), within(cols, width), out);
        }
        Layout::Mxfp4 => part.small_floats(32, exponent, Rounding::None, out),
        Layout::Nvfp4 { tensor_scale } => part.nvfp4(tensor_scale, Rounding::of(info.dtype), out),
        Layout::Mlx { bits, group } => part.mlx(bits, within(group, width), out),
        Layout::Mxfp8 => return part.mxfp8(out),
    }
    Ok(())
}

/// `2^(code - 127)`; 255 is no number.
fn exponent(code: u8) -> f32 {
    if code == u8::MAX { f32::NAN } else { power_of_two(i32::from(code) - 127) }
}

/// The stretches of a range that lie within one group of `size` each: the group and the stretch.
fn in_groups(range: Range<usize>, size: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let (group, start) = (next / size, next);
        next = range.end.min((group + 1) * size);
        (start < next).then_some((group, start..next))
    })
}

impl Part<'_> {
    /// The window's rows, each with its place in the output.
    fn lines<'o>(&self, out: &'o mut [f32]) -> impl Iterator<Item = (usize, &'o mut [f32])> + use<'o> {
        self.rows.clone().zip(out.chunks_exact_mut(self.cols.len().max(1)))
    }

    /// A row's columns in groups of `size`: the group in the row, the stretch, and its place in the output.
    fn stretches<'o>(
        &self,
        mut out: &'o mut [f32],
        size: usize,
    ) -> impl Iterator<Item = (usize, Range<usize>, &'o mut [f32])> + use<'o> {
        in_groups(self.cols.clone(), size).map(move |(group, stretch)| {
            let (own, rest) = std::mem::take(&mut out).split_at_mut(stretch.len());
            out = rest;
            (group, stretch, own)
        })
    }

    /// Columns at a time, so that codes which run down the columns stay in the processor's cache: `weight(row, col)` for each.
    fn in_blocks(&self, out: &mut [f32], weight: impl Fn(usize, usize) -> f32) {
        const BLOCK: usize = 64;
        for cols in self.cols.clone().step_by(BLOCK).map(|first| first..self.cols.end.min(first + BLOCK)) {
            for (row, out) in self.lines(out) {
                for (out, col) in out[cols.start - self.cols.start..].iter_mut().zip(cols.clone()) {
                    *out = weight(row, col);
                }
            }
        }
    }

    /// `(code - zero) * scale`, codes down the columns, scales `[groups, rows]`.
    fn gptq(&self, bits: u8, out: &mut [f32]) {
        let Tables { scales, zeros, groups, .. } = self.tables;
        self.in_blocks(out, |row, col| {
            let at = groups[col] as usize * self.height + row;
            let code = code_down(self.codes, self.height, row, col * usize::from(bits), bits);
            (f32::from(code) - zeros[at]) * scales[at]
        });
    }

    /// As GPTQ, but codes along the rows of the transpose.
    fn awq(&self, group: usize, out: &mut [f32]) {
        let Tables { scales, zeros, .. } = self.tables;
        self.in_blocks(out, |row, col| {
            let at = col / group * self.height + row;
            (awq_code(self.codes, self.height, col, row) - zeros[at]) * scales[at]
        });
    }

    /// Codes along rows, zeros and scales of each row's groups.
    fn awq_rows(&self, group: usize, out: &mut [f32]) {
        let (across, row_bytes) = (self.tables.scales.len() / self.height, self.width / 2);
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            for (index, cols, out) in self.stretches(out, group) {
                let (zero, scale) = self.zero_and_scale(row * across + index);
                for (out, col) in out.iter_mut().zip(cols) {
                    *out = (f32::from(code(codes, 4 * col, 4)) - zero) * scale;
                }
            }
        }
    }

    fn zero_and_scale(&self, at: usize) -> (f32, f32) {
        (self.tables.zeros.get(at).copied().unwrap_or(0.0), self.tables.scales[at])
    }

    /// A map's values times the scale of their block, whatever the rows. (At work the tool rounds them to the model's dtype.)
    fn bnb4(&self, block: usize, out: &mut [f32]) {
        let Tables { scales, map, .. } = self.tables;
        for (row, out) in self.lines(out) {
            let first = row * self.width + self.cols.start;
            for (index, place) in in_groups(first..first + out.len(), block) {
                for (i, out) in place.clone().zip(&mut out[place.start - first..]) {
                    let byte = self.codes[i / 2];
                    let code = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
                    *out = map[usize::from(code)] * scales[index];
                }
            }
        }
    }

    fn llm_int8(&self, out: &mut [f32]) {
        // 1 / 127 in f32: the tool multiplies with it, after the scale.
        const STEP: f32 = 7.874_016e-3;
        for (row, out) in self.lines(out) {
            let scale = self.tables.scales[row];
            for (out, code) in out.iter_mut().zip(self.bytes_of(row)) {
                *out = f32::from(*code as i8) * scale * STEP;
            }
        }
    }

    /// The window's codes of a row, of a byte each.
    fn bytes_of(&self, row: usize) -> &[u8] {
        &self.codes[row * self.width..][self.cols.clone()]
    }

    /// Codes along rows of whole words; zeros and scales `[rows, groups]`.
    fn ints(&self, bits: u8, out: &mut [f32]) {
        let Tables { scales, zeros, groups, .. } = self.tables;
        let (count, row_bytes) = (scales.len() / self.height, self.codes.len() / self.height);
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            let (scales, zeros) = (&scales[row * count..][..count], &zeros[row * count..][..count]);
            for (out, col) in out.iter_mut().zip(self.cols.clone()) {
                let group = groups[col] as usize;
                let code = code(codes, col * usize::from(bits), bits);
                *out = self.rounding.apply((f32::from(code) - zeros[group]) * scales[group]);
            }
        }
    }

    /// Integers or floats of a byte, with a scale for a block of rows and columns.
    fn bytes(&self, dtype: Dtype, block_rows: usize, block_cols: usize, out: &mut [f32]) -> Result<()> {
        let across = self.width.div_ceil(block_cols);
        for (row, out) in self.lines(out) {
            decode_f32(dtype, self.bytes_of(row), out)?;
            for (index, _, out) in self.stretches(out, block_cols) {
                let (zero, scale) = self.zero_and_scale(row / block_rows * across + index);
                for out in out {
                    *out = self.rounding.apply((*out - zero) * scale);
                }
            }
        }
        Ok(())
    }

    /// Pairs of E2M1, the first in the low nibble, times what `scale` makes of a byte for each `group`.
    fn small_floats(&self, group: usize, scale: impl Fn(u8) -> f32, rounding: Rounding, out: &mut [f32]) {
        let elements: [f32; 16] = std::array::from_fn(|code| SmallFloat::E2M1.decode(code as u8));
        let (across, row_bytes) = (self.width / group, self.width / 2);
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            for (index, cols, out) in self.stretches(out, group) {
                let scale = scale(self.pieces[0][row * across + index]);
                for (pair, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(&codes[cols.start / 2..]) {
                    *pair = [code & 15, code >> 4].map(|code| rounding.apply(elements[usize::from(code)] * scale));
                }
            }
        }
    }

    fn nvfp4(&self, tensor_scale: TensorScale, rounding: Rounding, out: &mut [f32]) {
        let scale = |code| SmallFloat::E4M3.decode(code);
        let whole = self.tables.map.first().copied().unwrap_or(1.0);
        match tensor_scale {
            TensorScale::None => self.small_floats(16, scale, rounding, out),
            TensorScale::Divides => self.small_floats(16, |code| scale(code) / whole, rounding, out),
            TensorScale::Multiplies => self.small_floats(16, |code| scale(code) * whole, rounding, out),
        }
    }

    /// `code * scale + bias`, each step rounded to the model's dtype.
    fn mlx(&self, bits: u8, group: usize, out: &mut [f32]) {
        let (across, row_bytes) = (self.width / group, self.codes.len() / self.height);
        let mut values = [0.0; 256];
        let values = &mut values[..1 << bits];
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            for (index, cols, out) in self.stretches(out, group) {
                let (bias, scale) = self.zero_and_scale(row * across + index);
                let weight = |code: usize| self.rounding.apply(self.rounding.apply(code as f32 * scale) + bias);
                let codes = cols.map(|col| usize::from(code(codes, col * usize::from(bits), bits)));
                // Roundings take longer than all else: one for each code where these are fewer than weights.
                if values.len() < out.len() {
                    values.iter_mut().enumerate().for_each(|(code, value)| *value = weight(code));
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out = values[code]);
                } else {
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out = weight(code));
                }
            }
        }
    }

    fn mxfp8(&self, out: &mut [f32]) -> Result<()> {
        let across = self.width / 32;
        for (row, out) in self.lines(out) {
            decode_f32(Dtype::F8_E4M3, self.bytes_of(row), out)?;
            for (index, _, out) in self.stretches(out, 32) {
                let scale = exponent(self.pieces[0][row * across + index]);
                for out in out {
                    *out *= scale;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_end_with_their_groups() {
        let found = |range, size| in_groups(range, size).collect::<Vec<_>>();
        assert_eq!(found(5..17, 8), [(0, 5..8), (1, 8..16), (2, 16..17)]);
        assert_eq!((found(8..16, 8), found(3..4, 100)), (vec![(1, 8..16)], vec![(0, 3..4)]));
        assert!(found(4..4, 2).is_empty());
    }
}
