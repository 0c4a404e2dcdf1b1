//! `heavytail smooth` and `heavytail sharpen`: a model with some of its singular components, as a file.

use std::collections::HashMap;
use std::process::ExitCode;

use serde_json::json;

use super::analyze::cancellation;
use super::arguments::{OutputDtypeArg, Sharpen, Smooth, SmoothingArg, Transformed};
use super::quantize::{decode, encode, encode_f32};
use super::source::Source;
use super::writer::{TensorWriter, check_output};
use super::{Failure, print};
use crate::analysis::{Layer, Options, Smoothing, select, smoothed};
use crate::error::{Error, quoted};
use crate::matrix::Matrix;
use crate::quant::Damage;
use crate::tensor::{Dtype, Rounding};

pub(super) fn smooth(arguments: &Smooth) -> Result<ExitCode, Failure> {
    let smoothing = match arguments.method {
        SmoothingArg::DetX => Smoothing::DetX,
        SmoothingArg::Svd => Smoothing::Svd { percent: arguments.percent },
        SmoothingArg::Rmt => Smoothing::Rmt,
        SmoothingArg::AlphaMin => Smoothing::AlphaMin,
        SmoothingArg::Auto => Smoothing::Auto,
    };
    if !(arguments.percent > 0.0 && arguments.percent <= 1.0) {
        return Err(Error::Options("percent must be above 0 and at most 1".to_owned()).into());
    }
    transform(&arguments.files, smoothing, &arguments.files.selection.options())
}

pub(super) fn sharpen(arguments: &Sharpen) -> Result<ExitCode, Failure> {
    let options = Options { seed: arguments.seed, ..arguments.files.selection.options() };
    transform(&arguments.files, Smoothing::Sharpness, &options)
}

/// Copies a model, tensor by tensor, with the selected layers changed.
fn transform(files: &Transformed, smoothing: Smoothing, options: &Options) -> Result<ExitCode, Failure> {
    options.check()?;
    if !options.pool {
        return Err(
            Error::Options("no-pool has no meaning here: a convolution is changed as a whole".to_owned()).into()
        );
    }
    let mut source = Source::open(Some(&files.model))?;
    check_output(&files.output, &source.inputs)?;
    let layers: HashMap<usize, Layer> =
        select(&source.model, options)?.layers.into_iter().map(|layer| (layer.tensor, layer)).collect();
    if layers.is_empty() {
        let message = "there is no layer to change; `heavytail describe` says why";
        return Err(Error::Unsupported(message.to_owned()).into());
    }
    let tensors = source.model.tensors.clone();
    let names = tensors.iter().map(|tensor| tensor.info.name.as_str());
    let cancellation = cancellation()?;
    let mut output = TensorWriter::create(&files.output, json!({"format": "pt"}), names)?;
    let mut text = String::new();
    let mut damage = Damage::default();
    for (index, tensor) in tensors.iter().enumerate() {
        // The file in the making is removed on the way out.
        cancellation.check()?;
        let (info, bytes) = (&tensor.info, source.read(tensor)?);
        let (dtype, bytes) = match layers.get(&index) {
            None if info.is_quantized() => (Dtype::F32, encode_f32(decode(info, &bytes)?.values())),
            None => (info.dtype, bytes),
            Some(layer) => {
                let dtype = if files.dtype == OutputDtypeArg::F32 { Dtype::F32 } else { info.dtype };
                let weights = decode(info, &bytes)?;
                let (matrix, line) = match smoothed(layer, &weights, smoothing, options) {
                    Ok(result) => (result.matrix, format!("{} of {} components", result.kept, result.of)),
                    Err(error) => (weights.clone(), format!("kept as it is: {error}")),
                };
                damage.add(weights.values(), matrix.values());
                text += &format!("  {}: {line}\n", layer.info.name.escape_debug());
                (dtype, stored(&matrix, dtype)?)
            }
        };
        output.add(&info.name, dtype, &info.shape, &bytes)?;
    }
    cancellation.check()?;
    output.finish()?;
    let change = damage.relative_error().map_or_else(String::new, |e| format!(", relative change {e:.4}"));
    print(&format!("{} layers of {} tensors{change}\n{text}", layers.len(), tensors.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn stored(matrix: &Matrix, dtype: Dtype) -> Result<Vec<u8>, Failure> {
    let rounding = Rounding::of(dtype);
    let values: Vec<f32> = matrix.values().iter().map(|v| rounding.apply(*v)).collect();
    encode(&values, dtype).ok_or_else(|| {
        Error::Unsupported(format!("weights can't be stored as {}; use --dtype f32", quoted(&dtype.to_string()))).into()
    })
}
