//! What a tensor is for, from its name: in GGUF's naming and in those of the model libraries.

/// A tensor's name and shape, outermost dimension first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a [u64],
}

/// A place in a transformer, as far as recipes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    TokenEmbedding,
    Output,
    Query,
    Key,
    /// Values alone, values with keys (`kv_b`), or queries, keys and values in one.
    Value {
        is_fused: bool,
    },
    AttentionOutput,
    Gate,
    Up,
    /// Gate and up in one.
    GateUp,
    Down,
    /// Routers, norms, biases, position embeddings: kept as they are.
    Kept,
    Other,
}

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub role: Role,
    pub layer: Option<u64>,
    pub expert: Option<u64>,
}

/// Endings of names without `.weight`, the longest that fits decides.
const ENDINGS: &[(&str, Role)] = &[
    ("token_embd", Role::TokenEmbedding),
    ("embed_tokens", Role::TokenEmbedding),
    ("tok_embeddings", Role::TokenEmbedding),
    ("word_embeddings", Role::TokenEmbedding),
    ("wte", Role::TokenEmbedding),
    ("embed_in", Role::TokenEmbedding),
    ("lm_head", Role::Output),
    ("embed_out", Role::Output),
    ("attn_q", Role::Query),
    ("q_proj", Role::Query),
    ("attention.wq", Role::Query),
    ("query", Role::Query),
    ("attn_k", Role::Key),
    ("k_proj", Role::Key),
    ("attention.wk", Role::Key),
    ("key", Role::Key),
    ("attn_v", Role::Value { is_fused: false }),
    ("v_proj", Role::Value { is_fused: false }),
    ("attention.wv", Role::Value { is_fused: false }),
    ("value", Role::Value { is_fused: false }),
    ("attn_kv_b", Role::Value { is_fused: false }),
    ("kv_b_proj", Role::Value { is_fused: false }),
    ("attn_qkv", Role::Value { is_fused: true }),
    ("qkv_proj", Role::Value { is_fused: true }),
    ("c_attn", Role::Value { is_fused: true }),
    ("query_key_value", Role::Value { is_fused: true }),
    ("Wqkv", Role::Value { is_fused: true }),
    ("attn_output", Role::AttentionOutput),
    ("o_proj", Role::AttentionOutput),
    ("out_proj", Role::AttentionOutput),
    ("attention.wo", Role::AttentionOutput),
    ("attn.c_proj", Role::AttentionOutput),
    ("attention.dense", Role::AttentionOutput),
    ("attention.output.dense", Role::AttentionOutput),
    ("ffn_gate", Role::Gate),
    ("ffn_gate_exps", Role::Gate),
    ("gate_proj", Role::Gate),
    ("w1", Role::Gate),
    ("wi_0", Role::Gate),
    ("ffn_up", Role::Up),
    ("ffn_up_exps", Role::Up),
    ("up_proj", Role::Up),
    ("w3", Role::Up),
    ("wi_1", Role::Up),
    ("mlp.c_fc", Role::Up),
    ("dense_h_to_4h", Role::Up),
    ("fc1", Role::Up),
    ("intermediate.dense", Role::Up),
    ("gate_up_proj", Role::GateUp),
    ("ffn_down", Role::Down),
    ("ffn_down_exps", Role::Down),
    ("down_proj", Role::Down),
    ("feed_forward.w2", Role::Down),
    ("w2", Role::Down),
    ("mlp.c_proj", Role::Down),
    ("dense_4h_to_h", Role::Down),
    ("fc2", Role::Down),
    ("output.dense", Role::Down),
    ("ffn_gate_inp", Role::Kept),
    ("mlp.gate", Role::Kept),
    ("block_sparse_moe.gate", Role::Kept),
    ("position_embd", Role::Kept),
    ("token_types", Role::Kept),
    ("position_embeddings", Role::Kept),
    ("token_type_embeddings", Role::Kept),
    ("wpe", Role::Kept),
];

/// Reads a name.
pub(super) fn place(tensor: &ModelTensor) -> Place {
    let parts: Vec<&str> = tensor.name.split('.').collect();
    let number_after = |is_wanted: fn(&str) -> bool| {
        parts.windows(2).find(|pair| is_wanted(pair[0])).and_then(|pair| pair[1].parse().ok())
    };
    let layer = number_after(|word| ["blk", "layers", "layer", "h", "blocks", "block"].contains(&word));
    let expert = number_after(|word| word == "experts" || word.ends_with("_exps"));
    let is_output = tensor.name == "output.weight";
    let role = match tensor.name.strip_suffix(".weight") {
        _ if is_output => Role::Output,
        // llama-quantize quantizes what is named so, has two dimensions or more, and is no norm.
        Some(stem) if tensor.shape.len() >= 2 && tensor.shape.len() <= 3 && !stem.ends_with("norm") => {
            // The experts of a GGUF file are numbered behind their tensor's name.
            let stem =
                stem.rsplit_once('.').map_or(stem, |(head, _)| if head.ends_with("_exps") { head } else { stem });
            let ends = |ending: &str| {
                stem.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '_']))
            };
            let known = ENDINGS.iter().filter(|(ending, _)| ends(ending)).max_by_key(|(ending, _)| ending.len());
            known.map_or(Role::Other, |(_, role)| *role)
        }
        _ => Role::Kept,
    };
    Place { role, layer, expert }
}

/// Where a tensor stands, for people: its block, and its part in it.
///
/// The part is one of `q`, `k`, `v`, `qkv`, `o`, `gate`, `up`, `gate_up`, `down`, `embedding`, `output`, with ` e7` behind it for
/// the seventh expert; else what the name says after the block's number, or all of it.
pub fn module(tensor: &ModelTensor) -> (Option<u64>, String) {
    let Place { role, layer, expert } = place(tensor);
    let known = match role {
        Role::TokenEmbedding => Some("embedding"),
        Role::Output => Some("output"),
        Role::Query => Some("q"),
        Role::Key => Some("k"),
        Role::Value { is_fused: false } => Some("v"),
        Role::Value { is_fused: true } => Some("qkv"),
        Role::AttentionOutput => Some("o"),
        Role::Gate => Some("gate"),
        Role::Up => Some("up"),
        Role::GateUp => Some("gate_up"),
        Role::Down => Some("down"),
        Role::Kept | Role::Other => None,
    };
    let name = tensor.name.strip_suffix(".weight").unwrap_or(tensor.name);
    let part = match (known, expert) {
        (Some(known), Some(expert)) => format!("{known} e{expert}"),
        (Some(known), None) => known.to_owned(),
        (None, _) => layer.and_then(|block| after(name, block)).unwrap_or(name).to_owned(),
    };
    (layer, part)
}

/// What follows `.block.` in a name.
fn after(name: &str, block: u64) -> Option<&str> {
    name.split_once(&format!(".{block}.")).map(|(_, rest)| rest)
}

/// What the shapes and names of all tensors say of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Blocks.
    pub layers: u64,
    /// Experts of a mixture, 0 without.
    pub experts: u64,
    /// Query heads that share a key head.
    pub heads_per_key: u64,
    /// Whether there is an output matrix of its own.
    pub has_output: bool,
    /// Whether the tensors are those of the `llama` architecture: apart matrices without biases or norms of queries.
    pub is_llama: bool,
}

impl Facts {
    pub fn new(tensors: &[ModelTensor], places: &[Place]) -> Self {
        let rows = |wanted: fn(Role) -> bool| {
            tensors.iter().zip(places).find(|(t, p)| wanted(p.role) && t.shape.len() == 2).map(|(t, _)| t.shape)
        };
        let query = rows(|role| role == Role::Query);
        let key = rows(|role| role == Role::Key);
        let fused = rows(|role| role == Role::Value { is_fused: true });
        let output = rows(|role| role == Role::AttentionOutput);
        let ratio = |queries: u64, keys: u64| queries.checked_div(keys).unwrap_or(1).max(1);
        let heads_per_key = match (query, key, fused, output) {
            (Some(query), Some(key), _, _) => ratio(query[0], key[0]),
            // Queries are as wide as what comes out of the heads; keys and values share the rest.
            (_, _, Some(fused), Some(output)) => ratio(output[1], fused[0].saturating_sub(output[1]) / 2),
            _ => 1,
        };
        let stacked = tensors.iter().filter(|t| t.shape.len() == 3).map(|t| t.shape[0]).max();
        let single = places.iter().filter_map(|p| p.expert).max().map(|last| last.saturating_add(1));
        let has = |part: &str| tensors.iter().any(|t| t.name.contains(part));
        Self {
            layers: places.iter().filter_map(|p| p.layer).max().map_or(0, |last| last.saturating_add(1)),
            experts: stacked.or(single).unwrap_or(0),
            heads_per_key,
            has_output: places.iter().any(|p| p.role == Role::Output),
            is_llama: query.is_some()
                && !["q_proj.bias", "attn_q.bias", "q_norm", "attn_q_norm"].iter().any(|part| has(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_families_have_a_role() {
        let role = |name: &str| {
            let Place { role, layer, .. } = place(&ModelTensor { name, shape: &[8, 8] });
            (role, layer)
        };
        for (name, wanted, layer) in [
            ("model.layers.17.self_attn.v_proj.weight", Role::Value { is_fused: false }, Some(17)),
            ("blk.3.attn_v.weight", Role::Value { is_fused: false }, Some(3)),
            ("transformer.h.5.attn.c_attn.weight", Role::Value { is_fused: true }, Some(5)),
            ("transformer.h.5.attn.c_proj.weight", Role::AttentionOutput, Some(5)),
            ("transformer.h.5.mlp.c_proj.weight", Role::Down, Some(5)),
            ("encoder.layer.2.attention.output.dense.weight", Role::AttentionOutput, Some(2)),
            ("encoder.layer.2.output.dense.weight", Role::Down, Some(2)),
            ("encoder.layer.2.attention.self.value.weight", Role::Value { is_fused: false }, Some(2)),
            ("encoder.layer.2.intermediate.dense.weight", Role::Up, Some(2)),
            ("model.layers.0.mlp.gate_proj.weight", Role::Gate, Some(0)),
            ("model.layers.0.mlp.gate_up_proj.weight", Role::GateUp, Some(0)),
            ("model.layers.0.block_sparse_moe.experts.3.w3.weight", Role::Up, Some(0)),
            ("blk.0.ffn_up_exps.weight", Role::Up, Some(0)),
            ("transformer.h.5.mlp.c_fc.weight", Role::Up, Some(5)),
            ("model.layers.0.mlp.gate.weight", Role::Kept, Some(0)),
            ("model.layers.0.input_layernorm.weight", Role::Kept, Some(0)),
            ("model.embed_tokens.weight", Role::TokenEmbedding, None),
            ("lm_head.weight", Role::Output, None),
            ("output.weight", Role::Output, None),
            ("model.layers.0.self_attn.q_proj.bias", Role::Kept, Some(0)),
        ] {
            assert_eq!(role(name), (wanted, layer), "{name}");
        }
        let expert = place(&ModelTensor { name: "model.layers.1.mlp.experts.59.down_proj.weight", shape: &[8, 8] });
        assert_eq!((expert.role, expert.expert), (Role::Down, Some(59)));
        let expert = place(&ModelTensor { name: "blk.1.ffn_down_exps.7.weight", shape: &[8, 8] });
        assert_eq!((expert.role, expert.layer, expert.expert), (Role::Down, Some(1), Some(7)));
    }

    #[test]
    fn modules_have_short_names_or_their_own() {
        let module = |name: &str| module(&ModelTensor { name, shape: &[8, 8] });
        for (name, block, part) in [
            ("model.layers.17.self_attn.o_proj.weight", Some(17), "o"),
            ("model.layers.1.mlp.experts.59.down_proj.weight", Some(1), "down e59"),
            ("transformer.h.5.attn.c_attn.weight", Some(5), "qkv"),
            ("model.layers.0.mlp.gate.weight", Some(0), "mlp.gate"),
            ("blocks.3.mixer.in_proj.weight", Some(3), "mixer.in_proj"),
            ("lm_head.weight", None, "output"),
            ("pooler.dense.weight", None, "pooler.dense"),
        ] {
            assert_eq!(module(name), (block, part.to_owned()), "{name}");
        }
    }
}
