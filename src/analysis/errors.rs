//! The measures of error that take time, and the noise that rounding adds.

use std::ops::Range;

use super::combine::Combination;
use super::layer::{Choice, LayerTask, spectrum_error};
use super::trust::Measured;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::quant::{Damage, Range as WeightRange, Scheme};
use crate::report::{Cell, LayerRow};
use crate::spectrum::{Leading, leading_singular, log_wasserstein, subspace_overlap};

/// How many singular vectors span the compared spaces.
const SPACE: usize = 10;

/// Singular values closer than this, relative to the largest, are the same: the space of the vectors up to one of them is then
/// not determined.
const TIED: f64 = 1e-8;

/// What is kept of a row until it is compared with the baseline's.
#[derive(Debug, Clone)]
pub(super) struct LayerErrors {
    /// For each slice the leading singular values and vectors of its matrix, if they were found.
    leading: Vec<Option<Leading>>,
    /// Largest singular value of the error over the slices.
    error_norm: Option<f64>,
    noise: Option<RoundingNoise>,
}

/// Rounding noise as a random matrix of independent entries.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RoundingNoise {
    /// Variance of an entry.
    pub variance: f64,
    /// Whether the variance is that of uniform rounding, `s^2 / 12` with the grid's step `s` (its mean over the groups). If the
    /// scheme has no such step, it is the mean squared error itself.
    pub is_predicted: bool,
    /// Upper edge of the noise's spectrum, `variance (sqrt N + sqrt M)^2`, in the units of the row's eigenvalues.
    pub edge: f64,
}

/// The noise of a level on matrices with sides `n` and `m`, whose eigenvalues are multiplied with `normalisation`. `None` of
/// the baseline, and of products, whose errors are no independent entries.
///
/// # Source
/// The edge of Marchenko and Pastur; uniform rounding: Widrow and Kollar.
pub(super) fn rounding_noise(
    task: &LayerTask,
    original: &Matrix,
    choice: Choice,
    damage: &Damage,
) -> Result<Option<RoundingNoise>> {
    let how = task.layer.combined.as_ref().map(|combined| combined.how);
    let has_independent_errors = how.is_none_or(|how| how == Combination::Difference);
    if choice.scheme == Scheme::Stored || task.options.inverse || !has_independent_errors {
        return Ok(None);
    }
    let (m, n) = task.layer.gram_shape();
    let reach = ((n as f64).sqrt() + (m as f64).sqrt()).powi(2) * task.normalisation();
    // The grid of a difference is that of one of its tensors, which is not at hand here.
    let step = if how.is_some() { None } else { squared_step(task, original, choice)? };
    let variance = step.map(|squared| squared / 12.0).or(damage.noise_variance());
    Ok(variance.map(|variance| RoundingNoise { variance, is_predicted: step.is_some(), edge: variance * reach }))
}

/// Mean squared step of a grid with even steps.
fn squared_step(task: &LayerTask, original: &Matrix, choice: Choice) -> Result<Option<f64>> {
    let arithmetic = task.options.arithmetic();
    let square = |scale: f32| f64::from(scale) * f64::from(scale);
    if let Some(grid) = choice.scheme.naive_grid(WeightRange::of(original.values()), arithmetic, task.info.dtype) {
        return Ok(Some(square(grid.scale())));
    }
    if !matches!(choice.scheme, Scheme::Integers(_) | Scheme::Gptq(_) | Scheme::Awq(_)) {
        return Ok(None);
    }
    // All groups have the same number of weights.
    let scales = choice.scheme.quantized(original, task.info.dtype, arithmetic)?.map_or_else(Vec::new, |q| q.scales);
    Ok((!scales.is_empty()).then(|| scales.iter().map(|s| square(*s)).sum::<f64>() / scales.len() as f64))
}

/// Adds what a row says of its own weights, and measures what [`compare_with_baseline`] needs. `matrix(position)` are the
/// weights as the level leaves them.
///
/// # Errors
/// Those of `matrix`; [`crate::Error::Cancelled`].
///
/// # Cost
/// Some hundred products of the matrix with a vector, and a sort of the weights.
pub(super) fn add_errors(
    task: &LayerTask,
    row: &mut LayerRow,
    (original, choice): (&Matrix, Choice),
    damage: &Damage,
    slices: Range<usize>,
    matrix: impl Fn(usize) -> Result<Matrix>,
) -> Result<LayerErrors> {
    let cancelled = || task.cancellation.is_cancelled();
    let mut errors = LayerErrors {
        leading: Vec::new(),
        error_norm: Some(0.0),
        noise: rounding_noise(task, original, choice, damage)?,
    };
    let mut bits = Vec::new();
    let mut largest_error = 0.0_f64;
    for position in slices {
        let result = matrix(position)?;
        let source = task.slice(original, position)?;
        // Zero has two patterns.
        bits.extend(result.values().iter().map(|v| (v + 0.0).to_bits()));
        let pairs = result.values().iter().zip(source.values());
        largest_error = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(largest_error, f64::max);
        if choice.scheme != Scheme::Stored {
            let difference = result.values().iter().zip(source.values()).map(|(a, b)| a - b).collect();
            let difference = Matrix::new(result.rows(), result.cols(), difference)?;
            let is_zero = difference.values().iter().all(|v| *v == 0.0);
            let largest = leading_singular(&difference, 1, &cancelled).map_err(spectrum_error)?;
            let largest = if is_zero { Some(0.0) } else { largest.map(|l| l.values[0]) };
            errors.error_norm = errors.error_norm.zip(largest).map(|(a, b)| a.max(b));
        }
        errors.leading.push(leading_space(&result, &cancelled)?);
    }
    bits.sort_unstable();
    bits.dedup();
    row.measures.insert("distinct_values".to_owned(), (bits.len() as f64).into());
    row.measures.insert("max_error".to_owned(), largest_error.into());
    Ok(errors)
}

/// The leading singular vectors; none where their space is not determined.
fn leading_space(matrix: &Matrix, cancelled: &dyn Fn() -> bool) -> Result<Option<Leading>> {
    let mut found = leading_singular(matrix, SPACE + 1, cancelled).map_err(spectrum_error)?;
    if let Some(Leading { values, left, right }) = &mut found {
        // The last of the space against the first outside of it; a matrix without such a one has singular vectors of zero there.
        let last = values.get(SPACE - 1).copied().unwrap_or(0.0);
        let is_tied = last - values.get(SPACE).copied().unwrap_or(0.0) <= TIED * values[0];
        let kept = if is_tied { 0 } else { SPACE };
        left.truncate(kept);
        right.truncate(kept);
    }
    Ok(found)
}

/// Adds to each row how far it is from the same slice of the baseline, the first level.
pub(super) fn compare_with_baseline(levels: &mut [Vec<Measured>]) {
    let Some((baseline, others)) = levels.split_first_mut() else { return };
    for level in others {
        for (own, base) in level.iter_mut().zip(baseline.iter()) {
            let (Some(errors), Some(before)) = (&own.errors, &base.errors) else { continue };
            let norm = before.leading.iter().flatten().map(|l| l.values[0]).reduce(f64::max);
            let overlap = |side: fn(&Leading) -> &[Vec<f64>]| -> Option<f64> {
                let pairs = errors.leading.iter().zip(&before.leading);
                let each: Option<Vec<f64>> =
                    pairs.map(|(a, b)| subspace_overlap(side(a.as_ref()?), side(b.as_ref()?))).collect();
                each.filter(|each| !each.is_empty()).map(|each| each.iter().sum::<f64>() / each.len() as f64)
            };
            let above = errors.noise.map(|noise| above(&base.eigenvalues, noise.edge) as f64);
            let cells: [(&str, Option<f64>); 6] = [
                ("spectral_error", errors.error_norm.zip(norm).map(|(error, norm)| error / norm)),
                ("log_wasserstein", log_wasserstein(&own.eigenvalues, &base.eigenvalues)),
                ("subspace_left", overlap(|l| &l.left)),
                ("subspace_right", overlap(|l| &l.right)),
                ("noise_edge", errors.noise.map(|noise| noise.edge)),
                ("num_above_noise", above),
            ];
            for (name, value) in cells {
                own.row.measures.insert(name.to_owned(), Cell::from(value));
            }
        }
    }
}

/// How many eigenvalues (ascending) of the original weights are above an edge.
pub(super) fn above(eigenvalues: &[f64], edge: f64) -> usize {
    eigenvalues.len() - eigenvalues.partition_point(|v| *v <= edge)
}
