//! Eigenvectors of a band matrix whose eigenvalues are known.

use super::band::Band;

/// Half bandwidth: the least there is, since a factorization takes its square.
pub(super) const WIDTH: usize = 8;

/// Elements of a row of U: pivoting widens the upper half.
const LENGTH: usize = 2 * WIDTH + 1;

/// Solutions for a vector. Each divides what belongs to another eigenvalue by its distance over that of the shift, 1e-15 of the
/// largest eigenvalue where they do not share it: the residual is at most that. More would leave eigenvalues that share a shift
/// too much of what is nearest to it.
const SOLUTIONS: usize = 2;

/// Neighbours closer than this, relative to the largest magnitude, share a shift: ten times the error of a computed eigenvalue,
/// so that on its own each would be as near to the other's shift. Their vectors are any basis of their space.
const CLOSE: f64 = 1e-14;

/// Inverse iteration on a band.
pub(super) struct Inverse<'a> {
    band: &'a Band,
    /// Of each eigenvalue, ascending.
    shifts: Vec<f64>,
    /// What a pivot of zero is replaced by.
    tiny: f64,
}

impl<'a> Inverse<'a> {
    /// Prepares the iteration for eigenvalues in ascending order.
    pub fn new(band: &'a Band, values: &[f64]) -> Self {
        debug_assert!(band.width == WIDTH);
        let largest = values.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        let close = CLOSE * largest;
        let mut shifts: Vec<f64> = Vec::with_capacity(values.len());
        while shifts.len() < values.len() {
            let rest = &values[shifts.len()..];
            let together = 1 + rest.windows(2).take_while(|pair| pair[1] - pair[0] <= close).count();
            if together == 1 {
                shifts.push(rest[0]);
            } else {
                // Below all of them, at about the same distance from each, so that none takes over; but not beyond the middle
                // between them and the one below.
                let width = rest[together - 1] - rest[0];
                let gap = shifts.last().map_or(f64::INFINITY, |_| rest[0] - values[shifts.len() - 1]);
                let shift = rest[0] - (2.0 * width).max(close / 2.0).min(gap / 2.0);
                shifts.extend(std::iter::repeat_n(shift, together));
            }
        }
        Self { band, shifts, tiny: if largest == 0.0 { 1.0 } else { f64::EPSILON * largest } }
    }

    /// Writes the vectors of the eigenvalues with these indices into the columns of a block with rows `step` apart, each scaled to
    /// a largest entry of 1.
    pub fn fill(&self, indices: impl Iterator<Item = usize>, block: &mut [f64], step: usize) {
        let n = self.band.n;
        let mut factors = Factors::new(n);
        let mut factored = None;
        let mut x = vec![0.0; n + LENGTH];
        for (column, index) in indices.enumerate() {
            let shift = self.shifts[index];
            if factored != Some(shift) {
                factors.factor(self.band, shift, self.tiny);
                factored = Some(shift);
            }
            for (row, x) in x[..n].iter_mut().enumerate() {
                *x = start(index, row);
            }
            // What is at random may as well be L^-1 of something at random.
            factors.solve_upper(&mut x);
            normalize(&mut x[..n]);
            for _ in 1..SOLUTIONS {
                factors.solve_lower(&mut x);
                factors.solve_upper(&mut x);
                normalize(&mut x[..n]);
            }
            for (row, x) in x[..n].iter().enumerate() {
                block[row * step + column] = *x;
            }
        }
    }
}

/// Numbers in [-1, 1), the same on every machine, that have nothing to do with one another.
///
/// # Source
/// Steele, Lea, Flood 2014 (SplitMix64).
fn start(index: usize, row: usize) -> f64 {
    let mut z = ((index as u64) << 32 | row as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn normalize(x: &mut [f64]) {
    let largest = x.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for x in x {
        *x /= largest;
    }
}

/// P (B - shift I) = L U by Gaussian elimination with row exchanges.
struct Factors {
    /// Rows of U from the diagonal on.
    upper: Vec<[f64; LENGTH]>,
    /// Columns of L below the diagonal.
    lower: Vec<[f64; WIDTH]>,
    /// Which of the rows from the diagonal down came up.
    pivots: Vec<usize>,
}

impl Factors {
    fn new(n: usize) -> Self {
        Self { upper: vec![[0.0; LENGTH]; n], lower: vec![[0.0; WIDTH]; n], pivots: vec![0; n] }
    }

    /// # Cost
    /// 2 n b (2 b + 1) flops.
    fn factor(&mut self, band: &Band, shift: f64, tiny: f64) {
        let n = band.n;
        // Rows j .. j + b of what is left, from column j on.
        let mut window = [[0.0; LENGTH]; WIDTH + 1];
        for (i, row) in window.iter_mut().enumerate() {
            *row = row_of(band, i, 0, shift);
        }
        for j in 0..n {
            let largest = |best: usize, i: usize| if window[i][0].abs() > window[best][0].abs() { i } else { best };
            let pivot = (1..=WIDTH).fold(0, largest);
            window.swap(0, pivot);
            let [mut top, ..] = window;
            if top[0].abs() < tiny {
                top[0] = tiny;
            }
            for i in 1..=WIDTH {
                let row = &mut window[i];
                let factor = row[0] / top[0];
                self.lower[j][i - 1] = factor;
                let mut next = [0.0; LENGTH];
                for k in 1..LENGTH {
                    next[k - 1] = row[k] - factor * top[k];
                }
                window[i - 1] = next;
            }
            window[WIDTH] = row_of(band, j + 1 + WIDTH, j + 1, shift);
            (self.upper[j], self.pivots[j]) = (top, pivot);
        }
    }

    /// x = L^-1 P x; x has [`LENGTH`] zeros behind its end.
    fn solve_lower(&self, x: &mut [f64]) {
        for (j, (factors, pivot)) in self.lower.iter().zip(&self.pivots).enumerate() {
            x.swap(j, j + pivot);
            let top = x[j];
            for (x, factor) in x[j + 1..].iter_mut().zip(factors) {
                *x -= factor * top;
            }
        }
    }

    /// x = U^-1 x; x has [`LENGTH`] zeros behind its end.
    fn solve_upper(&self, x: &mut [f64]) {
        for (j, row) in self.upper.iter().enumerate().rev() {
            let mut sums = [0.0; 4];
            for (a, x) in row[1..].as_chunks::<4>().0.iter().zip(x[j + 1..].as_chunks::<4>().0) {
                for lane in 0..4 {
                    sums[lane] += a[lane] * x[lane];
                }
            }
            x[j] = (x[j] - ((sums[0] + sums[1]) + (sums[2] + sums[3]))) / row[0];
        }
    }
}

/// Row i of B - shift I, from column `first` on; i >= first >= i - b.
fn row_of(band: &Band, i: usize, first: usize, shift: f64) -> [f64; LENGTH] {
    let mut row = [0.0; LENGTH];
    if i < band.n {
        for (x, j) in row.iter_mut().zip(first..band.n.min(i + WIDTH + 1)) {
            *x = band.at(i.max(j), i.min(j));
        }
        row[i - first] -= shift;
    }
    row
}
