//! A row-major f32 matrix.

use crate::error::{Error, Result};

/// A matrix of weights, `[rows, cols]`, row-major, in f32: what every quantizer sees and what the spectrum is taken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix from its row-major values.
    ///
    /// # Errors
    /// [`Error::Options`] if `values.len() != rows * cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<f32>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(values.len()) {
            return Err(Error::Options(format!("a matrix of {rows} x {cols} can't hold {} values", values.len())));
        }
        Ok(Self { rows, cols, values })
    }

    /// Number of rows (output features of a linear layer).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (input features of a linear layer).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}
