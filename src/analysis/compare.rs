//! Levels against the baseline.

use std::collections::{HashMap, HashSet};

use super::paired::{mean_interval, permutation_p, wilcoxon_p};
use crate::report::{Cell, ComparisonRow, LayerRow, LevelInfo, Measures, Number, Status, Summary};

/// One row per level over `rows`, in the order of `levels`; the first level is the baseline. `rows` may hold part of the
/// layers: a level is compared with the baseline over the layers that both have.
///
/// With `failures_count`, a failed fit enters every number as the alpha = -1 that its row has, as in `WeightWatcher` and in
/// the study; otherwise failed rows are left out.
pub fn compare<'a>(
    levels: &[LevelInfo],
    rows: impl IntoIterator<Item = &'a LayerRow>,
    failures_count: bool,
) -> Vec<ComparisonRow> {
    let mut by_level: HashMap<&str, Vec<&LayerRow>> = HashMap::new();
    for row in rows {
        by_level.entry(row.quantization.as_str()).or_default().push(row);
    }
    // Sums in the order of the layers, not of their completion.
    for rows in by_level.values_mut() {
        rows.sort_by(|a, b| a.layer_id.cmp(&b.layer_id).then_with(|| a.key().cmp(&b.key())));
    }
    let baseline = levels.first().and_then(|level| by_level.get(level.name.as_str())).map_or(&[][..], Vec::as_slice);
    let baseline_alphas: HashMap<(&str, u64), f64> =
        baseline.iter().filter_map(|row| Some((row.key(), alpha(row, failures_count)?))).collect();
    let baseline_mean = mean(baseline.iter().filter_map(|row| alpha(row, failures_count)));
    levels
        .iter()
        .map(|level| {
            let rows = by_level.get(level.name.as_str()).map_or(&[][..], Vec::as_slice);
            let mut compared = compare_level(level, rows, &baseline_alphas, baseline_mean, failures_count);
            compared.measures.extend(without_error(rows, baseline));
            compared
        })
        .collect()
}

/// Means over the rows of each level, in the order of `levels`. Rows without a value are left out of its mean.
pub fn summarise(levels: &[LevelInfo], rows: &[LayerRow]) -> Vec<Summary> {
    let summary = |level: &LevelInfo| {
        let rows = || rows.iter().filter(|row| row.quantization == level.name);
        // NaN as pandas has it: not counted.
        let mean_of = |value: fn(&LayerRow) -> Number| -> Number {
            mean(rows().filter_map(|row| value(row).0).filter(|v| !v.is_nan())).into()
        };
        let soft_ranks: Vec<&Cell> = rows().filter_map(|row| row.measures.get("mp_softrank")).collect();
        Summary {
            quantization: level.name.clone(),
            log_norm: mean_of(|r| r.log_norm),
            alpha: mean_of(|r| r.alpha),
            alpha_weighted: mean_of(|r| r.alpha_weighted),
            log_alpha_norm: mean_of(|r| r.log_alpha_norm),
            log_spectral_norm: mean_of(|r| r.log_spectral_norm),
            stable_rank: mean_of(|r| r.stable_rank),
            mp_softrank: (!soft_ranks.is_empty()).then(|| mean(soft_ranks.into_iter().filter_map(Cell::number)).into()),
        }
    };
    levels.iter().map(summary).collect()
}

fn compare_level(
    level: &LevelInfo,
    rows: &[&LayerRow],
    baseline: &HashMap<(&str, u64), f64>,
    baseline_mean: Option<f64>,
    failures_count: bool,
) -> ComparisonRow {
    let mut alphas: Vec<f64> = rows.iter().filter_map(|row| alpha(row, failures_count)).collect();
    let pairs: Vec<(f64, f64)> =
        rows.iter().filter_map(|row| Some((*baseline.get(&row.key())?, alpha(row, failures_count)?))).collect();
    let alpha_mean = mean(alphas.iter().copied());
    // Of the layers that have an alpha at both levels: a fit that fails would move the mean by leaving it. In the tool it doesn't
    // leave.
    let (before, after) = if failures_count {
        (baseline_mean, alpha_mean)
    } else {
        (mean(pairs.iter().map(|p| p.0)), mean(pairs.iter().map(|p| p.1)))
    };
    let alpha_std = standard_deviation(&alphas);
    let count = |test: fn(f64) -> bool| alphas.iter().filter(|a| test(**a)).count() as u64;
    let (below, above, between) = (count(|a| a < 2.0), count(|a| a > 6.0), count(|a| (2.0..=6.0).contains(&a)));
    alphas.sort_by(f64::total_cmp);
    let weights = |row: &&LayerRow| row.shape.iter().product::<u64>() as f64;
    let (bits, elements) = rows
        .iter()
        .filter_map(|row| Some((row.bits_per_weight.0? * weights(row), weights(row))))
        .fold((0.0, 0.0), |(b, e), (bits, n)| (b + bits, e + n));
    ComparisonRow {
        quantization: level.name.clone(),
        num_layers: rows.len() as u64,
        alpha_mean: alpha_mean.into(),
        alpha_std: alpha_std.into(),
        alpha_min: alphas.first().copied().into(),
        alpha_max: alphas.last().copied().into(),
        alpha_median: median(&alphas).into(),
        layers_below_2: below,
        layers_above_6: above,
        layers_optimal: between,
        alpha_hat: mean(rows.iter().filter_map(|row| row.alpha_weighted.0)).into(),
        log_norm_mean: mean(rows.iter().filter_map(|row| row.log_norm.0)).into(),
        label: level.label.clone(),
        relative_error_mean: mean(rows.iter().filter_map(|row| row.relative_error.0)).into(),
        sqnr_db_mean: mean(rows.iter().filter_map(|row| row.sqnr_db.0).filter(|v| v.is_finite())).into(),
        nonzero_fraction_mean: mean(rows.iter().filter_map(|row| row.nonzero_fraction.0)).into(),
        bits_per_weight_mean: Number((elements > 0.0).then(|| bits / elements)),
        failed: rows.iter().filter(|row| row.status == Status::Failed).count() as u64,
        alpha_change_percent: Number(after.zip(before).map(|(a, b)| 100.0 * (a - b) / b).filter(|v| v.is_finite())),
        alpha_abs_change_mean: mean(pairs.iter().map(|(a, b)| (b - a).abs())).into(),
        pearson: pearson(&pairs).into(),
        spearman: spearman(&pairs).into(),
        measures: changes(rows, &pairs),
    }
}

/// How many rows have no error although the baseline's has one, where any has none: a scheme that a shape can't take. Means over
/// the others are of other layers than those of other levels. A layer that has none at any level (of zeros, or unreadable) is
/// missing from all means alike.
fn without_error(rows: &[&LayerRow], baseline: &[&LayerRow]) -> Option<(String, Cell)> {
    let measured: HashSet<_> =
        baseline.iter().filter(|row| row.relative_error.0.is_some()).map(|row| row.key()).collect();
    let count = rows.iter().filter(|row| row.relative_error.0.is_none() && measured.contains(&row.key())).count();
    (count > 0).then(|| ("layers_without_error".to_owned(), (count as f64).into()))
}

/// Whether the change of alpha is more than chance, where there is evidence on each layer.
fn changes(rows: &[&LayerRow], pairs: &[(f64, f64)]) -> Measures {
    const SEED: u64 = 0;
    let verdict = |row: &LayerRow| row.measures.get("verdict").map(Cell::to_text);
    if rows.iter().all(|row| verdict(row).is_none()) {
        return Measures::new();
    }
    let count = |test: &dyn Fn(&LayerRow) -> bool| rows.iter().filter(|row| test(row)).count() as f64;
    let reliable = count(&|row| verdict(row).is_some_and(|v| v == "reliable"));
    let stands_out = count(&|row| row.measures.get("distinguishable").is_some_and(|c| c.to_text() == "True"));
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let interval = mean_interval(&differences, SEED);
    let columns: [(&str, Cell); 7] = [
        ("layers_reliable", reliable.into()),
        ("layers_distinguishable", stands_out.into()),
        ("delta_alpha_mean", mean(differences.iter().copied()).into()),
        ("delta_alpha_mean_low", interval.map(|i| i.low).into()),
        ("delta_alpha_mean_high", interval.map(|i| i.high).into()),
        ("wilcoxon_p", wilcoxon_p(&differences).into()),
        ("permutation_p", permutation_p(&differences, SEED).into()),
    ];
    columns.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()
}

fn alpha(row: &LayerRow, failures_count: bool) -> Option<f64> {
    if row.status == Status::Success || failures_count { row.alpha.0 } else { None }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Sample standard deviation (divided by n - 1), as pandas computes it.
fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values.iter().copied())?;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt()).filter(|v| v.is_finite())
}

fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}

/// Pearson correlation; `None` below three pairs, of which any two lie on a line, or without a spread above rounding.
fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    // Alphas are sums of hundreds of logarithms; equal ones differ by less.
    const ROUNDING: f64 = 1e-13;
    let (mean_a, mean_b) = (mean(pairs.iter().map(|p| p.0))?, mean(pairs.iter().map(|p| p.1))?);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let spreads = |squares: f64, mean: f64| squares > pairs.len() as f64 * (mean * ROUNDING).powi(2);
    let r = ab / (aa.sqrt() * bb.sqrt());
    (pairs.len() > 2 && spreads(aa, mean_a) && spreads(bb, mean_b) && r.is_finite()).then(|| r.clamp(-1.0, 1.0))
}

/// Spearman rank correlation: Pearson's of the ranks, equal values sharing the mean of theirs.
pub(super) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let a = ranks(&pairs.iter().map(|p| p.0).collect::<Vec<_>>());
    let b = ranks(&pairs.iter().map(|p| p.1).collect::<Vec<_>>());
    pearson(&a.into_iter().zip(b).collect::<Vec<_>>())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + f64::midpoint(group.len() as f64, 1.0);
        for index in group {
            ranks[*index] = rank;
        }
        first += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_known_samples() {
        assert_eq!(standard_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(standard_deviation(&[1.0]), None);
        assert_eq!(median(&[1.0, 2.0, 4.0, 8.0]), Some(3.0));
        assert_eq!(median(&[]), None);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert!((pearson(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(pearson(&[(1.0, 2.0), (1.0, 4.0), (1.0, 3.0)]), None);
        assert_eq!(pearson(&[(1.0, 2.0), (3.0, 4.0)]), None, "two points are always on a line");
        // The mean of three equal numbers need not be that number.
        assert_eq!(pearson(&[(0.1, 2.0), (0.1, 4.0), (0.1, 3.0)]), None);
        // scipy.stats.spearmanr([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]).
        let rho = spearman(&[(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)]).unwrap();
        assert!((rho - 0.820_782_681_668_123_3).abs() < 1e-12);
    }
}
