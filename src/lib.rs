//! What quantizing a model does to the spectra of its weights, layer by layer, and how far that answer can be trusted.
//!
//! The way of the data, one module an arrow:
//! bytes -> [`format::FileReader`] (checked table of contents) -> tensor bytes -> [`matrix::Matrix`] (f32) ->
//! [`quant::NaiveGrid`] (quantized and back) -> [`spectrum`] (eigenvalues, ascending) -> [`powerlaw::PowerLawFit`] ->
//! [`report::LayerRow`] -> [`report::ModelReport`] -> files and views.
//!
//! Modules stand on floors; each imports only from floors below its own (`tests/floors.rs` checks it):
//! `error`, `progress`, `kernel`; `matrix`, `tensor`; `quant`, `spectrum`, `powerlaw`; `format`; `report`; `analysis`; the shells `cli`
//! and `web`. The core reads no files and knows no clock: the shells hand it bytes.

pub mod analysis;
#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
pub mod format;
pub mod kernel;
pub mod matrix;
pub mod powerlaw;
pub mod progress;
pub mod quant;
pub mod report;
pub mod spectrum;
pub mod tensor;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
