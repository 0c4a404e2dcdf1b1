//! `heavytail quantize`: the dequantized weights as a file.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::analyze::cancellation;
use super::arguments::{OutputDtypeArg, Quantize};
use super::source::Source;
use super::writer::{TensorWriter, check_output};
use super::{Failure, print};
use crate::analysis::{Options, describe};
use crate::error::{Error, quoted};
use crate::format::TensorInfo;
use crate::matrix::Matrix;
use crate::quant::{Arithmetic, Damage, ModelTensor, Quantized, Scheme};
use crate::tensor::{Dtype, Rounding};

pub(super) fn run(arguments: &Quantize) -> Result<ExitCode, Failure> {
    let scheme: Scheme = arguments.scheme.parse()?;
    let mut source = Source::open(Some(&arguments.model))?;
    let codes_file = arguments.codes.then(|| codes_path(&arguments.output));
    for file in std::iter::once(&arguments.output).chain(&codes_file) {
        check_output(file, &source.inputs)?;
    }
    let tensors = source.model.tensors.clone();
    let schemes = choose(scheme, &source, arguments)?;
    let names = tensors.iter().map(|tensor| tensor.info.name.as_str());
    let metadata = json!({"format": "pt", "heavytail.scheme": scheme.to_string()});
    let cancellation = cancellation()?;
    let mut output = TensorWriter::create(&arguments.output, metadata.clone(), names.clone())?;
    let mut codes = match codes_file {
        Some(file) => Some(TensorWriter::create(&file, metadata, names.flat_map(|name| PARTS.map(|_| name)))?),
        None => None,
    };
    let mut summary = Summary::default();
    for (tensor, scheme) in tensors.iter().zip(schemes) {
        // The files in the making are removed on the way out.
        cancellation.check()?;
        let (info, bytes) = (&tensor.info, source.read(tensor)?);
        let matrix = if scheme == Scheme::Stored { None } else { Some(decode(info, &bytes)?) };
        let done = matrix.map(|matrix| quantize(&matrix, info, scheme, arguments, codes.as_mut(), &mut summary));
        match done.transpose()? {
            Some(Ok((dtype, dequantized))) => output.add(&info.name, dtype, &info.shape, &dequantized)?,
            kept => {
                if let Some(Err(reason)) = kept {
                    summary.refused.push(format!("{}: {reason}", quoted(&info.name)));
                }
                summary.kept += 1;
                if info.is_quantized() {
                    let values = decode(info, &bytes)?;
                    output.add(&info.name, Dtype::F32, &info.shape, &encode_f32(values.values()))?;
                } else {
                    output.add(&info.name, info.dtype, &info.shape, &bytes)?;
                }
            }
        }
    }
    cancellation.check()?;
    output.finish()?;
    if let Some(codes) = codes {
        codes.finish()?;
    }
    print(&summary.text())?;
    Ok(ExitCode::SUCCESS)
}

/// The scheme of every tensor; the baseline stands for those that are copied.
fn choose(scheme: Scheme, source: &Source, arguments: &Quantize) -> Result<Vec<Scheme>, Failure> {
    let tensors = &source.model.tensors;
    let seen: Vec<ModelTensor> =
        tensors.iter().map(|t| ModelTensor { name: &t.info.name, shape: &t.info.shape }).collect();
    let all = scheme.for_model(&seen);
    if scheme.is_recipe() && arguments.layers.is_empty() {
        // A recipe is for all tensors: embeddings too.
        return Ok(all);
    }
    let options = Options {
        layers: arguments.layers.clone(),
        min_evals: 0,
        max_evals: u64::MAX,
        max_n: u64::MAX,
        ..Options::default()
    };
    let head = describe(&source.model, &options)?;
    let wanted: HashSet<String> =
        head.layers.iter().filter(|l| l.counted).map(|l| format!("{}.weight", l.name)).collect();
    if wanted.is_empty() {
        return Err(Error::Unsupported(
            "there is no weight matrix to quantize; `heavytail describe` says why".to_owned(),
        )
        .into());
    }
    Ok(tensors.iter().zip(all).map(|(t, s)| if wanted.contains(&t.info.name) { s } else { Scheme::Stored }).collect())
}

pub(super) fn decode(info: &TensorInfo, bytes: &[u8]) -> Result<Matrix, Failure> {
    let too_large = || Error::Limit(format!("tensor {} does not fit into memory", quoted(&info.name)));
    let elements = usize::try_from(info.elements()).map_err(|_| too_large())?;
    // Rows of a matrix; of a stack of matrices, all their rows; of a convolution, one an output channel.
    let cols: u64 = match &info.shape[..] {
        [_, _, cols] => *cols,
        shape => shape.iter().skip(1).product(),
    };
    let cols = usize::try_from(cols).map_err(|_| too_large())?;
    let mut values = vec![0.0; elements];
    info.decode(bytes, &mut values)?;
    Ok(Matrix::new(elements.checked_div(cols).unwrap_or(0), cols, values)?)
}

/// The bytes of the dequantized tensor, or why it is left as it is.
type Dequantized = Result<(Dtype, Vec<u8>), Error>;

fn quantize(
    matrix: &Matrix,
    info: &TensorInfo,
    scheme: Scheme,
    arguments: &Quantize,
    codes: Option<&mut TensorWriter>,
    summary: &mut Summary,
) -> Result<Dequantized, Failure> {
    if !matrix.values().iter().all(|v| v.is_finite()) {
        return Ok(Err(Error::Numeric("the weights hold NaN or infinity".to_owned())));
    }
    let (arithmetic, dtype) = match arguments.dtype {
        OutputDtypeArg::F32 => (Arithmetic::Exact, Dtype::F32),
        OutputDtypeArg::Stored => (Arithmetic::Stored, info.dtype),
    };
    let mut out = Vec::new();
    let applied = match scheme.dequantized(matrix, info.dtype, arithmetic, &mut out) {
        Ok(applied) => applied,
        Err(error) => return Ok(Err(error)),
    };
    let Some(bytes) = encode(&out, dtype) else {
        return Ok(Err(Error::Unsupported(format!("dequantized weights can't be stored as {dtype}; use --dtype f32"))));
    };
    if let Some(codes) = codes
        && let Some(quantized) = applied.scheme.quantized(matrix, info.dtype, arithmetic)?
    {
        write_codes(codes, info, matrix, applied.scheme, &quantized)?;
    }
    summary.damage.add(matrix.values(), &out);
    summary.add(applied.scheme, applied.bits_per_weight, info.elements());
    Ok(Ok((dtype, bytes)))
}

pub(super) fn encode_f32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(super) fn encode(values: &[f32], dtype: Dtype) -> Option<Vec<u8>> {
    match dtype {
        Dtype::F32 => Some(encode_f32(values)),
        Dtype::F64 => Some(values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect()),
        // Already rounded: exact.
        Dtype::F16 => Some(values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()),
        Dtype::BF16 => Some(values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()),
        Dtype::F8_E5M2 => {
            // The upper byte of the half with the same value.
            debug_assert!(values.iter().all(|v| Rounding::F8E5M2.apply(*v) == *v));
            Some(values.iter().map(|v| (half::f16::from_f32(*v).to_bits() >> 8) as u8).collect())
        }
        _ => None,
    }
}

/// Endings of the names in the file of codes.
const PARTS: [&str; 5] = ["codes", "scales", "zeros", "scale_codes", "outer_scales"];

fn write_codes(
    file: &mut TensorWriter,
    info: &TensorInfo,
    matrix: &Matrix,
    scheme: Scheme,
    quantized: &Quantized,
) -> Result<(), Failure> {
    let name = |part: &str| format!("{}.{part}", info.name);
    let dtype = if scheme.has_signed_codes() { Dtype::I8 } else { Dtype::U8 };
    match scheme.row_bytes(matrix.cols()) {
        Some(bytes) => file.add(&name("blocks"), dtype, &[matrix.rows() as u64, bytes as u64], &quantized.codes)?,
        None => file.add(&name("codes"), dtype, &info.shape, &quantized.codes)?,
    }
    let floats = [("scales", &quantized.scales), ("zeros", &quantized.zeros), ("outer_scales", &quantized.outer)];
    for (part, values) in floats {
        if !values.is_empty() {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.add(&name(part), Dtype::F32, &[values.len() as u64], &bytes)?;
        }
    }
    if !quantized.scale_codes.is_empty() {
        let count = quantized.scale_codes.len() as u64;
        file.add(&name("scale_codes"), Dtype::U8, &[count], &quantized.scale_codes)?;
    }
    Ok(())
}

/// `model.safetensors` has its codes in `model.codes.safetensors`.
fn codes_path(output: &Path) -> PathBuf {
    output.with_extension("codes.safetensors")
}

#[derive(Default)]
struct Summary {
    /// Tensors, weights and bits by scheme.
    used: BTreeMap<String, (u64, u64, f64)>,
    damage: Damage,
    kept: u64,
    refused: Vec<String>,
}

impl Summary {
    fn add(&mut self, scheme: Scheme, bits: f64, elements: u64) {
        let entry = self.used.entry(scheme.to_string()).or_default();
        entry.0 += 1;
        entry.1 += elements;
        entry.2 += bits * elements as f64;
    }

    fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let (tensors, weights, bits) =
            self.used.values().fold((0, 0, 0.0), |sum, u| (sum.0 + u.0, sum.1 + u.1, sum.2 + u.2));
        // Writing into a string does not fail.
        let _ = write!(text, "{tensors} tensors quantized");
        if weights > 0 {
            let _ = write!(text, ", {:.4} bits a weight", bits / weights as f64);
        }
        if let Some(sqnr) = self.damage.sqnr_db() {
            let _ = write!(text, ", SQNR {sqnr:.2} dB");
        }
        let _ = writeln!(text, "; {} kept as they are", self.kept);
        for (scheme, (tensors, weights, bits)) in &self.used {
            let _ = writeln!(text, "  {scheme}: {tensors} tensors, {:.4} bits a weight", bits / *weights as f64);
        }
        for refused in &self.refused {
            let _ = writeln!(text, "  kept {refused}");
        }
        text
    }
}
