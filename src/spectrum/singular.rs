//! True singular values.

use nalgebra::DMatrix;

use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// The `min(rows, cols)` singular values of a matrix, ascending, computed in f64 with a backward stable method.
///
/// # Errors
/// [`Error::Numeric`] if an entry is not finite.
///
/// # Cost
/// `4 m n^2` flops and `8 m n` bytes for an `m x n` matrix.
pub fn singular_values(matrix: &Matrix) -> Result<Vec<f64>> {
    if matrix.values().iter().any(|v| !v.is_finite()) {
        return Err(Error::Numeric("the matrix has entries that are not finite".to_owned()));
    }
    // Row-major [rows, cols] is column-major [cols, rows]: the transpose, which has the same singular values.
    let transposed =
        DMatrix::from_iterator(matrix.cols(), matrix.rows(), matrix.values().iter().map(|v| f64::from(*v)));
    let mut values: Vec<f64> = if matrix.rows() > matrix.cols() { transposed.transpose() } else { transposed }
        .qr()
        .r()
        .singular_values()
        .iter()
        .copied()
        .collect();
    values.sort_by(f64::total_cmp);
    Ok(values)
}
