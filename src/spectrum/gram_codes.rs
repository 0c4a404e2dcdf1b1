//! Gram products of 8-bit codes, exact in integers, streamed like those of floats.

use crate::kernel::{CODE_PANEL, CodeLayout, Kernel};
use crate::spectrum::tiles::{SymmetricTiles, TILE};

/// Rows packed at a time; a packed group of columns is then 48 KiB. A multiple of every word's 2 or 4 codes.
pub const CODE_SLICE: usize = 1024;

/// Rows whose products always fit 32 bits: 131,071 * 128^2 < 2^31.
const ROWS_IN_I32: usize = 131_071;

/// Groups of columns whose packed words stay in the second-level cache (384 KiB).
const GROUPS_IN_CACHE: usize = 8;

/// Accumulates G = C^T C exactly for codes C \[m, n\] in -128 ..= 127, arriving in panels of rows.
///
/// Sums are 32-bit integers, moved to f64 before they can overflow; f64 holds them exactly up to 2^53, for
/// m < 5 * 10^11. The result is the same for every kernel and every way to cut the rows.
#[derive(Clone, Debug)]
pub struct CodeGramBuilder {
    kernel: Kernel,
    layout: CodeLayout,
    n: usize,
    /// Sums of the rows since the last flush, tiles as in [`SymmetricTiles`].
    sums: Vec<i32>,
    rows_in_sums: usize,
    /// Sums flushed before; empty until the first flush.
    flushed: Option<SymmetricTiles>,
    /// Right operand: \[groups, CODE_SLICE / group, CODE_PANEL\] words.
    right: Vec<i32>,
    /// Left operand where the layout wants another one (codes plus 128); else empty.
    left: Vec<i32>,
    /// 128 times the column sums of the slice, where the layout wants them taken off; else zero.
    correction: Vec<i32>,
}

impl CodeGramBuilder {
    /// An empty sum for n columns, on this processor's kernel.
    ///
    /// # Cost
    /// 2 n^2 + 4 kB n bytes; 4 n^2 more from 131,071 rows on.
    pub fn new(n: usize) -> Self {
        Self::with_kernel(Kernel::selected(), n)
    }

    /// An empty sum for n columns, on a kernel of the caller's choice.
    pub fn with_kernel(kernel: Kernel, n: usize) -> Self {
        let layout = kernel.code_layout();
        let side = n.div_ceil(TILE);
        let groups = n.div_ceil(CODE_PANEL);
        let words = groups * CODE_SLICE / layout.group * CODE_PANEL;
        Self {
            kernel,
            layout,
            n,
            sums: vec![0; side * (side + 1) / 2 * TILE * TILE],
            rows_in_sums: 0,
            flushed: None,
            right: vec![0; words],
            left: vec![0; if layout.left_offset { words } else { 0 }],
            correction: vec![0; groups * CODE_PANEL],
        }
    }

    /// Adds k rows of codes: `panel` is row-major \[k, n\].
    ///
    /// # Panics
    /// If `panel` does not hold k n codes.
    ///
    /// # Cost
    /// k n^2 integer operations (multiplications and additions of one triangle).
    pub fn push(&mut self, panel: &[i8], k: usize) {
        assert_eq!(panel.len(), k * self.n);
        let n = self.n;
        self.push_slices(k, |row, column, columns, line| {
            for (to, from) in line.iter_mut().zip(&panel[row * n + column..][..columns]) {
                *to = *from;
            }
        });
    }

    /// Adds k rows of codes given by columns: column j is `columns[j * step .. j * step + k]`.
    ///
    /// # Panics
    /// If `columns` is too short.
    pub fn push_columns(&mut self, columns: &[i8], step: usize, k: usize) {
        self.push_slices(k, |row, column, count, line| {
            for (offset, to) in line[..count].iter_mut().enumerate() {
                *to = columns[(column + offset) * step + row];
            }
        });
    }

    /// `line(row, first column, columns, to)` copies a part of a row.
    fn push_slices(&mut self, k: usize, line: impl Fn(usize, usize, usize, &mut [i8])) {
        for first in (0..k).step_by(CODE_SLICE) {
            let depth = CODE_SLICE.min(k - first);
            if self.rows_in_sums + depth > ROWS_IN_I32 {
                self.flush();
            }
            let words = depth.div_ceil(self.layout.group);
            self.pack(first, depth, words, &line);
            self.multiply(words);
            self.rows_in_sums += depth;
        }
    }

    fn pack(&mut self, first: usize, depth: usize, words: usize, line: &impl Fn(usize, usize, usize, &mut [i8])) {
        let group = self.layout.group;
        let area = CODE_SLICE / group * CODE_PANEL;
        for index in 0..self.n.div_ceil(CODE_PANEL) {
            let column = index * CODE_PANEL;
            let columns = CODE_PANEL.min(self.n - column);
            let right = &mut self.right[index * area..][..words * CODE_PANEL];
            let mut totals = [0i32; CODE_PANEL];
            for (word, to) in right.chunks_exact_mut(CODE_PANEL).enumerate() {
                // Rows beyond the last are zero.
                let mut rows = [[0i8; CODE_PANEL]; 4];
                for (offset, row) in rows[..group.min(depth - word * group)].iter_mut().enumerate() {
                    line(first + word * group + offset, column, columns, row);
                }
                let [a, b, c, d] = &rows;
                for i in 0..CODE_PANEL {
                    to[i] = if group == 4 {
                        totals[i] += i32::from(a[i]) + i32::from(b[i]) + i32::from(c[i]) + i32::from(d[i]);
                        i32::from_le_bytes([a[i], b[i], c[i], d[i]].map(|x| x as u8))
                    } else {
                        (i32::from(a[i]) & 0xffff) | (i32::from(b[i]) << 16)
                    };
                }
            }
            if self.layout.left_offset {
                for (left, &right) in self.left[index * area..].iter_mut().zip(&*right) {
                    // A signed byte plus 128 is the byte with its sign bit turned.
                    *left = right ^ 0x8080_8080_u32 as i32;
                }
                for (to, total) in self.correction[column..column + CODE_PANEL].iter_mut().zip(totals) {
                    *to = 128 * total;
                }
            }
        }
    }

    fn multiply(&mut self, words: usize) {
        const IN_TILE: usize = TILE / CODE_PANEL;
        let groups = self.n.div_ceil(CODE_PANEL);
        let area = CODE_SLICE / self.layout.group * CODE_PANEL;
        let left = if self.layout.left_offset { &self.left } else { &self.right };
        let columns = |index: usize| CODE_PANEL.min(self.n - index * CODE_PANEL);
        for first in (0..groups).step_by(GROUPS_IN_CACHE) {
            for j in 0..groups.min(first + GROUPS_IN_CACHE) {
                for i in first.max(j)..groups.min(first + GROUPS_IN_CACHE) {
                    let (tile_row, tile_column) = (i / IN_TILE, j / IN_TILE);
                    let tile = (tile_row * (tile_row + 1) / 2 + tile_column) * TILE * TILE;
                    let corner = tile + j % IN_TILE * CODE_PANEL * TILE + i % IN_TILE * CODE_PANEL;
                    self.kernel.code_gemm(
                        [columns(j), columns(i).next_multiple_of(16), words],
                        &left[j * area..],
                        &self.right[i * area..],
                        &self.correction[i * CODE_PANEL..],
                        &mut self.sums[corner..],
                        TILE,
                    );
                }
            }
        }
    }

    /// Moves the 32-bit sums to f64.
    fn flush(&mut self) {
        let flushed = self.flushed.get_or_insert_with(|| SymmetricTiles::zero(self.n));
        for (to, from) in flushed.elements_mut().iter_mut().zip(&mut self.sums) {
            *to += f64::from(std::mem::take(from));
        }
        self.rows_in_sums = 0;
    }

    /// The sum: whole numbers, exact.
    pub fn finish(mut self) -> SymmetricTiles {
        self.flush();
        let mut tiles = self.flushed.unwrap_or_else(|| SymmetricTiles::zero(self.n));
        for i in 0..self.n.div_ceil(TILE) {
            self.kernel.mirror(tiles.tile_mut(i, i), TILE, 0, TILE);
        }
        tiles
    }
}
