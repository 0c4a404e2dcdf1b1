//! Dense to band: the first stage, where nearly all the flops are.

use rayon::prelude::*;

use super::{EigenError, Poll};
use crate::kernel::{Kernel, PanelFactors, Rows, Strided};
use crate::spectrum::tiles::{PARALLEL, SymmetricTiles, TILE, TileRows};

/// A symmetric band matrix of order n and half bandwidth b, with room for the bulges of the second stage.
///
/// Column c is contiguous and holds rows c - b .. c + 2b (both halves): A\[r, c\] is `data[3 b c + b + r]`. Rows n to
/// n + 3b are zero, so that kernels need not know where the matrix ends.
#[derive(Clone)]
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

    /// A\[r, c\]; r >= c.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.data[self.index(row, column)]
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
/// Large matrices are cut into rows of tiles for several threads, each with a sum of its own for the part of Y that comes
/// from above the diagonal. The cuts follow from the order alone, so the bits do not depend on the number of threads.
///
/// # Cost
/// 4/3 n^3 flops in products, O(n^2 b) besides; 4 n^2 / b passes over half the matrix.
///
/// # Source
/// Bischof, Lang, Sun: A framework for symmetric band reduction (2000); Dongarra, Sorensen, Hammarling (1989) for W.
pub(super) fn reduce(kernel: Kernel, tiles: &mut SymmetricTiles, width: usize, poll: Poll) -> Result<Band, EigenError> {
    reduce_keeping(kernel, tiles, width, poll, None)
}

/// The Q = I - V T V^T of one panel.
pub(super) struct Reflectors {
    /// The first row it changes.
    pub first: usize,
    /// V from there down, row-major \[rows, b\], as many rows as n rounded up to a multiple of b leaves.
    pub v: Vec<f64>,
    /// T, row-major \[b, b\].
    pub t: Vec<f64>,
}

/// [`reduce`], keeping the panels' Q, whose product Q_1 Q_2 .. leads from the band's eigenvectors to those of A.
///
/// # Errors
/// [`EigenError::Cancelled`].
pub(super) fn reduce_keeping(
    kernel: Kernel,
    tiles: &mut SymmetricTiles,
    width: usize,
    poll: Poll,
    mut kept: Option<&mut Vec<Reflectors>>,
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
        if let Some(kept) = &mut kept {
            kept.push(work.reflectors(first + width));
        }
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
    /// What all parts but the last add to `y`.
    partial: Vec<Vec<f64>>,
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
            partial: Vec::new(),
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
        let (width, step, kernel, padded) = (self.width, 2 * self.width, self.kernel, self.padded);
        std::mem::swap(&mut self.left, &mut self.waiting);
        let (j, column) = (first / TILE, first % TILE);
        let (waiting, right) = (&self.waiting, &self.right[j * step * TILE + column..]);
        let is_pending = self.pending;
        let blocks = self.left.par_chunks_mut(TILE * step).enumerate().skip(j).take(padded.div_ceil(TILE) - j);
        blocks.with_min_len(BLOCKS).for_each(|(i, block)| {
            let tile = &tiles.tile(i, j)[column * TILE..];
            let start = if i == j { column } else { 0 };
            let rows = TILE.min(padded - TILE * i) - start;
            let panel = &mut block[start * step + width..];
            kernel.transpose([width, rows], &tile[start..], TILE, 1.0, panel, step);
            if is_pending {
                let left = Strided { data: &waiting[(TILE * i + start) * step..], row_step: step, depth_step: 1 };
                kernel.gemm([rows, width, step], left, Rows::new(right, TILE), panel, step);
            }
        });
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

    /// The factored panel, which begins at row `first`.
    fn reflectors(&self, first: usize) -> Reflectors {
        let rows = self.v(first).chunks(2 * self.width).take(self.padded - first);
        Reflectors { first, v: rows.flat_map(|row| &row[..self.width]).copied().collect(), t: self.t.clone() }
    }

    /// Applies the waiting update to rows and columns `from ..` of A and computes Y = A V, one tile after the other.
    fn update_and_multiply(&mut self, tiles: &mut SymmetricTiles, from: usize, poll: Poll) -> Result<(), EigenError> {
        let width = self.width;
        let cuts = cuts(from / TILE, self.padded.div_ceil(TILE));
        let mut y = std::mem::take(&mut self.y);
        let mut partial = std::mem::take(&mut self.partial);
        partial.resize_with(partial.len().max(cuts.len() - 2), Vec::new);
        // The last part reaches every row.
        let sums = partial.iter_mut().zip(&cuts[1..]).take(cuts.len() - 2).map(|(sum, cut)| {
            sum.resize(sum.len().max(cut * TILE * width), 0.0);
            &mut sum[..cut * TILE * width]
        });
        let sums: Vec<&mut [f64]> = sums.chain([&mut y[..]]).collect();
        let parts: Vec<_> = tiles.parts(&cuts).into_iter().zip(sums).collect();
        let outcome = parts.into_par_iter().rev().try_for_each(|(part, sum)| self.part_step(part, from, sum, poll));
        for (sum, cut) in partial.iter().zip(&cuts[1..]).take(cuts.len() - 2) {
            let rows = from * width..cut * TILE * width;
            for (y, sum) in y[rows.clone()].iter_mut().zip(&sum[rows]) {
                *y += sum;
            }
        }
        (self.y, self.partial) = (y, partial);
        outcome
    }

    /// [`Self::update_and_multiply`] of some rows of tiles; `y` gets their part of Y.
    fn part_step(&self, mut part: TileRows<'_, f64>, from: usize, y: &mut [f64], poll: Poll) -> Result<(), EigenError> {
        y[from * self.width..].fill(0.0);
        let (first, end) = (from / TILE, part.rows.end);
        for i in part.rows.clone() {
            poll.check()?;
            for j in first..=i {
                let next = if j < i { (i, j + 1) } else { (i + 1, first) };
                let (tile, next) = part.tile_and_next(i, j, Some(next).filter(|next| next.0 < end));
                self.tile_step(tile, [i, j], from, next, y);
            }
        }
        Ok(())
    }

    /// One tile; `next` is fetched meanwhile: large matrices wait for memory otherwise.
    fn tile_step(&self, tile: &mut [f64], [i, j]: [usize; 2], from: usize, next: &[f64], y: &mut [f64]) {
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
            &mut y[first_column * width..],
            width,
            next_upper,
        );
        if i != j {
            // Y_i += tile V_j
            kernel.gemm_ahead(
                [rows, width, columns],
                Strided { data: corner, row_step: 1, depth_step: TILE },
                Rows::new(&self.left[(2 * first_column + 1) * width..], 2 * width),
                &mut y[first_row * width..],
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
        let (padded, t, y) = (self.padded, &self.t, &self.y);
        let blocks = self.left.par_chunks_mut(TILE * step).zip(self.right.par_chunks_mut(TILE * step)).enumerate();
        let blocks = blocks.skip(from / TILE).take(padded.div_ceil(TILE) - from / TILE);
        // Room for the V of a block, cleared once and not for each of them.
        let room = || vec![0.0; TILE * width];
        blocks.with_min_len(BLOCKS).for_each_init(room, |v, (i, (left, right))| {
            let start = from.saturating_sub(TILE * i);
            let count = TILE.min(padded - TILE * i) - start;
            let block = &mut left[start * step..(start + count) * step];
            // By eights, which divide every width: a browser copies and clears lengths it does not know beforehand by calls.
            for (v, line) in v.chunks_exact_mut(width).zip(block.chunks_exact_mut(step)) {
                let (w, panel) = line.split_at_mut(width);
                let octets = v.as_chunks_mut::<8>().0.iter_mut().zip(w.as_chunks_mut::<8>().0);
                for ((v, w), panel) in octets.zip(panel.as_chunks::<8>().0) {
                    (*v, *w) = (*panel, [0.0; 8]);
                }
            }
            let y = &y[(TILE * i + start) * width..];
            kernel.gemm([count, width, width], plain(y, width), row_major(t), block, step);
            kernel.gemm([count, width, width], plain(v, width), row_major(&m), block, step);
            kernel.transpose([count, width], &block[width..], step, -1.0, &mut right[start..], TILE);
            kernel.transpose([count, width], block, step, -1.0, &mut right[width * TILE + start..], TILE);
        });
        self.pending = true;
    }
}

/// Rows of tiles that a thread takes at least, where the work is of the order of n b^2.
const BLOCKS: usize = PARALLEL / TILE;

/// Cuts the rows of tiles `first .. end` of a triangle into parts of about equal work: one for every 512 rows, 16 at most,
/// so that their sums for Y take a fiftieth of the time of the products.
fn cuts(first: usize, end: usize) -> Vec<usize> {
    let rows = end - first;
    let parts = (rows * TILE / (PARALLEL / 2)).clamp(1, 16);
    let mut cuts = vec![first];
    // The work of the rows up to i is i^2 / rows^2 of all.
    cuts.extend((1..parts).map(|k| first + (rows * rows * k / parts).isqrt()));
    cuts.push(end);
    cuts
}
