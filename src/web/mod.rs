//! The browser shell: what `www/worker.js` calls. The API is described in `www/README.md`.

mod distances;
mod pairs;
#[cfg(feature = "rates")]
mod rates;
mod steps;

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use js_sys::{Float64Array, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

use self::steps::{FilePart, next, submit};
use crate::analysis::{self, DetailPart, Limits, Options, Side};
use crate::error::Error;
use crate::format::{self, FileReader, ModelBuilder};
use crate::progress::Cancellation;
use crate::quant;
use crate::report::{self, Head, LayerRow, RunStatus, comparison_csv, details_csv, report_json, report_markdown};

pub use pairs::{Pairs, export_pairs};
#[cfg(feature = "rates")]
pub use rates::{codes_seconds, eigenvalue_seconds, gram_seconds, peak_seconds};
#[cfg(target_feature = "atomics")]
pub use wasm_bindgen_rayon::init_thread_pool;

/// What a page may use of wasm's 4 GiB: the rest is for the module itself and for what the allocator can't place.
const MEMORY: u64 = 3_200_000_000;

/// Room for several layers in flight; a larger one runs alone.
const IN_FLIGHT: u64 = 1_000_000_000;

/// Sends panics to the console: without it they are `unreachable` and nothing else.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
}

/// Version of the module.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The options' defaults.
///
/// # Errors
/// None in practice: the conversion of plain data.
#[wasm_bindgen]
pub fn default_options() -> Result<JsValue, JsValue> {
    to_js(&Options::default())
}

/// The table of quantization schemes.
///
/// # Errors
/// None in practice: the conversion of plain data.
#[wasm_bindgen]
pub fn schemes() -> Result<JsValue, JsValue> {
    to_js(&quant::schemes())
}

/// A model, file by file.
#[wasm_bindgen]
pub struct Model {
    builder: ModelBuilder,
    reader: Option<FileReader>,
    opened: Option<format::Model>,
    base: Option<format::Model>,
}

#[wasm_bindgen]
impl Model {
    /// A model without files.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "called from JavaScript only")]
    pub fn new() -> Self {
        Self { builder: ModelBuilder::default(), reader: None, opened: None, base: None }
    }

    /// Begins with a file: of tensors, or the index of shards.
    pub fn add_file(&mut self, file_name: &str, file_size: f64) {
        self.reader = Some(FileReader::new(file_name, file_size as u64));
    }

    /// The bytes of the file that are needed next, `{begin, end}`; nothing when it has been read far enough.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn wants(&self) -> Result<JsValue, JsValue> {
        #[derive(Serialize)]
        struct Wanted {
            begin: f64,
            end: f64,
        }
        match self.reader.as_ref().and_then(FileReader::wants) {
            Some(range) => to_js(&Wanted { begin: range.start as f64, end: range.end as f64 }),
            None => Ok(JsValue::UNDEFINED),
        }
    }

    /// The wanted bytes.
    ///
    /// # Errors
    /// As [`FileReader::give`].
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), JsValue> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        reader.give(bytes).map_err(|e| to_error(&e))?;
        if reader.wants().is_some() {
            self.reader = Some(reader);
            return Ok(());
        }
        reader.finish().and_then(|file| self.builder.add(file)).map_err(|e| to_error(&e))
    }

    /// All files are in.
    ///
    /// # Errors
    /// As [`ModelBuilder::finish`].
    pub fn finish(&mut self) -> Result<(), JsValue> {
        self.opened = Some(std::mem::take(&mut self.builder).finish().map_err(|e| to_error(&e))?);
        Ok(())
    }

    /// What is analysed is the difference from this model, or of adapters what they add to it.
    ///
    /// # Errors
    /// If the base is not finished.
    pub fn set_base(&mut self, base: &Model) -> Result<(), JsValue> {
        self.base = Some(base.finished()?.clone());
        Ok(())
    }

    /// The table of contents.
    ///
    /// # Errors
    /// As [`analysis::describe_with_base`]; also if the model is not finished.
    pub fn describe(&self, options: JsValue) -> Result<JsValue, JsValue> {
        let (model, options): (_, Options) = (self.finished()?, from_js(options)?);
        to_js(&analysis::describe_with_base(model, self.base.as_ref(), &options).map_err(|e| to_error(&e))?)
    }

    fn finished(&self) -> Result<&format::Model, JsValue> {
        self.opened
            .as_ref()
            .ok_or_else(|| to_error(&Error::Options("the model has no files yet; choose a file first".to_owned())))
    }
}

/// A run over a model.
#[wasm_bindgen]
pub struct Analysis {
    run: analysis::Analysis,
    has_pool: bool,
}

#[wasm_bindgen]
impl Analysis {
    /// Prepares a run; `threads` is the size of the pool, 1 if there is none.
    ///
    /// # Errors
    /// As [`analysis::Analysis::with_base`].
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, options: JsValue, threads: usize) -> Result<Analysis, JsValue> {
        let limits = Limits { threads: threads.max(1), memory: IN_FLIGHT, hard_limit: MEMORY };
        let (own, base, options) = (model.finished()?.clone(), model.base.clone(), from_js(options)?);
        let run = analysis::Analysis::with_base(own, base, options, limits, Cancellation::default())
            .map_err(|e| to_error(&e))?;
        Ok(Analysis { run, has_pool: threads > 1 })
    }

    /// Bytes that the layers in flight may take together.
    pub fn memory(&self) -> f64 {
        self.run.memory() as f64
    }

    /// What is known before the first layer.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn head(&self) -> Result<JsValue, JsValue> {
        to_js(self.run.head())
    }

    /// Takes over what an earlier run found; see [`analysis::Analysis::keep`]. Returns how many rows that is.
    ///
    /// # Errors
    /// If the values are not what [`Analysis`] handed out.
    pub fn keep(&mut self, head: JsValue, rows: JsValue) -> Result<usize, JsValue> {
        Ok(self.run.keep(&from_js::<Head>(head)?, from_js(rows)?))
    }

    /// Computes the layers with these ids before the others.
    pub fn prioritize(&mut self, layer_ids: &[f64]) {
        self.run.prioritize(&layer_ids.iter().map(|id| *id as u64).collect::<Vec<_>>());
    }

    /// What to do next: `{kind: "read", task, name, parts: [{model, file, begin, end}]}`, `{kind: "wait"}` or
    /// `{kind: "done"}`.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    #[wasm_bindgen(js_name = next)]
    pub fn next_step(&mut self) -> Result<JsValue, JsValue> {
        next(&mut self.run)
    }

    /// The bytes of a task, of all its parts one after another. With a pool this returns at once, the work is done beside it, and the thread that did it posts `"finished"`; without one it is done here.
    pub fn submit(&mut self, task: usize, bytes: &Uint8Array) {
        submit(&self.run, task, bytes, self.has_pool);
    }

    /// A task's bytes can't be read.
    pub fn fail(&mut self, task: usize, message: &str) {
        self.run.fail(task, message);
    }

    /// Rows finished since the last call, and how far the run is.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn take_finished(&mut self) -> Result<JsValue, JsValue> {
        to_js(&self.run.take_finished(Duration::ZERO))
    }

    /// Levels against the baseline, over what is finished.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn comparison(&self) -> Result<JsValue, JsValue> {
        to_js(&self.run.comparison())
    }
}

/// One layer at one level, part by part: beside a run, or alone.
#[wasm_bindgen]
pub struct Detail {
    work: Option<analysis::Detail>,
    parts: Option<Receiver<DetailPart>>,
    cancellation: Cancellation,
    source: JsValue,
}

#[wasm_bindgen]
impl Detail {
    /// Prepares the work; `reserved` is the memory that a run beside it may take, in bytes.
    ///
    /// # Errors
    /// As [`analysis::Detail::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, options: JsValue, name: &str, level: &str, reserved: f64) -> Result<Detail, JsValue> {
        let limits = Limits { threads: 1, memory: IN_FLIGHT, hard_limit: MEMORY.saturating_sub(reserved as u64) };
        let cancellation = Cancellation::default();
        let (own, base) = (model.finished()?, model.base.as_ref());
        let work = analysis::Detail::new((own, base), &from_js(options)?, name, level, limits, cancellation.clone())
            .map_err(|e| to_error(&e))?;
        let parts = work.parts();
        let of = |side| if side == Side::Second { base.unwrap_or(own) } else { own };
        let parts: Vec<_> = parts.iter().map(|(side, part)| FilePart::new(*side, part, of(*side))).collect();
        let source = to_js(&parts)?;
        Ok(Detail { work: Some(work), parts: None, cancellation, source })
    }

    /// What to read: `[{model, file, begin, end}]`.
    pub fn source(&self) -> JsValue {
        self.source.clone()
    }

    /// Takes the bytes of what [`Detail::source`] names, one after another. With a pool the work begins beside the caller.
    ///
    /// # Errors
    /// As [`analysis::Detail::begin`].
    pub fn begin(&mut self, bytes: &Uint8Array, has_pool: bool) -> Result<(), JsValue> {
        let Some(work) = &mut self.work else { return Ok(()) };
        work.begin(bytes.to_vec()).map_err(|e| to_error(&e))?;
        if has_pool && let Some(mut work) = self.work.take() {
            let (tell, parts) = channel();
            self.parts = Some(parts);
            rayon::spawn(move || {
                while let Some(part) = work.next_part() {
                    if tell.send(part).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(())
    }

    /// The next part: without a pool it is computed here. `null`: ask again in a moment; `undefined`: there are no more.
    /// Eigenvalues are a `Float64Array`.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn take(&mut self) -> Result<JsValue, JsValue> {
        let part = match &self.parts {
            Some(parts) => match parts.try_recv() {
                Err(TryRecvError::Empty) => return Ok(JsValue::NULL),
                received => received.ok(),
            },
            None => self.work.as_mut().and_then(analysis::Detail::next_part),
        };
        let Some(mut part) = part else { return Ok(JsValue::UNDEFINED) };
        let eigenvalues = match &mut part {
            DetailPart::Spectrum(spectrum) => Some(std::mem::take(&mut spectrum.eigenvalues)),
            DetailPart::Randomized(random) => Some(std::mem::take(&mut random.eigenvalues)),
            DetailPart::Evidence { .. } => None,
        };
        let object = to_js(&part)?;
        if let Some(eigenvalues) = eigenvalues {
            Reflect::set(&object, &"eigenvalues".into(), &Float64Array::from(&eigenvalues[..]))?;
        }
        Ok(object)
    }
}

impl Drop for Detail {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}

/// As [`analysis::refit`]; `null` where there is no power law.
///
/// # Errors
/// None in practice: the conversion of plain data.
#[wasm_bindgen]
pub fn refit(eigenvalues: &[f64], xmin: f64, xmax: f64) -> Result<JsValue, JsValue> {
    to_js(&analysis::refit(eigenvalues, xmin, xmax))
}

/// As [`analysis::adapter_alpha`].
///
/// # Errors
/// As [`analysis::adapter_alpha`].
#[wasm_bindgen]
pub fn adapter_alpha(text: &str) -> Result<Option<f64>, JsValue> {
    analysis::adapter_alpha(text).map_err(|e| to_error(&e))
}

/// Levels against the baseline, over the given rows.
///
/// # Errors
/// If the values are not what [`Analysis`] handed out.
#[wasm_bindgen]
pub fn compare(head: JsValue, rows: JsValue) -> Result<JsValue, JsValue> {
    let (head, rows): (Head, Vec<LayerRow>) = (from_js(head)?, from_js(rows)?);
    to_js(&analysis::comparison(&head, &rows))
}

/// What a comparison says, in words: `{sentence, evidence}`.
///
/// # Errors
/// If the values are not what [`compare`] handed out.
#[wasm_bindgen]
pub fn verdict(comparison: JsValue) -> Result<JsValue, JsValue> {
    let comparison: Vec<report::ComparisonRow> = from_js(comparison)?;
    to_js(&report::verdict(&comparison))
}

/// The text of a result file: `details.csv`, `results_<level>.csv`, `quantization_comparison.csv`, `report.json` or `report.md`,
/// with the bytes that the terminal program writes or prints.
///
/// # Errors
/// If the values are not what [`Analysis`] handed out, or there is no file of that name.
#[wasm_bindgen]
pub fn export_file(head: JsValue, rows: JsValue, status: JsValue, kind: &str) -> Result<String, JsValue> {
    let (head, rows): (Head, Vec<LayerRow>) = (from_js(head)?, from_js(rows)?);
    let status: RunStatus = from_js(status)?;
    let report = analysis::report(&head, &rows, status);
    match kind {
        "details.csv" => Ok(details_csv(&report.rows)),
        "quantization_comparison.csv" => Ok(comparison_csv(&report.comparison)),
        "report.json" => Ok(report_json(&report)),
        "report.md" => Ok(report_markdown(&report)),
        _ => {
            let level = kind.strip_prefix("results_").and_then(|rest| rest.strip_suffix(".csv"));
            let level = level.filter(|level| head.levels.iter().any(|l| l.name == *level));
            let level =
                level.ok_or_else(|| to_error(&Error::Options(format!("there is no result file named {kind:?}"))))?;
            Ok(details_csv(report.rows.iter().filter(|row| row.quantization == level)))
        }
    }
}

/// Plain objects, `null` for missing values.
fn to_js<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    let serializer =
        serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true).serialize_missing_as_null(true);
    value.serialize(&serializer).map_err(JsValue::from)
}

fn from_js<T: DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|e| to_error(&Error::Options(format!("values from the page can't be read: {e}"))))
}

/// A JavaScript error whose name is the stable code.
fn to_error(error: &Error) -> JsValue {
    let js = js_sys::Error::new(&error.to_string());
    js.set_name(error.code());
    js.into()
}
