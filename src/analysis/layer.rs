//! One tensor through every stage, at every level.

use rayon::prelude::*;

use super::layers::{Layer, LayerKind};
use super::options::Options;
use super::plan::{Limits, Need, concurrent_levels};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::powerlaw::{PowerLawFit, fit_weightwatcher};
use crate::progress::Cancellation;
use crate::quant::{Damage, NaiveGrid, Range, Scheme};
use crate::report::{LayerRow, Number, Status};
use crate::spectrum::{GramBuilder, Method, Metrics, SLICE, alpha_norm_log10, eigen::EigenError, singular_values};
use crate::tensor::{Dtype, decode_f32};

/// A level of the run, and what it means for one layer: the same, unless the level is a whole file's recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The level.
    pub level: Scheme,
    /// How this layer is quantized at it.
    pub scheme: Scheme,
}

/// What the analysis of one tensor needs beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct LayerTask<'a> {
    /// The tensor.
    pub layer: &'a Layer,
    /// How it is stored.
    pub dtype: Dtype,
    /// The levels, the baseline first.
    pub levels: &'a [Choice],
    /// The settings.
    pub options: &'a Options,
    /// What the machine gives.
    pub limits: &'a Limits,
    /// Asked every few milliseconds.
    pub cancellation: &'a Cancellation,
}

impl LayerTask<'_> {
    /// Analyses the tensor from its bytes: a row per level, in the order of the levels.
    ///
    /// Always delivers all rows: what can't be computed is a row with status `failed` and a reason. Levels run in parallel
    /// on the current rayon pool, as many at once as fit into the memory limit; the numbers do not depend on how many that
    /// is.
    pub fn run(&self, bytes: Vec<u8>) -> Vec<LayerRow> {
        let Self { layer, levels, .. } = *self;
        let weights = match decode(layer, self.dtype, bytes) {
            Ok(weights) => weights,
            Err(error) => return failed_rows(layer, levels, &error.to_string()),
        };
        let range = Range::of(weights.values());
        if !range.is_finite {
            return failed_rows(layer, levels, "the weights hold NaN or infinity, so there is no spectrum");
        }
        // Embeddings stand unchanged at every level: computed once.
        let computed = if layer.info.counted { levels } else { &levels[..levels.len().min(1)] };
        let at_once = concurrent_levels(&Need::new(layer, computed), self.limits);
        let mut rows: Vec<LayerRow> = Vec::with_capacity(levels.len());
        for group in computed.chunks(at_once) {
            let group: Vec<LayerRow> = group.par_iter().map(|choice| self.level(&weights, range, *choice)).collect();
            rows.extend(group);
        }
        for choice in &levels[rows.len()..] {
            let row = LayerRow { quantization: choice.level.to_string(), ..rows[0].clone() };
            rows.push(row);
        }
        rows
    }

    fn level(&self, weights: &Matrix, range: Range, choice: Choice) -> LayerRow {
        let mut row = empty_row(self.layer, choice);
        let mut damage = Damage::default();
        let spectrum = if choice.scheme.is_elementwise() {
            let grid = choice.scheme.naive_grid(range, self.options.arithmetic(), self.dtype);
            self.spectrum(weights, grid.as_ref(), &mut damage)
        } else {
            self.whole_spectrum(weights, choice.scheme, &mut damage)
        };
        match spectrum {
            Ok(spectrum) => fill(&mut row, self.layer, &spectrum, self.options),
            Err(error) => row.reason = Some(error.to_string()),
        }
        row.nonzero_fraction = damage.nonzero_fraction().into();
        if choice.scheme == Scheme::Stored {
            row.relative_error = damage.relative_error().map(|_| 0.0).into();
        } else {
            row.quantized = true;
            row.relative_error = damage.relative_error().into();
            row.sqnr_db = damage.sqnr_db().into();
        }
        row
    }

    /// The spectrum under a scheme that has to see more of the tensor than a weight at a time.
    fn whole_spectrum(&self, weights: &Matrix, scheme: Scheme, damage: &mut Damage) -> Result<Spectrum> {
        let mut dequantized = Vec::new();
        scheme.dequantized(weights, self.dtype, self.options.arithmetic(), &mut dequantized)?;
        damage.add(weights.values(), &dequantized);
        let dequantized = Matrix::new(weights.rows(), weights.cols(), dequantized)?;
        self.spectrum(&dequantized, None, &mut Damage::default())
    }

    fn spectrum(&self, weights: &Matrix, grid: Option<&NaiveGrid>, damage: &mut Damage) -> Result<Spectrum> {
        let layer = self.layer;
        let long_side = layer.gram_shape().1;
        let mut result = Spectrum {
            eigenvalues: Vec::new(),
            sv_max: 0.0,
            sv_min: f64::INFINITY,
            sv_min_of_slices: 0.0,
            rank_loss: 0,
        };
        let mut add = |matrix: &Matrix, factor: f64, damage: &mut Damage| -> Result<()> {
            let mut eigenvalues = self.eigenvalues(matrix, grid, damage)?;
            let largest = eigenvalues.last().copied().unwrap_or(0.0);
            let tolerance = largest.sqrt() * long_side as f64 * f64::EPSILON;
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
    fn eigenvalues(&self, matrix: &Matrix, grid: Option<&NaiveGrid>, damage: &mut Damage) -> Result<Vec<f64>> {
        if self.options.method() == Method::Svd {
            let mut values = matrix.values().to_vec();
            quantize_block(matrix.values(), grid, &mut values, damage)?;
            let values = singular_values(&Matrix::new(matrix.rows(), matrix.cols(), values)?, &|| {
                self.cancellation.is_cancelled()
            })
            .map_err(spectrum_error)?;
            return Ok(values.into_iter().map(|v| v * v).collect());
        }
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let (n, depth) = (rows.min(cols), rows.max(cols));
        let mut gram = GramBuilder::new(n);
        let mut panel = vec![0.0; SLICE * n];
        for start in (0..depth).step_by(SLICE) {
            self.cancellation.check()?;
            let height = SLICE.min(depth - start);
            let panel = &mut panel[..height * n];
            if rows >= cols {
                quantize_block(&matrix.values()[start * n..(start + height) * n], grid, panel, damage)?;
                gram.push(panel, height);
            } else {
                for (row, out) in matrix.values().chunks_exact(cols).zip(panel.chunks_exact_mut(height)) {
                    quantize_block(&row[start..start + height], grid, out, damage)?;
                }
                gram.push_columns(panel, height, height);
            }
        }
        let mut values = gram.finish().eigenvalues(&|| self.cancellation.is_cancelled()).map_err(spectrum_error)?;
        // Rounding of the product and of the eigenvalues: anything below is noise around zero.
        let resolution = values.last().copied().unwrap_or(0.0) * rows.max(cols) as f64 * f64::EPSILON;
        for value in &mut values {
            if *value <= resolution {
                *value = 0.0;
            }
        }
        Ok(values)
    }
}

fn spectrum_error(error: EigenError) -> Error {
    match error {
        EigenError::Cancelled => Error::Cancelled,
        error => Error::Numeric(error.to_string()),
    }
}

/// The rows of a layer of which there is nothing but a reason.
pub(super) fn failed_rows(layer: &Layer, levels: &[Choice], reason: &str) -> Vec<LayerRow> {
    levels.iter().map(|choice| LayerRow { reason: Some(reason.to_owned()), ..empty_row(layer, *choice) }).collect()
}

fn decode(layer: &Layer, dtype: Dtype, bytes: Vec<u8>) -> Result<Matrix> {
    let (rows, cols) = layer.matrix_shape();
    let mut values = vec![0.0; rows * cols];
    decode_f32(dtype, &bytes, &mut values)?;
    drop(bytes);
    Matrix::new(rows, cols, values)
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

fn empty_row(layer: &Layer, choice: Choice) -> LayerRow {
    let info = &layer.info;
    let (rows, cols) = layer.matrix_shape();
    // Embeddings stand unchanged; what is not applicable is not used.
    let used = if info.counted { choice.scheme.for_shape(rows, cols).ok() } else { None };
    LayerRow {
        quantization: choice.level.to_string(),
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
        bits_per_weight: used.and_then(|scheme| scheme.bits_per_weight(rows as u64, cols as u64)).into(),
        nonzero_fraction: Number::NONE,
        relative_error: Number::NONE,
        sqnr_db: Number::NONE,
        scheme_used: used.filter(|scheme| *scheme != Scheme::Stored).map(|scheme| scheme.to_string()),
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
