//! The columns that a row has only when they are asked for.

use std::ops::Range;

use super::layer::LayerTask;
use super::layers::Layer;
use super::options::{Options, Peft};
use super::trust::{Spectra, add_trust, place};
use super::weights::Source;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::powerlaw::{hill_curve, kept, xmin_mid_alpha, xmin_scan};
use crate::quant::Damage;
use crate::report::{Cell, Curves, DeltaPoint, LayerRow, Status};
use crate::spectrum::{
    NoiseFit, VectorMeasures, erg_point, fit_noise, jensen_shannon_distance, log_spacings, shuffle, spacing_ratio,
    square_blocks, vector_measures,
};

/// Adds the columns that the options ask for to a row that is filled in. `eigenvalues` are the row's, ascending;
/// `matrix(position)` are the weights they come from, as the level leaves them.
///
/// Returns the bootstrap's alphas, if there are any.
///
/// # Errors
/// Those of `matrix`, and of its eigenvalues.
pub(super) fn add_measures(
    task: &LayerTask,
    row: &mut LayerRow,
    eigenvalues: &[f64],
    slices: Range<usize>,
    matrix: impl Fn(usize) -> Result<Matrix>,
) -> Result<Vec<f64>> {
    let LayerTask { layer, options, .. } = *task;
    let place = place(layer, slices.start);
    add_spectral_measures(row, layer, eigenvalues, options);
    if options.peft != Peft::No {
        row.measures.entry("peft".to_owned()).or_insert_with(|| "False".to_owned().into());
    }
    if options.vectors {
        add_vector_measures(row, slices.clone(), &matrix)?;
    }
    if options.farms > 0 {
        let alpha = block_alpha(task, slices.clone(), &matrix, options.farms as usize)?;
        set(row, "alpha_farms", alpha);
    }
    let randomized = Randomized { task, slices, matrix };
    let mut random = None;
    if options.randomize {
        random = Some(randomized.add(row, eigenvalues)?);
    } else if options.trust {
        random = Some(randomized.eigenvalues(0)?);
    }
    let Some(random) = random.filter(|_| options.trust) else { return Ok(Vec::new()) };
    Ok(add_trust(row, Spectra { own: eigenvalues, random: &random }, place, options))
}

/// Adds the columns that the options ask for and that are made of the eigenvalues alone.
pub(super) fn add_spectral_measures(row: &mut LayerRow, layer: &Layer, eigenvalues: &[f64], options: &Options) {
    if options.mp_fit {
        add_noise_fit(row, layer, eigenvalues, "", options);
    }
    if options.detx {
        add_erg_point(row, eigenvalues, options);
    }
    if options.detx || options.trust {
        add_setol(row, eigenvalues);
    }
    if options.deltas {
        set(row, "level_spacing_ratio", spacing_ratio(eigenvalues));
        set(row, "log_delta_mean", mean_log_spacing(eigenvalues));
    }
    if options.curves > 0 {
        row.curves = Some(curves(eigenvalues, options.curves as usize));
    }
}

/// The curves of a spectrum (ascending), each of no more than about `most` points.
pub fn curves(eigenvalues: &[f64], most: usize) -> Curves {
    let spacings = log_spacings(eigenvalues);
    let delta = |below: usize| DeltaPoint { place: below + 1, log_delta: spacings[below].into() };
    Curves {
        xmin: xmin_scan(eigenvalues, most),
        hill: hill_curve(eigenvalues, most),
        deltas: kept(spacings.len(), most).into_iter().map(delta).collect(),
    }
}

/// Mean of `log10` of the distances between different neighbours.
fn mean_log_spacing(eigenvalues: &[f64]) -> Option<f64> {
    let logs: Vec<f64> = log_spacings(eigenvalues).into_iter().filter(|v| v.is_finite()).collect();
    (!logs.is_empty()).then(|| logs.iter().sum::<f64>() / logs.len() as f64)
}

/// How far the fit is from SETOL's ideal layer, which has alpha = 2 and its tail begin where `|det X| = 1`: alpha less 2, and
/// `log10` of xmin over the eigenvalue at that point. Both are 0 there.
///
/// # Source
/// Martin and Hinrichs 2025 (SETOL), sections 5 and 6.
fn add_setol(row: &mut LayerRow, eigenvalues: &[f64]) {
    let fitted = row.status == Status::Success;
    let point = erg_point(eigenvalues, false).filter(|point| point.count > 0 && point.value > 0.0);
    let alpha = row.alpha.0.filter(|alpha| fitted && alpha.is_finite());
    let ratio = row.xmin.0.filter(|_| fitted).zip(point).map(|(xmin, point)| libm::log10(xmin / point.value));
    set(row, "setol_alpha_distance", alpha.map(|alpha| alpha - 2.0));
    set(row, "setol_xmin_log_ratio", ratio);
}

/// Adds the comparison with the same weights in random order, and returns the spectrum of that order, ascending.
pub(super) fn add_randomized(
    task: &LayerTask,
    row: &mut LayerRow,
    eigenvalues: &[f64],
    slices: Range<usize>,
    matrix: impl Fn(usize) -> Result<Matrix>,
) -> Result<Vec<f64>> {
    Randomized { task, slices, matrix }.add(row, eigenvalues)
}

/// The `xmin_mid` alpha of the eigenvalues of all square blocks together.
///
/// # Source
/// Hu et al., ICML 2025 (FARMS).
fn block_alpha(
    task: &LayerTask,
    slices: Range<usize>,
    matrix: impl Fn(usize) -> Result<Matrix>,
    side: usize,
) -> Result<Option<f64>> {
    let mut eigenvalues = Vec::new();
    for position in slices {
        for block in square_blocks(&matrix(position)?, side) {
            eigenvalues.extend(task.eigenvalues(Source::Whole(&block), None, &mut Damage::default())?);
        }
    }
    eigenvalues.sort_by(f64::total_cmp);
    Ok(xmin_mid_alpha(&eigenvalues))
}

/// A column and how to read it.
type Named<T> = (&'static str, fn(&T) -> f64);

fn set(row: &mut LayerRow, name: &str, value: impl Into<Cell>) {
    row.measures.insert(name.to_owned(), value.into());
}

fn add_erg_point(row: &mut LayerRow, eigenvalues: &[f64], options: &Options) {
    let compat = options.compat.is_weightwatcher();
    let point = erg_point(eigenvalues, compat);
    // Of a zero matrix the tool says that there are 0, at NaN.
    let nothing = |value: f64| compat.then_some(value);
    let count = point.map(|p| p.count as f64).or(nothing(0.0));
    set(row, "detX_num", count);
    set(row, "num_ERG_spikes", count);
    set(row, "ERG_gap", count.zip(row.num_pl_spikes.0).map(|(erg, tail)| erg - tail));
    let (scaled, unscaled) =
        (point.map(|p| p.rescaled).or(nothing(f64::NAN)), point.map(|p| p.value).or(nothing(f64::NAN)));
    // The tool has the two names the wrong way round.
    set(row, "detX_val", if compat { unscaled } else { scaled });
    set(row, "detX_val_unrescaled", if compat { scaled } else { unscaled });
}

fn add_noise_fit(row: &mut LayerRow, layer: &Layer, eigenvalues: &[f64], prefix: &str, options: &Options) {
    let compat = options.compat.is_weightwatcher();
    let fit = fit_noise(eigenvalues, layer.info.n, layer.info.m, compat);
    let values: [Named<NoiseFit>; 6] = [
        ("sigma_mp", |f| f.sigma),
        ("num_spikes", |f| f.spikes as f64),
        ("mp_softrank", |f| f.soft_rank),
        ("W_scale", |f| f.scale),
        ("bulk_max", |f| f.bulk_max),
        ("bulk_min", |f| f.bulk_min),
    ];
    for (name, value) in values {
        // The tool reports a fit that went wrong as -1.
        let value = fit.as_ref().map(value).or(compat.then_some(-1.0));
        set(row, &format!("{prefix}{name}"), value);
    }
}

/// Means and variances over the eigenvectors of the tail, which are as many as its eigenvalues, and over the others.
fn add_vector_measures(
    row: &mut LayerRow,
    slices: Range<usize>,
    matrix: impl Fn(usize) -> Result<Matrix>,
) -> Result<()> {
    let mut vectors = Vec::new();
    for position in slices {
        vectors.extend(vector_measures(&matrix(position)?)?);
    }
    vectors.sort_by(|a, b| a.eigenvalue.total_cmp(&b.eigenvalue));
    let tail = (row.num_pl_spikes.0.unwrap_or(0.0).max(0.0) as usize).min(vectors.len());
    let (bulk, tail) = vectors.split_at(vectors.len() - tail);
    for (side, vectors) in [("bulk", bulk), ("tail", tail)] {
        let measures: [Named<VectorMeasures>; 3] =
            [("vec_entropy", |v| v.entropy), ("loc_ratio", |v| v.localization), ("part_ratio", |v| v.participation)];
        for (name, measure) in measures {
            let count = vectors.len() as f64;
            let mean = vectors.iter().map(measure).sum::<f64>() / count;
            let variance = vectors.iter().map(|v| (measure(v) - mean).powi(2)).sum::<f64>() / count;
            set(row, &format!("{side}_mean_{name}"), Some(mean).filter(|v| v.is_finite()));
            set(row, &format!("{side}_var_{name}"), Some(variance).filter(|v| v.is_finite()));
        }
    }
    Ok(())
}

/// A layer whose weights are put into random order.
struct Randomized<'a, F> {
    task: &'a LayerTask<'a>,
    slices: Range<usize>,
    matrix: F,
}

impl<F: Fn(usize) -> Result<Matrix>> Randomized<'_, F> {
    /// Adds the comparison with the spectrum of the first random order, and returns that spectrum.
    fn add(&self, row: &mut LayerRow, eigenvalues: &[f64]) -> Result<Vec<f64>> {
        /// A spectrum of fewer values is taken of several orders.
        const FEW: usize = 100;
        let compat = self.task.options.compat.is_weightwatcher();
        let replicas = if eigenvalues.len() < FEW { 5 } else { 1 };
        let first = self.eigenvalues(0)?;
        let mut all = first.clone();
        for replica in 1..replicas {
            all.extend(self.eigenvalues(replica)?);
        }
        all.sort_by(f64::total_cmp);
        // The tool takes distances to an order of its own.
        let compared = if compat { self.eigenvalues(replicas)? } else { first.clone() };
        set(row, "max_rand_eval", all.last().copied());
        set(row, "rand_distance", jensen_shannon_distance(eigenvalues, &compared));
        let largest = compared.last().copied().zip(eigenvalues.last().copied());
        set(row, "ww_softrank", largest.map(|(random, own)| random / own).filter(|v| compat || v.is_finite()));
        set(row, "ww_maxdist", largest.map(|(random, own)| own - random));
        add_noise_fit(row, self.task.layer, &all, "rand_", self.task.options);
        let traps = row.measures.get("rand_num_spikes").and_then(Cell::number);
        set(row, "num_traps", traps);
        Ok(first)
    }

    /// The spectrum of the weights in the random order of that number, the same at every level; ascending.
    fn eigenvalues(&self, replica: u64) -> Result<Vec<f64>> {
        let factor = self.task.normalisation();
        let mut result = Vec::new();
        for position in self.slices.clone() {
            let matrix = (self.matrix)(position)?;
            let (rows, cols) = (matrix.rows(), matrix.cols());
            let mut values = matrix.values().to_vec();
            let stream = (self.task.layer.info.layer_id << 32) | ((position as u64) << 8) | replica;
            shuffle(&mut values, self.task.options.seed, stream);
            let shuffled = Matrix::new(rows, cols, values)?;
            let values = self.task.eigenvalues(Source::Whole(&shuffled), None, &mut Damage::default())?;
            result.extend(values.into_iter().map(|v| v * factor));
        }
        result.sort_by(f64::total_cmp);
        Ok(result)
    }
}
