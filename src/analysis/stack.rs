//! All layers of a model on top of one another, as one matrix: only its Gram matrix is ever in memory.

use super::layer::{Choice, Spectrum};
use super::layers::{Layer, LayerKind, Selection, select};
use super::measures::add_spectral_measures;
use super::options::Options;
use super::row::{empty_row, fill};
use super::run::{choose, head, nothing_to_do, report};
use crate::error::{Error, Result, quoted};
use crate::format::{Model, TensorEntry};
use crate::matrix::Matrix;
use crate::progress::Cancellation;
use crate::quant::{Damage, Scheme};
use crate::report::{Head, LayerInfo, LayerRow, ModelReport, RunStatus, Status};
use crate::spectrum::SLICE;
use crate::spectrum::backend::{self, Gram};

/// The stacked analysis of one model.
#[derive(Debug)]
pub struct Stack {
    model: Model,
    layers: Vec<Layer>,
    /// The levels, for each layer.
    choices: Vec<Vec<Choice>>,
    whole: Layer,
    head: Head,
    options: Options,
    components: usize,
    cancellation: Cancellation,
}

impl Stack {
    /// Prepares the stack of all layers that the options select.
    ///
    /// # Errors
    /// [`Error::Options`] for options that do not go together; [`Error::Unsupported`] if there is nothing to analyse.
    pub fn new(model: Model, options: Options, cancellation: Cancellation) -> Result<Self> {
        options.check()?;
        let Selection { layers, skipped } = select(&model, &options)?;
        let Some(first) = layers.first() else {
            return Err(nothing_to_do(&Selection { layers, skipped }, &options));
        };
        let (height, width) = layers.iter().map(block).fold((0, 0), |(h, w), (rows, cols)| (h + rows, w.max(cols)));
        let (n, m) = (height.max(width), height.min(width));
        // The tool computes as many values as the first layer has.
        let components = if options.compat.is_weightwatcher() { m.min(first.info.num_evals as usize) } else { m };
        let whole = Layer {
            tensor: first.tensor,
            kind: LayerKind::Dense { rows: height, cols: width },
            info: LayerInfo {
                layer_id: 0,
                name: "Stacked Layer".to_owned(),
                layer_type: "stacked".to_owned(),
                dtype: first.info.dtype.clone(),
                shape: vec![height as u64, width as u64],
                n: n as u64,
                m: m as u64,
                q: n as f64 / m as f64,
                rf: 1,
                num_evals: components as u64,
                counted: true,
                block: None,
                module: "stacked".to_owned(),
            },
            combined: None,
        };
        let choices = choose(&options.levels()?, &layers, &model);
        let head = head(&model, None, &Selection { layers: vec![whole.clone()], skipped }, &options)?;
        Ok(Self { model, layers, choices, whole, head, options, components, cancellation })
    }

    /// What is known before the first layer.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The row of one level: every layer is read once, one at a time.
    ///
    /// A layer becomes the matrix of its kernel positions side by side, `(W - median) / MAD` with the median of the absolute
    /// deviations from the median, padded with zeros to the width of the widest. The tool takes the deviations of each column
    /// from that column's median, not from the one that it subtracts.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Cancelled`]; what can't be computed is a failed row.
    ///
    /// # Cost
    /// For the width n and m rows in all, `m n^2 + 4/3 n^3` flops and `4 n^2` bytes beside the largest layer.
    ///
    /// # Source
    /// `WeightWatcher` 0.7.7, `WWStackedLayerIterator`.
    pub fn row<E: From<Error>>(
        &self,
        level: usize,
        mut read: impl FnMut(&TensorEntry) -> Result<Vec<u8>, E>,
    ) -> Result<LayerRow, E> {
        let mut gram = backend::selected().gram(block_width(&self.whole));
        let mut damage = Damage::default();
        let mut failure = None;
        let by_column = self.options.compat.is_weightwatcher();
        for (layer, choices) in self.layers.iter().zip(&self.choices) {
            self.cancellation.check()?;
            let entry = &self.model.tensors[layer.tensor];
            let bytes = read(entry)?;
            let block = self.block(layer, choices[level], entry, &bytes, &mut damage);
            match block.and_then(|matrix| standardised(&matrix, by_column)) {
                Ok(matrix) => push(&mut *gram, &matrix, block_width(&self.whole)),
                Err(error) => {
                    failure = Some(format!("{}: {error}", quoted(&layer.info.name)));
                    break;
                }
            }
        }
        let choice = Choice { level: self.choices[0][level].level, scheme: self.choices[0][level].scheme };
        let mut row = empty_row(&self.whole, choice);
        self.layers[0].info.name.clone_into(&mut row.longname);
        let filled = match failure {
            Some(reason) => Err(Error::Numeric(reason)),
            None => self.fill(&mut row, gram),
        };
        if let Err(error) = filled {
            self.cancellation.check()?;
            (row.status, row.reason) = (Status::Failed, Some(error.to_string()));
        }
        row.quantized = choice.scheme != Scheme::Stored;
        // Of a stack that ended early it would be the damage of some layers.
        if row.status == Status::Success || row.has_esd {
            row.nonzero_fraction = damage.nonzero_fraction().into();
            row.relative_error = damage.relative_error().into();
            row.sqnr_db = damage.sqnr_db().filter(|_| row.quantized).into();
        }
        Ok(row)
    }

    /// The report of the rows.
    pub fn report(&self, rows: &[LayerRow], status: RunStatus) -> ModelReport {
        report(&self.head, rows, status)
    }

    /// The layer's matrix, `[rows, cols of all positions]`, as the level leaves it.
    fn block(
        &self,
        layer: &Layer,
        choice: Choice,
        entry: &TensorEntry,
        bytes: &[u8],
        damage: &mut Damage,
    ) -> Result<Matrix> {
        let (rows, cols) = layer.matrix_shape();
        let mut values = vec![0.0; rows * cols];
        entry.info.decode(bytes, &mut values)?;
        if !values.iter().all(|v| v.is_finite()) {
            return Err(Error::Numeric("the weights hold NaN or infinity, so there is no spectrum".to_owned()));
        }
        let mut matrix = Matrix::new(rows, cols, values)?;
        if layer.info.counted {
            let mut values = Vec::new();
            if choice.scheme != Scheme::Stored {
                choice.scheme.dequantized(&matrix, entry.info.dtype, self.options.arithmetic(), &mut values)?;
            }
            let after = if values.is_empty() { matrix.values() } else { &values };
            damage.add(matrix.values(), after);
            if !values.is_empty() {
                matrix = Matrix::new(rows, cols, values)?;
            }
        }
        let LayerKind::Conv2d { positions, .. } = layer.kind else { return Ok(matrix) };
        // Positions side by side, each with its longer side down.
        let all: Vec<Matrix> = (0..positions).map(|at| layer.standing_slice(&matrix, at)).collect::<Result<_>>()?;
        let (rows, cols) = block(layer);
        let lines = (0..rows).flat_map(|row| all.iter().flat_map(move |m| &m.values()[row * m.cols()..][..m.cols()]));
        Matrix::new(rows, cols, lines.copied().collect())
    }

    fn fill(&self, row: &mut LayerRow, gram: Box<dyn Gram>) -> Result<()> {
        let mut eigenvalues = backend::selected()
            .eigenvalues(gram.finish(), &|| self.cancellation.is_cancelled())
            .map_err(|error| Error::Numeric(error.to_string()))?;
        eigenvalues.drain(..eigenvalues.len().saturating_sub(self.components));
        let (n, largest) = (self.whole.info.n as f64, eigenvalues.last().copied().unwrap_or(0.0));
        for value in &mut eigenvalues {
            // Noise around zero.
            if *value <= largest * n * f64::EPSILON {
                *value = 0.0;
            }
        }
        let tolerance = largest.sqrt() * n * f64::EPSILON;
        let smallest = eigenvalues.first().copied().unwrap_or(0.0).sqrt();
        let spectrum = Spectrum {
            sv_max: largest.sqrt(),
            sv_min: smallest,
            sv_min_of_slices: smallest,
            rank_loss: eigenvalues.iter().filter(|v| v.sqrt() <= tolerance).count(),
            eigenvalues,
        };
        fill(row, &self.whole, &spectrum, &self.options)?;
        add_spectral_measures(row, &self.whole, &spectrum.eigenvalues, &self.options);
        Ok(())
    }
}

/// Rows and columns that a layer takes in the stack.
fn block(layer: &Layer) -> (usize, usize) {
    match layer.kind {
        LayerKind::Dense { rows, cols } => (rows, cols),
        LayerKind::Conv2d { out, input, positions } => (out.max(input), out.min(input) * positions),
    }
}

fn block_width(whole: &Layer) -> usize {
    block(whole).1
}

fn push(gram: &mut dyn Gram, matrix: &Matrix, width: usize) {
    let mut panel = vec![0.0; SLICE * width];
    for rows in matrix.values().chunks(SLICE * matrix.cols()) {
        let count = rows.len() / matrix.cols();
        for (to, from) in panel.chunks_exact_mut(width).zip(rows.chunks_exact(matrix.cols())) {
            to[..from.len()].copy_from_slice(from);
        }
        gram.push(&panel[..count * width], count);
    }
}

/// `(W - median) / MAD` in f32, as numpy computes it; with one MAD for each column where that is wanted.
fn standardised(matrix: &Matrix, by_column: bool) -> Result<Matrix> {
    let cols = matrix.cols();
    let deviation = |values: Vec<f32>| {
        let centre = median(values.clone());
        median(values.into_iter().map(|v| (v - centre).abs()).collect())
    };
    let spreads: Vec<f32> = if by_column {
        (0..cols).map(|col| deviation(matrix.values().iter().skip(col).step_by(cols).copied().collect())).collect()
    } else {
        vec![deviation(matrix.values().to_vec()); cols]
    };
    if spreads.contains(&0.0) {
        let message = "half of the weights or more are equal, so they have no spread to be stacked by";
        return Err(Error::Numeric(message.to_owned()));
    }
    let centre = median(matrix.values().to_vec());
    let values = matrix.values().iter().zip(spreads.iter().cycle()).map(|(v, spread)| (v - centre) / spread).collect();
    Matrix::new(matrix.rows(), cols, values)
}

/// The median; of an even number of values the mean of the two in the middle. There is at least one.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = *upper;
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f32::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_standardised_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]), 3.0);
        let matrix = Matrix::new(1, 4, vec![4.0, 1.0, 2.0, 8.0]).unwrap();
        // Deviations 1, 2, 1, 5: their median is 1.5.
        let values = standardised(&matrix, false).unwrap();
        assert_eq!(values.values(), [1.0 / 1.5, -2.0 / 1.5, -1.0 / 1.5, 5.0 / 1.5]);
        // Columns 0, 4 and 0, 2: deviations 2 and 1; the median of all is 1.
        let matrix = Matrix::new(2, 2, vec![0.0, 0.0, 4.0, 2.0]).unwrap();
        assert_eq!(standardised(&matrix, true).unwrap().values(), [-0.5, -1.0, 1.5, 1.0]);
        let flat = Matrix::new(1, 3, vec![0.0, 0.0, 1.0]).unwrap();
        assert!(standardised(&flat, false).unwrap_err().to_string().contains("equal"));
    }
}
