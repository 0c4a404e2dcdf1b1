//! What the comparison says, in words, and on what evidence.

use serde::Serialize;

use super::number::change;
use super::rows::ComparisonRow;

/// A sentence and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The ranking of the levels by the error of the weights.
    pub sentence: String,
    /// Sentences that say why to believe it, and how little.
    pub evidence: Vec<String>,
}

/// With more levels than this only the ends of the order are named.
const NAMED: usize = 8;

/// What a comparison says. The first row is the baseline.
///
/// Relative error ranks, the change of mean alpha does not: Spearman 1.00 and 0.57 with the KL divergence of predictions over 18
/// whole-model configurations of one small model.
pub fn verdict(comparison: &[ComparisonRow]) -> Verdict {
    let mut levels: Vec<(f64, &ComparisonRow)> = comparison
        .iter()
        .skip(1)
        .filter(|row| without_error(row).is_none())
        .filter_map(|row| Some((row.relative_error_mean.0.filter(|e| e.is_finite())?, row)))
        .collect();
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some((least, first)), Some((most, last))) = (levels.first(), levels.last()) else {
        return Verdict { evidence: partial(comparison).into_iter().collect(), ..without_levels(comparison) };
    };
    let sentence = if levels.len() == 1 {
        format!("{} moves the weights by {} of their norm.", first.quantization, percent(*least))
    } else {
        format!(
            "By the error of the weights, {} damages least ({}) and {} most ({}).",
            first.quantization,
            percent(*least),
            last.quantization,
            percent(*most)
        )
    };
    let mut evidence = Vec::new();
    if levels.len() > 1 {
        evidence.push(format!(
            "Order by mean relative error: {}. In the one study behind this tool (one small model, 18 configurations) that order was almost exactly the order of the damage to the predictions. It is a ranking, not an amount: only an evaluation says what a level costs your task.",
            order(&levels)
        ));
    }
    evidence.extend(alpha(&levels));
    evidence.extend(significance(&levels));
    evidence.extend(partial(comparison));
    evidence.extend(failures(comparison));
    Verdict { sentence, evidence }
}

fn without_levels(comparison: &[ComparisonRow]) -> Verdict {
    let others = if comparison.len() > 1 { "No level can be ranked." } else { "Nothing to compare with." };
    let sentence = match comparison.first().and_then(|row| Some((row, row.alpha_mean.0?))) {
        Some((row, alpha)) => {
            let fits = row.layers_below_2 + row.layers_optimal + row.layers_above_6;
            format!("The weights as stored: mean alpha {alpha:.2} over {fits} fits. {others}")
        }
        None => "Nothing to compare yet.".to_owned(),
    };
    Verdict { sentence, evidence: Vec::new() }
}

fn order(levels: &[(f64, &ComparisonRow)]) -> String {
    let name = |(error, row): &(f64, &ComparisonRow)| format!("{} {}", row.quantization, percent(*error));
    if levels.len() <= NAMED {
        return levels.iter().map(name).collect::<Vec<_>>().join(", ");
    }
    let half = NAMED / 2;
    let ends = |levels: &[(f64, &ComparisonRow)]| levels.iter().map(name).collect::<Vec<_>>().join(", ");
    format!("{}, … ({} more) …, {}", ends(&levels[..half]), levels.len() - NAMED, ends(&levels[levels.len() - half..]))
}

/// That the change of mean alpha is no such order, with the starkest contradiction of this model.
fn alpha(levels: &[(f64, &ComparisonRow)]) -> Option<String> {
    let changes: Vec<(f64, f64, &str)> = levels
        .iter()
        .filter_map(|(error, row)| Some((*error, row.alpha_change_percent.0?, row.quantization.as_str())))
        .collect();
    let lowest = changes.iter().map(|c| c.1).min_by(f64::total_cmp)?;
    let highest = changes.iter().map(|c| c.1).max_by(f64::total_cmp)?;
    let mut text = if changes.len() == 1 {
        format!("Mean alpha changes by {}.", change(lowest))
    } else {
        format!("Mean alpha changes by {} to {}.", change(lowest), change(highest))
    };
    text += " Neither sign nor size of that change ranks levels";
    // Levels come by rising error: one that moves alpha more than a later one contradicts the order.
    let pairs = changes.iter().enumerate().flat_map(|(i, a)| changes[i + 1..].iter().map(move |b| (a, b)));
    let contradiction = pairs
        .filter(|(a, b)| a.1.abs() > b.1.abs() && b.0 > 1.5 * a.0)
        .max_by(|x, y| (x.1.0 / x.0.0).total_cmp(&(y.1.0 / y.0.0)));
    text += &match contradiction {
        Some((a, b)) => format!(
            ": here {} moves it more than {} ({} against {}) with {:.1} times less error.",
            a.2,
            b.2,
            change(a.1),
            change(b.1),
            b.0 / a.0
        ),
        None => ".".to_owned(),
    };
    Some(text)
}

/// Which changes are more than the noise of the fits, where that was asked for.
fn significance(levels: &[(f64, &ComparisonRow)]) -> Option<String> {
    let told: Vec<String> = levels
        .iter()
        .filter_map(|(_, row)| {
            let stands_out = row.measures.get("layers_distinguishable")?.number()?;
            Some(format!("{} {stands_out:.0} of {}", row.quantization, row.num_layers))
        })
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "Layers whose change of alpha stands out from the noise of the fits: {}. That says how well alpha is known, not what it means.",
            told.join(", ")
        )
    })
}

/// How many of a level's layers have no error; none if all have one.
fn without_error(row: &ComparisonRow) -> Option<f64> {
    row.measures.get("layers_without_error")?.number()
}

/// Levels that are left out of the order: their means are over other layers.
fn partial(comparison: &[ComparisonRow]) -> Option<String> {
    let told: Vec<String> = comparison
        .iter()
        .skip(1)
        .filter_map(|row| Some(format!("{} ({:.0} of {})", row.quantization, without_error(row)?, row.num_layers)))
        .collect();
    (!told.is_empty()).then(|| format!("Not ranked, because some layers can't be quantized so: {}.", told.join(", ")))
}

fn failures(comparison: &[ComparisonRow]) -> Option<String> {
    let told: Vec<String> = comparison
        .iter()
        .filter(|row| row.failed > 0 && without_error(row).is_none())
        .map(|row| format!("{} of {} at {}", row.failed, row.num_layers, row.quantization))
        .collect();
    (!told.is_empty()).then(|| format!("Fits that failed: {}.", told.join(", ")))
}

/// Three significant digits.
pub(super) fn percent(fraction: f64) -> String {
    let value = 100.0 * fraction;
    let digits = if value > 0.0 { (2.0 - libm::log10(value).floor()).clamp(0.0, 6.0) as usize } else { 0 };
    format!("{value:.digits$}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Cell, Number};

    fn row(name: &str, error: Option<f64>, change: f64) -> ComparisonRow {
        let none = Number::NONE;
        ComparisonRow {
            quantization: name.to_owned(),
            num_layers: 12,
            alpha_mean: 4.0.into(),
            alpha_std: none,
            alpha_min: none,
            alpha_max: none,
            alpha_median: none,
            layers_below_2: 0,
            layers_above_6: 0,
            layers_optimal: 11,
            alpha_hat: none,
            log_norm_mean: none,
            label: name.to_owned(),
            relative_error_mean: error.into(),
            sqnr_db_mean: none,
            nonzero_fraction_mean: none,
            bits_per_weight_mean: none,
            failed: 0,
            alpha_change_percent: change.into(),
            alpha_abs_change_mean: none,
            pearson: none,
            spearman: none,
            measures: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn levels_are_ranked_by_error_and_alpha_contradicts() {
        let rows = [
            row("fp16", Some(0.0), 0.0),
            row("6bit", Some(0.172), -3.04),
            row("2bit", Some(0.987), -0.94),
            row("8bit", Some(0.0558), 0.54),
        ];
        let Verdict { sentence, evidence } = verdict(&rows);
        assert_eq!(sentence, "By the error of the weights, 8bit damages least (5.58%) and 2bit most (98.7%).");
        assert!(evidence[0].starts_with("Order by mean relative error: 8bit 5.58%, 6bit 17.2%, 2bit 98.7%."));
        assert_eq!(
            evidence[1],
            "Mean alpha changes by -3.04% to +0.54%. Neither sign nor size of that change ranks levels: here 6bit moves it more than 2bit (-3.04% against -0.94%) with 5.7 times less error."
        );
        assert_eq!(evidence.len(), 2);
    }

    #[test]
    fn a_level_over_other_layers_is_not_ranked() {
        let mut partly = row("int4-g128", Some(0.01), 0.0);
        partly.measures.insert("layers_without_error".to_owned(), Cell::from(9.0));
        partly.failed = 9;
        let only = verdict(&[row("fp16", Some(0.0), 0.0), partly.clone()]);
        let reason = "Not ranked, because some layers can't be quantized so: int4-g128 (9 of 12).";
        assert!(only.sentence.ends_with("No level can be ranked."));
        assert_eq!(only.evidence, [reason]);
        let Verdict { sentence, evidence } =
            verdict(&[row("fp16", Some(0.0), 0.0), row("nf4", Some(0.09), 1.0), partly]);
        assert_eq!(sentence, "nf4 moves the weights by 9.00% of their norm.");
        assert_eq!(evidence[1..], [reason]);
    }

    #[test]
    fn one_level_none_and_marks() {
        assert_eq!(verdict(&[]).sentence, "Nothing to compare yet.");
        let only = verdict(&[row("fp16", None, 0.0)]);
        assert_eq!(only.sentence, "The weights as stored: mean alpha 4.00 over 11 fits. Nothing to compare with.");
        let mut level = row("nf4", Some(0.0731), 1.5);
        level.measures.insert("layers_distinguishable".to_owned(), Cell::from(3.0));
        level.failed = 1;
        let Verdict { sentence, evidence } = verdict(&[row("fp16", Some(0.0), 0.0), level]);
        assert_eq!(sentence, "nf4 moves the weights by 7.31% of their norm.");
        assert_eq!(evidence[0], "Mean alpha changes by +1.50%. Neither sign nor size of that change ranks levels.");
        assert!(evidence[1].contains("nf4 3 of 12"));
        assert_eq!(evidence[2], "Fits that failed: 1 of 12 at nf4.");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(1e-9), "0.000000%");
    }
}
