//! Spectra of weight matrices: eigenvalues of the short-side Gram matrix, and what is read off them.
//!
//! Panels of a matrix -> [`backend::Gram`] -> [`SymmetricTiles`] -> [`backend::Backend::eigenvalues`], ascending -> [`Metrics`].

pub mod backend;
mod blocks;
mod distance;
pub mod eigen;
mod erg;
mod gram;
mod gram_codes;
mod leading;
mod levels;
#[cfg(feature = "blas")]
pub mod library;
mod marchenko_pastur;
mod metrics;
mod product;
mod randomize;
pub mod singular;
mod smooth;
mod tiles;
mod vectors;

pub use blocks::square_blocks;
pub use distance::log_wasserstein;
pub use erg::{ErgPoint, erg_point};
pub use gram::{GramBuilder, SLICE};
pub use gram_codes::{CODE_SLICE, CodeGramBuilder, CodePanel, SPARSE_ORDER};
pub use leading::{Leading, leading_singular, subspace_overlap};
pub use levels::{log_spacings, spacing_ratio};
pub use marchenko_pastur::{NoiseFit, fit_noise};
pub use metrics::{Metrics, alpha_norm_log10, scaled_alpha_norm_log10};
pub use product::{frobenius_norm, linear_alignment, product, transposed};
pub use randomize::{jensen_shannon_distance, shuffle};
pub use singular::singular_values;
pub use smooth::Components;
pub use tiles::{SymmetricTiles, TILE};
pub use vectors::{VectorMeasures, vector_measures};

/// Where a spectrum comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Eigenvalues of the Gram matrix: fast. Values below `n * 2.2e-16` of the largest can't be told from zero and are
    /// reported as zero, so singular values below about 3e-7 of the largest are not seen.
    #[default]
    Gram,
    /// True singular values, squared: needed where ranks and the smallest singular value matter to the last digit.
    Svd,
}
