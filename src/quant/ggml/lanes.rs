//! Blocks side by side. The tool adds strictly from left to right inside a block, which leaves a processor waiting for each
//! sum; eight or sixteen blocks at once keep it busy, and their sums are the same.

/// `L` blocks of `N` weights one after another, turned so that the i-th weights are neighbours.
#[inline(always)]
pub(super) fn interleave<const N: usize, const L: usize>(blocks: &[f32]) -> [[f32; L]; N] {
    std::array::from_fn(|i| std::array::from_fn(|lane| blocks[lane * N + i]))
}

/// 1.5 * 2^23: a sum with it has no bits left for fractions.
const MAGIC: f32 = 12_582_912.0;

/// Round half to even as the tool does it: by a constant whose bits wrap beyond 2^22.
#[inline(always)]
pub(super) fn nearest(value: f32) -> i32 {
    ((value + MAGIC).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// How [`nearest`] numbers are found between two bounds.
pub(super) trait Level {
    fn level(value: f32, lowest: f32, highest: f32) -> f32;
}

/// Of any numbers.
pub(super) struct Any;

impl Level for Any {
    #[inline(always)]
    fn level(value: f32, lowest: f32, highest: f32) -> f32 {
        nearest(value).clamp(lowest as i32, highest as i32) as f32
    }
}

/// Of numbers that [`are_small`]: the same in fewer operations.
pub(super) struct Small;

impl Level for Small {
    #[inline(always)]
    fn level(value: f32, lowest: f32, highest: f32) -> f32 {
        let whole = (value + MAGIC) - MAGIC;
        let whole = if whole < lowest { lowest } else { whole };
        if whole > highest { highest } else { whole }
    }
}

/// Whether all magnitudes are far enough below 2^22 for nothing to wrap; not so of NaN.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep lanes from becoming vectors")]
#[inline(always)]
pub(super) fn are_small<const L: usize>(magnitudes: &[f32; L]) -> bool {
    magnitudes.iter().fold(true, |all, m| all & (*m < 4e6))
}

/// The first number of the largest magnitude, in each lane.
#[inline(always)]
pub(super) fn signed_max<const N: usize, const L: usize>(x: &[[f32; L]; N]) -> [f32; L] {
    let (mut largest, mut max) = ([0.0; L], [0.0; L]);
    for row in x {
        for lane in 0..L {
            let size = row[lane].abs();
            let is_larger = size > largest[lane];
            largest[lane] = if is_larger { size } else { largest[lane] };
            max[lane] = if is_larger { row[lane] } else { max[lane] };
        }
    }
    max
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_to_a_level_agree_where_numbers_are_small(value in -4e6_f32..4e6, near in -40.0_f32..40.0, half in -80_i32..80) {
            for v in [value, near, half as f32 / 2.0] {
                prop_assert!(are_small(&[v.abs()]));
                for (lowest, highest) in [(0.0, 15.0), (-32.0, 31.0)] {
                    prop_assert_eq!(Any::level(v, lowest, highest).to_bits(), Small::level(v, lowest, highest).to_bits());
                }
            }
        }
    }

    #[test]
    fn what_wraps_is_not_small() {
        assert_eq!(Any::level(4_194_304.0, -4.0, 3.0), -4.0);
        assert!(!are_small(&[4_194_304.0]) && !are_small(&[f32::NAN]) && !are_small(&[f32::INFINITY]));
    }
}
