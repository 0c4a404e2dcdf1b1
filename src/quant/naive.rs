//! The study's naive quantization: one scale for the whole tensor.

use safetensors::Dtype;

use super::Damage;
use crate::kernel::{CodeGrid, Kernel};
use crate::tensor::Rounding;

/// In which arithmetic a naive level is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// f32 throughout; the result stays f32.
    #[default]
    Exact,
    /// f32 throughout; the result is rounded to the dtype the tensor is stored in.
    Stored,
    /// Every single operation on half-precision numbers, as the study's script does on an fp16 model.
    Seed,
}

impl Arithmetic {
    /// The name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Arithmetic::Exact => "exact",
            Arithmetic::Stored => "stored",
            Arithmetic::Seed => "seed",
        }
    }
}

/// The extremes of a tensor: all that a naive grid needs to know of it. Computed once for all levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest weight.
    pub min: f32,
    /// Largest weight.
    pub max: f32,
    /// Whether every weight is a number. If not, `min` and `max` mean nothing.
    pub is_finite: bool,
}

impl Range {
    /// The range of `values`; an empty slice has the range of a zero.
    pub fn of(values: &[f32]) -> Self {
        // Lanes, so that the compiler can keep them in one vector register.
        const LANES: usize = 8;
        let (mut min, mut max, mut finite) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [true; LANES]);
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                let v = chunk[lane];
                min[lane] = if v < min[lane] { v } else { min[lane] };
                max[lane] = if v > max[lane] { v } else { max[lane] };
                finite[lane] &= v.is_finite();
            }
        }
        let extremes = |a: f32, b: f32| (a.min(b), a.max(b));
        let mut range = Range {
            min: min.into_iter().chain(rest.iter().copied()).fold(f32::INFINITY, |a, b| extremes(a, b).0),
            max: max.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, |a, b| extremes(a, b).1),
            is_finite: finite.into_iter().all(|f| f) && rest.iter().all(|v| v.is_finite()),
        };
        if values.is_empty() {
            (range.min, range.max) = (0.0, 0.0);
        }
        range
    }

    /// The range of these values and others.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            is_finite: self.is_finite && other.is_finite,
        }
    }

    /// Largest magnitude.
    pub fn abs_max(self) -> f32 {
        self.max.abs().max(self.min.abs())
    }
}

/// A tensor's grid of representable values, with one scale (and zero point) for all of it.
///
/// Symmetric, `b` bits: `hi = 2^(b-1) - 1`, `scale = max|w| / hi`, `q = clamp(round(w / scale), -2^(b-1), hi)`,
/// `w' = q * scale`. The lowest code is never reached, so there are `2^b - 1` levels and 2 bits are ternary.
///
/// Asymmetric: `hi = 2^b - 1`, `scale = (max - min) / hi`, `zero_point = 0 - min / scale` (not rounded),
/// `q = clamp(round(w / scale + zero_point), 0, hi)`, `w' = (q - zero_point) * scale`.
///
/// Rounding is half to even. A scale of zero leaves the tensor as it is.
///
/// # Source
/// The study's script; quantized values pinned bit for bit against its outputs (`tests/data/quant`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveGrid {
    scale: f32,
    zero_point: f32,
    lowest: f32,
    highest: f32,
    symmetric: bool,
    arithmetic: Arithmetic,
    storage: Rounding,
}

impl NaiveGrid {
    /// The grid of a tensor with this range, stored as `dtype`.
    pub fn new(range: Range, bits: u8, symmetric: bool, arithmetic: Arithmetic, dtype: Dtype) -> Self {
        // One rounding after each operation: that is what half-precision arithmetic is on a processor.
        let round = Self::step_rounding(arithmetic);
        let (min, max) = (round.apply(range.min), round.apply(range.max));
        let (lowest, highest, scale, zero_point);
        if symmetric {
            highest = f32::from((1_u16 << (bits - 1)) - 1);
            lowest = -highest - 1.0;
            scale = round.apply(min.abs().max(max.abs()) / highest);
            zero_point = 0.0;
        } else {
            highest = f32::from((1_u16 << bits) - 1);
            lowest = 0.0;
            scale = round.apply(round.apply(max - min) / highest);
            zero_point = round.apply(0.0 - round.apply(min / scale));
        }
        let storage = match arithmetic {
            Arithmetic::Stored => Rounding::of(dtype),
            Arithmetic::Exact | Arithmetic::Seed => Rounding::None,
        };
        Self { scale, zero_point, lowest, highest, symmetric, arithmetic, storage }
    }

    fn step_rounding(arithmetic: Arithmetic) -> Rounding {
        if arithmetic == Arithmetic::Seed { Rounding::F16 } else { Rounding::None }
    }

    /// Step between two neighbouring levels.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of zero, for the asymmetric grid generally not a whole number.
    pub fn zero_point(&self) -> f32 {
        self.zero_point
    }

    /// Replaces each weight by the nearest level.
    ///
    /// # Cost
    /// One division and one multiplication a weight; half-precision arithmetic is emulated and about 20 times slower.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn dequantize(&self, weights: &[f32], out: &mut [f32]) {
        assert_eq!(weights.len(), out.len(), "as many results as weights");
        if self.scale == 0.0 {
            // The study's script returns such a tensor as it got it: in half precision.
            let round = Self::step_rounding(self.arithmetic);
            out.copy_from_slice(weights);
            round.apply_all(out);
        } else if self.arithmetic == Arithmetic::Seed {
            for (out, w) in out.iter_mut().zip(weights) {
                *out = self.dequantize_half(*w);
            }
        } else if self.symmetric {
            for (out, w) in out.iter_mut().zip(weights) {
                let code = round_small(w / self.scale).clamp(self.lowest, self.highest);
                *out = code * self.scale;
            }
        } else {
            for (out, w) in out.iter_mut().zip(weights) {
                let code = (w / self.scale + self.zero_point).round_ties_even().clamp(self.lowest, self.highest);
                *out = (code - self.zero_point) * self.scale;
            }
        }
        self.storage.apply_all(out);
    }

    fn dequantize_half(&self, weight: f32) -> f32 {
        let round = |v| Rounding::F16.apply(v);
        round(round(self.code(weight) - self.zero_point) * self.scale)
    }

    fn code(&self, weight: f32) -> f32 {
        let round = Self::step_rounding(self.arithmetic);
        let position = round.apply(round.apply(round.apply(weight) / self.scale) + self.zero_point);
        position.round_ties_even().clamp(self.lowest, self.highest)
    }

    /// The levels of this grid in whole numbers, if its arithmetic is f32's and none of them overflows.
    pub fn whole_levels(&self) -> Option<WholeLevels> {
        let is_exact = self.symmetric && self.storage == Rounding::None && self.arithmetic != Arithmetic::Seed;
        if !is_exact || self.scale == 0.0 || !(128.0 * self.scale).is_finite() {
            return None;
        }
        let grid = CodeGrid { scale: self.scale, lowest: self.lowest, highest: self.highest };
        // The last place of the scale, 2^-149 at least. Every product of it with a code is a whole multiple.
        let exponent = i32::from((self.scale.to_bits() >> 23) as u8).max(1) - 150;
        let unit = f64::from_bits(((exponent + 1023) as u64) << 52);
        let mut residues = [0; 256];
        let mut is_whole = true;
        for code in self.lowest as i16..=self.highest as i16 {
            // Exact: a code has 8 bits, a scale 24.
            let product = f64::from(code) * f64::from(self.scale);
            let residue = (f64::from(f32::from(code) * self.scale) - product) / unit;
            residues[usize::from(code as u8)] = residue as i8;
            is_whole &= residue == 0.0;
        }
        Some(WholeLevels { grid, unit, residues: (!is_whole).then_some(residues) })
    }

    /// The codes of weights, two's complement where the grid is symmetric. Without a scale, zeros: such a tensor has no codes.
    pub fn codes(&self, weights: &[f32]) -> Vec<u8> {
        if self.scale == 0.0 {
            return vec![0; weights.len()];
        }
        weights.iter().map(|w| self.code(*w) as i32 as u8).collect()
    }
}

/// A symmetric grid's levels as exact sums of whole numbers: level(q) = scale q + unit residue(q).
///
/// The level is the product rounded to f32, a whole multiple of the unit, which is the last place of the scale; it is off by
/// at most half its own last place, so residues are in -64 ..= 64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WholeLevels {
    grid: CodeGrid,
    unit: f64,
    /// By the code's bits; none if all are zero.
    residues: Option<[i8; 256]>,
}

impl WholeLevels {
    /// Step between two levels.
    pub fn scale(&self) -> f64 {
        f64::from(self.grid.scale)
    }

    /// What residues count.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// Whether some level is not just the scale times its code.
    pub fn has_residues(&self) -> bool {
        self.residues.is_some()
    }

    /// The codes of weights, and what they add to the damage.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn quantize(&self, kernel: Kernel, weights: &[f32], codes: &mut [i8], damage: &mut Damage) {
        kernel.quantize(self.grid, weights, codes, damage.levels());
    }

    /// The largest magnitude of a code or a residue.
    pub fn largest(&self) -> u8 {
        let codes = self.grid.lowest.abs().max(self.grid.highest) as u8;
        self.residues.iter().flatten().fold(codes, |largest, residue| largest.max(residue.unsigned_abs()))
    }

    /// The residues of codes.
    pub fn residues(&self, codes: &[i8], out: &mut [i8]) {
        match &self.residues {
            Some(residues) => {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = residues[usize::from(*code as u8)];
                }
            }
            None => out.fill(0),
        }
    }
}

/// Round half to even for `|value| < 2^22`; a code is at most 128. `f32::round_ties_even` is a library call on x86-64
/// without SSE4.1 and would be the slowest part of quantizing.
#[inline]
fn round_small(value: f32) -> f32 {
    // 1.5 * 2^23: the sum has no fraction bits left, so the addition itself rounds.
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC) - MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dequantized(weights: &[f32], bits: u8, symmetric: bool, arithmetic: Arithmetic, dtype: Dtype) -> Vec<f32> {
        let mut out = vec![0.0; weights.len()];
        NaiveGrid::new(Range::of(weights), bits, symmetric, arithmetic, dtype).dequantize(weights, &mut out);
        out
    }

    #[test]
    fn two_bits_are_ternary_and_ties_go_to_even() {
        assert_eq!(
            dequantized(&[4.0, 2.0, -2.0, 2.1, -4.0, 0.0], 2, true, Arithmetic::Exact, Dtype::F32),
            [4.0, 0.0, 0.0, 4.0, -4.0, 0.0]
        );
        // 6 / 4 = 1.5 goes to 2, 10 / 4 = 2.5 also.
        assert_eq!(
            dequantized(&[28.0, 6.0, 10.0, -6.0], 4, true, Arithmetic::Exact, Dtype::F32),
            [28.0, 8.0, 8.0, -8.0]
        );
    }

    #[test]
    fn a_tensor_without_a_scale_stays_as_it_is() {
        assert_eq!(dequantized(&[0.0, -0.0], 4, true, Arithmetic::Exact, Dtype::F32), [0.0, 0.0]);
        assert_eq!(dequantized(&[0.7, 0.7], 4, false, Arithmetic::Exact, Dtype::F32), [0.7, 0.7]);
    }

    #[test]
    fn levels_are_whole_numbers_in_f32_only() {
        let range = Range { min: -1.0, max: 0.5, is_finite: true };
        let levels =
            |bits, symmetric, arithmetic| NaiveGrid::new(range, bits, symmetric, arithmetic, Dtype::F16).whole_levels();
        // One step on each side is the scale itself.
        assert!(levels(2, true, Arithmetic::Exact).is_some_and(|levels| !levels.has_residues()));
        assert!(levels(8, true, Arithmetic::Exact).is_some_and(|levels| levels.has_residues()));
        assert_eq!(levels(8, true, Arithmetic::Stored), None);
        assert_eq!(levels(8, true, Arithmetic::Seed), None);
        assert_eq!(levels(8, false, Arithmetic::Exact), None);
        // 128 steps overflow, and nobody knows yet whether a weight is there.
        let huge = Range { min: -f32::MAX, max: f32::MAX, is_finite: true };
        assert_eq!(NaiveGrid::new(huge, 8, true, Arithmetic::Exact, Dtype::F32).whole_levels(), None);
    }

    #[test]
    fn stored_rounds_to_the_dtype() {
        let weights = [1.0, 0.3, -0.7];
        for (dtype, rounding) in
            [(Dtype::F16, Rounding::F16), (Dtype::BF16, Rounding::Bf16), (Dtype::F32, Rounding::None)]
        {
            let exact = dequantized(&weights, 8, true, Arithmetic::Exact, dtype);
            let stored = dequantized(&weights, 8, true, Arithmetic::Stored, dtype);
            assert_eq!(stored, exact.iter().map(|v| rounding.apply(*v)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_range_sees_what_is_not_a_number() {
        let mut values = vec![0.5_f32; 21];
        assert_eq!(Range::of(&values), Range { min: 0.5, max: 0.5, is_finite: true });
        assert_eq!(Range::of(&[]).abs_max(), 0.0);
        for place in [0, 7, 15, 20] {
            for bad in [f32::NAN, f32::INFINITY] {
                values[place] = bad;
                assert!(!Range::of(&values).is_finite);
                values[place] = 0.5;
            }
        }
    }

    proptest! {
        #[test]
        fn codes_and_residues_are_the_levels(
            weights in proptest::collection::vec(prop_oneof![-10.0_f32..10.0, -1e-38_f32..1e-38, -1e-44_f32..1e-44], 1..40), bits in 2_u8..=8,
        ) {
            let grid = NaiveGrid::new(Range::of(&weights), bits, true, Arithmetic::Exact, Dtype::F16);
            let mut expected = vec![0.0; weights.len()];
            grid.dequantize(&weights, &mut expected);
            let Some(levels) = grid.whole_levels() else {
                prop_assert_eq!(grid.scale(), 0.0);
                return Ok(());
            };
            let (mut codes, mut residues) = (vec![0; weights.len()], vec![0; weights.len()]);
            let mut damage = Damage::of_weights(&weights);
            levels.quantize(Kernel::selected(), &weights, &mut codes, &mut damage);
            levels.residues(&codes, &mut residues);
            for ((q, r), level) in codes.iter().zip(&residues).zip(&expected) {
                prop_assert_eq!(levels.scale() * f64::from(*q) + levels.unit() * f64::from(*r), f64::from(*level));
                prop_assert!(r.unsigned_abs() <= 64);
                prop_assert!(q.unsigned_abs().max(r.unsigned_abs()) <= levels.largest());
            }
            prop_assert_eq!(levels.largest(), 1 << (bits - 1));
            let mut whole = Damage::default();
            whole.add(&weights, &expected);
            prop_assert_eq!(damage.relative_error(), whole.relative_error());
            prop_assert_eq!(damage.nonzero_fraction(), whole.nonzero_fraction());
        }

        #[test]
        fn rounding_by_magic_is_round_half_to_even(value in -200.0_f32..200.0, halves in -400_i32..400) {
            prop_assert_eq!(round_small(value), value.round_ties_even());
            let tie = halves as f32 / 2.0;
            prop_assert_eq!(round_small(tie), tie.round_ties_even());
        }

        #[test]
        fn no_weight_moves_by_more_than_half_a_step(weights in proptest::collection::vec(-10.0_f32..10.0, 1..50), bits in 2_u8..=8, symmetric: bool) {
            let range = Range::of(&weights);
            let grid = NaiveGrid::new(range, bits, symmetric, Arithmetic::Exact, Dtype::F32);
            let out = dequantized(&weights, bits, symmetric, Arithmetic::Exact, Dtype::F32);
            // A few roundings of numbers no larger than the largest weight or the grid's offset.
            let slack = 1e-5 * (range.abs_max() + 1.0);
            for (w, q) in weights.iter().zip(&out) {
                prop_assert!((w - q).abs() <= 0.5 * grid.scale() + slack);
            }
            // Quantizing what is on the grid changes nothing, for the symmetric grid of the same range.
            if symmetric {
                let mut again = vec![0.0; out.len()];
                grid.dequantize(&out, &mut again);
                prop_assert_eq!(again, out);
            }
        }
    }
}
