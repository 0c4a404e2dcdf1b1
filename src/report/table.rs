//! The comparison for people: what comes first is what the evidence supports.

use super::number::{Number, change};
use super::rows::{ComparisonRow, ModelReport, RunStatus};
use super::verdict::verdict;

/// One cell of the comparison: heading and text.
pub type ComparisonCell = (&'static str, String);

/// The comparison's row for people, in reading order: the error of the weights before the spectra.
pub fn comparison_cells(row: &ComparisonRow) -> Vec<ComparisonCell> {
    vec![
        ("Level", row.label.clone()),
        ("Relative error", fixed(row.relative_error_mean, 4)),
        ("SQNR dB", fixed(row.sqnr_db_mean, 1)),
        ("Bits/weight", fixed(row.bits_per_weight_mean, 2)),
        ("Non-zero", percent(row.nonzero_fraction_mean)),
        ("Alpha mean", fixed(row.alpha_mean, 3)),
        ("Change", signed_percent(row.alpha_change_percent)),
        ("Std", fixed(row.alpha_std, 2)),
        ("Pearson r", fixed(row.pearson, 3)),
        ("Spearman", fixed(row.spearman, 3)),
        ("In [2,6]", format!("{}/{}", row.layers_optimal, row.num_layers)),
        ("Below 2", row.layers_below_2.to_string()),
        ("Above 6", row.layers_above_6.to_string()),
        ("Failed fits", row.failed.to_string()),
    ]
}

/// The report for a pull request or a model card: the comparison as a Markdown table, what it says, and what was run.
pub fn report_markdown(report: &ModelReport) -> String {
    let said = verdict(&report.comparison);
    let mut text = comparison_markdown(&report.comparison);
    text += &format!("\n**{}**\n\n", said.sentence);
    for sentence in said.evidence {
        text += &format!("- {sentence}\n");
    }
    let files: Vec<String> = report.head.model.files.iter().map(|file| code(&file.name)).collect();
    let settings = &report.head.settings;
    let mut facts = vec![
        format!("{} of {}", count(report.head.layers.len(), "layer"), files.join(", ")),
        format!("dequantized: {}", settings.dequantize.as_str()),
    ];
    if settings.compat != "none" {
        facts.push(format!("compatible with: {}", settings.compat));
    }
    if !settings.layers.is_empty() {
        facts.push(format!("layers: {}", code(&settings.layers)));
    }
    facts.extend(settings.measures.iter().map(|(name, value)| format!("{name}: {}", code(value))));
    if report.status == RunStatus::Cancelled {
        facts.push("stopped before the end: part of the layers".to_owned());
    }
    text + &format!("\n{}. HeavyTail {}.\n", facts.join("; "), report.heavytail_version)
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A name from a file or from the caller as Markdown code: what would end the code is left out.
fn code(text: &str) -> String {
    format!("`{}`", text.chars().map(|c| if c == '`' || c.is_control() { ' ' } else { c }).collect::<String>())
}

/// The comparison as a Markdown table.
fn comparison_markdown(rows: &[ComparisonRow]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        let cells = comparison_cells(row);
        if lines.is_empty() {
            lines.push(markdown_line(cells.iter().map(|(heading, _)| (*heading).to_owned())));
            lines.push(markdown_line(cells.iter().map(|_| "---".to_owned())));
        }
        lines.push(markdown_line(cells.into_iter().map(|(_, cell)| cell)));
    }
    lines.concat()
}

fn markdown_line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|c| c.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn fixed(value: Number, digits: usize) -> String {
    value.0.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

fn percent(value: Number) -> String {
    value.0.map_or_else(|| "-".to_owned(), |v| format!("{:.1}%", 100.0 * v))
}

fn signed_percent(value: Number) -> String {
    value.0.map_or_else(|| "-".to_owned(), change)
}
