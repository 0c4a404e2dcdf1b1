//! Power-law fits of a list of numbers. Knows nothing of matrices.

mod mle;
mod xmin;

pub use mle::{FitFailure, PowerLawFit, fit_weightwatcher};
