//! Dense to band: the first stage, where nearly all the flops are.

use super::{EigenError, Poll};
use crate::kernel::{Kernel, PanelFactors, Rows, Strided};
use crate::spectrum::tiles::{SymmetricTiles, TILE};

/// A symmetric band matrix of order n and half bandwidth b, with room for the bulges of the second stage.
///
/// Column c is contiguous and holds rows c - b .. c + 2b (both halves): A\[r, c\] is `data[3 b c + b + r]`. Rows n to
/// n + 3b are zero, so that kernels need not know where the matrix ends.
pub(super) struct Band {
    pub n: usize,
    pub width: usize,
    pub data: Vec<f64>,
}

impl Band {
    fn zero(n: usize, width: usize) -> Self {
        Self { n, width, data: vec![0.0; (n + 3 * width) * (3 * width + 1) + 3 * width] }
    }

    /// Distance of A\[r, c\] and A\[r, c + 1\].
    pub fn step(&self) -> usize {
        3 * self.width
    }

    /// Index of A\[r, c\].
    pub fn index(&self, row: usize, column: usize) -> usize {
        self.step() * column + self.width + row
    }

    /// Sets A\[r, c\] and, where the band keeps it, A\[c, r\]; r >= c.
    fn set(&mut self, row: usize, column: usize, x: f64) {
        let index = self.index(row, column);
        self.data[index] = x;
        if row - column < self.width {
            let index = self.index(column, row);
            self.data[index] = x;
        }
    }
}

/// Reduces A to a band matrix with the same eigenvalues.
///
/// Panel after panel of b columns: the part below the band is factored Q R with Q = I - V T V^T, and
/// Q^T A Q = A - V W^T - W V^T with W = Y T - V (T^T V^T Y T) / 2, Y = A V. The update of one panel and the product of
/// the next with V go over the matrix together, tile by tile, so each tile is fetched once a panel.
///
/// # Cost
/// 4/3 n^3 flops in products, O(n^2 b) besides; 4 n^2 / b passes over half the matrix.
///
/// # Source
/// Bischof, Lang, Sun: A framework for symmetric band reduction (2000); Dongarra, Sorensen, Hammarling (1989) for W.
pub(super) fn reduce(
    kernel: Kernel,
    tiles: &mut SymmetricTiles,
    width: usize,
    poll: &mut Poll,
) -> Result<Band, EigenError> {
    let n = tiles.order();
    let mut band = Band::zero(n, width);
    let mut work = Panels::new(kernel, n, width);
    for first in (0..work.padded).step_by(width) {
        poll.check()?;
        work.take_panel(tiles, first);
        work.store_diagonal_block(&mut band, first);
        if first + width == work.padded {
            break;
        }
        work.factor(&mut band, first);
        work.update_and_multiply(tiles, first + width, poll)?;
        work.finish_update(first + width);
    }
    Ok(band)
}

/// A row-major matrix as the left operand.
fn plain(data: &[f64], row_step: usize) -> Strided<'_> {
    Strided { data, row_step, depth_step: 1 }
}

/// The transpose of a row-major matrix as the left operand.
fn transposed(data: &[f64], depth_step: usize) -> Strided<'_> {
    Strided { data, row_step: 1, depth_step }
}

/// Vectors of one panel; rows are those of the whole matrix.
struct Panels {
    kernel: Kernel,
    n: usize,
    /// n rounded up to a multiple of the width.
    padded: usize,
    width: usize,
    /// (W, V), row-major \[padded, 2b\]; the V half is the panel before it is factored.
    left: Vec<f64>,
    /// `left` of the panel before, whose update A\[r, c\] += `left`\[c\] . `right`\[r\] still waits.
    waiting: Vec<f64>,
    /// (-V, -W) of the waiting update for each tile row, transposed: \[tile rows, 2b, 96\].
    right: Vec<f64>,
    /// A V, row-major \[padded, b\].
    y: Vec<f64>,
    factors: PanelFactors,
    /// T, row-major \[b, b\].
    t: Vec<f64>,
    /// Whether an update waits.
    pending: bool,
}

impl Panels {
    fn new(kernel: Kernel, n: usize, width: usize) -> Self {
        let padded = n.next_multiple_of(width);
        Self {
            kernel,
            n,
            padded,
            width,
            left: vec![0.0; padded * 2 * width],
            waiting: vec![0.0; padded * 2 * width],
            right: vec![0.0; n.div_ceil(TILE) * 2 * width * TILE],
            y: vec![0.0; padded * width],
            factors: PanelFactors::new(width),
            t: vec![0.0; width * width],
            pending: false,
        }
    }

    /// `left` from row `row` of V on; rows are 2b apart.
    fn v(&self, row: usize) -> &[f64] {
        &self.left[(2 * row + 1) * self.width..]
    }

    /// Copies columns `first .. first + b` from the diagonal down, with the waiting update applied.
    fn take_panel(&mut self, tiles: &SymmetricTiles, first: usize) {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        std::mem::swap(&mut self.left, &mut self.waiting);
        let (j, column) = (first / TILE, first % TILE);
        for i in j..self.padded.div_ceil(TILE) {
            let tile = &tiles.tile(i, j)[column * TILE..];
            let rows = TILE.min(self.padded - TILE * i);
            let start = if i == j { column } else { 0 };
            let panel = &mut self.left[(TILE * i + start) * step + width..];
            kernel.transpose([width, rows - start], &tile[start..], TILE, 1.0, panel, step);
        }
        if self.pending {
            kernel.gemm(
                [self.padded - first, width, step],
                Strided { data: &self.waiting[first * step..], row_step: step, depth_step: 1 },
                Rows::new(&self.right[j * step * TILE + column..], TILE),
                &mut self.left[first * step + width..],
                step,
            );
        }
    }

    fn store_diagonal_block(&self, band: &mut Band, first: usize) {
        for row in 0..self.width.min(self.n - first) {
            for column in 0..=row {
                band.set(first + row, first + column, self.v(first + row)[column]);
            }
        }
    }

    /// Factors the panel below its diagonal block; V stays in `left`, R goes to the band, T to `t`.
    fn factor(&mut self, band: &mut Band, first: usize) {
        let width = self.width;
        let below = first + width;
        let panel = &mut self.left[(2 * below + 1) * width..];
        self.kernel.panel_qr([self.padded - below, width], panel, 2 * width, &mut self.factors);
        for row in 0..width.min(self.n.saturating_sub(below)) {
            for column in row..width {
                band.set(below + row, first + column, self.factors.r[row * width + column]);
            }
        }
        self.factors.compact_form(&mut self.t);
    }

    /// Applies the waiting update to rows and columns `from ..` of A and computes Y = A V, one tile after the other.
    fn update_and_multiply(
        &mut self,
        tiles: &mut SymmetricTiles,
        from: usize,
        poll: &mut Poll,
    ) -> Result<(), EigenError> {
        let width = self.width;
        self.y[from * width..].fill(0.0);
        let (first, end) = (from / TILE, self.padded.div_ceil(TILE));
        for i in first..end {
            poll.check()?;
            for j in first..=i {
                let next = if j < i { (i, j + 1) } else { (i + 1, first) };
                if next.0 < end {
                    let (tile, next) = tiles.tile_and_next(i, j, next);
                    self.tile_step(tile, i, j, from, next);
                } else {
                    self.tile_step(tiles.tile_mut(i, j), i, j, from, &[]);
                }
            }
        }
        Ok(())
    }

    /// One tile; `next` is fetched meanwhile: large matrices wait for memory otherwise.
    fn tile_step(&mut self, tile: &mut [f64], i: usize, j: usize, from: usize, next: &[f64]) {
        // Each of the two products brings half of it, or a diagonal tile's only product a half: its work is half, too.
        let (next_upper, next_lower) = next.split_at(next.len() / 2);
        let (width, kernel) = (self.width, self.kernel);
        let row = from.saturating_sub(TILE * i);
        let column = from.saturating_sub(TILE * j);
        let rows = TILE.min(self.padded - TILE * i) - row;
        let columns = TILE.min(self.padded - TILE * j) - column;
        let (first_row, first_column) = (TILE * i + row, TILE * j + column);
        if self.pending {
            let left = &self.waiting[first_column * 2 * width..];
            let right = &self.right[i * 2 * width * TILE..(i + 1) * 2 * width * TILE];
            // A diagonal tile is updated from the diagonal down, 24 columns (a register block) at a time.
            let step = if i == j { 24 } else { columns };
            for skip in (0..columns).step_by(step) {
                let top = if i == j { row + skip } else { row };
                kernel.gemm(
                    [step.min(columns - skip), row + rows - top, 2 * width],
                    Strided { data: &left[skip * 2 * width..], row_step: 2 * width, depth_step: 1 },
                    Rows::new(&right[top..], TILE),
                    &mut tile[(column + skip) * TILE + top..],
                    TILE,
                );
            }
            if i == j {
                kernel.mirror(tile, TILE, row, row + rows);
            }
        }
        // Y_j += tile^T V_i
        let corner = &tile[column * TILE + row..];
        kernel.gemm_ahead(
            [columns, width, rows],
            Strided { data: corner, row_step: TILE, depth_step: 1 },
            Rows::new(&self.left[(2 * first_row + 1) * width..], 2 * width),
            &mut self.y[first_column * width..],
            width,
            next_upper,
        );
        if i != j {
            // Y_i += tile V_j
            kernel.gemm_ahead(
                [rows, width, columns],
                Strided { data: corner, row_step: 1, depth_step: TILE },
                Rows::new(&self.left[(2 * first_column + 1) * width..], 2 * width),
                &mut self.y[first_row * width..],
                width,
                next_lower,
            );
        }
    }

    /// Computes W and lays (-V, -W) out for the next pass.
    fn finish_update(&mut self, from: usize) {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        let rows = self.padded - from;
        let square = [width; 3];
        let y = &self.y[from * width..];
        let row_major = |data| Rows::new(data, width);
        // m = -T^T (V^T Y) T / 2
        let mut vty = vec![0.0; width * width];
        kernel.gemm([width, width, rows], transposed(self.v(from), step), row_major(y), &mut vty, width);
        let mut vtyt = vec![0.0; width * width];
        kernel.gemm(square, plain(&vty, width), row_major(&self.t), &mut vtyt, width);
        let mut m = vec![0.0; width * width];
        kernel.gemm(square, transposed(&self.t, width), row_major(&vtyt), &mut m, width);
        for x in &mut m {
            *x *= -0.5;
        }
        // W = Y T + V m, in blocks of rows that stay in the first-level cache; V and W are halves of the same rows.
        let mut v = [0.0; TILE * 32];
        for i in from / TILE..self.padded.div_ceil(TILE) {
            let start = from.saturating_sub(TILE * i);
            let count = TILE.min(self.padded - TILE * i) - start;
            let row = TILE * i + start;
            let block = &mut self.left[row * step..(row + count) * step];
            for (v, line) in v.chunks_exact_mut(width).zip(block.chunks_exact_mut(step)) {
                v.copy_from_slice(&line[width..]);
                line[..width].fill(0.0);
            }
            let y = &self.y[row * width..];
            kernel.gemm([count, width, width], plain(y, width), row_major(&self.t), block, step);
            kernel.gemm([count, width, width], plain(&v, width), row_major(&m), block, step);
            let right = &mut self.right[i * step * TILE..(i + 1) * step * TILE];
            kernel.transpose([count, width], &block[width..], step, -1.0, &mut right[start..], TILE);
            kernel.transpose([count, width], block, step, -1.0, &mut right[width * TILE + start..], TILE);
        }
        self.pending = true;
    }
}
