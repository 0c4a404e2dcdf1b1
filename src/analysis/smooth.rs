//! Layers with some of their singular components: smoothed, or without what stands out of noise.

use super::layers::{Layer, LayerKind};
use super::options::Options;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::powerlaw::fit_weightwatcher;
use crate::spectrum::{Components, GramBuilder, erg_point, fit_noise, shuffle};

/// Which components a layer keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Smoothing {
    /// Those from the point on where `|det X| = 1` (`detX_num`).
    DetX,
    /// A share of all.
    Svd {
        /// The share.
        percent: f64,
    },
    /// Those above the Marchenko-Pastur law fitted to them (`num_spikes`).
    Rmt,
    /// Those of the power law's tail (`num_pl_spikes`).
    AlphaMin,
    /// [`Smoothing::Rmt`] for an alpha above 6, else [`Smoothing::DetX`].
    Auto,
    /// All but as many of the largest as stand out of the Marchenko-Pastur law of the same weights in random order.
    Sharpness,
}

/// A smoothed layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoothed {
    /// The weights, in the shape they came in.
    pub matrix: Matrix,
    /// Components kept of each of the layer's matrices.
    pub kept: usize,
    /// Components that each has.
    pub of: usize,
}

/// `matrix` (as [`Layer::matrix_shape`] has it) with some of its singular components, chosen by the eigenvalues of all kernel
/// positions together; of a convolution the same number, rounded up, at each position. Where none would be left, all are
/// kept.
///
/// A fit that fails leaves the layer as it is. In the tool a failed Marchenko-Pastur fit has -1 spikes, so that smoothing
/// removes the largest component and sharpening keeps nothing else.
///
/// # Errors
/// As [`Components::new`].
///
/// # Cost
/// That of [`Components::new`].
///
/// # Source
/// `WeightWatcher` 0.7.7, `SVDSmoothing` and `SVDSharpness`, which approximate the components by a random projection; these
/// are exact.
pub fn smoothed(layer: &Layer, matrix: &Matrix, smoothing: Smoothing, options: &Options) -> Result<Smoothed> {
    let (out, input, positions) = match layer.kind {
        LayerKind::Dense { rows, cols } => (rows, cols, 1),
        LayerKind::Conv2d { out, input, positions } => (out, input, positions),
    };
    let slice = |position| Ok(layer.slice(matrix, position)?.into_owned());
    let slices: Vec<Matrix> = (0..positions).map(slice).collect::<Result<_>>()?;
    let components: Vec<Components> = slices.iter().map(Components::new).collect::<Result<_>>()?;
    let mut eigenvalues: Vec<f64> = components.iter().flat_map(Components::eigenvalues).map(|v| v.max(0.0)).collect();
    eigenvalues.sort_by(f64::total_cmp);
    let of = out.min(input);
    let kept = match smoothing {
        Smoothing::Sharpness => {
            let removed = spikes_of_noise(layer, &slices, options)?;
            // A negative number is the tool's failed fit.
            if removed < 0 { 0..1 } else { (removed as usize / positions)..of }
        }
        smoothing => {
            let count = count(layer, &eigenvalues, smoothing, options);
            if count < 0 { 1..of } else { 0..(count as usize).div_ceil(positions) }
        }
    };
    let kept = if kept.is_empty() { 0..of } else { kept.start..kept.end.min(of) };
    let mut values = vec![0.0; matrix.values().len()];
    for (position, components) in components.iter().enumerate() {
        let sum = components.sum(kept.clone())?;
        for (to, from) in values.iter_mut().skip(position).step_by(positions).zip(sum.values()) {
            *to = *from;
        }
    }
    Ok(Smoothed { matrix: Matrix::new(matrix.rows(), matrix.cols(), values)?, kept: kept.len(), of })
}

/// How many components to keep over all positions, 0 if that can't be said; in compatibility mode -1 after a failed fit.
fn count(layer: &Layer, eigenvalues: &[f64], smoothing: Smoothing, options: &Options) -> i64 {
    let compat = options.compat.is_weightwatcher();
    let failed = if compat { -1 } else { 0 };
    let on_the_fit = || fit_weightwatcher(eigenvalues).ok().filter(|fit| compat || fit.degenerate().is_none());
    let info = &layer.info;
    match smoothing {
        Smoothing::DetX => erg_point(eigenvalues, compat).map_or(0, |point| point.count as i64),
        Smoothing::Svd { percent } => (percent * (info.m * info.rf) as f64) as i64,
        Smoothing::Rmt => fit_noise(eigenvalues, info.n, info.m, compat).map_or(failed, |fit| fit.spikes as i64),
        Smoothing::AlphaMin => on_the_fit().map_or(failed, |fit| fit.tail_len as i64),
        Smoothing::Auto => {
            let is_noise = on_the_fit().is_some_and(|fit| fit.alpha > 6.0);
            count(layer, eigenvalues, if is_noise { Smoothing::Rmt } else { Smoothing::DetX }, options)
        }
        Smoothing::Sharpness => 0,
    }
}

/// How many eigenvalues of the weights in random order stand out of the law fitted to them.
fn spikes_of_noise(layer: &Layer, slices: &[Matrix], options: &Options) -> Result<i64> {
    let mut eigenvalues = Vec::new();
    for (position, slice) in slices.iter().enumerate() {
        let mut values = slice.values().to_vec();
        shuffle(&mut values, options.seed, (layer.info.layer_id << 32) | ((position as u64) << 8));
        let (rows, cols) = (slice.rows(), slice.cols());
        let mut gram = GramBuilder::new(rows.min(cols));
        if rows >= cols {
            gram.push(&values, rows);
        } else {
            gram.push_columns(&values, cols, cols);
        }
        let values = gram.finish().eigenvalues(&|| false).map_err(|error| Error::Numeric(error.to_string()))?;
        eigenvalues.extend(values.into_iter().map(|v| v.max(0.0)));
    }
    eigenvalues.sort_by(f64::total_cmp);
    let compat = options.compat.is_weightwatcher();
    let fit = fit_noise(&eigenvalues, layer.info.n, layer.info.m, compat);
    Ok(fit.map_or(if compat { -1 } else { 0 }, |fit| fit.spikes as i64))
}
