//! Norms, ranks and entropy of a spectrum, in `WeightWatcher`'s conventions.

/// What `WeightWatcher` reads off the eigenvalues, its column names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// Sum of the eigenvalues: the squared Frobenius norm.
    pub norm: f64,
    /// Largest **eigenvalue** (of the Gram matrix): the square of what mathematics calls the spectral norm.
    pub spectral_norm: f64,
    /// `norm / spectral_norm`.
    pub stable_rank: f64,
    /// Number of singular values above `largest * N * 2.2e-16`.
    pub matrix_rank: usize,
    /// `-sum p ln p / ln(rank)` with `p` the eigenvalues' shares.
    pub entropy: f64,
    /// Number of eigenvalues below the tolerance.
    pub weak_rank_loss: usize,
}

impl Metrics {
    /// Measures of `eigenvalues` (ascending, not negative) of a matrix whose longer side is `long_side`; an eigenvalue below
    /// `weak` is counted as lost.
    pub fn new(eigenvalues: &[f64], long_side: usize, weak: f64) -> Self {
        let norm: f64 = eigenvalues.iter().sum();
        let spectral_norm = eigenvalues.last().copied().unwrap_or(f64::NAN);
        let tolerance = spectral_norm.sqrt() * long_side as f64 * f64::EPSILON;
        let matrix_rank = eigenvalues.iter().filter(|v| v.sqrt() > tolerance).count();
        // The tiny addends are WeightWatcher's guards against 0 ln 0 and ln 1 = 0.
        let information: f64 = eigenvalues.iter().map(|v| v / norm + 1e-10).map(|p| p * libm::log(p)).sum();
        Self {
            norm,
            spectral_norm,
            stable_rank: norm / spectral_norm,
            matrix_rank,
            entropy: -information / libm::log(matrix_rank as f64 + 1e-10),
            weak_rank_loss: eigenvalues.iter().filter(|v| **v < weak).count(),
        }
    }
}

/// `log10(sum lambda^alpha)` over all eigenvalues (column `log_alpha_norm`), infinite where the sum overflows.
pub fn alpha_norm_log10(eigenvalues: &[f64], alpha: f64) -> f64 {
    libm::log10(eigenvalues.iter().map(|v| libm::pow(*v, alpha)).sum())
}

/// [`alpha_norm_log10`] where its sum would overflow too, which alphas above some 100 make it do.
pub fn scaled_alpha_norm_log10(eigenvalues: &[f64], alpha: f64) -> f64 {
    let plain = alpha_norm_log10(eigenvalues, alpha);
    let largest = eigenvalues.last().copied().unwrap_or(0.0);
    if plain.is_finite() || !(largest > 0.0 && alpha.is_finite()) {
        return plain;
    }
    let scaled: f64 = eigenvalues.iter().map(|v| libm::pow(v / largest, alpha)).sum();
    alpha * libm::log10(largest) + libm::log10(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_a_known_spectrum() {
        let m = Metrics::new(&[0.0, 1.0, 4.0], 10, 1e-6);
        assert_eq!((m.norm, m.spectral_norm, m.stable_rank, m.matrix_rank, m.weak_rank_loss), (5.0, 4.0, 1.25, 2, 1));
        let p: [f64; 2] = [0.2, 0.8];
        let entropy = -(p[0] * p[0].ln() + p[1] * p[1].ln()) / 2_f64.ln();
        // The guards of 1e-10 move it by about 1e-8.
        assert!((m.entropy - entropy).abs() < 1e-8);
        assert!((alpha_norm_log10(&[1.0, 2.0, 3.0], 2.0) - 14_f64.log10()).abs() < 1e-15);
        assert_eq!(alpha_norm_log10(&[0.0, 1.0], -1.0), f64::INFINITY);
        assert_eq!(alpha_norm_log10(&[10.0, 10.0], 400.0), f64::INFINITY);
        assert!((scaled_alpha_norm_log10(&[10.0, 10.0], 400.0) - (400.0 + 2_f64.log10())).abs() < 1e-12);
        assert_eq!(scaled_alpha_norm_log10(&[1.0, 3.0], 2.0), alpha_norm_log10(&[1.0, 3.0], 2.0));
    }
}
