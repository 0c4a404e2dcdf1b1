//! Integers of 2 to 8 bits with a scale (and zero point) a row or a group of columns.

use super::quantized::{Quantized, Quantizer};
use super::rounding::{abs_max, half_even, min_max};

/// How a group's codes are spread. `b` bits; `q` codes, `s` scale, `z` zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spread {
    /// `s = max|w| / (2^(b-1) - 1)`, codes around zero; the lowest is never reached.
    Symmetric,
    /// `s = max|w| / ((2^b - 1) / 2)`: all `2^b` codes, so that the largest positive weight is half a step off. The
    /// symmetric grid of compressed-tensors and GPTQ.
    SymmetricFull,
    /// `s = (max - min) / (2^b - 1)`, `z = round(-min / s)`; zero need not be in the range.
    Asymmetric,
    /// As `Asymmetric` over a range that zero is in. The asymmetric grid of GPTQ.
    AsymmetricZero,
    /// The same with codes from `-2^(b-1)` on and `q = round(w / s + z)`, where the sum can make a tie. compressed-tensors'.
    AsymmetricSigned,
    /// AWQ's: as `Asymmetric`, but the zero point is itself a code and the range at least 1e-5.
    Awq,
}

/// Columns that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// All of a row.
    Row,
    /// That many neighbouring columns.
    Columns(u16),
}

/// Integers in groups. Scales stay f32 and unrounded; codes of the symmetric spreads are signed.
///
/// `w' = q * s` or `(q - z) * s`, with `q = clamp(round(w / s), -2^(b-1), 2^(b-1) - 1)` or
/// `clamp(round(w / s) + z, 0, 2^b - 1)`; rounding is half to even. A group without a scale (all zero, or constant) becomes
/// zero, of [`Spread::Asymmetric`] its constant.
///
/// # Source
/// `SymmetricFull` and `AsymmetricSigned` equal compressed-tensors 0.20.0 bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Integers {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// How the codes are spread.
    pub spread: Spread,
    /// Who shares a scale.
    pub group: Group,
}

impl Integers {
    #[inline(always)]
    fn group_len(self, cols: usize) -> usize {
        match self.group {
            Group::Row => cols,
            Group::Columns(count) => usize::from(count),
        }
    }

    /// Whether codes are two's complement.
    #[inline(always)]
    pub fn is_signed(self) -> bool {
        matches!(self.spread, Spread::Symmetric | Spread::SymmetricFull | Spread::AsymmetricSigned)
    }

    /// Whether groups have zero points.
    #[inline(always)]
    pub fn has_zero(self) -> bool {
        !matches!(self.spread, Spread::Symmetric | Spread::SymmetricFull)
    }

    #[inline(always)]
    fn scale_and_zero(self, group: &[f32]) -> (f32, f32) {
        let levels = f32::from((1_u16 << self.bits) - 1);
        match self.spread {
            Spread::Symmetric => (abs_max(group) / f32::from((1_u16 << (self.bits - 1)) - 1), 0.0),
            Spread::SymmetricFull => (abs_max(group) / (levels / 2.0), 0.0),
            Spread::Asymmetric => {
                let (min, max) = min_max(group);
                let scale = (max - min) / levels;
                // Without a scale, the constant itself.
                (scale, if scale > 0.0 { half_even(-min / scale) } else { min })
            }
            Spread::AsymmetricZero => {
                let (min, max) = min_max(group);
                let scale = (max.max(0.0) - min.min(0.0)) / levels;
                (scale, if scale > 0.0 { half_even(-min.min(0.0) / scale) } else { 0.0 })
            }
            Spread::AsymmetricSigned => {
                let (min, max) = min_max(group);
                let scale = (max.max(0.0) - min.min(0.0)) / levels;
                let half = f32::from(1_u16 << (self.bits - 1));
                (
                    scale,
                    if scale > 0.0 { half_even((-half - min.min(0.0) / scale).clamp(-half, half - 1.0)) } else { 0.0 },
                )
            }
            Spread::Awq => {
                let (min, max) = min_max(group);
                let scale = (max - min).max(1e-5) / levels;
                (scale, (-half_even(min / scale)).clamp(0.0, levels))
            }
        }
    }
}

impl Quantizer for Integers {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], cols: usize) -> Quantized {
        let group_len = self.group_len(cols);
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        for (group, codes) in weights.chunks(group_len).zip(quantized.codes.chunks_mut(group_len)) {
            let (scale, zero) = self.scale_and_zero(group);
            quantized.scales.push(scale);
            if self.has_zero() {
                quantized.zeros.push(zero);
            }
            if is_without_scale(scale) {
                continue;
            }
            if self.is_signed() {
                let half = f32::from(1_u16 << (self.bits - 1));
                for (code, w) in codes.iter_mut().zip(group) {
                    *code = to_int(half_even(w / scale + zero).clamp(-half, half - 1.0));
                }
            } else {
                let highest = f32::from((1_u16 << self.bits) - 1);
                for (code, w) in codes.iter_mut().zip(group) {
                    *code = to_int((half_even(w / scale) + zero).clamp(0.0, highest));
                }
            }
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, cols: usize, out: &mut [f32]) {
        let group_len = self.group_len(cols);
        let groups = out.chunks_mut(group_len).zip(quantized.codes.chunks(group_len));
        for (index, (out, codes)) in groups.enumerate() {
            let scale = quantized.scales[index];
            let zero = quantized.zeros.get(index).copied().unwrap_or(0.0);
            if is_without_scale(scale) {
                out.fill(zero);
            } else if self.is_signed() {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = (f32::from(*code as i8) - zero) * scale;
                }
            } else {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = (f32::from(*code) - zero) * scale;
                }
            }
        }
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        true
    }
}

/// Also of NaN, which a range beyond f32 leaves.
#[inline(always)]
fn is_without_scale(scale: f32) -> bool {
    scale.is_nan() || scale <= 0.0
}

/// The low byte of a whole number of -128 to 255, without the range checks of a cast.
#[inline(always)]
pub(super) fn to_int(whole: f32) -> u8 {
    // 1.5 * 2^23: the number is in the lowest bits of the sum.
    (whole + 12_582_912.0).to_bits() as u8
}
