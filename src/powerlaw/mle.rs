//! Maximum-likelihood power laws in `WeightWatcher`'s convention.

use super::xmin::{Candidate, ks_distance, smallest_distance};

/// A fitted power law, density `~ x^-alpha` for `x >= xmin`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLawFit {
    /// The exponent. `WeightWatcher` also reports infinity (a tail of equal values) and 0 (nothing to fit) as successes:
    /// see [`PowerLawFit::degenerate`].
    pub alpha: f64,
    /// Standard error of alpha, `(alpha - 1) / sqrt(tail)`; it leaves out the uncertainty of xmin.
    pub sigma: f64,
    /// Kolmogorov-Smirnov distance between the tail and the fit (column `D`).
    pub ks_distance: f64,
    /// Lower end of the tail.
    pub xmin: f64,
    /// Largest value.
    pub xmax: f64,
    /// Number of input values that are at least `xmin` (column `num_pl_spikes`). Values that equal it but for rounding
    /// count: in a group of equal eigenvalues rounding decides which one is xmin.
    pub tail_len: usize,
}

impl PowerLawFit {
    /// Why this is no power law although the fit went through: the exponent of a maximum-likelihood fit is a finite number
    /// above 1.
    pub fn degenerate(&self) -> Option<String> {
        if self.alpha.is_infinite() {
            Some("degenerate fit: all eigenvalues in the tail are equal (alpha is infinite)".to_owned())
        } else if self.alpha.is_nan() || self.alpha <= 1.0 {
            Some(format!("degenerate fit: alpha = {} is not above 1", self.alpha))
        } else if self.xmax <= self.xmin * (1.0 + EQUAL) {
            Some("degenerate fit: all eigenvalues in the tail are equal but for rounding".to_owned())
        } else {
            None
        }
    }
}

/// Why there is no fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitFailure {
    /// In words.
    pub reason: String,
}

/// Eigenvalues up to this are left out of a fit: an absolute threshold, `WeightWatcher`'s.
const SMALLEST: f64 = 1e-5;

/// Eigenvalues closer than this, relatively, are the same eigenvalue: rounding moves them by about 1e-14.
const EQUAL: f64 = 1e-10;

/// Below this many values `WeightWatcher` takes another path, with tails of at least eight.
const FEW: usize = 20;

/// Fits a power law to `values` (ascending, any scale) as `WeightWatcher` 0.7.7 does with its default options.
///
/// Over all values above 1e-5, every value but the largest is a candidate for xmin, also one that equals its neighbour.
/// For a tail of `t` values: `alpha = 1 + t / sum ln(x / xmin)`; the candidate with the smallest KS distance wins, the
/// first on ties. Below 20 values: tails of at least 8, and `t - 1` in place of `t`.
///
/// # Errors
/// [`FitFailure`] if fewer than two values are left.
///
/// # Cost
/// `n` logarithms, and the scan of [`smallest_distance`].
///
/// # Source
/// Clauset, Shalizi, Newman 2009, equation 3.1, and `WeightWatcher`'s `WWFit`.
pub fn fit_weightwatcher(values: &[f64]) -> Result<PowerLawFit, FitFailure> {
    let first = values.partition_point(|v| *v <= SMALLEST);
    let data = &values[first..];
    if data.len() < 2 {
        let reason = format!("{} of {} eigenvalues are above 1e-5; a fit needs two", data.len(), values.len());
        return Err(FitFailure { reason });
    }
    let logs: Vec<f64> = data.iter().map(|v| libm::log(*v)).collect();
    let spreads = spreads(&logs);
    let (start, alpha, sigma, ks_distance) =
        if data.len() < FEW { scan_few(data, &spreads) } else { scan(data, &spreads) };
    let xmin = data[start];
    Ok(PowerLawFit {
        alpha,
        sigma,
        ks_distance,
        xmin,
        xmax: data[data.len() - 1],
        tail_len: values.len() - values.partition_point(|v| *v < xmin * (1.0 - EQUAL)),
    })
}

fn scan(data: &[f64], spreads: &[f64]) -> (usize, f64, f64, f64) {
    let candidates: Vec<Candidate> = (0..data.len() - 1)
        .map(|start| Candidate { start, alpha: 1.0 + (data.len() - start) as f64 / spreads[start] })
        .collect();
    // There are at least 19 candidates here.
    let (index, distance) = smallest_distance(data, &candidates).unwrap_or((0, 1.0));
    let Candidate { start, alpha } = candidates[index];
    (start, alpha, (alpha - 1.0) / ((data.len() - start) as f64).sqrt(), distance)
}

/// `WeightWatcher` meant to trade the distance against the length of the tail here, but its constructor overwrites that
/// choice by the smallest distance.
fn scan_few(data: &[f64], spreads: &[f64]) -> (usize, f64, f64, f64) {
    const SHORTEST_TAIL: usize = 8;
    const FLAT: f64 = 1e-12;
    let n = data.len();
    let alpha_of = |start: usize| 1.0 + (n - start - 1) as f64 / spreads[start];
    let candidates: Vec<Candidate> = (0..n - 1)
        .filter(|start| n - start >= SHORTEST_TAIL && spreads[*start] > FLAT)
        .map(|start| Candidate { start, alpha: alpha_of(start) })
        .collect();
    if let Some((index, distance)) = smallest_distance(data, &candidates) {
        let Candidate { start, alpha } = candidates[index];
        return (start, alpha, (alpha - 1.0) / ((n - start) as f64).sqrt(), distance);
    }
    // No tail is long enough: all values, with the standard error of a skipped candidate (alpha = 0).
    let sigma = -1.0 / (n as f64).sqrt();
    if spreads[0] <= FLAT {
        return (0, 0.0, sigma, 1.0);
    }
    let alpha = alpha_of(0);
    (0, alpha, sigma, ks_distance(data, Candidate { start: 0, alpha }))
}

/// `sum(L[i..]) - (n - i) L[i]` for every `i`: the sum of `ln(x / x_i)` over the tail.
fn spreads(logs: &[f64]) -> Vec<f64> {
    let n = logs.len();
    let mut result = vec![0.0; n];
    let mut sum = 0.0;
    for start in (0..n).rev() {
        let length = (n - start) as f64;
        sum += logs[start];
        let mut spread = sum - length * logs[start];
        // A tail of (nearly) equal values: the difference is all rounding, and whether it comes out as 0, above or below
        // decides between an infinite, a huge and a negative alpha. Do it in numpy's order to come out as WeightWatcher.
        if spread.abs() <= 1e-12 * length * logs[start].abs() {
            spread = pairwise_sum(&logs[start..]) - length * logs[start];
        }
        result[start] = spread;
    }
    result
}

/// numpy's summation of a contiguous f64 array.
fn pairwise_sum(values: &[f64]) -> f64 {
    const BLOCK: usize = 128;
    let n = values.len();
    if n < 8 {
        values.iter().fold(0.0, |sum, v| sum + v)
    } else if n <= BLOCK {
        let (chunks, rest) = values.as_chunks::<8>();
        let mut r = chunks[0];
        for chunk in &chunks[1..] {
            for lane in 0..8 {
                r[lane] += chunk[lane];
            }
        }
        let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        rest.iter().fold(sum, |sum, v| sum + v)
    } else {
        let half = n / 2 - (n / 2) % 8;
        pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_few_values_are_a_failure_with_its_reason() {
        assert!(fit_weightwatcher(&[]).is_err());
        let failure = fit_weightwatcher(&[0.0, 1e-6, 3.0]).unwrap_err();
        assert_eq!(failure.reason, "1 of 3 eigenvalues are above 1e-5; a fit needs two");
    }

    #[test]
    fn equal_values_are_degenerate() {
        let few = fit_weightwatcher(&[1.0; 10]).unwrap();
        assert_eq!((few.alpha, few.ks_distance, few.tail_len), (0.0, 1.0, 10));
        assert!(few.degenerate().is_some());
        let many = fit_weightwatcher(&[1.0; 64]).unwrap();
        assert!(many.alpha.is_infinite() && many.degenerate().is_some());
    }

    #[test]
    fn an_exact_power_law_gives_its_exponent_back() {
        // Quantiles of a Pareto law with alpha = 3: x = (1 - u)^(-1 / 2).
        let values: Vec<f64> = (0..4000).map(|i| (1.0 - (f64::from(i) + 0.5) / 4000.0).powf(-0.5)).collect();
        let fit = fit_weightwatcher(&values).unwrap();
        assert!((fit.alpha - 3.0).abs() < 0.02, "{fit:?}");
        assert!(fit.ks_distance < 1e-3 && fit.tail_len > 3000, "{fit:?}");
    }

    proptest! {
        #[test]
        fn alpha_does_not_depend_on_the_scale(mut values in proptest::collection::vec(0.1_f64..100.0, 20..100), power in 0_i32..10) {
            values.sort_by(f64::total_cmp);
            let scaled: Vec<f64> = values.iter().map(|v| v * 2_f64.powi(power)).collect();
            let (a, b) = (fit_weightwatcher(&values).unwrap(), fit_weightwatcher(&scaled).unwrap());
            // Logarithms of scaled values round differently; two candidates may be equally good to that.
            prop_assert!((a.ks_distance - b.ks_distance).abs() < 1e-9);
        }

        #[test]
        fn pairwise_sum_is_a_sum(values in proptest::collection::vec(-1.0_f64..1.0, 0..2000)) {
            let plain: f64 = values.iter().sum();
            prop_assert!((pairwise_sum(&values) - plain).abs() < 1e-11);
        }
    }
}
