//! Distances between the layers of two models.

use std::collections::HashMap;

use super::combine::take;
use super::layers::{Layer, LayerKind, select};
use super::options::Options;
use super::plan::Cost;
use crate::error::{Error, Result};
use crate::format::{Model, TensorEntry};
use crate::matrix::Matrix;
use crate::report::{DistanceReport, DistanceRow, Number, Skipped};
use crate::spectrum::linear_alignment;

/// What is measured between two matrices of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistanceMethod {
    /// `|W1 - W2|` of the whole tensors, and of the biases.
    #[default]
    Raw,
    /// `|W1 - W2|`, of a convolution the mean over its kernel positions.
    Euclidean,
    /// Alignment, see [`linear_alignment`], of a convolution the mean over its kernel positions.
    Cka,
}

impl DistanceMethod {
    /// The name on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            DistanceMethod::Raw => "raw",
            DistanceMethod::Euclidean => "euclidean",
            DistanceMethod::Cka => "cka",
        }
    }
}

/// The layers of two models, paired.
///
/// By default by name; in compatibility mode one after another in the order of the files, until the shorter list ends, as the
/// tool does. The caller reads the bytes of [`Distances::sources`] and gives them to [`Distances::rows`].
#[derive(Debug)]
pub struct Distances {
    first: Model,
    second: Model,
    pairs: Vec<Pair>,
    unmatched: Vec<Skipped>,
    method: DistanceMethod,
    options: Options,
}

#[derive(Debug)]
struct Pair {
    first: Layer,
    second: Layer,
    /// Tensors of the biases.
    biases: Option<(usize, usize)>,
}

impl Distances {
    /// Pairs the layers that the options select in both models.
    ///
    /// # Errors
    /// As [`select`]; [`Error::Options`] if the models have no layer in common.
    pub fn new(first: Model, second: Model, method: DistanceMethod, options: Options) -> Result<Self> {
        options.check()?;
        let (ours, theirs) = (select(&first, &options)?.layers, select(&second, &options)?.layers);
        let mut unmatched = Vec::new();
        let mut matched = Vec::new();
        if options.compat.is_weightwatcher() {
            matched.extend(ours.into_iter().zip(theirs));
        } else {
            let mut by_name: HashMap<String, Layer> =
                theirs.iter().map(|layer| (layer.info.name.clone(), layer.clone())).collect();
            for layer in ours {
                match by_name.remove(&layer.info.name) {
                    Some(other) => matched.push((layer, other)),
                    None => unmatched.push(skipped(&layer, "the second model has no such layer")),
                }
            }
            let left = theirs.iter().filter(|layer| by_name.contains_key(&layer.info.name));
            unmatched.extend(left.map(|layer| skipped(layer, "the first model has no such layer")));
        }
        if matched.is_empty() {
            let message = "the two models have no layer in common: layers are matched by name";
            return Err(Error::Options(message.to_owned()));
        }
        let bias = |model: &Model, layer: &Layer| {
            let name = model.tensors[layer.tensor].info.name.strip_suffix("weight").map(|name| format!("{name}bias"));
            model.tensors.iter().position(|tensor| Some(&tensor.info.name) == name.as_ref())
        };
        let pairs = matched
            .into_iter()
            .map(|(one, other)| {
                let biases = bias(&first, &one).zip(bias(&second, &other)).filter(|(a, b)| {
                    method == DistanceMethod::Raw
                        && first.tensors[*a].info.shape == second.tensors[*b].info.shape
                        && first.tensors[*a].info.shape.len() == 1
                });
                Pair { first: one, second: other, biases }
            })
            .collect();
        Ok(Self { first, second, pairs, unmatched, method, options })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none; there always are some.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// One of the models.
    pub(super) fn model(&self, is_second: bool) -> &Model {
        if is_second { &self.second } else { &self.first }
    }

    /// Both tensors as they are stored and in f32, kernel positions a second time; for CKA two Gram matrices of the shorter
    /// side, or one of twice its order, with their tiles.
    pub(super) fn cost(&self, pair: usize) -> Cost {
        let info = &self.pairs[pair].first.info;
        let stored = self.sources(pair).iter().fold(0u64, |sum, (_, entry)| sum.saturating_add(entry.info.bytes()));
        let elements = info.shape.iter().fold(1u64, |product, side| product.saturating_mul(*side));
        let copies = if self.method == DistanceMethod::Raw { 8 } else { 16 };
        let (n, is_cka) = (info.m.min(info.n), self.method == DistanceMethod::Cka);
        let gram = if is_cka { n.saturating_mul(n).saturating_mul(40) } else { 0 };
        let bytes = stored.saturating_add(elements.saturating_mul(copies)).saturating_add(gram);
        let work = elements as f64 * if is_cka { 4.0 * n as f64 } else { 4.0 };
        Cost { work, bytes, least: bytes, why: None }
    }

    /// The tensors of a pair in the order in which their bytes are wanted, and whether they are the second model's.
    pub fn sources(&self, pair: usize) -> Vec<(bool, &TensorEntry)> {
        let Pair { first, second, biases } = &self.pairs[pair];
        let mut sources = vec![(false, &self.first.tensors[first.tensor]), (true, &self.second.tensors[second.tensor])];
        if let Some((a, b)) = biases {
            sources.extend([(false, &self.first.tensors[*a]), (true, &self.second.tensors[*b])]);
        }
        sources
    }

    /// The row of a pair that can't be measured.
    pub(super) fn failed(&self, pair: usize, reason: &str) -> DistanceRow {
        DistanceRow { reason: Some(reason.to_owned()), ..self.empty_row(pair) }
    }

    /// The rows of a pair: one, or one for every kernel position if these are not pooled. `bytes` are those of
    /// [`Distances::sources`], one after another.
    pub fn rows(&self, pair: usize, bytes: &[u8]) -> Vec<DistanceRow> {
        let row = self.empty_row(pair);
        self.measure(pair, bytes, &row).unwrap_or_else(|error| vec![self.failed(pair, &error.to_string())])
    }

    fn empty_row(&self, pair: usize) -> DistanceRow {
        let info = &self.pairs[pair].first.info;
        let compat = self.options.compat.is_weightwatcher();
        let (mut n, mut m) = (info.n.max(info.m), info.n.min(info.m));
        if compat && self.method == DistanceMethod::Raw {
            // The tool takes them of the tensor, so that a kernel's size is a side.
            (n, m) =
                (info.shape.iter().copied().fold(0, u64::max), info.shape.iter().copied().fold(u64::MAX, u64::min));
        }
        DistanceRow {
            method: self.method.as_str().to_owned(),
            layer_id: info.layer_id,
            slice_id: None,
            name: info.name.clone(),
            delta_w: Number::NONE,
            // The tool counts layers without biases as equal in them.
            delta_b: compat.then_some(0.0).into(),
            m,
            n,
            b_shape: None,
            longname: info.name.clone(),
            reason: None,
        }
    }

    fn measure(&self, pair: usize, bytes: &[u8], row: &DistanceRow) -> Result<Vec<DistanceRow>> {
        let Pair { first, second, biases } = &self.pairs[pair];
        if first.info.shape != second.info.shape {
            let (own, other) = (&first.info.shape, &second.info.shape);
            return Err(Error::Options(format!("its shapes differ: {own:?} and {other:?}")));
        }
        let mut rest = bytes;
        let mut next = |model: &Model, tensor: usize, shape| {
            let matrix = take(&mut rest, &model.tensors[tensor].info, shape)?;
            if matrix.values().iter().all(|v| v.is_finite()) {
                Ok(matrix)
            } else {
                Err(Error::Numeric("the weights hold NaN or infinity, so there is no distance".to_owned()))
            }
        };
        let one = next(&self.first, first.tensor, first.matrix_shape())?;
        let other = next(&self.second, second.tensor, second.matrix_shape())?;
        let mut row = row.clone();
        if let Some((a, b)) = biases {
            let length = self.first.tensors[*a].info.elements();
            let (a, b) = (next(&self.first, *a, (1, length as usize))?, next(&self.second, *b, (1, length as usize))?);
            row.b_shape = Some(length);
            row.delta_b = distance(&a, &b).into();
        }
        if self.method == DistanceMethod::Raw {
            return Ok(vec![DistanceRow { delta_w: distance(&one, &other).into(), ..row }]);
        }
        let slices: Vec<Option<f64>> = slices(first, &one)?
            .iter()
            .zip(&slices(second, &other)?)
            .map(|(a, b)| match self.method {
                DistanceMethod::Cka => linear_alignment(a, b),
                _ => Ok(Some(distance(a, b))),
            })
            .collect::<Result<_>>()?;
        if !self.options.pool {
            let slice = |(id, delta): (u64, Option<f64>)| DistanceRow {
                slice_id: Some(id),
                delta_w: delta.into(),
                ..row.clone()
            };
            return Ok((0..).zip(slices).map(slice).collect());
        }
        let count = slices.len() as f64;
        let sum: Option<f64> = slices.into_iter().sum();
        Ok(vec![DistanceRow { delta_w: sum.map(|sum| sum / count).into(), ..row }])
    }

    /// The report of some rows.
    pub fn report(&self, rows: Vec<DistanceRow>) -> DistanceReport {
        let mean = |value: fn(&DistanceRow) -> Number| {
            let values: Vec<f64> = rows.iter().filter_map(|row| value(row).0).collect();
            Number((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
        };
        DistanceReport {
            schema: "heavytail.distances".to_owned(),
            schema_version: 1,
            method: self.method.as_str().to_owned(),
            delta_w: mean(|row| row.delta_w),
            delta_b: mean(|row| row.delta_b),
            rows,
            unmatched: self.unmatched.clone(),
        }
    }
}

fn skipped(layer: &Layer, reason: &str) -> Skipped {
    Skipped {
        name: format!("{}.weight", layer.info.name),
        dtype: layer.info.dtype.clone(),
        shape: layer.info.shape.clone(),
        reason: reason.to_owned(),
    }
}

/// `|A - B|` of two matrices of one shape.
fn distance(a: &Matrix, b: &Matrix) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    a.values().iter().zip(b.values()).map(square).sum::<f64>().sqrt()
}

/// The matrices of a layer: of a convolution one a kernel position, longer side down.
fn slices(layer: &Layer, matrix: &Matrix) -> Result<Vec<Matrix>> {
    match layer.kind {
        LayerKind::Dense { .. } => Ok(vec![matrix.clone()]),
        LayerKind::Conv2d { positions, .. } => (0..positions).map(|at| layer.standing_slice(matrix, at)).collect(),
    }
}
