//! Curves for a reader's eye: what alpha would be elsewhere, and the fitted density.

use serde::{Deserialize, Serialize};

use super::logarithm::logarithms;
use super::mle::{
    EQUAL, PowerLawFit, above_smallest, few_or_all, fit_weightwatcher, is_long_enough, spreads, tail_len,
};
use super::xmin::{Candidate, Sample, ks_distance};

/// A power law from one lower end on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The lower end.
    pub xmin: f64,
    /// The exponent of the tail from there.
    pub alpha: f64,
    /// Its standard error.
    pub sigma: f64,
    /// Its Kolmogorov-Smirnov distance.
    #[serde(rename = "D")]
    pub ks_distance: f64,
    /// Its length.
    pub tail_len: usize,
}

/// Hill's estimate from one number of values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HillPoint {
    /// How many of the largest values are used.
    pub k: usize,
    /// The value before them.
    pub threshold: f64,
    /// The estimate.
    pub alpha: f64,
    /// Its standard error, `(alpha - 1) / sqrt(k)`.
    pub sigma: f64,
}

/// Alpha and distance for every different xmin but the largest value, ascending; of fewer than 20 values for those whose tail a
/// fit may take.
///
/// # Cost
/// `n^2 / 2` exponentials: 3 ms for 1000 values.
pub fn xmin_curve(values: &[f64]) -> Vec<CurvePoint> {
    Scan::new(values).points(|candidates| candidates)
}

/// [`xmin_curve`] at no more than about `most` of its points (see [`kept`]), the one that [`fit_weightwatcher`] chooses among
/// them.
///
/// # Cost
/// `most n / 2` exponentials: 0.6 ms for 1000 values and 200 points.
pub fn xmin_scan(values: &[f64], most: usize) -> Vec<CurvePoint> {
    let scan = Scan::new(values);
    let chosen = fit_weightwatcher(values).map_or(f64::NAN, |fit| fit.xmin);
    scan.points(|candidates| {
        let mut places = kept(candidates.len(), most);
        places.extend(candidates.iter().position(|start| scan.data[*start] == chosen));
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| candidates[place]).collect()
    })
}

/// The values that a fit looks at.
struct Scan<'a> {
    data: &'a [f64],
    logs: Vec<f64>,
}

impl<'a> Scan<'a> {
    fn new(values: &'a [f64]) -> Self {
        let data = above_smallest(values);
        Self { data, logs: logarithms(data) }
    }

    /// The candidates that are `wanted`, fitted.
    fn points(&self, wanted: impl FnOnce(Vec<usize>) -> Vec<usize>) -> Vec<CurvePoint> {
        let Self { data, logs } = self;
        let spreads = spreads(logs);
        let candidates = (0..data.len().saturating_sub(1))
            .filter(|start| data[*start] < data[data.len() - 1] && (*start == 0 || data[start - 1] < data[*start]))
            .filter(|start| is_long_enough(data.len(), data.len() - start))
            .collect();
        let fit = |start: usize| {
            let tail_len = data.len() - start;
            let alpha = 1.0 + few_or_all(data.len(), tail_len) / spreads[start];
            let ks_distance = ks_distance(Sample { values: data, logs }, Candidate { start, alpha });
            CurvePoint {
                xmin: data[start],
                alpha,
                sigma: (alpha - 1.0) / (tail_len as f64).sqrt(),
                ks_distance,
                tail_len,
            }
        };
        wanted(candidates).into_iter().map(fit).collect()
    }
}

/// Hill's alpha by the number of values in the tail, ascending, at no more than about `most` of the possible numbers: see
/// [`kept`]. Tails that are equal but for rounding are left out.
///
/// # Cost
/// `n` logarithms.
///
/// # Source
/// Hill 1975; the plot: Drees, de Haan, Resnick 2000.
pub fn hill_curve(values: &[f64], most: usize) -> Vec<HillPoint> {
    let Scan { data, logs } = Scan::new(values);
    let spreads = spreads(&logs);
    let largest = data.last().copied().unwrap_or(0.0);
    let point = |start: usize| {
        let k = data.len() - 1 - start;
        let alpha = 1.0 + k as f64 / spreads[start];
        HillPoint { k, threshold: data[start], alpha, sigma: (alpha - 1.0) / (k as f64).sqrt() }
    };
    let places = kept(data.len().saturating_sub(1), most).into_iter().rev();
    places.map(point).filter(|p| largest > p.threshold * (1.0 + EQUAL)).collect()
}

/// The fit whose tail begins with the smallest of `values` (ascending) that is at least `xmin`, and ends with the largest that
/// is at most `xmax`: what [`super::fit_weightwatcher`] says of that candidate, bit for bit. `None` if the tail has fewer than
/// two values.
///
/// # Cost
/// A logarithm and an exponential for each value of the tail: 20 us for 1000.
pub fn fit_from(values: &[f64], xmin: f64, xmax: f64) -> Option<PowerLawFit> {
    let values = &values[..values.partition_point(|v| *v <= xmax)];
    let data = above_smallest(values);
    let start = data.partition_point(|v| *v < xmin);
    let tail = data.get(start..).filter(|tail| tail.len() > 1)?;
    let logs = logarithms(tail);
    let alpha = 1.0 + few_or_all(data.len(), tail.len()) / spreads(&logs)[0];
    let ks_distance = ks_distance(Sample { values: tail, logs: &logs }, Candidate { start: 0, alpha });
    let tail_len = tail_len(values, tail[0]);
    let sigma = (alpha - 1.0) / (tail.len() as f64).sqrt();
    Some(PowerLawFit { alpha, sigma, ks_distance, xmin: tail[0], xmax: tail[tail.len() - 1], tail_len })
}

/// The density of the fitted law at `points` places from xmin to xmax, evenly spread in `ln x`, scaled to the tail's share of
/// all `count` values, so that it lies on the density of all of them: `[x, density]`. Empty without a finite exponent above 1.
pub fn fitted_density(fit: &PowerLawFit, count: usize, points: usize) -> Vec<[f64; 2]> {
    if !(fit.alpha > 1.0 && fit.alpha.is_finite() && fit.xmin > 0.0 && fit.xmax > fit.xmin) {
        return Vec::new();
    }
    let share = fit.tail_len as f64 / count as f64;
    let reach = libm::log(fit.xmax / fit.xmin);
    let at = |i: usize| {
        let log = reach * i as f64 / (points - 1) as f64;
        [fit.xmin * libm::exp(log), share * (fit.alpha - 1.0) / fit.xmin * libm::exp(-fit.alpha * log)]
    };
    (0..points).map(at).collect()
}

/// Which of `count` ascending places to keep for a picture, ascending, all of them up to `most`: half spread evenly, half ever
/// closer towards the end, where a logarithmic axis shows each single one.
pub fn kept(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let half = (most / 2).max(2);
    let even = (0..half).map(|i| i * (count - 1) / (half - 1));
    let reach = libm::log(count as f64);
    let close = (0..half).map(|i| count - (libm::exp(reach * i as f64 / (half - 1) as f64) as usize).clamp(1, count));
    let mut places: Vec<usize> = even.chain(close).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The smallest and largest alpha among the points whose distance is within a tenth of the smallest: one number for a
/// plateau, far apart where the choice of xmin decides. `None` without points.
pub fn plateau(curve: &[CurvePoint]) -> Option<(f64, f64)> {
    const NEAR: f64 = 1.1;
    let smallest = curve.iter().map(|p| p.ks_distance).fold(f64::INFINITY, f64::min);
    let near = || curve.iter().filter(|p| p.ks_distance <= NEAR * smallest).map(|p| p.alpha);
    near().next()?;
    Some((near().fold(f64::INFINITY, f64::min), near().fold(f64::NEG_INFINITY, f64::max)))
}

#[cfg(test)]
mod tests {
    use super::super::hill_alpha;
    use super::*;

    fn pareto(n: u32, alpha: f64) -> Vec<f64> {
        (0..n).map(|i| (1.0 - (f64::from(i) + 0.5) / f64::from(n)).powf(-1.0 / (alpha - 1.0))).collect()
    }

    #[test]
    fn a_fit_from_its_own_xmin_is_the_fit() {
        for n in [12, 19, 20, 400] {
            let values = pareto(n, 2.5);
            let fit = fit_weightwatcher(&values).unwrap();
            assert_eq!(fit_from(&values, fit.xmin, fit.xmax), Some(fit), "{n}");
            assert_eq!(fit_from(&values, fit.xmin.next_down(), f64::INFINITY), Some(fit), "{n}");
        }
        assert_eq!(fit_from(&[1.0, 2.0], 1.5, 9.0), None);
        assert_eq!(fit_from(&[], 1.0, 9.0), None);
    }

    #[test]
    fn a_fit_from_anywhere_is_the_point_of_the_curve() {
        for (n, step, count) in [(5, 1, 1), (12, 1, 5), (19, 1, 12), (20, 1, 19), (300, 7, 43)] {
            let values = pareto(n, 3.0);
            let curve = xmin_curve(&values);
            assert_eq!(curve.iter().step_by(step).count(), count);
            for point in curve.iter().step_by(step) {
                let fit = fit_from(&values, point.xmin, f64::INFINITY).unwrap();
                assert_eq!(
                    (fit.alpha, fit.ks_distance, fit.tail_len),
                    (point.alpha, point.ks_distance, point.tail_len)
                );
            }
            let fit = fit_weightwatcher(&values).unwrap();
            let best = curve.iter().map(|p| p.ks_distance).fold(f64::INFINITY, f64::min);
            assert_eq!(best, fit.ks_distance, "{n}");
        }
        let values = pareto(300, 3.0);
        let below = fit_from(&values, values[9], values[200]).unwrap();
        assert_eq!(Some(below), fit_from(&values[..201], values[9], f64::INFINITY));
    }

    /// The density of the law that the values are the quantiles of integrates to the tail's share.
    #[test]
    fn the_density_has_the_mass_of_the_tail() {
        let values = pareto(1000, 2.5);
        let fit = fit_from(&values, values[400], f64::INFINITY).unwrap();
        let line = fitted_density(&fit, values.len(), 2000);
        let mass: f64 = line.windows(2).map(|w| (w[1][0] - w[0][0]) * f64::midpoint(w[0][1], w[1][1])).sum();
        let beyond = 0.6 * (fit.xmax / fit.xmin).powf(1.0 - fit.alpha);
        assert!((mass + beyond - 0.6).abs() < 1e-5, "{mass}");
        assert!(fitted_density(&PowerLawFit { alpha: f64::INFINITY, ..fit }, 10, 5).is_empty());
    }

    #[test]
    fn the_curve_holds_the_fit_and_its_plateau() {
        let values: Vec<f64> =
            pareto(400, 2.5).into_iter().enumerate().map(|(i, v)| v * (1.0 + 1e-3 * (i as f64).sin())).collect();
        let fit = fit_weightwatcher(&values).unwrap();
        for curve in [xmin_curve(&values), xmin_scan(&values, 50)] {
            let best = curve.iter().copied().reduce(|a, b| if b.ks_distance < a.ks_distance { b } else { a }).unwrap();
            assert_eq!((best.xmin, best.alpha, best.ks_distance), (fit.xmin, fit.alpha, fit.ks_distance));
            assert_eq!((best.sigma, best.tail_len), (fit.sigma, fit.tail_len));
            assert!(curve.windows(2).all(|pair| pair[0].xmin < pair[1].xmin));
            assert_eq!((curve[0].xmin, curve.last().unwrap().xmin), (values[0], values[398]));
            let (low, high) = plateau(&curve).unwrap();
            assert!(low <= fit.alpha && fit.alpha <= high);
        }
        assert_eq!(xmin_curve(&values).len(), 399);
        assert!(xmin_scan(&values, 50).len() <= 51);
        assert_eq!(plateau(&xmin_curve(&[])), None);
    }

    #[test]
    fn the_hill_curve_has_hills_alphas() {
        let values = pareto(100, 3.0);
        let curve = hill_curve(&values, 1000);
        assert_eq!(curve.iter().map(|p| p.k).collect::<Vec<_>>(), (1..100).collect::<Vec<_>>());
        for point in &curve {
            let alpha = hill_alpha(&values, point.k).unwrap();
            assert!((point.alpha / alpha - 1.0).abs() < 1e-11, "{point:?} {alpha}");
            assert_eq!(point.threshold, values[99 - point.k]);
        }
    }

    #[test]
    fn spectra_without_spread_have_no_points() {
        for values in [&[][..], &[1.0], &[0.0; 20], &[2.0; 20], &[0.3; 20]] {
            assert!(xmin_scan(values, 10).is_empty() && hill_curve(values, 10).is_empty(), "{values:?}");
        }
        // Two different values: one lower end, and estimates from all of the larger value on.
        let two = [vec![1.0; 5], vec![2.0; 5]].concat();
        assert_eq!(xmin_scan(&two, 10).len(), 1);
        assert_eq!(hill_curve(&two, 10).iter().map(|p| p.k).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_is_kept_holds_both_ends_and_the_end_in_full() {
        let places = kept(5000, 400);
        assert!(places.len() <= 400 && places[0] == 0);
        assert_eq!(places[places.len() - 10..], (4990..5000).collect::<Vec<_>>());
        assert_eq!(kept(3, 400), [0, 1, 2]);
    }
}
