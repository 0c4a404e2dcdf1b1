//! A matrix with some of its singular components.

use std::ops::Range;

use nalgebra::{DMatrix, SymmetricEigen};

use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// The eigenvalues and eigenvectors of a matrix's Gram matrix on the short side.
#[derive(Debug, Clone)]
pub struct Components<'a> {
    matrix: &'a Matrix,
    /// Eigenvalue and column of `vectors`, ascending in the eigenvalue.
    order: Vec<(f64, usize)>,
    vectors: DMatrix<f64>,
}

impl<'a> Components<'a> {
    /// Decomposes a matrix.
    ///
    /// # Errors
    /// [`Error::Numeric`] if an entry is not finite.
    ///
    /// # Cost
    /// For the shorter side n and the longer m: `m n^2` flops for the product, about `9 n^3` for the vectors; `24 n^2 + 8 m n`
    /// bytes.
    pub fn new(matrix: &'a Matrix) -> Result<Self> {
        if matrix.values().iter().any(|v| !v.is_finite()) {
            return Err(Error::Numeric("the matrix has entries that are not finite".to_owned()));
        }
        let wide = Self::wide(matrix);
        let eigen = SymmetricEigen::new(&wide * wide.transpose());
        let mut order: Vec<(f64, usize)> = eigen.eigenvalues.iter().copied().zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Self { matrix, order, vectors: eigen.eigenvectors })
    }

    /// The matrix or its transpose, whichever has no more rows than columns.
    fn wide(matrix: &Matrix) -> DMatrix<f64> {
        // Row-major [rows, cols] is column-major [cols, rows].
        let values = matrix.values().iter().map(|v| f64::from(*v));
        let transposed = DMatrix::from_iterator(matrix.cols(), matrix.rows(), values);
        if matrix.rows() <= matrix.cols() { transposed.transpose() } else { transposed }
    }

    /// The eigenvalues, ascending; rounding may put some that are zero a little below it.
    pub fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        self.order.iter().map(|(value, _)| *value)
    }

    /// The eigenvectors with their eigenvalues, ascending.
    pub fn vectors(&self) -> impl Iterator<Item = (f64, &[f64])> {
        let rows = self.vectors.nrows();
        self.order.iter().map(move |(value, column)| (*value, &self.vectors.as_slice()[column * rows..][..rows]))
    }

    /// The sum of the singular components at some places, 0 that of the largest singular value; all of them are the matrix
    /// itself, bit for bit.
    ///
    /// # Errors
    /// None in practice: the shape is the matrix's.
    ///
    /// # Cost
    /// `4 m n k` flops for `k` components, or for the others if they are fewer.
    pub fn sum(&self, places: Range<usize>) -> Result<Matrix> {
        let count = self.order.len();
        let is_wanted = |place: usize| places.contains(&place);
        let (kept, left_out): (Vec<usize>, Vec<usize>) = (0..count).partition(|place| is_wanted(*place));
        if left_out.is_empty() {
            return Ok(self.matrix.clone());
        }
        let wide = Self::wide(self.matrix);
        let projected = |places: &[usize]| {
            let columns: Vec<_> =
                places.iter().map(|place| self.vectors.column(self.order[count - 1 - place].1)).collect();
            let vectors =
                if columns.is_empty() { DMatrix::zeros(wide.nrows(), 0) } else { DMatrix::from_columns(&columns) };
            &vectors * (vectors.transpose() * &wide)
        };
        let sum = if kept.len() <= left_out.len() { projected(&kept) } else { &wide - projected(&left_out) };
        let sum = if self.matrix.rows() <= self.matrix.cols() { sum.transpose() } else { sum };
        Matrix::new(self.matrix.rows(), self.matrix.cols(), sum.iter().map(|v| *v as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, cols: usize) -> Matrix {
        let value = |i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0;
        Matrix::new(rows, cols, (0..rows * cols).map(value).collect()).unwrap()
    }

    #[test]
    fn components_add_up_and_carry_their_singular_values() {
        for (rows, cols) in [(7, 12), (12, 7), (9, 9)] {
            let whole = matrix(rows, cols);
            let components = Components::new(&whole).unwrap();
            let values: Vec<f64> = components.eigenvalues().collect();
            assert!(values.is_sorted());
            assert_eq!(components.sum(0..99).unwrap(), whole);
            for split in [0, 1, 3, 6] {
                let (top, rest) = (components.sum(0..split).unwrap(), components.sum(split..99).unwrap());
                let squares = |m: &Matrix| m.values().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
                let expected: f64 = values.iter().rev().take(split).sum();
                assert!((squares(&top) - expected).abs() < 1e-5, "{rows} x {cols}, {split}");
                for ((a, b), c) in top.values().iter().zip(rest.values()).zip(whole.values()) {
                    assert!((a + b - c).abs() < 1e-5, "{rows} x {cols}, {split}");
                }
            }
        }
        assert!(Components::new(&Matrix::new(1, 2, vec![1.0, f32::INFINITY]).unwrap()).is_err());
    }
}
