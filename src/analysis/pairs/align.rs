//! Puts the second matrix of a pair into the order of the first, where the two are laid out differently.

use crate::error::Result;
use crate::matrix::Matrix;
use crate::quant::Damage;

/// How the second matrix was brought into the order of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Same,
    Transposed,
    /// The rows of this many heads, whose halves lie apart in one and side by side in the other.
    Permuted {
        heads: usize,
        /// Whether the first has the halves apart, as the model libraries do.
        from_halves: bool,
    },
}

/// A relative error that no scheme in use reaches, while matrices in different orders have about 1.4.
const NOT_THE_SAME: f64 = 0.5;

/// `second` in the order of `first`: as it is, or if that can't be the same weight, in the layout with the smallest error
/// among the transpose and (of queries and keys) the orders that llama.cpp gives rows.
///
/// # Cost
/// One pass over both, some ten if the layouts differ.
pub(super) fn aligned(first: &Matrix, second: Matrix, must_turn: bool, heads: &[usize]) -> Result<(Matrix, Layout)> {
    if must_turn {
        return Ok((transposed(&second)?, Layout::Transposed));
    }
    let error = |second: &Matrix| {
        let mut damage = Damage::default();
        damage.add(first.values(), second.values());
        damage.relative_error().unwrap_or(0.0)
    };
    let (mut best, mut least, mut layout) = (None, error(&second), Layout::Same);
    if least > NOT_THE_SAME {
        let (rows, cols) = (second.rows(), second.cols());
        let mut candidates = Vec::new();
        if rows == cols {
            candidates.push(Layout::Transposed);
        }
        for heads in heads.iter().copied().filter(|heads| *heads > 0 && rows.is_multiple_of(2 * heads)) {
            candidates.extend([true, false].map(|from_halves| Layout::Permuted { heads, from_halves }));
        }
        for candidate in candidates {
            let matrix = match candidate {
                Layout::Permuted { heads, from_halves } => permuted(&second, heads, from_halves)?,
                _ => transposed(&second)?,
            };
            let error = error(&matrix);
            if error < least {
                (best, least, layout) = (Some(matrix), error, candidate);
            }
        }
    }
    Ok((best.unwrap_or(second), layout))
}

fn transposed(matrix: &Matrix) -> Result<Matrix> {
    let (rows, cols, values) = (matrix.rows(), matrix.cols(), matrix.values());
    let turned = (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect();
    Matrix::new(cols, rows, turned)
}

/// Rows taken from where llama.cpp's converter puts them (`from_halves`), or from where they were before.
fn permuted(matrix: &Matrix, heads: usize, from_halves: bool) -> Result<Matrix> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let half = rows / heads / 2;
    let source = |row: usize| {
        let (head, inside) = (row / (2 * half), row % (2 * half));
        let inside = if from_halves { inside % half * 2 + inside / half } else { inside % 2 * half + inside / 2 };
        head * 2 * half + inside
    };
    let values = (0..rows).flat_map(|row| &matrix.values()[source(row) * cols..][..cols]).copied().collect();
    Matrix::new(rows, cols, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, cols: usize) -> Matrix {
        let values = (0..rows * cols).map(|i| ((i * 7919 + i * i * 31) % 1009) as f32 - 500.0).collect();
        Matrix::new(rows, cols, values).unwrap()
    }

    #[test]
    fn each_layout_is_found_and_undone() {
        let first = noise(24, 24);
        // transformers' `permute`, as llama.cpp's converter has it: reshape(heads, 2, half).swapaxes(1, 2).
        let order: Vec<usize> = (0..3).flat_map(|h| (0..4).flat_map(move |i| [8 * h + i, 8 * h + 4 + i])).collect();
        let rows = order.iter().flat_map(|row| first.values()[row * 24..][..24].to_vec()).collect();
        let second = Matrix::new(24, 24, rows).unwrap();
        let (back, layout) = aligned(&first, second.clone(), false, &[2, 3]).unwrap();
        assert_eq!((back, layout), (first.clone(), Layout::Permuted { heads: 3, from_halves: true }));
        let (back, layout) = aligned(&second, first.clone(), false, &[2, 3]).unwrap();
        assert_eq!((back, layout), (second, Layout::Permuted { heads: 3, from_halves: false }));
        let turned = transposed(&first).unwrap();
        let (back, layout) = aligned(&first, turned, false, &[]).unwrap();
        assert_eq!((back, layout), (first.clone(), Layout::Transposed));
        let (back, layout) = aligned(&first, first.clone(), false, &[3]).unwrap();
        assert_eq!((back, layout), (first, Layout::Same));
    }
}
