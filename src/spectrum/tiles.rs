//! The lower triangle of a symmetric matrix in square tiles, each contiguous in memory.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::spectrum::eigen::{Cancelled, EigenError, tiled_eigenvalues};

/// Side of a tile. 96 is a multiple of every register block (8, 16, 24, 32 and 48 rows); a tile of 72 KiB leaves room
/// in a 1 MiB second-level cache for the vectors it meets; and columns 768 bytes apart spread over the cache's sets.
pub const TILE: usize = 96;

/// A symmetric matrix of order n, tiles of the lower triangle only: half the memory of a square, 4 n^2 bytes.
///
/// Tile (i, j), i >= j, holds rows 96 i .. and columns 96 j ..; columns are contiguous. Diagonal tiles hold both
/// halves; beyond n everything is zero.
#[derive(Clone, Debug)]
pub struct SymmetricTiles {
    n: usize,
    data: Vec<f64>,
}

impl SymmetricTiles {
    /// The zero matrix of order n.
    pub fn zero(n: usize) -> Self {
        Self { n, data: vec![0.0; triangle_len(n.div_ceil(TILE))] }
    }

    /// Takes over all stored elements, in the order described above.
    ///
    /// # Panics
    /// If they are not as many as there must be.
    pub(super) fn from_elements(n: usize, data: Vec<f64>) -> Self {
        assert_eq!(data.len(), triangle_len(n.div_ceil(TILE)));
        Self { n, data }
    }

    /// Takes the lower triangle of a row-major matrix \[n, n\].
    ///
    /// # Panics
    /// If `a` does not hold n^2 elements.
    pub fn from_lower(a: &[f64], n: usize) -> Self {
        assert_eq!(a.len(), n * n);
        let mut tiles = Self::zero(n);
        for i in 0..n.div_ceil(TILE) {
            let rows = TILE.min(n - TILE * i);
            for j in 0..=i {
                let columns = TILE.min(n - TILE * j);
                let tile = tiles.tile_mut(i, j);
                // Eight rows at a time: their cache lines serve eight columns.
                for first in (0..rows).step_by(8) {
                    for column in 0..columns {
                        for row in first..rows.min(first + 8) {
                            tile[column * TILE + row] = a[(TILE * i + row) * n + TILE * j + column];
                        }
                    }
                }
                if i == j {
                    Kernel::selected().mirror(tile, TILE, 0, TILE);
                }
            }
        }
        tiles
    }

    /// Order of the matrix.
    pub fn order(&self) -> usize {
        self.n
    }

    /// The full matrix, row-major \[n, n\].
    pub fn to_dense(&self) -> Vec<f64> {
        let n = self.n;
        let mut a = vec![0.0; n * n];
        for row in 0..n {
            for column in 0..=row {
                let x = self.at(row, column);
                a[row * n + column] = x;
                a[column * n + row] = x;
            }
        }
        a
    }

    /// Element (row, column), row >= column.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        let tile = self.tile(row / TILE, column / TILE);
        tile[column % TILE * TILE + row % TILE]
    }

    /// Element (row, column), whichever is larger.
    pub(super) fn at_either(&self, row: usize, column: usize) -> f64 {
        self.at(row.max(column), row.min(column))
    }

    /// Leaves only these rows, ascending, and their columns: without a copy, for none moves to where a later one comes from.
    pub(super) fn keep(&mut self, rows: &[usize]) {
        // Where an element is, is the sum of what its row and its column add.
        let of_row = |row: usize| triangle_len(row / TILE) + row % TILE;
        let of_column = |column: usize| column / TILE * TILE * TILE + column % TILE * TILE;
        let moves: Vec<(usize, usize)> =
            rows.iter().enumerate().map(|(to, from)| (of_row(to), of_row(*from))).collect();
        for (column, from_column) in rows.iter().enumerate() {
            let (to_column, from_column) = (of_column(column), of_column(*from_column));
            for (to, from) in &moves[column..] {
                self.data[to + to_column] = self.data[from + from_column];
            }
        }
        self.n = rows.len();
        let tile_rows = self.n.div_ceil(TILE);
        self.data.truncate(triangle_len(tile_rows));
        // What is beyond the last row is zero.
        let last = tile_rows.saturating_sub(1);
        let rows = self.n - TILE * last;
        for j in 0..tile_rows {
            let columns = TILE.min(self.n - TILE * j);
            for (column, line) in self.tile_mut(last, j).chunks_exact_mut(TILE).enumerate() {
                line[if column < columns { rows } else { 0 }..].fill(0.0);
            }
        }
        for i in 0..tile_rows {
            Kernel::selected().mirror(self.tile_mut(i, i), TILE, 0, TILE);
        }
    }

    /// Tile (i, j), i >= j.
    pub fn tile(&self, i: usize, j: usize) -> &[f64] {
        let index = i * (i + 1) / 2 + j;
        &self.data[index * TILE * TILE..][..TILE * TILE]
    }

    /// Tile (i, j), i >= j, to write.
    pub fn tile_mut(&mut self, i: usize, j: usize) -> &mut [f64] {
        let index = i * (i + 1) / 2 + j;
        &mut self.data[index * TILE * TILE..][..TILE * TILE]
    }

    /// The rows of tiles between consecutive `cuts` (ascending), each part for a thread of its own.
    pub(super) fn parts(&mut self, cuts: &[usize]) -> Vec<TileRows<'_, f64>> {
        TileRows::split(&mut self.data, cuts)
    }

    /// All stored elements, in no order a caller may rely on: for scaling and for finding the largest.
    pub fn elements_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// All stored elements: see [`Self::elements_mut`].
    pub fn elements(&self) -> &[f64] {
        &self.data
    }

    /// Eigenvalues, ascending, with the kernel of this processor: see [`tiled_eigenvalues`].
    ///
    /// # Errors
    /// See [`EigenError`].
    pub fn eigenvalues(self, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
        tiled_eigenvalues(Kernel::selected(), self, cancelled)
    }
}

/// How many elements a lower triangle of so many rows of tiles has.
pub(super) fn triangle_len(tile_rows: usize) -> usize {
    tile_rows * (tile_rows + 1) / 2 * TILE * TILE
}

/// Some consecutive rows of tiles of a lower triangle.
pub(super) struct TileRows<'a, T> {
    /// Which.
    pub rows: Range<usize>,
    data: &'a mut [T],
}

impl<'a, T> TileRows<'a, T> {
    /// The rows of tiles of a triangle between consecutive `cuts`, ascending.
    pub fn split(triangle: &'a mut [T], cuts: &[usize]) -> Vec<Self> {
        let mut parts = Vec::with_capacity(cuts.len());
        let (_, mut rest) = triangle.split_at_mut(cuts.first().map_or(0, |&cut| triangle_len(cut)));
        for pair in cuts.windows(2) {
            let (data, after) = rest.split_at_mut(triangle_len(pair[1]) - triangle_len(pair[0]));
            parts.push(Self { rows: pair[0]..pair[1], data });
            rest = after;
        }
        parts
    }

    fn offset(&self, i: usize, j: usize) -> usize {
        triangle_len(i) - triangle_len(self.rows.start) + j * TILE * TILE
    }

    /// Tile (i, j), i >= j, to write.
    pub fn tile_mut(&mut self, i: usize, j: usize) -> &mut [T] {
        let offset = self.offset(i, j);
        &mut self.data[offset..][..TILE * TILE]
    }

    /// Tile (i, j) to change, and a later one (below it, or right of it in its row) to read; empty without one.
    pub fn tile_and_next(&mut self, i: usize, j: usize, next: Option<(usize, usize)>) -> (&mut [T], &[T]) {
        let offset = self.offset(i, j);
        let ahead = next.map_or(self.data.len(), |(i, j)| self.offset(i, j));
        let (before, after) = self.data.split_at_mut(ahead);
        (&mut before[offset..][..TILE * TILE], &after[..after.len().min(TILE * TILE)])
    }
}

/// From this order on a matrix is cut into parts for several threads; smaller ones are done before the threads have met.
pub(super) const PARALLEL: usize = 1024;
