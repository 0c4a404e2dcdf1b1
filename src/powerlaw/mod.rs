//! Power-law fits of a list of numbers, and what speaks for and against them. Knows nothing of matrices.

mod bootstrap;
mod bounded;
mod curves;
mod family;
mod hill;
mod laws;
mod logarithm;
mod mle;
mod options;
mod truncated;
mod verdict;
mod xmin;

pub use bootstrap::{Draw, Interval, bootstrap, goodness_of_fit};
pub use bounded::fit_bounded;
pub use curves::{CurvePoint, HillPoint, fit_from, fitted_density, hill_curve, kept, plateau, xmin_curve, xmin_scan};
pub use hill::{alpha_q, hill_alpha, log_log_r_squared, xmin_mid_alpha};
pub use laws::{Comparison, Law, LawFit, compare_laws, fit_law};
pub use mle::{FEW, FitFailure, PowerLawFit, SMALLEST, fit_csn, fit_weightwatcher, fit_within};
pub use options::{FitOptions, FixFingers, VariedFit, fit_varied, fit_xmin_peak, last_up_to, peak};
pub use truncated::{TruncatedFit, fit_truncated};
pub use verdict::{Evidence, Verdict, judge};
