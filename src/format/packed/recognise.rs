//! Which tensors are codes, and what belongs to them. Every shape is checked here, before anything is read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use safetensors::Dtype;

use super::config::Config;
use super::{Layout, Nested, Packed, Piece, TensorScale};
use crate::error::{Error, Result, quoted};
use crate::format::model::{Part, TensorEntry};
use crate::format::tensor::{MAX_EXPERTS, Storage, TensorInfo};

/// What stands for the tensors `index` and those it names.
struct Found {
    weights: Vec<TensorEntry>,
    consumed: Vec<usize>,
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

struct Finder<'a> {
    tensors: &'a [TensorEntry],
    by_name: HashMap<&'a str, usize>,
    notes: &'a BTreeMap<String, Vec<u8>>,
    config: &'a Config,
}

/// The codes of a weight and the pieces found so far.
struct Codes<'a> {
    finder: &'a Finder<'a>,
    entry: &'a TensorEntry,
    stem: &'a str,
    pieces: Vec<Piece>,
    consumed: Vec<usize>,
}

impl<'a> Finder<'a> {
    fn get(&self, name: &str) -> Option<&'a TensorEntry> {
        self.by_name.get(name).map(|i| &self.tensors[*i])
    }

    fn recognise(&'a self, entry: &'a TensorEntry) -> Result<Option<Found>> {
        let TensorInfo { name, dtype, shape, storage, .. } = &entry.info;
        if *storage != Storage::Plain {
            return Ok(None);
        }
        let codes = |stem| Codes { finder: self, entry, stem, pieces: Vec::new(), consumed: Vec::new() };
        if let Some(stem) = name.strip_suffix(".qweight") {
            return codes(stem).gptq_or_awq().map(Some);
        }
        if let Some(stem) = name.strip_suffix(".weight_packed") {
            return codes(stem).compressed().map(Some);
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

impl Codes<'_> {
    fn name(&self) -> String {
        quoted(&self.entry.info.name)
    }

    fn odd(&self, what: &str) -> Error {
        Error::Format(format!("tensor {} {what}; the checkpoint is damaged or of an unknown kind", self.name()))
    }

    fn shape<const N: usize>(&self) -> Result<[u64; N]> {
        let shape = &self.entry.info.shape;
        match <[u64; N]>::try_from(&shape[..]) {
            Ok(dims) if dims.iter().all(|d| *d > 0) => Ok(dims),
            _ => Err(self.odd(&format!("is packed but has the shape {shape:?}"))),
        }
    }

    /// Takes the piece whose name ends so, or says that it is missing.
    fn piece(&mut self, ending: &str) -> Result<&Piece> {
        if !self.optional_piece(ending) {
            return Err(Error::Format(format!(
                "tensor {} is packed but {} is missing; give all files of the model",
                self.name(),
                quoted(&format!("{}{ending}", self.stem))
            )));
        }
        Ok(&self.pieces[self.pieces.len() - 1])
    }

    fn optional_piece(&mut self, ending: &str) -> bool {
        let name = format!("{}{ending}", self.stem);
        let Some(entry) = self.finder.get(&name) else { return false };
        let info = &entry.info;
        let part = Part { file: entry.file, begin: info.begin, end: info.end };
        self.pieces.push(Piece { part, dtype: info.dtype, shape: info.shape.clone() });
        self.pass_over(&name);
        true
    }

    /// A tensor that says nothing about values goes with the codes.
    fn pass_over(&mut self, name: &str) {
        self.consumed.extend(self.finder.by_name.get(name));
    }

    /// The last piece must have this shape and one of these dtypes.
    fn expect(&self, shape: &[u64], dtypes: &[Dtype]) -> Result<()> {
        let Some(piece) = self.pieces.last() else { return Ok(()) };
        if piece.shape == shape && dtypes.contains(&piece.dtype) {
            return Ok(());
        }
        let entry = self.finder.tensors.iter().find(|t| t.file == piece.part.file && t.info.begin == piece.part.begin);
        let name = entry.map_or_else(String::new, |t| quoted(&t.info.name));
        Err(self.odd(&format!(
            "does not go with {name} of dtype {} and shape {:?}, which should be {shape:?}",
            piece.dtype, piece.shape
        )))
    }

    /// The weight `[rows, cols]` under the name `STEM.weight`.
    fn found(self, layout: Layout, dtype: Dtype, shape: Vec<u64>) -> Result<Found> {
        let elements = shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d));
        if elements.is_none_or(|n| n == 0 || n.checked_mul(64).is_none()) {
            return Err(self.odd(&format!("has the impossible shape {shape:?}")));
        }
        let info = TensorInfo {
            name: format!("{}.weight", self.stem),
            dtype,
            shape,
            storage: Storage::Packed(Box::new(Packed { layout, pieces: self.pieces })),
            ..self.entry.info.clone()
        };
        Ok(Found { weights: vec![TensorEntry { file: self.entry.file, info }], consumed: self.consumed })
    }

    /// A stack of matrices: each gets its share of the codes and of every piece.
    fn found_stack(self, layout: Layout, dtype: Dtype, count: u64, shape: [u64; 2]) -> Result<Found> {
        if count > MAX_EXPERTS {
            return Err(self.odd(&format!("claims {count} experts")));
        }
        let (stem, last) = self.stem.rsplit_once('.').unwrap_or((self.stem, "weights"));
        let stem = stem.to_owned();
        let name = |i| format!("{stem}.{i}.{last}.weight");
        let share = |part: Part, i: u64| {
            let len = (part.end - part.begin) / count;
            Part { begin: part.begin + i * len, end: part.begin + (i + 1) * len, ..part }
        };
        let (file, info) = (self.entry.file, &self.entry.info);
        let weight = |i| {
            let codes = share(Part { file, begin: info.begin, end: info.end }, i);
            let piece = |piece: &Piece| Piece {
                part: share(piece.part, i),
                dtype: piece.dtype,
                shape: piece.shape[1..].to_vec(),
            };
            let pieces = self.pieces.iter().map(piece).collect();
            let storage = Storage::Packed(Box::new(Packed { layout, pieces }));
            let info =
                TensorInfo { name: name(i), dtype, shape: shape.to_vec(), begin: codes.begin, end: codes.end, storage };
            TensorEntry { file, info }
        };
        Ok(Found { weights: (0..count).map(weight).collect(), consumed: self.consumed })
    }

    fn gptq_or_awq(mut self) -> Result<Found> {
        let [first, second] = self.shape()?;
        self.piece(".qzeros")?;
        let scales = self.piece(".scales")?;
        let (scale_dtype, scale_shape) = (scales.dtype, scales.shape.clone());
        let &[groups, rows] = &scale_shape[..] else {
            return Err(self.odd(&format!("has scales of shape {scale_shape:?}, not [groups, outputs]")));
        };
        if self.entry.info.dtype != Dtype::I32 || groups == 0 || rows == 0 {
            return Err(self.odd("is no matrix of 32-bit words"));
        }
        self.expect(&[groups, rows], FLOATS)?;
        let zeros = self.pieces[0].clone();
        let width = zeros.shape.last().copied().unwrap_or(0);
        if zeros.dtype != Dtype::I32 || zeros.shape != [groups, width] {
            return Err(self.odd(&format!("has zeros of shape {:?}, not [{groups}, words]", zeros.shape)));
        }
        if rows.is_multiple_of(8) && second == rows / 8 {
            if width != second || !first.is_multiple_of(groups) {
                return Err(self.odd(&format!("has {groups} groups of {width} zeros, which do not fit its shape")));
            }
            return self.found(Layout::Awq { group: first / groups }, scale_dtype, vec![rows, first]);
        }
        let bits = width.saturating_mul(32) / rows;
        if second != rows
            || !matches!(bits, 2 | 3 | 4 | 8)
            || bits * rows != 32 * width
            || !(32 * first).is_multiple_of(bits)
        {
            return Err(self.odd("has neither GPTQ's nor AWQ's shape"));
        }
        let cols = 32 * first / bits;
        let has_groups = self.optional_piece(".g_idx");
        if has_groups {
            self.expect(&[cols], &[Dtype::I32])?;
        } else if !cols.is_multiple_of(groups) {
            return Err(self.odd(&format!("has {cols} inputs, which are not {groups} groups")));
        }
        let offset = self.finder.config.gptq_offset();
        let layout = Layout::Gptq { bits: bits as u8, offset, group: cols.div_ceil(groups), has_groups };
        self.found(layout, scale_dtype, vec![rows, cols])
    }

    fn bitsandbytes(mut self) -> Result<Found> {
        #[derive(serde::Deserialize)]
        struct State {
            quant_type: String,
            blocksize: u64,
            dtype: String,
            shape: Vec<u64>,
            nested_blocksize: Option<u64>,
            nested_offset: Option<f64>,
        }
        let mut notes =
            ["nf4", "fp4"].map(|kind| format!("{}.weight.quant_state.bitsandbytes__{kind}", self.stem)).into_iter();
        let Some((note, json)) = notes.find_map(|name| self.finder.notes.get(&name).map(|json| (name, json))) else {
            return Err(Error::Format(format!(
                "tensor {} is packed by bitsandbytes but its quant_state is missing; give all files of the model",
                self.name()
            )));
        };
        self.pass_over(&note);
        let state: State =
            serde_json::from_slice(json).map_err(|e| self.odd(&format!("has a broken quant_state ({e})")))?;
        let elements = state.shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d)).unwrap_or(0);
        let codes = self.entry.info.elements();
        if state.blocksize == 0 || elements == 0 || elements.div_ceil(2) != codes {
            return Err(self.odd(&format!("has {codes} bytes, which are not the values of shape {:?}", state.shape)));
        }
        let blocks = elements.div_ceil(state.blocksize);
        self.piece(".weight.absmax")?;
        let nested = state.nested_blocksize.zip(state.nested_offset);
        self.expect(&[blocks], &[if nested.is_some() { Dtype::U8 } else { Dtype::F32 }])?;
        self.piece(".weight.quant_map")?;
        self.expect(&[16], &[Dtype::F32])?;
        let mut layout = Layout::Bnb4 { is_nf4: state.quant_type == "nf4", block: state.blocksize, nested: None };
        if let (Some((block, offset)), Layout::Bnb4 { nested, .. }) = (nested, &mut layout) {
            if block == 0 {
                return Err(self.odd("has nested blocks of no length"));
            }
            *nested = Some(Nested { block, offset: (offset as f32).to_bits() });
            self.piece(".weight.nested_absmax")?;
            self.expect(&[blocks.div_ceil(block)], &[Dtype::F32])?;
            self.piece(".weight.nested_quant_map")?;
            self.expect(&[256], &[Dtype::F32])?;
        }
        let dtype = match state.dtype.as_str() {
            "float16" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            _ => Dtype::F32,
        };
        self.found(layout, dtype, state.shape)
    }

    fn llm_int8(mut self) -> Result<Found> {
        let [rows, cols] = self.shape()?;
        self.piece(".SCB")?;
        self.expect(&[rows], &[Dtype::F32])?;
        self.pass_over(&format!("{}.weight_format", self.stem));
        self.found(Layout::LlmInt8, Dtype::F16, vec![rows, cols])
    }

    fn compressed(mut self) -> Result<Found> {
        let [rows, width] = self.shape()?;
        let note = format!("{}.weight_shape", self.stem);
        self.pass_over(&note);
        let scales = self.piece(".weight_scale")?;
        let (scale_dtype, scale_shape) = (scales.dtype, scales.shape.clone());
        match (self.entry.info.dtype, scale_dtype) {
            (Dtype::I32, _) => {}
            (Dtype::U8, Dtype::U8) if width.is_multiple_of(16) => {
                self.expect(&[rows, width / 16], &[Dtype::U8])?;
                return self.found(Layout::Mxfp4, Dtype::BF16, vec![rows, 2 * width]);
            }
            (Dtype::U8, _) => return self.nvfp4(TensorScale::Divides, ".weight_global_scale"),
            (dtype, _) => return Err(self.odd(&format!("is packed in dtype {dtype}"))),
        }
        let groups = scale_shape.get(1).copied().unwrap_or(1).max(1);
        self.expect(&[rows, groups], FLOATS)?;
        let noted = self.finder.notes.get(&note).and_then(|bytes| bytes.as_chunks::<8>().0.get(1));
        let cols = noted.map(|bytes| u64::from_le_bytes(*bytes));
        let fits = |bits: u64, cols: u64| cols.checked_mul(bits).is_some_and(|n| n.div_ceil(32) == width);
        let bits = match (self.finder.config.packed_bits(), cols) {
            (Some(bits), _) => bits,
            (None, Some(cols)) => [4, 8, 2, 3, 5, 6, 7].into_iter().find(|bits| fits(*bits, cols)).unwrap_or(0),
            (None, None) => {
                return Err(self.odd("has a number of bits that only the model's config.json says; give that file too"));
            }
        };
        let cols = cols.unwrap_or_else(|| (32 * width).checked_div(bits).unwrap_or(0));
        if !(2..=8).contains(&bits) || !fits(bits, cols) || !cols.is_multiple_of(groups) {
            return Err(self.odd(&format!("has {width} words a row, which are not {cols} codes of {bits} bits")));
        }
        let has_zeros = self.optional_piece(".weight_zero_point");
        if has_zeros {
            self.expect(&[rows.saturating_mul(bits).div_ceil(32), groups], &[Dtype::I32])?;
        }
        let has_groups = self.optional_piece(".weight_g_idx");
        if has_groups {
            self.expect(&[cols], &[Dtype::I32])?;
        }
        let layout = Layout::Ints { bits: bits as u8, has_zeros, has_groups, group: cols / groups };
        self.found(layout, scale_dtype, vec![rows, cols])
    }

    /// The scales are there already.
    fn nvfp4(mut self, tensor_scale: TensorScale, ending: &str) -> Result<Found> {
        let [rows, width] = self.shape()?;
        if !width.is_multiple_of(8) {
            return Err(self.odd(&format!("has rows of {width} bytes, which are not whole groups of 16 codes")));
        }
        self.expect(&[rows, width / 8], &[Dtype::F8_E4M3])?;
        let scale = self.piece(ending)?;
        if scale.dtype != Dtype::F32 || scale.shape.iter().product::<u64>() != 1 {
            return Err(self.odd("has no single scale of the tensor"));
        }
        // compressed-tensors dequantizes to bf16.
        let dtype = if tensor_scale == TensorScale::Divides { Dtype::BF16 } else { Dtype::F32 };
        self.found(Layout::Nvfp4 { tensor_scale }, dtype, vec![rows, 2 * width])
    }

    fn model_opt(mut self) -> Result<Found> {
        self.piece(".weight_scale")?;
        self.nvfp4(TensorScale::Multiplies, ".weight_scale_2")
    }

    fn scaled_bytes(mut self) -> Result<Found> {
        let [rows, cols] = self.shape()?;
        if !self.optional_piece(".weight_scale") {
            self.piece(".weight_scale_inv")?;
        }
        let scales = self.pieces[0].clone();
        let [block_rows, block_cols] = match scales.shape[..] {
            [] | [1] | [1, 1] => [rows, cols],
            [n] | [n, 1] if n == rows => [1, cols],
            [n, groups] if n == rows && groups > 0 && cols.is_multiple_of(groups) => [1, cols / groups],
            _ => self.finder.config.fp8_block().unwrap_or([128, 128]),
        };
        let count = scales.shape.iter().product::<u64>();
        let needed = rows.div_ceil(block_rows.max(1)).saturating_mul(cols.div_ceil(block_cols.max(1)));
        let fits = scales.shape.len() < 2 || scales.shape[0] == rows.div_ceil(block_rows.max(1));
        if block_rows == 0 || block_cols == 0 || count != needed || !fits || !FLOATS.contains(&scales.dtype) {
            return Err(
                self.odd(&format!("does not go with scales of dtype {} and shape {:?}", scales.dtype, scales.shape))
            );
        }
        let has_zeros = self.optional_piece(".weight_zero_point");
        if has_zeros {
            self.expect(&scales.shape, &[Dtype::I8, Dtype::F8_E4M3])?;
        }
        let layout = Layout::Bytes { dtype: self.entry.info.dtype, rows: block_rows, cols: block_cols, has_zeros };
        self.found(layout, scales.dtype, vec![rows, cols])
    }

    fn mlx(mut self) -> Result<Found> {
        let shape = self.entry.info.shape.clone();
        let scales = self.piece(".scales")?.clone();
        let (lead, rows, width) = match shape[..] {
            [rows, width] => (None, rows, width),
            [count, rows, width] => (Some(count), rows, width),
            _ => return Err(self.odd(&format!("is packed but has the shape {shape:?}"))),
        };
        let groups = scales.shape.last().copied().unwrap_or(0);
        let wanted: Vec<u64> = lead.into_iter().chain([rows, groups]).collect();
        if shape.contains(&0) || groups == 0 || scales.shape != wanted {
            return Err(self.odd(&format!("does not go with scales of shape {:?}", scales.shape)));
        }
        let has_biases = self.optional_piece(".biases");
        let (layout, dtype, group) = if has_biases {
            self.expect(&scales.shape, FLOATS)?;
            let (bits, group) = self.mlx_bits(width, groups)?;
            (Layout::Mlx { bits: bits as u8, group }, scales.dtype, group)
        } else {
            match (scales.dtype, width / groups, width % groups) {
                (Dtype::U8, 4, 0) => (Layout::Mxfp4, Dtype::BF16, 32),
                (Dtype::U8, 8, 0) => (Layout::Mxfp8, Dtype::BF16, 32),
                (Dtype::U8, 2, 0) => (Layout::Nvfp4 { tensor_scale: TensorScale::None }, Dtype::F32, 16),
                _ => return Err(self.odd("has scales but no biases; MLX writes both")),
            }
        };
        let shape = [rows, groups * group];
        match lead {
            None => self.found(layout, dtype, shape.to_vec()),
            Some(count) => self.found_stack(layout, dtype, count, shape),
        }
    }

    /// Bits and group of `width` words in `groups` groups: as the config says, or as only one pair fits.
    fn mlx_bits(&self, width: u64, groups: u64) -> Result<(u64, u64)> {
        let fits = |(bits, group): (u64, u64)| {
            group.checked_mul(groups).and_then(|cols| cols.checked_mul(bits)) == width.checked_mul(32)
        };
        if let Some(pair) = self.finder.config.mlx(self.stem) {
            if (1..=8).contains(&pair.0) && pair.1.is_multiple_of(8) && pair.1 > 0 && fits(pair) {
                return Ok(pair);
            }
            let (bits, group) = pair;
            return Err(self.odd(&format!(
                "has {width} words a row and {groups} groups, which are not codes of {bits} bits in groups of {group}, as config.json has it"
            )));
        }
        let pairs = [2, 3, 4, 5, 6, 8].into_iter().flat_map(|bits| [32, 64, 128].map(|group| (bits, group)));
        match pairs.filter(|pair| fits(*pair)).collect::<Vec<_>>()[..] {
            [pair] => Ok(pair),
            [] => Err(self.odd(&format!("has {width} words a row and {groups} groups, which fit no bits of MLX's"))),
            _ => Err(Error::Format(format!(
                "tensor {} is packed by MLX, and only the model's config.json says in how many bits; give that file too",
                self.name()
            ))),
        }
    }

    fn gpt_oss(mut self) -> Result<Found> {
        let [count, rows, groups, bytes] = self.shape()?;
        if bytes != 16 {
            return Err(self.odd(&format!("has blocks of {bytes} bytes, not 16")));
        }
        self.piece("_scales")?;
        self.expect(&[count, rows, groups], &[Dtype::U8])?;
        let shape = [rows, 32 * groups];
        self.found_stack(Layout::Mxfp4, Dtype::BF16, count, shape)
    }
}

/// What scales are stored in.
const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];
