//! Distances between two models, under `WeightWatcher`'s names.

use serde::{Deserialize, Serialize};

use super::number::Number;
use super::rows::Skipped;

/// The distance of one layer, or of one slice of it, from the same layer of another model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistanceRow {
    /// `raw`, `euclidean` or `cka`.
    pub method: String,
    /// See [`super::LayerInfo::layer_id`], of the first model.
    pub layer_id: u64,
    /// The kernel position, where each is a row.
    pub slice_id: Option<u64>,
    /// Name of the tensor without `.weight`.
    pub name: String,
    /// The distance of the weights; for `cka` their alignment.
    #[serde(rename = "delta_W")]
    pub delta_w: Number,
    /// The distance of the biases.
    pub delta_b: Number,
    /// Shorter side.
    #[serde(rename = "M")]
    pub m: u64,
    /// Longer side.
    #[serde(rename = "N")]
    pub n: u64,
    /// Length of the biases, if there are any.
    pub b_shape: Option<u64>,
    /// The same as `name`.
    pub longname: String,
    /// Why there is no distance.
    pub reason: Option<String>,
}

/// The report as JSON.
pub fn distances_json(report: &DistanceReport) -> String {
    super::json::pretty(report)
}

/// Distances of all layers that two models have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistanceReport {
    /// Always `heavytail.distances`.
    pub schema: String,
    /// Version of the schema.
    pub schema_version: u32,
    /// `raw`, `euclidean` or `cka`.
    pub method: String,
    /// Mean of `delta_W` over the rows that have one.
    #[serde(rename = "delta_W")]
    pub delta_w: Number,
    /// Mean of `delta_b` over the rows that have one.
    pub delta_b: Number,
    /// In the order of the first model's tables.
    pub rows: Vec<DistanceRow>,
    /// Layers of either model that are not compared, and why.
    pub unmatched: Vec<Skipped>,
}
