//! Sums in the order in which torch adds f32 values on a CPU with 8-lane vectors and one thread.

const LANES: usize = 8;
/// Vectors added side by side.
const SIDE_BY_SIDE: usize = 4;
/// Depth of the cascade that keeps long sums accurate.
const LEVELS: usize = 4;

/// The mean of neighbouring values as `torch.mean` gives it: the sum in f32, divided by the count.
///
/// # Source
/// torch 2.15 `aten/src/ATen/native/cpu/SumKernel.cpp`, `vectorized_inner_sum`.
#[inline(always)]
pub(super) fn mean(values: &[f32]) -> f32 {
    let (vectors, rest) = values.as_chunks::<LANES>();
    let (rows, single) = vectors.as_chunks::<SIDE_BY_SIDE>();
    let [mut lanes, others @ ..] = cascade(rows);
    for vector in single.iter().chain(&others) {
        add(&mut lanes, vector);
    }
    let mut total = 0.0;
    for value in rest.iter().chain(&lanes) {
        total += value;
    }
    total / values.len() as f32
}

/// The mean of values that lie a row apart each, as `torch.mean` over the first axis gives it.
///
/// # Source
/// As [`mean`]: `vectorized_outer_sum`.
#[inline(always)]
pub(super) fn mean_of_column(values: &[f32]) -> f32 {
    let [[sum]] = cascade(values.as_chunks::<1>().0.as_chunks::<1>().0);
    sum / values.len() as f32
}

#[inline(always)]
fn cascade<const WIDTH: usize, const COUNT: usize>(rows: &[[[f32; WIDTH]; COUNT]]) -> [[f32; WIDTH]; COUNT] {
    let bits = rows.len().next_power_of_two().trailing_zeros() as usize;
    let level_power = (bits / LEVELS).max(4);
    let level_step = 1 << level_power;
    let mut sums = [[[0.0_f32; WIDTH]; COUNT]; LEVELS];
    let mut index = 0;
    while index + level_step <= rows.len() {
        for row in &rows[index..index + level_step] {
            add_row(&mut sums[0], row);
        }
        index += level_step;
        for level in 1..LEVELS {
            let below = std::mem::replace(&mut sums[level - 1], [[0.0; WIDTH]; COUNT]);
            add_row(&mut sums[level], &below);
            if index & ((level_step - 1) << (level * level_power)) != 0 {
                break;
            }
        }
    }
    for row in &rows[index..] {
        add_row(&mut sums[0], row);
    }
    let [mut total, above @ ..] = sums;
    for level in &above {
        add_row(&mut total, level);
    }
    total
}

#[inline(always)]
fn add_row<const WIDTH: usize, const COUNT: usize>(sums: &mut [[f32; WIDTH]; COUNT], row: &[[f32; WIDTH]; COUNT]) {
    for (sum, vector) in sums.iter_mut().zip(row) {
        add(sum, vector);
    }
}

#[inline(always)]
fn add<const WIDTH: usize>(sum: &mut [f32; WIDTH], vector: &[f32; WIDTH]) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += value;
    }
}
