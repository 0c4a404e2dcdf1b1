//! Maximum-likelihood power laws in `WeightWatcher`'s convention.

use super::logarithm::logarithms;
use super::xmin::{Candidate, Sample, ks_distance, smallest_distance};

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
pub const SMALLEST: f64 = 1e-5;

/// Eigenvalues closer than this, relatively, are the same eigenvalue: rounding moves them by about 1e-14.
pub(super) const EQUAL: f64 = 1e-10;

/// Below this many values `WeightWatcher` takes another path, with tails of at least [`SHORTEST_TAIL`].
pub const FEW: usize = 20;
/// The shortest tail of few values.
const SHORTEST_TAIL: usize = 8;

/// How many values of a tail count in alpha: of a fit to few values one less than there are.
pub(super) fn few_or_all(fitted: usize, tail: usize) -> f64 {
    if fitted < FEW { tail as f64 - 1.0 } else { tail as f64 }
}

/// Whether a tail may be the fit's, of so many values: of few ones only long tails may, or all of them.
pub(super) fn is_long_enough(fitted: usize, tail: usize) -> bool {
    fitted >= FEW || tail >= SHORTEST_TAIL || tail == fitted
}

/// Fits a power law to `values` (ascending, any scale) as `WeightWatcher` 0.7.7 does with its default options.
///
/// Over all values above 1e-5, every value but the largest is a candidate for xmin, also one that equals its neighbour.
/// For a tail of `t` values: `alpha = 1 + t / sum ln(x / xmin)`; the candidate with the smallest KS distance wins, the
/// first on ties. Below 20 values: tails of at least 8, and `t - 1` in place of `t`. Tails of values that are equal but for
/// rounding are candidates only where there is no other: rounding decides what their distance is.
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
    let data = fitted_part(values)?;
    let logs = logarithms(data);
    let sample = Sample { values: data, logs: &logs };
    let chosen = if data.len() < FEW { Some(scan_few(sample)) } else { scan_different(sample) };
    // From 20 values on there are at least 19 candidates.
    Ok(fit_of(values, data, chosen.unwrap_or(Chosen { start: 0, alpha: 0.0, sigma: 0.0, ks_distance: 1.0 })))
}

/// As [`fit_weightwatcher`] with only values from `low` to `high` as candidates for xmin, however few values there are.
///
/// # Errors
/// [`FitFailure`] if fewer than two values are left, or no candidate is.
pub fn fit_within(values: &[f64], low: f64, high: f64) -> Result<PowerLawFit, FitFailure> {
    fit_among(values, |data, start| low <= data[start] && data[start] <= high)
        .ok_or_else(|| FitFailure { reason: format!("no eigenvalue from {low:.3e} to {high:.3e} can be xmin") })
}

/// Fits a power law in the convention of Clauset, Shalizi and Newman: every *different* value but the largest is a candidate
/// for xmin. Without ties this is [`fit_weightwatcher`] on 20 and more values.
///
/// `values` ascending, positive; all are used, there is no threshold.
///
/// # Errors
/// [`FitFailure`] if there are no two different positive values.
///
/// # Cost
/// As [`fit_weightwatcher`].
///
/// # Source
/// Clauset, Shalizi, Newman 2009, sections 3.1 and 3.3, and their program `plfit`.
pub fn fit_csn(values: &[f64]) -> Result<PowerLawFit, FitFailure> {
    let positive = &values[values.partition_point(|v| *v <= 0.0)..];
    let logs = logarithms(positive);
    fit_csn_sample(Sample { values: positive, logs: &logs })
        .map(|chosen| fit_of(positive, positive, chosen))
        .ok_or_else(|| FitFailure { reason: "a fit needs two different values above 0".to_owned() })
}

/// The choice of [`fit_csn`], for callers that have the logarithms.
pub(super) fn fit_csn_sample(sample: Sample) -> Option<Chosen> {
    let values = sample.values;
    let largest = *values.last()?;
    scan(sample, |start| values[start] < largest && (start == 0 || values[start - 1] < values[start]))
}

fn fit_among(values: &[f64], wanted: impl Fn(&[f64], usize) -> bool) -> Option<PowerLawFit> {
    let data = fitted_part(values).ok()?;
    let logs = logarithms(data);
    Some(fit_of(values, data, scan(Sample { values: data, logs: &logs }, |start| wanted(data, start))?))
}

/// The values (ascending) that a fit looks at: those above the threshold.
pub(super) fn above_smallest(values: &[f64]) -> &[f64] {
    &values[values.partition_point(|v| *v <= SMALLEST)..]
}

/// The values above the threshold, at least two.
fn fitted_part(values: &[f64]) -> Result<&[f64], FitFailure> {
    let data = above_smallest(values);
    if data.len() < 2 {
        let reason = format!("{} of {} eigenvalues are above 1e-5; a fit needs two", data.len(), values.len());
        return Err(FitFailure { reason });
    }
    Ok(data)
}

/// The candidate that won. `start` counts from the first value that the fit looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chosen {
    pub start: usize,
    pub alpha: f64,
    pub sigma: f64,
    pub ks_distance: f64,
}

/// `values` is what the tail is counted in, `data` what was fitted: its end.
fn fit_of(values: &[f64], data: &[f64], chosen: Chosen) -> PowerLawFit {
    let Chosen { start, alpha, sigma, ks_distance } = chosen;
    let xmin = data[start];
    PowerLawFit { alpha, sigma, ks_distance, xmin, xmax: data[data.len() - 1], tail_len: tail_len(values, xmin) }
}

/// How many values are at least `xmin`, but for rounding.
pub(super) fn tail_len(values: &[f64], xmin: f64) -> usize {
    values.len() - values.partition_point(|v| *v < xmin * (1.0 - EQUAL))
}

fn scan(sample: Sample, wanted: impl Fn(usize) -> bool) -> Option<Chosen> {
    let n = sample.values.len();
    let spreads = spreads(sample.logs);
    let candidates: Vec<Candidate> = (0..n.saturating_sub(1))
        .filter(|start| wanted(*start))
        .map(|start| Candidate { start, alpha: 1.0 + (n - start) as f64 / spreads[start] })
        .collect();
    let (index, ks_distance) = smallest_distance(sample, &candidates)?;
    let Candidate { start, alpha } = candidates[index];
    Some(Chosen { start, alpha, sigma: (alpha - 1.0) / ((n - start) as f64).sqrt(), ks_distance })
}

/// The scan without tails of equal values, unless all are. Below [`FEW`] the tool leaves them out itself.
fn scan_different(sample: Sample) -> Option<Chosen> {
    let largest = *sample.values.last()?;
    let is_different = |start: usize| sample.values[start] * (1.0 + EQUAL) < largest;
    scan(sample, is_different).or_else(|| scan(sample, |_| true))
}

/// `WeightWatcher` meant to trade the distance against the length of the tail here, but its constructor overwrites that
/// choice by the smallest distance.
fn scan_few(sample: Sample) -> Chosen {
    const FLAT: f64 = 1e-12;
    let n = sample.values.len();
    let spreads = spreads(sample.logs);
    let alpha_of = |start: usize| 1.0 + few_or_all(n, n - start) / spreads[start];
    let candidates: Vec<Candidate> = (0..n - 1)
        .filter(|start| n - start >= SHORTEST_TAIL && spreads[*start] > FLAT)
        .map(|start| Candidate { start, alpha: alpha_of(start) })
        .collect();
    if let Some((index, ks_distance)) = smallest_distance(sample, &candidates) {
        let Candidate { start, alpha } = candidates[index];
        return Chosen { start, alpha, sigma: (alpha - 1.0) / ((n - start) as f64).sqrt(), ks_distance };
    }
    // No tail is long enough: all values, with the standard error of a skipped candidate (alpha = 0).
    let sigma = -1.0 / (n as f64).sqrt();
    if spreads[0] <= FLAT {
        return Chosen { start: 0, alpha: 0.0, sigma, ks_distance: 1.0 };
    }
    let alpha = alpha_of(0);
    let ks_distance = ks_distance(sample, Candidate { start: 0, alpha });
    Chosen { start: 0, alpha, sigma, ks_distance }
}

/// `sum(L[i..]) - (n - i) L[i]` for every `i`: the sum of `ln(x / x_i)` over the tail.
pub(super) fn spreads(logs: &[f64]) -> Vec<f64> {
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
    fn a_tail_of_values_equal_but_for_rounding_is_chosen_only_without_another() {
        // Quantiles of a Pareto law within 1e-10 of one value, as rounding might leave them: by distance the best tail.
        let quantile = |i: u32| -(1.0 - (f64::from(i) + 0.5) / 20.0).ln();
        let equal: Vec<f64> = (0..20).map(|i| 10.0 * (1.0 + 2e-11 * quantile(i))).collect();
        let mut values: Vec<f64> = (0..100).map(|i| 1.0 + 0.01 * f64::from(i)).collect();
        values.extend(&equal);
        let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
        let nearest = scan(Sample { values: &values, logs: &logs }, |_| true).unwrap();
        assert!(nearest.start >= 100 && nearest.ks_distance < 0.05, "the example is one: {}", nearest.start);
        let fit = fit_weightwatcher(&values).unwrap();
        assert!(fit.xmin < 2.0 && fit.degenerate().is_none(), "{fit:?}");
        assert!(fit_weightwatcher(&equal).unwrap().degenerate().is_some());
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
