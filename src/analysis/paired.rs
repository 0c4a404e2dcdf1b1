//! Tests of differences between pairs: is the change of a level more than chance over its layers?

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::powerlaw::Interval;

/// Two-sided p of Wilcoxon's signed-rank test of `differences`. Zeros are left out. Exact up to 50 differences without ties,
/// else by the normal approximation with the correction for ties. `None` without differences.
///
/// # Source
/// Wilcoxon 1945; the same choices as `scipy.stats.wilcoxon`.
pub(super) fn wilcoxon_p(differences: &[f64]) -> Option<f64> {
    const EXACT: usize = 50;
    let mut sizes: Vec<(f64, bool)> =
        differences.iter().filter(|d| **d != 0.0 && d.is_finite()).map(|d| (d.abs(), *d > 0.0)).collect();
    if sizes.is_empty() {
        return None;
    }
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = sizes.len();
    let (mut positive, mut ties, mut first) = (0.0, 0.0, 0);
    for group in sizes.chunk_by(|a, b| a.0 == b.0) {
        let count = group.len() as f64;
        let rank = first as f64 + f64::midpoint(count, 1.0);
        positive += rank * group.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
        ties += count * count * count - count;
        first += group.len();
    }
    let count = n as f64;
    let total = count * (count + 1.0) / 2.0;
    let statistic = f64::min(positive, total - positive);
    if n <= EXACT && ties == 0.0 && statistic.fract() == 0.0 {
        // How many of the 2^n choices of signs give each rank sum.
        let mut ways = vec![0.0; total as usize + 1];
        ways[0] = 1.0;
        for rank in 1..=n {
            for sum in (rank..ways.len()).rev() {
                ways[sum] += ways[sum - rank];
            }
        }
        let below: f64 = ways[..=statistic as usize].iter().sum();
        return Some((2.0 * below / 2_f64.powi(n as i32)).min(1.0));
    }
    let variance = count * (count + 1.0) * (2.0 * count + 1.0) / 24.0 - ties / 48.0;
    let z = (statistic - total / 2.0) / variance.sqrt();
    Some(libm::erfc(z.abs() / std::f64::consts::SQRT_2))
}

/// Two-sided p of the mean of `differences` if each could as well have had the other sign: the share of 9999 random choices of
/// signs, and the one there is, whose mean is as far from 0.
pub(super) fn permutation_p(differences: &[f64], seed: u64) -> Option<f64> {
    const CHOICES: u64 = 9999;
    if differences.is_empty() {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    // Equal sums come out unequal by rounding.
    let bound = observed - 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut as_far = 1_u64;
    for _ in 0..CHOICES {
        let sum: f64 = differences.iter().map(|d| if rng.random::<bool>() { *d } else { -d }).sum();
        as_far += u64::from(sum.abs() >= bound);
    }
    Some(as_far as f64 / (CHOICES + 1) as f64)
}

/// 95% interval of the mean, by 9999 resamples of the differences.
pub(super) fn mean_interval(differences: &[f64], seed: u64) -> Option<Interval> {
    const DRAWS: usize = 9999;
    let n = differences.len();
    if n < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Interval::of(
        (0..DRAWS).map(|_| (0..n).map(|_| differences[rng.random_range(0..n as u64) as usize]).sum::<f64>() / n as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy's own example (Darwin's plants, Cureton's data): statistic 24, p = 0.041259765625.
    const PLANTS: [f64; 15] = [6., 8., 14., 16., 23., 24., 28., 29., 41., -48., 49., 56., 60., -67., 75.];

    #[test]
    fn wilcoxon_of_known_samples() {
        assert_eq!(wilcoxon_p(&PLANTS), Some(0.041_259_765_625));
        assert_eq!(wilcoxon_p(&[]), None);
        assert_eq!(wilcoxon_p(&[0.0, 0.0]), None);
        assert_eq!(wilcoxon_p(&[1.0]), Some(1.0));
        // Ties: 1 1 1 -1: W = 2.5, mean 5, variance 7.5 - 60/48.
        let z: f64 = 2.5 / 6.25_f64.sqrt();
        assert!((wilcoxon_p(&[1.0, 1.0, 1.0, -1.0]).unwrap() - libm::erfc(z / std::f64::consts::SQRT_2)).abs() < 1e-15);
    }

    #[test]
    fn signs_and_means() {
        let p = permutation_p(&PLANTS, 0).unwrap();
        // Fisher's own count for these plants: 1726 of 32768, two-sided.
        assert!((p - 0.0527).abs() < 0.01, "{p}");
        assert_eq!(permutation_p(&PLANTS, 0), permutation_p(&PLANTS, 0));
        assert_eq!(permutation_p(&[], 0), None);
        let interval = mean_interval(&PLANTS, 0).unwrap();
        assert!(interval.low < 20.93 && 20.93 < interval.high && interval.low > -5.0, "{interval:?}");
        assert_eq!(mean_interval(&[1.0], 0), None);
    }
}
