//! Rows whose matrix is made of several tensors: differences from a base model, overlaps of neighbours, adapters.

use std::borrow::Cow;
use std::collections::HashMap;

use super::layer::{Choice, LayerTask, failed_rows};
use super::layers::{Layer, LayerKind, Selection, select};
use super::options::{Options, Peft};
use super::trust::{Measured, add_changes};
use crate::error::{Error, Result};
use crate::format::{Model, TensorInfo};
use crate::matrix::Matrix;
use crate::quant::{Damage, Scheme};
use crate::report::{LayerRow, Skipped};
use crate::spectrum::{frobenius_norm, product, shuffle, transposed};

/// One of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Whether it is one of the base model.
    pub is_base: bool,
    /// Index into [`Model::tensors`].
    pub tensor: usize,
    /// Rows and columns as quantizers see it.
    pub shape: (usize, usize),
    /// Whether levels quantize it: embeddings and the base model stay as they are.
    pub is_quantized: bool,
    /// Whether its transpose is taken.
    pub is_transposed: bool,
}

/// What is made of the tensors, in the order of [`Combined::operands`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Combination {
    /// `W - W0`: what fine-tuning changed.
    Difference,
    /// A zero matrix, which the tool takes for the difference of two shapes.
    Nothing,
    /// `W0 W1 / (|W0| |W1|)`; with a random 0/1 matrix in between if it is sparse.
    Overlap {
        /// Whether it is.
        is_sparse: bool,
    },
    /// `s B A` of the operands A and B: what an adapter adds.
    Update {
        /// The factor s.
        scale: f64,
    },
    /// `W + s B A` of the operands W, A and B.
    Updated {
        /// The factor s.
        scale: f64,
        /// Whether `(B A)^T` is added.
        is_transposed: bool,
    },
}

/// How the matrix of a row is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// What is made.
    pub how: Combination,
    /// Of what, in the order in which the bytes are read.
    pub operands: Vec<Operand>,
    /// How many of the largest eigenvalues are kept, if not all.
    pub components: Option<usize>,
    /// The tool's second name of the row.
    pub longname: String,
    /// Columns that say what the row is.
    pub flag: Option<&'static str>,
}

impl Combined {
    /// Weights that are in memory beside the result.
    pub(super) fn elements(&self) -> u64 {
        self.operands.iter().map(|o| (o.shape.0 as u64).saturating_mul(o.shape.1 as u64)).fold(0, u64::saturating_add)
    }
}

/// [`select`], with the layers combined as the options say.
///
/// # Errors
/// As [`select`]; [`Error::Options`] if there is nothing to combine.
pub fn select_combined(model: &Model, base: Option<&Model>, options: &Options) -> Result<Selection> {
    if options.peft != Peft::No {
        return adapters(model, base, options);
    }
    if base.is_some() && options.intra {
        return Err(Error::Options("intra and base_model exclude each other: overlaps are of one model".to_owned()));
    }
    let selection = select(model, options)?;
    match base {
        Some(base) => differences(model, base, selection, options),
        None if options.intra => Ok(overlaps(model, selection, options)),
        None => Ok(selection),
    }
}

/// The tensor as an operand.
fn operand(layer: &Layer, is_base: bool) -> Operand {
    let is_quantized = layer.info.counted && !is_base;
    Operand { is_base, tensor: layer.tensor, shape: layer.matrix_shape(), is_quantized, is_transposed: false }
}

fn skip(selection: &mut Selection, model: &Model, layer: &Layer, reason: String) {
    let info = &model.tensors[layer.tensor].info;
    selection.skipped.push(Skipped {
        name: info.name.clone(),
        dtype: layer.info.dtype.clone(),
        shape: info.shape.clone(),
        reason,
    });
}

fn sides(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// `W - W0` for the layers that both models have.
///
/// The tool walks both models side by side and takes two layers for one if the name of the first is part of that of the
/// second; without a counterpart a layer is analysed as it is.
fn differences(model: &Model, base: &Model, selection: Selection, options: &Options) -> Result<Selection> {
    let compat = options.compat.is_weightwatcher();
    let theirs = select(base, options)?.layers;
    let by_name: HashMap<&str, &Layer> = theirs.iter().map(|layer| (layer.info.name.as_str(), layer)).collect();
    let mut walk = theirs.iter().peekable();
    let mut result = Selection { skipped: selection.skipped, ..Selection::default() };
    for mut layer in selection.layers {
        let found = if compat {
            walk.next_if(|other| other.info.name.contains(&layer.info.name))
        } else {
            by_name.get(layer.info.name.as_str()).copied()
        };
        let Some(other) = found else {
            if compat {
                result.layers.push(layer);
            } else {
                let reason = "the base model has no such tensor to be analysed".to_owned();
                skip(&mut result, model, &layer, reason);
            }
            continue;
        };
        let (own, base) = (&layer.info.shape, &other.info.shape);
        let is_transposed = own.len() == 2 && base.len() == 2 && own[0] == base[1] && own[1] == base[0];
        let how = if own == base || is_transposed {
            Combination::Difference
        } else if compat {
            Combination::Nothing
        } else {
            let reason = format!("its shape is {} here and {} in the base model", sides(own), sides(base));
            skip(&mut result, model, &layer, reason);
            continue;
        };
        let other = Operand { is_transposed: own != base && is_transposed, ..operand(other, true) };
        layer.combined = Some(Combined {
            how,
            operands: vec![operand(&layer, false), other],
            components: None,
            longname: layer.info.name.clone(),
            flag: None,
        });
        result.layers.push(layer);
    }
    if result.layers.is_empty() {
        let reason = result
            .skipped
            .last()
            .map_or(String::new(), |s| format!("; {}: {}", crate::error::quoted(&s.name), s.reason));
        return Err(Error::Options(format!("no layer of the model has a counterpart in the base model{reason}")));
    }
    Ok(result)
}

/// Products of neighbouring layers. Where the sides of two do not meet there is no row.
fn overlaps(model: &Model, selection: Selection, options: &Options) -> Selection {
    let compat = options.compat.is_weightwatcher();
    let mut result = Selection { skipped: selection.skipped, ..Selection::default() };
    let mut previous: Option<Layer> = None;
    for layer in selection.layers {
        if let LayerKind::Conv2d { .. } = layer.kind {
            skip(&mut result, model, &layer, "intra takes matrices, not convolutions".to_owned());
            continue;
        }
        let Some(first) = previous.replace(layer.clone()) else { continue };
        let (mut left, mut right) = (operand(&first, false), operand(&layer, false));
        align(&mut left, &mut right);
        let ((rows, meet), (met, cols)) = (turned(left), turned(right));
        if meet != met {
            let reason = format!("no side in common with {}, so there is no overlap", first.info.name);
            skip(&mut result, model, &layer, reason);
            continue;
        }
        let m = rows.min(cols);
        // ARPACK is asked for as many values as the second layer has.
        let components = if compat { Some(m.min(layer.info.num_evals as usize)) } else { None };
        let pair = format!("{} X {}", first.info.layer_id, layer.info.layer_id);
        let mut overlap = layer.clone();
        set_shape(&mut overlap, rows, cols, components);
        overlap.info.name = if compat { format!("{pair} ") } else { pair };
        overlap.info.counted = left.is_quantized || right.is_quantized;
        overlap.combined = Some(Combined {
            how: Combination::Overlap { is_sparse: options.sparsify },
            operands: vec![left, right],
            components,
            longname: layer.info.name,
            flag: Some("Xflag"),
        });
        result.layers.push(overlap);
    }
    result
}

/// The shape after transposition.
fn turned(operand: Operand) -> (usize, usize) {
    let (rows, cols) = operand.shape;
    if operand.is_transposed { (cols, rows) } else { (rows, cols) }
}

/// Turns two matrices so that the columns of the first meet the rows of the second, at the largest side that occurs twice
/// among their four: the tool's rule, which may pick both sides of a square one and then finds that they do not meet.
fn align(left: &mut Operand, right: &mut Operand) {
    let mut all = [left.shape.0, left.shape.1, right.shape.0, right.shape.1];
    all.sort_unstable();
    let Some(shared) = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).max() else { return };
    left.is_transposed = left.shape.1 != shared;
    right.is_transposed = right.shape.0 != shared;
}

/// Gives a row the sides of the matrix that is made.
fn set_shape(layer: &mut Layer, rows: usize, cols: usize, components: Option<usize>) {
    let (n, m) = (rows.max(cols) as u64, rows.min(cols) as u64);
    layer.kind = LayerKind::Dense { rows, cols };
    let info = &mut layer.info;
    "dense".clone_into(&mut info.layer_type);
    (info.n, info.m, info.q, info.rf) = (n, m, n as f64 / m as f64, 1);
    info.shape = vec![rows as u64, cols as u64];
    info.num_evals = components.map_or(m, |count| count as u64);
}

/// The updates of adapters: of `NAME.lora_A` and `NAME.lora_B` the row `NAME.lora_BA`; with the base also `W + B A` as
/// `NAME.lora_W_plus_AB`, and the layers without an adapter.
fn adapters(model: &Model, base: Option<&Model>, options: &Options) -> Result<Selection> {
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

/// The matrix of a tensor whose bytes are the first of `rest`, and leaves the others.
pub(super) fn take(rest: &mut &[u8], info: &TensorInfo, (rows, cols): (usize, usize)) -> Result<Matrix> {
    let missing = || Error::Options("a row of several tensors needs the bytes of all of them".to_owned());
    let (own, next) = rest.split_at_checked(info.bytes() as usize).ok_or_else(missing)?;
    *rest = next;
    let mut values = vec![0.0; rows * cols];
    info.decode(own, &mut values)?;
    Matrix::new(rows, cols, values)
}

impl LayerTask<'_> {
    /// [`LayerTask::run`] for a matrix made of several tensors, whose bytes follow one another.
    pub(super) fn run_combined(&self, combined: &Combined, bytes: &[u8]) -> Vec<LayerRow> {
        let Self { layer, levels, .. } = *self;
        let originals = match self.operands(combined, bytes) {
            Ok(originals) => originals,
            Err(error) => return failed_rows(layer, levels, &error.to_string()),
        };
        let mut rows: Vec<Vec<Measured>> =
            levels.iter().map(|choice| self.combined_level(combined, &originals, *choice)).collect();
        add_changes(&mut rows);
        rows.into_iter().flatten().map(|measured| measured.row).collect()
    }

    fn operands(&self, combined: &Combined, bytes: &[u8]) -> Result<Vec<Matrix>> {
        let mut rest = bytes;
        let finite = |matrix: Matrix| {
            if matrix.values().iter().all(|v| v.is_finite()) {
                Ok(matrix)
            } else {
                Err(Error::Numeric("the weights hold NaN or infinity, so there is no spectrum".to_owned()))
            }
        };
        let tensors = combined.operands.iter().zip(self.operands);
        tensors.map(|(operand, info)| take(&mut rest, info, operand.shape).and_then(finite)).collect()
    }

    fn combined_level(&self, combined: &Combined, originals: &[Matrix], choice: Choice) -> Vec<Measured> {
        let mut damage = Damage::default();
        let made = self
            .dequantized_operands(combined, originals, choice, &mut damage)
            .and_then(|operands| make(combined.how, &operands, self.options.seed, self.layer.info.layer_id));
        let mut rows = match made {
            Ok(matrix) => self.rows_of(matrix, choice),
            Err(error) => {
                let rows = failed_rows(self.layer, &[choice], &error.to_string());
                rows.into_iter().map(Measured::failed).collect()
            }
        };
        for Measured { row, .. } in &mut rows {
            // Of the weights that were quantized, not of what is made of them.
            row.nonzero_fraction = damage.nonzero_fraction().into();
            row.relative_error = damage.relative_error().into();
            row.sqnr_db = damage.sqnr_db().filter(|_| choice.scheme != Scheme::Stored).into();
            if let Some(flag) = combined.flag {
                row.measures.insert(flag.to_owned(), "True".to_owned().into());
            }
        }
        rows
    }

    /// The operands as the level leaves them, turned.
    fn dequantized_operands<'a>(
        &self,
        combined: &Combined,
        originals: &'a [Matrix],
        choice: Choice,
        damage: &mut Damage,
    ) -> Result<Vec<Cow<'a, Matrix>>> {
        let mut result = Vec::with_capacity(originals.len());
        for ((operand, info), original) in combined.operands.iter().zip(self.operands).zip(originals) {
            let mut matrix = Cow::Borrowed(original);
            if operand.is_quantized && choice.scheme != Scheme::Stored {
                let mut values = Vec::new();
                choice.scheme.dequantized(original, info.dtype, self.options.arithmetic(), &mut values)?;
                damage.add(original.values(), &values);
                matrix = Cow::Owned(Matrix::new(original.rows(), original.cols(), values)?);
            } else if !operand.is_base {
                damage.add(original.values(), original.values());
            }
            result.push(if operand.is_transposed { Cow::Owned(transposed(&matrix)) } else { matrix });
        }
        Ok(result)
    }
}

/// The matrix made of the operands. Differences and sums are rounded to f32 as the tool's are, products once.
fn make(how: Combination, operands: &[Cow<Matrix>], seed: u64, place: u64) -> Result<Matrix> {
    let each = |a: &Matrix, b: &[f32], f: fn(f32, f32) -> f32| {
        Matrix::new(a.rows(), a.cols(), a.values().iter().zip(b).map(|(a, b)| f(*a, *b)).collect())
    };
    match (how, operands) {
        (Combination::Difference, [own, base]) => each(own, base.values(), |a, b| a - b),
        (Combination::Nothing, [own, ..]) => Matrix::new(own.rows(), own.cols(), vec![0.0; own.values().len()]),
        (Combination::Overlap { is_sparse }, [left, right]) => {
            let norm = frobenius_norm(left.values()) * frobenius_norm(right.values());
            if norm == 0.0 {
                return Err(Error::Numeric("one of the two layers is zero, so there is no overlap".to_owned()));
            }
            if !is_sparse {
                return scaled(&product(left, right)?, 1.0 / norm);
            }
            // As many ones as zeros, in random order: the tool draws each.
            let side = left.cols();
            let mut ones: Vec<f32> = (0..side * side).map(|i| (i % 2) as f32).collect();
            shuffle(&mut ones, seed, place);
            let between = Matrix::new(side, side, ones)?;
            let norm = norm + frobenius_norm(between.values()).sqrt();
            scaled(&product(&product(left, &between)?, right)?, 1.0 / norm)
        }
        (Combination::Update { scale }, [a, b]) => scaled(&product(b, a)?, scale),
        (Combination::Updated { scale, is_transposed }, [weights, a, b]) => {
            let update = scaled(&product(b, a)?, scale)?;
            let update = if is_transposed { transposed(&update) } else { update };
            each(weights, update.values(), |a, b| a + b)
        }
        _ => Err(Error::Options("a row of several tensors needs all of them".to_owned())),
    }
}

fn scaled(matrix: &Matrix, factor: f64) -> Result<Matrix> {
    let values = matrix.values().iter().map(|v| (f64::from(*v) * factor) as f32).collect();
    Matrix::new(matrix.rows(), matrix.cols(), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, cols: usize, values: &[f32]) -> Cow<'static, Matrix> {
        Cow::Owned(Matrix::new(rows, cols, values.to_vec()).unwrap())
    }

    #[test]
    fn matrices_are_made_as_their_names_say() {
        let (a, b) = (matrix(1, 2, &[3.0, 4.0]), matrix(2, 1, &[1.0, 2.0]));
        let made = |how, operands: &[Cow<Matrix>]| make(how, operands, 0, 0).map(|m| m.values().to_vec());
        let update = Combination::Update { scale: 2.0 };
        assert_eq!(made(update, &[a.clone(), b.clone()]).unwrap(), [6.0, 8.0, 12.0, 16.0]);
        let weights = matrix(2, 2, &[1.0, 0.0, 0.0, 1.0]);
        let updated = |is_transposed| Combination::Updated { scale: 1.0, is_transposed };
        let all = [weights.clone(), a.clone(), b.clone()];
        assert_eq!(made(updated(false), &all).unwrap(), [4.0, 4.0, 6.0, 9.0]);
        assert_eq!(made(updated(true), &all).unwrap(), [4.0, 6.0, 4.0, 9.0]);
        assert_eq!(made(Combination::Difference, &[a.clone(), a.clone()]).unwrap(), [0.0, 0.0]);
        let overlap = Combination::Overlap { is_sparse: false };
        let expected = (11.0 / (5.0 * 5.0_f64.sqrt())) as f32;
        assert_eq!(made(overlap, &[a.clone(), b]).unwrap(), [expected]);
        let zero = matrix(2, 1, &[0.0, 0.0]);
        assert!(made(overlap, &[a, zero]).unwrap_err().to_string().contains("one of the two layers is zero"));
    }

    #[test]
    fn an_adapters_settings_give_its_scale() {
        assert_eq!(adapter_alpha(r#"{"r": 16, "lora_alpha": 32}"#).unwrap(), Some(32.0));
        assert_eq!(adapter_alpha(r#"{"r": 16, "lora_alpha": 32, "use_rslora": true}"#).unwrap(), Some(128.0));
        assert_eq!(adapter_alpha(r#"{"r": 16}"#).unwrap(), None);
        assert_eq!(adapter_alpha("[]").unwrap_err().code(), "format");
    }

    #[test]
    fn two_matrices_meet_at_their_largest_common_side() {
        let operand = |rows, cols| Operand {
            is_base: false,
            tensor: 0,
            shape: (rows, cols),
            is_quantized: true,
            is_transposed: false,
        };
        let aligned = |a: (usize, usize), b: (usize, usize)| {
            let (mut left, mut right) = (operand(a.0, a.1), operand(b.0, b.1));
            align(&mut left, &mut right);
            (turned(left), turned(right))
        };
        assert_eq!(aligned((512, 384), (30_522, 384)), ((512, 384), (384, 30_522)));
        assert_eq!(aligned((384, 1536), (1536, 384)), ((384, 1536), (1536, 384)));
        assert_eq!(aligned((384, 100), (384, 384)), ((100, 384), (384, 384)));
        // A square one offers its own side.
        assert_eq!(aligned((50, 50), (30, 20)).1, (20, 30));
        assert_eq!(aligned((5, 6), (7, 8)), ((5, 6), (7, 8)));
    }
}
