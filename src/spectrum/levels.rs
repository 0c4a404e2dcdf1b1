//! Level statistics: the distances of neighbouring eigenvalues.

/// `log10` of the differences of neighbouring `eigenvalues` (ascending): one fewer than there are, minus infinity between
/// equal ones.
///
/// # Source
/// `WeightWatcher` 0.7.7 draws them with `deltas=True`.
pub fn log_spacings(eigenvalues: &[f64]) -> Vec<f64> {
    eigenvalues.windows(2).map(|pair| libm::log10(pair[1] - pair[0])).collect()
}

/// Mean ratio of neighbouring spacings, the smaller to the larger, of `eigenvalues` (ascending): 0.53 where they repel each
/// other as those of a random matrix do, 0.39 for independent values. It needs no knowledge of the density. Pairs of
/// spacings that are both 0 are left out; `None` without pairs.
///
/// # Source
/// Oganesyan, Huse 2007, equation 4; Atas et al. 2013, table I: 0.5307 (orthogonal ensemble), 0.3863 (Poisson).
pub fn spacing_ratio(eigenvalues: &[f64]) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u64);
    for triple in eigenvalues.windows(3) {
        let (below, above) = (triple[1] - triple[0], triple[2] - triple[1]);
        if below > 0.0 || above > 0.0 {
            sum += below.min(above) / below.max(above);
            count += 1;
        }
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::spectrum::GramBuilder;

    #[test]
    fn spacings_of_known_levels() {
        let levels = [0.0, 1.0, 11.0, 11.0, 11.0];
        assert_eq!(log_spacings(&levels), [0.0, 1.0, f64::NEG_INFINITY, f64::NEG_INFINITY]);
        // 1 : 10, 0 : 10, and nothing of the last three.
        assert_eq!(spacing_ratio(&levels), Some(0.05));
        assert_eq!(spacing_ratio(&[1.0, 2.0]), None);
        assert_eq!(spacing_ratio(&[1.0; 9]), None);
    }

    /// The published means, to four standard errors of 0.28 / sqrt(n).
    #[test]
    fn random_matrices_repel_and_independent_values_do_not() {
        let n = 300;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Sums of twelve uniform numbers are normal enough.
        let normal = |rng: &mut ChaCha8Rng| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        let weights: Vec<f32> = (0..n * 2 * n).map(|_| normal(&mut rng)).collect();
        let mut gram = GramBuilder::new(n);
        gram.push(&weights, 2 * n);
        let repelling = spacing_ratio(&gram.finish().eigenvalues(&|| false).unwrap()).unwrap();
        assert!((repelling - 0.5307).abs() < 0.065, "{repelling}");
        let mut independent: Vec<f64> = (0..3000).map(|_| rng.random::<f64>()).collect();
        independent.sort_by(f64::total_cmp);
        let ratio = spacing_ratio(&independent).unwrap();
        assert!((ratio - 0.3863).abs() < 0.02, "{ratio}");
    }
}
