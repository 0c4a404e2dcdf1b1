//! The heavy work done by the system's BLAS and LAPACK.

use std::sync::Arc;

use super::SymmetricTiles;
use super::backend::{Backend, Gram};
use super::eigen::{Cancelled, EigenError};
use super::gram::SLICE;
use crate::kernel::{Blas, Panel};

/// [`Backend`] by `dsyrk` and `dsyevd` of a library.
///
/// Its rounding is the library's: other last digits than [`super::backend::Own`], and other ones on another machine. A large
/// matrix runs on one thread, and a call can't be cancelled once it has begun; it takes 12 n^2 bytes,
/// [`super::backend::Own`] 4 n^2.
#[derive(Debug, Clone)]
pub struct Library(Arc<Blas>);

impl Library {
    /// Works with this library.
    pub fn new(blas: Blas) -> Self {
        Self(Arc::new(blas))
    }
}

impl Backend for Library {
    fn name(&self) -> String {
        format!("blas ({})", self.0.name())
    }

    fn is_reproducible(&self) -> bool {
        false
    }

    fn bytes(&self, n: u64) -> u64 {
        // A square and the tiles that it comes from, or becomes.
        n.saturating_mul(n).saturating_mul(12)
    }

    fn gram(&self, n: usize) -> Box<dyn Gram> {
        Box::new(LibraryGram { blas: self.0.clone(), n, sum: vec![0.0; n * n], panel: vec![0.0; SLICE * n] })
    }

    fn eigenvalues(&self, matrix: SymmetricTiles, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
        if cancelled() {
            return Err(EigenError::Cancelled);
        }
        if !matrix.elements().iter().all(|x| x.is_finite()) {
            return Err(EigenError::NotFinite);
        }
        let n = matrix.order();
        let mut dense = matrix.to_dense();
        drop(matrix);
        self.0.eigenvalues(&mut dense, n).map_err(|_| EigenError::NoConvergence)
    }
}

#[derive(Debug)]
struct LibraryGram {
    blas: Arc<Blas>,
    n: usize,
    /// Row-major \[n, n\]; the lower triangle counts.
    sum: Vec<f64>,
    /// A slice of W in f64.
    panel: Vec<f64>,
}

impl Gram for LibraryGram {
    fn push(&mut self, panel: &[f32], k: usize) {
        assert_eq!(panel.len(), k * self.n);
        // Of no columns there is nothing to add.
        for rows in panel.chunks(SLICE * self.n.max(1)) {
            let wide = &mut self.panel[..rows.len()];
            for (to, from) in wide.iter_mut().zip(rows) {
                *to = f64::from(*from);
            }
            self.blas.add_gram(wide, Panel::Rows, rows.len() / self.n, self.n, &mut self.sum);
        }
    }

    fn push_columns(&mut self, columns: &[f32], step: usize, k: usize) {
        for first in (0..k).step_by(SLICE) {
            let depth = SLICE.min(k - first);
            let wide = &mut self.panel[..depth * self.n];
            for (column, to) in wide.chunks_exact_mut(depth).enumerate() {
                for (to, from) in to.iter_mut().zip(&columns[column * step + first..][..depth]) {
                    *to = f64::from(*from);
                }
            }
            self.blas.add_gram(wide, Panel::Columns, depth, self.n, &mut self.sum);
        }
    }

    fn finish(self: Box<Self>) -> SymmetricTiles {
        SymmetricTiles::from_lower(&self.sum, self.n)
    }
}
