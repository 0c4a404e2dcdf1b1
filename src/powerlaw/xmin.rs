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

/// Up to this exponent [`rough_exp`] tells a fitted distribution to [`ROUGHNESS`].
const TOO_STEEP: f64 = 1e4;

/// Bounds the error of a fitted distribution by [`rough_exp`]: 6e-9 of its own, and 4e-9 by an argument of logarithms (at
/// most 745, so right to 2e-13 with their difference) that counts 1e4 times. Twice that, to be sure.
const ROUGHNESS: f64 = 2e-8;

/// The fit of one candidate, ready to be compared with its tail.
#[derive(Debug, Clone, Copy)]
struct Tail<'a> {
    values: &'a [f64],
    logs: &'a [f64],
    exponent: f64,
    length: f64,
    is_steep: bool,
    is_too_steep: bool,
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
            is_too_steep: candidate.alpha > TOO_STEEP,
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

    /// [`Tail::fitted`] to [`Tail::slack`], quickly where that is possible.
    #[inline]
    fn estimated(&self, j: usize) -> f64 {
        if self.is_too_steep { self.fitted(j) } else { 1.0 - rough_exp(self.exponent * (self.logs[j] - self.logs[0])) }
    }

    /// How far [`Tail::estimated`] may be from [`Tail::fitted`], and either from the exact function, which rises.
    fn slack(&self) -> f64 {
        // A power is right to one unit in the last place, and at most 1.
        if self.is_too_steep { 1e-14 } else { ROUGHNESS }
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
}

/// `exp(x)` for `x <= 0` to 6e-9: enough to see whether a closer look is worth it, in a form that becomes vectors.
#[inline]
fn rough_exp(x: f64) -> f64 {
    use std::f64::consts::{LN_2, LOG2_E};
    // Adding it rounds to a whole number, whose lowest bits are then the exponent of a power of two.
    const ROUND: f64 = 1.5 * (1u64 << 52) as f64 + 1023.0;
    let power = if x < -700.0 { -700.0 } else { x } * LOG2_E;
    let rounded = power + ROUND;
    // Taylor's polynomial of degree 7; the next term is at most 0.35^8 / 8!.
    let r = (power - (rounded - ROUND)) * LN_2;
    let square = r * r;
    let low = (1.0 + r) + square * (0.5 + r * (1.0 / 6.0));
    let high = (1.0 / 24.0 + r * (1.0 / 120.0)) + square * (1.0 / 720.0 + r * (1.0 / 5040.0));
    (low + square * square * high) * f64::from_bits(rounded.to_bits() << 52)
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
    /// No deviation inside is above this.
    most: f64,
}

/// The search for the largest deviation of one tail.
#[derive(Debug)]
struct Hunt<'a> {
    tail: Tail<'a>,
    slack: f64,
    /// One over the length.
    step: f64,
    /// The largest deviation found so far, and where.
    largest: f64,
    at: usize,
}

impl<'a> Hunt<'a> {
    fn new(tail: Tail<'a>) -> Self {
        Self { tail, slack: tail.slack(), step: 1.0 / tail.length, largest: 0.0, at: 0 }
    }

    /// The estimated distribution at a position; its deviation may be the largest.
    #[inline]
    fn look(&mut self, j: usize) -> f64 {
        let estimated = self.tail.estimated(j);
        if (estimated - j as f64 * self.step).abs() + self.slack > self.largest {
            let deviation = self.tail.deviation(j);
            if deviation > self.largest {
                (self.largest, self.at) = (deviation, j);
            }
        }
        estimated
    }

    /// Remembers a stretch that may hold the largest deviation.
    ///
    /// Both distribution functions rise, so that between the positions `a < b` no deviation is above
    /// `max(F(b) - (a + 1) / t, (b - 1) / t - F(a))`.
    #[inline]
    fn keep(&self, [from, to]: [usize; 2], [fitted_from, fitted_to]: [f64; 2], stretches: &mut Vec<Stretch>) {
        let above = fitted_to - (from + 1) as f64 * self.step;
        let below = to.saturating_sub(1) as f64 * self.step - fitted_from;
        let most = if above > below { above } else { below } + self.slack;
        if to - from > 1 && most >= self.largest {
            stretches.push(Stretch { from, to, fitted_from, fitted_to, most });
        }
    }

    /// Finds the largest deviation; or, if that is above `bound`, one that is above it.
    fn run(&mut self, bound: f64, stretches: &mut Vec<Stretch>) {
        /// Stretches a tail is first cut into.
        const PARTS: usize = 8;
        let last = self.tail.values.len() - 1;
        let cut = |part: usize| last * part / PARTS;
        let fitted: [f64; PARTS + 1] = std::array::from_fn(|part| self.look(cut(part)));
        stretches.clear();
        for part in 0..PARTS {
            self.keep([cut(part), cut(part + 1)], [fitted[part], fitted[part + 1]], stretches);
        }
        while self.largest <= bound
            && let Some(Stretch { from, to, fitted_from, fitted_to, most }) = stretches.pop()
        {
            if most < self.largest {
                continue;
            }
            let middle = from.midpoint(to);
            let fitted = self.look(middle);
            self.keep([from, middle], [fitted_from, fitted], stretches);
            self.keep([middle, to], [fitted, fitted_to], stretches);
        }
    }
}

/// Candidates that are compared with a witness together.
const BLOCK: usize = 8;

/// A block of candidates, laid out for [`Search::hopeful`].
#[derive(Debug)]
struct Block {
    /// `1 - alpha`; not a number where the candidate is none for [`rough_exp`].
    exponents: [f64; BLOCK],
    /// Logarithms of xmin.
    logs: [f64; BLOCK],
    starts: [f64; BLOCK],
}

impl Block {
    fn new(sample: Sample, candidates: &[Candidate; BLOCK]) -> Self {
        let is_rough = |alpha: f64| alpha > 1.0 && alpha <= TOO_STEEP;
        Self {
            exponents: candidates.map(|c| if is_rough(c.alpha) { 1.0 - c.alpha } else { f64::NAN }),
            logs: candidates.map(|c| sample.logs[c.start]),
            // Signed: older processors have no conversion of unsigned numbers.
            starts: candidates.map(|c| c.start as i64 as f64),
        }
    }
}

/// What the scan keeps from one candidate to the next.
#[derive(Debug)]
struct Search<'a> {
    sample: Sample<'a>,
    candidates: &'a [Candidate],
    best: Option<(usize, f64)>,
    /// Indices into the data where the last candidates had their largest deviations: the next ones most often fail there.
    witnesses: [usize; 2],
    stretches: Vec<Stretch>,
}

impl Search<'_> {
    fn bound(&self) -> f64 {
        self.best.map_or(f64::INFINITY, |(_, distance)| distance)
    }

    /// Which of a block of candidates may have a distance up to the bound: those with no deviation clearly above it at the
    /// first witness.
    // Out of line the compiler makes vectors of it.
    #[inline(never)]
    fn hopeful(&self, block: &Block) -> [bool; BLOCK] {
        let length = self.sample.logs.len() as f64;
        let (log, witness) = (self.sample.logs[self.witnesses[0]], self.witnesses[0] as f64);
        let limit = self.bound() + ROUGHNESS;
        std::array::from_fn(|lane| {
            let before = witness - block.starts[lane];
            let empirical = before / (length - block.starts[lane]);
            // Nothing is known of candidates from the witness on.
            let x = if before > 0.0 { block.exponents[lane] * (log - block.logs[lane]) } else { f64::NAN };
            let is_refused = (1.0 - rough_exp(x) - empirical).abs() > limit;
            !is_refused
        })
    }

    /// Compares a candidate with the best so far.
    fn look(&mut self, index: usize) {
        let candidate = self.candidates[index];
        let bound = self.bound();
        let mut distance = 1.0;
        if candidate.alpha > 1.0 {
            let tail = Tail::new(self.sample, candidate);
            for (rank, at) in self.witnesses.into_iter().enumerate() {
                if at > candidate.start && tail.deviation(at - candidate.start) > bound {
                    self.witnesses[..=rank].rotate_right(1);
                    return;
                }
            }
            let mut hunt = Hunt::new(tail);
            hunt.run(bound, &mut self.stretches);
            self.witnesses = [candidate.start + hunt.at, self.witnesses[0]];
            distance = hunt.largest;
        }
        if self.best.is_none_or(|(i, d)| distance < d || (distance == d && index < i)) {
            self.best = Some((index, distance));
        }
    }
}

/// The first candidate with the smallest distance, and that distance; `None` without candidates.
///
/// Equal, bit for bit, to computing every distance and taking the first minimum: a candidate is dropped only when one of
/// its deviations is above a distance already reached, and a part of a tail is passed over only when no deviation in it can
/// be the largest. Estimates decide only what is certain within their error; distances are made of exact deviations.
///
/// # Cost
/// One estimate for most candidates, some 100 for those that come close to the best: about 0.2 ms for 8192 values, a third
/// of it for the logarithms and sums before.
pub(super) fn smallest_distance(sample: Sample, candidates: &[Candidate]) -> Option<(usize, f64)> {
    let mut search = Search { sample, candidates, best: None, witnesses: [0; 2], stretches: Vec::new() };
    // A few spread candidates first: they set a bound that most others fail at once.
    let stride = (candidates.len() / 32).max(1);
    for index in (0..candidates.len()).step_by(stride) {
        search.look(index);
    }
    let (blocks, rest) = candidates.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        let is_hopeful = search.hopeful(&Block::new(sample, block));
        for lane in (0..BLOCK).filter(|lane| is_hopeful[*lane]) {
            search.look(number * BLOCK + lane);
        }
    }
    for index in candidates.len() - rest.len()..candidates.len() {
        search.look(index);
    }
    search.best
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
            alphas in proptest::collection::vec(prop_oneof![0.5_f64..8.0, 90.0_f64..110.0, 1e3_f64..1e5, Just(f64::INFINITY), Just(f64::NAN), Just(-3.0)], 300),
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

    #[test]
    fn the_rough_exponential_is_as_good_as_it_says() {
        for i in 0..200_000 {
            let x = -f64::from(i) * 0.000_4;
            assert!((rough_exp(x) - libm::exp(x)).abs() < 6e-9, "{x}");
        }
        assert!(rough_exp(-1e300) < 1e-300 && rough_exp(f64::NEG_INFINITY) < 1e-300);
        assert!(rough_exp(f64::NAN).is_nan());
    }
}
