//! Band to bidiagonal.

use super::band::Band;
use super::{EigenError, Poll};
use crate::kernel::Kernel;

/// Sweeps that go down the band together, each two steps (2b rows) behind the one before it; as for eigenvalues.
const GROUP: usize = 8;

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
    let (n, width, step) = (band.n, band.width, band.step());
    let sweeps = n.saturating_sub(2);
    let mut vectors = vec![0.0; GROUP * width];
    let mut taus = [0.0; GROUP];
    for first in (0..sweeps).step_by(GROUP) {
        let group = GROUP.min(sweeps - first);
        // The first sweep of the group is the longest; the others follow two steps apart.
        let waves = (n - 1 - first).div_ceil(width) + 2 * (group - 1);
        for wave in 0..waves {
            poll.check()?;
            for (member, v) in vectors.chunks_exact_mut(width).enumerate().take(group) {
                let Some(position) = wave.checked_sub(2 * member) else { break };
                let sweep = first + member;
                let s = sweep + 1 + position * width;
                if s + 1 >= n {
                    continue;
                }
                if position == 0 {
                    let index = band.index(sweep, s);
                    taus[member] = kernel.chase_start(&mut band.data[index..], v);
                }
                let index = band.index(s, s);
                taus[member] = kernel.bulge_step(&mut band.data[index..], step, v, taus[member]);
            }
        }
    }
    let d = (0..n).map(|i| band.data[band.index(i, i)]).collect();
    let e = (0..n).map(|i| if i + 1 < n { band.data[band.index(i, i + 1)] } else { 0.0 }).collect();
    Ok((d, e))
}
