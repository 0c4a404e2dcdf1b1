//! One layer at one level, with all that a picture of it needs.

use std::ops::Range;

use super::combine::select_combined;
use super::errors::{RoundingNoise, above, add_errors, compare_with_baseline, rounding_noise};
use super::flight::Side;
use super::layer::{Choice, LayerTask, Original};
use super::layers::Layer;
use super::measures::add_randomized;
use super::options::Options;
use super::plan::{Limits, Need};
use super::run::{choose, parts, sources};
use super::trust::{Measured, Spectra, add_changes, add_trust, fit_of, place};
use crate::error::{Error, Result, quoted};
use crate::format::{Model, Part, TensorEntry, TensorInfo};
use crate::powerlaw::{
    CurvePoint, HillPoint, PowerLawFit, fit_from, fitted_density, hill_curve, kept, log_log_r_squared, plateau,
    xmin_curve,
};
use crate::progress::Cancellation;
use crate::quant::Scheme;
use crate::report::{LayerInfo, LayerRow};
use crate::spectrum::{erg_point, fit_noise};

/// Points of a drawn law.
const DRAWN: usize = 64;
/// Points that are kept of a curve over all eigenvalues.
const KEPT: usize = 400;

/// Which of the two spectra.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The weights as stored.
    Baseline,
    /// The weights as the level leaves them.
    Level,
}

/// A power law and how it is drawn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FitDetail {
    /// See [`PowerLawFit`].
    pub alpha: f64,
    /// See [`PowerLawFit`].
    pub sigma: f64,
    /// See [`PowerLawFit`].
    #[serde(rename = "D")]
    pub ks_distance: f64,
    /// See [`PowerLawFit`].
    pub xmin: f64,
    /// See [`PowerLawFit`].
    pub xmax: f64,
    /// See [`PowerLawFit`].
    pub tail_len: usize,
    /// See [`log_log_r_squared`].
    pub r_squared: Option<f64>,
    /// See [`fitted_density`].
    pub line: Vec<[f64; 2]>,
}

impl FitDetail {
    pub(super) fn new(fit: &PowerLawFit, eigenvalues: &[f64]) -> Self {
        let PowerLawFit { alpha, sigma, ks_distance, xmin, xmax, tail_len } = *fit;
        let r_squared = log_log_r_squared(&eigenvalues[..eigenvalues.partition_point(|v| *v <= xmax)], xmin);
        let line = fitted_density(fit, eigenvalues.len(), DRAWN);
        Self { alpha, sigma, ks_distance, xmin, xmax, tail_len, r_squared, line }
    }
}

/// The fit to `eigenvalues` (ascending) whose tail begins at the first that is at least `xmin` and ends at `xmax`: what the page
/// shows while xmin is dragged. `None` if that is no power law.
///
/// # Cost
/// See [`fit_from`].
pub fn refit(eigenvalues: &[f64], xmin: f64, xmax: f64) -> Option<FitDetail> {
    let fit = fit_from(eigenvalues, xmin, xmax).filter(|fit| fit.degenerate().is_none())?;
    Some(FitDetail::new(&fit, eigenvalues))
}

/// The Marchenko-Pastur law fitted to a spectrum.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BulkDetail {
    /// Standard deviation of the entries, the mean eigenvalue scaled to 1.
    pub sigma: f64,
    /// Lower edge of the bulk.
    pub bulk_min: f64,
    /// Upper edge of the bulk.
    pub bulk_max: f64,
    /// Eigenvalues above it and its fluctuation.
    pub spikes: usize,
    /// `[eigenvalue, density]` across the bulk.
    pub density: Vec<[f64; 2]>,
}

/// A spectrum and what is read off it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SpectrumDetail {
    /// Which of the two.
    pub place: Place,
    /// The row that an analysis with `detX` and `mp_fit` gives.
    pub row: LayerRow,
    /// Ascending; empty if there is no spectrum.
    pub eigenvalues: Vec<f64>,
    /// The row's fit.
    pub fit: Option<FitDetail>,
    /// Alpha and distance by xmin, thinned; what is kept is exact.
    pub curve: Vec<CurvePoint>,
    /// See [`plateau`].
    pub plateau: Option<(f64, f64)>,
    /// Hill's alpha by the number of values, thinned.
    pub hill: Vec<HillPoint>,
    /// The bulk as noise would have it.
    pub bulk: Option<BulkDetail>,
    /// The eigenvalue from which on the product of all larger ones, at a mean of 1, is 1.
    pub det_one: Option<f64>,
    /// The level's rounding noise.
    pub noise: Option<RoundingNoise>,
    /// Eigenvalues of the original weights above the noise's edge.
    pub above_noise: Option<usize>,
}

/// The same weights in random order.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RandomDetail {
    /// Whose weights.
    pub place: Place,
    /// Ascending.
    pub eigenvalues: Vec<f64>,
    /// The row with the columns of `randomize` added.
    pub row: LayerRow,
}

/// A part of a layer's detail, as soon as it is there.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum DetailPart {
    /// The baseline's, then the level's.
    Spectrum(Box<SpectrumDetail>),
    /// The level's.
    Randomized(Box<RandomDetail>),
    /// The rows with all their evidence and errors, the baseline's first.
    Evidence {
        /// As an analysis with `trust` and `errors` has them, and the columns of the other parts.
        rows: Vec<LayerRow>,
    },
}

/// All parts together.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LayerDetail {
    /// The layer.
    pub layer: LayerInfo,
    /// The level.
    pub level: String,
    /// The baseline's, and if the level changes the layer, the level's.
    pub spectra: Vec<SpectrumDetail>,
    /// The level's weights in random order.
    pub randomized: Option<RandomDetail>,
    /// The same rows with everything that is known.
    pub rows: Vec<LayerRow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Spectrum(usize),
    Randomized,
    Evidence,
    Done,
}

/// The work on one layer at one level, part by part, so that a shell can do other things between.
#[derive(Debug)]
pub struct Detail {
    layer: Layer,
    /// The tensors that it is made of, and whether they are of the base model.
    sources: Vec<(bool, TensorEntry)>,
    /// How they are stored; empty if it is one tensor alone.
    operands: Vec<TensorInfo>,
    info: TensorInfo,
    /// The baseline, and the level if it changes the layer.
    choices: Vec<Choice>,
    options: Options,
    limits: Limits,
    cancellation: Cancellation,
    original: Option<Original>,
    stage: Stage,
    measured: Vec<Measured>,
    /// The same weights in random order, for each of them that has a spectrum.
    random: Vec<Option<Vec<f64>>>,
}

impl Detail {
    /// Prepares the work on the layer of that name at that level, which need not be among those of `options`: the row of a run
    /// over `model` with that base, if there is one. Of a convolution in slices it is about the first.
    ///
    /// # Errors
    /// [`Error::Options`] if there is no such layer or level; [`Error::Limit`] if it does not fit into memory.
    pub fn new(
        (model, base): (&Model, Option<&Model>),
        options: &Options,
        name: &str,
        level: &str,
        limits: Limits,
        cancellation: Cancellation,
    ) -> Result<Self> {
        let options = Options {
            layers: String::new(),
            detx: true,
            mp_fit: true,
            randomize: false,
            vectors: false,
            trust: false,
            errors: false,
            farms: 0,
            deltas: false,
            curves: 0,
            ..options.clone()
        };
        options.check()?;
        if options.stacked {
            return Err(Error::Options(
                "the weights of a stack are never in memory, so there is no more to show".to_owned(),
            ));
        }
        let wanted = name.strip_suffix(".weight").unwrap_or(name);
        let mut layers = select_combined(model, base, &options)?.layers;
        let place = layers.iter().position(|layer| layer.info.name == wanted).ok_or_else(|| {
            Error::Options(format!(
                "no layer that can be analysed is named {}; `describe` lists the names",
                quoted(name)
            ))
        })?;
        let level: Scheme = level.parse()?;
        let mut choices = choose(&[Scheme::Stored, level], &layers, model).swap_remove(place);
        let layer = layers.swap_remove(place);
        let is_changed = layer.info.counted && choices[1].scheme != Scheme::Stored;
        choices.truncate(if is_changed { 2 } else { 1 });
        let elements = layer.info.shape.iter().product::<u64>();
        // The weights, a copy in random order and one for the error.
        let of = (&model.tensors[layer.tensor].info, &options);
        let need = Need::whole(&layer, &choices, of).bytes(1).saturating_add(elements.saturating_mul(8));
        if need > limits.hard_limit {
            return Err(Error::Limit(format!("{} {}", quoted(wanted), limits.exceeded_by(need))));
        }
        let sources: Vec<(bool, TensorEntry)> =
            sources(&layer, model, base).into_iter().map(|(is_base, entry)| (is_base, entry.clone())).collect();
        let operands =
            sources.iter().filter(|_| layer.combined.is_some()).map(|(_, entry)| entry.info.clone()).collect();
        Ok(Self {
            info: model.tensors[layer.tensor].info.clone(),
            sources,
            operands,
            layer,
            choices,
            options,
            limits,
            cancellation,
            original: None,
            stage: Stage::Spectrum(0),
            measured: Vec::new(),
            random: Vec::new(),
        })
    }

    /// The tensors to read, one after another, and whether they are of the base model.
    pub fn sources(&self) -> Vec<(bool, &TensorEntry)> {
        self.sources.iter().map(|(is_base, entry)| (*is_base, entry)).collect()
    }

    /// Where their bytes are.
    pub fn parts(&self) -> Vec<(Side, Part)> {
        parts(self.sources())
    }

    /// Takes the tensors' bytes.
    ///
    /// # Errors
    /// As the decoder; [`Error::Numeric`] if a weight is not finite.
    pub fn begin(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.original = Some(self.task().original(bytes, false)?);
        Ok(())
    }

    /// The next part; none once all are there, or the work was cancelled.
    pub fn next_part(&mut self) -> Option<DetailPart> {
        let original = self.original.take()?;
        if self.cancellation.is_cancelled() {
            return None;
        }
        let part = match self.stage {
            Stage::Spectrum(index) => {
                let part = self.spectrum(&original, index);
                let is_last = index + 1 == self.choices.len();
                self.stage = match is_last {
                    false => Stage::Spectrum(index + 1),
                    // The values of an overlap are not compared with those of a random order.
                    true if self.options.intra => Stage::Evidence,
                    true => Stage::Randomized,
                };
                Some(DetailPart::Spectrum(Box::new(part)))
            }
            Stage::Randomized => {
                self.stage = Stage::Evidence;
                match self.randomized(&original) {
                    Some(part) => Some(DetailPart::Randomized(Box::new(part))),
                    None => Some(self.evidence(&original)),
                }
            }
            Stage::Evidence => Some(self.evidence(&original)),
            Stage::Done => None,
        };
        self.original = Some(original);
        part.filter(|_| !self.cancellation.is_cancelled())
    }

    /// All parts at once.
    ///
    /// # Errors
    /// As [`Detail::begin`]; [`Error::Cancelled`].
    pub fn run(mut self, bytes: Vec<u8>) -> Result<LayerDetail> {
        self.begin(bytes)?;
        let level = self.choices.last().map_or_else(String::new, |choice| choice.level.to_string());
        let mut detail = LayerDetail {
            layer: self.layer.info.clone(),
            level,
            spectra: Vec::new(),
            randomized: None,
            rows: Vec::new(),
        };
        while let Some(part) = self.next_part() {
            match part {
                DetailPart::Spectrum(part) => detail.spectra.push(*part),
                DetailPart::Randomized(part) => detail.randomized = Some(*part),
                DetailPart::Evidence { rows } => detail.rows = rows,
            }
        }
        self.cancellation.check().map(|()| detail)
    }

    fn task(&self) -> LayerTask<'_> {
        let Self { layer, operands, choices, options, limits, cancellation, .. } = self;
        LayerTask { layer, info: &self.info, operands, levels: choices, options, limits, cancellation }
    }

    /// The matrices of the row.
    fn slices(&self) -> Range<usize> {
        if self.options.pool { 0..self.layer.info.rf as usize } else { 0..1 }
    }

    fn spectrum(&mut self, original: &Original, index: usize) -> SpectrumDetail {
        let choice = self.choices[index];
        let task = self.task();
        let measured = task.level(original, choice).swap_remove(0);
        let before = self.measured.first().map_or(&measured.eigenvalues, |baseline| &baseline.eigenvalues);
        let weights = task.all(original);
        let noise =
            weights.and_then(|weights| rounding_noise(&task, weights, choice, &measured.damage)).unwrap_or_default();
        let above_noise = noise.map(|noise| above(before, noise.edge));
        let part = SpectrumDetail {
            place: if index == 0 { Place::Baseline } else { Place::Level },
            noise,
            above_noise,
            ..spectrum_detail(&measured, &self.layer.info, &self.options)
        };
        self.measured.push(measured);
        part
    }

    /// Adds the comparison with random order to all rows; the last one's is shown.
    fn randomized(&mut self, original: &Original) -> Option<RandomDetail> {
        let mut measured = std::mem::take(&mut self.measured);
        let mut shown = None;
        for (measured, choice) in measured.iter_mut().zip(&self.choices) {
            let task = self.task();
            let found = task.dequantized(original, *choice).and_then(|dequantized| {
                let matrix = |position| task.slice(&dequantized, position).map(std::borrow::Cow::into_owned);
                add_randomized(&task, &mut measured.row, &measured.eigenvalues, self.slices(), matrix)
            });
            shown = found.ok().filter(|_| !measured.eigenvalues.is_empty());
            self.random.push(shown.clone());
        }
        let place = if measured.len() == 1 { Place::Baseline } else { Place::Level };
        let row = measured.last()?.row.clone();
        self.measured = measured;
        shown.map(|eigenvalues| RandomDetail { place, eigenvalues, row })
    }

    /// What an analysis with `trust` and `errors` adds.
    fn evidence(&mut self, original: &Original) -> DetailPart {
        self.stage = Stage::Done;
        let mut measured = std::mem::take(&mut self.measured);
        let (slices, task) = (self.slices(), self.task());
        let trusting = Options { trust: true, randomize: true, ..self.options.clone() };
        let can_trust = trusting.check().is_ok();
        for (index, (measured, choice)) in measured.iter_mut().zip(&self.choices).enumerate() {
            if let Some(Some(random)) = self.random.get(index).filter(|_| can_trust) {
                let spectra = Spectra { own: &measured.eigenvalues, random };
                let place = place(&self.layer, slices.start);
                measured.draws = add_trust(&mut measured.row, spectra, place, &trusting);
            }
            let errors = task.dequantized(original, *choice).and_then(|dequantized| {
                let matrix = |position| task.slice(&dequantized, position).map(std::borrow::Cow::into_owned);
                add_errors(
                    &task,
                    &mut measured.row,
                    (task.all(original)?, *choice),
                    &measured.damage,
                    slices.clone(),
                    matrix,
                )
            });
            // Without them there is nothing to compare, which shows as missing columns.
            measured.errors = errors.ok();
        }
        let mut levels: Vec<Vec<Measured>> = measured.into_iter().map(|measured| vec![measured]).collect();
        add_changes(&mut levels);
        compare_with_baseline(&mut levels);
        DetailPart::Evidence { rows: levels.into_iter().flatten().map(|measured| measured.row).collect() }
    }
}

fn spectrum_detail(measured: &Measured, layer: &LayerInfo, options: &Options) -> SpectrumDetail {
    let Measured { row, eigenvalues, .. } = measured;
    let compat = options.compat.is_weightwatcher();
    let fit = fit_of(row);
    let end = fit.map_or(f64::INFINITY, |fit| fit.xmax);
    let curve = xmin_curve(&eigenvalues[..eigenvalues.partition_point(|v| *v <= end)]);
    let bulk = fit_noise(eigenvalues, layer.n, layer.m, compat).map(|fit| BulkDetail {
        sigma: fit.sigma,
        bulk_min: fit.bulk_min,
        bulk_max: fit.bulk_max,
        spikes: fit.spikes,
        density: fit.density(layer.n, layer.m, 2 * DRAWN),
    });
    // An exponential end makes another curve than this line.
    let is_plain = !options.is_truncated();
    SpectrumDetail {
        place: Place::Baseline,
        row: row.clone(),
        fit: fit.filter(|_| is_plain).map(|fit| FitDetail::new(&fit, eigenvalues)),
        plateau: plateau(&curve),
        curve: thinned(&curve, fit.map(|fit| fit.xmin)),
        hill: hill_curve(eigenvalues, KEPT),
        bulk,
        det_one: erg_point(eigenvalues, compat).map(|point| point.value),
        noise: None,
        above_noise: None,
        eigenvalues: eigenvalues.clone(),
    }
}

/// The points of a curve to draw: see [`kept`], and the chosen one.
fn thinned(curve: &[CurvePoint], chosen: Option<f64>) -> Vec<CurvePoint> {
    let mut places = kept(curve.len(), KEPT);
    places.extend(chosen.and_then(|xmin| curve.iter().position(|point| point.xmin >= xmin)));
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|place| curve[place]).filter(|point| point.alpha.is_finite()).collect()
}
