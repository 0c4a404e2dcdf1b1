//! How far two spectra are from one another.

/// Wasserstein distance (of order 1) between two lists of eigenvalues (ascending) on the axis of `log10 lambda`: how many
/// decades an eigenvalue moves on average. Eigenvalues of zero, which have no logarithm, are left out, each list counting as a
/// distribution of its own. `None` if either list has no positive value.
///
/// # Cost
/// A logarithm for each value.
///
/// # Source
/// The area between the two distribution functions; `scipy.stats.wasserstein_distance`.
pub fn log_wasserstein(a: &[f64], b: &[f64]) -> Option<f64> {
    let logs = |values: &[f64]| -> Vec<f64> {
        values[values.partition_point(|v| *v <= 0.0)..].iter().map(|v| libm::log10(*v)).collect()
    };
    let (a, b) = (logs(a), logs(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (mut i, mut j) = (0, 0);
    let mut area = 0.0;
    let mut last = a[0].min(b[0]);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => break,
        };
        area += (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs() * (next - last);
        i += usize::from(a.get(i).is_some_and(|x| *x <= next));
        j += usize::from(b.get(j).is_some_and(|y| *y <= next));
        last = next;
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_of_ten_is_one_decade() {
        let a = [0.0, 1.0, 2.0, 3.0];
        let tenfold = a.map(|v| v * 10.0);
        assert!((log_wasserstein(&a, &tenfold).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(log_wasserstein(&a, &a), Some(0.0));
        // Half of the mass moves by two decades.
        assert!((log_wasserstein(&[1.0, 1.0], &[1.0, 100.0]).unwrap() - 1.0).abs() < 1e-15);
        // One value against two: a quarter less to go for half of it.
        assert!((log_wasserstein(&[1.0], &[1.0, 10.0]).unwrap() - 0.5).abs() < 1e-15);
        assert_eq!(log_wasserstein(&[0.0], &[1.0]), None);
    }
}
