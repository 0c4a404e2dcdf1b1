//! From codes, scales and zeros to the weights of a window, each with the roundings of the tool that made them.

use std::ops::Range;

use super::bits::{code, code_down};
use super::tables::{Tables, awq_code, within};
use super::{Layout, Packed};
use crate::error::Result;
use crate::format::tensor::TensorInfo;
use crate::format::window::Window;
use crate::quant::SmallFloat;
use crate::tensor::{Dtype, Rounding, decode_f32};

/// A window of a weight `[height, width]`, and what it is decoded from.
struct Part<'a> {
    codes: &'a [u8],
    pieces: Vec<&'a [u8]>,
    tables: &'a Tables,
    /// What its tool rounds weights to.
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
    let rounding = Rounding::of(match packed.layout {
        Layout::Nvfp4 { .. } => info.dtype,
        _ => packed.pieces.first().map_or(info.dtype, |piece| piece.dtype),
    });
    let part = Part { codes, pieces, tables, rounding, height, width, rows, cols };
    match packed.layout {
        Layout::Gptq { bits, .. } => part.down_columns(Some(bits), out),
        Layout::Awq { .. } => part.down_columns(None, out),
        Layout::AwqRows { .. } => part.ints(4, out),
        Layout::Bnb4 { block, .. } => part.bnb4(within(block, height * width), out),
        Layout::LlmInt8 => {
            // 1 / 127 in f32: the tool multiplies with it, after the scale.
            const STEP: f32 = 7.874_016e-3;
            part.bytes(Dtype::I8, 1, width, out)?;
            for out in out {
                *out *= STEP;
            }
        }
        Layout::Ints { bits, .. } => part.ints(bits, out),
        Layout::Bytes { dtype, rows, cols, .. } => {
            part.bytes(dtype, within(rows, height), within(cols, width), out)?;
        }
        Layout::Mxfp4 => part.small_floats(32, out),
        Layout::Nvfp4 { .. } => part.small_floats(16, out),
        Layout::Mlx { bits, group } => part.mlx(bits, within(group, width), out),
        Layout::Mxfp8 => part.bytes(Dtype::F8_E4M3, 1, 32, out)?,
    }
    Ok(())
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

    /// `(code - zero) * scale`, scales `[groups, rows]`: GPTQ's codes of so many bits down the columns, or AWQ's along the rows of
    /// the transpose.
    fn down_columns(&self, bits: Option<u8>, out: &mut [f32]) {
        /// Columns at a time: a part of the codes that stays in the processor's cache.
        const BLOCK: usize = 64;
        let Tables { scales, zeros, groups, .. } = self.tables;
        for cols in self.cols.clone().step_by(BLOCK).map(|first| first..self.cols.end.min(first + BLOCK)) {
            for (row, out) in self.lines(out) {
                for (out, col) in out[cols.start - self.cols.start..].iter_mut().zip(cols.clone()) {
                    let at = groups[col] as usize * self.height + row;
                    let code = match bits {
                        Some(bits) => code_down(self.codes, self.height, row, col * usize::from(bits), bits),
                        None => awq_code(self.codes, self.height, col, row),
                    };
                    *out = (f32::from(code) - zeros[at]) * scales[at];
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
                *out = (f32::from(code) - zeros[group]) * scales[group];
            }
            self.rounding.apply_all(out);
        }
    }

    /// Integers or floats of a byte, with a scale for a block of rows and columns.
    fn bytes(&self, dtype: Dtype, block_rows: usize, block_cols: usize, out: &mut [f32]) -> Result<()> {
        let across = self.width.div_ceil(block_cols);
        for (row, out) in self.lines(out) {
            decode_f32(dtype, &self.codes[row * self.width..][self.cols.clone()], out)?;
            for (index, _, out) in self.stretches(out, block_cols) {
                let (zero, scale) = self.zero_and_scale(row / block_rows * across + index);
                for out in out {
                    *out = (*out - zero) * scale;
                }
            }
            self.rounding.apply_all(out);
        }
        Ok(())
    }

    /// Pairs of E2M1, the first in the low nibble, times the scale that a byte for each `group` says.
    fn small_floats(&self, group: usize, out: &mut [f32]) {
        let elements: [f32; 16] = std::array::from_fn(|code| SmallFloat::E2M1.decode(code as u8));
        let row_bytes = self.width / 2;
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            for (index, cols, out) in self.stretches(out, group) {
                let scale = self.tables.map[usize::from(self.pieces[0][row * (self.width / group) + index])];
                for (pair, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(&codes[cols.start / 2..]) {
                    *pair = [code & 15, code >> 4].map(|code| elements[usize::from(code)] * scale);
                }
            }
            self.rounding.apply_all(out);
        }
    }

    /// `code * scale + bias`, each step rounded to the model's dtype.
    fn mlx(&self, bits: u8, group: usize, out: &mut [f32]) {
        let row_bytes = self.codes.len() / self.height;
        let mut values = [0.0; 256];
        let values = &mut values[..1 << bits];
        for (row, out) in self.lines(out) {
            let codes = &self.codes[row * row_bytes..][..row_bytes];
            for (index, cols, out) in self.stretches(out, group) {
                let at = row * (self.width / group) + index;
                let codes = cols.map(|col| code(codes, col * usize::from(bits), bits));
                // Roundings take longer than all else: one for each code where these are fewer than weights.
                if values.len() < out.len() {
                    values.iter_mut().enumerate().for_each(|(code, value)| *value = code as f32);
                    self.affine(at, values);
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out = values[usize::from(code)]);
                } else {
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out = code.into());
                    self.affine(at, out);
                }
            }
        }
    }

    #[inline(never)]
    fn affine(&self, at: usize, values: &mut [f32]) {
        let (bias, scale) = self.zero_and_scale(at);
        for value in values.iter_mut() {
            *value *= scale;
        }
        self.rounding.apply_all(values);
        for value in values.iter_mut() {
            *value += bias;
        }
        self.rounding.apply_all(values);
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
