//! File recipes against llama-quantize's own choices (`tests/data/README.md`).

mod common;

use std::collections::BTreeMap;
use std::fs;

use heavytail::quant::{FileType, ModelTensor};
use serde_json::Value;

/// Layers of `"3"` or `"3-7"`.
fn layers(range: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    first.parse().unwrap()..=last.parse().unwrap()
}

/// The tool's answer: type by tensor name.
fn expected(recipe: &Value) -> BTreeMap<String, String> {
    let mut types = BTreeMap::new();
    for (name, value) in recipe.as_object().unwrap() {
        match value {
            Value::String(kind) => {
                types.insert(name.clone(), kind.clone());
            }
            Value::Array(runs) => {
                for run in runs {
                    for layer in layers(run[0].as_str().unwrap()) {
                        types.insert(format!("blk.{layer}.{name}"), run[1].as_str().unwrap().to_owned());
                    }
                }
            }
            other => panic!("{name}: {other}"),
        }
    }
    types
}

/// A shape as the synthetic models have it, with as many rows as shares heads out rightly.
fn shape(name: &str, config: &Value) -> Vec<u64> {
    let number = |key: &str| config[key].as_u64().unwrap();
    let (hidden, ffn, heads, keys) =
        (number("row_len_hidden"), number("row_len_ffn"), number("n_head"), number("n_head_kv"));
    let is_down = name.contains("ffn_down");
    let cols = if is_down { ffn } else { hidden };
    if name.contains("_exps") {
        return vec![number("n_expert"), 2, cols];
    }
    let rows = match name.rsplit('.').nth(1).unwrap() {
        "attn_q" => heads,
        "attn_k" | "attn_v" => keys,
        "attn_qkv" => hidden + 2 * hidden * keys / heads,
        _ => 4,
    };
    vec![rows, cols]
}

#[test]
fn every_tensor_of_every_model_gets_the_tools_type() {
    let recipes: Value = serde_json::from_slice(&fs::read(common::data("quant/recipes.json")).unwrap()).unwrap();
    let (mut models, mut compared) = (0, 0);
    for config in recipes["configs"].as_array().unwrap() {
        models += 1;
        for file in FileType::ALL {
            let recipe = &config["recipes"][file.name()];
            assert!(recipe.is_object() && recipe.get("error").is_none(), "{} {recipe}", file.name());
            let expected = expected(recipe);
            // In the order of the names, where layer 10 comes before layer 2, as a safetensors file has them.
            let shapes: Vec<(&str, Vec<u64>)> = expected.keys().map(|n| (n.as_str(), shape(n, config))).collect();
            let tensors: Vec<ModelTensor> = shapes.iter().map(|(name, shape)| ModelTensor { name, shape }).collect();
            for (tensor, ours) in tensors.iter().zip(file.assign(&tensors)) {
                let theirs = expected[tensor.name].as_str();
                // What is not quantized keeps the models' type.
                let ours = ours.map_or("F16", heavytail::quant::GgmlType::name);
                assert_eq!(
                    ours,
                    theirs,
                    "{} of {} with {} layers: {} {:?}",
                    file.name(),
                    config["arch"],
                    config["n_layer"],
                    tensor.name,
                    tensor.shape
                );
                compared += 1;
            }
        }
    }
    assert_eq!((models, compared), (12, 42_788));
}
