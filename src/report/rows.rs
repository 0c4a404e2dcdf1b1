//! The report's records. Field names in files are part of the published schema: changing one is a new [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::curves::Curves;
use super::measures::Measures;
use super::number::Number;
use crate::format::ModelFile;
use crate::quant::Arithmetic;
use crate::spectrum::Method;

/// Name of the JSON report's schema.
pub const SCHEMA: &str = "heavytail.report";
/// Version of the JSON report's schema.
pub const SCHEMA_VERSION: u32 = 1;

/// Whether a row's fit delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It did.
    Success,
    /// It did not; the row's `reason` says why.
    Failed,
}

impl Status {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Failed => "failed",
        }
    }
}

/// Whether all layers are in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// They are.
    Complete,
    /// The run was stopped; what was finished is there.
    Cancelled,
}

/// The settings of a run, as they are written into the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Levels, comma-separated, the baseline first.
    pub quantizations: String,
    /// Arithmetic of the naive levels.
    pub dequantize: Arithmetic,
    /// `none`, `weightwatcher` or `seed`.
    pub compat: String,
    /// Where the eigenvalues come from.
    pub spectrum: Method,
    /// Layers asked for, as they were given; empty for all.
    pub layers: String,
    /// Layers with fewer eigenvalues are skipped.
    pub min_evals: u64,
    /// Layers with more eigenvalues are skipped.
    pub max_evals: u64,
    /// Layers whose longer side is longer are skipped.
    #[serde(rename = "max_N")]
    pub max_n: u64,
    /// All other options that are not at their defaults, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, String>,
}

/// What the files say of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The files, by name.
    pub files: Vec<ModelFile>,
    /// File format.
    pub format: String,
    /// Number of tensors.
    pub tensors: u64,
    /// Number of values in all tensors.
    pub parameters: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A level of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelInfo {
    /// Its name, as in the column `quantization`.
    pub name: String,
    /// Its name for people; the baseline's tells the stored dtypes.
    pub label: String,
}

/// A tensor that is analysed, before the analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// `WeightWatcher`'s id for a directory: the index among all tensors named `*.weight`.
    pub layer_id: u64,
    /// Name of the tensor without `.weight`.
    pub name: String,
    /// `dense` or `conv2d`.
    pub layer_type: String,
    /// Stored dtype.
    pub dtype: String,
    /// Stored shape.
    pub shape: Vec<u64>,
    /// Longer side of the matrix.
    #[serde(rename = "N")]
    pub n: u64,
    /// Shorter side of the matrix.
    #[serde(rename = "M")]
    pub m: u64,
    /// `N / M`.
    #[serde(rename = "Q")]
    pub q: f64,
    /// Number of matrices: the kernel positions of a convolution, else 1.
    pub rf: u64,
    /// Number of eigenvalues of a row: `M * rf`, or `M` where each kernel position is a row.
    pub num_evals: u64,
    /// Whether the layer is quantized and counts in the comparison; embeddings do neither.
    pub counted: bool,
    /// Number of the transformer block, where the name tells it.
    #[serde(default)]
    pub block: Option<u64>,
    /// The part of a block or of the model: `q`, `k`, `v`, `qkv`, `o`, `gate`, `up`, `gate_up`, `down`, `embedding`, `output`;
    /// else the rest of the name. No two layers share block and module.
    #[serde(default)]
    pub module: String,
}

/// A tensor that is not analysed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Full name of the tensor.
    pub name: String,
    /// Stored dtype.
    pub dtype: String,
    /// Stored shape.
    pub shape: Vec<u64>,
    /// Why not.
    pub reason: String,
}

/// All of a report that is known before the first layer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The model.
    pub model: ModelInfo,
    /// The settings.
    pub settings: Settings,
    /// The levels, the baseline first.
    pub levels: Vec<LevelInfo>,
    /// The layers, in the order of the tables.
    pub layers: Vec<LayerInfo>,
    /// The tensors left out.
    pub skipped: Vec<Skipped>,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
}

/// One layer at one level: `WeightWatcher`'s default columns under its names, then ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The level.
    pub quantization: String,
    /// See [`LayerInfo::layer_id`].
    pub layer_id: u64,
    /// Name of the tensor without `.weight`.
    pub name: String,
    /// Kolmogorov-Smirnov distance of the fit.
    #[serde(rename = "D")]
    pub ks_distance: Number,
    /// Shorter side.
    #[serde(rename = "M")]
    pub m: u64,
    /// Longer side.
    #[serde(rename = "N")]
    pub n: u64,
    /// `N / M`.
    #[serde(rename = "Q")]
    pub q: f64,
    /// Power-law exponent.
    pub alpha: Number,
    /// `alpha * log_spectral_norm`.
    pub alpha_weighted: Number,
    /// Normalised entropy of the eigenvalues.
    pub entropy: Number,
    /// Whether there are eigenvalues.
    pub has_esd: bool,
    /// Largest eigenvalue.
    pub lambda_max: Number,
    /// `dense` or `conv2d`.
    pub layer_type: String,
    /// `log10 sum lambda^alpha`.
    pub log_alpha_norm: Number,
    /// `log10` of `norm`.
    pub log_norm: Number,
    /// `log10` of `spectral_norm`.
    pub log_spectral_norm: Number,
    /// The same as `name`.
    pub longname: String,
    /// Numerical rank.
    pub matrix_rank: Number,
    /// Sum of the eigenvalues.
    pub norm: Number,
    /// Number of eigenvalues.
    pub num_evals: u64,
    /// Number of eigenvalues in the tail.
    pub num_pl_spikes: Number,
    /// `num_evals` less the numerical rank.
    pub rank_loss: Number,
    /// Number of matrices in the layer.
    pub rf: u64,
    /// Standard error of alpha.
    pub sigma: Number,
    /// Largest eigenvalue.
    pub spectral_norm: Number,
    /// `norm / spectral_norm`.
    pub stable_rank: Number,
    /// Whether the fit delivered.
    pub status: Status,
    /// Largest singular value.
    pub sv_max: Number,
    /// Smallest singular value.
    pub sv_min: Number,
    /// `over-trained` for an alpha below 2, `under-trained` above 6: `WeightWatcher`'s words.
    pub warning: String,
    /// Number of eigenvalues below 1e-6.
    pub weak_rank_loss: Number,
    /// Largest eigenvalue of the fit.
    pub xmax: Number,
    /// Lower end of the tail.
    pub xmin: Number,

    /// Why there is no fit, or no spectrum.
    pub reason: Option<String>,
    /// Whether the row counts in the comparison (embeddings don't).
    pub counted: bool,
    /// Whether the weights of this row are quantized (not in the baseline, not embeddings).
    pub quantized: bool,
    /// Stored dtype.
    pub dtype: String,
    /// Stored shape.
    pub shape: Vec<u64>,
    /// Bits a weight takes at this level, scales included.
    pub bits_per_weight: Number,
    /// Share of weights that are not zero.
    pub nonzero_fraction: Number,
    /// `||W' - W||_F / ||W||_F`.
    pub relative_error: Number,
    /// Signal-to-quantization-noise ratio in decibels; infinite without any error.
    pub sqnr_db: Number,
    /// Cosine of the angle between the weights before and after, taken as vectors.
    #[serde(default)]
    pub cosine: Number,
    /// The scheme really used: another than the level where the shape does not allow it, or where the level is a file's
    /// recipe. None where nothing is quantized.
    pub scheme_used: Option<String>,
    /// Columns that were asked for, under `WeightWatcher`'s names where it has them.
    #[serde(default, skip_serializing_if = "Measures::is_empty")]
    pub measures: Measures,
    /// Curves, if they were asked for: in JSON only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curves: Option<Curves>,
}

impl LayerRow {
    /// What tells the rows of a level apart: the name, and the slice where kernels are analysed slice by slice.
    pub fn key(&self) -> (&str, u64) {
        (&self.name, self.measures.get("slice_id").and_then(super::measures::Cell::number).unwrap_or(0.0) as u64)
    }
}

/// One level against the baseline: the study's columns, then ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// The level.
    pub quantization: String,
    /// Rows that count.
    pub num_layers: u64,
    /// Mean alpha.
    pub alpha_mean: Number,
    /// Sample standard deviation of alpha.
    pub alpha_std: Number,
    /// Smallest alpha.
    pub alpha_min: Number,
    /// Largest alpha.
    pub alpha_max: Number,
    /// Median alpha.
    pub alpha_median: Number,
    /// Rows with alpha below 2.
    pub layers_below_2: u64,
    /// Rows with alpha above 6.
    pub layers_above_6: u64,
    /// Rows with alpha from 2 to 6, bounds included.
    pub layers_optimal: u64,
    /// Mean of `alpha_weighted`.
    pub alpha_hat: Number,
    /// Mean of `log_norm`.
    pub log_norm_mean: Number,

    /// The level's name for people.
    pub label: String,
    /// Mean relative Frobenius error of the weights.
    pub relative_error_mean: Number,
    /// Mean signal-to-quantization-noise ratio in decibels, over rows where it is finite.
    pub sqnr_db_mean: Number,
    /// Mean share of weights that are not zero.
    pub nonzero_fraction_mean: Number,
    /// Mean bits a weight takes, weighted by the number of weights.
    pub bits_per_weight_mean: Number,
    /// Rows whose fit failed.
    pub failed: u64,
    /// Change of mean alpha against the baseline, in percent, over the layers that have an alpha at both; in compatibility modes
    /// of the two means.
    pub alpha_change_percent: Number,
    /// Mean absolute change of a layer's own alpha.
    pub alpha_abs_change_mean: Number,
    /// Pearson correlation of alphas with the baseline's.
    pub pearson: Number,
    /// Spearman rank correlation of alphas with the baseline's.
    pub spearman: Number,
    /// Columns that were asked for.
    #[serde(default, skip_serializing_if = "Measures::is_empty")]
    pub measures: Measures,
}

/// Means over the rows of a level, embeddings included: what `WeightWatcher`'s `get_summary()` says, its names. A failed fit
/// is left out, or in compatibility mode enters as -1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The level.
    pub quantization: String,
    /// Mean of `log_norm`.
    pub log_norm: Number,
    /// Mean of `alpha`.
    pub alpha: Number,
    /// Mean of `alpha_weighted`: alpha-hat.
    pub alpha_weighted: Number,
    /// Mean of `log_alpha_norm`.
    pub log_alpha_norm: Number,
    /// Mean of `log_spectral_norm`.
    pub log_spectral_norm: Number,
    /// Mean of `stable_rank`.
    pub stable_rank: Number,
    /// Mean of `mp_softrank`, where the Marchenko-Pastur law was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp_softrank: Option<Number>,
}

/// The whole report: what `report.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Version of the program that wrote it.
    pub heavytail_version: String,
    /// Whether all layers are in.
    pub status: RunStatus,
    /// What was known before the first layer.
    #[serde(flatten)]
    pub head: Head,
    /// Levels against the baseline, over the rows that count.
    pub comparison: Vec<ComparisonRow>,
    /// The same over all rows, embeddings included, as `WeightWatcher`'s own summary has it.
    pub comparison_all_rows: Vec<ComparisonRow>,
    /// Means by level over all rows, as `WeightWatcher`'s `get_summary()`.
    #[serde(default)]
    pub summary: Vec<Summary>,
    /// All rows: by level, then in the order of the layers.
    pub rows: Vec<LayerRow>,
}
