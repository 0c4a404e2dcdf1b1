//! A model against a quantized one: which weight is which, what it was quantized with, and what that did to it.

mod align;
mod matching;
mod measure;
mod names;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::matching::{Half, Matching, Pair, is_weight, matched};
use self::measure::{Work, empty_row};
use super::detail::FitDetail;
use super::flight::{Flight, Progress, Side};
use super::layers::{Layer, select};
use super::options::Options;
use super::plan::{Cost, Limits, Next};
use super::run::model_info;
use crate::error::{Error, Result, quoted};
use crate::format::{Model, Part, TensorEntry};
use crate::progress::Cancellation;
use crate::report::{Number, PairReport, PairRow, PairTotals, RunStatus, Unmatched};

/// What all threads read.
struct Shared {
    original: Model,
    quantized: Model,
    pairs: Vec<Pair>,
    /// The layer of each pair, if its spectrum is taken.
    layers: Vec<Option<Layer>>,
    options: Options,
    limits: Limits,
    cancellation: Cancellation,
}

/// A comparison of two models: a state machine as [`super::Analysis`] is one, which hands out what to read.
pub struct PairRun {
    shared: Arc<Shared>,
    matching: Matching,
    flight: Flight<PairRow>,
    rows: Vec<(usize, PairRow)>,
}

/// Both spectra of a pair, for a picture.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PairSpectra {
    /// As the comparison has it.
    pub row: PairRow,
    /// None where the row has the reason.
    pub spectra: Option<[PairSpectrum; 2]>,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PairSpectrum {
    /// Ascending.
    pub eigenvalues: Vec<f64>,
    /// The power law, if there is one that can be drawn.
    pub fit: Option<FitDetail>,
}

impl PairRun {
    /// Matches the weights of two models: all with two dimensions or more named `*.weight`, embeddings too. Spectra are taken
    /// of those that [`select`] takes.
    ///
    /// # Errors
    /// [`Error::Options`] if they have no weight in common, or for a bad pattern of layers.
    pub fn new(
        original: Model,
        quantized: Model,
        options: Options,
        limits: Limits,
        cancellation: Cancellation,
    ) -> Result<Self> {
        let selection = select(&original, &options)?;
        let mut matching = matched(&original, &quantized);
        let by_tensor: HashMap<usize, &Layer> = selection.layers.iter().map(|layer| (layer.tensor, layer)).collect();
        if !options.layers.is_empty() {
            matching.pairs.retain(|pair| by_tensor.contains_key(&pair.original.tensor));
        }
        if matching.pairs.is_empty() {
            return Err(Error::Options(
                "the two models have no weights in common, by name, place or shape; give a model and a quantized form of it".to_owned(),
            ));
        }
        let pairs = std::mem::take(&mut matching.pairs);
        let layer_of = |pair: &Pair| by_tensor.get(&pair.original.tensor).map(|layer| (*layer).clone());
        let layers = pairs.iter().map(layer_of).collect();
        let shared = Shared { original, quantized, pairs, layers, options, limits, cancellation };
        let costs = (0..shared.pairs.len()).map(|pair| Some(shared.cost(pair))).collect();
        let flight = Flight::new(costs, limits);
        Ok(Self { shared: Arc::new(shared), matching, flight, rows: Vec::new() })
    }

    /// What to do next. A pair that can't fit into memory is not handed out: it is finished at once, with the reason.
    pub fn next_step(&mut self) -> Next {
        let shared = &self.shared;
        self.flight.next(|pair, reason| shared.failed(pair, reason))
    }

    /// See [`super::Analysis::memory`].
    pub fn memory(&self) -> u64 {
        self.flight.memory()
    }

    /// The pair of these two weights, by the names that its row has.
    ///
    /// # Errors
    /// [`Error::Options`] if there is none.
    pub fn find(&self, name: &str, quantized_name: &str) -> Result<usize> {
        let is_it = |pair: usize| {
            let (a, b) = self.shared.entries(pair);
            a.info.name == name && b.info.name == quantized_name
        };
        (0..self.shared.pairs.len())
            .find(|pair| is_it(*pair))
            .ok_or_else(|| Error::Options(format!("{} and {} are no pair", quoted(name), quoted(quantized_name))))
    }

    /// The name of a pair's original.
    pub fn name(&self, pair: usize) -> &str {
        &self.shared.entries(pair).0.info.name
    }

    /// Both spectra of a pair from the bytes of [`PairRun::parts`].
    ///
    /// # Errors
    /// [`Error::Limit`] if it does not fit into memory.
    ///
    /// # Cost
    /// That of the pair in the run.
    pub fn spectra(&self, pair: usize, bytes: &[u8]) -> Result<PairSpectra> {
        match self.flight.too_large(pair) {
            Some(reason) => Err(Error::Limit(reason)),
            None => Ok(self.shared.measured(pair, bytes)),
        }
    }

    /// Where the bytes of a pair are, of both models.
    pub fn parts(&self, pair: usize) -> Vec<(Side, Part)> {
        let (a, b) = self.shared.entries(pair);
        let of = |side: Side, entry: &TensorEntry| entry.parts().into_iter().map(move |part| (side, part));
        of(Side::First, a).chain(of(Side::Second, b)).collect()
    }

    /// One of the models.
    pub fn model(&self, side: Side) -> &Model {
        match side {
            Side::First => &self.shared.original,
            Side::Second => &self.shared.quantized,
        }
    }

    /// The work of a pair whose bytes are there, all of [`PairRun::parts`] one after another: run it on a thread of your
    /// choice.
    pub fn task(&self, pair: usize, bytes: Vec<u8>) -> impl FnOnce() + Send + 'static {
        let work = move |shared: &Shared| shared.measured(pair, &bytes).row;
        let fault = move |shared: &Shared| {
            shared.failed(pair, "internal error while this weight was compared; please report it")
        };
        self.flight.task(pair, &self.shared, &self.shared.cancellation, work, fault)
    }

    /// Gives a pair up whose bytes could not be read.
    pub fn fail(&mut self, pair: usize, reason: &str) {
        self.flight.finish(pair, self.shared.failed(pair, reason));
    }

    /// Takes in what was finished, waiting up to `wait` for a first pair if there is none; and how far the run is.
    pub fn take_finished(&mut self, wait: Duration) -> Progress {
        self.rows.extend(self.flight.take(wait));
        self.flight.progress()
    }

    /// The report of what is finished, the worst first.
    pub fn report(&self, status: RunStatus) -> PairReport {
        let Shared { original, quantized, options, .. } = &*self.shared;
        let mut rows = self.rows.clone();
        rows.sort_by_key(|(pair, _)| *pair);
        let totals = totals(&rows);
        // Without an error last.
        let error = |row: &PairRow| row.relative_error.0.unwrap_or(f64::NEG_INFINITY);
        rows.sort_by(|(_, a), (_, b)| error(b).total_cmp(&error(a)));
        let unmatched = |model: &Model, list: &[(usize, String)]| {
            let of = |(tensor, reason): &(usize, String)| {
                let info = &model.tensors[*tensor].info;
                Unmatched { name: info.name.clone(), scheme: info.stored_as(), reason: reason.clone() }
            };
            let list = list.iter().filter(|(tensor, _)| is_weight(&model.tensors[*tensor].info));
            if options.layers.is_empty() { list.map(of).collect() } else { Vec::new() }
        };
        PairReport {
            schema: "heavytail.pairs".to_owned(),
            schema_version: 1,
            status,
            original: model_info(original),
            quantized: model_info(quantized),
            totals,
            pairs: rows.into_iter().map(|(_, row)| row).collect(),
            only_original: unmatched(original, &self.matching.only_original),
            only_quantized: unmatched(quantized, &self.matching.only_quantized),
            notes: NOTES.iter().map(|note| (*note).to_owned()).collect(),
        }
    }
}

const NOTES: [&str; 3] = [
    "The relative error over all weights ranks whole models by damage; the signed change of the mean alpha does not. Neither replaces an evaluation of the model.",
    "Between weights, no number here is a general predictor of how much a weight matters.",
    "Errors are against the original file: where it was itself rounded, that rounding is in them.",
];

impl Shared {
    fn entries(&self, pair: usize) -> (&TensorEntry, &TensorEntry) {
        let pair = &self.pairs[pair];
        (&self.original.tensors[pair.original.tensor], &self.quantized.tensors[pair.quantized.tensor])
    }

    /// Both tensors as they are stored, both in f32, one of them in another order, and two Gram matrices.
    fn cost(&self, pair: usize) -> Cost {
        let (a, b) = self.entries(pair);
        let layer = self.layers[pair].as_ref();
        let work = 50.0 * a.info.elements() as f64 + layer.map_or(0.0, |layer| 2.0 * layer.work());
        let stored = a.info.bytes().saturating_add(b.info.bytes());
        let values = a.info.elements().saturating_add(b.info.elements().saturating_mul(2)).saturating_mul(4);
        let n = layer.map_or(0, |layer| layer.gram_shape().0 as u64);
        let bytes = stored.saturating_add(values).saturating_add(n.saturating_mul(n).saturating_mul(16));
        Cost { work, bytes, least: bytes, why: None }
    }

    fn empty_row(&self, pair: usize) -> PairRow {
        let (a, b) = self.entries(pair);
        empty_row(&self.pairs[pair], &a.info, &b.info)
    }

    fn failed(&self, pair: usize, reason: &str) -> PairRow {
        PairRow { reason: Some(reason.to_owned()), ..self.empty_row(pair) }
    }

    fn measured(&self, pair: usize, bytes: &[u8]) -> PairSpectra {
        let (a, b) = self.entries(pair);
        let mut row = self.empty_row(pair);
        let work = Work {
            pair: &self.pairs[pair],
            original: &a.info,
            quantized: &b.info,
            layer: self.layers[pair].as_ref(),
            heads: self.heads(pair),
            options: &self.options,
            limits: &self.limits,
            cancellation: &self.cancellation,
        };
        let spectra = work.fill(&mut row, bytes).unwrap_or_else(|error| {
            row.reason = Some(error.to_string());
            None
        });
        PairSpectra { row, spectra }
    }

    /// How many heads the rows of queries or keys may be of: what a GGUF file says, else what heads of usual widths make.
    fn heads(&self, pair: usize) -> Vec<usize> {
        const WIDTHS: [u64; 11] = [64, 128, 32, 48, 80, 96, 112, 160, 192, 256, 40];
        let Pair { original: Half { rows, .. }, may_be_permuted, .. } = &self.pairs[pair];
        if !may_be_permuted {
            return Vec::new();
        }
        let shape = &self.entries(pair).0.info.shape;
        let count = rows.as_ref().map_or(shape[0], |rows| rows.end - rows.start);
        let said = [&self.original, &self.quantized].into_iter().flat_map(|model| {
            ["attention.head_count", "attention.head_count_kv"].into_iter().filter_map(|key| {
                let found = model.metadata.iter().find(|(name, _)| name.ends_with(key));
                found.and_then(|(_, value)| value.parse::<usize>().ok())
            })
        });
        let usual = WIDTHS.iter().filter(|width| count.is_multiple_of(**width)).map(|width| (count / width) as usize);
        let mut heads: Vec<usize> = said.chain(usual).collect();
        heads.sort_unstable();
        heads.dedup();
        heads
    }
}

fn totals(rows: &[(usize, PairRow)]) -> PairTotals {
    let rows = || rows.iter().map(|(_, row)| row);
    let elements = |row: &PairRow| row.shape.iter().product::<u64>() as f64;
    let (mut error, mut norm) = (0.0, 0.0);
    for (relative, squared) in rows().filter_map(|row| row.relative_error.0.zip(row.squared_norm.0)) {
        error += relative * relative * squared;
        norm += squared;
    }
    let mean_bits = |bits: fn(&PairRow) -> Number| {
        let sum: f64 = rows().map(|row| bits(row).0.unwrap_or(0.0) * elements(row)).sum();
        Number::finite(sum / rows().map(elements).sum::<f64>())
    };
    let relative = (norm > 0.0).then(|| (error / norm).sqrt());
    let changes: Vec<f64> = rows().filter_map(|row| row.alpha_change.0).collect();
    let mean = |sum: f64| Number::finite(sum / changes.len() as f64);
    PairTotals {
        pairs: rows().count() as u64,
        relative_error: relative.into(),
        sqnr_db: relative.map(|error| -20.0 * libm::log10(error)).into(),
        original_bits_per_weight: mean_bits(|row| row.original_bits_per_weight),
        bits_per_weight: mean_bits(|row| row.bits_per_weight),
        alpha_change_mean: mean(changes.iter().sum()),
        alpha_abs_change_mean: mean(changes.iter().map(|change| change.abs()).sum()),
    }
}
