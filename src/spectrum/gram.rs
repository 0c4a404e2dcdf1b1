//! The Gram product, streamed: only the `n x n` result is held in f64.

use crate::error::{Error, Result};

/// Accumulates `P^T P` over panels `P` of rows, in f64.
#[derive(Debug)]
pub struct GramBuilder {
    n: usize,
    /// Row-major `[n, n]`; only the lower triangle is kept up.
    sums: Vec<f64>,
    panel: Vec<f64>,
}

impl GramBuilder {
    /// Rows to push at a time. The order of summation, and so the last bit of the result, depends on it.
    pub const PANEL_ROWS: usize = 256;

    /// An empty sum for matrices with `n` columns.
    ///
    /// # Errors
    /// [`Error::Limit`] if `n * n` numbers can't be addressed.
    pub fn new(n: usize) -> Result<Self> {
        let len = n.checked_mul(n).filter(|len| len.checked_mul(8).is_some_and(|bytes| isize::try_from(bytes).is_ok()));
        let len = len.ok_or_else(|| Error::Limit(format!("a Gram matrix of {n} x {n} does not fit into memory")))?;
        Ok(Self { n, sums: vec![0.0; len], panel: Vec::new() })
    }

    /// Adds a panel of rows, `[rows, n]`, row-major.
    ///
    /// # Cost
    /// `rows * n^2` flops (one triangle).
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub fn push(&mut self, rows: &[f32]) {
        let n = self.n;
        if n == 0 {
            return;
        }
        assert_eq!(rows.len() % n, 0, "whole rows");
        self.panel.clear();
        self.panel.extend(rows.iter().map(|v| f64::from(*v)));
        for i in 0..n {
            let sums = &mut self.sums[i * n..=i * n + i];
            for row in self.panel.chunks_exact(n) {
                let factor = row[i];
                for (sum, v) in sums.iter_mut().zip(row) {
                    *sum += factor * v;
                }
            }
        }
    }

    /// The Gram matrix, `[n, n]`, row-major; the lower triangle holds it.
    pub fn finish(self) -> Vec<f64> {
        self.sums
    }
}
