//! Distances between two models, for the page.

use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::steps::{next, submit};
use super::{IN_FLIGHT, MEMORY, Model, from_js, to_error, to_js};
use crate::analysis::{self, DistanceMethod, DistanceRun, Limits};
use crate::error::Error;
use crate::progress::Cancellation;
use crate::report::{distances_csv, distances_json};

/// Distances of the layers of two opened models.
#[wasm_bindgen]
pub struct Distances {
    run: DistanceRun,
    has_pool: bool,
}

#[wasm_bindgen]
impl Distances {
    /// Pairs the layers; `method` is `raw`, `euclidean` or `cka`, and `threads` the size of the pool, 1 if there is none.
    ///
    /// # Errors
    /// As [`analysis::Distances::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(
        first: &Model,
        second: &Model,
        method: JsValue,
        options: JsValue,
        threads: usize,
    ) -> Result<Distances, JsValue> {
        let method: DistanceMethod = from_js(method)?;
        let (first, second) = (first.finished()?.clone(), second.finished()?.clone());
        let pairs = analysis::Distances::new(first, second, method, from_js(options)?).map_err(|e| to_error(&e))?;
        let limits = Limits { threads: threads.max(1), memory: IN_FLIGHT, hard_limit: MEMORY };
        Ok(Distances { run: DistanceRun::new(pairs, limits, Cancellation::default()), has_pool: threads > 1 })
    }

    /// As [`super::Analysis::memory`].
    pub fn memory(&self) -> f64 {
        self.run.memory() as f64
    }

    /// As [`super::Analysis::next_step`]; parts of the second model are those of `model` 1.
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

    /// How far it is. To be called every now and then: it makes room for the next tasks.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn take_finished(&mut self) -> Result<JsValue, JsValue> {
        to_js(&self.run.take_finished(Duration::ZERO))
    }

    /// The report of what is finished, in the order of the first model.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    pub fn report(&self) -> Result<JsValue, JsValue> {
        to_js(&self.run.report())
    }

    /// The text of a file of what is finished: `distances.csv` or `distances.json`, with the bytes that the terminal program
    /// prints.
    ///
    /// # Errors
    /// If there is no file of that name.
    pub fn export(&self, kind: &str) -> Result<String, JsValue> {
        match kind {
            "distances.csv" => Ok(distances_csv(&self.run.report().rows)),
            "distances.json" => Ok(distances_json(&self.run.report())),
            _ => Err(to_error(&Error::Options(format!("there is no result file named {kind:?}")))),
        }
    }
}
