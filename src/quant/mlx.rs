//! MLX's affine quantization.

use super::integer::to_int;
use super::quantized::{Quantized, Quantizer};
use super::rounding::{half_even, min_max};
use crate::tensor::Rounding;

/// Groups of columns with scale and bias in the dtype of the weights.
///
/// `n = 2^bits - 1`; `s = max((max - min) / n, 1e-7)`; the extreme of larger magnitude becomes the bias and is hit exactly
/// (`s < 0` if that is the largest weight); then `s = edge / round(edge / s)`, so that zero is a code. A code is
/// `clamp(round((w - bias) / s), 0, n)` with scale and bias as yet unrounded. `w' = code * s + bias`, two operations.
///
/// # Source
/// MLX 0.32.4 on the CPU, bit for bit in f32, bf16 and f16. (The formula in its documentation is not what it computes.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MlxAffine {
    pub bits: u8,
    pub group: u16,
    /// Rounding of scales and biases to the dtype of the weights, in which they are stored.
    pub stored: Rounding,
    /// Rounding of every operation of dequantizing.
    pub arithmetic: Rounding,
}

impl Quantizer for MlxAffine {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        // MLX's smallest scale.
        const SMALLEST: f32 = 1e-7;
        let group_len = usize::from(self.group);
        let highest = f32::from((1_u16 << self.bits) - 1);
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        for (group, codes) in weights.chunks(group_len).zip(quantized.codes.chunks_mut(group_len)) {
            let (min, max) = min_max(group);
            let mut scale = ((max - min) / highest).max(SMALLEST);
            let edge = if min.abs() > max.abs() {
                min
            } else {
                scale = -scale;
                max
            };
            let steps = half_even(edge / scale);
            let mut bias = 0.0;
            if steps != 0.0 {
                scale = edge / steps;
                bias = edge;
            }
            for (code, w) in codes.iter_mut().zip(group) {
                *code = to_int(half_even((w - bias) / scale).clamp(0.0, highest));
            }
            quantized.scales.push(self.stored.apply(scale));
            quantized.zeros.push(self.stored.apply(bias));
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        let group_len = usize::from(self.group);
        let scales = quantized.scales.iter().zip(&quantized.zeros);
        for ((out, codes), (scale, bias)) in
            out.chunks_mut(group_len).zip(quantized.codes.chunks(group_len)).zip(scales)
        {
            if self.arithmetic == Rounding::None {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = f32::from(*code) * scale + bias;
                }
            } else {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = self.arithmetic.apply(self.arithmetic.apply(f32::from(*code) * scale) + bias);
                }
            }
        }
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        true
    }
}
