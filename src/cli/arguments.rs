//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::backend::BackendArg;
use super::measures::{CombiningArgs, MeasureArgs};
use crate::analysis::{Compat, Options};
use crate::quant::{Arithmetic, DEFAULT_LEVELS};

/// What quantizing a model does to the spectra of its weights, layer by layer.
///
/// Without a command: analyses the built-in demo model.
#[derive(Debug, Parser)]
#[command(name = "heavytail", version, about, long_about, arg_required_else_help = false)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Quantize every weight matrix, compute spectra, fit power laws, compare the levels.
    Analyze(Analyze),
    /// List the tensors of a model from its header alone: what would be analysed, and why the rest would not.
    Describe(Describe),
    /// Show one layer at one level: its spectra, fits, curves, noise and evidence.
    Layer(LayerArgs),
    /// Check the numerical core on this machine against embedded references by LAPACK, on every kernel it has.
    Selftest,
    /// Measure how fast this machine multiplies matrices on one thread, and how much of that each stage reaches.
    Bench(Bench),
    /// List the quantization schemes, with the bits a weight takes and what they need of a shape.
    Schemes(Schemes),
    /// Compare a model with a quantized form of it: what each weight was quantized with, and what that did to it.
    Compare(Compare),
    /// Quantize a model and write the dequantized weights as safetensors.
    Quantize(Quantize),
    /// How far two models are apart, layer by layer.
    Distances(Distances),
    /// Keep the largest singular components of every layer and write the model as safetensors (WeightWatcher's
    /// `SVDSmoothing`).
    Smooth(Smooth),
    /// Remove from every layer what would stand out of noise and write the model as safetensors (WeightWatcher's
    /// `SVDSharpness`).
    Sharpen(Sharpen),
}

impl Default for Command {
    fn default() -> Self {
        Command::Analyze(Analyze::parse_from(["heavytail"]))
    }
}

#[derive(Debug, Parser)]
pub(super) struct Analyze {
    /// A model file (.safetensors, .gguf, .bin, .pth, .npz), a folder with one model, or an index of shards. Default: the built-in demo model.
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Levels, comma-separated: fp16 (as stored, whatever the dtype), 8bit to 2bit, `q4_k_m`, nf4, mlx4-g64, fp8-e4m3-row
    /// and many more: `heavytail schemes` lists them.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_LEVELS)]
    pub quantizations: String,

    /// Arithmetic of the naive levels: f32 (exact), f32 rounded to the stored dtype (stored), or half precision throughout
    /// as in the study's script (seed).
    #[arg(long, value_enum, default_value_t = DequantizeArg::Exact)]
    pub dequantize: DequantizeArg,

    /// Compute true singular values: exact ranks, entropy and smallest singular value, several times slower.
    #[arg(long)]
    pub svd: bool,

    #[command(flatten)]
    pub measures: MeasureArgs,

    /// Results of evaluations, a CSV file with the columns level, metric, value: adds rank correlations with the columns of
    /// the comparison (`score_correlations.csv`).
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,

    /// Write details.csv, `results_<level>.csv`, `quantization_comparison.csv` and report.json into this folder.
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,

    /// What to print: the comparison as a table or Markdown, all rows as CSV, or the report as JSON.
    #[arg(long, value_enum, default_value_t = FormatArg::Table)]
    pub format: FormatArg,

    /// Who multiplies matrices and computes eigenvalues. What the page shows equals the program's with rust.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    pub backend: BackendArg,

    #[command(flatten)]
    pub running: RunningArgs,
}

#[derive(Debug, Args)]
pub(super) struct Describe {
    /// A model file (.safetensors, .gguf, .bin, .pth, .npz), a folder with one model, or an index of shards. Default: the built-in demo model.
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// How to print it.
    #[arg(long, value_enum, default_value_t = RowsFormatArg::Table)]
    pub format: RowsFormatArg,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The original: a model file, a folder with one model, or an index of shards.
    pub original: PathBuf,

    /// The quantized model, in whatever format: GGUF, GPTQ, AWQ, bitsandbytes, MLX, ...
    pub quantized: PathBuf,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// What to print: the worst weights as a table, all as CSV, or the report as JSON.
    #[arg(long, value_enum, default_value_t = RowsFormatArg::Table)]
    pub format: RowsFormatArg,

    /// Weights in the table.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub rows: usize,

    #[command(flatten)]
    pub running: RunningArgs,
}

#[derive(Debug, Args)]
pub(super) struct LayerArgs {
    /// A model file, a folder with one model, or an index of shards.
    pub model: PathBuf,

    /// The layer, as `heavytail describe` names it.
    pub name: String,

    /// The level: fp16 (as stored), 8bit to 2bit, or any name that `heavytail schemes` lists.
    #[arg(long, value_name = "LEVEL", default_value = "fp16")]
    pub level: String,

    /// Arithmetic of the naive levels: see `heavytail analyze --help`.
    #[arg(long, value_enum, default_value_t = DequantizeArg::Exact)]
    pub dequantize: DequantizeArg,

    /// Follow the oddities of `WeightWatcher` or of the study.
    #[arg(long, value_enum, default_value_t = CompatArg::None)]
    pub compat: CompatArg,

    /// Compute true singular values.
    #[arg(long)]
    pub svd: bool,

    #[command(flatten)]
    pub combining: CombiningArgs,

    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Samples that the bootstrap and the goodness of fit draw.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub draws: u64,

    /// A table of both spectra, or everything, with eigenvalues and curves, as JSON.
    #[arg(long, value_enum, default_value_t = PlainFormatArg::Table)]
    pub format: PlainFormatArg,
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Orders of the matrices, comma-separated.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "192,896,2048",
        value_parser = clap::value_parser!(u32).range(1..=16384))]
    pub sizes: Vec<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Schemes {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = PlainFormatArg::Table)]
    pub format: PlainFormatArg,

    /// Only the schemes that many people use.
    #[arg(long)]
    pub common: bool,
}

#[derive(Debug, Args)]
pub(super) struct Quantize {
    /// A .safetensors file, a folder with one model, or a *.safetensors.index.json.
    pub model: PathBuf,

    /// The scheme; `heavytail schemes` lists them.
    #[arg(long)]
    pub scheme: String,

    /// The file to write, in one piece whatever the model's files are.
    #[arg(long, short, value_name = "OUT.safetensors")]
    pub output: PathBuf,

    /// Dtype of the dequantized weights: f32, or as the model has them. Other tensors keep theirs.
    #[arg(long, value_enum, default_value_t = OutputDtypeArg::F32)]
    pub dtype: OutputDtypeArg,

    /// Write codes and scales into a second file beside the first, named `<OUT>.codes.safetensors`.
    #[arg(long)]
    pub codes: bool,

    /// Only layers whose name matches one of these comma-separated glob patterns.
    #[arg(long, value_name = "PATTERN", default_value = "")]
    pub layers: String,
}

#[derive(Debug, Args)]
pub(super) struct Distances {
    /// A model: a file, a folder, or an index.
    pub first: PathBuf,

    /// Another one. Layers are paired by name.
    pub second: PathBuf,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// The norm of the difference of the tensors and of their biases (raw), of the matrices (euclidean), or the alignment
    /// of the matrices (cka).
    #[arg(long, value_enum, ignore_case = true, default_value_t = DistanceArg::Raw)]
    pub method: DistanceArg,

    /// How to print it.
    #[arg(long, value_enum, default_value_t = RowsFormatArg::Table)]
    pub format: RowsFormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DistanceArg {
    Raw,
    Euclidean,
    Cka,
}

#[derive(Debug, Args)]
pub(super) struct Transformed {
    /// A model: a file, a folder, or an index.
    pub model: PathBuf,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// The file to write, in one piece whatever the model's files are.
    #[arg(long, short, value_name = "OUT.safetensors")]
    pub output: PathBuf,

    /// Dtype of the changed weights: f32, or as the model has them. Other tensors keep theirs.
    #[arg(long, value_enum, default_value_t = OutputDtypeArg::F32)]
    pub dtype: OutputDtypeArg,
}

#[derive(Debug, Args)]
pub(super) struct Smooth {
    #[command(flatten)]
    pub files: Transformed,

    /// How many components to keep: those from |det X| = 1 on (detX), a share (svd), those above the Marchenko-Pastur law
    /// (rmt), the power law's tail (`alpha_min`), or rmt for an alpha above 6 and else detX (auto).
    #[arg(long, value_enum, ignore_case = true, default_value_t = SmoothingArg::DetX)]
    pub method: SmoothingArg,

    /// The share of components that svd keeps.
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    pub percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SmoothingArg {
    #[value(name = "detX")]
    DetX,
    #[value(name = "svd")]
    Svd,
    #[value(name = "rmt")]
    Rmt,
    #[value(name = "alpha_min")]
    AlphaMin,
    #[value(name = "auto")]
    Auto,
}

#[derive(Debug, Args)]
pub(super) struct Sharpen {
    #[command(flatten)]
    pub files: Transformed,

    /// Seed of the random order.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputDtypeArg {
    F32,
    Stored,
}

#[derive(Debug, Args)]
pub(super) struct SelectionArgs {
    /// Only these layers, comma-separated: glob patterns of names, ids, or types (dense, conv2d, embedding); with a - in
    /// front, all but these. blocks=0-11, blocks=12-, blocks=0-/3 narrow it to transformer blocks, the last to every third.
    #[arg(long, value_name = "LIST", default_value = "", allow_hyphen_values = true)]
    pub layers: String,

    /// Skip layers with fewer eigenvalues; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub min_evals: u64,

    /// Skip layers with more eigenvalues; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub max_evals: u64,

    /// Skip layers whose longer side is longer.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub max_n: u64,

    /// Id of the first tensor named *.weight.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub start_ids: u64,

    /// A row for every kernel position of a convolution, in place of one for all.
    #[arg(long)]
    pub no_pool: bool,

    /// Follow the oddities of `WeightWatcher` (failed fits are alpha = -1 and are averaged) or of the study (the same, with
    /// half-precision quantization).
    #[arg(long, value_enum, default_value_t = CompatArg::None)]
    pub compat: CompatArg,
}

/// How much of the machine a run may use, and how much it says.
#[derive(Debug, Args)]
pub(super) struct RunningArgs {
    /// Threads that compute. Default: one per core, on Apple silicon one per performance core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Memory for weights in flight, in MB. Default: enough for the largest tensor, and at least 100.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(16..))]
    pub memory: Option<u64>,

    /// No progress and no notes on stderr.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DequantizeArg {
    Exact,
    Stored,
    Seed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompatArg {
    None,
    #[value(name = "weightwatcher")]
    WeightWatcher,
    Seed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatArg {
    Table,
    Markdown,
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RowsFormatArg {
    Table,
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlainFormatArg {
    Table,
    Json,
}

impl From<CompatArg> for Compat {
    fn from(compat: CompatArg) -> Self {
        match compat {
            CompatArg::None => Compat::None,
            CompatArg::WeightWatcher => Compat::WeightWatcher,
            CompatArg::Seed => Compat::Seed,
        }
    }
}

impl From<DequantizeArg> for Arithmetic {
    fn from(dequantize: DequantizeArg) -> Self {
        match dequantize {
            DequantizeArg::Exact => Arithmetic::Exact,
            DequantizeArg::Stored => Arithmetic::Stored,
            DequantizeArg::Seed => Arithmetic::Seed,
        }
    }
}

impl LayerArgs {
    /// The core's options.
    pub fn options(&self) -> Options {
        let options = Options {
            dequantize: self.dequantize.into(),
            compat: self.compat.into(),
            svd: self.svd,
            seed: self.seed,
            draws: self.draws,
            ..Options::default()
        };
        self.combining.apply(options)
    }
}

impl SelectionArgs {
    /// The core's options with everything else at its default.
    pub fn options(&self) -> Options {
        Options {
            layers: self.layers.clone(),
            compat: self.compat.into(),
            min_evals: self.min_evals,
            max_evals: self.max_evals,
            max_n: self.max_n,
            start_ids: self.start_ids,
            pool: !self.no_pool,
            ..Options::default()
        }
    }
}

impl Analyze {
    /// The core's options.
    pub fn options(&self) -> Options {
        let options = Options {
            quantizations: self.quantizations.clone(),
            dequantize: self.dequantize.into(),
            svd: self.svd,
            ..self.selection.options()
        };
        self.measures.apply(options)
    }
}
