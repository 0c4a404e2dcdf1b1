//! What a weight is, whatever its name: llama.cpp's names and those of the model libraries mean the same places.

/// A place in a model, in llama.cpp's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// The block's number; none outside of blocks.
    pub block: Option<u64>,
    /// `attn_q`, `ffn_up`, ...; a part that is not known keeps its name.
    pub part: String,
    /// The expert's number in a mixture.
    pub expert: Option<u64>,
}

/// Endings of names without `.weight`, the longest that fits decides; and the parts they stand for.
const PARTS: &[(&str, &str)] = &[
    ("q_proj", "attn_q"),
    ("attention.wq", "attn_q"),
    ("self.query", "attn_q"),
    ("k_proj", "attn_k"),
    ("attention.wk", "attn_k"),
    ("self.key", "attn_k"),
    ("v_proj", "attn_v"),
    ("attention.wv", "attn_v"),
    ("self.value", "attn_v"),
    ("qkv_proj", "attn_qkv"),
    ("c_attn", "attn_qkv"),
    ("query_key_value", "attn_qkv"),
    ("Wqkv", "attn_qkv"),
    ("o_proj", "attn_output"),
    ("out_proj", "attn_output"),
    ("attention.wo", "attn_output"),
    ("attn.c_proj", "attn_output"),
    ("attention.dense", "attn_output"),
    ("self_attention.dense", "attn_output"),
    ("attention.output.dense", "attn_output"),
    ("gate_proj", "ffn_gate"),
    ("w1", "ffn_gate"),
    ("up_proj", "ffn_up"),
    ("w3", "ffn_up"),
    ("mlp.c_fc", "ffn_up"),
    ("fc1", "ffn_up"),
    ("dense_h_to_4h", "ffn_up"),
    ("intermediate.dense", "ffn_up"),
    ("down_proj", "ffn_down"),
    ("w2", "ffn_down"),
    ("mlp.c_proj", "ffn_down"),
    ("fc2", "ffn_down"),
    ("dense_4h_to_h", "ffn_down"),
    ("output.dense", "ffn_down"),
    ("gate_up_proj", "ffn_gate_up"),
    ("ffn_gate_exps", "ffn_gate"),
    ("ffn_up_exps", "ffn_up"),
    ("ffn_down_exps", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.router", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("embed_tokens", "token_embd"),
    ("tok_embeddings", "token_embd"),
    ("word_embeddings", "token_embd"),
    ("wte", "token_embd"),
    ("embed_in", "token_embd"),
    ("position_embeddings", "position_embd"),
    ("wpe", "position_embd"),
    ("token_type_embeddings", "token_types"),
    ("lm_head", "output"),
    ("embed_out", "output"),
];

/// Reads a name; `None` if it is not a weight's.
pub(super) fn place(name: &str) -> Option<Place> {
    const BLOCKS: [&str; 6] = ["blk", "layers", "layer", "h", "blocks", "block"];
    let mut words: Vec<&str> = name.strip_suffix(".weight")?.split('.').collect();
    let number_at = |words: &[&str], is_wanted: &dyn Fn(&str) -> bool| {
        let found = words.windows(2).enumerate().find(|(_, pair)| is_wanted(pair[0]) && pair[1].parse::<u64>().is_ok());
        found.and_then(|(at, pair)| Some((at, pair[1].parse::<u64>().ok()?)))
    };
    let block = number_at(&words, &|word| BLOCKS.contains(&word));
    if let Some((at, _)) = block {
        words.drain(..at + 2);
    }
    let expert = number_at(&words, &|word| matches!(word, "experts" | "switch_mlp") || word.ends_with("_exps"));
    if let Some((at, _)) = expert {
        words.remove(at + 1);
        words.retain(|word| !matches!(*word, "experts" | "switch_mlp"));
    }
    let rest = words.join(".");
    let ends =
        |ending: &str| rest.strip_suffix(ending).is_some_and(|head| head.is_empty() || head.ends_with(['.', '_']));
    let known = PARTS.iter().filter(|(ending, _)| ends(ending)).max_by_key(|(ending, _)| ending.len());
    let part = known.map_or(rest.clone(), |(_, part)| (*part).to_owned());
    Some(Place { block: block.map(|(_, number)| number), part, expert: expert.map(|(_, number)| number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_families_mean_the_same_places() {
        for (name, block, part, expert) in [
            ("model.layers.3.self_attn.q_proj.weight", Some(3), "attn_q", None),
            ("blk.3.attn_q.weight", Some(3), "attn_q", None),
            ("encoder.layer.2.attention.self.value.weight", Some(2), "attn_v", None),
            ("encoder.layer.2.attention.output.dense.weight", Some(2), "attn_output", None),
            ("encoder.layer.2.output.dense.weight", Some(2), "ffn_down", None),
            ("transformer.h.5.attn.c_attn.weight", Some(5), "attn_qkv", None),
            ("transformer.h.5.mlp.c_proj.weight", Some(5), "ffn_down", None),
            ("model.layers.0.mlp.gate_up_proj.weight", Some(0), "ffn_gate_up", None),
            ("model.layers.0.mlp.experts.7.up_proj.weight", Some(0), "ffn_up", Some(7)),
            ("model.layers.0.block_sparse_moe.experts.7.w3.weight", Some(0), "ffn_up", Some(7)),
            ("model.layers.0.mlp.switch_mlp.7.up_proj.weight", Some(0), "ffn_up", Some(7)),
            ("blk.0.ffn_up_exps.7.weight", Some(0), "ffn_up", Some(7)),
            ("model.layers.0.mlp.gate.weight", Some(0), "ffn_gate_inp", None),
            ("model.embed_tokens.weight", None, "token_embd", None),
            ("token_embd.weight", None, "token_embd", None),
            ("lm_head.weight", None, "output", None),
            ("output.weight", None, "output", None),
            ("blk.1.attn_norm.weight", Some(1), "attn_norm", None),
        ] {
            assert_eq!(place(name), Some(Place { block, part: part.to_owned(), expert }), "{name}");
        }
        assert_eq!(place("model.layers.0.self_attn.q_proj.bias"), None);
    }
}
