//! How far quantized weights are from the original ones.

/// Running sums over pairs of an original and a dequantized weight, in f64, in a fixed order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Damage {
    error: [f64; LANES],
    weight: [f64; LANES],
    nonzero: u64,
    count: u64,
}

const LANES: usize = 8;

impl Damage {
    /// Adds a block of weights. The sums depend on how the weights are cut into blocks, in the last bit.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add(&mut self, original: &[f32], dequantized: &[f32]) {
        assert_eq!(original.len(), dequantized.len(), "pairs of weights");
        let (a, a_rest) = original.as_chunks::<LANES>();
        let (b, b_rest) = dequantized.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            let mut nonzero = 0;
            for lane in 0..LANES {
                self.add_one(lane, a[lane], b[lane]);
                nonzero += u64::from(b[lane] != 0.0);
            }
            self.nonzero += nonzero;
        }
        for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            self.add_one(lane, *a, *b);
            self.nonzero += u64::from(*b != 0.0);
        }
        self.count += original.len() as u64;
    }

    #[inline]
    fn add_one(&mut self, lane: usize, original: f32, dequantized: f32) {
        let w = f64::from(original);
        let e = f64::from(dequantized) - w;
        self.error[lane] += e * e;
        self.weight[lane] += w * w;
    }

    /// `||W' - W||_F / ||W||_F`; `None` for a zero or empty matrix.
    pub fn relative_error(&self) -> Option<f64> {
        let weight = sum(&self.weight);
        (weight > 0.0).then(|| (sum(&self.error) / weight).sqrt())
    }

    /// Signal-to-quantization-noise ratio, `-20 log10(relative error)` in decibels; infinite without any error.
    pub fn sqnr_db(&self) -> Option<f64> {
        self.relative_error().map(|error| -20.0 * libm::log10(error))
    }

    /// Share of dequantized weights that are not zero; `None` without any.
    pub fn nonzero_fraction(&self) -> Option<f64> {
        (self.count > 0).then(|| self.nonzero as f64 / self.count as f64)
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
        assert_eq!(Damage::default().relative_error(), None);
        assert_eq!(Damage::default().nonzero_fraction(), None);
    }
}
