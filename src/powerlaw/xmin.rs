//! The scan for the lower end of the tail: the candidate whose fit has the smallest Kolmogorov-Smirnov distance.

/// A candidate for the start of the tail and its maximum-likelihood exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Index of its xmin in the ascending data.
    pub start: usize,
    /// The exponent; a candidate with an exponent of at most 1 has the distance 1.
    pub alpha: f64,
}

/// One deviation: `|1 - (x_j / xmin)^(1 - alpha) - j / t|`, with `j` counted from the start of the tail of `t` points.
///
/// The empirical distribution at a point is the share of points strictly before it, by position, also through ties.
#[inline]
fn deviation(tail: &[f64], exponent: f64, j: usize) -> f64 {
    (1.0 - libm::pow(tail[j] / tail[0], exponent) - j as f64 / tail.len() as f64).abs()
}

/// The distance of one candidate: the largest deviation over the tail.
pub(super) fn ks_distance(data: &[f64], candidate: Candidate) -> f64 {
    distance_up_to(data, candidate, f64::INFINITY).unwrap_or(1.0)
}

/// As [`ks_distance`], but `None` as soon as one deviation is above `bound`: the distance, being the largest, is too.
fn distance_up_to(data: &[f64], candidate: Candidate, bound: f64) -> Option<f64> {
    // Points looked at first: a candidate that is far from the best shows it almost anywhere.
    const PROBES: usize = 16;
    let tail = &data[candidate.start..];
    if candidate.alpha.is_nan() || candidate.alpha <= 1.0 {
        return (bound >= 1.0).then_some(1.0);
    }
    let exponent = 1.0 - candidate.alpha;
    let step = tail.len() / PROBES;
    if step > 1 && (1..PROBES).any(|probe| deviation(tail, exponent, probe * step) > bound) {
        return None;
    }
    let mut largest = 0.0_f64;
    for j in 0..tail.len() {
        let deviation = deviation(tail, exponent, j);
        if deviation > bound {
            return None;
        }
        largest = largest.max(deviation);
    }
    Some(largest)
}

/// The first candidate with the smallest distance, and that distance; `None` without candidates.
///
/// Equal, bit for bit, to computing every distance and taking the first minimum: a candidate is dropped only when one of
/// its deviations is strictly above a distance already reached.
///
/// # Cost
/// A few full distances, and some 16 deviations for each other candidate.
pub(super) fn smallest_distance(data: &[f64], candidates: &[Candidate]) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    let mut look = |index: usize| {
        let bound = best.map_or(f64::INFINITY, |(_, distance)| distance);
        if let Some(distance) = distance_up_to(data, candidates[index], bound)
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

    fn plain(data: &[f64], candidates: &[Candidate]) -> Option<(usize, f64)> {
        let mut best = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let distance = ks_distance(data, *candidate);
            if best.is_none_or(|(_, d)| distance < d) {
                best = Some((index, distance));
            }
        }
        best
    }

    proptest! {
        #[test]
        fn pruned_and_plain_scans_agree_to_the_bit(
            mut data in proptest::collection::vec(prop_oneof![0.001_f64..10.0, Just(1.0), Just(2.0), 1e-5..1e5], 2..200),
            alphas in proptest::collection::vec(prop_oneof![0.5_f64..8.0, Just(f64::INFINITY), Just(-3.0)], 200),
        ) {
            data.sort_by(f64::total_cmp);
            let candidates: Vec<_> = (0..data.len() - 1).map(|start| Candidate { start, alpha: alphas[start] }).collect();
            let (a, b) = (plain(&data, &candidates), smallest_distance(&data, &candidates));
            prop_assert_eq!(a.map(|(i, d)| (i, d.to_bits())), b.map(|(i, d)| (i, d.to_bits())));
        }
    }

    #[test]
    fn a_tail_of_equal_values_has_the_distance_of_its_last_position() {
        let data = [2.0; 5];
        assert_eq!(ks_distance(&data, Candidate { start: 0, alpha: f64::INFINITY }), 0.8);
        assert_eq!(ks_distance(&data, Candidate { start: 0, alpha: 0.5 }), 1.0);
    }
}
