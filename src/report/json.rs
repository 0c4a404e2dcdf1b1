//! The report as JSON.

use super::rows::ModelReport;

/// The report as indented JSON with a line break at the end. Floats are the shortest text that reads back as the same
/// number; infinities are texts (see [`super::Number`]).
pub fn report_json(report: &ModelReport) -> String {
    pretty(report)
}

pub(super) fn pretty<T: serde::Serialize>(report: &T) -> String {
    // Serialising plain records into memory can't fail: no map has keys that are not text.
    let mut json = serde_json::to_string_pretty(report).unwrap_or_default();
    json.push('\n');
    json
}
