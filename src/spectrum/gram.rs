//! Gram products W^T W, streamed: the matrix goes by in panels of rows, only the product stays.

use rayon::prelude::*;

use crate::kernel::{GramLayout, Kernel, Rows, Strided};
use crate::spectrum::tiles::{PARALLEL, SymmetricTiles, TILE, TileRows};

/// Rows to hand in at a time. A multiple of what is packed at a time, and of the weights in a block of every quantized format.
pub const SLICE: usize = 256;

/// Columns packed together: three vectors of eight, the widest register block.
const GROUP: usize = 24;

/// Groups of columns in a tile.
const IN_TILE: usize = TILE / GROUP;

/// Groups whose packed columns stay in the second-level cache (384 KiB) while all rows go by.
const GROUPS_IN_CACHE: usize = 8;

/// Accumulates G = W^T W in f64, W \[m, n\] arriving in panels of rows.
///
/// G\[i, j\] = sum over k of W\[k, i\] W\[k, j\], one chain of (fused) multiply-adds in the order of k: the result does not
/// depend on how the rows are cut into panels.
#[derive(Clone, Debug)]
pub struct GramBuilder {
    kernel: Kernel,
    n: usize,
    tiles: SymmetricTiles,
    layout: GramLayout,
    /// Some rows of W in f64: \[columns / width, depth, width\].
    packed: Vec<f64>,
}

impl GramBuilder {
    /// An empty sum for n columns, on this processor's kernel.
    ///
    /// # Cost
    /// 4 n^2 + 2 kB n bytes.
    pub fn new(n: usize) -> Self {
        Self::with_kernel(Kernel::selected(), n)
    }

    /// An empty sum for n columns, on a kernel of the caller's choice.
    pub fn with_kernel(kernel: Kernel, n: usize) -> Self {
        let layout = kernel.gram_layout();
        let packed = vec![0.0; n.div_ceil(GROUP) * GROUP * layout.depth];
        Self { kernel, n, tiles: SymmetricTiles::zero(n), layout, packed }
    }

    /// Adds k rows of W: `panel` is row-major \[k, n\].
    ///
    /// # Panics
    /// If `panel` does not hold k n elements.
    ///
    /// # Cost
    /// k n^2 flops (multiplications and additions of one triangle).
    pub fn push(&mut self, panel: &[f32], k: usize) {
        assert_eq!(panel.len(), k * self.n);
        let (n, GramLayout { width, depth: most, .. }) = (self.n, self.layout);
        for first in (0..k).step_by(most) {
            let depth = most.min(k - first);
            let rows = &panel[first * n..(first + depth) * n];
            self.pack(depth, |column, count, packed| {
                for (row, line) in rows.chunks_exact(n).zip(packed.chunks_mut(width)) {
                    let line = &mut line[..8];
                    // Most octets are whole: a length known beforehand makes one conversion of them.
                    if let Some(whole) = row[column..].first_chunk::<8>() {
                        for (to, &from) in line.iter_mut().zip(whole) {
                            *to = f64::from(from);
                        }
                    } else {
                        for (to, &from) in line[..count].iter_mut().zip(&row[column..]) {
                            *to = f64::from(from);
                        }
                    }
                }
            });
            self.multiply(depth);
        }
    }

    /// Adds k rows of W given by columns: column j is `columns[j * step .. j * step + k]`. For a wide matrix this is k
    /// consecutive columns of all its rows.
    ///
    /// # Panics
    /// If `columns` is too short.
    pub fn push_columns(&mut self, columns: &[f32], step: usize, k: usize) {
        let GramLayout { width, depth: most, .. } = self.layout;
        for first in (0..k).step_by(most) {
            let depth = most.min(k - first);
            self.pack(depth, |column, count, packed| {
                for offset in 0..count {
                    let source = &columns[(column + offset) * step + first..][..depth];
                    for (line, &from) in packed.chunks_mut(width).zip(source) {
                        line[offset] = f64::from(from);
                    }
                }
            });
            self.multiply(depth);
        }
    }

    /// Fills `packed`, eight columns at a time: `fill(first column, columns, lines)`; a line is the first eight of `width`.
    fn pack(&mut self, depth: usize, fill: impl Fn(usize, usize, &mut [f64]) + Sync) {
        let (n, GramLayout { width, depth: most, .. }) = (self.n, self.layout);
        let groups = self.packed.par_chunks_exact_mut(most * width).enumerate();
        groups.with_min_len(PARALLEL / width).for_each(|(index, group)| {
            for octet in (0..width).step_by(8) {
                let column = index * width + octet;
                if column < n {
                    fill(column, 8.min(n - column), &mut group[octet..depth * width]);
                }
            }
        });
    }

    /// Adds the packed slice's product. Parts of the result are threads' own, so the bits do not depend on how many.
    fn multiply(&mut self, depth: usize) {
        let tile_rows = self.n.div_ceil(TILE);
        // As many tile rows as there are groups in the cache.
        let mut cuts: Vec<usize> = (0..tile_rows).step_by(GROUPS_IN_CACHE / IN_TILE).collect();
        cuts.push(tile_rows);
        let (kernel, n, packed, layout) = (self.kernel, self.n, &self.packed, self.layout);
        let least = if n < PARALLEL { usize::MAX } else { 1 };
        let parts = self.tiles.parts(&cuts);
        // The last parts are the largest.
        let parts = parts.into_par_iter().rev().with_min_len(least);
        parts.for_each(|part| multiply_part(kernel, n, (packed, layout), depth, part));
    }

    /// The sum, both halves of its diagonal tiles equal.
    pub fn finish(mut self) -> SymmetricTiles {
        for i in 0..self.n.div_ceil(TILE) {
            self.kernel.mirror(self.tiles.tile_mut(i, i), TILE, 0, TILE);
        }
        self.tiles
    }
}

/// Adds a packed slice's product to some rows of tiles.
fn multiply_part(
    kernel: Kernel,
    n: usize,
    (packed, layout): (&[f64], GramLayout),
    depth: usize,
    mut part: TileRows<'_, f64>,
) {
    let GramLayout { width, depth: most, rows } = layout;
    let at = |column: usize| &packed[column / width * most * width + column % width..];
    let octet_step = if width == 8 { most * 8 } else { 8 };
    let (first, last) = (part.rows.start * IN_TILE, n.div_ceil(GROUP).min(part.rows.end * IN_TILE));
    // In a tile, columns of G are contiguous: its rows i are the vectors, its columns j the broadcast side, some of them at a
    // time (at most 16 KiB, half a first-level cache).
    for j in (0..n.min(last * GROUP)).step_by(rows) {
        for i in first.max(j / GROUP)..last {
            // On the diagonal only from it down.
            let top = (i * GROUP).max(j / 8 * 8);
            let columns = n.next_multiple_of(8).min((i + 1) * GROUP) - top;
            let tile = part.tile_mut(i / IN_TILE, j / TILE);
            let corner = j % TILE * TILE + top % TILE;
            // The next columns of the tile will be needed soon; its groups fetch a quarter each.
            let (block, rest) = tile[corner..].split_at_mut((rows * TILE).min(TILE * TILE - corner));
            let quarter = i % IN_TILE * (rows * GROUP - GROUP);
            let ahead = rest.get(quarter..quarter + rows * GROUP).unwrap_or(&[]);
            kernel.gemm_ahead(
                [rows, columns, depth],
                Strided { data: at(j), row_step: 1, depth_step: width },
                Rows { data: at(top), step: width, octet_step },
                block,
                TILE,
                ahead,
            );
        }
    }
}
