//! One tensor through every stage, at every level.

use rayon::prelude::*;

use super::layers::{Layer, LayerKind};
use super::options::Options;
use super::plan::{Limits, concurrent_levels};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::powerlaw::{PowerLawFit, fit_weightwatcher};
use crate::quant::{Damage, NaiveGrid, Range, Scheme};
use crate::report::{LayerRow, Number, Status};
use crate::spectrum::{
    EPSILON, GramBuilder, Method, Metrics, alpha_norm_log10, singular_values, symmetric_eigenvalues,
};
use crate::tensor::{Dtype, decode_f32};

/// Analyses one tensor from its bytes: a row per level, in the order of `levels`.
///
/// Always delivers all rows: what can't be computed is a row with status `failed` and a reason. Levels run in parallel on
/// the current rayon pool, as many at once as fit into `limits.memory`; the numbers do not depend on how many that is.
pub fn analyse_layer(
    layer: &Layer,
    dtype: Dtype,
    bytes: Vec<u8>,
    levels: &[Scheme],
    options: &Options,
    limits: &Limits,
) -> Vec<LayerRow> {
    let elements: u64 = layer.info.shape.iter().product();
    let weights = match decode(layer, dtype, bytes) {
        Ok(weights) => weights,
        Err(error) => return failed_rows(layer, levels, &error.to_string()),
    };
    let range = Range::of(weights.values());
    if !range.is_finite {
        return failed_rows(layer, levels, "the weights hold NaN or infinity, so there is no spectrum");
    }
    // Embeddings stand unchanged at every level: computed once.
    let computed = if layer.info.counted { levels } else { &levels[..levels.len().min(1)] };
    let at_once = concurrent_levels(layer, elements, computed.len(), limits);
    let mut rows: Vec<LayerRow> = Vec::with_capacity(levels.len());
    for group in computed.chunks(at_once) {
        let group: Vec<LayerRow> =
            group.par_iter().map(|scheme| analyse_level(layer, dtype, &weights, range, *scheme, options)).collect();
        rows.extend(group);
    }
    for scheme in &levels[rows.len()..] {
        let row = LayerRow { quantization: scheme.to_string(), ..rows[0].clone() };
        rows.push(row);
    }
    rows
}

/// The rows of a layer of which there is nothing but a reason.
pub(super) fn failed_rows(layer: &Layer, levels: &[Scheme], reason: &str) -> Vec<LayerRow> {
    levels.iter().map(|scheme| LayerRow { reason: Some(reason.to_owned()), ..empty_row(layer, *scheme) }).collect()
}

fn decode(layer: &Layer, dtype: Dtype, bytes: Vec<u8>) -> Result<Matrix> {
    let (rows, cols) = match layer.kind {
        LayerKind::Dense { rows, cols } => (rows, cols),
        LayerKind::Conv2d { out, input, positions } => (out, input * positions),
    };
    let mut values = vec![0.0; rows * cols];
    decode_f32(dtype, &bytes, &mut values)?;
    drop(bytes);
    Matrix::new(rows, cols, values)
}

fn analyse_level(
    layer: &Layer,
    dtype: Dtype,
    weights: &Matrix,
    range: Range,
    scheme: Scheme,
    options: &Options,
) -> LayerRow {
    let grid = match scheme {
        Scheme::Naive { bits, symmetric } => Some(NaiveGrid::new(range, bits, symmetric, options.arithmetic(), dtype)),
        Scheme::Stored => None,
    };
    let mut row = empty_row(layer, scheme);
    let mut damage = Damage::default();
    match spectrum(layer, weights, grid.as_ref(), options.method(), &mut damage) {
        Ok(spectrum) => fill(&mut row, layer, &spectrum, options),
        Err(error) => row.reason = Some(error.to_string()),
    }
    row.nonzero_fraction = damage.nonzero_fraction().into();
    if grid.is_some() {
        row.quantized = true;
        row.relative_error = damage.relative_error().into();
        row.sqnr_db = damage.sqnr_db().into();
    } else {
        row.relative_error = damage.relative_error().map(|_| 0.0).into();
    }
    row
}

/// The pooled eigenvalues of a layer.
struct Spectrum {
    /// Ascending.
    eigenvalues: Vec<f64>,
    sv_max: f64,
    /// Smallest singular value.
    sv_min: f64,
    /// Largest of the matrices' smallest singular values: what `WeightWatcher` calls `sv_min`.
    sv_min_of_slices: f64,
    rank_loss: usize,
}

fn spectrum(
    layer: &Layer,
    weights: &Matrix,
    grid: Option<&NaiveGrid>,
    method: Method,
    damage: &mut Damage,
) -> Result<Spectrum> {
    let long_side = layer.gram_shape().1;
    let mut result =
        Spectrum { eigenvalues: Vec::new(), sv_max: 0.0, sv_min: f64::INFINITY, sv_min_of_slices: 0.0, rank_loss: 0 };
    let mut add = |matrix: &Matrix, factor: f64, damage: &mut Damage| -> Result<()> {
        let mut eigenvalues = matrix_eigenvalues(matrix, grid, method, damage)?;
        let largest = eigenvalues.last().copied().unwrap_or(0.0);
        let tolerance = largest.sqrt() * long_side as f64 * EPSILON;
        result.rank_loss += eigenvalues.iter().filter(|v| v.sqrt() <= tolerance).count();
        for value in &mut eigenvalues {
            *value *= factor;
        }
        let smallest = eigenvalues.first().copied().unwrap_or(0.0).sqrt();
        result.sv_max = result.sv_max.max((largest * factor).sqrt());
        result.sv_min = result.sv_min.min(smallest);
        result.sv_min_of_slices = result.sv_min_of_slices.max(smallest);
        result.eigenvalues.extend(eigenvalues);
        Ok(())
    };
    match layer.kind {
        LayerKind::Dense { .. } => add(weights, 1.0, damage)?,
        LayerKind::Conv2d { out, input, positions } => {
            for position in 0..positions {
                let values = weights.values().iter().skip(position).step_by(positions).copied().collect();
                // WeightWatcher scales the kernel by sqrt(1/2), so the eigenvalues of convolutions are halved.
                add(&Matrix::new(out, input, values)?, 0.5, damage)?;
            }
        }
    }
    result.eigenvalues.sort_by(f64::total_cmp);
    Ok(result)
}

/// Squared singular values of one (quantized) matrix, ascending, and its damage on the way.
fn matrix_eigenvalues(
    matrix: &Matrix,
    grid: Option<&NaiveGrid>,
    method: Method,
    damage: &mut Damage,
) -> Result<Vec<f64>> {
    if method == Method::Svd {
        let mut values = matrix.values().to_vec();
        quantize_block(matrix.values(), grid, &mut values, damage)?;
        let values = singular_values(&Matrix::new(matrix.rows(), matrix.cols(), values)?)?;
        return Ok(values.into_iter().map(|v| v * v).collect());
    }
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let n = rows.min(cols);
    let mut gram = GramBuilder::new(n)?;
    let mut original = vec![0.0; GramBuilder::PANEL_ROWS * n];
    let mut panel = vec![0.0; GramBuilder::PANEL_ROWS * n];
    for start in (0..rows.max(cols)).step_by(GramBuilder::PANEL_ROWS) {
        let height = GramBuilder::PANEL_ROWS.min(rows.max(cols) - start);
        let block = if rows >= cols {
            &matrix.values()[start * cols..(start + height) * cols]
        } else {
            let block = &mut original[..height * n];
            transpose_columns(matrix, start, block);
            block
        };
        let panel = &mut panel[..height * n];
        quantize_block(block, grid, panel, damage)?;
        gram.push(panel);
    }
    let mut values = symmetric_eigenvalues(gram.finish(), n)?;
    // Rounding of the product and of the eigenvalues: anything below is noise around zero.
    let resolution = values.last().copied().unwrap_or(0.0) * rows.max(cols) as f64 * EPSILON;
    for value in &mut values {
        if *value <= resolution {
            *value = 0.0;
        }
    }
    Ok(values)
}

fn quantize_block(block: &[f32], grid: Option<&NaiveGrid>, out: &mut [f32], damage: &mut Damage) -> Result<()> {
    match grid {
        Some(grid) => grid.dequantize(block, out),
        None => out.copy_from_slice(block),
    }
    damage.add(block, out);
    // Half-precision arithmetic overflows on weights that half precision holds.
    if grid.is_some() && out.iter().any(|v| !v.is_finite()) {
        return Err(Error::Numeric("quantizing overflowed: the dequantized weights hold NaN or infinity".to_owned()));
    }
    Ok(())
}

/// Writes columns `start..` of a matrix as rows, `[out.len() / rows, rows]`.
fn transpose_columns(matrix: &Matrix, start: usize, out: &mut [f32]) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let width = out.len() / rows;
    for (r, row) in matrix.values().chunks_exact(cols).enumerate() {
        for (c, value) in row[start..start + width].iter().enumerate() {
            out[c * rows + r] = *value;
        }
    }
}

fn empty_row(layer: &Layer, scheme: Scheme) -> LayerRow {
    let info = &layer.info;
    let elements = info.shape.iter().product();
    LayerRow {
        quantization: scheme.to_string(),
        layer_id: info.layer_id,
        name: info.name.clone(),
        ks_distance: Number::NONE,
        m: info.m,
        n: info.n,
        q: info.q,
        alpha: Number::NONE,
        alpha_weighted: Number::NONE,
        entropy: Number::NONE,
        has_esd: false,
        lambda_max: Number::NONE,
        layer_type: info.layer_type.clone(),
        log_alpha_norm: Number::NONE,
        log_norm: Number::NONE,
        log_spectral_norm: Number::NONE,
        longname: info.name.clone(),
        matrix_rank: Number::NONE,
        norm: Number::NONE,
        num_evals: info.num_evals,
        num_pl_spikes: Number::NONE,
        rank_loss: Number::NONE,
        rf: info.rf,
        sigma: Number::NONE,
        spectral_norm: Number::NONE,
        stable_rank: Number::NONE,
        status: Status::Failed,
        sv_max: Number::NONE,
        sv_min: Number::NONE,
        warning: String::new(),
        weak_rank_loss: Number::NONE,
        xmax: Number::NONE,
        xmin: Number::NONE,
        reason: None,
        counted: info.counted,
        quantized: false,
        dtype: info.dtype.clone(),
        shape: info.shape.clone(),
        bits_per_weight: if info.counted { scheme.bits_per_weight(elements) } else { None }.into(),
        nonzero_fraction: Number::NONE,
        relative_error: Number::NONE,
        sqnr_db: Number::NONE,
    }
}

fn fill(row: &mut LayerRow, layer: &Layer, spectrum: &Spectrum, options: &Options) {
    let compat = options.compat.is_weightwatcher();
    let metrics = Metrics::new(&spectrum.eigenvalues, layer.info.n as usize);
    // A zero matrix has a norm of 0, whose logarithm is no number to average.
    let number = |v: f64| if compat { Number::from(v) } else { Number::finite(v) };
    let log_spectral_norm = libm::log10(metrics.spectral_norm);
    row.has_esd = true;
    row.norm = number(metrics.norm);
    row.log_norm = number(libm::log10(metrics.norm));
    row.spectral_norm = number(metrics.spectral_norm);
    row.lambda_max = row.spectral_norm;
    row.log_spectral_norm = number(log_spectral_norm);
    row.stable_rank = number(metrics.stable_rank);
    row.matrix_rank = number(metrics.matrix_rank as f64);
    row.entropy = number(metrics.entropy);
    row.rank_loss = number(spectrum.rank_loss as f64);
    row.weak_rank_loss = number(metrics.weak_rank_loss as f64);
    row.sv_max = number(spectrum.sv_max);
    row.sv_min = number(if compat { spectrum.sv_min_of_slices } else { spectrum.sv_min });
    let failure = match fit_weightwatcher(&spectrum.eigenvalues) {
        Ok(fit) => match fit.degenerate().filter(|_| !compat) {
            None => {
                fill_fit(row, &fit, &spectrum.eigenvalues, log_spectral_norm, compat);
                return;
            }
            Some(reason) => reason,
        },
        Err(failure) => failure.reason,
    };
    row.reason = Some(failure);
    if compat {
        let alpha = -1.0;
        for field in [&mut row.alpha, &mut row.ks_distance, &mut row.sigma, &mut row.xmin, &mut row.num_pl_spikes] {
            *field = Number::from(alpha);
        }
        row.warning = warning(alpha).to_owned();
        row.alpha_weighted = number(alpha * log_spectral_norm);
        row.log_alpha_norm = number(alpha_norm_log10(&spectrum.eigenvalues, alpha));
    }
}

fn fill_fit(row: &mut LayerRow, fit: &PowerLawFit, eigenvalues: &[f64], log_spectral_norm: f64, compat: bool) {
    row.status = Status::Success;
    row.alpha = fit.alpha.into();
    // With fewer than eight values WeightWatcher reports the standard error of a fit it skipped, which is negative.
    row.sigma =
        if compat || fit.sigma >= 0.0 { fit.sigma } else { (fit.alpha - 1.0) / (fit.tail_len as f64).sqrt() }.into();
    row.ks_distance = fit.ks_distance.into();
    row.xmin = fit.xmin.into();
    row.xmax = fit.xmax.into();
    row.num_pl_spikes = Number::from(fit.tail_len as f64);
    row.warning = warning(fit.alpha).to_owned();
    row.alpha_weighted = (fit.alpha * log_spectral_norm).into();
    let log_alpha_norm = alpha_norm_log10(eigenvalues, fit.alpha);
    row.log_alpha_norm = if compat { log_alpha_norm.into() } else { Number::finite(log_alpha_norm) };
    if let Some(oddity) = fit.degenerate() {
        row.reason = Some(oddity);
    }
}

/// `WeightWatcher`'s words for its bounds; both comparisons are strict.
fn warning(alpha: f64) -> &'static str {
    if alpha < 2.0 {
        "over-trained"
    } else if alpha > 6.0 {
        "under-trained"
    } else {
        ""
    }
}
