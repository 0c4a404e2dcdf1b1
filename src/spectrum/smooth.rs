//! A matrix with some of its singular components.

use std::ops::Range;

use rayon::prelude::*;

use super::eigen::EigenError;
use super::eigen::vectors::{BLOCK, Reduced};
use super::gram::GramBuilder;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Strided};
use crate::matrix::Matrix;

/// The eigenvalues of a matrix's Gram matrix on the short side, and its eigenvectors when they are asked for.
pub struct Components<'a> {
    matrix: &'a Matrix,
    reduced: Reduced,
    /// Ascending.
    eigenvalues: Vec<f64>,
}

impl std::fmt::Debug for Components<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Components").field("eigenvalues", &self.eigenvalues).finish_non_exhaustive()
    }
}

/// Columns of W (or rows, if they are more) that are worked on together.
const STRIPE: usize = 96;

impl<'a> Components<'a> {
    /// Decomposes a matrix.
    ///
    /// # Errors
    /// [`Error::Numeric`] if an entry is not finite.
    ///
    /// # Cost
    /// For the shorter side n and the longer m: `m n^2` flops for the product and `4/3 n^3` for the eigenvalues; `12 n^2` bytes.
    pub fn new(matrix: &'a Matrix) -> Result<Self> {
        if matrix.values().iter().any(|v| !v.is_finite()) {
            return Err(Error::Numeric("the matrix has entries that are not finite".to_owned()));
        }
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let mut gram = GramBuilder::new(rows.min(cols));
        // Of the rows of a square matrix, as in `projected`.
        if rows <= cols {
            gram.push_columns(matrix.values(), cols, cols);
        } else {
            gram.push(matrix.values(), rows);
        }
        let reduced = Reduced::new(Kernel::selected(), gram.finish(), &|| false).map_err(failure)?;
        let eigenvalues = reduced.values();
        Ok(Self { matrix, reduced, eigenvalues })
    }

    /// The eigenvalues, ascending; rounding may put some that are zero a little below it.
    pub fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        self.eigenvalues.iter().copied()
    }

    /// All eigenvectors with their eigenvalues, descending.
    ///
    /// # Errors
    /// [`Error::Numeric`] if there is none for an eigenvalue; not known to happen.
    ///
    /// # Cost
    /// `6 n^3` flops; `16 n^2` bytes.
    pub fn vectors(&self) -> Result<Vec<(f64, Vec<f64>)>> {
        let n = self.eigenvalues.len();
        let blocks = self.reduced.vectors(0..n, &|| false).map_err(failure)?;
        let vector = |(place, value): (usize, &f64)| {
            let column = blocks[place / BLOCK][place % BLOCK..].iter().step_by(BLOCK).take(n);
            (*value, column.copied().collect())
        };
        Ok(self.eigenvalues.iter().rev().enumerate().map(vector).collect())
    }

    /// The sum of the singular components at some places, 0 that of the largest singular value; all of them are the matrix
    /// itself, bit for bit.
    ///
    /// # Errors
    /// As [`Components::vectors`].
    ///
    /// # Cost
    /// For `k` components, or the others if they are fewer: `2 n^2 k + 4 n k^2` flops for their vectors, `4 m n k` for the sum.
    pub fn sum(&self, places: Range<usize>) -> Result<Matrix> {
        let count = self.eigenvalues.len();
        let places = places.start.min(count)..places.end.min(count);
        // Those at one end are told by the others as well.
        let others = match (places.start, places.end) {
            (0, end) => Some(end..count),
            (start, end) if end == count => Some(0..start),
            _ => None,
        };
        let (wanted, is_rest) = match others {
            Some(others) if others.len() < places.len() => (others, true),
            _ => (places, false),
        };
        if wanted.is_empty() && is_rest {
            return Ok(self.matrix.clone());
        }
        let vectors = self.reduced.vectors(wanted, &|| false).map_err(failure)?;
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        let stripes: Vec<Vec<f64>> =
            (0..rows.max(cols)).into_par_iter().step_by(STRIPE).map(|first| self.projected(&vectors, first)).collect();
        let mut values = self.matrix.values().to_vec();
        for (place, value) in values.iter_mut().enumerate() {
            let (short, long) = if rows <= cols { (place / cols, place % cols) } else { (place % cols, place / cols) };
            let sum = stripes[long / STRIPE][short * STRIPE + long % STRIPE];
            *value = if is_rest { f64::from(*value) - sum } else { sum } as f32;
        }
        Matrix::new(rows, cols, values)
    }

    /// V V^T W for a stripe of W, row-major \[n and more, [`STRIPE`]\], the short side along the columns.
    fn projected(&self, vectors: &[Vec<f64>], first: usize) -> Vec<f64> {
        let (rows, cols, height) = (self.matrix.rows(), self.matrix.cols(), self.reduced.rows());
        let count = STRIPE.min(rows.max(cols) - first);
        let mut stripe = vec![0.0; height * STRIPE];
        for (short, line) in stripe.chunks_exact_mut(STRIPE).take(rows.min(cols)).enumerate() {
            for (long, to) in line[..count].iter_mut().enumerate() {
                let place = if rows <= cols { short * cols + first + long } else { (first + long) * cols + short };
                *to = f64::from(self.matrix.values()[place]);
            }
        }
        let (mut sum, mut products) = (vec![0.0; height * STRIPE], vec![0.0; BLOCK * STRIPE]);
        let kernel = Kernel::selected();
        for block in vectors {
            products.fill(0.0);
            let left = Strided { data: block, row_step: 1, depth_step: BLOCK };
            kernel.gemm([BLOCK, STRIPE, height], left, Rows::new(&stripe, STRIPE), &mut products, STRIPE);
            let left = Strided { data: block, row_step: BLOCK, depth_step: 1 };
            kernel.gemm([height, STRIPE, BLOCK], left, Rows::new(&products, STRIPE), &mut sum, STRIPE);
        }
        sum
    }
}

fn failure(error: EigenError) -> Error {
    Error::Numeric(error.to_string())
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
