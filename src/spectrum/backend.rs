//! Who does the heavy work of a spectrum: the program's own kernels, or a library of the system.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use super::SymmetricTiles;
use super::eigen::{Cancelled, EigenError, tiled_eigenvalues};
use super::gram::GramBuilder;
use crate::kernel::Kernel;

/// The two calls in which nearly all the time goes.
pub trait Backend: Debug + Send + Sync {
    /// What a user calls it.
    fn name(&self) -> String;

    /// Whether results have the same bits on every machine.
    fn is_reproducible(&self) -> bool;

    /// Bytes that a Gram product of order n and its eigenvalues take at most, but for panels.
    fn bytes(&self, n: u64) -> u64;

    /// An empty Gram product of matrices with n columns.
    fn gram(&self, n: usize) -> Box<dyn Gram>;

    /// Eigenvalues of a symmetric matrix, ascending, within 1e-13 of the largest magnitude.
    ///
    /// # Errors
    /// See [`EigenError`].
    fn eigenvalues(&self, matrix: SymmetricTiles, cancelled: Cancelled) -> Result<Vec<f64>, EigenError>;
}

/// A sum G = W^T W in f64, W \[m, n\] arriving in panels of f32: see [`GramBuilder`].
pub trait Gram: Debug {
    /// Adds k rows of W: `panel` is row-major \[k, n\].
    fn push(&mut self, panel: &[f32], k: usize);

    /// Adds k rows of W given by columns: column j is `columns[j * step .. j * step + k]`.
    fn push_columns(&mut self, columns: &[f32], step: usize, k: usize);

    /// The sum.
    fn finish(self: Box<Self>) -> SymmetricTiles;
}

/// The program's own kernels: the same bits on every machine whose kernel fuses multiply-adds, and in the page.
#[derive(Debug, Clone, Copy)]
pub struct Own(pub Kernel);

impl Backend for Own {
    fn name(&self) -> String {
        format!("rust ({})", self.0.name())
    }

    fn is_reproducible(&self) -> bool {
        self.0.is_fused()
    }

    fn bytes(&self, n: u64) -> u64 {
        n.saturating_mul(n).saturating_mul(4)
    }

    fn gram(&self, n: usize) -> Box<dyn Gram> {
        Box::new(GramBuilder::with_kernel(self.0, n))
    }

    fn eigenvalues(&self, matrix: SymmetricTiles, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
        tiled_eigenvalues(self.0, matrix, cancelled)
    }
}

impl Gram for GramBuilder {
    fn push(&mut self, panel: &[f32], k: usize) {
        GramBuilder::push(self, panel, k);
    }

    fn push_columns(&mut self, columns: &[f32], step: usize, k: usize) {
        GramBuilder::push_columns(self, columns, step, k);
    }

    fn finish(self: Box<Self>) -> SymmetricTiles {
        GramBuilder::finish(*self)
    }
}

/// Each call by whoever is faster at it.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Does Gram products.
    pub gram: Arc<dyn Backend>,
    /// Does eigenvalues.
    pub eigenvalues: Arc<dyn Backend>,
}

impl Backend for Parts {
    fn name(&self) -> String {
        let (gram, eigenvalues) = (self.gram.name(), self.eigenvalues.name());
        if gram == eigenvalues { gram } else { format!("Gram products: {gram}; eigenvalues: {eigenvalues}") }
    }

    fn is_reproducible(&self) -> bool {
        self.gram.is_reproducible() && self.eigenvalues.is_reproducible()
    }

    fn bytes(&self, n: u64) -> u64 {
        self.gram.bytes(n).max(self.eigenvalues.bytes(n))
    }

    fn gram(&self, n: usize) -> Box<dyn Gram> {
        self.gram.gram(n)
    }

    fn eigenvalues(&self, matrix: SymmetricTiles, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
        self.eigenvalues.eigenvalues(matrix, cancelled)
    }
}

static SELECTED: OnceLock<Arc<dyn Backend>> = OnceLock::new();

/// Who works from now on, in the whole process. The first choice holds: results of two would not compare.
pub fn select(backend: Arc<dyn Backend>) {
    let _ = SELECTED.set(backend);
}

/// Who works; [`Own`] with the kernel of this processor until another is selected.
pub fn selected() -> &'static dyn Backend {
    SELECTED.get_or_init(|| Arc::new(Own(Kernel::selected()))).as_ref()
}
