//! How the page steps through a run, whatever is computed.

use js_sys::Uint8Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::to_js;
use crate::analysis::{self, DistanceRun, Next, PairRun, Side};
use crate::format::{Model, Part};

/// A stretch of a file, for the page to read.
#[derive(Serialize)]
pub(super) struct FilePart<'a> {
    /// 0 if it is of the run's model, 1 if of the other: the base, or the quantized one.
    model: u8,
    file: &'a str,
    begin: f64,
    end: f64,
}

impl<'a> FilePart<'a> {
    pub fn new(side: Side, part: &Part, model: &'a Model) -> Self {
        let model_number = u8::from(side == Side::Second);
        Self { model: model_number, file: &model.files[part.file].name, begin: part.begin as f64, end: part.end as f64 }
    }
}

/// What hands out work.
pub(super) trait Steps {
    fn next_step(&mut self) -> Next;
    fn name(&self, task: usize) -> &str;
    fn parts(&self, task: usize) -> Vec<FilePart<'_>>;
    fn work(&self, task: usize, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send>;
}

impl Steps for analysis::Analysis {
    fn next_step(&mut self) -> Next {
        self.next_step()
    }

    fn name(&self, task: usize) -> &str {
        &self.source(task).info.name
    }

    fn parts(&self, task: usize) -> Vec<FilePart<'_>> {
        let model = |side| if side == Side::Second { self.base().unwrap_or(self.model()) } else { self.model() };
        self.parts(task).iter().map(|(side, part)| FilePart::new(*side, part, model(*side))).collect()
    }

    fn work(&self, task: usize, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        Box::new(self.task(task, bytes))
    }
}

impl Steps for PairRun {
    fn next_step(&mut self) -> Next {
        self.next_step()
    }

    fn name(&self, task: usize) -> &str {
        self.name(task)
    }

    fn parts(&self, task: usize) -> Vec<FilePart<'_>> {
        self.parts(task).iter().map(|(side, part)| FilePart::new(*side, part, self.model(*side))).collect()
    }

    fn work(&self, task: usize, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        Box::new(self.task(task, bytes))
    }
}

impl Steps for DistanceRun {
    fn next_step(&mut self) -> Next {
        self.next_step()
    }

    fn name(&self, task: usize) -> &str {
        self.name(task)
    }

    fn parts(&self, task: usize) -> Vec<FilePart<'_>> {
        self.parts(task).iter().map(|(side, part)| FilePart::new(*side, part, self.model(*side))).collect()
    }

    fn work(&self, task: usize, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        Box::new(self.task(task, bytes))
    }
}

/// What to do next: `{kind: "read", task, name, parts: [{model, file, begin, end}]}`, `{kind: "wait"}` or `{kind: "done"}`.
pub(super) fn next(run: &mut dyn Steps) -> Result<JsValue, JsValue> {
    #[derive(Serialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Step<'a> {
        Read { task: usize, name: &'a str, parts: Vec<FilePart<'a>> },
        Wait,
        Done,
    }
    to_js(&match run.next_step() {
        Next::Read(task) => Step::Read { task, name: run.name(task), parts: run.parts(task) },
        Next::Wait => Step::Wait,
        Next::Done => Step::Done,
    })
}

#[wasm_bindgen]
extern "C" {
    /// From a thread of the pool to the worker that made it.
    #[wasm_bindgen(js_namespace = self, js_name = postMessage)]
    fn post(message: &str);
}

/// Begins a task whose bytes are there: beside the caller if there is a pool, whose thread posts `"finished"` when it is done,
/// else it is done here.
pub(super) fn submit(run: &dyn Steps, task: usize, bytes: &Uint8Array, has_pool: bool) {
    let work = run.work(task, bytes.to_vec());
    if has_pool {
        rayon::spawn(move || {
            work();
            post("finished");
        });
    } else {
        work();
    }
}
