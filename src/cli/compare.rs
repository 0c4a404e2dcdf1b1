//! `heavytail compare`: a model against a quantized form of it.

use std::process::ExitCode;
use std::time::Duration;

use super::analyze::{ProgressView, cancellation, thread_pool};
use super::arguments::{Compare, RowsFormatArg};
use super::describe::table;
use super::source::Source;
use super::{Failure, print, say};
use crate::analysis::{Limits, Next, PairRun, Side};
use crate::progress::Cancellation;
use crate::report::{Number, PairReport, PairTotals, RunStatus, Unmatched, pairs_csv, pairs_json};

pub(super) fn run(arguments: &Compare) -> Result<ExitCode, Failure> {
    let mut original = Source::open(Some(&arguments.original))?;
    let mut quantized = Source::open(Some(&arguments.quantized))?;
    let cancellation = cancellation()?;
    let report = compare(arguments, &mut original, &mut quantized, &cancellation)?;
    match arguments.format {
        RowsFormatArg::Table => print(&summary(&report, arguments))?,
        RowsFormatArg::Csv => print(&pairs_csv(&report.pairs))?,
        RowsFormatArg::Json => print(&pairs_json(&report))?,
    }
    if report.status == RunStatus::Cancelled {
        let finished = report.pairs.len();
        say(&format!("heavytail: cancelled; the results hold the {finished} weights that were finished"));
        // Weights in flight would hold the process up until they are through.
        std::process::exit(130);
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(
    arguments: &Compare,
    original: &mut Source,
    quantized: &mut Source,
    cancellation: &Cancellation,
) -> Result<PairReport, Failure> {
    /// How long a finished weight or Ctrl-C may go unnoticed.
    const LOOK: Duration = Duration::from_millis(50);
    /// Room for many small weights; a larger one runs alone.
    const ROOM: u64 = 500_000_000;
    let (threads, pool) = thread_pool(arguments.running.threads)?;
    let limit = arguments.running.memory.map(|mb| mb * 1_000_000);
    let limits = Limits { threads, memory: limit.unwrap_or(ROOM), hard_limit: limit.unwrap_or(u64::MAX) };
    let (first, second) = (original.model.clone(), quantized.model.clone());
    let mut run = PairRun::new(first, second, arguments.selection.options(), limits, cancellation.clone())?;
    let bar = ProgressView::new(arguments.running.quiet);
    let status = loop {
        if cancellation.is_cancelled() {
            break RunStatus::Cancelled;
        }
        match run.next_step() {
            Next::Read(pair) => {
                let mut bytes = Vec::new();
                let read = run.parts(pair).into_iter().try_for_each(|(side, part)| match side {
                    Side::First => original.read_part(part, &mut bytes),
                    Side::Second => quantized.read_part(part, &mut bytes),
                });
                match read {
                    Ok(()) => pool.spawn(run.task(pair, bytes)),
                    Err(failure) => run.fail(pair, &failure.to_string()),
                }
            }
            Next::Wait => bar.show(run.take_finished(LOOK)),
            Next::Done => break RunStatus::Complete,
        }
    };
    run.take_finished(Duration::ZERO);
    bar.finish();
    Ok(run.report(status))
}

fn summary(report: &PairReport, arguments: &Compare) -> String {
    let mut view =
        table(&["Weight", "Scheme", "Bits", "Rel. error", "SQNR dB", "Alpha", "Change", "Spectrum", "Notes"]);
    let fixed = |value: Number, digits: usize| value.0.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
    for row in report.pairs.iter().take(arguments.rows) {
        let notes = [Some(row.layout.clone()).filter(|layout| !layout.is_empty()), row.reason.clone()];
        view.add_row([
            row.name.escape_debug().to_string(),
            row.scheme.clone(),
            fixed(row.bits_per_weight, 3),
            fixed(row.relative_error, 5),
            fixed(row.sqnr_db, 2),
            fixed(row.alpha, 3),
            fixed(row.alpha_change, 3),
            fixed(row.log_spectrum_distance, 4),
            notes.into_iter().flatten().collect::<Vec<_>>().join("; ").escape_debug().to_string(),
        ]);
    }
    let PairTotals { pairs, relative_error, sqnr_db, original_bits_per_weight, bits_per_weight, .. } = report.totals;
    let mut text = format!(
        "{pairs} weights of {} and {}, the worst first\n{view}\n",
        files(&report.original.files),
        files(&report.quantized.files)
    );
    text += &format!(
        "all: relative error {}, SQNR {} dB, {} bits a weight (the original {}), mean change of alpha {}, of its magnitude {}\n",
        fixed(relative_error, 5),
        fixed(sqnr_db, 2),
        fixed(bits_per_weight, 4),
        fixed(original_bits_per_weight, 4),
        fixed(report.totals.alpha_change_mean, 4),
        fixed(report.totals.alpha_abs_change_mean, 4)
    );
    for (list, which) in [(&report.only_original, "original"), (&report.only_quantized, "quantized")] {
        text += &unmatched(list, which);
    }
    if !arguments.running.quiet {
        for note in &report.notes {
            text += &format!("- {note}\n");
        }
    }
    text
}

fn files(files: &[crate::format::ModelFile]) -> String {
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    files.first().map_or_else(String::new, |file| file.name.escape_debug().to_string()) + &more
}

fn unmatched(list: &[Unmatched], which: &str) -> String {
    const SHOWN: usize = 10;
    if list.is_empty() {
        return String::new();
    }
    let mut text = format!("{} weights only in the {which} model:\n", list.len());
    for weight in list.iter().take(SHOWN) {
        text += &format!("  {}: {}\n", weight.name.escape_debug(), weight.reason);
    }
    if list.len() > SHOWN {
        text += &format!("  and {} more (--format json has all)\n", list.len() - SHOWN);
    }
    text
}
