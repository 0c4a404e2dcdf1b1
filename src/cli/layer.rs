//! `heavytail layer`: everything about one layer at one level.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::arguments::{LayerArgs, PlainFormatArg};
use super::describe::table;
use super::source::Source;
use super::{Failure, print};
use crate::analysis::{Detail, LayerDetail, Limits};
use crate::progress::Cancellation;
use crate::report::{Cell, LayerRow};

pub(super) fn run(arguments: &LayerArgs) -> Result<ExitCode, Failure> {
    let mut source = Source::open(Some(&arguments.model))?;
    let limits = Limits { threads: 1, memory: u64::MAX, hard_limit: u64::MAX };
    let cancellation = Cancellation::default();
    let detail =
        Detail::new(&source.model, &arguments.options(), &arguments.name, &arguments.level, limits, cancellation)?;
    let bytes = source.read(detail.source())?;
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
    for name in columns.iter().flat_map(BTreeMap::keys).collect::<std::collections::BTreeSet<_>>() {
        let each = columns.iter().map(|cells| cells.get(name).map_or_else(String::new, Cell::to_text));
        view.add_row(std::iter::once(name.clone()).chain(each));
    }
    text + &format!("{view}\n")
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
