//! A rectangular matrix in square tiles.

use crate::spectrum::tiles::TILE;

/// A matrix \[rows, cols\] in tiles of 96 x 96, each contiguous and row-major; beyond its edges everything is zero.
pub(super) struct Grid {
    pub rows: usize,
    pub cols: usize,
    /// Tiles in a row.
    across: usize,
    data: Vec<f64>,
}

impl Grid {
    pub fn zero(rows: usize, cols: usize) -> Self {
        let across = cols.div_ceil(TILE);
        Self { rows, cols, across, data: vec![0.0; rows.div_ceil(TILE) * across * TILE * TILE] }
    }

    /// Fills it by parts of rows: `line(row, first column, elements)`.
    pub fn fill(&mut self, line: impl Fn(usize, usize, &mut [f64])) {
        // A tile at a time, so that a transposed source is read in whole cache lines.
        for (index, tile) in self.data.chunks_exact_mut(TILE * TILE).enumerate() {
            let (first_row, column) = (index / self.across * TILE, index % self.across * TILE);
            let (count, width) = (TILE.min(self.rows - first_row), TILE.min(self.cols - column));
            for (row, elements) in tile.chunks_exact_mut(TILE).take(count).enumerate() {
                line(first_row + row, column, &mut elements[..width]);
            }
        }
    }

    fn start(&self, i: usize, j: usize) -> usize {
        (i * self.across + j) * TILE * TILE
    }

    /// From element (row, column) to the end of its tile; the next row is `TILE` further.
    pub fn at(&self, row: usize, column: usize) -> &[f64] {
        let start = self.start(row / TILE, column / TILE);
        &self.data[start + row % TILE * TILE + column % TILE..start + TILE * TILE]
    }

    /// [`Self::at`], to write.
    pub fn at_mut(&mut self, row: usize, column: usize) -> &mut [f64] {
        let start = self.start(row / TILE, column / TILE);
        &mut self.data[start + row % TILE * TILE + column % TILE..start + TILE * TILE]
    }

    /// Tile (i, j) to change, and a later one (or none) to read.
    pub fn tile_and_next(&mut self, i: usize, j: usize, next: Option<(usize, usize)>) -> (&mut [f64], &[f64]) {
        let at = self.start(i, j);
        let cut = next.map_or(self.data.len(), |(i, j)| self.start(i, j));
        let (before, after) = self.data.split_at_mut(cut);
        (&mut before[at..][..TILE * TILE], &after[..after.len().min(TILE * TILE)])
    }
}
