//! Options that add or change columns, under `WeightWatcher`'s names.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::analysis::{Options, Peft};

#[derive(Debug, Args)]
#[command(next_help_heading = "Options that add or change columns")]
#[expect(
    clippy::struct_excessive_bools,
    clippy::doc_markdown,
    reason = "one a switch; the comments are the help texts"
)]
pub(super) struct MeasureArgs {
    /// Leave the spectra of convolutions as they are: WeightWatcher halves them.
    #[arg(long)]
    pub no_conv2d_norm: bool,

    /// Count eigenvalues below this in weak_rank_loss.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub tolerance: f64,

    /// Take the reciprocals of the eigenvalues.
    #[arg(long)]
    pub inverse: bool,

    /// The law to fit: a power law (PL), a truncated power law (TPL: adds Lambda), or that with xmin near the peak of the
    /// spectrum only (E_TPL).
    #[arg(long, value_enum, ignore_case = true, default_value_t = FitArg::Pl)]
    pub fit: FitArg,

    /// Leave the K largest eigenvalues out of the fit (the sign does not matter), or `force`: the law ends at the largest.
    #[arg(long, value_name = "K|force", allow_hyphen_values = true, value_parser = parse_xmax)]
    pub xmax: Option<XmaxArg>,

    /// Leave single far eigenvalues out of the fit while that lowers alpha by --finger-thresh (clip_xmax: adds num_fingers
    /// and raw_alpha), or look for xmin near the peak of the spectrum only (xmin_peak).
    #[arg(long, value_enum, value_name = "HOW")]
    pub fix_fingers: Option<FixFingersArg>,

    /// How many eigenvalues clip_xmax may leave out.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max_fingers: u64,

    /// How far alpha must fall for clip_xmax.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub finger_thresh: f64,

    /// Largest xmin for xmin_peak. Default: 1.5 times the peak.
    #[arg(long, value_name = "X")]
    pub xmin_max: Option<f64>,

    /// Add detX_num, detX_val, detX_val_unrescaled, num_ERG_spikes, ERG_gap: where the product of the largest eigenvalues
    /// is 1; and how far the fit is from SETOL's ideal: setol_alpha_distance, setol_xmin_log_ratio.
    #[arg(long, visible_alias = "erg")]
    pub detx: bool,

    /// Fit the Marchenko-Pastur law: adds sigma_mp, num_spikes, mp_softrank, bulk_max, bulk_min, W_scale.
    #[arg(long)]
    pub mp_fit: bool,

    /// Compare with the same weights in random order: adds max_rand_eval, rand_distance, ww_softrank, ww_maxdist, num_traps
    /// and the Marchenko-Pastur fit of the random spectrum.
    #[arg(long)]
    pub randomize: bool,

    /// Measure how localised the eigenvectors of the tail and of the bulk are: adds {bulk,tail}_{mean,var}_{vec_entropy,
    /// loc_ratio,part_ratio}. Several times slower.
    #[arg(long)]
    pub vectors: bool,

    #[command(flatten)]
    pub combining: CombiningArgs,

    /// Analyse all layers on top of one another, standardised and padded with zeros, as one matrix.
    #[arg(long)]
    pub stacked: bool,

    /// Add level_spacing_ratio and log_delta_mean: how far neighbouring eigenvalues are apart.
    #[arg(long)]
    pub deltas: bool,

    /// Keep curves of at most some N points in report.json: alpha and D against xmin, Hill's estimates, distances of eigenvalues.
    #[arg(long, value_name = "N", num_args = 0..=1, default_value_t = 0, default_missing_value = "200")]
    pub curves: u64,

    /// Say how far each alpha can be trusted: adds a verdict with its reason, bootstrap intervals, goodness of fit, the
    /// alphas of nearly as good fits, likelihood ratios to other laws, Hill alphas; the change of alpha with its interval;
    /// and tests over the layers to the comparison.
    #[arg(long)]
    pub trust: bool,

    /// Samples that --trust draws for each row, for the bootstrap and for the goodness of fit.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub draws: u64,

    /// Add measures of error that take longer: spectral_error, log_wasserstein, subspace_left, subspace_right, max_error,
    /// distinct_values, noise_edge and num_above_noise.
    #[arg(long)]
    pub errors: bool,

    /// Add alpha_farms, without the bias of a matrix's shape: of square blocks of this side, the same for all layers.
    #[arg(long, value_name = "SIDE", default_value_t = 0)]
    pub farms: u64,

    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FitArg {
    #[value(name = "PL", alias = "power_law")]
    Pl,
    #[value(name = "TPL", alias = "truncated_power_law")]
    Tpl,
    #[value(name = "E_TPL")]
    ETpl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FixFingersArg {
    #[value(name = "clip_xmax")]
    ClipXmax,
    #[value(name = "xmin_peak")]
    XminPeak,
}

/// What the matrix of a row is made of.
#[derive(Debug, Args)]
pub(super) struct CombiningArgs {
    /// Analyse the overlaps W0 W1 / (|W0| |W1|) of neighbouring layers in place of the layers: adds Xflag. Their singular
    /// values are taken for eigenvalues, as in WeightWatcher.
    #[arg(long)]
    pub intra: bool,

    /// With --intra: a random matrix of zeros and ones between the two layers, WeightWatcher's default.
    #[arg(long)]
    pub sparsify: bool,

    /// Analyse the difference of each layer from the same layer of this model: a file or a folder. With --peft: the model
    /// that the adapter is for.
    #[arg(long, value_name = "MODEL")]
    pub base_model: Option<PathBuf>,

    /// Analyse what LoRA adapters add: rows lora_BA; with_base also the base with it added, lora_W_plus_AB, and the other
    /// layers. Adds peft.
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, default_missing_value = "only")]
    pub peft: Option<PeftArg>,

    /// The adapter's lora_alpha: its update is lora_alpha / rank times the product. Default: what adapter_config.json beside
    /// the adapter says, else once the product.
    #[arg(long, value_name = "X", requires = "peft")]
    pub lora_alpha: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XmaxArg {
    LeaveOut(u64),
    Force,
}

fn parse_xmax(text: &str) -> Result<XmaxArg, String> {
    if text == "force" {
        return Ok(XmaxArg::Force);
    }
    let count: i64 = text.parse().map_err(|_| "it is a whole number or `force`".to_owned())?;
    Ok(XmaxArg::LeaveOut(count.unsigned_abs()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PeftArg {
    #[value(name = "only", alias = "true")]
    Only,
    #[value(name = "with_base")]
    WithBase,
}

impl MeasureArgs {
    /// `options` with these in place.
    pub fn apply(&self, options: Options) -> Options {
        let fix_fingers = match self.fix_fingers {
            None => "",
            Some(FixFingersArg::ClipXmax) => "clip_xmax",
            Some(FixFingersArg::XminPeak) => "xmin_peak",
        };
        let fit = match self.fit {
            FitArg::Pl => "PL",
            FitArg::Tpl => "TPL",
            FitArg::ETpl => "E_TPL",
        };
        Options {
            fit: fit.to_owned(),
            conv2d_norm: !self.no_conv2d_norm,
            tolerance: self.tolerance,
            inverse: self.inverse,
            xmax: if let Some(XmaxArg::LeaveOut(count)) = self.xmax { count } else { 0 },
            force_xmax: self.xmax == Some(XmaxArg::Force),
            fix_fingers: fix_fingers.to_owned(),
            max_fingers: self.max_fingers,
            finger_thresh: self.finger_thresh,
            xmin_max: self.xmin_max,
            detx: self.detx,
            mp_fit: self.mp_fit,
            randomize: self.randomize,
            seed: self.seed,
            vectors: self.vectors,
            stacked: self.stacked,
            deltas: self.deltas,
            curves: self.curves,
            trust: self.trust,
            draws: self.draws,
            errors: self.errors,
            farms: self.farms,
            ..self.combining.apply(options)
        }
    }
}

impl CombiningArgs {
    /// `options` with these in place.
    pub fn apply(&self, options: Options) -> Options {
        let peft = match self.peft {
            None => Peft::No,
            Some(PeftArg::Only) => Peft::Only,
            Some(PeftArg::WithBase) => Peft::WithBase,
        };
        Options { intra: self.intra, sparsify: self.sparsify, peft, lora_alpha: self.lora_alpha, ..options }
    }
}
