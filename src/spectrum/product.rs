//! Products of two weight matrices, and how alike two are.

use super::gram::GramBuilder;
use super::tiles::SymmetricTiles;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Strided};
use crate::matrix::Matrix;

/// `A B`, summed in f64 and rounded to f32; A \[m, k\], B \[k, n\].
///
/// # Errors
/// [`Error::Options`] if A has not as many columns as B has rows.
///
/// # Cost
/// 2 m n k flops; A in f64, and some columns of B and of the product.
pub fn product(a: &Matrix, b: &Matrix) -> Result<Matrix> {
    /// Columns at a time: 48 KiB of B for every 128 rows of it.
    const COLUMNS: usize = 48;
    let (rows, depth, cols) = (a.rows(), a.cols(), b.cols());
    if b.rows() != depth {
        let message = format!("a matrix of {rows} x {depth} can't be multiplied with one of {} x {cols}", b.rows());
        return Err(Error::Options(message));
    }
    let left: Vec<f64> = a.values().iter().map(|v| f64::from(*v)).collect();
    let mut values = vec![0.0; rows * cols];
    let (mut right, mut sums) = (vec![0.0; depth * COLUMNS], vec![0.0; rows * COLUMNS]);
    for first in (0..cols).step_by(COLUMNS) {
        let count = COLUMNS.min(cols - first);
        // Columns beyond the last are computed and not read.
        for (line, row) in right.chunks_exact_mut(COLUMNS).zip(b.values().chunks_exact(cols)) {
            for (to, from) in line.iter_mut().zip(&row[first..first + count]) {
                *to = f64::from(*from);
            }
        }
        sums.fill(0.0);
        Kernel::selected().gemm(
            [rows, COLUMNS, depth],
            Strided { data: &left, row_step: depth, depth_step: 1 },
            Rows::new(&right, COLUMNS),
            &mut sums,
            COLUMNS,
        );
        for (line, row) in sums.chunks_exact(COLUMNS).zip(values.chunks_exact_mut(cols)) {
            for (to, from) in row[first..first + count].iter_mut().zip(line) {
                *to = *from as f32;
            }
        }
    }
    Matrix::new(rows, cols, values)
}

/// `W^T`.
pub fn transposed(matrix: &Matrix) -> Matrix {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let mut values = vec![0.0; rows * cols];
    for (row, line) in matrix.values().chunks_exact(cols.max(1)).enumerate() {
        for (column, value) in line.iter().enumerate() {
            values[column * rows + row] = *value;
        }
    }
    // As many values as before.
    Matrix::new(cols, rows, values).unwrap_or_else(|_| matrix.clone())
}

/// `|W|`, the square root of the sum of the squares.
pub fn frobenius_norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt()
}

/// Alignment of two matrices of one shape, `|A^T B| / sqrt(|A^T A| |B^T B|)` in Frobenius norms: 1 for multiples of each
/// other, 0 without anything in common. Not centred. `None` for a zero matrix.
///
/// # Errors
/// [`Error::Options`] for different shapes.
///
/// # Cost
/// For the shorter side n and the longer m: 4 m n^2 flops, `16 n^2` bytes.
///
/// # Source
/// Kornblith et al. 2019, equation 2 without centring; `WeightWatcher` 0.7.7, `matrix_distance`.
pub fn linear_alignment(a: &Matrix, b: &Matrix) -> Result<Option<f64>> {
    let (rows, cols) = (a.rows(), a.cols());
    if (b.rows(), b.cols()) != (rows, cols) {
        return Err(Error::Options(format!("shapes {rows} x {cols} and {} x {} differ", b.rows(), b.cols())));
    }
    let (cross, own_a, own_b);
    if rows <= cols {
        // |A^T B|^2 = tr(A A^T B B^T).
        let gram = |matrix: &Matrix| {
            let mut gram = GramBuilder::new(rows);
            gram.push_columns(matrix.values(), cols, cols);
            gram.finish()
        };
        let (left, right) = (gram(a), gram(b));
        let dot =
            |x: &SymmetricTiles, y: &SymmetricTiles| pairs(rows).map(|(i, j, w)| w * x.at(i, j) * y.at(i, j)).sum();
        let (ab, aa, bb): (f64, f64, f64) = (dot(&left, &right), dot(&left, &left), dot(&right, &right));
        (cross, own_a, own_b) = (ab.max(0.0).sqrt(), aa.sqrt(), bb.sqrt());
    } else {
        // A and B side by side: A^T B is a block of the Gram matrix.
        let mut gram = GramBuilder::new(2 * cols);
        let mut line = vec![0.0; 2 * cols];
        for (left, right) in a.values().chunks_exact(cols).zip(b.values().chunks_exact(cols)) {
            line[..cols].copy_from_slice(left);
            line[cols..].copy_from_slice(right);
            gram.push(&line, 1);
        }
        let gram = gram.finish();
        let own = |at: usize| pairs(cols).map(|(i, j, w)| w * gram.at(at + i, at + j).powi(2)).sum::<f64>().sqrt();
        let block = (0..cols).flat_map(|i| (0..cols).map(move |j| (cols + i, j)));
        cross = block.map(|(i, j)| gram.at(i, j).powi(2)).sum::<f64>().sqrt();
        (own_a, own_b) = (own(0), own(cols));
    }
    Ok(Some(cross / (own_a * own_b).sqrt()).filter(|alignment| alignment.is_finite()))
}

/// The lower triangle of a symmetric matrix of order n, and how often each element occurs in the whole.
fn pairs(n: usize) -> impl Iterator<Item = (usize, usize, f64)> {
    (0..n).flat_map(|i| (0..=i).map(move |j| (i, j, if i == j { 1.0 } else { 2.0 })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, cols: usize, seed: u32) -> Matrix {
        let value = |i: u32| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0;
        Matrix::new(rows, cols, (0..(rows * cols) as u32).map(value).collect()).unwrap()
    }

    fn plain(a: &Matrix, b: &Matrix) -> Vec<f64> {
        let at = |m: &Matrix, i: usize, j: usize| f64::from(m.values()[i * m.cols() + j]);
        (0..a.rows() * b.cols())
            .map(|place| (0..a.cols()).map(|k| at(a, place / b.cols(), k) * at(b, k, place % b.cols())).sum())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn products_are_sums_over_rows_and_columns(rows in 1_usize..60, depth in 1_usize..70, cols in 1_usize..110) {
            let (a, b) = (matrix(rows, depth, 1), matrix(depth, cols, 2));
            let ours = product(&a, &b).unwrap();
            for (x, y) in ours.values().iter().zip(plain(&a, &b)) {
                // One rounding to f32 of values below 70.
                prop_assert!((f64::from(*x) - y).abs() < 5e-6);
            }
        }

        #[test]
        fn alignment_by_either_side_is_that_of_the_definition(rows in 1_usize..40, cols in 1_usize..40) {
            let (a, b) = (matrix(rows, cols, 3), matrix(rows, cols, 4));
            let norm = |a: &Matrix, b: &Matrix| plain(&transposed(a), b).iter().map(|v| v * v).sum::<f64>().sqrt();
            let expected = norm(&a, &b) / (norm(&a, &a) * norm(&b, &b)).sqrt();
            prop_assert!((linear_alignment(&a, &b).unwrap().unwrap() - expected).abs() < 1e-12);
            prop_assert!((linear_alignment(&a, &a).unwrap().unwrap() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn shapes_must_agree_and_zero_has_no_direction() {
        let (a, b) = (matrix(3, 4, 1), matrix(5, 4, 1));
        assert_eq!(product(&a, &b).unwrap_err().code(), "options");
        assert_eq!(linear_alignment(&a, &b).unwrap_err().code(), "options");
        let zero = Matrix::new(3, 4, vec![0.0; 12]).unwrap();
        assert_eq!(linear_alignment(&a, &zero).unwrap(), None);
        assert_eq!(transposed(&transposed(&a)), a);
    }
}
