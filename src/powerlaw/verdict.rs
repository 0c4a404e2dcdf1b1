//! Whether an alpha can be believed, in one word and a reason.

use super::mle::PowerLawFit;

/// One word for a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Reliable,
    /// Too few values are in the tail.
    ShortTail,
    /// Nearly as good lower ends give other alphas.
    XminUnstable,
    /// The goodness-of-fit test rejects it.
    NotAPowerLaw,
    /// Too few values altogether.
    TooFew,
    /// There is no fit.
    Failed,
}

impl Verdict {
    /// The words in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Reliable => "reliable",
            Verdict::ShortTail => "short tail",
            Verdict::XminUnstable => "xmin unstable",
            Verdict::NotAPowerLaw => "not a power law",
            Verdict::TooFew => "too few eigenvalues",
            Verdict::Failed => "failed",
        }
    }
}

/// What is known about a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Number of values the fit had to choose from.
    pub values: usize,
    /// The fit.
    pub fit: PowerLawFit,
    /// See [`super::plateau`].
    pub plateau: Option<(f64, f64)>,
    /// See [`super::goodness_of_fit`].
    pub goodness: Option<f64>,
    /// Of how many samples `goodness` is the share.
    pub draws: usize,
    /// How many values are above all those of a comparison without structure, if there is one.
    pub above_random: Option<usize>,
}

/// Tails and samples below this give no reliable estimate: "a reasonable rule of thumb".
const ENOUGH: usize = 50;
/// Up to this probability of a distance that large, the power law is ruled out.
const RULED_OUT: f64 = 0.1;
/// Alphas of nearly as good fits may differ by so many standard errors: their tails overlap, so that they ought to differ by
/// less than one. Of samples of a power law 1% to 4% are further apart; with a bulk below the tail and 384 values 14%, of which
/// two in five are off by more than three standard errors, of the others one in eight (`tests/powerlaw.rs`).
const FAR: f64 = 2.0;

/// The verdict on a fit and its reason, the gravest first.
///
/// # Source
/// Clauset, Shalizi, Newman 2009: section 3.2 (50 values), section 4.1 (p <= 0.1).
pub fn judge(evidence: &Evidence) -> (Verdict, String) {
    let Evidence { values, fit, plateau, goodness, draws, above_random } = *evidence;
    if values < ENOUGH {
        return (Verdict::TooFew, format!("{values} eigenvalues, a fit needs about {ENOUGH}"));
    }
    if fit.tail_len < ENOUGH {
        return (Verdict::ShortTail, format!("{} eigenvalues in the tail, a fit needs about {ENOUGH}", fit.tail_len));
    }
    if let Some(p) = goodness.filter(|p| *p <= RULED_OUT) {
        return (Verdict::NotAPowerLaw, ruled_out(p, draws));
    }
    if let Some((low, high)) = plateau.filter(|(low, high)| (high - low) > FAR * fit.sigma) {
        let reason = format!("choices of xmin within a tenth of the best give alphas from {low:.2} to {high:.2}");
        return (Verdict::XminUnstable, reason);
    }
    let p = goodness.map_or_else(String::new, |p| format!(", goodness of fit p = {p:.2}"));
    let random = above_random.map_or_else(String::new, |count| match count {
        0 => ", none of them above those of the same weights in random order".to_owned(),
        count => format!(", {} of them above all of the same weights in random order", count.min(fit.tail_len)),
    });
    (Verdict::Reliable, format!("{} eigenvalues in the tail{p}{random}", fit.tail_len))
}

/// Why a power law is ruled out: of no sample in `draws` follows no probability of 0.
fn ruled_out(p: f64, draws: usize) -> String {
    if p == 0.0 {
        return format!(
            "a power law would be that far off with probability less than 1/{draws} (none of {draws} samples was)"
        );
    }
    // As many as the least share of so many samples has.
    let digits = draws.checked_ilog10().map_or(3, |magnitude| (magnitude as usize + 1).max(3));
    format!("a power law would be that far off with probability {p:.digits$} only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_reason_comes_first() {
        let fit = PowerLawFit { alpha: 3.0, sigma: 0.2, ks_distance: 0.05, xmin: 1.0, xmax: 9.0, tail_len: 100 };
        let good = Evidence {
            values: 400,
            fit,
            plateau: Some((2.9, 3.1)),
            goodness: Some(0.5),
            draws: 200,
            above_random: Some(70),
        };
        assert_eq!(judge(&good).0, Verdict::Reliable);
        let unstable = Evidence { plateau: Some((2.5, 3.1)), ..good };
        assert_eq!(judge(&unstable).0, Verdict::XminUnstable);
        let other = Evidence { goodness: Some(0.1), ..unstable };
        assert_eq!(judge(&other).0, Verdict::NotAPowerLaw);
        assert_eq!(judge(&other).1, "a power law would be that far off with probability 0.100 only");
        let none = Evidence { goodness: Some(0.0), ..good };
        assert_eq!(
            judge(&none).1,
            "a power law would be that far off with probability less than 1/200 (none of 200 samples was)"
        );
        let one = Evidence { goodness: Some(1.0 / 2500.0), draws: 2500, ..good };
        assert!(judge(&one).1.contains("probability 0.0004 only"), "{}", judge(&one).1);
        let short = Evidence { fit: PowerLawFit { tail_len: 49, ..fit }, ..other };
        assert_eq!(judge(&short).0, Verdict::ShortTail);
        assert_eq!(judge(&Evidence { values: 49, ..short }).0, Verdict::TooFew);
        let reason = judge(&good).1;
        assert_eq!(
            reason,
            "100 eigenvalues in the tail, goodness of fit p = 0.50, 70 of them above all of the same weights in random order"
        );
        assert!(judge(&Evidence { above_random: Some(0), ..good }).1.contains("none of them above"));
    }
}
