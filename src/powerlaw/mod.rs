//! Power-law fits of a list of numbers, and what speaks for and against them. Knows nothing of matrices.

mod mle;
mod options;
mod xmin;

pub use mle::{FitFailure, PowerLawFit, fit_csn, fit_weightwatcher, fit_within};
pub use options::{FitOptions, FixFingers, VariedFit, fit_varied, fit_xmin_peak, peak};
