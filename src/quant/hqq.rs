//! HQQ: half-quadratic quantization, without any data.

use rayon::prelude::*;

use super::integer::to_int;
use super::quantized::{Quantized, Quantizer};
use super::rounding::{abs_max, half_even, min_max};
use super::torch_sum;
use crate::kernel::{Kernel, Loops};

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
    #[inline(always)]
    fn highest(self) -> f32 {
        f32::from((1_u16 << self.bits) - 1)
    }

    /// Groups one after another, whatever their order in the matrix.
    #[inline(always)]
    fn gather(self, weights: &[f32]) -> Vec<f32> {
        if self.by_columns {
            return weights.to_vec();
        }
        let groups = weights.len() / usize::from(self.group);
        (0..groups).flat_map(|group| weights[group..].iter().step_by(groups).copied()).collect()
    }

    fn optimise(self, grouped: &[f32], scales: &[f32], zeros: &mut [f32]) {
        /// The tool's most.
        const ITERATIONS: usize = 20;
        /// Groups that one thread takes at a time.
        const PART: usize = 256;
        let group_len = usize::from(self.group);
        let mut best = f64::INFINITY;
        for _ in 0..ITERATIONS {
            let errors: Vec<f64> = zeros
                .par_chunks_mut(PART)
                .zip(scales.par_chunks(PART))
                .zip(grouped.par_chunks(PART * group_len))
                .map(|((zeros, scales), grouped)| {
                    Kernel::selected().loops(Step { scheme: self, grouped, scales, zeros })
                })
                .collect();
            let error: f64 = errors.iter().sum();
            // The tool compares means in f32.
            let error = f64::from((error / grouped.len() as f64) as f32);
            if error >= best {
                break;
            }
            best = error;
        }
    }
}

/// One iteration over some groups; gives the sum of the errors before it.
struct Step<'a> {
    scheme: Hqq,
    grouped: &'a [f32],
    scales: &'a [f32],
    zeros: &'a mut [f32],
}

/// What [`shrunk`] makes zero is below 0.170; of smaller errors the power need not be computed.
const ALL_SHRUNK: f32 = 0.16;

/// The proximal operator of the penalty: `sign(rest) max(|rest| - |rest|^-0.3 / beta, 0)` with the tool's beta of 10.
#[inline(always)]
fn shrunk(rest: f32) -> f32 {
    const BETA: f32 = 10.0;
    let size = rest.abs();
    (size - inverse_power(size) * (1.0 / BETA)).max(0.0).copysign(rest)
}

impl Loops for Step<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let Self { scheme, grouped, scales, zeros } = self;
        let group_len = usize::from(scheme.group);
        let highest = scheme.highest();
        let mut errors = [0.0_f64; 8];
        let mut rests = vec![0.0_f32; group_len];
        let mut targets = vec![0.0_f32; group_len];
        for ((group, scale), zero) in grouped.chunks(group_len).zip(scales).zip(zeros) {
            let each = group.iter().zip(&mut rests).zip(&mut targets);
            for ((w, rest), target) in each {
                let code = half_even(w * scale + *zero).clamp(0.0, highest);
                *rest = w - (code - *zero) / scale;
                *target = code;
            }
            for rests in rests.chunks(errors.len()) {
                for (error, rest) in errors.iter_mut().zip(rests) {
                    *error += f64::from(rest.abs());
                }
            }
            if abs_max(&rests) < ALL_SHRUNK {
                for (w, target) in group.iter().zip(&mut targets) {
                    *target -= w * scale;
                }
            } else {
                for ((w, rest), target) in group.iter().zip(&rests).zip(&mut targets) {
                    *target -= (w - shrunk(*rest)) * scale;
                }
            }
            *zero = if scheme.by_columns { torch_sum::mean(&targets) } else { torch_sum::mean_of_column(&targets) };
        }
        errors.iter().sum()
    }
}

/// `value^-0.3` for a positive number: the norm's exponent is 0.7. To nearest but for one result in ten thousand; infinite
/// of zero.
///
/// Not `libm::powf`, which would be nine tenths of the time of quantizing: these are plain operations that vectorise.
#[inline(always)]
fn inverse_power(value: f32) -> f32 {
    // value = 2^exponent * fraction, fraction from sqrt(1/2) to sqrt(2).
    let bits = value.to_bits();
    let exponent = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let fraction = f64::from(f32::from_bits(bits.wrapping_sub((exponent as u32) << 23)));
    // log2(fraction) by the series of the area tangent, |t| < 0.1716.
    let t = (fraction - 1.0) / (fraction + 1.0);
    let u = t * t;
    let series = 1.0
        + u * (1.0 / 3.0 + u * (1.0 / 5.0 + u * (1.0 / 7.0 + u * (1.0 / 9.0 + u * (1.0 / 11.0 + u * (1.0 / 13.0))))));
    let log2 = f64::from(exponent) + t * series * (2.0 * std::f64::consts::LOG2_E);
    // 0.3 as f32 has it.
    let power = -f64::from(0.3_f32) * log2;
    // 1.5 * 2^52: the addition rounds to a whole number, whose low bits are the integer.
    let shifted = power + 6_755_399_441_055_744.0;
    let whole = shifted - 6_755_399_441_055_744.0;
    let r = (power - whole) * std::f64::consts::LN_2;
    let exp = 1.0
        + r * (1.0
            + r * (1.0 / 2.0
                + r * (1.0 / 6.0
                    + r * (1.0 / 24.0
                        + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5_040.0 + r * (1.0 / 40_320.0))))))));
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    if value > 0.0 { (exp * scale) as f32 } else { f32::INFINITY }
}

impl Quantizer for Hqq {
    #[inline(always)]
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

    #[inline(always)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_power_is_the_mathematical_librarys(value in 1e-37_f32..1e4, small in 1e-9_f32..0.1) {
            for v in [value, small] {
                let exact = libm::pow(f64::from(v), -f64::from(0.3_f32));
                prop_assert!((f64::from(inverse_power(v)) / exact - 1.0).abs() < 6.0e-8);
            }
        }
    }

    #[test]
    fn small_errors_shrink_to_nothing() {
        let steps = (0..=ALL_SHRUNK.to_bits()).step_by(997).map(f32::from_bits);
        assert!(steps.flat_map(|size| [shrunk(size), shrunk(-size)]).all(|value| value == 0.0));
        assert!(shrunk(0.18) > 0.0 && shrunk(-0.18) < 0.0);
    }

    #[test]
    fn zero_has_no_inverse() {
        assert_eq!(inverse_power(0.0), f32::INFINITY);
        assert_eq!(inverse_power(1.0), 1.0);
    }
}
