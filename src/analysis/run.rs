//! A whole model: what is to be done next, what is finished, and the report of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::combine::select_combined;
use super::compare::{compare, summarise};
use super::flight::{Flight, Progress, Side};
use super::kept::{Kept, keep};
use super::layer::{Choice, LayerTask, failed_rows};
use super::layers::{Layer, Selection};
use super::options::{Compat, Options};
use super::plan::{Cost, Limits, Next};
use crate::error::{Error, Result};
use crate::format::{Model, Part, TensorEntry};
use crate::progress::Cancellation;
use crate::quant::{ModelTensor, Scheme};
use crate::report::{
    ComparisonRow, Head, LayerRow, LevelInfo, ModelInfo, ModelReport, RunStatus, SCHEMA, SCHEMA_VERSION, Settings,
};
use crate::spectrum::Method;

/// What was finished since the last look.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finished {
    /// Rows of the layers, all levels of a layer together.
    pub rows: Vec<LayerRow>,
    /// How far the run is with them.
    pub progress: Progress,
}

/// A run over one model. The caller reads the bytes that [`Analysis::next_step`] names and submits them; the work is done on the
/// current rayon pool.
#[derive(Debug)]
pub struct Analysis {
    shared: Arc<Shared>,
    model: Model,
    base: Option<Model>,
    head: Head,
    flight: Flight<Vec<LayerRow>>,
    rows: Vec<LayerRow>,
    /// What was there before, a layer each; empty if nothing was.
    kept: Vec<Kept>,
    /// Kept rows that were not taken yet.
    untold: Vec<LayerRow>,
}

/// What the tasks on the pool need.
#[derive(Debug)]
struct Shared {
    layers: Vec<Layer>,
    /// The levels, for each layer.
    choices: Vec<Vec<Choice>>,
    options: Options,
    limits: Limits,
    cancellation: Cancellation,
}

impl Shared {
    fn failed(&self, layer: usize, reason: &str) -> Vec<LayerRow> {
        failed_rows(&self.layers[layer], &self.choices[layer], reason)
    }
}

/// The table of contents of a model: what would be analysed, and what would not.
///
/// # Errors
/// [`Error::Options`] for an unknown level or a bad pattern.
pub fn describe(model: &Model, options: &Options) -> Result<Head> {
    describe_with_base(model, None, options)
}

/// [`describe`] with the base model that the options speak of.
///
/// # Errors
/// As [`describe`].
pub fn describe_with_base(model: &Model, base: Option<&Model>, options: &Options) -> Result<Head> {
    options.check()?;
    let selection = select_combined(model, base, options)?;
    head(model, base, &selection, options)
}

/// The report of some or all rows of a run. Rows may come in any order.
pub fn report(head: &Head, rows: &[LayerRow], status: RunStatus) -> ModelReport {
    let mut rows: Vec<LayerRow> = rows.to_vec();
    let level_rank: BTreeMap<&str, usize> =
        head.levels.iter().enumerate().map(|(rank, level)| (level.name.as_str(), rank)).collect();
    let layer_rank: BTreeMap<&str, usize> =
        head.layers.iter().enumerate().map(|(rank, layer)| (layer.name.as_str(), rank)).collect();
    rows.sort_by_key(|row| {
        let (name, slice) = row.key();
        (level_rank.get(row.quantization.as_str()).copied(), layer_rank.get(name).copied(), slice)
    });
    ModelReport {
        schema: SCHEMA.to_owned(),
        schema_version: SCHEMA_VERSION,
        heavytail_version: env!("CARGO_PKG_VERSION").to_owned(),
        status,
        head: head.clone(),
        comparison: comparison(head, &rows),
        comparison_all_rows: compare(&head.levels, &rows, failures_count(head)),
        summary: summarise(&head.levels, &rows),
        rows,
    }
}

/// Levels against the baseline over the rows that count, in any order.
pub fn comparison(head: &Head, rows: &[LayerRow]) -> Vec<ComparisonRow> {
    compare(&head.levels, rows.iter().filter(|row| row.counted), failures_count(head))
}

fn failures_count(head: &Head) -> bool {
    head.settings.compat != Compat::None.as_str()
}

impl Analysis {
    /// Prepares a run.
    ///
    /// # Errors
    /// [`Error::Options`] for an unknown level or a bad pattern; [`Error::Unsupported`] if there is nothing to analyse.
    pub fn new(model: Model, options: Options, limits: Limits, cancellation: Cancellation) -> Result<Self> {
        Self::with_base(model, None, options, limits, cancellation)
    }

    /// [`Analysis::new`] of the differences from a base model, or of adapters to it.
    ///
    /// # Errors
    /// As [`Analysis::new`]; [`Error::Options`] if the two models have no layer in common.
    pub fn with_base(
        model: Model,
        base: Option<Model>,
        options: Options,
        limits: Limits,
        cancellation: Cancellation,
    ) -> Result<Self> {
        options.check()?;
        if options.stacked {
            return Err(Error::Options("stacked is a run of its own: see Stack".to_owned()));
        }
        let selection = select_combined(&model, base.as_ref(), &options)?;
        if selection.layers.is_empty() {
            return Err(nothing_to_do(&selection, &options));
        }
        let head = head(&model, base.as_ref(), &selection, &options)?;
        let levels = options.levels()?;
        let choices = choose(&levels, &selection.layers, &model);
        let flight = Flight::new(costs(&selection.layers, &choices, (&model, &options), &limits), limits);
        let shared = Arc::new(Shared { layers: selection.layers, choices, options, limits, cancellation });
        let (rows, kept, untold) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { shared, model, base, head, flight, rows, kept, untold })
    }

    /// Takes over rows of an earlier run over the same files, so that only the others are computed: call it before the first
    /// [`Analysis::next_step`]. Rows that this run would not give are ignored: of other settings (but levels and layers may
    /// differ), other layers, without a spectrum. The next [`Analysis::take_finished`] returns the others. Returns their number.
    pub fn keep(&mut self, earlier: &Head, rows: Vec<LayerRow>) -> usize {
        let kept = keep(earlier, rows, &self.head, self.shared.options.pool);
        // Tasks share what is changed here; once there is one, it is too late.
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return 0 };
        for ((layer, choices), kept) in shared.layers.iter().zip(&mut shared.choices).zip(&kept) {
            *choices = kept.missing(layer, choices, &shared.options);
        }
        let costs = costs(&shared.layers, &shared.choices, (&self.model, &shared.options), &shared.limits);
        self.flight = Flight::new(costs, shared.limits);
        self.untold = kept.iter().flat_map(|kept| kept.rows.iter().cloned()).collect();
        self.kept = kept;
        self.untold.len()
    }

    /// Computes layers with these ids before the others.
    pub fn prioritize(&mut self, layer_ids: &[u64]) {
        let layers = &self.shared.layers;
        self.flight.prioritize(|layer| layer_ids.contains(&layers[layer].info.layer_id));
    }

    /// Bytes that the layers in flight may take together: the limit, or what the largest needs alone.
    pub fn memory(&self) -> u64 {
        self.flight.memory()
    }

    /// What is known before the first layer.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What to do next. A layer that can't fit into memory is not handed out: it is finished at once, as failed rows.
    pub fn next_step(&mut self) -> Next {
        let shared = &self.shared;
        self.flight.next(|layer, reason| shared.failed(layer, reason))
    }

    /// The tensor of a layer. [`TensorEntry::parts`] says where its bytes are.
    pub fn source(&self, layer: usize) -> &TensorEntry {
        &self.model.tensors[self.shared.layers[layer].tensor]
    }

    /// The tensors of a layer in the order in which their bytes are submitted, and whether they are of the base model.
    pub fn sources(&self, layer: usize) -> Vec<(bool, &TensorEntry)> {
        sources(&self.shared.layers[layer], &self.model, self.base.as_ref())
    }

    /// Where the bytes of a layer are, in the order in which they are submitted.
    pub fn parts(&self, layer: usize) -> Vec<(Side, Part)> {
        parts(self.sources(layer))
    }

    /// The base model, if there is one.
    pub fn base(&self) -> Option<&Model> {
        self.base.as_ref()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The work of a layer whose bytes are there: run it on a thread of your choice. It sends its rows to
    /// [`Analysis::take_finished`].
    pub fn task(&self, layer: usize, bytes: Vec<u8>) -> impl FnOnce() + Send + 'static {
        let info = self.source(layer).info.clone();
        let is_combined = self.shared.layers[layer].combined.is_some();
        let operands: Vec<_> =
            self.sources(layer).into_iter().filter(|_| is_combined).map(|(_, entry)| entry.info.clone()).collect();
        let work = move |shared: &Shared| {
            let Shared { layers, choices, options, limits, cancellation } = shared;
            let (layer, levels) = (&layers[layer], &choices[layer]);
            LayerTask { layer, info: &info, operands: &operands, levels, options, limits, cancellation }.run(bytes)
        };
        let fault = move |shared: &Shared| {
            shared.failed(layer, "internal error while this layer was analysed; please report it")
        };
        self.flight.task(layer, &self.shared, &self.shared.cancellation, work, fault)
    }

    /// Gives a layer up whose bytes could not be read.
    pub fn fail(&mut self, layer: usize, reason: &str) {
        self.flight.finish(layer, self.shared.failed(layer, reason));
    }

    /// Takes what was finished since the last call. Waits up to `wait` for a first layer if there is none.
    pub fn take_finished(&mut self, wait: Duration) -> Finished {
        let mut rows = std::mem::take(&mut self.untold);
        for (layer, finished) in self.flight.take(wait) {
            let is_new = |row: &LayerRow| self.kept.get(layer).is_none_or(|kept| !kept.has(&row.quantization));
            rows.extend(finished.into_iter().filter(is_new));
        }
        self.rows.extend_from_slice(&rows);
        Finished { rows, progress: self.flight.progress() }
    }

    /// Levels against the baseline, over what is finished.
    pub fn comparison(&self) -> Vec<ComparisonRow> {
        comparison(&self.head, &self.rows)
    }

    /// The report of what is finished.
    pub fn report(&self, status: RunStatus) -> ModelReport {
        report(&self.head, &self.rows, status)
    }
}

/// The tensors of a layer in the order in which their bytes are read, and whether they are of the base model.
pub(super) fn sources<'a>(layer: &Layer, model: &'a Model, base: Option<&'a Model>) -> Vec<(bool, &'a TensorEntry)> {
    let Some(combined) = &layer.combined else { return vec![(false, &model.tensors[layer.tensor])] };
    let base = base.unwrap_or(model);
    let tensors = |is_base| if is_base { &base.tensors } else { &model.tensors };
    combined.operands.iter().map(|o| (o.is_base, &tensors(o.is_base)[o.tensor])).collect()
}

/// Where the bytes of [`sources`] are.
pub(super) fn parts<'a>(sources: impl IntoIterator<Item = (bool, &'a TensorEntry)>) -> Vec<(Side, Part)> {
    let side = |is_base| if is_base { Side::Second } else { Side::First };
    let of =
        |(is_base, entry): (bool, &'a TensorEntry)| entry.parts().into_iter().map(move |part| (side(is_base), part));
    sources.into_iter().flat_map(of).collect()
}

/// What each level means for each layer.
pub(super) fn choose(levels: &[Scheme], layers: &[Layer], model: &Model) -> Vec<Vec<Choice>> {
    let tensors = model_tensors(model);
    let mut choices = vec![Vec::with_capacity(levels.len()); layers.len()];
    for level in levels {
        let schemes = level.for_model(&tensors);
        for (layer, choices) in layers.iter().zip(&mut choices) {
            choices.push(Choice { level: *level, scheme: schemes[layer.tensor] });
        }
    }
    choices
}

fn model_tensors(model: &Model) -> Vec<ModelTensor<'_>> {
    model.tensors.iter().map(|t| ModelTensor { name: &t.info.name, shape: &t.info.shape }).collect()
}

/// Bits a weight of the whole model takes under a recipe, what it leaves alone included (norms and the like in f32).
fn file_bits(level: Scheme, model: &Model) -> Option<f64> {
    let schemes = level.for_model(&model_tensors(model));
    let (mut bits, mut elements) = (0.0, 0.0);
    for (tensor, scheme) in model.tensors.iter().zip(schemes) {
        let count = tensor.info.elements();
        let cols = tensor.info.shape.last().copied().unwrap_or(1).max(1);
        let scheme = if scheme == Scheme::Stored { None } else { Some(scheme) };
        let per_weight = scheme.and_then(|s| s.bits_per_weight(count / cols, cols)).unwrap_or(32.0);
        bits += per_weight * count as f64;
        elements += count as f64;
    }
    (elements > 0.0).then(|| bits / elements)
}

/// What each layer takes with its choices.
fn costs(
    layers: &[Layer],
    choices: &[Vec<Choice>],
    (model, options): (&Model, &Options),
    limits: &Limits,
) -> Vec<Option<Cost>> {
    let of = |layer: &Layer| &model.tensors[layer.tensor].info;
    layers.iter().zip(choices).map(|(layer, choices)| Cost::of(layer, choices, (of(layer), options), limits)).collect()
}

pub(super) fn nothing_to_do(selection: &Selection, options: &Options) -> Error {
    if options.layers.is_empty() {
        let found = selection.skipped.len();
        Error::Unsupported(format!(
            "none of the {found} tensors is a weight matrix (2-D or 4-D, named *.weight, with {} to {} eigenvalues), so there is nothing to analyse; `describe` lists why each is left out",
            options.min_evals, options.max_evals
        ))
    } else {
        Error::Options(format!(
            "no layer that can be analysed matches {:?}; `describe` lists the names",
            options.layers
        ))
    }
}

pub(super) fn head(model: &Model, base: Option<&Model>, selection: &Selection, options: &Options) -> Result<Head> {
    let levels = options.levels()?;
    let dtypes: std::collections::BTreeSet<&str> =
        selection.layers.iter().filter(|l| l.info.counted).map(|l| l.info.dtype.as_str()).collect();
    let dtypes = dtypes.into_iter().collect::<Vec<_>>().join(", ");
    let label = |scheme: &Scheme| match scheme {
        Scheme::Stored if dtypes.is_empty() => "as stored".to_owned(),
        Scheme::Stored => format!("as stored ({dtypes})"),
        _ => scheme.label().map_or_else(|| scheme.to_string(), |label| format!("{scheme} ({label})")),
    };
    Ok(Head {
        model: model_info(model),
        settings: settings(base, options)?,
        levels: levels.iter().map(|scheme| LevelInfo { name: scheme.to_string(), label: label(scheme) }).collect(),
        layers: selection.layers.iter().map(|layer| layer.info.clone()).collect(),
        skipped: selection.skipped.clone(),
        notes: notes(options, &levels, model, selection),
    })
}

pub(super) fn model_info(model: &Model) -> ModelInfo {
    ModelInfo {
        files: model.files.clone(),
        format: model.format.name().to_owned(),
        tensors: model.tensors.len() as u64,
        parameters: model.tensors.iter().map(|t| t.info.elements()).sum(),
        bytes: model.files.iter().map(|f| f.size).sum(),
    }
}

fn settings(base: Option<&Model>, options: &Options) -> Result<Settings> {
    let mut settings = options.settings()?;
    if let Some(base) = base {
        let names: Vec<&str> = base.files.iter().map(|file| file.name.as_str()).collect();
        settings.measures.insert("base_model".to_owned(), names.join(","));
    }
    Ok(settings)
}

/// What a reader of the numbers should know, in the order of its weight.
fn notes(options: &Options, levels: &[Scheme], model: &Model, selection: &Selection) -> Vec<String> {
    let mut notes = vec![
        "Relative weight error (and SQNR) ranks whole-model levels by damage almost perfectly in the one study behind this tool; the signed change of mean alpha does not. Neither replaces an evaluation of the model.".to_owned(),
        "Between layers, no number here is a general predictor of how much a layer matters.".to_owned(),
    ];
    notes.push(match options.compat {
        Compat::None => {
            "Failed and degenerate fits have no alpha and are left out of means; the table counts them.".to_owned()
        }
        _ => "Compatibility mode: a failed fit is alpha = -1 and enters every mean, as in WeightWatcher.".to_owned(),
    });
    if options.method() == Method::Gram {
        notes.push("matrix_rank, rank_loss, entropy and sv_min come from the Gram matrix, which can't see singular values below about 3e-7 of the largest; with the option svd they come from true singular values.".to_owned());
    }
    if model.tensors.iter().any(|t| t.info.is_quantized()) {
        notes.push("The model is quantized already: its weights are dequantized as its own tool does it, and every level starts from there.".to_owned());
    }
    if levels.iter().any(|level| level.label() == Some("no imatrix")) {
        notes.push("GGUF levels are made without importance matrix: one changes 15 to 45 % of the bytes, so files made with one differ.".to_owned());
    }
    for level in levels.iter().filter(|level| level.is_recipe()) {
        if let Some(bits) = file_bits(*level, model) {
            notes.push(format!("A {level} file of this model takes {bits:.4} bits a weight over all tensors, embeddings and norms included; the table counts the layers that are compared."));
        }
    }
    if levels.iter().any(|level| level.is_bound()) {
        notes.push("Levels named -rtn are GPTQ's or AWQ's grid with rounding to nearest, a pessimistic bound: the tools themselves fit to activations and do better.".to_owned());
    }
    if options.trust {
        notes.push("Intervals, p-values and verdicts say how well alpha is known, not what it means: alpha does not measure how well a model does its task. They take eigenvalues for independent draws, which those of one matrix are not.".to_owned());
    }
    if selection.layers.iter().any(|layer| layer.combined.is_some()) {
        notes.push("Rows are of matrices made of several tensors; relative_error, sqnr_db and bits are those of the tensors that are quantized, what the option errors adds is of the matrix that is made.".to_owned());
    }
    notes.push("Embeddings are analysed but neither quantized nor counted in the comparison.".to_owned());
    notes
}
