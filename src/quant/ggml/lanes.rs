//! Eight blocks side by side. The tool adds strictly from left to right inside a block, which leaves a processor waiting
//! for each sum; eight blocks at once keep it busy, and their sums are the same.

/// One number of each of eight blocks.
pub(super) type Lanes = [f32; LANES];

/// How many blocks.
pub(super) const LANES: usize = 8;

/// Eight blocks of `N` weights one after another, turned so that the i-th weights are neighbours.
pub(super) fn interleave<const N: usize>(blocks: &[f32]) -> [Lanes; N] {
    std::array::from_fn(|i| std::array::from_fn(|lane| blocks[lane * N + i]))
}

/// Round half to even as the tool does it: by a constant whose bits wrap beyond 2^22.
#[inline]
pub(super) fn nearest(value: f32) -> i32 {
    ((value + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// [`nearest`], held between two bounds.
#[inline]
pub(super) fn level(value: f32, lowest: i32, highest: i32) -> f32 {
    nearest(value).clamp(lowest, highest) as f32
}

/// The first number of the largest magnitude, in each lane.
pub(super) fn signed_max<const N: usize>(x: &[Lanes; N]) -> Lanes {
    let (mut largest, mut max) = ([0.0; LANES], [0.0; LANES]);
    for row in x {
        for lane in 0..LANES {
            let size = row[lane].abs();
            let is_larger = size > largest[lane];
            largest[lane] = if is_larger { size } else { largest[lane] };
            max[lane] = if is_larger { row[lane] } else { max[lane] };
        }
    }
    max
}
