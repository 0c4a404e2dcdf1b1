//! Eigenvalues of a symmetric matrix.

use nalgebra::DMatrix;

use crate::error::{Error, Result};

/// All eigenvalues of a symmetric matrix, ascending. `matrix` is `[n, n]`, row-major; its lower triangle counts.
///
/// # Errors
/// [`Error::Numeric`] if an entry is not finite.
///
/// # Cost
/// `4/3 n^3` flops.
pub fn symmetric_eigenvalues(matrix: Vec<f64>, n: usize) -> Result<Vec<f64>> {
    if matrix.iter().any(|v| !v.is_finite()) {
        return Err(Error::Numeric("the Gram matrix has entries that are not finite".to_owned()));
    }
    // nalgebra is column-major: our lower triangle is its upper one, and it reads the lower.
    let mut matrix = DMatrix::from_vec(n, n, matrix);
    for i in 0..n {
        for j in 0..i {
            matrix[(i, j)] = matrix[(j, i)];
        }
    }
    let mut values: Vec<f64> = matrix.symmetric_eigenvalues().iter().copied().collect();
    values.sort_by(f64::total_cmp);
    Ok(values)
}
