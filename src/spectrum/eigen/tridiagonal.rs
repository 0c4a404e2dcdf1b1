//! Eigenvalues of a symmetric tridiagonal matrix by root-free QL.

use super::{EigenError, Poll};
use crate::kernel::{GAMMA_FLOOR, Kernel};

/// Blocks up to this order are solved one shift at a time: filling the pipeline of eight would cost more.
const SMALL: usize = 24;

/// Couplings of this relative size end the iteration for shifts.
const SHIFT_COUPLING: f64 = 2.328e-10;

/// Shifts in flight: one for each of the kernel's lanes.
const SHIFTS: usize = 8;

/// Sorts the eigenvalues of the matrix with diagonal `d` and subdiagonal `e` (both \[n\], the last of `e` unused) into
/// `d`, ascending. The matrix is scaled to a norm between 2^-10 and n.
///
/// Eight sweeps go down the matrix in a row, shifted by the eigenvalues of its leading 8 x 8 block; those eigenvalues
/// then come off at the top within a few rounds. A coupling is dropped when it is below half an ulp of its neighbours,
/// or below 2^-56 of the norm, which changes no eigenvalue by more.
///
/// # Errors
/// [`EigenError::NoConvergence`] after 4 n + 64 rounds (n / 5 are usual).
///
/// # Cost
/// About 20 n^2 flops.
///
/// # Source
/// LAPACK dsterf for the recurrence, the criterion and the choice of direction.
pub(in crate::spectrum) fn eigenvalues(
    kernel: Kernel,
    d: &mut [f64],
    e: Vec<f64>,
    poll: Poll,
) -> Result<(), EigenError> {
    let n = d.len();
    let norm = d.iter().chain(&e).fold(0.0f64, |max, x| max.max(x.abs()));
    let mut e2 = e;
    for x in &mut e2 {
        *x *= *x;
    }
    const HALF_ULP: f64 = f64::EPSILON / 2.0;
    let criterion = Criterion { floor: (0.125 * HALF_ULP * norm).powi(2), relative: HALF_ULP * HALF_ULP };
    // A coupling e changes an eigenvalue by about e^2 / gap: for shifts 2^-32 is small enough.
    let for_shifts = Criterion { relative: SHIFT_COUPLING * SHIFT_COUPLING, ..criterion };
    let mut rounds = 4 * n + 64;
    let mut start = 0;
    // End of the block whose direction has been chosen.
    let mut oriented = usize::MAX;
    while start < n {
        let end = start + criterion.first_split(&d[start..], &e2[start..]);
        e2[end] = 0.0;
        if end == start {
            start += 1;
            continue;
        }
        let (d, e2) = (&mut d[start..=end], &mut e2[start..=end]);
        if d.len() <= SMALL {
            single_shift(d, e2, criterion)?;
            start = end + 1;
            continue;
        }
        poll.check()?;
        rounds = rounds.checked_sub(1).ok_or(EigenError::NoConvergence)?;
        if oriented != end {
            oriented = end;
            // QL finds the values of its first rows first and wants the small ones there.
            if d[d.len() - 1].abs() < d[0].abs() {
                d.reverse();
                let last = e2.len() - 1;
                e2[..last].reverse();
            }
        }
        let mut shifts = [0.0; SHIFTS];
        shifts.copy_from_slice(&d[..SHIFTS]);
        let mut couplings = [0.0; SHIFTS];
        couplings.copy_from_slice(&e2[..SHIFTS]);
        couplings[SHIFTS - 1] = 0.0;
        // Any shifts are valid; exact ones converge fast.
        let _ = single_shift(&mut shifts, &mut couplings, for_shifts);
        kernel.sweeps(d, e2, shifts);
    }
    if d.iter().any(|x| !x.is_finite()) {
        return Err(EigenError::NoConvergence);
    }
    d.sort_unstable_by(f64::total_cmp);
    Ok(())
}

/// When a coupling counts as zero.
#[derive(Clone, Copy)]
struct Criterion {
    /// Square of the absolute bound.
    floor: f64,
    /// Square of the bound relative to the neighbours on the diagonal.
    relative: f64,
}

impl Criterion {
    fn is_split(self, e2: f64, above: f64, below: f64) -> bool {
        e2 <= self.floor || e2 <= self.relative * (above * below).abs()
    }

    /// Index of the first negligible coupling, or of the last row.
    fn first_split(self, d: &[f64], e2: &[f64]) -> usize {
        (0..d.len() - 1).find(|&i| self.is_split(e2[i], d[i], d[i + 1])).unwrap_or(d.len() - 1)
    }
}

/// Root-free QL with one shift at a time; leaves the eigenvalues in `d`, unsorted, and zeros in `e2`.
fn single_shift(d: &mut [f64], e2: &mut [f64], criterion: Criterion) -> Result<(), EigenError> {
    let n = d.len();
    let mut sweeps = 30 * n;
    let mut start = 0;
    while start < n {
        let end = start + criterion.first_split(&d[start..], &e2[start..]);
        e2[end] = 0.0;
        if end == start {
            start += 1;
            continue;
        }
        if end == start + 1 {
            (d[start], d[end]) = two_by_two(d[start], e2[start].sqrt(), d[end]);
            e2[start] = 0.0;
            start += 2;
            continue;
        }
        sweeps = sweeps.checked_sub(1).ok_or(EigenError::NoConvergence)?;
        let root = e2[start].sqrt();
        let ratio = (d[start + 1] - d[start]) / (2.0 * root);
        let sigma = d[start] - root / (ratio + (ratio * ratio + 1.0).sqrt().copysign(ratio));
        sweep(&mut d[start..=end], &mut e2[start..=end], sigma);
    }
    Ok(())
}

/// One sweep; the scalar twin of a lane of [`Kernel::sweeps`].
fn sweep(d: &mut [f64], e2: &mut [f64], sigma: f64) {
    let floor = |x: f64| if x.abs() < GAMMA_FLOOR { GAMMA_FLOOR } else { x };
    let last = d.len() - 1;
    let mut s = 0.0;
    let mut gamma = floor(d[last] - sigma);
    let mut p = gamma * gamma;
    for i in (0..last).rev() {
        let r = p + e2[i];
        e2[i + 1] = s * r;
        let c_inverse = r / p;
        let c = p / r;
        s = e2[i] / r;
        let old = gamma;
        gamma = floor(c * (d[i] - sigma) - s * old);
        d[i + 1] = old + (d[i] - gamma);
        p = gamma * gamma * c_inverse;
    }
    e2[0] = s * p;
    d[0] = sigma + gamma;
}

/// Eigenvalues of ((a, b), (b, c)): LAPACK dlae2.
fn two_by_two(a: f64, b: f64, c: f64) -> (f64, f64) {
    let sum = a + c;
    // Not the platform's own, which rounds differently from one to the next.
    let root = libm::hypot(a - c, 2.0 * b);
    let (large, small) = if a.abs() > c.abs() { (a, c) } else { (c, a) };
    if sum == 0.0 {
        return (0.5 * root, -0.5 * root);
    }
    let first = 0.5 * (sum + root.copysign(sum));
    // The product of the two is the determinant; this form does not cancel.
    (first, large / first * small - b / first * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_do_what_single_sweeps_do() {
        // Pipelined sweeps and the same shifts one after the other: the same recurrence on the same numbers.
        let n = 40;
        let d0: Vec<f64> = (0..n).map(|i| ((i * 37 % 17) as f64).sin() + 0.1 * i as f64).collect();
        let mut e0: Vec<f64> = (0..n).map(|i| (((i * 11 % 7) as f64).cos() * 0.5).powi(2)).collect();
        e0[n - 1] = 0.0;
        let shifts = [0.1, 0.5, 1.0, 0.2, 0.7, 3.0, 0.0, 2.0];
        for kernel in Kernel::available() {
            let (mut d, mut e2) = (d0.clone(), e0.clone());
            kernel.sweeps(&mut d, &mut e2, shifts);
            let (mut d1, mut e1) = (d0.clone(), e0.clone());
            for shift in shifts {
                sweep(&mut d1, &mut e1, shift);
            }
            assert_eq!(d, d1, "{}", kernel.name());
            assert_eq!(e2, e1, "{}", kernel.name());
        }
    }
}
