//! A model against a quantized form of it, for the page.

use std::time::Duration;

use js_sys::Uint8Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{IN_FLIGHT, MEMORY, Model, from_js, to_error, to_js};
use crate::analysis::{Limits, Next, PairRun, Side};
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
    /// Prepares a comparison; `threads` is the size of the pool, 1 if there is none.
    ///
    /// # Errors
    /// As [`PairRun::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(original: &Model, quantized: &Model, options: JsValue, threads: usize) -> Result<Pairs, JsValue> {
        let limits = Limits { threads: threads.max(1), memory: IN_FLIGHT, hard_limit: MEMORY };
        let (original, quantized) = (original.finished()?.clone(), quantized.finished()?.clone());
        let run = PairRun::new(original, quantized, from_js(options)?, limits, Cancellation::default())
            .map_err(|e| to_error(&e))?;
        Ok(Pairs { run, has_pool: threads > 1 })
    }

    /// What to do next: `{kind: "read", task, parts: [{side, file, begin, end}]}` with `side` `original` or `quantized`,
    /// `{kind: "wait"}` or `{kind: "done"}`.
    ///
    /// # Errors
    /// None in practice: the conversion of plain data.
    #[wasm_bindgen(js_name = next)]
    pub fn next_step(&mut self) -> Result<JsValue, JsValue> {
        #[derive(Serialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        enum Step<'a> {
            Read { task: usize, parts: Vec<Part<'a>> },
            Wait,
            Done,
        }
        #[derive(Serialize)]
        struct Part<'a> {
            side: &'static str,
            file: &'a str,
            begin: f64,
            end: f64,
        }
        let step = match self.run.next_step() {
            Next::Read(task) => {
                let parts = self.run.parts(task).into_iter().map(|(side, part)| Part {
                    side: if side == Side::Original { "original" } else { "quantized" },
                    file: &self.run.model(side).files[part.file].name,
                    begin: part.begin as f64,
                    end: part.end as f64,
                });
                Step::Read { task, parts: parts.collect() }
            }
            Next::Wait => Step::Wait,
            Next::Done => Step::Done,
        };
        to_js(&step)
    }

    /// The bytes of a task, of all its parts one after another. With a pool this returns at once.
    pub fn submit(&mut self, task: usize, bytes: &Uint8Array) {
        let work = self.run.task(task, bytes.to_vec());
        if self.has_pool {
            rayon::spawn(work);
        } else {
            work();
        }
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
