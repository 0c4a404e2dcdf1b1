//! Which tensors are codes, and what belongs to them. Every shape is checked here, before anything is read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use safetensors::Dtype;

use super::codes::Codes;
use super::config::Config;
use crate::error::{Error, Result, quoted};
use crate::format::model::TensorEntry;
use crate::format::tensor::{Storage, TensorInfo};

/// What stands for the tensors `consumed`.
pub(super) struct Found {
    pub weights: Vec<TensorEntry>,
    pub consumed: Vec<usize>,
}

/// Puts packed weights in the place of their codes, scales and zeros. Other tensors stay as they are.
///
/// # Errors
/// [`Error::Format`] naming the tensor: a piece is missing or has an odd shape; [`Error::Unsupported`] for bits or layouts
/// that no tool is known to write.
pub(in crate::format) fn assemble(
    tensors: Vec<TensorEntry>,
    notes: &BTreeMap<String, Vec<u8>>,
    config: &Config,
) -> Result<Vec<TensorEntry>> {
    let by_name = tensors.iter().enumerate().map(|(i, t)| (t.info.name.as_str(), i)).collect();
    let finder = Finder { tensors: &tensors, by_name, notes, config };
    let mut found = HashMap::new();
    let mut consumed = HashSet::new();
    let mut packed_dtypes = BTreeSet::new();
    for (i, tensor) in tensors.iter().enumerate() {
        if let Some(weight) = finder.recognise(tensor)? {
            finder.check_plain(tensor, &weight.consumed)?;
            consumed.extend(weight.consumed.iter().copied());
            packed_dtypes.insert(tensor.info.dtype.to_string());
            found.insert(i, weight.weights);
        }
    }
    finder.check_leftovers(&found, &consumed, &packed_dtypes)?;
    if found.is_empty() {
        return Ok(tensors);
    }
    let mut result: Vec<TensorEntry> = Vec::with_capacity(tensors.len());
    for (i, tensor) in tensors.into_iter().enumerate() {
        match found.remove(&i) {
            Some(weights) => result.extend(weights),
            None if !consumed.contains(&i) => result.push(tensor),
            None => {}
        }
    }
    let mut seen = HashSet::new();
    match result.iter().find(|t| !seen.insert(t.info.name.as_str())) {
        None => Ok(result),
        Some(twice) => Err(Error::Format(format!(
            "tensor {} is there twice, once in packed form; give the files of one model only",
            quoted(&twice.info.name)
        ))),
    }
}

pub(super) struct Finder<'a> {
    pub tensors: &'a [TensorEntry],
    pub by_name: HashMap<&'a str, usize>,
    pub notes: &'a BTreeMap<String, Vec<u8>>,
    pub config: &'a Config,
}

impl<'a> Finder<'a> {
    pub fn get(&self, name: &str) -> Option<&'a TensorEntry> {
        self.by_name.get(name).map(|i| &self.tensors[*i])
    }

    fn recognise(&'a self, entry: &'a TensorEntry) -> Result<Option<Found>> {
        let TensorInfo { name, dtype, shape, storage, .. } = &entry.info;
        if matches!(storage, Storage::Blocks(_)) {
            return Ok(None);
        }
        let codes = |stem| Codes { finder: self, entry, stem, pieces: Vec::new(), consumed: Vec::new() };
        if let Some(stem) = name.strip_suffix(".qweight") {
            return codes(stem).gptq_or_awq().map(Some);
        }
        if let Some(stem) = name.strip_suffix(".weight_packed") {
            return codes(stem).compressed().map(Some);
        }
        if let Some(stem) = name.strip_suffix(".B").filter(|_| *dtype == Dtype::I32 && shape.len() == 2) {
            codes(stem).refuse_marlin(".s")?;
        }
        if let (Some(stem), Dtype::U8, 4) = (name.strip_suffix("_blocks"), dtype, shape.len()) {
            return codes(stem).gpt_oss().map(Some);
        }
        let Some(stem) = name.strip_suffix(".weight") else { return Ok(None) };
        let has = |part: &str| self.by_name.contains_key(format!("{stem}.{part}").as_str());
        match dtype {
            Dtype::U8 if has("weight.absmax") => codes(stem).bitsandbytes().map(Some),
            Dtype::U8 if has("weight_scale_2") => codes(stem).model_opt().map(Some),
            Dtype::I8 if has("SCB") => codes(stem).llm_int8().map(Some),
            Dtype::I8 | Dtype::F8_E4M3 | Dtype::F8_E5M2
                if shape.len() == 2 && (has("weight_scale") || has("weight_scale_inv")) =>
            {
                codes(stem).scaled_bytes().map(Some)
            }
            Dtype::U32 if has("scales") => codes(stem).mlx().map(Some),
            _ => Ok(None),
        }
    }

    /// Codes and what belongs to them are decoded as they lie in the file: a view would be read in the wrong order.
    fn check_plain(&self, codes: &TensorEntry, consumed: &[usize]) -> Result<()> {
        let mut pieces = std::iter::once(codes).chain(consumed.iter().map(|i| &self.tensors[*i]));
        let Some(piece) = pieces.find(|piece| piece.info.storage != Storage::Plain) else { return Ok(()) };
        let (how, what_to_do) = match piece.info.storage {
            Storage::Strided(_) => ("a view with strides", "with this tensor made .contiguous()"),
            _ => ("compressed", "without compression"),
        };
        Err(Error::Unsupported(format!(
            "tensor {}, a part of the quantized weight {}, is {how}, which can't be read; save the model again {what_to_do}",
            quoted(&piece.info.name),
            quoted(&codes.info.name)
        )))
    }

    /// Scales without codes, and codes without the scales that others of their kind have.
    fn check_leftovers(
        &self,
        found: &HashMap<usize, Vec<TensorEntry>>,
        consumed: &HashSet<usize>,
        packed_dtypes: &BTreeSet<String>,
    ) -> Result<()> {
        const PIECES: [&str; 4] = [".qzeros", ".SCB", ".weight.absmax", ".weight_global_scale"];
        for (i, tensor) in self.tensors.iter().enumerate() {
            let info = &tensor.info;
            if found.contains_key(&i) || consumed.contains(&i) {
                continue;
            }
            if PIECES.iter().any(|piece| info.name.ends_with(piece)) {
                return Err(Error::Format(format!(
                    "tensor {} belongs to a quantized weight that is missing; give all files of the model",
                    quoted(&info.name)
                )));
            }
            let is_code = matches!(info.dtype, Dtype::U32 | Dtype::I8 | Dtype::F8_E4M3 | Dtype::F8_E5M2);
            if is_code
                && info.shape.len() == 2
                && info.name.ends_with(".weight")
                && packed_dtypes.contains(&info.dtype.to_string())
            {
                return Err(Error::Format(format!(
                    "tensor {} has no scales, unlike the model's other weights of dtype {}; give all files of the model",
                    quoted(&info.name),
                    info.dtype
                )));
            }
        }
        Ok(())
    }
}
