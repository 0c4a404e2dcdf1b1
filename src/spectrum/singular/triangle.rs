//! A tall matrix to a triangle with the same singular values, streamed.

use super::grid::Grid;
use super::{EigenError, Poll, Tall};
use crate::kernel::{Kernel, PanelFactors, Rows, Strided};
use crate::spectrum::tiles::TILE;

/// Columns factored together: one register block across.
const WIDTH: usize = 24;

/// Rows taken at a time. More of them make the work on T (`WIDTH` / 2 `SLICE` of the whole) smaller, fewer keep a panel in
/// the second-level cache.
const SLICE: usize = 512;

/// R of the factorization A = Q R, upper triangular \[n, n\].
///
/// Slice after slice of rows S, the stack of R and S is factored by panels of columns: a panel's reflectors are
/// I - V T V^T with V = (1; Y), one at R's own rows and Y at those of S. Columns take the reflectors of all panels
/// before them when they are first touched, so a panel is read and written while it is in the cache.
///
/// # Cost
/// 2 m n^2 flops, n^2 + 512 n elements.
///
/// # Source
/// Golub, Van Loan: Matrix Computations, section 5.2.2 and (adding rows) 6.5.3.
pub(super) fn triangle(kernel: Kernel, source: &Tall, poll: Poll) -> Result<Grid, EigenError> {
    const PANEL: usize = (WIDTH + SLICE) * WIDTH;
    const SQUARE: usize = WIDTH * WIDTH;
    let panels = source.cols.div_ceil(WIDTH);
    let mut r = Grid::zero(source.cols, source.cols);
    // Each panel's (R; S), then its V.
    let mut stacks = vec![0.0; panels * PANEL];
    // -T of each panel.
    let mut minus_t = vec![0.0; panels * SQUARE];
    let mut factors = PanelFactors::new(WIDTH);
    for top in (0..source.rows).step_by(SLICE) {
        let count = SLICE.min(source.rows - top);
        for panel in 0..panels {
            poll.check()?;
            let column = panel * WIDTH;
            let (before, stack) = stacks.split_at_mut(panel * PANEL);
            let stack = &mut stack[..PANEL];
            source.copy([top, column], [count, WIDTH], &mut stack[SQUARE..]);
            for (earlier, (v, minus_t)) in before.chunks_exact(PANEL).zip(minus_t.chunks_exact(SQUARE)).enumerate() {
                let v = &v[SQUARE..];
                let slice = &mut stack[SQUARE..];
                let block = r.at_mut(earlier * WIDTH, column);
                // w = R + Y^T S, then R -= T^T w and S -= Y T^T w.
                let mut w = [0.0; SQUARE];
                for (to, from) in w.chunks_exact_mut(WIDTH).zip(block.chunks(TILE)) {
                    to.copy_from_slice(&from[..WIDTH]);
                }
                let transposed = |data| Strided { data, row_step: 1, depth_step: WIDTH };
                let plain = |data| Strided { data, row_step: WIDTH, depth_step: 1 };
                kernel.gemm([WIDTH, WIDTH, count], transposed(v), Rows::new(slice, WIDTH), &mut w, WIDTH);
                let mut step = [0.0; SQUARE];
                kernel.gemm([WIDTH; 3], transposed(minus_t), Rows::new(&w, WIDTH), &mut step, WIDTH);
                for (to, step) in block.chunks_mut(TILE).zip(step.chunks_exact(WIDTH)) {
                    for (to, step) in to.iter_mut().zip(step) {
                        *to += step;
                    }
                }
                kernel.gemm([count, WIDTH, WIDTH], plain(v), Rows::new(&step, WIDTH), slice, WIDTH);
            }
            let block = r.at_mut(column, column);
            for (to, from) in stack.chunks_exact_mut(WIDTH).zip(block.chunks(TILE)).take(WIDTH) {
                to.copy_from_slice(&from[..WIDTH]);
            }
            kernel.panel_qr([WIDTH + count, WIDTH], stack, WIDTH, &mut factors);
            for (to, from) in block.chunks_mut(TILE).zip(factors.r.chunks_exact(WIDTH)) {
                to[..WIDTH].copy_from_slice(from);
            }
            let minus_t = &mut minus_t[panel * SQUARE..][..SQUARE];
            factors.compact_form(minus_t);
            for x in minus_t {
                *x = -*x;
            }
        }
    }
    Ok(r)
}
