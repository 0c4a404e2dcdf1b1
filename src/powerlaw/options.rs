//! `WeightWatcher`'s variations of the fit: clipped upper ends, fingers, restricted lower ends.

use super::bounded::fit_bounded;
use super::mle::{FitFailure, PowerLawFit, above_smallest, fit_weightwatcher, fit_within, tail_len};

/// What is done about fingers: single eigenvalues far above the tail.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum FixFingers {
    /// Nothing.
    #[default]
    None,
    /// Leave the largest eigenvalues out, one after another, until alpha has fallen by more than `threshold`.
    ClipXmax {
        /// How many may be left out.
        max_fingers: usize,
        /// How far alpha must fall.
        threshold: f64,
    },
    /// Take for xmin only values near the peak of the histogram of `log10` of the eigenvalues.
    XminPeak {
        /// Upper end for xmin; by default 1.5 times the peak.
        xmin_max: Option<f64>,
    },
}

/// Variations of [`fit_weightwatcher`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FitOptions {
    /// How many of the largest eigenvalues to leave out.
    pub xmax: usize,
    /// Whether the law ends at the largest value: see [`fit_bounded`].
    pub force_xmax: bool,
    /// What to do about fingers.
    pub fix_fingers: FixFingers,
    /// Whether to do as `WeightWatcher` does where it goes wrong.
    pub as_weightwatcher: bool,
}

/// A fit with what was done to get it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariedFit {
    /// The fit.
    pub fit: PowerLawFit,
    /// With [`FixFingers::ClipXmax`]: the number of eigenvalues left out (column `num_fingers`) and alpha with all of them
    /// (column `raw_alpha`).
    pub fingers: Option<(usize, f64)>,
}

/// Fits a power law to `values` (ascending) as `WeightWatcher` does with the given options.
///
/// In compatibility mode: an `xmax` of more than half the number of values leaves nothing out but is taken as a *value*, the
/// nearest eigenvalue to which becomes the upper end; clipping starts with two eigenvalues and reports one less than it
/// removed; its limit is reset to 10 whenever that is less than half the number of values; `xmin_peak` fails.
///
/// # Errors
/// [`FitFailure`] as [`fit_weightwatcher`], and if nothing is left after clipping.
///
/// # Cost
/// One fit; with fingers up to `max_fingers` of them.
///
/// # Source
/// `WeightWatcher` 0.7.7, `fit_powerlaw`; the peak: Lu et al. 2024 (`AlphaPruning`).
pub fn fit_varied(values: &[f64], options: &FitOptions) -> Result<VariedFit, FitFailure> {
    if options.force_xmax {
        return Ok(VariedFit { fit: fit_bounded(values, options.as_weightwatcher)?, fingers: None });
    }
    let values = clipped(values, options)?;
    match options.fix_fingers {
        FixFingers::None => Ok(VariedFit { fit: fit_weightwatcher(values)?, fingers: None }),
        FixFingers::ClipXmax { max_fingers, threshold } => {
            clip_xmax(values, max_fingers, threshold, options.as_weightwatcher)
        }
        FixFingers::XminPeak { .. } if options.as_weightwatcher => Err(FitFailure {
            reason: "WeightWatcher's own fit does not take the range that xmin_peak gives it".to_owned(),
        }),
        FixFingers::XminPeak { xmin_max } => {
            let peak = peak(values).ok_or_else(|| FitFailure { reason: "no eigenvalue is above 1e-5".to_owned() })?;
            let fit = fit_within(values, 0.95 * peak, xmin_max.unwrap_or(1.5 * peak))?;
            Ok(VariedFit { fit, fingers: None })
        }
    }
}

fn clipped<'a>(values: &'a [f64], options: &FitOptions) -> Result<&'a [f64], FitFailure> {
    let (n, count) = (values.len(), options.xmax);
    if count == 0 {
        return Ok(values);
    }
    if options.as_weightwatcher && count.saturating_mul(2) > n {
        let distance = |v: &f64| (v - count as f64).abs();
        let nearest = (0..n).min_by(|a, b| distance(&values[*a]).total_cmp(&distance(&values[*b]))).unwrap_or(0);
        return Ok(&values[..(nearest + 1).min(n)]);
    }
    values.get(..n.saturating_sub(count)).filter(|left| left.len() > 1).ok_or_else(|| FitFailure {
        reason: format!("leaving out the {count} largest of {n} eigenvalues (xmax) leaves nothing to fit"),
    })
}

fn clip_xmax(
    values: &[f64],
    max_fingers: usize,
    threshold: f64,
    as_weightwatcher: bool,
) -> Result<VariedFit, FitFailure> {
    let whole = fit_weightwatcher(values)?;
    let positive = above_smallest(values).len();
    let limit = if as_weightwatcher && max_fingers.saturating_mul(2) < positive { 10 } else { max_fingers };
    // The tool tries 2..limit, and calls one less than it removed the number of fingers.
    let tried = if as_weightwatcher { 2..limit } else { 1..limit.saturating_add(1) };
    for removed in tried {
        if whole.alpha <= 2.0 || removed + 2 > positive {
            break;
        }
        let Ok(fit) = fit_weightwatcher(&values[..values.len() - removed]) else { break };
        if fit.alpha + threshold < whole.alpha {
            let fingers = if as_weightwatcher { removed - 1 } else { removed };
            // The clipped eigenvalues belong to the tail, however it was fitted.
            let fit = PowerLawFit { tail_len: tail_len(values, fit.xmin), ..fit };
            return Ok(VariedFit { fit, fingers: Some((fingers, whole.alpha)) });
        }
        if fit.alpha <= 2.0 {
            break;
        }
    }
    Ok(VariedFit { fit: whole, fingers: Some((0, whole.alpha)) })
}

/// The published `xmin_peak` alpha: the search for xmin restricted to values of at most 1.5 times the [`peak`]. Its lower
/// end compares values with a logarithm, `log10(0.95 peak)`, which most often excludes nothing; the last value in the range
/// is left out, as the `powerlaw` package does.
///
/// # Errors
/// [`FitFailure`] as [`fit_weightwatcher`], and if no value is in the range.
///
/// # Source
/// Lu et al. 2024 (`AlphaPruning`), and `WeightWatcher` with the `powerlaw` package 1.5.
pub fn fit_xmin_peak(values: &[f64]) -> Result<PowerLawFit, FitFailure> {
    let peak = peak(values).ok_or_else(|| FitFailure { reason: "no eigenvalue is above 1e-5".to_owned() })?;
    fit_within(values, libm::log10(0.95 * peak), last_up_to(values, 1.5 * peak).next_down())
}

/// The largest of the values (ascending) that is at most `high`, else `high`: the `powerlaw` package does not try it.
pub fn last_up_to(values: &[f64], high: f64) -> f64 {
    values.partition_point(|v| *v <= high).checked_sub(1).map_or(high, |last| values[last])
}

/// Left edge of the fullest of 100 bins of `log10` of the values above 1e-5, the first one on ties.
///
/// # Source
/// `AlphaPruning` and `TempBalance`; numpy's `histogram`.
pub fn peak(values: &[f64]) -> Option<f64> {
    const BINS: usize = 100;
    let positive = above_smallest(values);
    let (low, high) = (libm::log10(*positive.first()?), libm::log10(*positive.last()?));
    if low == high {
        // numpy widens an empty range by a half on both sides.
        return Some(libm::pow(10.0, low));
    }
    let width = (high - low) / BINS as f64;
    let mut counts = [0_usize; BINS];
    for value in positive {
        let bin = (libm::log10(*value) - low) / (high - low) * BINS as f64;
        counts[(bin as usize).min(BINS - 1)] += 1;
    }
    let fullest = (0..BINS).rev().max_by_key(|bin| counts[*bin])?;
    Some(libm::pow(10.0, low + fullest as f64 * width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pareto(n: u32, alpha: f64) -> Vec<f64> {
        let mut values: Vec<f64> =
            (0..n).map(|i| (1.0 - (f64::from(i) + 0.5) / f64::from(n)).powf(-1.0 / (alpha - 1.0))).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn xmax_leaves_the_largest_out_and_the_tool_takes_it_for_a_value() {
        let values = pareto(40, 3.0);
        let options = |xmax, as_weightwatcher| FitOptions { xmax, as_weightwatcher, ..FitOptions::default() };
        let clipped = fit_varied(&values, &options(5, false)).unwrap().fit;
        assert_eq!(clipped, fit_weightwatcher(&values[..35]).unwrap());
        assert_eq!(clipped, fit_varied(&values, &options(5, true)).unwrap().fit);
        // More than half: left out by default; in the tool the eigenvalue nearest to 30 is the upper end, here the last.
        assert_eq!(fit_varied(&values, &options(30, false)).unwrap().fit, fit_weightwatcher(&values[..10]).unwrap());
        assert_eq!(fit_varied(&values, &options(30, true)).unwrap().fit, fit_weightwatcher(&values).unwrap());
        assert!(fit_varied(&values, &options(39, false)).is_err());
    }

    #[test]
    fn fingers_are_counted_as_removed_and_one_less_in_the_tool() {
        // A bulk with one finger far above: alpha falls as soon as it is gone.
        let mut values: Vec<f64> = (0..100).map(|i| 1.0 + f64::from(i) * 0.01).collect();
        let whole = fit_weightwatcher(&values).unwrap().alpha;
        values.push(1e4);
        let options = |as_weightwatcher| FitOptions {
            fix_fingers: FixFingers::ClipXmax { max_fingers: 10, threshold: -100.0 },
            as_weightwatcher,
            ..FitOptions::default()
        };
        let ours = fit_varied(&values, &options(false)).unwrap();
        assert_eq!(ours.fit.alpha, whole);
        assert_eq!(ours.fingers.map(|f| f.0), Some(1));
        let theirs = fit_varied(&values, &options(true)).unwrap();
        assert_eq!(theirs.fingers.map(|f| f.0), Some(1));
        assert_eq!(theirs.fit.xmax, values[98]);
    }

    /// The tool takes back a limit of less than half the values: a sample whose alpha falls with the third value or a later one.
    #[test]
    fn a_low_limit_of_fingers_is_reset_in_the_tool() {
        // A mixing function for a uniform number; with this stream alpha falls late.
        let uniform = |place: u64| {
            let mut x = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 35_u64.wrapping_mul(0xD1B5_4A32_D192_ED03);
            x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (x >> 40) as f64 / 16_777_216.0
        };
        let mut values: Vec<f64> = (0..60).map(|place| (1.0 - uniform(place)).powf(-0.4)).collect();
        values.sort_by(f64::total_cmp);
        let alpha = |removed: usize| fit_weightwatcher(&values[..values.len() - removed]).unwrap().alpha;
        let early = (0..3).map(alpha).fold(f64::INFINITY, f64::min);
        let late = (3..10).map(alpha).fold(f64::INFINITY, f64::min);
        assert!(late > 2.0 && late < early - 0.01, "{late} {early}");
        let fingers = |as_weightwatcher| {
            let threshold = alpha(0) - f64::midpoint(early, late);
            let fix_fingers = FixFingers::ClipXmax { max_fingers: 2, threshold };
            let options = FitOptions { fix_fingers, as_weightwatcher, ..FitOptions::default() };
            fit_varied(&values, &options).unwrap().fingers.unwrap().0
        };
        assert_eq!(fingers(false), 0);
        assert!(fingers(true) >= 2);
    }

    #[test]
    fn the_peak_bounds_xmin() {
        let mut values: Vec<f64> = (0..200).map(|i| 1.0 + f64::from(i) * 1e-4).collect();
        values.extend(pareto(50, 2.0).iter().map(|v| v * 3.0));
        values.sort_by(f64::total_cmp);
        let peak = peak(&values).unwrap();
        assert!((0.9..1.03).contains(&peak), "{peak}");
        let options = FitOptions { fix_fingers: FixFingers::XminPeak { xmin_max: None }, ..FitOptions::default() };
        let fit = fit_varied(&values, &options).unwrap().fit;
        assert!(fit.xmin >= 0.95 * peak && fit.xmin <= 1.5 * peak, "{fit:?}");
        assert!(fit_varied(&values, &FitOptions { as_weightwatcher: true, ..options }).is_err());
    }
}
