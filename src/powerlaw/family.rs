//! Laws `exp(-a u - b g(u)) / Z(a, b)` of `u = ln(x / xmin) >= 0`: two parameters, two statistics, a concave likelihood.

/// The second statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `g = e^u - 1`: the truncated power law, `a = alpha - 1 >= 0`, `b = lambda xmin`.
    Truncated,
    /// `g = u^2`: the lognormal, `b = 1 / (2 sigma^2)`, `a = -(mu - ln xmin) / sigma^2`.
    Gaussian,
}

/// The family at some parameters: the logarithm of its integral, and means and covariances of its statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub a: f64,
    pub b: f64,
    pub log_norm: f64,
    mean: [f64; 2],
    covariance: [f64; 3],
}

/// Nodes and weights of Gauss and Legendre's rule on -1..1, the positive half: exact for polynomials up to degree 15.
const RULE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// The integral of `f` from `from` to `to`.
pub(super) fn integrate(from: f64, to: f64, mut f: impl FnMut(f64, f64)) {
    let (middle, half) = (f64::midpoint(from, to), 0.5 * (to - from));
    for (node, weight) in RULE {
        f(middle - half * node, half * weight);
        f(middle + half * node, half * weight);
    }
}

impl Family {
    /// The second statistic of a point.
    pub fn statistic(self, u: f64) -> f64 {
        match self {
            Family::Truncated => libm::expm1(u),
            Family::Gaussian => u * u,
        }
    }

    fn exponent(self, a: f64, b: f64, u: f64) -> f64 {
        // A b of 0 wins over an infinite statistic.
        -a * u - if b == 0.0 { 0.0 } else { b * self.statistic(u) }
    }

    /// Integral and moments at `a, b`; `None` where there is no law.
    ///
    /// The exponent is concave: it is integrated from its peak to where it has fallen by 45, in 16 panels of 8 nodes.
    pub fn at(self, a: f64, b: f64) -> Option<Point> {
        const FALL: f64 = 45.0;
        const PANELS: usize = 16;
        let has_law = b > 0.0 || (b == 0.0 && a > 0.0);
        if !has_law || (self == Family::Truncated && a < 0.0) || !(a.is_finite() && b.is_finite()) {
            return None;
        }
        let peak = if self == Family::Gaussian && b > 0.0 { (-a / (2.0 * b)).max(0.0) } else { 0.0 };
        let top = self.exponent(a, b, peak);
        let is_low = |u: f64| self.exponent(a, b, u) < top - FALL;
        let edge = |sign: f64| {
            let mut reach = 1e-6;
            while !is_low(peak + sign * reach) && reach < 1e6 && (sign > 0.0 || peak > reach) {
                reach *= 2.0;
            }
            let (mut inside, mut outside) = (reach / 2.0, reach);
            for _ in 0..5 {
                let middle = f64::midpoint(inside, outside);
                if is_low(peak + sign * middle) { outside = middle } else { inside = middle }
            }
            peak + sign * outside
        };
        let (from, to) = (if peak > 0.0 { edge(-1.0).max(0.0) } else { 0.0 }, edge(1.0));
        let mut sums = [0.0; 6];
        for panel in 0..PANELS {
            let at = |i: usize| from + (to - from) * i as f64 / PANELS as f64;
            integrate(at(panel), at(panel + 1), |u, weight| {
                let g = self.statistic(u);
                let w = weight * libm::exp(self.exponent(a, b, u) - top);
                if w > 0.0 {
                    let terms = [w, w * u, w * g, w * u * u, w * u * g, w * g * g];
                    for (sum, term) in sums.iter_mut().zip(terms) {
                        *sum += term;
                    }
                }
            });
        }
        let [norm, u, g, uu, ug, gg] = sums;
        let mean = [u / norm, g / norm];
        let covariance = [uu / norm - mean[0] * mean[0], ug / norm - mean[0] * mean[1], gg / norm - mean[1] * mean[1]];
        let point = Point { a, b, log_norm: top + libm::log(norm), mean, covariance };
        (norm > 0.0 && mean[1].is_finite() && point.log_norm.is_finite()).then_some(point)
    }

    /// The parameters of greatest likelihood for a sample with the given means of the statistics, by Newton's method with
    /// halved steps, and whether it converged. `b = 0` is the power law. `start` is a guess.
    pub fn maximise(self, mean_u: f64, mean_g: f64, start: Option<(f64, f64)>) -> Option<(Point, bool)> {
        const STEPS: usize = 100;
        /// A rate that much below what the mean statistic suggests is none.
        const NONE: f64 = 1e-9;
        let lowest_a = if self == Family::Truncated { 0.0 } else { f64::NEG_INFINITY };
        let likelihood = |p: &Point| -p.a * mean_u - p.b * mean_g - p.log_norm;
        let default = (0.5 / mean_u, 0.5 / mean_g);
        let mut here =
            start.and_then(|(a, b)| self.at(a, b.max(NONE / mean_g))).or_else(|| self.at(default.0, default.1))?;
        for _ in 0..STEPS {
            let gradient = [here.mean[0] - mean_u, here.mean[1] - mean_g];
            let a_is_fixed = here.a <= lowest_a && gradient[0] <= 0.0;
            let [uu, ug, gg] = here.covariance;
            let determinant = uu * gg - ug * ug;
            let (mut da, mut db) = if a_is_fixed || determinant <= 1e-13 * uu * gg {
                (if a_is_fixed { 0.0 } else { gradient[0] / uu }, gradient[1] / gg)
            } else {
                (
                    (gg * gradient[0] - ug * gradient[1]) / determinant,
                    (uu * gradient[1] - ug * gradient[0]) / determinant,
                )
            };
            if (da.abs() * mean_u).max(db.abs() * mean_g) < 1e-11 {
                return Some((here, true));
            }
            if here.b * mean_g < NONE && db <= 0.0 {
                let power_law = self.at(1.0 / mean_u, 0.0)?;
                return Some((power_law, true));
            }
            // At an edge the other parameter's step is the best for what is left of the first. Never onto b = 0, where the
            // mean of g may not exist.
            if here.a + da < lowest_a {
                da = lowest_a - here.a;
                db = (gradient[1] - ug * da) / gg;
            }
            if db < -0.9 * here.b {
                db = -0.9 * here.b;
                da = if a_is_fixed { 0.0 } else { ((gradient[0] - ug * db) / uu).max(lowest_a - here.a) };
            }
            let mut next = None;
            for _ in 0..50 {
                let a = (here.a + da).max(lowest_a);
                next = self.at(a, here.b + db).filter(|p| likelihood(p) >= likelihood(&here) - 1e-14);
                if next.is_some() {
                    break;
                }
                (da, db) = (0.5 * da, 0.5 * db);
            }
            match next {
                Some(next) if next != here => here = next,
                // No step is better: as good as rounding lets it be.
                _ => {
                    return Some((
                        here,
                        (gradient[0].abs() / mean_u).max(gradient[1].abs() / mean_g) < 1e-6 || a_is_fixed,
                    ));
                }
            }
        }
        Some((here, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_of_known_laws() {
        // Truncated: e^b E_(a+1)(b). E_1(1), E_2(1), E_3(0.1) from tables (Abramowitz and Stegun 5.1 and 5.4).
        for (a, b, expected) in [
            (0.0, 1.0, 0.219_383_934_395_520_3),
            (1.0, 1.0, 0.148_495_506_775_922),
            (2.0, 0.1, 0.416_291_457_920_907_4),
        ] {
            let norm = (Family::Truncated.at(a, b).unwrap().log_norm - b).exp();
            assert!((norm / expected - 1.0).abs() < 1e-9, "{a} {b}: {norm} {expected}");
        }
        // Gaussian: half of sqrt(pi / b).
        let norm = Family::Gaussian.at(0.0, 2.0).unwrap().log_norm.exp();
        assert!((norm / (0.5 * (std::f64::consts::PI / 2.0).sqrt()) - 1.0).abs() < 1e-10);
        // A far peak: all of it.
        let norm = Family::Gaussian.at(-40.0, 2.0).unwrap();
        let expected = 200.0 + (std::f64::consts::PI / 2.0).sqrt().ln();
        assert!((norm.log_norm - expected).abs() < 1e-9, "{norm:?}");
        // Without b: an exponential.
        assert!((Family::Gaussian.at(3.0, 0.0).unwrap().log_norm + 3_f64.ln()).abs() < 1e-10);
        assert_eq!(Family::Truncated.at(0.0, 0.0), None);
        assert_eq!(Family::Truncated.at(-1.0, 1.0), None);
    }
}
