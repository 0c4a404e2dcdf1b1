//! The truncated power law with its own lower end.

use super::family::{Family, integrate};
use super::logarithm::logarithms;
use super::mle::{FitFailure, above_smallest, tail_len};

/// A fitted truncated power law, density `~ x^-alpha exp(-lambda x)` for `x >= xmin`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncatedFit {
    /// The exponent, at least 1.
    pub alpha: f64,
    /// The rate of the exponential end (column `Lambda`).
    pub lambda: f64,
    /// Kolmogorov-Smirnov distance.
    pub ks_distance: f64,
    /// Lower end of the tail.
    pub xmin: f64,
    /// Largest value.
    pub xmax: f64,
    /// Number of values of at least `xmin`.
    pub tail_len: usize,
}

/// Fits a truncated power law to `values` (ascending): parameters by maximum likelihood, xmin by the smallest distance of
/// *this* law, over the different values but the largest from `low` to `high`.
///
/// # Errors
/// [`FitFailure`] if there are fewer than three different values above 1e-5, or none in the range.
///
/// # Cost
/// For each candidate a few steps of Newton's method from the last one's result and 8 exponentials a value of its tail: about
/// 40 ms for 1000 values.
///
/// # Source
/// `WeightWatcher` 0.7.7 with `fit="TPL"` and the `powerlaw` package 1.5, which searches with Nelder-Mead to 1e-4.
pub fn fit_truncated(values: &[f64], low: f64, high: f64) -> Result<TruncatedFit, FitFailure> {
    let data = above_smallest(values);
    let logs = logarithms(data);
    let mut best: Option<TruncatedFit> = None;
    let mut guess = None;
    let (mut sum_logs, mut sum_values) = (logs.iter().sum::<f64>(), data.iter().sum::<f64>());
    for start in 0..data.len().saturating_sub(2) {
        let xmin = data[start];
        let is_candidate =
            (start == 0 || data[start - 1] < xmin) && xmin < data[data.len() - 1] && low <= xmin && xmin <= high;
        if is_candidate {
            let count = (data.len() - start) as f64;
            let (mean_u, mean_g) = (sum_logs / count - logs[start], sum_values / count / xmin - 1.0);
            if let Some((point, true)) = Family::Truncated.maximise(mean_u, mean_g, guess) {
                guess = Some((point.a, point.b));
                let bound = best.map_or(f64::INFINITY, |b| b.ks_distance);
                if let Some(ks_distance) = distance(&logs[start..], point.a, point.b, point.log_norm, bound) {
                    best = Some(TruncatedFit {
                        alpha: 1.0 + point.a,
                        lambda: point.b / xmin,
                        ks_distance,
                        xmin,
                        xmax: data[data.len() - 1],
                        tail_len: tail_len(values, xmin),
                    });
                }
            }
        }
        sum_logs -= logs[start];
        sum_values -= xmin;
    }
    best.ok_or_else(|| FitFailure {
        reason: format!("no truncated power law fits the {} eigenvalues above 1e-5", data.len()),
    })
}

/// The distance, or `None` once it is not below `bound`.
fn distance(logs: &[f64], a: f64, b: f64, log_norm: f64, bound: f64) -> Option<f64> {
    let count = logs.len() as f64;
    let (mut below, mut largest) = (0.0, 0.0_f64);
    for (j, pair) in logs.windows(2).enumerate() {
        integrate(pair[0] - logs[0], pair[1] - logs[0], |u, weight| {
            below += weight * libm::exp(-a * u - b * libm::expm1(u) - log_norm);
        });
        largest = largest.max((below - (j + 1) as f64 / count).abs());
        if largest >= bound {
            return None;
        }
    }
    Some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_end_is_found() {
        // exp(-x) above 1: alpha at its lower bound, lambda above it by what the bound takes.
        let values: Vec<f64> = (0..500).map(|i| 1.0 - (1.0 - (f64::from(i) + 0.5) / 500.0_f64).ln()).collect();
        let fit = fit_truncated(&values, 0.0, f64::INFINITY).unwrap();
        assert!(fit.alpha < 1.05 && fit.lambda > 0.5 && fit.ks_distance < 0.03, "{fit:?}");
        assert!(fit_truncated(&[1.0, 2.0], 0.0, f64::INFINITY).is_err());
        assert!(fit_truncated(&[1.0; 9], 0.0, f64::INFINITY).is_err());
        assert!(fit_truncated(&values, 1e9, f64::INFINITY).is_err());
    }
}
