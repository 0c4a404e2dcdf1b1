//! The spectrum of noise: the Marchenko-Pastur law, fitted.

use std::f64::consts::PI;

/// A fitted Marchenko-Pastur law and what lies beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseFit {
    /// Standard deviation of the entries, after scaling the eigenvalues to a mean of 1 (column `sigma_mp`).
    pub sigma: f64,
    /// Upper edge of the bulk, in the units of the eigenvalues (column `bulk_max`).
    pub bulk_max: f64,
    /// Lower edge of the bulk (column `bulk_min`).
    pub bulk_min: f64,
    /// The scaling of the weights that makes the mean eigenvalue 1 (column `W_scale`).
    pub scale: f64,
    /// Upper edge over the largest eigenvalue (column `mp_softrank`).
    pub soft_rank: f64,
    /// Eigenvalues above the upper edge and its Tracy-Widom fluctuation (column `num_spikes`).
    pub spikes: usize,
}

impl NoiseFit {
    /// The fitted law of a matrix with sides `n >= m` at `points` places across its bulk: `[eigenvalue, density]`. Of a square
    /// matrix, whose density has no bound at zero, from the middle of the first step on.
    pub fn density(&self, n: u64, m: u64, points: usize) -> Vec<[f64; 2]> {
        let (q, variance) = (n as f64 / m as f64, self.sigma * self.sigma);
        let unit = self.scale * self.scale;
        let (low, high) = (self.bulk_min * unit, self.bulk_max * unit);
        let at = |i: usize| {
            let share = if q == 1.0 { (i as f64 + 0.5) / points as f64 } else { i as f64 / (points - 1) as f64 };
            let x = low + (high - low) * share;
            let root = ((high - x) * (x - low)).max(0.0).sqrt();
            [x / unit, unit * q * root / (2.0 * PI * variance * x)]
        };
        (0..points).map(at).collect()
    }
}

/// Points at which the density of the eigenvalues is compared with the law.
const POINTS: usize = 1000;
/// Half width of the triangular kernel of the density, in units of the mean eigenvalue.
const BANDWIDTH: f64 = 0.1;
/// Points with a smaller density are left out.
const LEAST_DENSITY: f64 = 0.01;

/// Fits the Marchenko-Pastur law to `eigenvalues` (ascending) of a matrix with sides `n >= m`, by least squares between
/// densities. `None` without a positive eigenvalue, and where no law on the grid has its bulk around the densest eigenvalues: the
/// points are spread up to the largest, so that a far one leaves none in the bulk. The tool then reports the grid's first.
///
/// With `q = n / m` and eigenvalues `y` scaled to a mean of 1: edges `(sigma (1 -+ 1 / sqrt q))^2`, density
/// `q sqrt((b - x)(x - a)) / (2 pi sigma^2 x)`; for a square matrix the law of `sqrt y` is compared instead. The density of
/// the eigenvalues is a sum of triangles at 1000 points. Sigma is searched on a grid from 0.05 to 2 times that which puts the
/// upper edge on the largest eigenvalue, then by Nelder-Mead to 1e-4, which is what sigma is good for.
///
/// The tool's law for square matrices does not move with sigma (`sqrt(4 - x^2) / (pi sigma^2)`), so that only its height is
/// fitted; `as_weightwatcher` follows it, by default it is `sqrt(4 sigma^2 - x^2) / (pi sigma^2)`.
///
/// # Cost
/// Some 230 times 1000 densities, 2 ms, and `n` for the density of the eigenvalues.
///
/// # Source
/// `WeightWatcher` 0.7.7, `RMT_Util.fit_density_with_range`; Marchenko, Pastur 1967.
pub fn fit_noise(eigenvalues: &[f64], n: u64, m: u64, as_weightwatcher: bool) -> Option<NoiseFit> {
    let sum: f64 = eigenvalues.iter().sum();
    if !(sum > 0.0 && sum.is_finite() && n > 0 && m > 0) {
        return None;
    }
    let q = n as f64 / m as f64;
    let scale = (eigenvalues.len() as f64 / sum).sqrt();
    let scaled: Vec<f64> = eigenvalues.iter().map(|v| scale * scale * v).collect();
    let largest = *scaled.last()?;
    let density = Density::new(&if q == 1.0 { scaled.iter().map(|v| v.sqrt()).collect() } else { scaled.clone() });
    let objective = |sigma: f64| density.distance(sigma, q, as_weightwatcher);
    let guess = largest.sqrt() / (1.0 + 1.0 / q.sqrt());
    let (start, step) = (0.05 * guess, 0.01 * guess);
    let steps = ((2.0 * guess - start) / step).ceil() as usize;
    let grid = (0..steps).map(|i| start + i as f64 * step).map(|sigma| (sigma, objective(sigma)));
    let (coarse, distance) = grid.reduce(|best, next| if next.1 < best.1 { next } else { best })?;
    if !as_weightwatcher && distance >= density.impossible() {
        return None;
    }
    let sigma = nelder_mead(objective, coarse);
    let edge = |sign: f64| (sigma * (1.0 + sign / q.sqrt())).powi(2);
    let bulk_max = edge(1.0);
    let fluctuation = (1.0 / q.sqrt()) * libm::pow(bulk_max, 2.0 / 3.0) * libm::pow(m as f64, -2.0 / 3.0);
    let beyond = bulk_max + fluctuation.sqrt();
    Some(NoiseFit {
        sigma,
        bulk_max: bulk_max / (scale * scale),
        bulk_min: edge(-1.0) / (scale * scale),
        scale,
        soft_rank: bulk_max / largest,
        spikes: scaled.len() - scaled.partition_point(|v| *v <= beyond),
    })
}

/// The points where there is a density of eigenvalues.
#[derive(Debug)]
struct Density {
    points: Vec<(f64, f64)>,
    mode: f64,
    last: f64,
}

impl Density {
    /// `values` ascending.
    fn new(values: &[f64]) -> Self {
        let end = values.last().copied().unwrap_or(0.0) + 0.5;
        let step = end / (POINTS - 1) as f64;
        let mut points = Vec::with_capacity(POINTS);
        let (mut first, mut past) = (0, 0);
        for i in 0..POINTS {
            let x = if i == POINTS - 1 { end } else { i as f64 * step };
            while values.get(first).is_some_and(|v| *v <= x - BANDWIDTH) {
                first += 1;
            }
            while values.get(past).is_some_and(|v| *v < x + BANDWIDTH) {
                past += 1;
            }
            let sum: f64 = values[first..past.max(first)].iter().map(|v| 1.0 - (v - x).abs() / BANDWIDTH).sum();
            points.push((x, sum / (BANDWIDTH * values.len() as f64)));
        }
        points.retain(|(_, density)| *density > LEAST_DENSITY);
        let mode = points.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }).map_or(0.0, |(x, _)| x);
        let last = points.last().map_or(0.0, |(x, _)| *x);
        Self { points, mode, last }
    }

    /// The distance of a law that can't be.
    fn impossible(&self) -> f64 {
        1e6 * self.points.len() as f64
    }

    /// Sum of squared differences from the law.
    fn distance(&self, sigma: f64, q: f64, as_weightwatcher: bool) -> f64 {
        // Where there is no density the root is of a negative number.
        let zero = |v: f64| if v.is_nan() { 0.0 } else { v };
        let variance = sigma * sigma;
        if q == 1.0 {
            let reach = if as_weightwatcher { 4.0 } else { 4.0 * variance };
            let law = |x: f64| zero((reach - x * x).sqrt() / (PI * variance));
            return self.points.iter().map(|(x, density)| (density - law(*x)).powi(2)).sum();
        }
        let (a, b) = ((sigma * (1.0 - 1.0 / q.sqrt())).powi(2), (sigma * (1.0 + 1.0 / q.sqrt())).powi(2));
        if b < self.mode || b > self.last || a > self.mode {
            return self.impossible();
        }
        let law = |x: f64| zero(((b - x) * (x - a)).sqrt() * q / (2.0 * PI * variance * x));
        self.points.iter().map(|(x, density)| (density - law(*x)).powi(2)).sum()
    }
}

/// Minimum of a function of one number near `start`, step by step as `scipy.optimize.fmin` with its defaults, so that the
/// result agrees beyond the tolerance of 1e-4.
fn nelder_mead(f: impl Fn(f64) -> f64, start: f64) -> f64 {
    const TOLERANCE: f64 = 1e-4;
    const STEPS: usize = 200;
    let other = if start == 0.0 { 0.000_25 } else { 1.05 * start };
    let (mut best, mut worst) = ((start, f(start)), (other, f(other)));
    let mut calls = 2;
    for _ in 0..STEPS {
        if worst.1 < best.1 {
            std::mem::swap(&mut best, &mut worst);
        }
        if ((worst.0 - best.0).abs() <= TOLERANCE && (worst.1 - best.1).abs() <= TOLERANCE) || calls >= STEPS {
            break;
        }
        let mut at = |x: f64| {
            calls += 1;
            (x, f(x))
        };
        let reflected = at(2.0 * best.0 - worst.0);
        if reflected.1 < best.1 {
            let expanded = at(3.0 * best.0 - 2.0 * worst.0);
            worst = if expanded.1 < reflected.1 { expanded } else { reflected };
            continue;
        }
        // With two points the second best is the best: a reflection that is no better is contracted.
        let contracted = if reflected.1 < worst.1 {
            Some(at(1.5 * best.0 - 0.5 * worst.0)).filter(|c| c.1 <= reflected.1)
        } else {
            Some(at(0.5 * best.0 + 0.5 * worst.0)).filter(|c| c.1 < worst.1)
        };
        worst = match contracted {
            Some(contracted) => contracted,
            None => at(best.0 + 0.5 * (worst.0 - best.0)),
        };
    }
    if worst.1 < best.1 { worst.0 } else { best.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nelder_mead_finds_a_minimum() {
        assert!((nelder_mead(|x| (x - 0.7).powi(2), 0.5) - 0.7).abs() < 1e-3);
    }

    /// Quantiles of the law itself give its own sigma and no spikes; one far eigenvalue is a spike.
    #[test]
    fn noise_is_recognised() {
        let (n, m) = (600_u64, 200_u64);
        let q = 3.0_f64;
        let (a, b) = ((1.0 - 1.0 / q.sqrt()).powi(2), (1.0 + 1.0 / q.sqrt()).powi(2));
        let steps = 200_000;
        let (mut cumulative, mut values) = (0.0, Vec::new());
        for i in 0..steps {
            let x = a + (b - a) * (f64::from(i) + 0.5) / f64::from(steps);
            cumulative += ((b - x) * (x - a)).sqrt() * q / (2.0 * PI * x) * (b - a) / f64::from(steps);
            if cumulative * m as f64 >= values.len() as f64 + 0.5 {
                values.push(5.0 * x);
            }
        }
        let fit = fit_noise(&values, n, m, false).unwrap();
        assert!((fit.sigma - 1.0).abs() < 0.03 && fit.spikes == 0, "{fit:?}");
        assert!((fit.bulk_max / (5.0 * b) - 1.0).abs() < 0.06, "{fit:?}");
        values.push(50.0);
        assert_eq!(fit_noise(&values, n, m, false).unwrap().spikes, 1);
        // The density is one over its bulk, also in the units of the eigenvalues.
        let mass = |density: Vec<[f64; 2]>| -> f64 {
            density.windows(2).map(|w| (w[1][0] - w[0][0]) * f64::midpoint(w[0][1], w[1][1])).sum()
        };
        assert!((mass(fit.density(n, m, 2000)) - 1.0).abs() < 1e-4);
        let square = NoiseFit { sigma: 1.0, bulk_max: 4.0, bulk_min: 0.0, scale: 1.0, soft_rank: 1.0, spikes: 0 };
        // What is missing is below the first point: (2 / pi) sqrt(1e-5).
        assert!((mass(square.density(5, 5, 200_000)) - 1.0).abs() < 3e-3);
        // So far that the points step over the bulk.
        values.push(1e6);
        assert_eq!(fit_noise(&values, n, m, false), None);
        let first = fit_noise(&values, n, m, true).unwrap();
        assert!((first.soft_rank - 0.0025).abs() < 1e-12, "{first:?}");
        assert_eq!(fit_noise(&[0.0; 5], n, m, false), None);
        assert_eq!(fit_noise(&[], n, m, false), None);
    }
}
