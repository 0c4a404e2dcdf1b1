//! Square blocks of a matrix, spread evenly: a spectrum without the bias of the matrix's shape.

use crate::matrix::Matrix;

/// Positions of a block along each side, at most.
const POSITIONS: usize = 10;

/// The `side x side` blocks at up to 10 evenly spread places along the rows and as many along the columns. None if the matrix
/// is smaller.
///
/// # Source
/// Hu et al., ICML 2025 (FARMS), arXiv 2506.06280, with their aspect ratio of 1.
pub fn square_blocks(matrix: &Matrix, side: usize) -> Vec<Matrix> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    if side == 0 || rows < side || cols < side {
        return Vec::new();
    }
    let starts = |length: usize| -> Vec<usize> {
        let slack = length - side;
        let count = POSITIONS.min(slack + 1);
        (0..count).map(|i| if count == 1 { 0 } else { slack * i / (count - 1) }).collect()
    };
    let block = |top: usize, left: usize| {
        let rows = matrix.values().chunks_exact(cols).skip(top).take(side);
        let values = rows.flat_map(|row| &row[left..left + side]).copied().collect();
        // The values are side times side.
        Matrix::new(side, side, values).ok()
    };
    let lefts = starts(cols);
    starts(rows).iter().flat_map(|top| lefts.iter().filter_map(|left| block(*top, *left))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_reach_from_corner_to_corner() {
        let matrix = Matrix::new(3, 30, (0..90).map(|v| v as f32).collect()).unwrap();
        let blocks = square_blocks(&matrix, 3);
        assert_eq!(blocks.len(), 10);
        assert_eq!(blocks[0].values(), [0., 1., 2., 30., 31., 32., 60., 61., 62.]);
        assert_eq!(blocks[9].values()[8], 89.0);
        assert_eq!(square_blocks(&matrix, 2).len(), 20);
        assert!(square_blocks(&matrix, 4).is_empty());
        assert!(square_blocks(&matrix, 0).is_empty());
    }
}
