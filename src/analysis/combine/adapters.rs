//! Adapters (LoRA): which tensors belong together, and with which factor.

use std::collections::HashMap;

use super::{Combination, Combined, operand, set_shape, skip, turned};
use crate::analysis::layers::{Layer, Selection, select};
use crate::analysis::options::{Options, Peft};
use crate::error::{Error, Result};
use crate::format::Model;

/// The updates of adapters: of `NAME.lora_A` and `NAME.lora_B` the row `NAME.lora_BA`; with the base also `W + B A` as
/// `NAME.lora_W_plus_AB`, and the layers without an adapter.
pub(super) fn adapters(model: &Model, base: Option<&Model>, options: &Options) -> Result<Selection> {
    const A: &str = "lora_A";
    const B: &str = "lora_B";
    let compat = options.compat.is_weightwatcher();
    // The rank of an adapter is no reason to leave its halves out.
    let everything = Options { min_evals: 0, ..options.clone() };
    let halves = select(model, &everything)?;
    let mut result = Selection { skipped: halves.skipped, ..Selection::default() };
    let by_name: HashMap<&str, &Layer> = halves.layers.iter().map(|l| (l.info.name.as_str(), l)).collect();
    let base_layers = base.map(|base| select(base, &everything)).transpose()?.map_or(Vec::new(), |s| s.layers);
    let base_by_name: HashMap<&str, &Layer> = base_layers.iter().map(|l| (l.info.name.as_str(), l)).collect();
    let mut found = false;
    for layer in &halves.layers {
        let name = &layer.info.name;
        if name.contains(B) {
            if !by_name.contains_key(name.replace(B, A).as_str()) {
                skip(&mut result, model, layer, format!("there is no {} to go with it", name.replace(B, A)));
            }
            continue;
        }
        if !name.contains(A) {
            let few = options.min_evals > 0 && layer.info.num_evals < options.min_evals;
            if options.peft == Peft::WithBase && !few {
                result.layers.push(layer.clone());
            } else {
                skip(&mut result, model, layer, "no adapter".to_owned());
            }
            continue;
        }
        found = true;
        let Some(second) = by_name.get(name.replace(A, B).as_str()) else {
            skip(&mut result, model, layer, format!("there is no {} to go with it", name.replace(A, B)));
            continue;
        };
        let (mut a, mut b) = (operand(layer, false), operand(second, false));
        a.is_transposed = a.shape.0 > a.shape.1;
        b.is_transposed = b.shape.1 != turned(a).0;
        if turned(b).1 != turned(a).0 {
            let reason = format!(
                "{} x {} can't be multiplied with lora_B of {} x {}",
                a.shape.0, a.shape.1, b.shape.0, b.shape.1
            );
            skip(&mut result, model, layer, reason);
            continue;
        }
        let (rank, cols, rows) = (turned(a).0, turned(a).1, turned(b).0);
        let scale = options.lora_alpha.filter(|_| !compat).map_or(1.0, |alpha| alpha / rank as f64);
        let few = options.min_evals > 0 && (rank as u64) < options.min_evals;
        let combined = |how, operands, components, from: &str, to: &str, layer: &Layer| {
            let mut row = layer.clone();
            row.info.name = row.info.name.replace(from, to);
            row.info.counted = true;
            let longname = row.info.name.clone();
            row.combined = Some(Combined { how, operands, components, longname, flag: Some("peft") });
            row
        };
        if options.peft == Peft::WithBase && !(compat && few) {
            match base_of(name, &by_name, &base_by_name) {
                None => {
                    let reason = "its base is neither in this model nor in the base model".to_owned();
                    skip(&mut result, model, second, reason);
                }
                Some((weights, is_base)) => {
                    let shape = weights.matrix_shape();
                    let is_transposed = shape != (rows, cols) && shape == (cols, rows);
                    if shape == (rows, cols) || is_transposed {
                        let how = Combination::Updated { scale, is_transposed };
                        let components = compat.then_some(rank.min(rows).min(cols));
                        let operands = vec![operand(weights, is_base), a, b];
                        let mut row = combined(how, operands, components, B, "lora_W_plus_AB", second);
                        set_shape(&mut row, shape.0, shape.1, components);
                        result.layers.push(row);
                    } else {
                        let reason = format!("its update is {rows} x {cols}, its base {} x {}", shape.0, shape.1);
                        skip(&mut result, model, second, reason);
                    }
                }
            }
        }
        if few {
            let reason = format!("rank {rank}, fewer eigenvalues than min_evals = {}", options.min_evals);
            skip(&mut result, model, layer, reason);
            continue;
        }
        // All others are zero.
        let components = Some(rank.min(rows).min(cols));
        let mut row = combined(Combination::Update { scale }, vec![a, b], components, A, "lora_BA", layer);
        set_shape(&mut row, rows, cols, components);
        result.layers.push(row);
    }
    if !found {
        let message = "peft: the model has no tensor named *lora_A*.weight; name the adapter's file, and its base with base_model";
        return Err(Error::Options(message.to_owned()));
    }
    Ok(result)
}

/// The `lora_alpha` in force by an adapter's `adapter_config.json`, if it says: with `use_rslora` an update is
/// `lora_alpha / sqrt(r)` times the product, so it is `lora_alpha sqrt(r)`.
///
/// # Errors
/// [`Error::Format`] if the text is no JSON object.
pub fn adapter_alpha(text: &str) -> Result<Option<f64>> {
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|e| Error::Format(format!("adapter_config.json can't be read: {e}; give lora_alpha")))?;
    let number = |name: &str| config.get(name).and_then(serde_json::Value::as_f64);
    let is_stabilised = config.get("use_rslora").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let factor = if is_stabilised { number("r").map_or(1.0, f64::sqrt) } else { 1.0 };
    Ok(number("lora_alpha").map(|alpha| alpha * factor))
}

/// The layer that an adapter is for, and whether it is one of the base model.
fn base_of<'a>(
    half: &str,
    own: &HashMap<&str, &'a Layer>,
    base: &HashMap<&str, &'a Layer>,
) -> Option<(&'a Layer, bool)> {
    let name = half.split(".lora_A").next().unwrap_or(half);
    let plain = name.strip_prefix("base_model.model.").unwrap_or(name);
    let inside = [format!("{name}.base_layer"), name.to_owned()];
    let outside = [name, plain].into_iter().find_map(|name| base.get(name));
    outside
        .map(|layer| (*layer, true))
        .or_else(|| inside.iter().find_map(|name| own.get(name.as_str())).map(|layer| (*layer, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapters_settings_give_its_scale() {
        assert_eq!(adapter_alpha(r#"{"r": 16, "lora_alpha": 32}"#).unwrap(), Some(32.0));
        assert_eq!(adapter_alpha(r#"{"r": 16, "lora_alpha": 32, "use_rslora": true}"#).unwrap(), Some(128.0));
        assert_eq!(adapter_alpha(r#"{"r": 16}"#).unwrap(), None);
        assert_eq!(adapter_alpha("[]").unwrap_err().code(), "format");
    }
}
