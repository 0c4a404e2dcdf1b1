//! `heavytail describe`: what the header says.

use std::process::ExitCode;

use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, Table, Width, presets};

use super::arguments::{Describe, RowsFormatArg};
use super::source::Source;
use super::{Failure, print};
use crate::analysis::describe;
use crate::report::{Head, layers_csv};

pub(super) fn run(arguments: &Describe) -> Result<ExitCode, Failure> {
    let source = Source::open(arguments.model.as_deref())?;
    let head = describe(&source.model, &arguments.selection.options())?;
    let text = match arguments.format {
        RowsFormatArg::Json => serde_json::to_string_pretty(&head).unwrap_or_default() + "\n",
        RowsFormatArg::Table => tables(&head),
        RowsFormatArg::Csv => layers_csv(&head.layers),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn tables(head: &Head) -> String {
    let model = &head.model;
    let files: Vec<String> = model.files.iter().map(|file| file.name.escape_debug().to_string()).collect();
    let mut text = format!(
        "{}: {} tensors, {} parameters, {} bytes\n\n",
        files.join(", "),
        model.tensors,
        model.parameters,
        model.bytes
    );
    let mut layers = table(&["id", "Layer", "Type", "dtype", "Shape", "N", "M", "Q", "rf", "Eigenvalues", "Quantized"]);
    for l in &head.layers {
        layers.add_row([
            l.layer_id.to_string(),
            clean(&l.name),
            l.layer_type.clone(),
            l.dtype.clone(),
            shape(&l.shape),
            l.n.to_string(),
            l.m.to_string(),
            format!("{:.3}", l.q),
            l.rf.to_string(),
            l.num_evals.to_string(),
            if l.counted { "yes" } else { "no (embedding)" }.to_owned(),
        ]);
    }
    text += &format!("{} layers to analyse\n{layers}\n", head.layers.len());
    if !head.skipped.is_empty() {
        let mut skipped = table(&["Skipped tensor", "dtype", "Shape", "Why"]);
        for s in &head.skipped {
            skipped.add_row([clean(&s.name), s.dtype.clone(), shape(&s.shape), s.reason.clone()]);
        }
        text += &format!("\n{} tensors left out\n{skipped}\n", head.skipped.len());
    }
    text
}

/// A terminal that says it is narrower does not know its width.
const LEAST_WIDTH: u16 = 20;

/// A table with a line below its headings only: on a terminal arranged to its width, elsewhere as wide as its content.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    let arrangement = match table.width() {
        Some(width) if width >= LEAST_WIDTH => ContentArrangement::Dynamic,
        _ => ContentArrangement::Disabled,
    };
    table
        .load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')))
        .set_content_arrangement(arrangement)
        .set_header(headings);
    table
}

/// A [`table`] in which names, in the first column, and words stay whole: on a terminal that is too narrow for all columns without
/// the least important of them, one after another. The last column gets at least `last_share` percent of the terminal.
pub(super) fn narrowed(headings: &[&str], rows: &[Vec<String>], least_important: &[&str], last_share: u16) -> Table {
    let length = |text: &str| text.chars().count();
    let without = |left_out: &[&str]| {
        let kept: Vec<usize> = (0..headings.len()).filter(|column| !left_out.contains(&headings[*column])).collect();
        let mut view = table(&kept.iter().map(|column| headings[*column]).collect::<Vec<_>>());
        for row in rows {
            view.add_row(kept.iter().map(|column| &row[*column]));
        }
        for (place, column) in kept.into_iter().enumerate() {
            let names = rows.iter().map(|row| &row[column]).filter(|_| place == 0).map(|name| length(name));
            let words =
                rows.iter().flat_map(|row| row[column].split(' ')).chain(headings[column].split(' ')).map(length);
            let width = names.chain(words).max().unwrap_or(0).min(usize::from(u16::MAX) - 2) as u16;
            let share = if column + 1 == headings.len() { u32::from(last_share) } else { 0 };
            let share = (u32::from(view.width().unwrap_or(0)) * share / 100) as u16;
            if let Some(column) = view.column_mut(place) {
                let width = (width + column.padding_width()).max(share);
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        view
    };
    let is_narrow = |view: &Table| {
        let widest = view.lines().map(|line| length(line.trim_end())).max().unwrap_or(0);
        view.width().is_none_or(|width| width < LEAST_WIDTH || widest <= width.into())
    };
    let few = (0..least_important.len()).map(|count| without(&least_important[..count])).find(is_narrow);
    few.unwrap_or_else(|| without(least_important))
}

/// Names come from the file: no control characters on the terminal.
pub(super) fn clean(name: &str) -> String {
    name.escape_debug().to_string()
}

pub(super) fn shape(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}
