//! Dense to band, from both sides.

use super::grid::Grid;
use super::{EigenError, Poll};
use crate::kernel::{Kernel, PanelFactors, Rows, Strided, WIDEST};
use crate::spectrum::tiles::TILE;

/// An upper band matrix of order n with b superdiagonals, with room for the bulges of the second stage.
///
/// Row r is contiguous and holds columns r - b .. r + 2b: A\[r, c\] is `data[3b r + b + c]`. Rows n to n + 3b are zero,
/// so that kernels need not know where the matrix ends.
pub(super) struct Band {
    pub n: usize,
    pub width: usize,
    pub data: Vec<f64>,
}

impl Band {
    fn zero(n: usize, width: usize) -> Self {
        Self { n, width, data: vec![0.0; (n + 3 * width) * (3 * width + 1) + 3 * width] }
    }

    /// Distance of A\[r, c\] and A\[r + 1, c\].
    pub fn step(&self) -> usize {
        3 * self.width
    }

    /// Index of A\[r, c\].
    pub fn index(&self, row: usize, column: usize) -> usize {
        self.step() * row + self.width + column
    }

    /// Sets A\[r, c\] if that is inside the matrix.
    fn set(&mut self, row: usize, column: usize, x: f64) {
        if row < self.n && column < self.n {
            let index = self.index(row, column);
            self.data[index] = x;
        }
    }
}

/// Reduces A \[m, n\], m >= n, to an upper band matrix \[n, n\] with the same singular values.
///
/// Step after step, b columns are factored V R, the reflectors applied to the rest from the left, then b rows factored
/// L U^T and those reflectors applied from the right: together A - V X^T - Y U^T with X = A^T V T and
/// Y = (A U - V X^T U) S. The update waits until the next step's A^T V, so the matrix is read twice and written once a
/// step, tile by tile.
///
/// # Cost
/// 4 m n^2 - 4/3 n^3 flops in products, O(m n b) besides.
///
/// # Source
/// Grosser, Lang: Efficient parallel reduction to bidiagonal form (1999).
pub(super) fn reduce(kernel: Kernel, mut grid: Grid, width: usize, poll: Poll) -> Result<Band, EigenError> {
    let mut band = Band::zero(grid.cols, width);
    let mut work = Panels::new(kernel, &grid, width);
    for first in (0..work.cols).step_by(width) {
        poll.check()?;
        work.take_columns(&grid, first);
        work.factor_columns(&mut band, first);
        if first + width == work.cols {
            break;
        }
        work.update_and_multiply_left(&mut grid, first, poll)?;
        work.take_rows(&grid, first);
        work.factor_rows(&mut band, first);
        work.multiply_right(&mut grid, first + width, poll)?;
        work.finish_update(first + width);
    }
    Ok(band)
}

fn plain(data: &[f64], row_step: usize) -> Strided<'_> {
    Strided { data, row_step, depth_step: 1 }
}

fn transposed(data: &[f64], depth_step: usize) -> Strided<'_> {
    Strided { data, row_step: 1, depth_step }
}

/// Vectors of one step; rows and columns are those of the whole matrix.
struct Panels {
    kernel: Kernel,
    /// m and n rounded up to multiples of the width.
    rows: usize,
    cols: usize,
    width: usize,
    /// (V, Y), row-major \[rows, 2b\]; the V half is the panel of columns before it is factored.
    left: Vec<f64>,
    /// `left` of the step before, whose update A\[r, c\] += `left`\[r\] . `right`\[c\] still waits.
    waiting: Vec<f64>,
    /// (-X, -U) of the waiting update for each tile column, transposed: \[tile columns, 2b, 96\].
    right: Vec<f64>,
    /// A^T V, then X, row-major \[cols, b\].
    x: Vec<f64>,
    /// U, row-major \[cols, b\]; the panel of rows, transposed, before it is factored.
    u: Vec<f64>,
    /// A U, row-major \[rows, b\].
    y: Vec<f64>,
    factors: PanelFactors,
    /// T, then S, row-major \[b, b\].
    t: Vec<f64>,
    /// Whether an update waits.
    pending: bool,
}

/// What one block of rows or columns of tiles holds of a matrix that begins at `from` and ends at `end`:
/// (first in the tile, count).
fn part(tile: usize, from: usize, end: usize) -> (usize, usize) {
    let start = from.saturating_sub(TILE * tile);
    (start, TILE.min(end - TILE * tile) - start)
}

impl Panels {
    fn new(kernel: Kernel, grid: &Grid, width: usize) -> Self {
        let (rows, cols) = (grid.rows.next_multiple_of(width), grid.cols.next_multiple_of(width));
        Self {
            kernel,
            rows,
            cols,
            width,
            left: vec![0.0; rows * 2 * width],
            waiting: vec![0.0; rows * 2 * width],
            right: vec![0.0; cols.div_ceil(TILE) * 2 * width * TILE],
            x: vec![0.0; cols * width],
            u: vec![0.0; cols * width],
            y: vec![0.0; rows * width],
            factors: PanelFactors::new(width),
            t: vec![0.0; width * width],
            pending: false,
        }
    }

    /// Copies columns `first .. first + b` from row `first` down, with the waiting update applied.
    fn take_columns(&mut self, grid: &Grid, first: usize) {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        std::mem::swap(&mut self.left, &mut self.waiting);
        for row in first..self.rows {
            let tile = grid.at(row, first);
            self.left[row * step..][..width].copy_from_slice(&tile[..width]);
        }
        if self.pending {
            kernel.gemm(
                [self.rows - first, width, step],
                plain(&self.waiting[first * step..], step),
                Rows::new(&self.right[first / TILE * step * TILE + first % TILE..], TILE),
                &mut self.left[first * step..],
                step,
            );
        }
    }

    /// Factors the panel of columns; V stays in `left`, R goes to the band, T to `t`.
    fn factor_columns(&mut self, band: &mut Band, first: usize) {
        let width = self.width;
        let panel = &mut self.left[first * 2 * width..];
        self.kernel.panel_qr([self.rows - first, width], panel, 2 * width, &mut self.factors);
        self.factors.compact_form(&mut self.t);
        for row in 0..width {
            for column in row..width {
                band.set(first + row, first + column, self.factors.r[row * width + column]);
            }
        }
    }

    /// Applies the waiting update to rows `first ..` and columns `first + b ..` of A and computes X = A^T V T.
    fn update_and_multiply_left(&mut self, grid: &mut Grid, first: usize, poll: Poll) -> Result<(), EigenError> {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        let from = first + width;
        // X = (A^T V) T: A^T V is gathered in `y`'s stead, in `u`, which is free until the rows are taken.
        let product = &mut self.u;
        product[from * width..].fill(0.0);
        let (top, end) = (first / TILE, self.rows.div_ceil(TILE));
        let (leftmost, across) = (from / TILE, self.cols.div_ceil(TILE));
        for i in top..end {
            poll.check()?;
            let (row, count) = part(i, first, self.rows);
            let panel_row = (TILE * i + row) * step;
            for j in leftmost..across {
                let next =
                    if j + 1 < across { Some((i, j + 1)) } else { Some((i + 1, leftmost)).filter(|n| n.0 < end) };
                let (tile, next) = grid.tile_and_next(i, j, next);
                let (column, columns) = part(j, from, self.cols);
                let corner = &mut tile[row * TILE + column..];
                let (half, rest) = next.split_at(next.len() / 2);
                if self.pending {
                    let right = &self.right[j * step * TILE..(j + 1) * step * TILE];
                    kernel.gemm_ahead(
                        [count, columns, step],
                        plain(&self.waiting[panel_row..], step),
                        Rows::new(&right[column..], TILE),
                        corner,
                        TILE,
                        half,
                    );
                }
                kernel.gemm_ahead(
                    [columns, width, count],
                    transposed(corner, TILE),
                    Rows::new(&self.left[panel_row..], step),
                    &mut product[(TILE * j + column) * width..],
                    width,
                    rest,
                );
            }
        }
        self.x[from * width..].fill(0.0);
        kernel.gemm(
            [self.cols - from, width, width],
            plain(&product[from * width..], width),
            Rows::new(&self.t, width),
            &mut self.x[from * width..],
            width,
        );
        Ok(())
    }

    /// Copies rows `first .. first + b` from column `first + b` on into `u`, transposed, with A - V X^T applied.
    fn take_rows(&mut self, grid: &Grid, first: usize) {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        let from = first + width;
        for j in from / TILE..self.cols.div_ceil(TILE) {
            let (column, columns) = part(j, from, self.cols);
            let column = TILE * j + column;
            let to = &mut self.u[column * width..];
            kernel.transpose([width, columns], grid.at(first, column), TILE, 1.0, to, width);
        }
        let mut minus_v = vec![0.0; width * width];
        kernel.transpose([width; 2], &self.left[first * step..], step, -1.0, &mut minus_v, width);
        kernel.gemm(
            [self.cols - from, width, width],
            plain(&self.x[from * width..], width),
            Rows::new(&minus_v, width),
            &mut self.u[from * width..],
            width,
        );
    }

    /// Factors the panel of rows; U stays in `u`, L goes to the band, S to `t`.
    fn factor_rows(&mut self, band: &mut Band, first: usize) {
        let width = self.width;
        let from = first + width;
        self.kernel.panel_qr([self.cols - from, width], &mut self.u[from * width..], width, &mut self.factors);
        self.factors.compact_form(&mut self.t);
        for column in 0..width {
            for row in column..width {
                band.set(first + row, from + column, self.factors.r[column * width + row]);
            }
        }
    }

    /// Y = A U over rows and columns `from ..`.
    fn multiply_right(&mut self, grid: &mut Grid, from: usize, poll: Poll) -> Result<(), EigenError> {
        let width = self.width;
        self.y[from * width..].fill(0.0);
        let (top, end) = (from / TILE, self.rows.div_ceil(TILE));
        let across = self.cols.div_ceil(TILE);
        for i in top..end {
            poll.check()?;
            let (row, count) = part(i, from, self.rows);
            for j in top..across {
                let next = if j + 1 < across { Some((i, j + 1)) } else { Some((i + 1, top)).filter(|n| n.0 < end) };
                let (tile, next) = grid.tile_and_next(i, j, next);
                let (column, columns) = part(j, from, self.cols);
                self.kernel.gemm_ahead(
                    [count, width, columns],
                    plain(&tile[row * TILE + column..], TILE),
                    Rows::new(&self.u[(TILE * j + column) * width..], width),
                    &mut self.y[(TILE * i + row) * width..],
                    width,
                    next,
                );
            }
        }
        Ok(())
    }

    /// Computes Y = (A U - V X^T U) S and lays the update of rows and columns `from ..` out for the next pass.
    fn finish_update(&mut self, from: usize) {
        let (width, step, kernel) = (self.width, 2 * self.width, self.kernel);
        // m = -(X^T U) S
        let mut xtu = vec![0.0; width * width];
        kernel.gemm(
            [width, width, self.cols - from],
            transposed(&self.x[from * width..], width),
            Rows::new(&self.u[from * width..], width),
            &mut xtu,
            width,
        );
        let mut m = vec![0.0; width * width];
        kernel.gemm([width; 3], plain(&xtu, width), Rows::new(&self.t, width), &mut m, width);
        for x in &mut m {
            *x = -*x;
        }
        // Y = (A U) S + V m, in blocks of rows that stay in the first-level cache; V and Y are halves of the same rows.
        let mut v = [0.0; TILE * WIDEST];
        for i in from / TILE..self.rows.div_ceil(TILE) {
            let (start, count) = part(i, from, self.rows);
            let row = TILE * i + start;
            let block = &mut self.left[row * step..(row + count) * step];
            for (v, line) in v.chunks_exact_mut(width).zip(block.chunks_exact_mut(step)) {
                v.copy_from_slice(&line[..width]);
                line[width..].fill(0.0);
            }
            let y = &self.y[row * width..];
            let block = &mut block[width..];
            kernel.gemm([count, width, width], plain(y, width), Rows::new(&self.t, width), block, step);
            kernel.gemm([count, width, width], plain(&v, width), Rows::new(&m, width), block, step);
        }
        for j in from / TILE..self.cols.div_ceil(TILE) {
            let (column, count) = part(j, from, self.cols);
            let right = &mut self.right[j * step * TILE..(j + 1) * step * TILE];
            let row = (TILE * j + column) * width;
            kernel.transpose([count, width], &self.x[row..], width, -1.0, &mut right[column..], TILE);
            kernel.transpose([count, width], &self.u[row..], width, -1.0, &mut right[width * TILE + column..], TILE);
        }
        self.pending = true;
    }
}
