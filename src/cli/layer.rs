//! `heavytail layer`: everything about one layer at one level.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use super::arguments::{LayerArgs, PlainFormatArg};
use super::describe::table;
use super::source::{Source, read_all, with_adapter};
use super::{Failure, print};
use crate::analysis::{Detail, LayerDetail, Limits};
use crate::progress::Cancellation;
use crate::report::{Cell, LayerRow};

pub(super) fn run(arguments: &LayerArgs) -> Result<ExitCode, Failure> {
    let mut source = Source::open(Some(&arguments.model))?;
    let mut base = arguments.combining.base_model.as_deref().map(|path| Source::open(Some(path))).transpose()?;
    let limits = Limits { threads: 1, memory: u64::MAX, hard_limit: u64::MAX };
    let cancellation = Cancellation::default();
    let options = with_adapter(arguments.options(), &arguments.model)?;
    let models = (&source.model, base.as_ref().map(|base| &base.model));
    let detail = Detail::new(models, &options, &arguments.name, &arguments.level, limits, cancellation)?;
    let bytes = read_all(&mut source, base.as_mut(), &detail.sources())?;
    let detail = detail.run(bytes)?;
    print(&match arguments.format {
        PlainFormatArg::Json => serde_json::to_string(&detail).unwrap_or_default() + "\n",
        PlainFormatArg::Table => text(&detail),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The rows turned on their side: a line a column.
fn text(detail: &LayerDetail) -> String {
    let mut text = detail.layer.name.escape_debug().to_string() + "\n";
    for row in detail.rows.iter().filter(|row| row.reason.is_some()) {
        text += &format!("{}: {}\n", row.quantization, row.reason.as_deref().unwrap_or_default());
    }
    let columns: Vec<BTreeMap<String, Cell>> = detail.rows.iter().map(cells).collect();
    let mut headings = vec![""];
    headings.extend(detail.rows.iter().map(|row| row.quantization.as_str()));
    let mut view = table(&headings);
    let names: BTreeSet<&str> = columns.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let first = FIRST.into_iter().filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !FIRST.contains(name));
    for name in first.chain(rest) {
        let each = columns.iter().map(|cells| cells.get(name).map_or_else(String::new, shown));
        view.add_row(std::iter::once(name.to_owned()).chain(each));
    }
    text + &format!("{view}\n")
}

/// What is looked at first; the others follow by name.
const FIRST: [&str; 8] =
    ["alpha", "sigma", "D", "num_pl_spikes", "xmin", "relative_error", "sqnr_db", "bits_per_weight"];

/// For people: names from files without control characters, five significant digits. JSON has all of them.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.escape_debug().to_string(),
        Cell::Number(number) => match number.0 {
            Some(value) if value.is_finite() && value.fract() != 0.0 => significant(value),
            _ => cell.to_text(),
        },
    }
}

/// Five significant digits, with an exponent where zeros would be many.
fn significant(value: f64) -> String {
    const DIGITS: i32 = 5;
    let text = format!("{value:.4e}");
    let exponent: i32 = text.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if !(-4..DIGITS).contains(&exponent) {
        return text;
    }
    let decimals = (DIGITS - 1 - exponent) as usize;
    format!("{value:.decimals$}")
}

fn cells(row: &LayerRow) -> BTreeMap<String, Cell> {
    let fixed = [
        ("alpha", row.alpha),
        ("sigma", row.sigma),
        ("D", row.ks_distance),
        ("xmin", row.xmin),
        ("xmax", row.xmax),
        ("num_pl_spikes", row.num_pl_spikes),
        ("log_spectral_norm", row.log_spectral_norm),
        ("stable_rank", row.stable_rank),
        ("relative_error", row.relative_error),
        ("sqnr_db", row.sqnr_db),
        ("cosine", row.cosine),
        ("nonzero_fraction", row.nonzero_fraction),
        ("bits_per_weight", row.bits_per_weight),
    ];
    let mut cells = row.measures.clone();
    cells.extend(fixed.into_iter().map(|(name, value)| (name.to_owned(), Cell::Number(value))));
    cells.insert("num_evals".to_owned(), (row.num_evals as f64).into());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_digits_are_shown() {
        for (value, text) in [
            (4.123_456, "4.1235"),
            (-0.000_123_456_7, "-0.00012346"),
            (0.000_012_345, "1.2345e-5"),
            (12_345.678, "12346"),
            (123_456.78, "1.2346e5"),
            (9.999_999, "10.000"),
        ] {
            assert_eq!(significant(value), text);
        }
        assert_eq!(shown(&Cell::from(576.0)), "576");
        assert_eq!(shown(&Cell::from(None)), "");
    }
}
