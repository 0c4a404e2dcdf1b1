//! Rows whose matrix is made of several tensors: differences from a base model, overlaps of neighbours, adapters.

mod adapters;
mod make;

use std::collections::HashMap;

use super::layers::{Layer, LayerKind, Selection, select};
use super::options::{Options, Peft};
use crate::error::{Error, Result};
use crate::format::Model;
use crate::report::Skipped;
pub use adapters::adapter_alpha;
use adapters::adapters;
pub(super) use make::take;

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

#[cfg(test)]
mod tests {
    use super::*;

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
