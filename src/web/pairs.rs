//! A model against a quantized form of it, for the page.

use std::time::Duration;

use js_sys::{Array, Float64Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::steps::{Steps, next, submit};
use super::{IN_FLIGHT, MEMORY, Model, from_js, to_error, to_js};
use crate::analysis::{Limits, PairRun};
use crate::error::Error;
use crate::progress::Cancellation;
use crate::report::{PairReport, RunStatus, pairs_csv, pairs_json};

/// A comparison of two opened models.
#[wasm_bindgen]
pub struct Pairs {
    run: PairRun,
    has_pool: bool,
}

#[wasm_bindgen]
impl Pairs {
    /// Prepares a comparison; `threads` is the size of the pool, 1 if there is none, and `reserved` the memory that a run
    /// beside it may take, in bytes.
    ///
    /// # Errors
    /// As [`PairRun::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(
        original: &Model,
        quantized: &Model,
        options: JsValue,
        threads: usize,
        reserved: f64,
    ) -> Result<Pairs, JsValue> {
        let hard_limit = MEMORY.saturating_sub(reserved as u64);
        let limits = Limits { threads: threads.max(1), memory: IN_FLIGHT, hard_limit };
        let (original, quantized) = (original.finished()?.clone(), quantized.finished()?.clone());
        let run = PairRun::new(original, quantized, from_js(options)?, limits, Cancellation::default())
            .map_err(|e| to_error(&e))?;
        Ok(Pairs { run, has_pool: threads > 1 })
    }

    /// As [`super::Analysis::memory`].
    pub fn memory(&self) -> f64 {
        self.run.memory() as f64
    }

    /// As [`super::Analysis::next_step`]; parts of the quantized model are those of `model` 1.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    #[wasm_bindgen(js_name = next)]
    pub fn next_step(&mut self) -> Result<JsValue, JsValue> {
        next(&mut self.run)
    }

    /// As [`super::Analysis::submit`].
    pub fn submit(&mut self, task: usize, bytes: &Uint8Array) {
        submit(&self.run, task, bytes, self.has_pool);
    }

    /// A task's bytes can't be read.
    pub fn fail(&mut self, task: usize, message: &str) {
        self.run.fail(task, message);
    }

    /// How far the comparison is. To be called every now and then: it makes room for the next tasks.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn take_finished(&mut self) -> Result<JsValue, JsValue> {
        to_js(&self.run.take_finished(Duration::ZERO))
    }

    /// The report of what is finished, the worst first.
    ///
    /// # Errors
    /// If the status is neither `complete` nor `cancelled`.
    pub fn report(&self, status: JsValue) -> Result<JsValue, JsValue> {
        let status: RunStatus = from_js(status)?;
        to_js(&self.run.report(status))
    }

    /// The task of a pair, by the names that its row has.
    ///
    /// # Errors
    /// As [`PairRun::find`].
    pub fn find(&self, name: &str, quantized_name: &str) -> Result<usize, JsValue> {
        self.run.find(name, quantized_name).map_err(|e| to_error(&e))
    }

    /// What to read for a task: `[{model, file, begin, end}]`.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn source(&self, task: usize) -> Result<JsValue, JsValue> {
        to_js(&Steps::parts(&self.run, task))
    }

    /// Both spectra of a pair, `{row, spectra: [{eigenvalues, fit}, {eigenvalues, fit}] | null}`, from the bytes of its
    /// [`Pairs::source`]. Eigenvalues are a `Float64Array`.
    ///
    /// # Errors
    /// As [`PairRun::spectra`].
    pub fn spectra(&self, task: usize, bytes: &Uint8Array) -> Result<JsValue, JsValue> {
        let mut found = self.run.spectra(task, &bytes.to_vec()).map_err(|e| to_error(&e))?;
        let spectra = found.spectra.iter_mut().flatten();
        let eigenvalues: Vec<_> = spectra.map(|spectrum| std::mem::take(&mut spectrum.eigenvalues)).collect();
        let object = to_js(&found)?;
        let sides = Reflect::get(&object, &"spectra".into())?;
        if let Some(sides) = sides.dyn_ref::<Array>() {
            for (side, eigenvalues) in sides.iter().zip(eigenvalues) {
                Reflect::set(&side, &"eigenvalues".into(), &Float64Array::from(&eigenvalues[..]))?;
            }
        }
        Ok(object)
    }
}

/// The text of a file of a report by [`Pairs::report`]: `pairs.csv` or `pairs.json`, with the bytes that the terminal program
/// prints.
///
/// # Errors
/// If the value is not what [`Pairs::report`] handed out, or there is no file of that name.
#[wasm_bindgen]
pub fn export_pairs(report: JsValue, kind: &str) -> Result<String, JsValue> {
    let report: PairReport = from_js(report)?;
    match kind {
        "pairs.csv" => Ok(pairs_csv(&report.pairs)),
        "pairs.json" => Ok(pairs_json(&report)),
        _ => Err(to_error(&Error::Options(format!("there is no result file named {kind:?}")))),
    }
}
