//! The power law that ends at the largest value.

use super::logarithm::logarithms;
use super::mle::{FitFailure, PowerLawFit, above_smallest, tail_len};

/// Fits the density `x^-alpha` from xmin to the largest of `values` (ascending): alpha by maximum likelihood, xmin by the
/// smallest distance, over the different values but the largest. Where the bounded law that fits best does not fall
/// (alpha of at most 1), there is no candidate.
///
/// With `u = ln(x / xmin)` and `r` its largest value, `a = alpha - 1` solves `mean(u) = 1 / a - r / (e^(a r) - 1)`, with the
/// standard error `1 / sqrt(t Var(u))`, `Var(u) = 1 / a^2 - r^2 e^(a r) / (e^(a r) - 1)^2`.
///
/// `as_powerlaw`: the `powerlaw` package takes the likelihood of the law without the end, and only its distance from the one
/// with it.
///
/// # Errors
/// [`FitFailure`] if there is no candidate.
///
/// # Cost
/// `n^2 / 2` exponentials: 4 ms for 1000 values.
///
/// # Source
/// Aban, Meerschaert, Panorska 2006, theorem 2; `WeightWatcher` 0.7.7 with `xmax="force"` and the `powerlaw` package 1.5.
pub fn fit_bounded(values: &[f64], as_powerlaw: bool) -> Result<PowerLawFit, FitFailure> {
    let data = above_smallest(values);
    let logs = logarithms(data);
    let mut sum: f64 = logs.iter().sum();
    let mut best: Option<PowerLawFit> = None;
    for (start, log) in logs.iter().enumerate() {
        let (tail, xmax) = (&logs[start..], data[data.len() - 1]);
        let (count, reach) = (tail.len() as f64, tail[tail.len() - 1] - log);
        let mean = sum / count - log;
        sum -= log;
        if !(data[start] < xmax && (start == 0 || data[start - 1] < data[start])) {
            continue;
        }
        let rate = if as_powerlaw { Some(1.0 / mean) } else { bounded_rate(mean, reach) };
        let Some(rate) = rate else { continue };
        let ks_distance = distance(tail, rate, reach);
        if best.is_none_or(|best| ks_distance < best.ks_distance) {
            let deviation = if as_powerlaw { 1.0 / rate } else { deviation(rate, reach) };
            best = Some(PowerLawFit {
                alpha: 1.0 + rate,
                sigma: 1.0 / (deviation * count.sqrt()),
                ks_distance,
                xmin: data[start],
                xmax,
                tail_len: tail_len(values, data[start]),
            });
        }
    }
    best.ok_or_else(|| FitFailure {
        reason: format!("no power law up to the largest value falls over the {} eigenvalues above 1e-5", data.len()),
    })
}

/// Largest distance of the bounded law from the shares strictly below each different value.
fn distance(logs: &[f64], rate: f64, reach: f64) -> f64 {
    let (count, whole) = (logs.len() as f64, libm::expm1(-rate * reach));
    let mut largest = 0.0_f64;
    for (j, log) in logs.iter().enumerate() {
        if j == 0 || logs[j - 1] < *log {
            let fitted = libm::expm1(-rate * (log - logs[0])) / whole;
            largest = largest.max((fitted - j as f64 / count).abs());
        }
    }
    largest
}

/// The rate of an exponential law on 0..`reach` with that mean; `None` if it does not fall, but for rounding: the mean of two
/// values is half their reach exactly.
fn bounded_rate(mean: f64, reach: f64) -> Option<f64> {
    let mean_at = |rate: f64| 1.0 / rate - reach / libm::expm1(rate * reach);
    // At a rate of 0 the mean is half the reach; without an end it is the rate's inverse, which is always too much.
    let (mut low, mut high) = (1e-9 / reach, 1.0 / mean);
    if !(mean > 0.0 && mean < reach / 2.0 * (1.0 - 1e-6)) {
        return None;
    }
    // Bisection: the mean falls with the rate. 60 halvings are all digits.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if mean_at(middle) > mean { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

/// Standard deviation of that law.
fn deviation(rate: f64, reach: f64) -> f64 {
    let half = libm::sinh(rate * reach / 2.0);
    (1.0 / (rate * rate) - (reach / (2.0 * half)).powi(2)).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of a Pareto law cut off at `end`.
    fn cut_off(n: u32, alpha: f64, end: f64) -> Vec<f64> {
        let share = 1.0 - end.powf(1.0 - alpha);
        (0..n).map(|i| (1.0 - share * f64::from(i) / f64::from(n - 1)).powf(1.0 / (1.0 - alpha))).collect()
    }

    #[test]
    fn a_law_that_ends_gives_its_exponent_back() {
        for (alpha, end) in [(2.5, 4.0), (1.5, 3.0), (3.0, 1e6)] {
            let fit = fit_bounded(&cut_off(4000, alpha, end), false).unwrap();
            assert!((fit.alpha - alpha).abs() < 0.02 && fit.ks_distance < 2e-3, "{alpha}: {fit:?}");
            assert!((fit.xmax / end - 1.0).abs() < 1e-3);
        }
        // Without an end to speak of the two are one, error included.
        let values = cut_off(1000, 3.0, 1e7);
        let (own, package) = (fit_bounded(&values, false).unwrap(), fit_bounded(&values, true).unwrap());
        assert!((own.alpha - package.alpha).abs() < 1e-6 && (own.sigma - package.sigma).abs() < 1e-6);
    }

    #[test]
    fn the_rate_solves_its_equation() {
        for (mean, reach) in [(0.1, 1.0), (0.3, 1.0), (0.49, 1.0), (2.0, 30.0)] {
            let rate = bounded_rate(mean, reach).unwrap();
            assert!((1.0 / rate - reach / (rate * reach).exp_m1() - mean).abs() < 1e-6 * mean, "{mean} {reach}");
        }
        assert_eq!(bounded_rate(0.5, 1.0), None);
        assert_eq!(bounded_rate(0.7, 1.0), None);
        for i in 1..2000 {
            let reach = 1e-3 * f64::from(i) * 1.01;
            assert_eq!(bounded_rate(reach / 2.0, reach), None, "{reach}");
        }
        assert_eq!(bounded_rate(f64::NAN, 1.0), None);
    }

    #[test]
    fn nothing_to_fit_is_a_failure() {
        for values in [&[][..], &[1.0], &[0.0; 9], &[3.0; 9]] {
            assert!(fit_bounded(values, false).is_err() && fit_bounded(values, true).is_err(), "{values:?}");
        }
        assert!(fit_bounded(&[1.0, 2.0], true).is_ok());
    }
}
