//! The eigenvalues whose product is one: the trace-log condition of SETOL.

/// Where the product of the largest eigenvalues, scaled to a mean of 1, falls below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErgPoint {
    /// How many eigenvalues there are from that point on, itself included (columns `detX_num`, `num_ERG_spikes`).
    pub count: usize,
    /// The eigenvalue at that point.
    pub value: f64,
    /// The same after scaling.
    pub rescaled: f64,
}

/// The point where `prod lambda_i n / sum(lambda) = 1` over the largest eigenvalues (`eigenvalues` ascending, not negative).
///
/// With `sequential` the product is taken as `WeightWatcher` does, from the smallest factor up in one f64, which underflows
/// for a few thousand eigenvalues and then ends too early; otherwise exactly, as a sum of logarithms. `None` without
/// positive eigenvalues. All equal: a count of 0 at the smallest, as in the tool.
///
/// # Cost
/// `n` logarithms; sequentially `n^2 / 2` multiplications.
///
/// # Source
/// Martin and Hinrichs 2025 (SETOL), section 5; `WeightWatcher` 0.7.7, `detX_constraint`.
pub fn erg_point(eigenvalues: &[f64], sequential: bool) -> Option<ErgPoint> {
    let n = eigenvalues.len();
    let sum: f64 = eigenvalues.iter().sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return None;
    }
    let factor = ((n as f64).sqrt() / sum.sqrt()).powi(2);
    let rescaled: Vec<f64> = eigenvalues.iter().map(|v| factor * v).collect();
    let point = |count, index: usize| {
        Some(ErgPoint { count, value: *eigenvalues.get(index)?, rescaled: *rescaled.get(index)? })
    };
    if n < 2 || rescaled[0] >= rescaled[n - 1] {
        return point(0, 0);
    }
    let mut log_product = 0.0;
    for index in (1..n).rev() {
        let is_below = if sequential {
            rescaled[index..].iter().product::<f64>() < 1.0
        } else {
            log_product += libm::log(rescaled[index]);
            log_product < 0.0
        };
        if is_below {
            return point(n - index, index);
        }
    }
    point(n, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_of_the_largest_is_one() {
        // Mean 1: 4/3, 1, 2/3: 4/3 and 4/3 * 1 are above 1; never below before the first.
        assert_eq!(erg_point(&[2.0, 3.0, 4.0], false).unwrap().count, 3);
        let point = erg_point(&[0.1, 0.2, 0.3, 0.4, 4.0], false).unwrap();
        // Scaled as they are (mean 1): 4, 1.6, 0.48.
        assert_eq!((point.count, point.value, point.rescaled), (3, 0.3, 0.3));
        assert_eq!(point, erg_point(&[0.1, 0.2, 0.3, 0.4, 4.0], true).unwrap());
        assert_eq!(erg_point(&[2.0; 9], false).unwrap().count, 0);
        assert_eq!(erg_point(&[], false), None);
        assert_eq!(erg_point(&[0.0; 4], false), None);
    }

    /// A square Marchenko-Pastur spectrum, by the quantiles of the quarter circle law.
    fn square_spectrum(n: usize) -> Vec<f64> {
        let quantile = |u: f64| {
            let (mut low, mut high) = (0.0_f64, 2.0_f64);
            for _ in 0..60 {
                let s = f64::midpoint(low, high);
                let below = (s * (4.0 - s * s).sqrt() / 2.0 + 2.0 * (s / 2.0).asin()) / std::f64::consts::PI;
                if below < u { low = s } else { high = s }
            }
            low * low
        };
        (0..n).map(|i| quantile((i as f64 + 0.5) / n as f64)).collect()
    }

    /// The tool's product underflows from some 2700 eigenvalues on: it finds 2952 of 4096 where there are 2995.
    #[test]
    fn the_tools_product_underflows() {
        let few = square_spectrum(1000);
        assert_eq!(erg_point(&few, true), erg_point(&few, false));
        let many = square_spectrum(4096);
        let (theirs, ours) = (erg_point(&many, true).unwrap().count, erg_point(&many, false).unwrap().count);
        assert!((2940..2965).contains(&theirs) && (2985..3005).contains(&ours), "{theirs} {ours}");
    }
}
