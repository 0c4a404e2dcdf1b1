//! How localised the eigenvectors are.

use super::smooth::Components;
use crate::error::Result;
use crate::matrix::Matrix;

/// Measures of one eigenvector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorMeasures {
    /// Its eigenvalue.
    pub eigenvalue: f64,
    /// Entropy of the distribution of its entries' sizes, in nats.
    pub entropy: f64,
    /// `|v|_1 / |v|_inf`: the number of entries that carry it, if they were equal.
    pub localization: f64,
    /// `|v|_2 / |v|_4`: 1 for a single entry, `n^(1/4)` for equal ones.
    pub participation: f64,
}

/// Measures of the eigenvectors of the Gram matrix on the short side of `matrix`, in ascending order of the eigenvalues.
///
/// # Errors
/// As [`Components::new`].
///
/// # Cost
/// That of [`Components::vectors`]: about six times the eigenvalues alone.
///
/// # Source
/// `WeightWatcher` 0.7.7, `vector_metrics`. It takes the general eigensolver; the symmetric one agrees to 1e-13.
pub fn vector_measures(matrix: &Matrix) -> Result<Vec<VectorMeasures>> {
    let components = Components::new(matrix)?;
    Ok(components.vectors()?.iter().rev().map(|(eigenvalue, vector)| measure(*eigenvalue, vector)).collect())
}

fn measure(eigenvalue: f64, vector: &[f64]) -> VectorMeasures {
    let sum = |power: i32| vector.iter().map(|v| v.abs().powi(power)).sum::<f64>();
    let largest = vector.iter().fold(0.0, |largest: f64, v| largest.max(v.abs()));
    VectorMeasures {
        eigenvalue,
        entropy: histogram_entropy(vector),
        localization: sum(1) / largest,
        participation: sum(2).sqrt() / sum(4).sqrt().sqrt(),
    }
}

/// Entropy of the 100-bin histogram of the entries' absolute values, with the tool's guard against empty bins.
fn histogram_entropy(vector: &[f64]) -> f64 {
    const BINS: usize = 100;
    const GUARD: f64 = 1e-10;
    let mean = vector.iter().map(|v| v.abs()).sum::<f64>() / vector.len() as f64;
    let sizes: Vec<f64> = vector.iter().map(|v| v.abs() - mean).collect();
    let low = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let high = sizes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // numpy widens an empty range.
    let (low, high) = if low == high { (low - 0.5, high + 0.5) } else { (low, high) };
    let mut counts = [0_u32; BINS];
    for size in &sizes {
        counts[((size - low) / (high - low) * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize] += 1;
    }
    let width = (high - low) / BINS as f64;
    let densities = counts.map(|c| f64::from(c) / (sizes.len() as f64 * width) + GUARD);
    let total: f64 = densities.iter().sum();
    -densities.iter().map(|d| d / total).map(|p| p * libm::log(p)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_matrix_has_the_unit_vectors() {
        let matrix = Matrix::new(2, 3, vec![2.0, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
        let measures = vector_measures(&matrix).unwrap();
        assert_eq!(measures.iter().map(|m| m.eigenvalue).collect::<Vec<_>>(), [1.0, 4.0]);
        assert!(measures.iter().all(|m| m.localization == 1.0 && m.participation == 1.0));
        assert!(vector_measures(&Matrix::new(1, 1, vec![f32::NAN]).unwrap()).is_err());
    }

    /// The tool's own numbers for the vector 1..=10 (`behaviour/probes.json`).
    #[test]
    fn measures_of_one_to_ten() {
        let vector: Vec<f64> = (1..=10).map(f64::from).collect();
        let measured = measure(1.0, &vector);
        assert_eq!(measured.localization, 5.5);
        assert!((measured.participation - 1.555_280_435_8).abs() < 1e-9);
    }
}
