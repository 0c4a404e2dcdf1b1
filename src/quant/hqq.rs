//! HQQ: half-quadratic quantization, without any data.

use super::integer::to_int;
use super::quantized::{Quantized, Quantizer};
use super::rounding::{half_even, min_max};
use super::torch_sum;

/// Groups over the flattened matrix, with a zero point that is not a whole number and is moved so that
/// `sum |w - w'|^0.7` shrinks. `s = (2^b - 1) / (max - min)` and never changes; `q = clamp(round(w * s + z))`,
/// `w' = (q - z) * (1 / s)`.
///
/// A group narrower than 1e-4 has `s = 1`: layers of tiny weights are destroyed, as by the tool.
///
/// # Source
/// HQQ 0.2.8 on the CPU: without the optimiser bit for bit; with it up to the order in which torch adds, which decides a
/// code now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hqq {
    /// Bits of a code.
    pub bits: u8,
    /// Weights a group.
    pub group: u16,
    /// Whether a group is a run of columns (the tool's axis 1) or strided over the whole matrix (axis 0).
    pub by_columns: bool,
    /// Whether zero points are optimised.
    pub optimised: bool,
}

impl Hqq {
    fn highest(self) -> f32 {
        f32::from((1_u16 << self.bits) - 1)
    }

    /// Groups one after another, whatever their order in the matrix.
    fn gather(self, weights: &[f32]) -> Vec<f32> {
        if self.by_columns {
            return weights.to_vec();
        }
        let groups = weights.len() / usize::from(self.group);
        (0..groups).flat_map(|group| weights[group..].iter().step_by(groups).copied()).collect()
    }

    fn optimise(self, grouped: &[f32], scales: &[f32], zeros: &mut [f32]) {
        /// The tool's: exponent of the norm less one, weight of the penalty, most iterations.
        const POWER: f32 = -0.3;
        const BETA: f32 = 10.0;
        const ITERATIONS: usize = 20;
        let group_len = usize::from(self.group);
        let mut best = f64::INFINITY;
        let mut targets = vec![0.0_f32; group_len];
        for _ in 0..ITERATIONS {
            let mut error = 0.0_f64;
            for ((group, scale), zero) in grouped.chunks(group_len).zip(scales).zip(zeros.iter_mut()) {
                for (target, w) in targets.iter_mut().zip(group) {
                    let code = half_even(w * scale + *zero).clamp(0.0, self.highest());
                    let restored = (code - *zero) / scale;
                    let rest = w - restored;
                    let size = rest.abs();
                    error += f64::from(size);
                    let shrunk = (size - libm::powf(size, POWER) * (1.0 / BETA)).max(0.0).copysign(rest);
                    *target = code - (w - shrunk) * scale;
                }
                *zero = if self.by_columns { torch_sum::mean(&targets) } else { torch_sum::mean_of_column(&targets) };
            }
            // The tool compares means in f32.
            let error = f64::from((error / grouped.len() as f64) as f32);
            if error >= best {
                break;
            }
            best = error;
        }
    }
}

impl Quantizer for Hqq {
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        const NARROW: f32 = 1e-4;
        const LARGEST_SCALE: f32 = 2e4;
        let group_len = usize::from(self.group);
        let grouped = self.gather(weights);
        let mut scales = Vec::with_capacity(grouped.len() / group_len);
        let mut zeros = Vec::with_capacity(scales.capacity());
        for group in grouped.chunks(group_len) {
            let (min, max) = min_max(group);
            let range = max - min;
            let scale = if range <= NARROW { 1.0 } else { ((1.0 / range) * self.highest()).min(LARGEST_SCALE) };
            scales.push(scale);
            zeros.push(-min * scale);
        }
        if self.optimised {
            self.optimise(&grouped, &scales, &mut zeros);
        }
        let mut codes = vec![0; grouped.len()];
        for (index, (group, codes)) in grouped.chunks(group_len).zip(codes.chunks_mut(group_len)).enumerate() {
            for (code, w) in codes.iter_mut().zip(group) {
                *code = to_int(half_even(w * scales[index] + zeros[index]).clamp(0.0, self.highest()));
            }
        }
        let steps = scales.into_iter().map(|scale| 1.0 / scale).collect();
        Quantized { codes, scales: steps, zeros, ..Quantized::default() }
    }

    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        let group_len = usize::from(self.group);
        let groups = quantized.scales.len();
        for (index, codes) in quantized.codes.chunks(group_len).enumerate() {
            let (step, zero) = (quantized.scales[index], quantized.zeros[index]);
            let (first, stride) = if self.by_columns { (index * group_len, 1) } else { (index, groups) };
            for (out, code) in out[first..].iter_mut().step_by(stride).zip(codes) {
                *out = (f32::from(*code) - zero) * step;
            }
        }
    }

    fn is_by_row(&self, cols: usize) -> bool {
        self.by_columns && !self.optimised && cols.is_multiple_of(usize::from(self.group))
    }
}
