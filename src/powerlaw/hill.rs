//! Alphas without a search for xmin, and other descriptions of a tail.

use super::mle::SMALLEST;

/// Hill's estimate from the `k` largest of `values` (ascending) above the one before them:
/// `1 + k / sum ln(x_(n-i+1) / x_(n-k))`. `None` if there are not `k + 1` positive values, or no spread.
///
/// # Source
/// Hill 1975.
pub fn hill_alpha(values: &[f64], k: usize) -> Option<f64> {
    let threshold = *values.get(values.len().checked_sub(k + 1)?)?;
    ratio(&values[values.len() - k..], threshold)
}

/// The `xmin_mid` alpha: xmin is the value at `n / 2` (ascending, from 0), and belongs to its tail.
///
/// # Source
/// `TempBalance` (2023), `AlphaPruning` (2024), FARMS (2025): `PL_Alpha_Hill`.
pub fn xmin_mid_alpha(values: &[f64]) -> Option<f64> {
    let tail = &values[values.len() / 2..];
    ratio(tail, *tail.first()?)
}

/// `AlphaQ`'s alpha: Hill's with `k = max(10, n / 10)`.
///
/// # Source
/// `AlphaQ` (2026), arXiv 2606.04980.
pub fn alpha_q(values: &[f64]) -> Option<f64> {
    hill_alpha(values, (values.len() / 10).max(10))
}

fn ratio(tail: &[f64], threshold: f64) -> Option<f64> {
    if tail.is_empty() || threshold.is_nan() || threshold <= 0.0 {
        return None;
    }
    let spread: f64 = tail.iter().map(|v| libm::log(v / threshold)).sum();
    Some(1.0 + tail.len() as f64 / spread).filter(|alpha| alpha.is_finite())
}

/// Coefficient of determination of the least-squares line through `(ln x, ln of the share of values of at least x)` over the
/// values of at least `xmin`: descriptive, and no test. `None` below three different values.
///
/// # Source
/// The study behind this tool asks for it; Clauset, Shalizi, Newman 2009, appendix A, say why it is no evidence.
pub fn log_log_r_squared(values: &[f64], xmin: f64) -> Option<f64> {
    let tail = &values[values.partition_point(|v| *v < xmin.max(SMALLEST))..];
    let count = tail.len() as f64;
    let points: Vec<(f64, f64)> =
        tail.iter().enumerate().map(|(j, x)| (libm::log(*x), libm::log((count - j as f64) / count))).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in &points {
        let (x, y) = (x - mean_x, y - mean_y);
        (xx, xy, yy) = (xx + x * x, xy + x * y, yy + y * y);
    }
    (tail.len() > 2 && xx > 0.0 && yy > 0.0).then(|| (xy * xy / (xx * yy)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphas_of_powers_of_two() {
        let values: Vec<f64> = (0..8).map(|i| 2_f64.powi(i)).collect();
        let ln2 = std::f64::consts::LN_2;
        // Two values above 2^5: ln 2 + 2 ln 2.
        assert!((hill_alpha(&values, 2).unwrap() - (1.0 + 2.0 / (3.0 * ln2))).abs() < 1e-12);
        // Four values from 2^4 on, itself included: 0 + 1 + 2 + 3.
        assert!((xmin_mid_alpha(&values).unwrap() - (1.0 + 4.0 / (6.0 * ln2))).abs() < 1e-12);
        assert_eq!(alpha_q(&values), None);
        assert_eq!(hill_alpha(&values, 8), None);
        assert_eq!(xmin_mid_alpha(&[1.0; 5]), None);
        assert_eq!(xmin_mid_alpha(&[]), None);
        assert_eq!(xmin_mid_alpha(&[0.0; 5]), None);
    }

    #[test]
    fn a_power_law_is_a_straight_line() {
        let n = 1000;
        let values: Vec<f64> = (0..n).map(|i| (f64::from(n) / f64::from(n - i)).powf(0.5)).collect();
        assert!((log_log_r_squared(&values, 1.0).unwrap() - 1.0).abs() < 1e-12);
        let uniform: Vec<f64> = (0..n).map(|i| 1.0 + f64::from(i)).collect();
        assert!(log_log_r_squared(&uniform, 1.0).unwrap() < 0.9);
        assert_eq!(log_log_r_squared(&[1.0, 2.0], 1.0), None);
    }
}
