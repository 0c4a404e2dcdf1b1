//! What the caller may choose.

use std::collections::BTreeMap;

use crate::error::{Error, Result, quoted};
use crate::powerlaw::{FitOptions, FixFingers};
use crate::quant::{Arithmetic, DEFAULT_LEVELS, Scheme, parse_levels};
use crate::report::Settings;
use crate::spectrum::Method;

/// Whose oddities the numbers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Nobody's: a failed or degenerate fit is no value and is left out of means.
    #[default]
    None,
    /// `WeightWatcher` 0.7.7's: a failed fit is alpha = -1, and is averaged like any other.
    WeightWatcher,
    /// The study's: `WeightWatcher`'s, with half-precision quantization.
    Seed,
}

impl Compat {
    /// The name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Compat::None => "none",
            Compat::WeightWatcher => "weightwatcher",
            Compat::Seed => "seed",
        }
    }

    /// Whether rows are as `WeightWatcher` reports them.
    pub fn is_weightwatcher(self) -> bool {
        self != Compat::None
    }
}

/// What is made of adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peft {
    /// Nothing: their halves are layers like any other.
    #[default]
    No,
    /// What they add, and no other layers.
    Only,
    /// What they add, the base with it added, and all other layers.
    WithBase,
}

impl Peft {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Peft::No => "no",
            Peft::Only => "only",
            Peft::WithBase => "with_base",
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "one a switch")]
pub struct Options {
    /// Comma-separated levels; see [`parse_levels`].
    pub quantizations: String,
    /// Arithmetic of the naive levels. [`Compat::Seed`] overrides it.
    pub dequantize: Arithmetic,
    /// Whose oddities to follow.
    pub compat: Compat,
    /// Whether to compute true singular values.
    pub svd: bool,
    /// Comma-separated layers: glob patterns of names (one without a wildcard is a name), ids, or types (`dense`, `conv2d`,
    /// `embedding`); with a `-` in front those to leave out. Empty for all. `blocks=0-11`, `blocks=12-`, `blocks=0-/3` narrow it
    /// to transformer blocks, the last to every third.
    pub layers: String,
    /// Layers with fewer eigenvalues are skipped.
    pub min_evals: u64,
    /// Layers with more eigenvalues are skipped.
    pub max_evals: u64,
    /// Layers whose longer side is longer are skipped.
    #[serde(rename = "max_N")]
    pub max_n: u64,
    /// Id of the first tensor named `*.weight`.
    pub start_ids: u64,
    /// Whether a convolution is one spectrum over all kernel positions; otherwise it is a row for each.
    pub pool: bool,
    /// Whether the spectra of convolutions are normalised: halved when pooled, times half the kernel positions if not.
    pub conv2d_norm: bool,
    /// Eigenvalues below are counted in `weak_rank_loss`.
    pub tolerance: f64,
    /// Whether to take the reciprocals of the eigenvalues.
    pub inverse: bool,
    /// The law: `PL`, a power law; `TPL`, a truncated one; `E_TPL`, a truncated one with xmin near the peak.
    pub fit: String,
    /// How many of the largest eigenvalues to leave out of the fit.
    pub xmax: u64,
    /// Whether the law ends at the largest eigenvalue: the tool's `xmax="force"`.
    pub force_xmax: bool,
    /// `clip_xmax`, `xmin_peak`, or empty.
    pub fix_fingers: String,
    /// With `clip_xmax`: how many eigenvalues may be left out.
    pub max_fingers: u64,
    /// With `clip_xmax`: how far alpha must fall.
    pub finger_thresh: f64,
    /// With `xmin_peak`: the largest xmin; by default 1.5 times the peak.
    pub xmin_max: Option<f64>,
    /// Whether to add the point where the product of the largest eigenvalues is 1.
    #[serde(rename = "detX")]
    pub detx: bool,
    /// Whether to fit the Marchenko-Pastur law.
    pub mp_fit: bool,
    /// Whether to compare with the spectrum of the same weights in random order.
    pub randomize: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether to measure how localised the eigenvectors are.
    pub vectors: bool,
    /// Whether to analyse the overlaps of neighbouring layers.
    pub intra: bool,
    /// Whether to put a random 0/1 matrix between the layers of an overlap, as the tool does.
    pub sparsify: bool,
    /// Whether to analyse all layers on top of one another, as one: see [`super::Stack`].
    pub stacked: bool,
    /// What to make of adapters.
    pub peft: Peft,
    /// An adapter's `lora_alpha`: what it adds is `lora_alpha / rank` times its product. Without it, and in compatibility
    /// mode, once the product.
    pub lora_alpha: Option<f64>,
    /// Whether to add level statistics: how far neighbouring eigenvalues are apart.
    pub deltas: bool,
    /// About how many points of each curve a row keeps for pictures, at most; 0 for none.
    pub curves: u64,
    /// Whether to add the evidence for each alpha and its verdict.
    pub trust: bool,
    /// How many samples the evidence draws, of each kind.
    pub draws: u64,
    /// Whether to add the measures of error that take time: spectral norm, subspaces, distinct values, noise.
    pub errors: bool,
    /// Side of the square blocks whose spectra give an alpha without the bias of a matrix's shape; 0 for none.
    pub farms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quantizations: DEFAULT_LEVELS.to_owned(),
            dequantize: Arithmetic::Exact,
            compat: Compat::None,
            svd: false,
            layers: String::new(),
            // WeightWatcher's defaults.
            min_evals: 8,
            max_evals: 15_000,
            max_n: 50_000,
            start_ids: 0,
            pool: true,
            conv2d_norm: true,
            tolerance: 1e-6,
            inverse: false,
            fit: "PL".to_owned(),
            xmax: 0,
            force_xmax: false,
            fix_fingers: String::new(),
            max_fingers: 10,
            finger_thresh: 1.0,
            xmin_max: None,
            detx: false,
            mp_fit: false,
            randomize: false,
            seed: 0,
            vectors: false,
            intra: false,
            sparsify: false,
            stacked: false,
            peft: Peft::No,
            lora_alpha: None,
            deltas: false,
            curves: 0,
            trust: false,
            draws: 200,
            errors: false,
            farms: 0,
        }
    }
}

impl Options {
    /// The levels, the baseline first.
    ///
    /// # Errors
    /// [`Error::Options`] for an unknown name.
    pub fn levels(&self) -> Result<Vec<Scheme>> {
        parse_levels(&self.quantizations)
    }

    /// The arithmetic in force.
    pub fn arithmetic(&self) -> Arithmetic {
        if self.compat == Compat::Seed { Arithmetic::Seed } else { self.dequantize }
    }

    /// The method in force.
    pub fn method(&self) -> Method {
        if self.svd { Method::Svd } else { Method::Gram }
    }

    /// The settings as the report has them.
    ///
    /// # Errors
    /// As [`Options::levels`].
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            quantizations: self.levels()?.iter().map(Scheme::to_string).collect::<Vec<_>>().join(","),
            dequantize: self.arithmetic(),
            compat: self.compat.as_str().to_owned(),
            spectrum: self.method(),
            layers: self.layers.clone(),
            min_evals: self.min_evals,
            max_evals: self.max_evals,
            max_n: self.max_n,
            measures: self.measures(),
        })
    }

    /// The options behind the table's extra columns that are not at their defaults, by name.
    fn measures(&self) -> BTreeMap<String, String> {
        let text = |options: &Options| -> BTreeMap<&'static str, String> {
            BTreeMap::from([
                ("start_ids", options.start_ids.to_string()),
                ("pool", options.pool.to_string()),
                ("conv2d_norm", options.conv2d_norm.to_string()),
                ("tolerance", options.tolerance.to_string()),
                ("inverse", options.inverse.to_string()),
                ("fit", options.fit.clone()),
                ("xmax", if options.force_xmax { "force".to_owned() } else { options.xmax.to_string() }),
                ("fix_fingers", options.fix_fingers.clone()),
                ("max_fingers", options.max_fingers.to_string()),
                ("finger_thresh", options.finger_thresh.to_string()),
                ("xmin_max", options.xmin_max.map_or_else(String::new, |v| v.to_string())),
                ("detX", options.detx.to_string()),
                ("mp_fit", options.mp_fit.to_string()),
                ("randomize", options.randomize.to_string()),
                ("seed", options.seed.to_string()),
                ("vectors", options.vectors.to_string()),
                ("intra", options.intra.to_string()),
                ("sparsify", options.sparsify.to_string()),
                ("stacked", options.stacked.to_string()),
                ("peft", options.peft.as_str().to_owned()),
                ("lora_alpha", options.lora_alpha.map_or_else(String::new, |v| v.to_string())),
                ("deltas", options.deltas.to_string()),
                ("curves", options.curves.to_string()),
                ("trust", options.trust.to_string()),
                ("draws", options.draws.to_string()),
                ("errors", options.errors.to_string()),
                ("farms", options.farms.to_string()),
            ])
        };
        let defaults = text(&Self::default());
        text(self)
            .into_iter()
            .filter(|(name, value)| defaults.get(name) != Some(value))
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// [`Error::Options`] with the options that do not.
    pub fn check(&self) -> Result<()> {
        let fault = |is_fault: bool, message: &str| {
            if is_fault { Err(Error::Options(message.to_owned())) } else { Ok(()) }
        };
        fault(
            self.min_evals > 0 && self.max_evals > 0 && self.min_evals > self.max_evals,
            &format!("min_evals = {} is above max_evals = {}: no layer is between", self.min_evals, self.max_evals),
        )?;
        fault(
            self.min_evals > self.max_n,
            &format!("min_evals = {} is above max_N = {}: no layer is between", self.min_evals, self.max_n),
        )?;
        let sets_xmax = self.xmax > 0 || self.force_xmax;
        fault(
            self.force_xmax && self.xmax > 0,
            "xmax is a number of eigenvalues to leave out or the end of the law (force), not both",
        )?;
        fault(
            self.inverse && self.vectors,
            "inverse and vectors exclude each other: eigenvectors belong to the eigenvalues as they are",
        )?;
        fault(
            !self.fix_fingers.is_empty() && sets_xmax,
            "fix_fingers and xmax exclude each other: both choose the upper end of the fit",
        )?;
        fault(
            self.trust && (sets_xmax || !self.fix_fingers.is_empty()),
            "trust excludes xmax and fix_fingers: the evidence is about the fit to the whole spectrum",
        )?;
        fault(
            !["PL", "TPL", "E_TPL"].contains(&self.fit.as_str()),
            &format!("fit {} is unknown; it is PL, TPL or E_TPL", quoted(&self.fit)),
        )?;
        fault(
            self.is_truncated() && (self.trust || sets_xmax || !self.fix_fingers.is_empty()),
            "fit TPL and E_TPL exclude trust, xmax and fix_fingers: those are about the plain power law",
        )?;
        let needs_matrices = self.randomize || self.vectors || self.trust || self.farms > 0;
        fault(
            self.intra && needs_matrices,
            "intra excludes randomize, vectors, trust and farms: its values are singular values of products",
        )?;
        fault(
            self.stacked && (needs_matrices || self.svd || !self.pool),
            "stacked excludes randomize, vectors, trust, farms, svd and no-pool: the stack itself is never in memory",
        )?;
        fault(
            u8::from(self.intra) + u8::from(self.stacked) + u8::from(self.peft != Peft::No) > 1,
            "intra, stacked and peft exclude each other: each makes other matrices of the layers",
        )?;
        fault(self.sparsify && !self.intra, "sparsify is an option of intra")?;
        fault(self.lora_alpha.is_some_and(|v| !v.is_finite() || v == 0.0), "lora_alpha must be a number other than 0")?;
        self.check_as_weightwatcher()?;
        fault(self.trust && self.draws == 0, "trust needs draws of at least 1")?;
        fault(self.max_fingers == 0, "max_fingers must be at least 1")?;
        fault(self.tolerance.is_nan() || self.tolerance < 0.0, "tolerance must be a number that is not negative")?;
        fault(!self.finger_thresh.is_finite(), "finger_thresh must be a number")?;
        fault(self.xmin_max.is_some_and(|v| v.is_nan() || v <= 0.0), "xmin_max must be a positive number")?;
        self.fit_options().map(|_| ())
    }

    /// What the tool refuses and nobody else has to.
    fn check_as_weightwatcher(&self) -> Result<()> {
        let (least, most, side) = (self.min_evals, self.max_evals, self.max_n);
        let refused =
            |what: String| Err(Error::Options(format!("WeightWatcher refuses {what}; without compat it is taken")));
        if !self.compat.is_weightwatcher() {
            return Ok(());
        }
        if side < most {
            return refused(format!("max_N = {side} below max_evals = {most}"));
        }
        if least > 0 && least == most {
            return refused(format!("min_evals = max_evals = {least}"));
        }
        Ok(())
    }

    /// Whether the law has an exponential end.
    pub(super) fn is_truncated(&self) -> bool {
        self.fit != "PL"
    }

    /// How the power law is fitted.
    ///
    /// # Errors
    /// [`Error::Options`] for an unknown way to fix fingers.
    pub(super) fn fit_options(&self) -> Result<FitOptions> {
        let fix_fingers = match self.fix_fingers.as_str() {
            "" => FixFingers::None,
            "clip_xmax" => FixFingers::ClipXmax {
                max_fingers: usize::try_from(self.max_fingers).unwrap_or(usize::MAX),
                threshold: self.finger_thresh,
            },
            "xmin_peak" => FixFingers::XminPeak { xmin_max: self.xmin_max },
            other => {
                let message = format!("fix_fingers {} is unknown; it is clip_xmax or xmin_peak", quoted(other));
                return Err(Error::Options(message));
            }
        };
        Ok(FitOptions {
            xmax: usize::try_from(self.xmax).unwrap_or(usize::MAX),
            force_xmax: self.force_xmax,
            fix_fingers,
            as_weightwatcher: self.compat.is_weightwatcher(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_mode_brings_its_arithmetic() {
        let options = Options { compat: Compat::Seed, ..Options::default() };
        assert_eq!(options.arithmetic(), Arithmetic::Seed);
        assert_eq!(options.settings().unwrap().quantizations, DEFAULT_LEVELS);
    }

    #[test]
    fn options_that_exclude_each_other_are_named() {
        let error = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check().unwrap_err().to_string()
        };
        assert!(error(|o| (o.min_evals, o.max_evals) = (20, 10)).contains("min_evals = 20 is above max_evals = 10"));
        assert!(error(|o| (o.min_evals, o.max_n, o.max_evals) = (20, 10, 0)).contains("max_N = 10"));
        assert!(error(|o| (o.inverse, o.vectors) = (true, true)).contains("inverse and vectors"));
        assert!(error(|o| (o.fix_fingers, o.xmax) = ("clip_xmax".to_owned(), 1)).contains("fix_fingers and xmax"));
        assert!(error(|o| o.fix_fingers = "bogus".to_owned()).contains("clip_xmax or xmin_peak"));
        assert!(error(|o| o.max_fingers = 0).contains("max_fingers"));
        assert!(error(|o| o.tolerance = f64::NAN).contains("tolerance"));
        assert!(Options::default().check().is_ok());
    }

    #[test]
    fn the_report_names_the_options_that_were_set() {
        assert!(Options::default().settings().unwrap().measures.is_empty());
        let options = Options { detx: true, seed: 7, ..Options::default() };
        let measures = options.settings().unwrap().measures;
        assert_eq!(
            measures.into_iter().collect::<Vec<_>>(),
            [("detX".into(), "true".into()), ("seed".into(), "7".into())]
        );
    }
}
