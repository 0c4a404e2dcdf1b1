//! `heavytail distances`: how far two models are apart, layer by layer.

use std::process::ExitCode;
use std::time::Duration;

use super::arguments::{DistanceArg, Distances as Arguments, RowsFormatArg};
use super::describe::{clean, shape, table};
use super::source::Source;
use super::{Failure, print};
use crate::analysis::{DistanceMethod, DistanceRun, Distances, Limits, Next, Side};
use crate::progress::Cancellation;
use crate::report::{DistanceReport, Number, distances_csv, distances_json};

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut first = Source::open(Some(&arguments.first))?;
    let mut second = Source::open(Some(&arguments.second))?;
    let method = match arguments.method {
        DistanceArg::Raw => DistanceMethod::Raw,
        DistanceArg::Euclidean => DistanceMethod::Euclidean,
        DistanceArg::Cka => DistanceMethod::Cka,
    };
    let options = arguments.selection.options();
    let distances = Distances::new(first.model.clone(), second.model.clone(), method, options)?;
    let limits = Limits { threads: 1, memory: 0, hard_limit: u64::MAX };
    let mut run = DistanceRun::new(distances, limits, Cancellation::default());
    loop {
        match run.next_step() {
            Next::Read(pair) => {
                let mut bytes = Vec::new();
                for (side, part) in run.parts(pair) {
                    let source = if side == Side::Second { &mut second } else { &mut first };
                    source.read_part(part, &mut bytes)?;
                }
                run.task(pair, bytes)();
            }
            Next::Wait => drop(run.take_finished(Duration::ZERO)),
            Next::Done => break,
        }
    }
    let report = run.report();
    print(&match arguments.format {
        RowsFormatArg::Table => tables(&report),
        RowsFormatArg::Csv => distances_csv(&report.rows),
        RowsFormatArg::Json => distances_json(&report),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn tables(report: &DistanceReport) -> String {
    let fixed = |value: Number| value.0.map_or_else(|| "-".to_owned(), |v| format!("{v:.6}"));
    let mut view = table(&["id", "Layer", "N", "M", "delta_W", "delta_b", "Why not"]);
    for row in &report.rows {
        let slice = row.slice_id.map_or_else(String::new, |slice| format!(" [{slice}]"));
        view.add_row([
            row.layer_id.to_string(),
            clean(&row.name) + &slice,
            row.n.to_string(),
            row.m.to_string(),
            fixed(row.delta_w),
            fixed(row.delta_b),
            row.reason.clone().unwrap_or_default(),
        ]);
    }
    let (weights, biases) = (fixed(report.delta_w), fixed(report.delta_b));
    let mut text = format!("{view}\n{}: mean delta_W {weights}, mean delta_b {biases}\n", report.method);
    if !report.unmatched.is_empty() {
        let mut view = table(&["Not compared", "Shape", "Why"]);
        for tensor in &report.unmatched {
            view.add_row([clean(&tensor.name), shape(&tensor.shape), tensor.reason.clone()]);
        }
        text += &format!("\n{view}\n");
    }
    text
}
