//! Which tensors are analysed, and why the others are not.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::format::{Model, TensorInfo};
use crate::matrix::Matrix;
use crate::quant::{ModelTensor, module};
use crate::report::{LayerInfo, Skipped};
use crate::spectrum::transposed;
use crate::tensor::is_decodable;

use super::combine::Combined;
use super::filter::{Candidate, LayerFilter};
use super::options::Options;

/// What a tensor is taken for, by its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// A matrix, `[rows, cols]`.
    Dense {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// A convolution kernel, `[out, in, height, width]`: one `[out, in]` matrix a kernel position.
    Conv2d {
        /// Output channels.
        out: usize,
        /// Input channels.
        input: usize,
        /// Kernel positions.
        positions: usize,
    },
}

/// A tensor to analyse.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Index into [`Model::tensors`].
    pub tensor: usize,
    /// What it is.
    pub kind: LayerKind,
    /// What the report says of it.
    pub info: LayerInfo,
    /// How its matrix is made, if not of the tensor alone.
    pub combined: Option<Combined>,
}

impl Layer {
    /// The tool's second name.
    pub fn longname(&self) -> &str {
        self.combined.as_ref().map_or(&self.info.name, |combined| &combined.longname)
    }

    /// Rows and columns of the tensor as quantizers see it: `[out, in]`, of a convolution `[out, in * positions]`.
    pub fn matrix_shape(&self) -> (usize, usize) {
        match self.kind {
            LayerKind::Dense { rows, cols } => (rows, cols),
            LayerKind::Conv2d { out, input, positions } => (out, input * positions),
        }
    }

    /// One of the layer's matrices, `[rows, cols]`: the weights themselves, or a convolution's at one kernel position.
    ///
    /// # Errors
    /// If the weights are not the layer's.
    pub fn slice<'a>(&self, weights: &'a Matrix, position: usize) -> Result<Cow<'a, Matrix>> {
        match self.kind {
            LayerKind::Dense { .. } | LayerKind::Conv2d { positions: 1, .. } => Ok(Cow::Borrowed(weights)),
            LayerKind::Conv2d { out, input, positions } => {
                let values = weights.values().iter().skip(position).step_by(positions).copied().collect();
                Ok(Cow::Owned(Matrix::new(out, input, values)?))
            }
        }
    }

    /// [`Layer::slice`] with its longer side down.
    ///
    /// # Errors
    /// As [`Layer::slice`].
    pub fn standing_slice(&self, weights: &Matrix, position: usize) -> Result<Matrix> {
        let slice = self.slice(weights, position)?;
        Ok(if slice.rows() < slice.cols() { transposed(&slice) } else { slice.into_owned() })
    }

    /// Length of the side of the Gram matrix and of the side that is summed over.
    pub fn gram_shape(&self) -> (usize, usize) {
        let (rows, cols) = match self.kind {
            LayerKind::Dense { rows, cols } => (rows, cols),
            LayerKind::Conv2d { out, input, .. } => (out, input),
        };
        (rows.min(cols), rows.max(cols))
    }

    /// Floating-point operations of one level: `m n^2` for the Gram product, `4/3 n^3` for the eigenvalues, and a few for
    /// each weight. Only ratios matter: progress is counted in it.
    pub fn work(&self) -> f64 {
        let (n, m) = self.gram_shape();
        let (n, m) = (n as f64, m as f64);
        self.info.rf as f64 * (m * n * n + 4.0 / 3.0 * n * n * n + 50.0 * m * n + 20_000.0)
    }
}

#[cfg(test)]
impl Layer {
    /// A matrix that counts.
    pub(super) fn dense(rows: usize, cols: usize) -> Self {
        let (n, m) = (rows.max(cols) as u64, rows.min(cols) as u64);
        let info = LayerInfo {
            layer_id: 0,
            name: "layer".to_owned(),
            layer_type: "dense".to_owned(),
            dtype: String::new(),
            shape: vec![rows as u64, cols as u64],
            n,
            m,
            q: n as f64 / m as f64,
            rf: 1,
            num_evals: m,
            counted: true,
            block: None,
            module: String::new(),
        };
        Self { tensor: 0, kind: LayerKind::Dense { rows, cols }, info, combined: None }
    }
}

/// The tensors of a model, sorted into those analysed and those not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// In the order of the tables.
    pub layers: Vec<Layer>,
    /// In the order of the model.
    pub skipped: Vec<Skipped>,
}

/// Selects layers as `WeightWatcher` does with its default options: 2-D and 4-D tensors named `*.weight`, whose first
/// dimension is at least 2, with `min_evals <= M * rf <= max_evals` and `N <= max_N`.
///
/// Tables are in natural order (layer 2 before layer 10); in compatibility mode in `WeightWatcher`'s order.
///
/// # Errors
/// [`crate::Error::Options`] for a bad pattern of layers.
pub fn select(model: &Model, options: &Options) -> Result<Selection> {
    let wanted = LayerFilter::new(options)?;
    let ids = layer_ids(model, options.compat.is_weightwatcher());
    let mut selection = Selection::default();
    for ((tensor, entry), id) in model.tensors.iter().enumerate().zip(ids) {
        let info = &entry.info;
        let verdict = match info.name.strip_suffix(".weight").zip(id) {
            None => Err("its name does not end in .weight".to_owned()),
            Some((name, id)) if !wanted.wants(&Candidate::new(info, name, id + options.start_ids)) => {
                Err("not among the layers asked for".to_owned())
            }
            Some((name, id)) => layer_of(info, name, id + options.start_ids, options),
        };
        match verdict {
            Ok((kind, info)) => selection.layers.push(Layer { tensor, kind, info, combined: None }),
            Err(reason) => selection.skipped.push(Skipped {
                name: info.name.clone(),
                dtype: info.stored_as(),
                shape: info.shape.clone(),
                reason,
            }),
        }
    }
    tell_modules_apart(&mut selection.layers);
    if !options.compat.is_weightwatcher() {
        selection.layers.sort_by_cached_key(|layer| natural_key(&layer.info.name));
    }
    Ok(selection)
}

/// Modules that share a block and a short name (an encoder's and a decoder's queries) get their own name, with `*` for the block.
fn tell_modules_apart(layers: &mut [Layer]) {
    let mut counts: HashMap<(Option<u64>, String), usize> = HashMap::new();
    for Layer { info, .. } in layers.iter() {
        *counts.entry((info.block, info.module.clone())).or_default() += 1;
    }
    let shared: HashSet<&str> =
        counts.iter().filter(|(_, count)| **count > 1).map(|((_, module), _)| module.as_str()).collect();
    for Layer { info, .. } in layers {
        if shared.contains(info.module.as_str()) {
            info.module = match info.block {
                Some(block) => info.name.replacen(&format!(".{block}."), ".*.", 1),
                None => info.name.clone(),
            };
        }
    }
}

fn layer_of(info: &TensorInfo, name: &str, layer_id: u64, options: &Options) -> Result<(LayerKind, LayerInfo), String> {
    let dims: Vec<usize> = info
        .shape
        .iter()
        .map(|d| usize::try_from(*d))
        .collect::<Result<_, _>>()
        .map_err(|_| "too large for this machine's address space".to_owned())?;
    let (kind, a, b, rf) = match dims[..] {
        [rows, _] | [rows, _, _, _] if rows < 2 => return Err("first dimension below 2".to_owned()),
        [rows, cols] => (LayerKind::Dense { rows, cols }, rows, cols, 1),
        [out, input, height, width] => {
            let positions = height.checked_mul(width).ok_or("too many kernel positions")?;
            (LayerKind::Conv2d { out, input, positions }, out, input, positions)
        }
        _ => return Err(format!("{}-D: only 2-D and 4-D tensors have a spectrum here", dims.len())),
    };
    let (mut n, mut m) = (a.max(b) as u64, a.min(b) as u64);
    if m == 0 || rf == 0 {
        return Err("it has no values".to_owned());
    }
    if !is_decodable(info.dtype) {
        return Err(format!("dtype {} can't be decoded by this version", info.dtype));
    }
    let rf = rf as u64;
    let num_evals = if options.pool { m.saturating_mul(rf) } else { m };
    if let LayerKind::Conv2d { .. } = kind
        && options.compat.is_weightwatcher()
        && conv_sides_are_swapped(&dims)
    {
        std::mem::swap(&mut n, &mut m);
    }
    if options.min_evals > 0 && num_evals < options.min_evals {
        return Err(format!("{num_evals} eigenvalues, fewer than min_evals = {}", options.min_evals));
    }
    if options.max_evals > 0 && num_evals > options.max_evals {
        return Err(format!("{num_evals} eigenvalues, more than max_evals = {}", options.max_evals));
    }
    if n > options.max_n {
        return Err(format!("longer side {n}, more than max_N = {}", options.max_n));
    }
    let (block, module) = module(&ModelTensor { name: &info.name, shape: &info.shape });
    let layer = LayerInfo {
        layer_id,
        name: name.to_owned(),
        layer_type: layer_type(info).to_owned(),
        dtype: info.stored_as(),
        shape: info.shape.clone(),
        n,
        m,
        q: n as f64 / m as f64,
        rf,
        num_evals,
        counted: !is_embedding(name, &info.shape),
        block,
        module,
    };
    Ok((kind, layer))
}

pub(super) fn layer_type(info: &TensorInfo) -> &'static str {
    if info.shape.len() == 4 { "conv2d" } else { "dense" }
}

/// `WeightWatcher` swaps N and M once for every kernel position of a kernel with fewer outputs than inputs, so an even
/// number of them leaves N < M; and for a kernel larger than its channels it never swaps.
fn conv_sides_are_swapped(dims: &[usize]) -> bool {
    let [a, b, c, d] = *dims else { return false };
    a < b && (a.saturating_add(b) < c.saturating_add(d) || c.saturating_mul(d).is_multiple_of(2))
}

/// Embeddings look rows up and multiply nothing: the study leaves them as they are, and so do quantized files. What is inside a
/// module of that name may be another thing: the convolution `patch_embed.proj`, the matrices of `time_embedding.linear_1`;
/// and `embed_out` multiplies.
pub(super) fn is_embedding(name: &str, shape: &[u64]) -> bool {
    // Of a list, and below an adapter, the name is one up.
    let is_place = |part: &&str| part.bytes().all(|b| b.is_ascii_digit()) || *part == "base_layer";
    let last = name.rsplit('.').find(|part| !is_place(part)).unwrap_or(name);
    // GGUF's are token_embd, position_embd and token_types.
    let ends = ["embed", "embeds", "embedding", "embeddings", "embd"].iter().any(|end| last.ends_with(end));
    let is_named = ends || (last.starts_with("embed_") && last != "embed_out");
    shape.len() == 2 && (is_named || matches!(last, "wte" | "wpe" | "shared" | "token_types"))
}

/// Ids of `WeightWatcher`'s rows for a directory: the index among the tensors named `*.weight`; none for others.
///
/// Its directory walk adds the offset of a shard twice, so that ids jump from the third shard on (2 + 2 + 1 layers get
/// 0, 1, 2, 3, 6), unless there is an index.
fn layer_ids(model: &Model, as_weightwatcher: bool) -> Vec<Option<u64>> {
    let doubled = as_weightwatcher && !model.has_index;
    let mut ids = Vec::with_capacity(model.tensors.len());
    let (mut next, mut seen, mut shard_start, mut file) = (0_u64, 0_u64, 0_u64, 0);
    for entry in &model.tensors {
        while file < entry.file {
            file += 1;
            shard_start += seen;
            next = if doubled { shard_start } else { seen };
        }
        let is_weight = entry.info.name.ends_with(".weight");
        ids.push(is_weight.then_some(next));
        next += u64::from(is_weight);
        seen += u64::from(is_weight);
    }
    ids
}

/// A key that sorts numbers inside names by value.
fn natural_key(name: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(text_end);
        let number_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(number_end);
        // Numbers too long for u64 sort last, by nothing better than their text below.
        key.push((text.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    key.push((name.to_owned(), 0));
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Compat;
    use crate::format::{Header, ModelBuilder, Storage, TensorInfo};
    use safetensors::Dtype;

    fn model(shards: &[&[(&str, &[u64])]]) -> Model {
        let mut builder = ModelBuilder::default();
        for (number, tensors) in shards.iter().enumerate() {
            let tensors = tensors
                .iter()
                .map(|(name, shape)| TensorInfo {
                    name: (*name).to_owned(),
                    dtype: Dtype::F32,
                    shape: shape.to_vec(),
                    begin: 8,
                    end: 8,
                    storage: Storage::Plain,
                })
                .collect();
            builder.add_file(&format!("{number}.safetensors"), 8, Header { tensors, ..Header::default() }).unwrap();
        }
        builder.finish().unwrap()
    }

    fn ids(selection: &Selection) -> Vec<(u64, &str)> {
        selection.layers.iter().map(|l| (l.info.layer_id, l.info.name.as_str())).collect()
    }

    const SHAPE: &[u64] = &[30, 20];

    #[test]
    fn ids_and_order_are_weightwatchers_for_a_directory() {
        // From the tool: tests/data/weightwatcher/behaviour.json, dir_single_order and dir_three_shards_no_index.
        let one = model(&[&[
            ("L0.weight", SHAPE),
            ("L1.weight", SHAPE),
            ("L10.weight", SHAPE),
            ("L11.weight", SHAPE),
            ("L2.weight", SHAPE),
        ]]);
        let compat = Options { compat: Compat::WeightWatcher, ..Options::default() };
        assert_eq!(ids(&select(&one, &compat).unwrap()), [(0, "L0"), (1, "L1"), (2, "L10"), (3, "L11"), (4, "L2")]);
        assert_eq!(
            ids(&select(&one, &Options::default()).unwrap()),
            [(0, "L0"), (1, "L1"), (4, "L2"), (2, "L10"), (3, "L11")]
        );
        let three = model(&[
            &[("L0.weight", SHAPE), ("L1.weight", SHAPE)],
            &[("L10.weight", SHAPE), ("L2.weight", SHAPE)],
            &[("L11.weight", SHAPE)],
        ]);
        assert_eq!(ids(&select(&three, &compat).unwrap()), [(0, "L0"), (1, "L1"), (2, "L10"), (3, "L2"), (6, "L11")]);
        assert_eq!(
            ids(&select(&three, &Options::default()).unwrap()),
            [(0, "L0"), (1, "L1"), (3, "L2"), (2, "L10"), (4, "L11")]
        );
    }

    #[test]
    fn each_skipped_tensor_has_its_reason() {
        let m = model(&[&[
            ("a.bias", &[384]),
            ("b.weight", &[384]),
            ("c.weight", &[1, 300]),
            ("d.weight", &[2, 384]),
            ("e.weight", &[20_000, 16_000]),
            ("f.weight", &[60_000, 100]),
            ("g.weight", &[32, 16, 3]),
            ("h.weight", &[0, 10]),
            ("i.weight", &[8, 8]),
            ("j.weight", &[50_000, 8]),
            ("k.weight", &[32, 1, 3, 3]),
            ("scalar.weight", &[]),
            ("l.weight", &[300, 0]),
        ]]);
        let selection = select(&m, &Options::default()).unwrap();
        assert_eq!(selection.layers.iter().map(|l| l.info.name.as_str()).collect::<Vec<_>>(), ["i", "j", "k"]);
        let reason = |name: &str| selection.skipped.iter().find(|s| s.name == name).unwrap().reason.clone();
        assert_eq!(reason("a.bias"), "its name does not end in .weight");
        assert!(reason("b.weight").contains("1-D"));
        assert!(reason("scalar.weight").contains("0-D"));
        assert!(reason("c.weight").contains("first dimension"));
        assert!(reason("h.weight").contains("first dimension"));
        assert!(reason("l.weight").contains("no values"));
        assert!(reason("d.weight").contains("min_evals"));
        assert!(reason("e.weight").contains("max_evals"));
        assert!(reason("f.weight").contains("max_N"));
        assert!(reason("g.weight").contains("3-D"));
    }

    #[test]
    fn convolutions_have_sides_and_their_odd_twin_in_compat_mode() {
        let m = model(&[&[("a.weight", &[8, 16, 2, 2]), ("b.weight", &[16, 32, 1, 1])]]);
        let sides = |compat| -> Vec<(u64, u64)> {
            select(&m, &Options { compat, ..Options::default() })
                .unwrap()
                .layers
                .iter()
                .map(|l| (l.info.n, l.info.m))
                .collect()
        };
        assert_eq!(sides(Compat::None), [(16, 8), (32, 16)]);
        assert_eq!(sides(Compat::WeightWatcher), [(8, 16), (32, 16)]);
    }

    #[test]
    fn layers_are_picked_by_pattern_and_embeddings_do_not_count() {
        let m = model(&[&[
            ("embeddings.word_embeddings.weight", SHAPE),
            ("h.0.q.weight", SHAPE),
            ("h.1.q.weight", SHAPE),
            ("token_embd.weight", SHAPE),
            ("transformer.wte.weight", SHAPE),
        ]]);
        let picked = |layers: &str| select(&m, &Options { layers: layers.to_owned(), ..Options::default() }).unwrap();
        assert_eq!(ids(&picked("h.*,*wte.weight")).len(), 3);
        assert_eq!(ids(&picked("h.1.q")), [(2, "h.1.q")]);
        assert_eq!(picked("h.1.q").skipped[0].reason, "not among the layers asked for");
        assert_eq!(
            picked("").layers.iter().map(|l| l.info.counted).collect::<Vec<_>>(),
            [false, true, true, false, false]
        );
        for name in [
            "embed_tokens",
            "embed_tokens.base_layer",
            "model.embedding.0",
            "embeddings.position_embeddings",
            "pos_embed",
            "embed_in",
        ] {
            assert!(is_embedding(name, SHAPE), "{name}");
        }
        for name in ["embed_out", "time_embedding.linear_1", "embeddings.projection", "lm_head"] {
            assert!(!is_embedding(name, SHAPE), "{name}");
        }
        assert!(!is_embedding("vision_model.embeddings.patch_embedding", &[64, 3, 4, 4]), "a convolution");
    }

    #[test]
    fn blocks_are_picked_and_modules_told_apart() {
        let m = model(&[&[
            ("decoder.layers.0.encoder_attn.q_proj.weight", SHAPE),
            ("decoder.layers.0.self_attn.q_proj.weight", SHAPE),
            ("decoder.layers.0.fc1.weight", SHAPE),
            ("decoder.layers.1.fc1.weight", SHAPE),
            ("lm_head.weight", SHAPE),
        ]]);
        let modules = |layers: &str| -> Vec<String> {
            let options = Options { layers: layers.to_owned(), ..Options::default() };
            select(&m, &options).unwrap().layers.into_iter().map(|l| l.info.module).collect()
        };
        let long = "decoder.layers.*.encoder_attn.q_proj";
        assert_eq!(modules(""), [long, "up", "decoder.layers.*.self_attn.q_proj", "up", "output"]);
        assert_eq!(modules("blocks=0,*fc*"), ["up"]);
        assert_eq!(modules("-blocks=0"), ["up", "output"]);
    }
}
