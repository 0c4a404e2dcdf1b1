//! Tables as CSV.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::distances::DistanceRow;
use super::measures::{Cell, Measures};
use super::number::Number;
use super::rows::{ComparisonRow, LayerInfo, LayerRow};

/// A column: its name and how to read its cell.
pub(super) type Column<Row> = (&'static str, fn(&Row) -> String);

/// `details.csv`: a row per level and layer; the level, `WeightWatcher`'s columns in its order, then ours.
const DETAILS: &[Column<LayerRow>] = &[
    ("quantization", |r| r.quantization.clone()),
    ("layer_id", |r| text(r.layer_id)),
    ("name", |r| r.name.clone()),
    ("D", |r| r.ks_distance.to_text()),
    ("M", |r| text(r.m)),
    ("N", |r| text(r.n)),
    ("Q", |r| Number::from(r.q).to_text()),
    ("alpha", |r| r.alpha.to_text()),
    ("alpha_weighted", |r| r.alpha_weighted.to_text()),
    ("entropy", |r| r.entropy.to_text()),
    ("has_esd", |r| truth(r.has_esd)),
    ("lambda_max", |r| r.lambda_max.to_text()),
    ("layer_type", |r| r.layer_type.clone()),
    ("log_alpha_norm", |r| r.log_alpha_norm.to_text()),
    ("log_norm", |r| r.log_norm.to_text()),
    ("log_spectral_norm", |r| r.log_spectral_norm.to_text()),
    ("longname", |r| r.longname.clone()),
    ("matrix_rank", |r| count(r.matrix_rank)),
    ("norm", |r| r.norm.to_text()),
    ("num_evals", |r| text(r.num_evals)),
    ("num_pl_spikes", |r| count(r.num_pl_spikes)),
    ("rank_loss", |r| count(r.rank_loss)),
    ("rf", |r| text(r.rf)),
    ("sigma", |r| r.sigma.to_text()),
    ("spectral_norm", |r| r.spectral_norm.to_text()),
    ("stable_rank", |r| r.stable_rank.to_text()),
    ("status", |r| text(r.status.as_str())),
    ("sv_max", |r| r.sv_max.to_text()),
    ("sv_min", |r| r.sv_min.to_text()),
    ("warning", |r| r.warning.clone()),
    ("weak_rank_loss", |r| count(r.weak_rank_loss)),
    ("xmax", |r| r.xmax.to_text()),
    ("xmin", |r| r.xmin.to_text()),
    ("reason", |r| r.reason.clone().unwrap_or_default()),
    ("counted", |r| truth(r.counted)),
    ("quantized", |r| truth(r.quantized)),
    ("dtype", |r| r.dtype.clone()),
    ("shape", |r| shape(&r.shape)),
    ("bits_per_weight", |r| r.bits_per_weight.to_text()),
    ("nonzero_fraction", |r| r.nonzero_fraction.to_text()),
    ("relative_error", |r| r.relative_error.to_text()),
    ("sqnr_db", |r| r.sqnr_db.to_text()),
    ("cosine", |r| r.cosine.to_text()),
    ("scheme_used", |r| r.scheme_used.clone().unwrap_or_default()),
];

/// `quantization_comparison.csv`: the study's columns, then ours.
const COMPARISON: &[Column<ComparisonRow>] = &[
    ("quantization", |r| r.quantization.clone()),
    ("num_layers", |r| text(r.num_layers)),
    ("alpha_mean", |r| r.alpha_mean.to_text()),
    ("alpha_std", |r| r.alpha_std.to_text()),
    ("alpha_min", |r| r.alpha_min.to_text()),
    ("alpha_max", |r| r.alpha_max.to_text()),
    ("alpha_median", |r| r.alpha_median.to_text()),
    ("layers_below_2", |r| text(r.layers_below_2)),
    ("layers_above_6", |r| text(r.layers_above_6)),
    ("layers_optimal", |r| text(r.layers_optimal)),
    ("alpha_hat", |r| r.alpha_hat.to_text()),
    ("log_norm_mean", |r| r.log_norm_mean.to_text()),
    ("label", |r| r.label.clone()),
    ("relative_error_mean", |r| r.relative_error_mean.to_text()),
    ("sqnr_db_mean", |r| r.sqnr_db_mean.to_text()),
    ("nonzero_fraction_mean", |r| r.nonzero_fraction_mean.to_text()),
    ("bits_per_weight_mean", |r| r.bits_per_weight_mean.to_text()),
    ("failed", |r| text(r.failed)),
    ("alpha_change_percent", |r| r.alpha_change_percent.to_text()),
    ("alpha_abs_change_mean", |r| r.alpha_abs_change_mean.to_text()),
    ("pearson", |r| r.pearson.to_text()),
    ("spearman", |r| r.spearman.to_text()),
];

/// What is known of a layer from the header: the columns of `WeightWatcher`'s `describe()`, then ours.
const LAYERS: &[Column<LayerInfo>] = &[
    ("layer_id", |r| text(r.layer_id)),
    ("name", |r| r.name.clone()),
    ("M", |r| text(r.m)),
    ("N", |r| text(r.n)),
    ("Q", |r| Number::from(r.q).to_text()),
    ("layer_type", |r| r.layer_type.clone()),
    ("longname", |r| r.name.clone()),
    ("num_evals", |r| text(r.num_evals)),
    ("rf", |r| text(r.rf)),
    ("dtype", |r| r.dtype.clone()),
    ("shape", |r| shape(&r.shape)),
    ("counted", |r| truth(r.counted)),
];

/// The layers as `describe` lists them.
pub fn layers_csv(layers: &[LayerInfo]) -> String {
    table_of(LAYERS, layers)
}

/// A table without columns beyond the fixed ones.
pub(super) fn table_of<Row>(columns: &[Column<Row>], rows: &[Row]) -> String {
    const NONE: &Measures = &Measures::new();
    write(columns, |_| NONE, rows)
}

/// Distances: the tool's columns in its order, then ours.
const DISTANCES: &[Column<DistanceRow>] = &[
    ("method", |r| r.method.clone()),
    ("layer_id", |r| text(r.layer_id)),
    ("name", |r| r.name.clone()),
    ("delta_W", |r| r.delta_w.to_text()),
    ("delta_b", |r| r.delta_b.to_text()),
    ("M", |r| text(r.m)),
    ("N", |r| text(r.n)),
    ("b_shape", |r| r.b_shape.map_or_else(String::new, text)),
    ("longname", |r| r.longname.clone()),
    ("slice_id", |r| r.slice_id.map_or_else(String::new, text)),
    ("reason", |r| r.reason.clone().unwrap_or_default()),
];

/// The rows of `heavytail distances`.
pub fn distances_csv(rows: &[DistanceRow]) -> String {
    table_of(DISTANCES, rows)
}

/// The rows as `details.csv`.
pub fn details_csv<'a>(rows: impl IntoIterator<Item = &'a LayerRow>) -> String {
    write(DETAILS, |row| &row.measures, rows)
}

/// The rows as `quantization_comparison.csv`.
pub fn comparison_csv(rows: &[ComparisonRow]) -> String {
    write(COMPARISON, |row| &row.measures, rows)
}

/// The fixed columns, then those that any row has beyond them.
fn write<'a, Row: 'a>(
    columns: &[Column<Row>],
    measures: fn(&Row) -> &Measures,
    rows: impl IntoIterator<Item = &'a Row>,
) -> String {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let extra: BTreeSet<&str> = rows.iter().flat_map(|row| measures(row).keys()).map(String::as_str).collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    // Writing into memory fails only for records of unequal length, which one list of columns can't make.
    let mut record = |cells: Vec<String>| writer.write_record(cells.into_iter().map(harmless)).is_ok();
    let names = columns.iter().map(|(name, _)| *name).chain(extra.iter().copied());
    let mut complete = record(names.map(str::to_owned).collect());
    for row in rows {
        let fixed = columns.iter().map(|(_, cell)| cell(row));
        let added = extra.iter().map(|name| measures(row).get(*name).map_or_else(String::new, Cell::to_text));
        complete &= record(fixed.chain(added).collect());
    }
    debug_assert!(complete, "records of equal length");
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// A cell that does nothing where it is opened: names come from files of others. Control characters, which a terminal obeys, are
/// escaped (`\u{1b}`, `\n`); a text that a spreadsheet takes for a formula gets a `'` in front. A number stays as it is.
///
/// # Source
/// OWASP, CSV Injection: the first characters, full-width ones among them; tabs and returns are escaped here.
pub fn harmless(cell: String) -> String {
    const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    let is_formula = cell.starts_with(FORMULA) && cell.parse::<f64>().is_err();
    if !is_formula && !cell.contains(char::is_control) {
        return cell;
    }
    let mut text = String::from(if is_formula { "'" } else { "" });
    for c in cell.chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

pub(super) fn text(value: impl Display) -> String {
    value.to_string()
}

pub(super) fn shape(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

fn truth(value: bool) -> String {
    // As pandas writes it.
    if value { "True" } else { "False" }.to_owned()
}

/// A whole number, which JavaScript and optional values carry as a float.
fn count(value: Number) -> String {
    value.0.map_or_else(String::new, |v| format!("{v:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_floats_round_trip() {
        let columns: &[Column<(f64, &str, Measures)>] =
            &[("x", |r| Number::from(r.0).to_text()), ("a,\"b\"", |r| r.1.to_owned())];
        let csv = write(columns, |r| &r.2, &[(0.1 + 0.2, "q\"uo,te", Measures::new()), (1e300, "", Measures::new())]);
        assert_eq!(csv, "x,\"a,\"\"b\"\"\"\n0.30000000000000004,\"q\"\"uo,te\"\n1e300,\n");
        let more = Measures::from([("detX_num".to_owned(), 3.0.into())]);
        let csv = write(columns, |r| &r.2, &[(1.0, "", Measures::new()), (2.0, "", more)]);
        assert_eq!(csv, "x,\"a,\"\"b\"\"\",detX_num\n1.0,,\n2.0,,3\n");
    }

    #[test]
    fn a_cell_is_neither_a_formula_nor_a_command_and_numbers_stay() {
        for (cell, safe) in [
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+a", "'+a"),
            ("-a", "'-a"),
            ("@a", "'@a"),
            ("-1+1", "'-1+1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("=\u{1b}[31m", "'=\\u{1b}[31m"),
            ("\t=1", "\\t=1"),
            ("\r=1", "\\r=1"),
            ("a\u{9b}b", "a\\u{9b}b"),
            ("-1.5", "-1.5"),
            ("-1e-300", "-1e-300"),
            ("-inf", "-inf"),
            ("-0.0", "-0.0"),
            ("a.b=c-d", "a.b=c-d"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell.to_owned()), safe);
        }
    }
}
