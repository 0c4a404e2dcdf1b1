//! Power-law fits of a list of numbers. Knows nothing of matrices.

mod xmin;
mod mle;

pub use mle::{FitFailure, PowerLawFit, fit_weightwatcher};
