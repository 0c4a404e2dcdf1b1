//! Which tensor of one model is which of another.

use std::collections::HashMap;
use std::ops::Range;

use super::names::{Place, place};
use crate::error::quoted;
use crate::format::{Model, TensorInfo};

/// What part of a tensor a pair takes: all of it, or some rows of a fused one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    /// Index into [`Model::tensors`].
    pub tensor: usize,
    pub rows: Option<Range<u64>>,
}

/// Two that are the same weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub original: Half,
    pub quantized: Half,
    /// Whether the second is stored as the transpose of the first.
    pub is_transposed: bool,
    /// Whether it holds queries or keys, whose rows llama.cpp may have put into another order.
    pub may_be_permuted: bool,
}

/// All pairs, and the weights without a partner with the reason.
#[derive(Debug, Default)]
pub(super) struct Matching {
    pub pairs: Vec<Pair>,
    pub only_original: Vec<(usize, String)>,
    pub only_quantized: Vec<(usize, String)>,
}

/// One of the two models, by name and by place.
struct Side<'a> {
    model: &'a Model,
    names: HashMap<&'a str, usize>,
    /// Places that are taken twice are not here: two towers of one model, say.
    places: HashMap<Place, usize>,
}

impl<'a> Side<'a> {
    fn new(model: &'a Model) -> Self {
        let mut side = Self { model, names: HashMap::new(), places: HashMap::new() };
        let mut seen: HashMap<Place, Vec<usize>> = HashMap::new();
        for (i, tensor) in model.tensors.iter().enumerate().filter(|(_, t)| is_weight(&t.info)) {
            side.names.insert(&tensor.info.name, i);
            if let Some(place) = place(&tensor.info.name) {
                seen.entry(place).or_default().push(i);
            }
        }
        side.places = seen.into_iter().filter(|(_, all)| all.len() == 1).map(|(place, all)| (place, all[0])).collect();
        side
    }

    fn info(&self, tensor: usize) -> &TensorInfo {
        &self.model.tensors[tensor].info
    }

    /// The tensor of the same block with another part.
    fn sibling(&self, place: &Place, part: &str) -> Option<usize> {
        self.places.get(&Place { part: part.to_owned(), ..place.clone() }).copied()
    }
}

/// A tensor that is compared: with sides, and named as weights are.
pub(super) fn is_weight(info: &TensorInfo) -> bool {
    info.shape.len() >= 2 && info.name.ends_with(".weight") && info.elements() > 0
}

/// Fused tensors and what they are made of, in the order of the rows. Some libraries keep gate and up under the name of up.
const FUSED: [(&str, &[&str]); 3] = [
    ("attn_qkv", &["attn_q", "attn_k", "attn_v"]),
    ("ffn_gate_up", &["ffn_gate", "ffn_up"]),
    ("ffn_up", &["ffn_gate", "ffn_up"]),
];

/// Matches by name, then by place, then parts with fused tensors.
pub(super) fn matched(original: &Model, quantized: &Model) -> Matching {
    let (a, b) = (Side::new(original), Side::new(quantized));
    let mut matching = Matching::default();
    let mut used = vec![false; quantized.tensors.len()];
    for (i, tensor) in original.tensors.iter().enumerate().filter(|(_, t)| is_weight(&t.info)) {
        let place = place(&tensor.info.name);
        let same = b.names.get(tensor.info.name.as_str()).or_else(|| b.places.get(place.as_ref()?)).copied();
        let found = match (same, &place) {
            (Some(j), _) if are_alike(&tensor.info.shape, &b.info(j).shape).is_some() => vec![pair(&a, i, &b, j)],
            (_, Some(place)) => {
                let part = part_of_fused(&a, i, place, &b);
                part.or_else(|| parts_of_fused(&a, i, place, &b)).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if found.is_empty() {
            let reason = same.map_or_else(
                || "the other model has no such weight".to_owned(),
                |j| {
                    let (other, shape) = (b.info(j), &tensor.info.shape);
                    format!("its shape is {shape:?}, that of {} {:?}", quoted(&other.name), other.shape)
                },
            );
            matching.only_original.push((i, reason));
        }
        for pair in found {
            used[pair.quantized.tensor] = true;
            matching.pairs.push(pair);
        }
    }
    let left = b.names.values().copied().filter(|j| !used[*j]);
    matching.only_quantized = left.map(|j| (j, "the other model has no such weight".to_owned())).collect();
    matching.only_quantized.sort_unstable();
    matching
}

/// Whether two shapes are the same (`Some(false)`) or each other's transpose (`Some(true)`).
fn are_alike(a: &[u64], b: &[u64]) -> Option<bool> {
    match (a, b) {
        _ if a == b => Some(false),
        ([rows, cols], [other_rows, other_cols]) if rows == other_cols && cols == other_rows => Some(true),
        _ => None,
    }
}

fn pair(a: &Side, i: usize, b: &Side, j: usize) -> Pair {
    Pair {
        original: Half { tensor: i, rows: None },
        quantized: Half { tensor: j, rows: None },
        is_transposed: are_alike(&a.info(i).shape, &b.info(j).shape) == Some(true),
        may_be_permuted: is_query_or_key(&a.info(i).name),
    }
}

fn is_query_or_key(name: &str) -> bool {
    place(name).is_some_and(|place| matches!(place.part.as_str(), "attn_q" | "attn_k"))
}

/// The rows that each part takes of the fused tensor, if they are all of its rows.
fn rows_of_parts(whole: &TensorInfo, parts: &[&TensorInfo]) -> Option<Vec<Range<u64>>> {
    let mut at = 0_u64;
    let mut ranges = Vec::with_capacity(parts.len());
    for part in parts {
        let [rows, cols] = part.shape[..] else { return None };
        if whole.shape.len() != 2 || cols != whole.shape[1] {
            return None;
        }
        ranges.push(at..at.checked_add(rows)?);
        at += rows;
    }
    (at == whole.shape[0]).then_some(ranges)
}

/// The original is a part of a fused tensor of the other model.
fn part_of_fused(a: &Side, i: usize, place: &Place, b: &Side) -> Option<Vec<Pair>> {
    FUSED.iter().find_map(|(fused, parts)| {
        let position = parts.iter().position(|part| *part == place.part)?;
        let j = b.sibling(place, fused)?;
        let infos: Vec<&TensorInfo> =
            parts.iter().map(|part| Some(a.info(a.sibling(place, part)?))).collect::<Option<_>>()?;
        let rows = rows_of_parts(b.info(j), &infos)?.swap_remove(position);
        let quantized = Half { tensor: j, rows: Some(rows) };
        Some(vec![Pair { quantized, ..pair(a, i, b, j) }])
    })
}

/// The original is fused, and the other model has its parts.
fn parts_of_fused(a: &Side, i: usize, place: &Place, b: &Side) -> Option<Vec<Pair>> {
    FUSED.iter().filter(|(fused, _)| *fused == place.part).find_map(|(_, parts)| {
        let others: Vec<usize> = parts.iter().map(|part| b.sibling(place, part)).collect::<Option<_>>()?;
        let infos: Vec<&TensorInfo> = others.iter().map(|j| b.info(*j)).collect();
        let ranges = rows_of_parts(a.info(i), &infos)?;
        let one = |(j, rows)| Pair {
            original: Half { tensor: i, rows: Some(rows) },
            may_be_permuted: is_query_or_key(&b.info(j).name),
            ..pair(a, i, b, j)
        };
        Some(others.into_iter().zip(ranges).map(one).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Header, ModelBuilder, Storage};
    use safetensors::Dtype;

    fn model(tensors: &[(&str, &[u64])]) -> Model {
        let info = |(name, shape): &(&str, &[u64])| TensorInfo {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            begin: 0,
            end: 0,
            storage: Storage::Plain,
        };
        let mut builder = ModelBuilder::default();
        let tensors = tensors.iter().map(info).collect();
        builder.add_file("m.safetensors", 0, Header { tensors, ..Header::default() }).unwrap();
        builder.finish().unwrap()
    }

    fn found(a: &Model, b: &Model) -> Vec<String> {
        let half = |model: &Model, half: &Half| {
            let rows = half.rows.as_ref().map_or_else(String::new, |rows| format!("[{}..{}]", rows.start, rows.end));
            format!("{}{rows}", model.tensors[half.tensor].info.name)
        };
        let text = |p: &Pair| {
            let notes = if p.is_transposed { " T" } else { "" };
            format!("{} = {}{notes}", half(a, &p.original), half(b, &p.quantized))
        };
        matched(a, b).pairs.iter().map(text).collect()
    }

    #[test]
    fn fused_tensors_are_matched_with_their_parts_both_ways() {
        let apart = model(&[
            ("model.layers.0.self_attn.q_proj.weight", &[8, 16]),
            ("model.layers.0.self_attn.k_proj.weight", &[4, 16]),
            ("model.layers.0.self_attn.v_proj.weight", &[4, 16]),
            ("model.layers.0.mlp.gate_proj.weight", &[32, 16]),
            ("model.layers.0.mlp.up_proj.weight", &[32, 16]),
            ("model.layers.0.mlp.down_proj.weight", &[16, 32]),
            ("lm_head.weight", &[99, 16]),
        ]);
        let fused = model(&[
            ("blk.0.attn_qkv.weight", &[16, 16]),
            ("blk.0.ffn_up.weight", &[64, 16]),
            ("blk.0.ffn_down.weight", &[16, 32]),
            ("token_embd.weight", &[99, 16]),
        ]);
        assert_eq!(
            found(&apart, &fused),
            [
                "model.layers.0.self_attn.q_proj.weight = blk.0.attn_qkv.weight[0..8]",
                "model.layers.0.self_attn.k_proj.weight = blk.0.attn_qkv.weight[8..12]",
                "model.layers.0.self_attn.v_proj.weight = blk.0.attn_qkv.weight[12..16]",
                "model.layers.0.mlp.gate_proj.weight = blk.0.ffn_up.weight[0..32]",
                "model.layers.0.mlp.up_proj.weight = blk.0.ffn_up.weight[32..64]",
                "model.layers.0.mlp.down_proj.weight = blk.0.ffn_down.weight",
            ]
        );
        assert_eq!(
            found(&fused, &apart),
            [
                "blk.0.attn_qkv.weight[0..8] = model.layers.0.self_attn.q_proj.weight",
                "blk.0.attn_qkv.weight[8..12] = model.layers.0.self_attn.k_proj.weight",
                "blk.0.attn_qkv.weight[12..16] = model.layers.0.self_attn.v_proj.weight",
                "blk.0.ffn_up.weight[0..32] = model.layers.0.mlp.gate_proj.weight",
                "blk.0.ffn_up.weight[32..64] = model.layers.0.mlp.up_proj.weight",
                "blk.0.ffn_down.weight = model.layers.0.mlp.down_proj.weight",
            ]
        );
        let matching = matched(&apart, &fused);
        assert_eq!(matching.only_original.len(), 1);
        assert_eq!(matching.only_quantized.len(), 1);
    }

    #[test]
    fn transposes_and_other_shapes_are_seen() {
        let a = model(&[("h.0.attn.c_attn.weight", &[8, 24]), ("h.0.mlp.c_fc.weight", &[8, 32])]);
        let b = model(&[("blk.0.attn_qkv.weight", &[24, 8]), ("blk.0.ffn_up.weight", &[31, 8])]);
        assert_eq!(found(&a, &b), ["h.0.attn.c_attn.weight = blk.0.attn_qkv.weight T"]);
        assert!(matched(&a, &b).only_original[0].1.contains("its shape is [8, 32]"));
    }
}
