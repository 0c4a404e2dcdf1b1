//! A layer's row: what is known of it from its eigenvalues.

use super::layer::{Choice, Spectrum};
use super::layers::Layer;
use super::options::Options;
use crate::error::Result;
use crate::powerlaw::{FixFingers, PowerLawFit, VariedFit, fit_truncated, fit_varied, last_up_to, peak};
use crate::quant::Scheme;
use crate::report::{LayerRow, Measures, Number, Status};
use crate::spectrum::{Metrics, alpha_norm_log10, scaled_alpha_norm_log10};

/// A row of which nothing is known but the layer.
pub(super) fn empty_row(layer: &Layer, choice: Choice) -> LayerRow {
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
        longname: layer.longname().to_owned(),
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
        cosine: Number::NONE,
        scheme_used: used.filter(|scheme| *scheme != Scheme::Stored).map(|scheme| scheme.to_string()),
        measures: Measures::new(),
        curves: None,
    }
}

/// Fills in what the eigenvalues say.
pub(super) fn fill(row: &mut LayerRow, layer: &Layer, spectrum: &Spectrum, options: &Options) -> Result<()> {
    let compat = options.compat.is_weightwatcher();
    let metrics = Metrics::new(&spectrum.eigenvalues, layer.info.n as usize, options.tolerance);
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
    // One eigenvalue has nothing to be spread over; the tool divides by ln(1 + 1e-10).
    row.entropy = if metrics.matrix_rank > 1 || compat { number(metrics.entropy) } else { Number::NONE };
    row.rank_loss = number(spectrum.rank_loss as f64);
    row.weak_rank_loss = number(metrics.weak_rank_loss as f64);
    row.sv_max = number(spectrum.sv_max);
    row.sv_min = number(if compat { spectrum.sv_min_of_slices } else { spectrum.sv_min });
    if options.is_truncated() {
        fill_truncated(row, &spectrum.eigenvalues, log_spectral_norm, options);
        return Ok(());
    }
    let fit_options = options.fit_options()?;
    let fits_fingers = matches!(fit_options.fix_fingers, FixFingers::ClipXmax { .. });
    let outcome = fit_varied(&spectrum.eigenvalues, &fit_options);
    if fits_fingers {
        let fingers = outcome.as_ref().ok().and_then(|fit| fit.fingers);
        row.measures.insert("num_fingers".to_owned(), fingers.map(|f| f.0 as f64).into());
        row.measures.insert("raw_alpha".to_owned(), fingers.map(|f| f.1).into());
    }
    let failure = match outcome {
        Ok(VariedFit { fit, .. }) => match fit.degenerate().filter(|_| !compat) {
            None => {
                fill_fit(row, &fit, &spectrum.eigenvalues, log_spectral_norm, compat);
                return Ok(());
            }
            Some(reason) => reason,
        },
        Err(failure) => failure.reason,
    };
    fill_failure(row, failure, &spectrum.eigenvalues, log_spectral_norm, compat);
    Ok(())
}

/// A fit that failed is alpha = -1 in the tool.
fn fill_failure(row: &mut LayerRow, reason: String, eigenvalues: &[f64], log_spectral_norm: f64, compat: bool) {
    row.reason = Some(reason);
    if compat {
        let alpha = -1.0;
        for field in [&mut row.alpha, &mut row.ks_distance, &mut row.sigma, &mut row.xmin, &mut row.num_pl_spikes] {
            *field = Number::from(alpha);
        }
        warning(alpha).clone_into(&mut row.warning);
        row.alpha_weighted = (alpha * log_spectral_norm).into();
        row.log_alpha_norm = alpha_norm_log10(eigenvalues, alpha).into();
    }
}

/// The truncated law: `Lambda` beside alpha, no standard error. The tool has no upper end either.
fn fill_truncated(row: &mut LayerRow, eigenvalues: &[f64], log_spectral_norm: f64, options: &Options) {
    let compat = options.compat.is_weightwatcher();
    let (low, high) = match peak(eigenvalues).filter(|_| options.fit == "E_TPL") {
        None => (0.0, f64::INFINITY),
        // The tool compares a value with a logarithm, and never tries the last value of the range.
        Some(peak) if compat => {
            let last = last_up_to(eigenvalues, options.xmin_max.unwrap_or(1.5 * peak));
            (libm::log10(0.95 * peak), last.next_down())
        }
        Some(peak) => (0.95 * peak, options.xmin_max.unwrap_or(1.5 * peak)),
    };
    let outcome = fit_truncated(eigenvalues, low, high);
    row.measures.insert("Lambda".to_owned(), outcome.as_ref().ok().map(|fit| fit.lambda).into());
    let fit = match outcome {
        Ok(fit) => fit,
        Err(failure) => return fill_failure(row, failure.reason, eigenvalues, log_spectral_norm, compat),
    };
    let law = PowerLawFit {
        alpha: fit.alpha,
        sigma: f64::NAN,
        ks_distance: fit.ks_distance,
        xmin: fit.xmin,
        xmax: fit.xmax,
        tail_len: fit.tail_len,
    };
    if !compat && law.alpha <= 1.0 {
        let reason =
            "degenerate fit: alpha ends at its bound of 1, where the truncated law falls as an exponential".to_owned();
        return fill_failure(row, reason, eigenvalues, log_spectral_norm, compat);
    }
    fill_fit(row, &law, eigenvalues, log_spectral_norm, compat);
    (row.sigma, row.reason) = (Number::NONE, None);
    if compat {
        row.xmax = Number::NONE;
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
    warning(fit.alpha).clone_into(&mut row.warning);
    row.alpha_weighted = (fit.alpha * log_spectral_norm).into();
    row.log_alpha_norm = if compat {
        alpha_norm_log10(eigenvalues, fit.alpha).into()
    } else {
        Number::finite(scaled_alpha_norm_log10(eigenvalues, fit.alpha))
    };
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
