//! The lower triangle of a symmetric matrix in square tiles, each contiguous in memory.

use crate::kernel::Kernel;

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
        let side = n.div_ceil(TILE);
        Self { n, data: vec![0.0; side * (side + 1) / 2 * TILE * TILE] }
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

    /// Tile (i, j) to change, and a later one (`next` below it, or right of it in its row) to read.
    pub(crate) fn tile_and_next(&mut self, i: usize, j: usize, next: (usize, usize)) -> (&mut [f64], &[f64]) {
        let at = |i: usize, j: usize| (i * (i + 1) / 2 + j) * TILE * TILE;
        let (before, after) = self.data.split_at_mut(at(next.0, next.1));
        (&mut before[at(i, j)..][..TILE * TILE], &after[..TILE * TILE])
    }

    /// All stored elements, in no order a caller may rely on: for scaling and for finding the largest.
    pub fn elements_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// All stored elements: see [`Self::elements_mut`].
    pub fn elements(&self) -> &[f64] {
        &self.data
    }

    /// Eigenvalues, ascending, with the kernel of this processor: see [`crate::spectrum::eigen::tiled_eigenvalues`].
    ///
    /// # Errors
    /// See [`crate::spectrum::eigen::EigenError`].
    pub fn eigenvalues(self, cancelled: &dyn Fn() -> bool) -> Result<Vec<f64>, crate::spectrum::eigen::EigenError> {
        crate::spectrum::eigen::tiled_eigenvalues(Kernel::selected(), self, cancelled)
    }
}
