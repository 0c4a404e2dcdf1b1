//! Two models side by side: a weight a row.

use super::csv::{Column, shape, table_of};
use super::number::Number;
use super::rows::{ModelInfo, RunStatus};

/// One weight in both models.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairRow {
    /// Its name in the original.
    pub name: String,
    /// Its name in the other model.
    pub quantized_name: String,
    /// Its shape in the original, or the part of it that is compared.
    pub shape: Vec<u64>,
    /// How the original is stored.
    pub original_scheme: String,
    /// How the other is stored: what it was quantized with.
    pub scheme: String,
    /// How the other is laid out, if not as the original is.
    pub layout: String,
    /// Bits a weight takes in the original.
    pub original_bits_per_weight: Number,
    /// Bits a weight takes in the other, scales included.
    pub bits_per_weight: Number,
    /// `||W' - W|| / ||W||`.
    pub relative_error: Number,
    /// The same in decibels.
    pub sqnr_db: Number,
    /// Largest `|W' - W|`, in units of the largest `|W|`.
    pub max_error_share: Number,
    /// Share of weights that are not zero in the other.
    pub nonzero_fraction: Number,
    /// `||W||^2`.
    pub squared_norm: Number,
    /// Power-law exponent of the original.
    pub original_alpha: Number,
    /// Power-law exponent of the other.
    pub alpha: Number,
    /// Their difference.
    pub alpha_change: Number,
    /// Largest eigenvalue of the other, by that of the original.
    pub lambda_max_ratio: Number,
    /// By how many decades an eigenvalue moves on average: the Wasserstein distance of their logarithms.
    pub log_spectrum_distance: Number,
    /// Why something is missing.
    pub reason: Option<String>,
}

/// A weight without a partner.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// How it is stored.
    pub scheme: String,
    /// Why it has none.
    pub reason: String,
}

/// All weights together.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct PairTotals {
    /// Weights compared.
    pub pairs: u64,
    /// `||W' - W|| / ||W||` over all of them.
    pub relative_error: Number,
    /// The same in decibels.
    pub sqnr_db: Number,
    /// Bits a weight takes in the original.
    pub original_bits_per_weight: Number,
    /// Bits a weight takes in the other.
    pub bits_per_weight: Number,
    /// Mean difference of alphas, signed, where both have one.
    pub alpha_change_mean: Number,
    /// Mean magnitude of these differences.
    pub alpha_abs_change_mean: Number,
}

/// Two models side by side.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairReport {
    /// `heavytail.pairs`.
    pub schema: String,
    /// 1.
    pub schema_version: u32,
    /// Whether all weights are there.
    pub status: RunStatus,
    /// The first model.
    pub original: ModelInfo,
    /// The second.
    pub quantized: ModelInfo,
    /// All weights together.
    pub totals: PairTotals,
    /// The worst first: the largest relative error.
    pub pairs: Vec<PairRow>,
    /// Weights that only the original has.
    pub only_original: Vec<Unmatched>,
    /// Weights that only the other has.
    pub only_quantized: Vec<Unmatched>,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
}

const COLUMNS: &[Column<PairRow>] = &[
    ("name", |r| r.name.clone()),
    ("quantized_name", |r| r.quantized_name.clone()),
    ("shape", |r| shape(&r.shape)),
    ("original_scheme", |r| r.original_scheme.clone()),
    ("scheme", |r| r.scheme.clone()),
    ("layout", |r| r.layout.clone()),
    ("original_bits_per_weight", |r| r.original_bits_per_weight.to_text()),
    ("bits_per_weight", |r| r.bits_per_weight.to_text()),
    ("relative_error", |r| r.relative_error.to_text()),
    ("sqnr_db", |r| r.sqnr_db.to_text()),
    ("max_error_share", |r| r.max_error_share.to_text()),
    ("nonzero_fraction", |r| r.nonzero_fraction.to_text()),
    ("squared_norm", |r| r.squared_norm.to_text()),
    ("original_alpha", |r| r.original_alpha.to_text()),
    ("alpha", |r| r.alpha.to_text()),
    ("alpha_change", |r| r.alpha_change.to_text()),
    ("lambda_max_ratio", |r| r.lambda_max_ratio.to_text()),
    ("log_spectrum_distance", |r| r.log_spectrum_distance.to_text()),
    ("reason", |r| r.reason.clone().unwrap_or_default()),
];

/// The pairs as CSV, the worst first.
pub fn pairs_csv(rows: &[PairRow]) -> String {
    table_of(COLUMNS, rows)
}

/// The report as JSON.
pub fn pairs_json(report: &PairReport) -> String {
    super::json::pretty(report)
}
