//! Weights to the codes of one symmetric grid, and how far that moves them.

use super::{Isa, Job, Kernel};

/// A grid of equal steps: level = code * scale, in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodeGrid {
    /// The step; not zero.
    pub scale: f32,
    /// The smallest code, at least -128.
    pub lowest: f32,
    /// The largest code, at most 127.
    pub highest: f32,
}

/// Eight running sums of squared errors and the number of codes that are not zero.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CodeDamage {
    /// Weight i adds (level - weight)^2 to sum i mod 8.
    pub error: [f64; 8],
    /// Codes that are not zero.
    pub nonzero: u64,
}

/// Weights that go through one pass after the other.
const BLOCK: usize = 64;

/// 1.5 * 2^23: a sum with it has no fraction bits left, so the addition itself rounds half to even; and in the sum's low bits
/// stands the whole number, in two's complement.
const MAGIC: f32 = 12_582_912.0;

/// Plain loops, one for each width of numbers: compilers make each instruction set's vectors of them, but of one loop over
/// all of it single numbers, which takes three times as long. Nothing here is fused.
struct Quantize<'a> {
    grid: CodeGrid,
    weights: &'a [f32],
    codes: &'a mut [i8],
    damage: &'a mut CodeDamage,
}

impl Job for Quantize<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { grid, weights, codes, damage } = self;
        let mut error = damage.error;
        let (whole, rest) = weights.as_chunks::<BLOCK>();
        let (to, to_rest) = codes.as_chunks_mut::<BLOCK>();
        // Cleared once: a browser clears it by a call.
        let mut sums = [0.0; BLOCK];
        for (weights, codes) in whole.iter().zip(to) {
            for (weights, sums) in weights.as_chunks::<8>().0.iter().zip(sums.as_chunks_mut::<8>().0) {
                let mut rounded = [0.0; 8];
                for lane in 0..8 {
                    rounded[lane] = nearest(grid, weights[lane]);
                }
                for lane in 0..8 {
                    error[lane] += squared_error(grid, rounded[lane], weights[lane]);
                }
                for lane in 0..8 {
                    sums[lane] = rounded[lane] + MAGIC;
                }
            }
            for (code, sum) in codes.iter_mut().zip(&sums) {
                *code = low_byte(*sum);
            }
        }
        for (place, (weight, to)) in rest.iter().zip(to_rest).enumerate() {
            let code = nearest(grid, *weight);
            error[place % 8] += squared_error(grid, code, *weight);
            *to = low_byte(code + MAGIC);
        }
        damage.error = error;
        damage.nonzero += codes.iter().filter(|code| **code != 0).count() as u64;
    }
}

/// The code of a weight.
#[inline(always)]
fn nearest(grid: CodeGrid, weight: f32) -> f32 {
    let rounded = (weight / grid.scale + MAGIC) - MAGIC;
    let code = if rounded < grid.lowest { grid.lowest } else { rounded };
    if code > grid.highest { grid.highest } else { code }
}

#[inline(always)]
fn squared_error(grid: CodeGrid, code: f32, weight: f32) -> f64 {
    let error = f64::from(code * grid.scale) - f64::from(weight);
    error * error
}

#[inline(always)]
fn low_byte(sum: f32) -> i8 {
    sum.to_bits() as u8 as i8
}

impl Kernel {
    /// The codes of weights: clamp(round(w / scale)), half to even, and what they add to the damage. The same bits on every
    /// kernel. Weights are finite and below 2^22 scales.
    ///
    /// # Panics
    /// If the slices differ in length.
    ///
    /// # Cost
    /// A division and a few operations a weight.
    pub fn quantize(self, grid: CodeGrid, weights: &[f32], codes: &mut [i8], damage: &mut CodeDamage) {
        assert_eq!(weights.len(), codes.len());
        self.run(Quantize { grid, weights, codes, damage });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_rounds_half_to_even_and_sums_alike() {
        let grid = CodeGrid { scale: 0.25, lowest: -4.0, highest: 3.0 };
        let weights: Vec<f32> = (-45..45).map(|i| i as f32 / 32.0).collect();
        let expected: Vec<i8> =
            weights.iter().map(|w| (w / grid.scale).round_ties_even().clamp(grid.lowest, grid.highest) as i8).collect();
        let mut sums = CodeDamage::default();
        for (i, (w, code)) in weights.iter().zip(&expected).enumerate() {
            sums.error[i % 8] += (f64::from(*code) * 0.25 - f64::from(*w)).powi(2);
            sums.nonzero += u64::from(*code != 0);
        }
        for kernel in Kernel::available() {
            let mut codes = vec![0; weights.len()];
            let mut damage = CodeDamage::default();
            kernel.quantize(grid, &weights, &mut codes, &mut damage);
            assert_eq!(codes, expected, "{}", kernel.name());
            assert_eq!(damage, sums, "{}", kernel.name());
        }
    }
}
