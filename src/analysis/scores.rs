//! Results of evaluations beside the spectra: which measure ranks the levels as the task does?

use super::compare::spearman;
use crate::error::{Error, Result, quoted};
use crate::report::{ComparisonRow, Number, harmless};

/// One result of an evaluation.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Score {
    /// The level, as in the column `quantization`.
    pub level: String,
    /// What was measured.
    pub metric: String,
    /// The result.
    pub value: f64,
}

/// How well a column of the comparison ranks the levels as a score does.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ScoreCorrelation {
    /// The score's name.
    pub score: String,
    /// The column of the comparison.
    pub column: String,
    /// Levels that have both.
    pub levels: u64,
    /// Spearman rank correlation.
    pub spearman: Number,
    /// Lower end of its 95% interval.
    pub spearman_low: Number,
    /// Upper end of its 95% interval.
    pub spearman_high: Number,
    /// What to keep in mind.
    pub note: String,
}

/// A column of the comparison and how to read it.
type Column = (&'static str, fn(&ComparisonRow) -> Number);

/// Below this many levels an interval of a rank correlation is hardly one.
const FEW: usize = 10;

/// Reads scores from CSV text with the columns `level`, `metric` and `value`.
///
/// # Errors
/// [`Error::Options`] for a missing column or a value that is no finite number, with its line.
pub fn parse_scores(text: &str) -> Result<Vec<Score>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let fault = |what: String| Error::Options(format!("the scores can't be used: {what}"));
    reader
        .deserialize()
        .map(|row: std::result::Result<Score, csv::Error>| {
            let score = row.map_err(|e| fault(format!("{e}; the columns are level, metric, value")))?;
            if score.value.is_finite() {
                Ok(score)
            } else {
                Err(fault(format!("{} of {} is no number", quoted(&score.metric), quoted(&score.level))))
            }
        })
        .collect()
}

/// Checks, before the work is done, that the scores can be used with these levels.
///
/// # Errors
/// [`Error::Options`] if no score is of one of the levels, or a level has a score twice.
pub fn check_scores(levels: &[String], scores: &[Score]) -> Result<()> {
    for (index, score) in scores.iter().enumerate() {
        if scores[..index].iter().any(|other| other.level == score.level && other.metric == score.metric) {
            let (metric, level) = (quoted(&score.metric), quoted(&score.level));
            return Err(Error::Options(format!("the scores hold {metric} of {level} twice")));
        }
    }
    if !scores.iter().any(|score| levels.contains(&score.level)) {
        return Err(Error::Options(format!("no score is of a level of this run ({})", levels.join(", "))));
    }
    Ok(())
}

/// Rank correlations of each score with each column of the comparison, over the levels that have both.
///
/// The interval is Fisher's, with Bonett and Wright's variance `(1 + r^2 / 2) / (n - 3)`; there is none below four levels.
///
/// # Source
/// Bonett, Wright 2000, Psychometrika 65, 23.
pub fn correlate(comparison: &[ComparisonRow], scores: &[Score]) -> Vec<ScoreCorrelation> {
    let mut names: Vec<&str> = Vec::new();
    for score in scores {
        if !names.contains(&score.metric.as_str()) {
            names.push(&score.metric);
        }
    }
    let columns: [Column; 9] = [
        ("relative_error_mean", |r| r.relative_error_mean),
        ("sqnr_db_mean", |r| r.sqnr_db_mean),
        ("nonzero_fraction_mean", |r| r.nonzero_fraction_mean),
        ("bits_per_weight_mean", |r| r.bits_per_weight_mean),
        ("alpha_mean", |r| r.alpha_mean),
        ("alpha_abs_change_mean", |r| r.alpha_abs_change_mean),
        ("alpha_hat", |r| r.alpha_hat),
        ("log_norm_mean", |r| r.log_norm_mean),
        ("pearson", |r| r.pearson),
    ];
    let mut found = Vec::new();
    for name in names {
        for (column, value) in columns {
            let pairs: Vec<(f64, f64)> = comparison
                .iter()
                .filter_map(|row| {
                    let score = scores.iter().find(|s| s.metric == name && s.level == row.quantization)?;
                    Some((value(row).0?, score.value))
                })
                .collect();
            found.push(correlation(name, column, &pairs));
        }
    }
    found
}

fn correlation(score: &str, column: &str, pairs: &[(f64, f64)]) -> ScoreCorrelation {
    /// 97.5% of a normal distribution are below.
    const NORMAL: f64 = 1.959_963_984_540_054;
    let n = pairs.len();
    let rho = spearman(pairs);
    let interval = rho.filter(|rho| n > 3 && rho.abs() < 1.0).map(|rho| {
        let (z, half) = (libm::atanh(rho), NORMAL * ((1.0 + rho * rho / 2.0) / (n as f64 - 3.0)).sqrt());
        (libm::tanh(z - half), libm::tanh(z + half))
    });
    let note = match rho {
        None => format!("{n} levels: no correlation can be computed"),
        Some(_) if n < FEW => format!("{n} levels only: an indication at most"),
        Some(_) => String::new(),
    };
    ScoreCorrelation {
        score: score.to_owned(),
        column: column.to_owned(),
        levels: n as u64,
        spearman: rho.into(),
        spearman_low: interval.map(|i| i.0).into(),
        spearman_high: interval.map(|i| i.1).into(),
        note,
    }
}

/// The correlations as CSV.
pub fn correlations_csv(rows: &[ScoreCorrelation]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["score", "column", "levels", "spearman", "spearman_low", "spearman_high", "note"];
    let mut complete = writer.write_record(header).is_ok();
    for row in rows {
        complete &= writer
            .write_record([
                harmless(row.score.clone()),
                row.column.clone(),
                row.levels.to_string(),
                row.spearman.to_text(),
                row.spearman_low.to_text(),
                row.spearman_high.to_text(),
                row.note.clone(),
            ])
            .is_ok();
    }
    debug_assert!(complete, "records of equal length");
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_and_faults_named() {
        let scores = parse_scores("level, metric, value\nfp16, mmlu, 0.5\n4bit,mmlu,0.4\n").unwrap();
        assert_eq!(scores[1], Score { level: "4bit".into(), metric: "mmlu".into(), value: 0.4 });
        assert!(parse_scores("level,value\nfp16,1\n").unwrap_err().to_string().contains("level, metric, value"));
        assert!(parse_scores("level,metric,value\nfp16,mmlu,NaN\n").unwrap_err().to_string().contains("no number"));
        assert!(check_scores(&["fp16".into(), "2bit".into()], &scores).is_ok());
        assert!(check_scores(&["2bit".into()], &scores).unwrap_err().to_string().contains("of this run (2bit)"));
        let twice = [scores[0].clone(), scores[0].clone()];
        assert!(check_scores(&["fp16".into()], &twice).unwrap_err().to_string().contains("twice"));
        assert_eq!(correlate(&[], &scores).len(), 9);
    }

    #[test]
    fn ranks_are_compared_and_few_levels_said() {
        let rising: Vec<(f64, f64)> = (0..6).map(|i| (f64::from(i), f64::from(i * i % 11))).collect();
        let row = correlation("mmlu", "alpha_mean", &rising);
        // Ranks 1 2 4 6 5 3 of 0 1 4 9 5 3: 1 - 6 * (0 + 0 + 1 + 4 + 0 + 9) / 210.
        assert!((row.spearman.0.unwrap() - 0.6).abs() < 1e-12, "{row:?}");
        assert!(row.spearman_low.0.unwrap() < 0.0 && row.spearman_high.0.unwrap() < 1.0);
        assert!(row.note.contains("6 levels only"));
        assert_eq!(correlation("m", "c", &rising[..1]).spearman.0, None);
        assert!(correlations_csv(&[row]).starts_with("score,column,levels,spearman"));
    }
}
