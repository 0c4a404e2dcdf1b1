//! How far quantized weights are from the original ones.

use crate::kernel::CodeDamage;

/// Running sums over weights and over their errors, in f64, in a fixed order.
///
/// What is summed over the weights alone is the same at every level: [`Damage::of_weights`] is computed once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Damage {
    weight: [f64; LANES],
    count: u64,
    nonzero_weights: u64,
    levels: CodeDamage,
}

const LANES: usize = 8;

impl Damage {
    /// The sums over weights; their errors are still to come.
    pub fn of_weights(weights: &[f32]) -> Self {
        let mut damage = Self::default();
        damage.add_weights(weights);
        damage
    }

    /// What remains if no weight is changed.
    #[must_use]
    pub fn unchanged(self) -> Self {
        Self { levels: CodeDamage { error: [0.0; LANES], nonzero: self.nonzero_weights }, ..self }
    }

    /// Adds a block of weights and what has become of them. The sums depend on how the weights are cut into blocks, in the
    /// last bit.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add(&mut self, original: &[f32], dequantized: &[f32]) {
        self.add_weights(original);
        self.add_errors(original, dequantized);
    }

    /// Adds a block of weights; their errors are still to come. Blocks of a multiple of 8 do not change a bit of the sums.
    pub fn add_weights(&mut self, weights: &[f32]) {
        let (chunks, rest) = weights.as_chunks::<LANES>();
        for chunk in chunks {
            let mut nonzero = 0;
            for (sum, w) in self.weight.iter_mut().zip(chunk) {
                *sum += f64::from(*w) * f64::from(*w);
                nonzero += u64::from(*w != 0.0);
            }
            self.nonzero_weights += nonzero;
        }
        for (sum, w) in self.weight.iter_mut().zip(rest) {
            *sum += f64::from(*w) * f64::from(*w);
            self.nonzero_weights += u64::from(*w != 0.0);
        }
        self.count += weights.len() as u64;
    }

    /// Adds what has become of a block of weights that were summed before.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add_errors(&mut self, original: &[f32], dequantized: &[f32]) {
        assert_eq!(original.len(), dequantized.len(), "pairs of weights");
        let (a, a_rest) = original.as_chunks::<LANES>();
        let (b, b_rest) = dequantized.as_chunks::<LANES>();
        let CodeDamage { error, nonzero } = &mut self.levels;
        let square = |a: f32, b: f32| {
            let e = f64::from(b) - f64::from(a);
            e * e
        };
        for (a, b) in a.iter().zip(b) {
            let mut count = 0;
            for lane in 0..LANES {
                error[lane] += square(a[lane], b[lane]);
                count += u64::from(b[lane] != 0.0);
            }
            *nonzero += count;
        }
        for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            error[lane] += square(*a, *b);
            *nonzero += u64::from(*b != 0.0);
        }
    }

    /// Where a kernel adds what its codes have made of weights that were summed before.
    pub(super) fn levels(&mut self) -> &mut CodeDamage {
        &mut self.levels
    }

    /// Adds the sums over other weights.
    pub fn merge(&mut self, other: &Self) {
        for lane in 0..LANES {
            self.weight[lane] += other.weight[lane];
            self.levels.error[lane] += other.levels.error[lane];
        }
        self.count += other.count;
        self.nonzero_weights += other.nonzero_weights;
        self.levels.nonzero += other.levels.nonzero;
    }

    /// `||W' - W||_F / ||W||_F`; `None` for a zero or empty matrix.
    pub fn relative_error(&self) -> Option<f64> {
        let weight = sum(&self.weight);
        (weight > 0.0).then(|| (sum(&self.levels.error) / weight).sqrt())
    }

    /// `||W||_F^2`.
    pub fn squared_norm(&self) -> f64 {
        sum(&self.weight)
    }

    /// Signal-to-quantization-noise ratio, `-20 log10(relative error)` in decibels; infinite without any error.
    pub fn sqnr_db(&self) -> Option<f64> {
        self.relative_error().map(|error| -20.0 * libm::log10(error))
    }

    /// `<W, W'> / (||W|| ||W'||)`, the cosine of the angle between the weights before and after, from `||W'||^2`, which the
    /// eigenvalues tell; `None` if either is zero.
    pub fn cosine(&self, dequantized: f64) -> Option<f64> {
        let weight = sum(&self.weight);
        let product = f64::midpoint(weight, dequantized) - sum(&self.levels.error) / 2.0;
        (weight > 0.0 && dequantized > 0.0).then(|| (product / (weight.sqrt() * dequantized.sqrt())).clamp(-1.0, 1.0))
    }

    /// `||W' - W||^2 / count`: the variance of the rounding noise; `None` without any weights.
    pub fn noise_variance(&self) -> Option<f64> {
        (self.count > 0).then(|| sum(&self.levels.error) / self.count as f64)
    }

    /// Share of dequantized weights that are not zero; `None` without any.
    pub fn nonzero_fraction(&self) -> Option<f64> {
        (self.count > 0).then(|| self.levels.nonzero as f64 / self.count as f64)
    }
}

fn sum(lanes: &[f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = *lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_a_known_pair() {
        let mut damage = Damage::default();
        damage.add(&[3.0; 11], &[3.0; 11]);
        assert_eq!((damage.relative_error(), damage.sqnr_db()), (Some(0.0), Some(f64::INFINITY)));
        let mut damage = Damage::default();
        damage.add(&[3.0, 4.0], &[3.0, 0.0]);
        damage.add(&[0.0; 10], &[0.0; 10]);
        assert_eq!(damage.relative_error(), Some(0.8));
        assert!((damage.sqnr_db().unwrap() - 1.938_200_260_161_128).abs() < 1e-12);
        assert_eq!(damage.nonzero_fraction(), Some(1.0 / 12.0));
        assert!((damage.cosine(9.0).unwrap() - 0.6).abs() < 1e-15);
        assert_eq!((damage.noise_variance(), damage.cosine(0.0)), (Some(16.0 / 12.0), None));
        let mut cut = Damage::of_weights(&[3.0, 4.0]);
        assert_eq!((cut.unchanged().relative_error(), cut.unchanged().nonzero_fraction()), (Some(0.0), Some(1.0)));
        cut.add_errors(&[3.0, 4.0], &[3.0, 0.0]);
        cut.merge(&Damage::of_weights(&[0.0; 10]));
        assert_eq!(cut.relative_error(), damage.relative_error());
        assert_eq!(cut.nonzero_fraction(), damage.nonzero_fraction());
        assert_eq!(Damage::default().relative_error(), None);
        assert_eq!(Damage::default().nonzero_fraction(), None);
    }
}
