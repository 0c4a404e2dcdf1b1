//! Band to bidiagonal.

use super::band::Band;
use super::{EigenError, Poll, sweep_in_groups};
use crate::kernel::Kernel;

/// Reduces an upper band matrix to bidiagonal form: (diagonal \[n\], superdiagonal \[n\], the last element zero).
///
/// Sweep i clears row i after its superdiagonal; that fills a block below the diagonal, whose first column is cleared
/// next, which fills one b columns further right, whose first row is cleared next, and so on to the end.
///
/// # Cost
/// 8 n^2 b flops.
///
/// # Source
/// Lang: Parallel reduction of banded matrices to bidiagonal form (1996).
pub(super) fn bidiagonalize(kernel: Kernel, mut band: Band, poll: Poll) -> Result<(Vec<f64>, Vec<f64>), EigenError> {
    let (n, step) = (band.n, band.step());
    sweep_in_groups([n, band.width], poll, |places, v, taus| {
        for ((place, v), tau) in places.iter().zip(v.chunks_exact_mut(band.width)).zip(taus) {
            let (start, index) = (band.index(place.sweep, place.s), band.index(place.s, place.s));
            if place.is_start {
                *tau = kernel.chase_start(&mut band.data[start..], v);
            }
            *tau = kernel.bulge_step(&mut band.data[index..], step, v, *tau);
        }
    })?;
    let d = (0..n).map(|i| band.data[band.index(i, i)]).collect();
    let e = (0..n).map(|i| if i + 1 < n { band.data[band.index(i, i + 1)] } else { 0.0 }).collect();
    Ok((d, e))
}
