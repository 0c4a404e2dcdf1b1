//! Band to tridiagonal: the second stage.

use super::band::Band;
use super::{EigenError, Poll};
use crate::kernel::Kernel;

/// Sweeps that go down the band together. Each is two steps (2b rows) behind the one before it, so a group works on
/// 2 b GROUP rows of 3b elements, which stay in the second-level cache (0.2 MB at b = 24).
const GROUP: usize = 8;

/// A step of a sweep.
pub(in crate::spectrum) struct Place {
    /// The row or column that the sweep clears.
    pub sweep: usize,
    /// First row of the block that the step works on.
    pub s: usize,
    /// Whether the sweep begins here.
    pub is_start: bool,
}

/// Goes through all steps of all sweeps over a band of order n and half bandwidth b, in an order that keeps the band in the
/// cache. `step(places, v, taus)` applies the reflectors of one sweep, or of two that do not touch each other's blocks, and
/// replaces them by the next: their vectors in `v`, one after the other, their taus in `taus`.
///
/// # Source
/// The grouping as in Haidar, Ltaief, Dongarra: Parallel reduction to condensed forms (2011).
pub(in crate::spectrum) fn sweep_in_groups(
    [n, width]: [usize; 2],
    poll: Poll,
    mut step: impl FnMut(&[Place], &mut [f64], &mut [f64]),
) -> Result<(), EigenError> {
    let sweeps = n.saturating_sub(2);
    let mut vectors = vec![0.0; GROUP * width];
    let mut taus = [0.0; GROUP];
    for first in (0..sweeps).step_by(GROUP) {
        let group = GROUP.min(sweeps - first);
        // The first sweep of the group is the longest; the others follow two steps apart.
        let waves = (n - 1 - first).div_ceil(width) + 2 * (group - 1);
        for wave in 0..waves {
            poll.check()?;
            let place = |member: usize| {
                let position = wave.checked_sub(2 * member).filter(|_| member < group)?;
                let sweep = first + member;
                let s = sweep + 1 + position * width;
                (s + 1 < n).then_some(Place { sweep, s, is_start: position == 0 })
            };
            for member in (0..group).step_by(2) {
                let (v, taus) = (&mut vectors[member * width..], &mut taus[member..]);
                match (place(member), place(member + 1)) {
                    (Some(one), Some(other)) => step(&[one, other], &mut v[..2 * width], &mut taus[..2]),
                    (Some(one), None) => step(&[one], &mut v[..width], &mut taus[..1]),
                    (None, Some(other)) => step(&[other], &mut v[width..2 * width], &mut taus[1..2]),
                    (None, None) => {}
                }
            }
        }
    }
    Ok(())
}

/// Reduces a band matrix to tridiagonal form: (diagonal \[n\], subdiagonal \[n\], the last element zero).
///
/// Sweep i clears column i below its subdiagonal; that fills a block b rows further down, whose first column is
/// cleared next, and so on to the end. Only the first column of each bulge is cleared: the next sweep needs no more.
///
/// # Cost
/// 6 n^2 b flops.
///
/// # Source
/// Lang: A parallel algorithm for reducing symmetric banded matrices to tridiagonal form (1993).
pub(super) fn tridiagonalize(kernel: Kernel, mut band: Band, poll: Poll) -> Result<(Vec<f64>, Vec<f64>), EigenError> {
    let (n, step) = (band.n, band.step());
    sweep_in_groups([n, band.width], poll, |places, v, taus| {
        for ((place, v), tau) in places.iter().zip(v.chunks_exact_mut(band.width)).zip(&mut *taus) {
            if place.is_start {
                let start = band.index(place.s, place.sweep);
                *tau = kernel.chase_start(&mut band.data[start..], v);
            }
        }
        if let ([one, other], [tau, other_tau]) = (places, &mut *taus) {
            let blocks = [band.index(one.s, one.s), band.index(other.s, other.s)];
            if let Some(next) = kernel.chase_two_steps(&mut band.data, blocks, step, v, [*tau, *other_tau]) {
                [*tau, *other_tau] = next;
                return;
            }
        }
        for ((place, v), tau) in places.iter().zip(v.chunks_exact_mut(band.width)).zip(taus) {
            let block = band.index(place.s, place.s);
            *tau = kernel.chase_step(&mut band.data[block..], step, v, *tau);
        }
    })?;
    let d = (0..n).map(|i| band.data[band.index(i, i)]).collect();
    let e = (0..n).map(|i| if i + 1 < n { band.data[band.index(i + 1, i)] } else { 0.0 }).collect();
    Ok((d, e))
}
