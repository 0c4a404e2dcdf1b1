//! The scan for the lower end of the tail: the candidate whose fit has the smallest Kolmogorov-Smirnov distance.

/// A candidate for the start of the tail and its maximum-likelihood exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Index of its xmin in the ascending data.
    pub start: usize,
    /// The exponent; a candidate with an exponent of at most 1 has the distance 1.
    pub alpha: f64,
}

/// Ascending positive values with their natural logarithms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample<'a> {
    /// The values.
    pub values: &'a [f64],
    /// Their logarithms.
    pub logs: &'a [f64],
}

/// Up to this exponent a power is taken as the exponential of a difference of logarithms, which is the fastest; its error
/// grows with the exponent, and a tail of values that are equal but for rounding has one of 1e15.
const STEEP: f64 = 100.0;

/// The fit of one candidate, ready to be compared with its tail.
#[derive(Debug, Clone, Copy)]
struct Tail<'a> {
    values: &'a [f64],
    logs: &'a [f64],
    exponent: f64,
    length: f64,
    is_steep: bool,
}

impl<'a> Tail<'a> {
    fn new(sample: Sample<'a>, candidate: Candidate) -> Self {
        let values = &sample.values[candidate.start..];
        Self {
            values,
            logs: &sample.logs[candidate.start..],
            exponent: 1.0 - candidate.alpha,
            length: values.len() as f64,
            is_steep: candidate.alpha > STEEP,
        }
    }

    /// The fitted distribution function at a point, `1 - (x_j / xmin)^(1 - alpha)`.
    #[inline]
    fn fitted(&self, j: usize) -> f64 {
        if self.is_steep {
            1.0 - libm::pow(self.values[j] / self.values[0], self.exponent)
        } else {
            1.0 - libm::exp(self.exponent * (self.logs[j] - self.logs[0]))
        }
    }

    /// The empirical distribution function: the share of points strictly before this one, by position, also through ties.
    #[inline]
    fn empirical(&self, j: usize) -> f64 {
        j as f64 / self.length
    }

    #[inline]
    fn deviation(&self, j: usize) -> f64 {
        (self.fitted(j) - self.empirical(j)).abs()
    }

    /// How far computed values of [`Tail::fitted`] may fall where the exact function rises. Logarithm, exponential and
    /// power are right to one unit in the last place: of the value itself, which is at most 1, and of a logarithm, which
    /// counts `alpha - 1` times. The bound is some five times what follows from that.
    fn slack(&self) -> f64 {
        const ROUNDING: f64 = 1e-14;
        if self.is_steep {
            return ROUNDING;
        }
        let largest_log = self.logs[0].abs().max(self.logs[self.logs.len() - 1].abs());
        ROUNDING - self.exponent * largest_log * 2e-15
    }
}

/// The distance of one candidate: the largest deviation over the tail, each of them computed. What the scan is tested by.
pub(super) fn ks_distance(sample: Sample, candidate: Candidate) -> f64 {
    if candidate.alpha.is_nan() || candidate.alpha <= 1.0 {
        return 1.0;
    }
    let tail = Tail::new(sample, candidate);
    (0..tail.values.len()).map(|j| tail.deviation(j)).fold(0.0, f64::max)
}

/// A stretch of a tail between two positions where the fitted distribution is known; what is inside is not.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: usize,
    to: usize,
    fitted_from: f64,
    fitted_to: f64,
}

/// The comparison of one candidate with a bound.
#[derive(Debug)]
struct Contest<'a> {
    tail: Tail<'a>,
    bound: f64,
    largest: f64,
}

impl Contest<'_> {
    /// The fitted distribution at a position; its position if the deviation there is above the bound.
    #[inline]
    fn look(&mut self, j: usize) -> Result<f64, usize> {
        let fitted = self.tail.fitted(j);
        let deviation = (fitted - self.tail.empirical(j)).abs();
        if deviation > self.bound {
            return Err(j);
        }
        self.largest = self.largest.max(deviation);
        Ok(fitted)
    }

    /// The distance, or a position with a deviation above the bound.
    ///
    /// Both distribution functions rise, so that between the positions `a < b` no deviation is above
    /// `max(F(b) - (a + 1) / t, (b - 1) / t - F(a))`: a stretch where that (and the rounding of `F`) is below the largest
    /// deviation found so far can't hold a larger one and is not looked at.
    fn run(mut self, stretches: &mut Vec<Stretch>) -> Result<f64, usize> {
        /// Stretches a tail is first cut into.
        const PARTS: usize = 8;
        let slack = self.tail.slack();
        let last = self.tail.values.len() - 1;
        stretches.clear();
        let mut from = 0;
        let mut fitted_from = self.look(0)?;
        for part in 1..=PARTS {
            let to = last * part / PARTS;
            if to > from {
                let fitted_to = self.look(to)?;
                stretches.push(Stretch { from, to, fitted_from, fitted_to });
                (from, fitted_from) = (to, fitted_to);
            }
        }
        while let Some(Stretch { from, to, fitted_from, fitted_to }) = stretches.pop() {
            if to - from < 2 {
                continue;
            }
            let above = fitted_to - self.tail.empirical(from + 1);
            let below = self.tail.empirical(to - 1) - fitted_from;
            if above.max(below) + slack < self.largest {
                continue;
            }
            let middle = from.midpoint(to);
            let fitted = self.look(middle)?;
            stretches.push(Stretch { from, to: middle, fitted_from, fitted_to: fitted });
            stretches.push(Stretch { from: middle, to, fitted_from: fitted, fitted_to });
        }
        Ok(self.largest)
    }
}

/// What the scan keeps from one candidate to the next.
#[derive(Debug, Default)]
struct Search {
    /// Index into the data where the last candidate was refused: the next one most often fails there too.
    refused_at: usize,
    stretches: Vec<Stretch>,
}

impl Search {
    /// As [`ks_distance`], but `None` as soon as one deviation is above `bound`: the distance, being the largest, is too.
    fn distance_up_to(&mut self, sample: Sample, candidate: Candidate, bound: f64) -> Option<f64> {
        if candidate.alpha.is_nan() || candidate.alpha <= 1.0 {
            return (bound >= 1.0).then_some(1.0);
        }
        let tail = Tail::new(sample, candidate);
        if self.refused_at > candidate.start && tail.deviation(self.refused_at - candidate.start) > bound {
            return None;
        }
        let contest = Contest { tail, bound, largest: 0.0 };
        contest.run(&mut self.stretches).map_err(|j| self.refused_at = candidate.start + j).ok()
    }
}

/// The first candidate with the smallest distance, and that distance; `None` without candidates.
///
/// Equal, bit for bit, to computing every distance and taking the first minimum: a candidate is dropped only when one of
/// its deviations is strictly above a distance already reached, and a part of a tail is passed over only when no deviation
/// in it can be the largest.
///
/// # Cost
/// One or two deviations for most candidates, some 50 for those that come close to the best: about 0.03 ms for 1000
/// values.
pub(super) fn smallest_distance(sample: Sample, candidates: &[Candidate]) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    let mut search = Search::default();
    let mut look = |index: usize| {
        let bound = best.map_or(f64::INFINITY, |(_, distance)| distance);
        if let Some(distance) = search.distance_up_to(sample, candidates[index], bound)
            && best.is_none_or(|(i, d)| distance < d || (distance == d && index < i))
        {
            best = Some((index, distance));
        }
    };
    // A few spread candidates first: they set a bound that most others fail at once.
    let stride = (candidates.len() / 32).max(1);
    for index in (0..candidates.len()).step_by(stride) {
        look(index);
    }
    for index in 0..candidates.len() {
        if stride > 1 && index % stride != 0 {
            look(index);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(sample: Sample, candidates: &[Candidate]) -> Option<(usize, f64)> {
        let mut best = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let distance = ks_distance(sample, *candidate);
            if best.is_none_or(|(_, d)| distance < d) {
                best = Some((index, distance));
            }
        }
        best
    }

    fn assert_same(data: &[f64], alpha_of: impl Fn(usize) -> f64) {
        let logs: Vec<f64> = data.iter().map(|v| libm::log(*v)).collect();
        let sample = Sample { values: data, logs: &logs };
        let candidates: Vec<_> = (0..data.len() - 1).map(|start| Candidate { start, alpha: alpha_of(start) }).collect();
        let (a, b) = (plain(sample, &candidates), smallest_distance(sample, &candidates));
        assert_eq!(a.map(|(i, d)| (i, d.to_bits())), b.map(|(i, d)| (i, d.to_bits())));
    }

    /// The maximum-likelihood exponent of the tail from `start`.
    fn fitted_alpha(data: &[f64], start: usize) -> f64 {
        let tail = &data[start..];
        1.0 + tail.len() as f64 / tail.iter().map(|v| libm::log(v / tail[0])).sum::<f64>()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn pruned_and_plain_scans_agree_to_the_bit(
            mut data in proptest::collection::vec(prop_oneof![0.001_f64..10.0, Just(1.0), Just(2.0), 1e-5..1e5], 2..300),
            alphas in proptest::collection::vec(prop_oneof![0.5_f64..8.0, 90.0_f64..110.0, Just(f64::INFINITY), Just(-3.0)], 300),
        ) {
            data.sort_by(f64::total_cmp);
            assert_same(&data, |start| alphas[start]);
        }

        /// Real spectra: heavy tails, narrow bulks, ties and all scales, with the exponents that belong to them.
        #[test]
        fn they_agree_with_fitted_exponents(
            mut data in proptest::collection::vec(0.0_f64..1.0, 2..400), shape in 0.01_f64..5.0, scale in -5_i32..200, grain in prop_oneof![Just(0.0), 0.01_f64..0.5],
        ) {
            for v in &mut data {
                let u: f64 = if grain > 0.0 { (*v / grain).floor() * grain } else { *v };
                *v = (1.0 - u).powf(-shape) * 10_f64.powi(scale);
            }
            data.retain(|v| v.is_finite());
            data.sort_by(f64::total_cmp);
            prop_assume!(data.len() > 1);
            let alphas: Vec<f64> = (0..data.len()).map(|start| fitted_alpha(&data, start)).collect();
            assert_same(&data, |start| alphas[start]);
        }
    }

    #[test]
    fn a_tail_of_equal_values_has_the_distance_of_its_last_position() {
        let sample = Sample { values: &[2.0; 5], logs: &[std::f64::consts::LN_2; 5] };
        assert_eq!(ks_distance(sample, Candidate { start: 0, alpha: f64::INFINITY }), 0.8);
        assert_eq!(ks_distance(sample, Candidate { start: 0, alpha: 0.5 }), 1.0);
    }
}
