//! `heavytail analyze`: the whole job.

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::{Analyze, FormatArg};
use super::backend::{self, default_threads};
use super::describe::{narrowed, table};
use super::source::{Source, read_all, with_adapter};
use super::{Failure, print, say};
use crate::analysis::{
    Analysis, Limits, Next, Options, Progress, Score, ScoreCorrelation, Stack, check_scores, correlate,
    correlations_csv, parse_scores,
};
use crate::error::Error;
use crate::progress::Cancellation;
use crate::report::{
    ModelReport, Number, RunStatus, Status, Summary, comparison_cells, comparison_csv, details_csv, report_json,
    report_markdown, verdict,
};
use crate::spectrum::backend::select;

pub(super) fn run(arguments: &Analyze) -> Result<ExitCode, Failure> {
    let source = Source::open(arguments.model.as_deref())?;
    let scores = arguments.scores.as_deref().map(|path| read_scores(path, arguments)).transpose()?;
    let cancellation = cancellation()?;
    let report = analyse(arguments, source, &cancellation)?;
    let correlations = scores.map(|scores| correlate(&report.comparison, &scores));
    let printed = print(&match arguments.format {
        FormatArg::Table => {
            let table = correlations.as_ref().map_or_else(String::new, |rows| correlation_table(rows));
            summary(&report, arguments.running.quiet) + &table
        }
        FormatArg::Markdown => report_markdown(&report),
        FormatArg::Csv => details_csv(&report.rows),
        FormatArg::Json => report_json(&report),
    });
    // What can't be printed or written must not cost the rest of what was computed.
    let mut failures: Vec<Failure> = printed.err().into_iter().collect();
    if let Some(folder) = &arguments.output_dir {
        failures.extend(write_files(folder, &report, correlations.as_deref()));
    }
    for failure in &failures {
        say(&format!("heavytail: {failure}"));
    }
    let mut status = failures.iter().map(Failure::status).max().unwrap_or(0);
    if report.status == RunStatus::Cancelled {
        let finished = finished_layers(&report);
        say(&format!("heavytail: cancelled; the results hold the {finished} layers that were finished"));
        status = status.max(130);
        // Layers in flight would hold the process up until they are through.
        std::process::exit(status.into());
    }
    Ok(ExitCode::from(status))
}

/// Makes the folder of the results: before hours of work, not after, and after the options were found to be right.
fn make_folder(arguments: &Analyze) -> Result<(), Failure> {
    let Some(folder) = &arguments.output_dir else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|e| Failure::write(folder, &e))
}

/// Before hours of work, too.
fn read_scores(path: &Path, arguments: &Analyze) -> Result<Vec<Score>, Failure> {
    if arguments.output_dir.as_deref().is_some_and(|folder| is_result(folder, path)) {
        let message = format!("the results would replace the scores {}: name another --output-dir", path.display());
        return Err(Error::Options(message).into());
    }
    let scores = parse_scores(&fs::read_to_string(path).map_err(|e| Failure::read(path, &e))?)?;
    let levels: Vec<String> = arguments.options().levels()?.iter().map(ToString::to_string).collect();
    check_scores(&levels, &scores)?;
    Ok(scores)
}

fn analyse(arguments: &Analyze, mut source: Source, cancellation: &Cancellation) -> Result<ModelReport, Failure> {
    let options = match &arguments.model {
        Some(model) => with_adapter(arguments.options(), model)?,
        None => arguments.options(),
    };
    let mut base =
        arguments.measures.combining.base_model.as_deref().map(|path| Source::open(Some(path))).transpose()?;
    // How long a finished layer or Ctrl-C may go unnoticed.
    const LOOK: Duration = Duration::from_millis(50);
    let (threads, pool) = thread_pool(arguments.running.threads)?;
    let backend::Choice { backend, reason } = backend::choose(arguments.backend, threads)?;
    if !arguments.running.quiet && !backend.is_reproducible() {
        say(&format!("backend: {} ({reason}); last digits may differ from other machines'", backend.name()));
    }
    select(backend);
    if options.stacked {
        return match base {
            None => stacked(arguments, &mut source, options, cancellation),
            Some(_) => Err(Error::Options("stacked and base_model exclude each other".to_owned()).into()),
        };
    }
    let limits = Limits {
        threads,
        memory: memory(arguments, &source),
        hard_limit: arguments.running.memory.map_or(u64::MAX, |mb| mb * 1_000_000),
    };
    let base_model = base.as_ref().map(|base| base.model.clone());
    let mut analysis = Analysis::with_base(source.model.clone(), base_model, options, limits, cancellation.clone())?;
    make_folder(arguments)?;
    let bar = ProgressView::new(arguments.running.quiet);
    let status = loop {
        if cancellation.is_cancelled() {
            break RunStatus::Cancelled;
        }
        match analysis.next_step() {
            Next::Read(layer) => match read_all(&mut source, base.as_mut(), &analysis.sources(layer)) {
                Ok(bytes) => pool.spawn(analysis.task(layer, bytes)),
                Err(failure) => analysis.fail(layer, &failure.to_string()),
            },
            Next::Wait => {
                let finished = analysis.take_finished(LOOK);
                bar.show(finished.progress);
            }
            Next::Done => break RunStatus::Complete,
        }
    };
    analysis.take_finished(Duration::ZERO);
    bar.finish();
    Ok(analysis.report(status))
}

/// Threads that compute, by default one a core.
pub(super) fn thread_pool(wanted: Option<u16>) -> Result<(usize, rayon::ThreadPool), Failure> {
    let threads = wanted.map_or_else(default_threads, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| {
        Failure::Core(Error::Options(format!("can't start {threads} threads: {e}; try fewer with --threads")))
    })?;
    Ok((threads, pool))
}

/// Raised by Ctrl-C.
pub(super) fn cancellation() -> Result<Cancellation, Failure> {
    let cancellation = Cancellation::default();
    let flag = cancellation.clone();
    ctrlc::set_handler(move || flag.cancel())
        .map_err(|e| Failure::Core(Error::Unsupported(format!("can't listen for Ctrl-C: {e}"))))?;
    Ok(cancellation)
}

/// Level by level: the stack of each is read anew, so that only one is in memory.
fn stacked(
    arguments: &Analyze,
    source: &mut Source,
    options: Options,
    cancellation: &Cancellation,
) -> Result<ModelReport, Failure> {
    let stack = Stack::new(source.model.clone(), options, cancellation.clone())?;
    make_folder(arguments)?;
    let mut rows = Vec::new();
    for level in 0..stack.head().levels.len() {
        match stack.row(level, |tensor| source.read(tensor)) {
            Ok(row) => rows.push(row),
            Err(Failure::Core(Error::Cancelled)) => return Ok(stack.report(&rows, RunStatus::Cancelled)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(stack.report(&rows, RunStatus::Complete))
}

/// Room for the layers in flight, in bytes: by default three times the largest analysed tensor in f32, so that it can be
/// worked on whatever its shape, and enough for many small ones.
fn memory(arguments: &Analyze, source: &Source) -> u64 {
    const LEAST: u64 = 100_000_000;
    if let Some(mb) = arguments.running.memory {
        return mb * 1_000_000;
    }
    let options = arguments.options();
    let largest = source
        .model
        .tensors
        .iter()
        .map(|t| &t.info)
        .filter(|info| info.shape.iter().all(|d| *d <= options.max_n))
        .map(|info| info.elements() * 4)
        .max();
    largest.unwrap_or(0).saturating_mul(3).max(LEAST)
}

/// The progress bar on stderr, if that is a terminal.
pub(super) struct ProgressView(ProgressBar);

impl ProgressView {
    pub fn new(quiet: bool) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {percent:>3}%  {msg}  {elapsed} elapsed, {eta} left")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub fn show(&self, progress: Progress) {
        self.0.set_message(format!("{}/{} layers", progress.layers_done, progress.layers_total));
        // The work, not the number of layers: the largest come first, and the time left is honest.
        self.0.set_position((1000.0 * progress.work_done / progress.work_total) as u64);
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn finished_layers(report: &ModelReport) -> usize {
    report.rows.iter().map(|row| row.name.as_str()).collect::<BTreeSet<_>>().len()
}

/// Whether a file would be replaced by a result that [`write_files`] writes into a folder, also where one of the two is a link.
fn is_result(folder: &Path, file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return false };
    let others = ["details.csv", "quantization_comparison.csv", "report.json", "score_correlations.csv"];
    let has_name = |name: &str| {
        let level = name.strip_prefix("results_").and_then(|rest| rest.strip_suffix(".csv"));
        level.is_some() || others.contains(&name)
    };
    let there = fs::read_dir(folder).into_iter().flatten().flatten();
    there
        .filter(|entry| has_name(&entry.file_name().to_string_lossy().to_lowercase()))
        .any(|entry| entry.path().canonicalize().is_ok_and(|result| result == file))
}

fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|e| Failure::write(&path, &e))
}

/// Writes every file that can be written; the others' failures.
fn write_files(folder: &Path, report: &ModelReport, correlations: Option<&[ScoreCorrelation]>) -> Vec<Failure> {
    let mut written = vec![write_file(folder, "details.csv", &details_csv(&report.rows))];
    for level in &report.head.levels {
        let rows = report.rows.iter().filter(|row| row.quantization == level.name);
        written.push(write_file(folder, &format!("results_{}.csv", level.name), &details_csv(rows)));
    }
    written.push(write_file(folder, "quantization_comparison.csv", &comparison_csv(&report.comparison)));
    written.push(write_file(folder, "report.json", &report_json(report)));
    if let Some(correlations) = correlations {
        written.push(write_file(folder, "score_correlations.csv", &correlations_csv(correlations)));
    }
    written.into_iter().filter_map(Result::err).collect()
}

fn summary(report: &ModelReport, quiet: bool) -> String {
    let said = verdict(&report.comparison).sentence;
    let mut comparison = format!("{}{said}\n{}", comparison_table(report), means_table(&report.summary));
    let layers = finished_layers(report);
    let skipped = report.head.skipped.len();
    comparison += &format!("\n{layers} layers analysed, {skipped} tensors left out (`heavytail describe` says why)\n");
    let failed: Vec<String> = report
        .rows
        .iter()
        .filter(|row| row.status == Status::Failed)
        .map(|row| {
            format!(
                "  {} {}: {}",
                row.quantization,
                row.name.escape_debug(),
                row.reason.as_deref().unwrap_or("no reason known")
            )
        })
        .collect();
    if !failed.is_empty() {
        const SHOWN: usize = 10;
        comparison += &format!("{} fits failed:\n{}\n", failed.len(), failed[..failed.len().min(SHOWN)].join("\n"));
        if failed.len() > SHOWN {
            comparison += &format!("  and {} more; details.csv has all (--output-dir)\n", failed.len() - SHOWN);
        }
    }
    if !quiet {
        for note in &report.head.notes {
            comparison += &format!("- {note}\n");
        }
    }
    comparison
}

fn correlation_table(rows: &[ScoreCorrelation]) -> String {
    let mut view = table(&["Score", "Measure", "Levels", "Spearman", "95% interval", "Note"]);
    let fixed = |value: Number| value.0.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    for row in rows {
        view.add_row([
            row.score.escape_debug().to_string(),
            row.column.clone(),
            row.levels.to_string(),
            fixed(row.spearman),
            format!("{} to {}", fixed(row.spearman_low), fixed(row.spearman_high)),
            row.note.clone(),
        ]);
    }
    format!("\nRank correlation of scores with measures of the weights\n{view}\n")
}

/// `WeightWatcher`'s `get_summary()`, a line a level.
fn means_table(summary: &[Summary]) -> String {
    const LEAST_IMPORTANT: [&str; 4] = ["log_norm", "log_alpha_norm", "mp_softrank", "stable_rank"];
    let fixed = |value: Number| value.0.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let has_noise_fit = summary.iter().any(|level| level.mp_softrank.is_some());
    let mut headings =
        vec!["Level", "log_norm", "alpha", "alpha_weighted", "log_alpha_norm", "log_spectral_norm", "stable_rank"];
    headings.extend(has_noise_fit.then_some("mp_softrank"));
    let row = |level: &Summary| {
        let means = [
            level.log_norm,
            level.alpha,
            level.alpha_weighted,
            level.log_alpha_norm,
            level.log_spectral_norm,
            level.stable_rank,
        ];
        let noise_fit = has_noise_fit.then(|| level.mp_softrank.unwrap_or(Number::NONE));
        std::iter::once(level.quantization.clone()).chain(means.into_iter().chain(noise_fit).map(fixed)).collect()
    };
    let view = narrowed(&headings, &summary.iter().map(row).collect::<Vec<_>>(), &LEAST_IMPORTANT, 0);
    format!("\nMeans over all rows, embeddings included (WeightWatcher's get_summary)\n{view}\n")
}

fn comparison_table(report: &ModelReport) -> String {
    const LEAST_IMPORTANT: [&str; 7] =
        ["Std", "Spearman", "Below 2", "Above 6", "Non-zero", "Bits/weight", "Pearson r"];
    let rows: Vec<_> = report.comparison.iter().map(comparison_cells).collect();
    let Some(first) = rows.first() else { return String::new() };
    let headings: Vec<&str> = first.iter().map(|(heading, _)| *heading).collect();
    let cells: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(|(_, cell)| cell).collect()).collect();
    format!("{}\n", narrowed(&headings, &cells, &LEAST_IMPORTANT, 0))
}
