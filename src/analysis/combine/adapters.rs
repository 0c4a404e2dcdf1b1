//! Adapters (LoRA): which tensors belong together, and with which factor.

use std::collections::HashMap;

use super::{Combination, Combined, Operand, operand, set_shape, skip, turned};
use crate::analysis::layers::{Layer, Selection, select};
use crate::analysis::options::{Options, Peft};
use crate::error::{Error, Result};
use crate::format::Model;

const A: &str = "lora_A";
const B: &str = "lora_B";

/// The updates of adapters: of `NAME.lora_A` and `NAME.lora_B` the row `NAME.lora_BA`; with the base also `W + B A` as
/// `NAME.lora_W_plus_AB`, and the layers without an adapter.
pub(super) fn adapters(model: &Model, base: Option<&Model>, options: &Options) -> Result<Selection> {
    // The rank of an adapter is no reason to leave its halves out.
    let everything = Options { min_evals: 0, ..options.clone() };
    let halves = select(model, &everything)?;
    let base_layers = base.map(|base| select(base, &everything)).transpose()?.map_or(Vec::new(), |s| s.layers);
    let by_name = |layers: &'_ [Layer]| layers.iter().map(|l| (l.info.name.clone(), l.clone())).collect();
    let known = Known { own: by_name(&halves.layers), base: by_name(&base_layers), options };
    let mut result = Selection { skipped: halves.skipped, ..Selection::default() };
    let mut found = false;
    for layer in &halves.layers {
        let name = &layer.info.name;
        let partner = if name.contains(B) { name.replace(B, A) } else { name.replace(A, B) };
        let is_half = name.contains(A) || name.contains(B);
        found |= name.contains(A);
        match known.own.get(&partner).filter(|_| is_half) {
            Some(second) if name.contains(A) => match Update::new(layer, second, options) {
                Ok(update) => known.add_rows(&update, model, &mut result),
                Err(reason) => skip(&mut result, model, layer, reason),
            },
            // Its row is made when the other half comes.
            Some(_) => {}
            None if is_half => skip(&mut result, model, layer, format!("there is no {partner} to go with it")),
            None if options.peft == Peft::WithBase && !is_below(layer.info.num_evals, options) => {
                result.layers.push(layer.clone());
            }
            None => skip(&mut result, model, layer, "no adapter".to_owned()),
        }
    }
    if found {
        return Ok(result);
    }
    let message =
        "peft: the model has no tensor named *lora_A*.weight; name the adapter's file, and its base with base_model";
    Err(Error::Options(message.to_owned()))
}

/// Whether that many eigenvalues are too few.
fn is_below(count: u64, options: &Options) -> bool {
    options.min_evals > 0 && count < options.min_evals
}

/// The layers by name, those of adapters whatever their rank.
struct Known<'a> {
    own: HashMap<String, Layer>,
    base: HashMap<String, Layer>,
    options: &'a Options,
}

/// Two halves that go together.
struct Update<'a> {
    first: &'a Layer,
    second: &'a Layer,
    a: Operand,
    b: Operand,
    rank: usize,
    rows: usize,
    cols: usize,
    scale: f64,
}

impl<'a> Update<'a> {
    /// The halves, turned so that `B A` can be made; or why it can't.
    fn new(first: &'a Layer, second: &'a Layer, options: &Options) -> Result<Self, String> {
        let (mut a, mut b) = (operand(first, false), operand(second, false));
        a.is_transposed = a.shape.0 > a.shape.1;
        b.is_transposed = b.shape.1 != turned(a).0;
        let ((rank, cols), (rows, met)) = (turned(a), turned(b));
        if met != rank {
            let ((a_rows, a_cols), (b_rows, b_cols)) = (a.shape, b.shape);
            return Err(format!("{a_rows} x {a_cols} can't be multiplied with lora_B of {b_rows} x {b_cols}"));
        }
        let is_scaled = !options.compat.is_weightwatcher();
        let scale = options.lora_alpha.filter(|_| is_scaled).map_or(1.0, |alpha| alpha / rank as f64);
        Ok(Self { first, second, a, b, rank, rows, cols, scale })
    }

    /// How many eigenvalues the update has that are not zero.
    fn components(&self) -> usize {
        self.rank.min(self.rows).min(self.cols)
    }
}

impl Known<'_> {
    /// Adds the row of the base with the update, if it is wanted, and that of the update.
    fn add_rows(&self, update: &Update, model: &Model, result: &mut Selection) {
        let (options, compat) = (self.options, self.options.compat.is_weightwatcher());
        let few = is_below(update.rank as u64, options);
        if options.peft == Peft::WithBase && !(compat && few) {
            match self.with_base(update) {
                Ok(row) => result.layers.push(row),
                Err(reason) => skip(result, model, update.second, reason),
            }
        }
        if few {
            let reason = format!("rank {}, fewer eigenvalues than min_evals = {}", update.rank, options.min_evals);
            skip(result, model, update.first, reason);
            return;
        }
        // All others are zero.
        let components = Some(update.components());
        let how = Combination::Update { scale: update.scale };
        let mut row = combined(update.first, (A, "lora_BA"), how, vec![update.a, update.b], components);
        set_shape(&mut row, update.rows, update.cols, components);
        result.layers.push(row);
    }

    /// The row of the base with the update; or why there is none.
    fn with_base(&self, update: &Update) -> Result<Layer, String> {
        let &Update { a, b, rows, cols, scale, .. } = update;
        let (weights, is_base) = self
            .base_of(&update.first.info.name)
            .ok_or_else(|| "its base is neither in this model nor in the base model".to_owned())?;
        let shape = weights.matrix_shape();
        let is_transposed = shape != (rows, cols) && shape == (cols, rows);
        if shape != (rows, cols) && !is_transposed {
            return Err(format!("its update is {rows} x {cols}, its base {} x {}", shape.0, shape.1));
        }
        let components = self.options.compat.is_weightwatcher().then(|| update.components());
        let operands = vec![operand(weights, is_base), a, b];
        let how = Combination::Updated { scale, is_transposed };
        let mut row = combined(update.second, (B, "lora_W_plus_AB"), how, operands, components);
        set_shape(&mut row, shape.0, shape.1, components);
        Ok(row)
    }

    /// The layer that an adapter is for, and whether it is one of the base model.
    fn base_of(&self, half: &str) -> Option<(&Layer, bool)> {
        let name = half.split(".lora_A").next().unwrap_or(half);
        let plain = name.strip_prefix("base_model.model.").unwrap_or(name);
        let inside = [format!("{name}.base_layer"), name.to_owned()];
        let outside = [name, plain].into_iter().find_map(|name| self.base.get(name));
        outside
            .map(|layer| (layer, true))
            .or_else(|| inside.iter().find_map(|name| self.own.get(name)).map(|layer| (layer, false)))
    }
}

/// A half's layer as the row of what is made.
fn combined(
    layer: &Layer,
    (from, to): (&str, &str),
    how: Combination,
    operands: Vec<Operand>,
    components: Option<usize>,
) -> Layer {
    let mut row = layer.clone();
    row.info.name = row.info.name.replace(from, to);
    row.info.counted = true;
    let longname = row.info.name.clone();
    row.combined = Some(Combined { how, operands, components, longname, flag: Some("peft") });
    row
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
