//! Laws for a tail: the power law and its rivals, by maximum likelihood, and their comparison.

use super::family::{Family, Point};

/// A law for values of at least `xmin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// `x^-alpha`.
    PowerLaw,
    /// `x^-alpha exp(-lambda x)`, with `alpha >= 1` as the `powerlaw` package has it.
    TruncatedPowerLaw,
    /// `exp(-(ln x - mu)^2 / (2 sigma^2)) / x`.
    LogNormal,
    /// `exp(-lambda x)`.
    Exponential,
    /// `x^(beta - 1) exp(-lambda x^beta)`.
    StretchedExponential,
}

impl Law {
    /// All of them.
    pub const ALL: [Law; 5] =
        [Law::PowerLaw, Law::TruncatedPowerLaw, Law::LogNormal, Law::Exponential, Law::StretchedExponential];

    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Law::PowerLaw => "power_law",
            Law::TruncatedPowerLaw => "truncated_power_law",
            Law::LogNormal => "lognormal",
            Law::Exponential => "exponential",
            Law::StretchedExponential => "stretched_exponential",
        }
    }
}

/// A law fitted to a tail.
#[derive(Debug, Clone, PartialEq)]
pub struct LawFit {
    /// The law.
    pub law: Law,
    /// Its parameters in the order of its formula: `alpha`; `alpha, lambda`; `mu, sigma`; `lambda`; `lambda, beta`. A
    /// lognormal whose best fit is its limit, the power law, has `mu = -inf` and `sigma = inf`.
    pub parameters: Vec<f64>,
    /// Logarithm of the density at every value of the tail.
    pub log_densities: Vec<f64>,
    /// Whether the maximum was found.
    pub converged: bool,
}

impl LawFit {
    /// Logarithm of the likelihood.
    pub fn log_likelihood(&self) -> f64 {
        self.log_densities.iter().sum()
    }
}

/// Fits a law to `tail`, ascending and positive; its first value is `xmin`. `None` for fewer than two different values.
///
/// # Cost
/// The truncated power law and the lognormal: some 10 steps of Newton's method, 128 exponentials each, whatever the length of
/// the tail. The stretched exponential: some 60 powers a value.
///
/// # Source
/// Clauset, Shalizi, Newman 2009, table 2.1 and appendix B.
pub fn fit_law(law: Law, tail: &[f64]) -> Option<LawFit> {
    let (&xmin, &xmax) = (tail.first()?, tail.last()?);
    if !(xmin > 0.0 && xmax > xmin && xmax.is_finite()) {
        return None;
    }
    // In u = ln(x / xmin), whose density is x times that of x.
    let u: Vec<f64> = tail.iter().map(|x| libm::log(x / xmin)).collect();
    let count = tail.len() as f64;
    let mean_u = u.iter().sum::<f64>() / count;
    let densities = |f: &dyn Fn(f64) -> f64| u.iter().zip(tail).map(|(u, x)| f(*u) - libm::log(*x)).collect();
    let (parameters, log_densities, converged) = match law {
        Law::PowerLaw => {
            let rate = 1.0 / mean_u;
            (vec![1.0 + rate], densities(&|u| libm::log(rate) - rate * u), true)
        }
        Law::TruncatedPowerLaw | Law::LogNormal => {
            let family = if law == Law::LogNormal { Family::Gaussian } else { Family::Truncated };
            let mean_g = u.iter().map(|u| family.statistic(*u)).sum::<f64>() / count;
            let (Point { a, b, log_norm, .. }, converged) = family.maximise(mean_u, mean_g, None)?;
            let parameters = match law {
                Law::TruncatedPowerLaw => vec![1.0 + a, b / xmin],
                _ if b == 0.0 => vec![f64::NEG_INFINITY, f64::INFINITY],
                _ => vec![libm::log(xmin) - a / (2.0 * b), (0.5 / b).sqrt()],
            };
            (parameters, densities(&|u| -a * u - b * family.statistic(u) - log_norm), converged)
        }
        Law::Exponential => {
            let rate = count / tail.iter().map(|x| x - xmin).sum::<f64>();
            (vec![rate], tail.iter().map(|x| libm::log(rate) - rate * (x - xmin)).collect(), true)
        }
        Law::StretchedExponential => stretched(&u, xmin),
    };
    Some(LawFit { law, parameters, log_densities, converged })
}

/// For each `beta` the best `lambda` is known: `1 / mean(y^beta - 1)` for `y = x / xmin`. Golden-section search of `ln beta`.
fn stretched(u: &[f64], xmin: f64) -> (Vec<f64>, Vec<f64>, bool) {
    const STEPS: usize = 60;
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let count = u.len() as f64;
    let rate = |beta: f64| count / u.iter().map(|u| libm::expm1(beta * u)).sum::<f64>();
    // Mean log density of y, up to what does not depend on beta.
    let mean_u = u.iter().sum::<f64>() / count;
    let value = |log_beta: f64| {
        let beta = libm::exp(log_beta);
        log_beta + libm::log(rate(beta)) + beta * mean_u
    };
    // Below, the law is a power law to five digits; above, the largest power overflows.
    let widest = u[u.len() - 1];
    let (mut low, mut high) = (libm::log(1e-6 / widest), libm::log(600.0 / widest));
    let (start, end) = (low, high);
    let (mut a, mut b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_a, mut at_b) = (value(a), value(b));
    for _ in 0..STEPS {
        if at_a >= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - GOLDEN * (high - low);
            at_a = value(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + GOLDEN * (high - low);
            at_b = value(b);
        }
    }
    let log_beta = f64::midpoint(low, high);
    let beta = libm::exp(log_beta);
    let rate = rate(beta);
    let densities = u
        .iter()
        .map(|u| log_beta + libm::log(rate) + (beta - 1.0) * u - rate * libm::expm1(beta * u) - libm::log(xmin));
    let converged = log_beta - start > 1e-3 && end - log_beta > 1e-3;
    (vec![rate / libm::pow(xmin, beta), beta], densities.collect(), converged)
}

/// Which of two laws the tail speaks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Sum of the differences of log densities, first less second: positive for the first.
    pub log_likelihood_ratio: f64,
    /// The ratio in units of its standard deviation; 0 if the two can't be told apart at all.
    pub normalised_ratio: f64,
    /// Probability of a ratio that far from 0 if both are equally far from the truth.
    pub p: f64,
}

/// Vuong's test of two laws fitted to one tail: `R = sum (l1 - l2)`, `p = erfc(|R| / (sqrt(2 n) sd))`. With `nested` the first
/// is a special case of the second, and `p` is that of `2 |R|` in a chi-square distribution of one degree of freedom.
///
/// The tests take the values for independent; eigenvalues of one matrix are not.
///
/// # Source
/// Clauset, Shalizi, Newman 2009, section 5.1 and appendix C; Vuong 1989.
pub fn compare_laws(first: &LawFit, second: &LawFit, nested: bool) -> Comparison {
    let differences: Vec<f64> = first.log_densities.iter().zip(&second.log_densities).map(|(a, b)| a - b).collect();
    let n = differences.len() as f64;
    let ratio: f64 = differences.iter().sum();
    let mean = ratio / n;
    let deviation = (differences.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / n).sqrt();
    let normalised = if deviation > 0.0 { ratio / (n.sqrt() * deviation) } else { 0.0 };
    let p =
        if nested { libm::erfc(ratio.abs().sqrt()) } else { libm::erfc(normalised.abs() / std::f64::consts::SQRT_2) };
    Comparison { log_likelihood_ratio: ratio, normalised_ratio: normalised, p }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of a law, by its inverse distribution function.
    fn quantiles(n: u32, inverse: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..n).map(|i| inverse((f64::from(i) + 0.5) / f64::from(n))).collect()
    }

    /// Numerical check: no neighbour of the parameters is more likely.
    fn assert_normalised(fit: &LawFit, tail: &[f64]) {
        // The density integrates to 1 over the tail and beyond: by the trapezoid rule on a fine grid of quantiles it is
        // near the share of the points it covers.
        let mass: f64 = tail
            .windows(2)
            .zip(fit.log_densities.windows(2))
            .map(|(x, l)| (x[1] - x[0]) * f64::midpoint(l[0].exp(), l[1].exp()))
            .sum();
        assert!((mass - 1.0).abs() < 0.01, "{:?}: mass {mass}", fit.law);
    }

    #[test]
    fn each_law_finds_its_own_parameters() {
        let n = 20_000;
        // The smallest value is xmin exactly.
        let with_start = |xmin: f64, mut values: Vec<f64>| {
            values[0] = xmin;
            values
        };
        let pareto = with_start(2.0, quantiles(n, |u| 2.0 * (1.0 - u).powf(-0.5)));
        assert!((fit_law(Law::PowerLaw, &pareto).unwrap().parameters[0] - 3.0).abs() < 0.01);
        let exponential = with_start(2.0, quantiles(n, |u| 2.0 - (1.0 - u).ln() / 3.0));
        let fit = fit_law(Law::Exponential, &exponential).unwrap();
        assert!((fit.parameters[0] - 3.0).abs() < 0.01);
        assert_normalised(&fit, &exponential);
        // x^beta is exponential.
        let stretched = with_start(2.0, quantiles(n, |u| (2_f64.sqrt() - (1.0 - u).ln() / 3.0).powi(2)));
        let fit = fit_law(Law::StretchedExponential, &stretched).unwrap();
        assert!(fit.converged && (fit.parameters[0] - 3.0).abs() < 0.05, "{:?}", fit.parameters);
        assert!((fit.parameters[1] - 0.5).abs() < 0.01, "{:?}", fit.parameters);
        assert_normalised(&fit, &stretched);
        // exp(-x) / x^2: by inversion of its numerically integrated density.
        let mut truncated = vec![1.0];
        let (mut sum, steps) = (0.0, 4_000_000_u32);
        let width = 30.0 / f64::from(steps);
        let total = 0.148_495_506_775_922_05; // E_2(1)
        for i in 0..steps {
            let x = 1.0 + (f64::from(i) + 0.5) * width;
            sum += (-x).exp() / (x * x) * width / total;
            if sum * f64::from(n) >= truncated.len() as f64 + 0.5 {
                truncated.push(x);
            }
        }
        let fit = fit_law(Law::TruncatedPowerLaw, &truncated).unwrap();
        assert!(fit.converged, "{:?}", fit.parameters);
        assert!(
            (fit.parameters[0] - 2.0).abs() < 0.02 && (fit.parameters[1] - 1.0).abs() < 0.02,
            "{:?}",
            fit.parameters
        );
        assert_normalised(&fit, &truncated);
        // ln x normal with mean 1 and deviation 2, above its median e.
        let quantile = |u: f64| {
            let (mut low, mut high) = (0.0, 40.0);
            for _ in 0..80 {
                let z = f64::midpoint(low, high);
                if libm::erf(z / std::f64::consts::SQRT_2) < u { low = z } else { high = z }
            }
            (1.0 + 2.0 * low).exp()
        };
        let lognormal = with_start(1_f64.exp(), quantiles(n, quantile));
        let fit = fit_law(Law::LogNormal, &lognormal).unwrap();
        assert!(fit.converged && (fit.parameters[0] - 1.0).abs() < 0.05, "{:?}", fit.parameters);
        assert!((fit.parameters[1] - 2.0).abs() < 0.03, "{:?}", fit.parameters);
    }

    #[test]
    fn the_right_law_wins() {
        let pareto = quantiles(2000, |u| (1.0 - u).powf(-0.5));
        let exponential = quantiles(2000, |u| 1.0 - (1.0 - u).ln());
        let fits = |tail: &[f64]| Law::ALL.map(|law| fit_law(law, tail).unwrap());
        let of_pareto = fits(&pareto);
        let against = compare_laws(&of_pareto[0], &of_pareto[3], false);
        assert!(against.log_likelihood_ratio > 0.0 && against.p < 1e-6, "{against:?}");
        // The truncated law holds the power law: never less likely, and here no better.
        let nested = compare_laws(&of_pareto[0], &of_pareto[1], true);
        assert!(nested.log_likelihood_ratio <= 1e-6 && nested.p > 0.1, "{nested:?}");
        let of_exponential = fits(&exponential);
        let against = compare_laws(&of_exponential[0], &of_exponential[3], false);
        assert!(against.log_likelihood_ratio < 0.0 && against.p < 1e-6, "{against:?}");
        let nested = compare_laws(&of_exponential[0], &of_exponential[1], true);
        assert!(nested.log_likelihood_ratio < 0.0 && nested.p < 1e-6, "{nested:?}");
    }

    #[test]
    fn no_law_for_no_spread() {
        assert!(Law::ALL.into_iter().all(|law| fit_law(law, &[1.0, 1.0]).is_none()));
        assert!(Law::ALL.into_iter().all(|law| fit_law(law, &[]).is_none()));
        assert!(Law::ALL.into_iter().all(|law| fit_law(law, &[1.0, 2.0]).is_some()));
    }
}
