//! The same weights in another order: what of a spectrum is the order's doing.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

/// Puts values into a random order that depends on `seed` and `stream` only, not on the machine or the threads.
///
/// # Cost
/// One random number a value.
pub fn shuffle(values: &mut [f32], seed: u64, stream: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    values.shuffle(&mut rng);
}

/// Jensen-Shannon distance of two lists of eigenvalues of one length, both ascending, taken as histograms: the square root of
/// the mean divergence of each from their mean, in nats (column `rand_distance`). `None` if a list has no positive sum.
///
/// # Source
/// `WeightWatcher` 0.7.7, `jensen_shannon_distance`. It takes the mean before it normalises, which is the same for two
/// spectra of the same weights, whose sums are equal.
pub fn jensen_shannon_distance(a: &[f64], b: &[f64]) -> Option<f64> {
    let (sum_a, sum_b): (f64, f64) = (a.iter().sum(), b.iter().sum());
    if a.len() != b.len() || !(sum_a > 0.0 && sum_b > 0.0) {
        return None;
    }
    let divergence = |p: f64, m: f64| if p > 0.0 { p * libm::log(p / m) } else { 0.0 };
    let mut total = 0.0;
    for (a, b) in a.iter().zip(b) {
        let (p, q) = (a / sum_a, b / sum_b);
        let m = f64::midpoint(p, q);
        total += divergence(p, m) + divergence(q, m);
    }
    Some((total / 2.0).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_and_its_seed_tells_all() {
        let original: Vec<f32> = (0..1000).map(|v| v as f32).collect();
        let shuffled = |seed, stream| {
            let mut values = original.clone();
            shuffle(&mut values, seed, stream);
            values
        };
        assert_eq!(shuffled(1, 2), shuffled(1, 2));
        assert_ne!(shuffled(1, 2), shuffled(1, 3));
        assert_ne!(shuffled(1, 2), shuffled(2, 2));
        let mut sorted = shuffled(1, 2);
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, original);
    }

    #[test]
    fn the_distance_of_known_histograms() {
        assert_eq!(jensen_shannon_distance(&[1.0, 2.0], &[1.0, 2.0]), Some(0.0));
        // Nothing in common: sqrt(ln 2).
        let apart = jensen_shannon_distance(&[0.0, 1.0], &[1.0, 0.0]).unwrap();
        assert!((apart - std::f64::consts::LN_2.sqrt()).abs() < 1e-15);
        assert_eq!(jensen_shannon_distance(&[1.0], &[0.0]), None);
    }
}
