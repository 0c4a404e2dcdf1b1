//! One tensor through every stage, at every level.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::errors::{add_errors, compare_with_baseline};
use super::layers::{Layer, LayerKind};
use super::measures::add_measures;
use super::options::Options;
use super::plan::{Limits, Need, levels_together};
use super::row::{empty_row, fill};
use super::trust::{Measured, add_changes};
use super::weights::{Sides, Source, Weights, survey};
use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::kernel::Kernel;
use crate::matrix::Matrix;
use crate::progress::Cancellation;
use crate::quant::{Damage, NaiveGrid, Range as WeightRange, Scheme, WholeLevels};
use crate::report::{LayerRow, Status};
use crate::spectrum::eigen::EigenError;
use crate::spectrum::{
    CODE_SLICE, CodeGramBuilder, CodePanel, Method, SLICE, SymmetricTiles, backend, singular_values,
};

/// A level of the run, and what it means for one layer: the same, unless the level is a whole file's recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The level.
    pub level: Scheme,
    /// How this layer is quantized at it.
    pub scheme: Scheme,
}

/// What the analysis of one tensor needs beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct LayerTask<'a> {
    /// The tensor.
    pub layer: &'a Layer,
    /// How it is stored.
    pub info: &'a TensorInfo,
    /// How the tensors are stored that its matrix is made of; empty if that is the tensor alone.
    pub operands: &'a [TensorInfo],
    /// The levels, the baseline first.
    pub levels: &'a [Choice],
    /// The settings.
    pub options: &'a Options,
    /// What the machine gives.
    pub limits: &'a Limits,
    /// Asked every few milliseconds.
    pub cancellation: &'a Cancellation,
}

impl LayerTask<'_> {
    /// Analyses the tensor from its bytes: a row per level, in the order of the levels.
    ///
    /// Always delivers all rows: what can't be computed is a row with status `failed` and a reason. Levels run in parallel
    /// on the current rayon pool, as many of them handed out at once as the memory limit allows; the numbers do not depend on
    /// how many that is.
    pub fn run(&self, bytes: Vec<u8>) -> Vec<LayerRow> {
        let Self { layer, levels, .. } = *self;
        let need = Need::new(layer, levels, (self.info, self.options), self.limits);
        let original = match self.original(bytes, need.in_slices) {
            Ok(original) => original,
            Err(error) => return failed_rows(layer, levels, &error.to_string()),
        };
        // Embeddings stand unchanged at every level: computed once.
        let computed = if layer.info.counted { levels } else { &levels[..levels.len().min(1)] };
        let together = levels_together(&need, self.limits);
        let mut rows: Vec<Vec<Measured>> = Vec::with_capacity(levels.len());
        for group in computed.chunks(together) {
            let group: Vec<_> = group.par_iter().map(|choice| self.level(&original, *choice)).collect();
            rows.extend(group);
        }
        add_changes(&mut rows);
        compare_with_baseline(&mut rows);
        let mut rows: Vec<Vec<LayerRow>> =
            rows.into_iter().map(|level| level.into_iter().map(|measured| measured.row).collect()).collect();
        for choice in &levels[rows.len()..] {
            let unchanged =
                rows[0].iter().map(|row| LayerRow { quantization: choice.level.to_string(), ..row.clone() });
            rows.push(unchanged.collect());
        }
        rows.concat()
    }

    /// The weights and what all levels need of them; with `in_slices` never whole.
    ///
    /// # Errors
    /// As the decoder; [`Error::Numeric`] if a weight is not finite.
    pub(super) fn original(&self, bytes: Vec<u8>, in_slices: bool) -> Result<Original> {
        if let Some(combined) = &self.layer.combined {
            return self.combined_original(combined, &bytes);
        }
        self.original_of(Weights::new(self.info, bytes, self.layer.matrix_shape(), in_slices)?, Vec::new())
    }

    /// A matrix, and the tensors that it is made of if that is not one tensor alone.
    ///
    /// # Errors
    /// As the decoder; [`Error::Numeric`] if a weight is not finite.
    pub(super) fn original_of(&self, weights: Weights, operands: Vec<Matrix>) -> Result<Original> {
        let (range, sums) = match &weights {
            Weights::Whole(matrix) => (WeightRange::of(matrix.values()), self.weight_sums(matrix)?),
            Weights::Stored(stored) => survey(stored)?,
        };
        if range.is_finite {
            Ok(Original { weights, operands, range, sums })
        } else {
            Err(Error::Numeric("the weights hold NaN or infinity, so there is no spectrum".to_owned()))
        }
    }

    /// The sums over the weights of each of the layer's matrices.
    fn weight_sums(&self, weights: &Matrix) -> Result<Vec<Damage>> {
        let sums = |position| Ok(Damage::of_weights(self.slice(weights, position)?.values()));
        (0..self.layer.info.rf as usize).map(sums).collect()
    }

    /// The rows of one level, in the order of the slices.
    pub(super) fn level(&self, original: &Original, choice: Choice) -> Vec<Measured> {
        if let Some(combined) = &self.layer.combined {
            return self.combined_level(combined, original, choice);
        }
        match self.whole(original, choice) {
            Ok(whole) => self.rows_of(original, whole.as_ref(), choice),
            Err(error) => self.failed_level(choice, &error),
        }
    }

    /// The rows of a level: of `whole` if there is such a matrix, else of the weights, quantized one at a time.
    pub(super) fn rows_of(&self, original: &Original, whole: Option<&Matrix>, choice: Choice) -> Vec<Measured> {
        let grid = self.grid(original, choice);
        self.rows(Quantized { original, whole, grid: grid.as_ref() }, choice)
    }

    /// A level of which there is nothing but a reason.
    pub(super) fn failed_level(&self, choice: Choice, error: &Error) -> Vec<Measured> {
        let rows = failed_rows(self.layer, &[choice], &error.to_string());
        rows.into_iter().map(Measured::failed).collect()
    }

    /// The grid of a level that quantizes one weight at a time; none of a matrix made of several tensors.
    fn grid(&self, original: &Original, choice: Choice) -> Option<NaiveGrid> {
        let is_tensor = self.layer.combined.is_none();
        choice.scheme.naive_grid(original.range, self.options.arithmetic(), self.info.dtype).filter(|_| is_tensor)
    }

    /// A row, or one for every kernel position.
    fn rows(&self, quantized: Quantized, choice: Choice) -> Vec<Measured> {
        let positions = self.layer.info.rf as usize;
        if self.options.pool {
            return vec![self.row(quantized, choice, 0..positions)];
        }
        let slice = |position: usize| {
            let mut measured = self.row(quantized, choice, position..position + 1);
            measured.row.measures.insert("slice_id".to_owned(), (position as f64).into());
            measured
        };
        (0..positions).map(slice).collect()
    }

    /// All dequantized weights, if the scheme has to see more of the tensor than a weight at a time.
    fn whole(&self, original: &Original, choice: Choice) -> Result<Option<Matrix>> {
        if choice.scheme.is_elementwise() {
            return Ok(None);
        }
        let (weights, mut values) = (self.all(original)?, Vec::new());
        choice.scheme.dequantized(weights, self.info.dtype, self.options.arithmetic(), &mut values)?;
        Matrix::new(weights.rows(), weights.cols(), values).map(Some)
    }

    /// All weights as a level leaves them.
    pub(super) fn dequantized(&self, original: &Original, choice: Choice) -> Result<Matrix> {
        if let Some(combined) = &self.layer.combined {
            return self.combined_matrix(combined, original, choice, &mut Damage::default());
        }
        if let Some(whole) = self.whole(original, choice)? {
            return Ok(whole);
        }
        dequantized(self.all(original)?, self.grid(original, choice).as_ref())
    }

    /// All of the original weights.
    ///
    /// # Errors
    /// [`Error::Limit`] where there are only slices of them, because the whole does not fit into memory.
    pub(super) fn all<'a>(&self, original: &'a Original) -> Result<&'a Matrix> {
        original.weights.whole().ok_or_else(|| {
            let need = Need::whole(self.layer, self.levels, (self.info, self.options)).bytes(1);
            Error::Limit(format!("this level looks at the whole matrix, which {}", self.limits.exceeded_by(need)))
        })
    }

    /// The row of some of the layer's matrices together.
    fn row(&self, quantized: Quantized, choice: Choice, slices: Range<usize>) -> Measured {
        let mut row = empty_row(self.layer, choice);
        let mut damage = Damage::default();
        for sums in &quantized.original.sums[slices.clone()] {
            damage.merge(sums);
        }
        let filled = self.damaged_spectrum(quantized, slices.clone(), &mut damage).and_then(|spectrum| {
            fill(&mut row, self.layer, &spectrum, self.options)?;
            let source = || quantized.whole.map_or_else(|| self.all(quantized.original), Ok);
            let matrix = |position| dequantized(&*self.slice(source()?, position)?, quantized.grid);
            let draws = add_measures(self, &mut row, &spectrum.eigenvalues, slices.clone(), matrix)?;
            let errors = if self.options.errors {
                let original = self.all(quantized.original)?;
                Some(add_errors(self, &mut row, (original, choice), &damage, slices, matrix)?)
            } else {
                None
            };
            Ok((draws, spectrum.eigenvalues, errors))
        });
        let (draws, eigenvalues, errors) = filled.unwrap_or_else(|error| {
            row.status = Status::Failed;
            row.reason = Some(error.to_string());
            Default::default()
        });
        if choice.scheme == Scheme::Stored {
            damage = damage.unchanged();
        }
        let is_finite = damage.relative_error().is_none_or(f64::is_finite);
        row.nonzero_fraction = damage.nonzero_fraction().filter(|_| is_finite).into();
        if choice.scheme == Scheme::Stored {
            row.relative_error = damage.relative_error().into();
            row.cosine = damage.relative_error().map(|_| 1.0).into();
        } else {
            row.quantized = true;
            // Weights that overflowed have no error that could be told.
            row.relative_error = damage.relative_error().filter(|_| is_finite).into();
            row.sqnr_db = damage.sqnr_db().filter(|_| is_finite).into();
            let norm = eigenvalues.iter().sum::<f64>() / self.normalisation();
            row.cosine = damage.cosine(norm).filter(|_| !self.options.inverse && !eigenvalues.is_empty()).into();
        }
        Measured { row, draws, eigenvalues, damage, errors }
    }

    fn damaged_spectrum(&self, quantized: Quantized, slices: Range<usize>, damage: &mut Damage) -> Result<Spectrum> {
        let Some(whole) = quantized.whole else {
            return self.spectrum(quantized.original.weights.source(), quantized.grid, slices, damage);
        };
        let original = self.all(quantized.original)?;
        for position in slices.clone() {
            damage.add_errors(self.slice(original, position)?.values(), self.slice(whole, position)?.values());
        }
        self.spectrum(Source::Whole(whole), None, slices, &mut Damage::default())
    }

    /// One of the layer's matrices, `[rows, cols]`: the weights themselves, or a convolution's at one kernel position.
    pub(super) fn slice<'a>(&self, weights: &'a Matrix, position: usize) -> Result<Cow<'a, Matrix>> {
        self.layer.slice(weights, position)
    }

    /// What the eigenvalues are multiplied with. `WeightWatcher` scales a kernel by `sqrt(count / 2)` with a count of 1 for a
    /// pooled one and of the kernel positions for one in slices.
    pub(super) fn normalisation(&self) -> f64 {
        match self.layer.kind {
            LayerKind::Conv2d { positions, .. } if self.options.conv2d_norm => {
                if self.options.pool {
                    0.5
                } else {
                    positions as f64 / 2.0
                }
            }
            _ => 1.0,
        }
    }

    fn spectrum(
        &self,
        weights: Source,
        grid: Option<&NaiveGrid>,
        slices: Range<usize>,
        damage: &mut Damage,
    ) -> Result<Spectrum> {
        let long_side = self.layer.gram_shape().1;
        let factor = self.normalisation();
        let (inverse, compat) = (self.options.inverse, self.options.compat.is_weightwatcher());
        let mut result = Spectrum {
            eigenvalues: Vec::new(),
            sv_max: 0.0,
            sv_min: f64::INFINITY,
            sv_min_of_slices: 0.0,
            rank_loss: 0,
        };
        for position in slices {
            let mut eigenvalues = match weights {
                Source::Whole(matrix) => {
                    let matrix = self.slice(matrix, position)?;
                    self.eigenvalues(Source::Whole(&matrix), grid, damage)?
                }
                Source::Stored(stored, _) => self.eigenvalues(Source::Stored(stored, position), grid, damage)?,
            };
            if let Some(count) = self.layer.combined.as_ref().and_then(|combined| combined.components) {
                eigenvalues.drain(..eigenvalues.len().saturating_sub(count));
            }
            if self.options.intra {
                // The tool takes the singular values of an overlap for its eigenvalues.
                for value in &mut eigenvalues {
                    *value = value.sqrt();
                }
            }
            let largest = eigenvalues.last().copied().unwrap_or(0.0);
            let tolerance = largest.sqrt() * long_side as f64 * f64::EPSILON;
            result.rank_loss += eigenvalues.iter().filter(|v| v.sqrt() <= tolerance).count();
            for value in &mut eigenvalues {
                *value *= factor;
            }
            let smallest = eigenvalues.first().copied().unwrap_or(0.0).sqrt();
            result.sv_max = result.sv_max.max((largest * factor).sqrt());
            result.sv_min = result.sv_min.min(smallest);
            result.sv_min_of_slices = result.sv_min_of_slices.max(smallest);
            result.eigenvalues.extend(eigenvalues);
            // The tool inverts all that it has after every slice, so that every other slice comes out as it was.
            if inverse && compat {
                invert(&mut result.eigenvalues);
            }
        }
        if inverse && !compat {
            // Zero has no reciprocal.
            result.eigenvalues.retain(|v| *v > 0.0);
            invert(&mut result.eigenvalues);
        }
        result.eigenvalues.sort_by(f64::total_cmp);
        Ok(result)
    }

    /// Squared singular values of one (quantized) matrix, ascending, and its errors on the way.
    pub(super) fn eigenvalues(
        &self,
        weights: Source,
        grid: Option<&NaiveGrid>,
        damage: &mut Damage,
    ) -> Result<Vec<f64>> {
        let cancelled = || self.cancellation.is_cancelled();
        if let (Method::Svd, Source::Whole(matrix)) = (self.options.method(), weights) {
            let quantized = grid.map(|grid| {
                let mut values = vec![0.0; matrix.values().len()];
                quantize_block(matrix.values(), grid, &mut values, damage)?;
                Matrix::new(matrix.rows(), matrix.cols(), values)
            });
            let quantized = quantized.transpose()?;
            let values = singular_values(quantized.as_ref().unwrap_or(matrix), &cancelled).map_err(spectrum_error)?;
            return Ok(values.into_iter().map(|v| v * v).collect());
        }
        let product = match grid.map(|grid| grid.whole_levels().ok_or(grid)) {
            None => self.gram(weights, None, damage),
            Some(Ok(levels)) => self.gram_of_codes(weights, &levels, damage),
            Some(Err(grid)) => self.gram(weights, Some(grid), damage),
        };
        let mut values = backend::selected().eigenvalues(product?, &cancelled).map_err(spectrum_error)?;
        // Rounding of the product and of the eigenvalues: anything below is noise around zero.
        let resolution = values.last().copied().unwrap_or(0.0) * weights.sides().depth as f64 * f64::EPSILON;
        for value in &mut values {
            if *value <= resolution {
                *value = 0.0;
            }
        }
        Ok(values)
    }

    /// The Gram product of a matrix as it is, or on a grid's levels.
    fn gram(&self, weights: Source, grid: Option<&NaiveGrid>, damage: &mut Damage) -> Result<SymmetricTiles> {
        let Sides { n, depth, .. } = weights.sides();
        let mut gram = backend::selected().gram(n);
        let (mut buffer, mut panel) = (Vec::new(), vec![0.0; if grid.is_some() { SLICE.min(depth) * n } else { 0 }]);
        for start in (0..depth).step_by(SLICE) {
            self.cancellation.check()?;
            let height = SLICE.min(depth - start);
            let slice = weights.slice(start, height, &mut buffer)?;
            let Some(grid) = grid else {
                slice.push(&mut *gram);
                continue;
            };
            let panel = &mut panel[..height * n];
            for (block, out) in slice.stretches().zip(panel.chunks_exact_mut(slice.stretch())) {
                quantize_block(block, grid, out, damage)?;
            }
            slice.with(panel).push(&mut *gram);
        }
        Ok(gram.finish())
    }

    /// The Gram product of a matrix on a grid's levels, by exact sums of whole numbers.
    fn gram_of_codes(&self, weights: Source, levels: &WholeLevels, damage: &mut Damage) -> Result<SymmetricTiles> {
        let kernel = Kernel::selected();
        let Sides { n, depth, is_wide } = weights.sides();
        let mut gram = CodeGramBuilder::with_largest(kernel, n, levels.largest());
        let mut buffer = Vec::new();
        let mut codes = vec![0; CODE_SLICE.min(depth) * n];
        let mut residues = vec![0; if levels.has_residues() { codes.len() } else { 0 }];
        for start in (0..depth).step_by(CODE_SLICE) {
            self.cancellation.check()?;
            let height = CODE_SLICE.min(depth - start);
            let slice = weights.slice(start, height, &mut buffer)?;
            let codes = &mut codes[..height * n];
            for (block, out) in slice.stretches().zip(codes.chunks_exact_mut(slice.stretch())) {
                levels.quantize(kernel, block, out, damage);
            }
            let residues = levels.has_residues().then(|| {
                let residues = &mut residues[..height * n];
                levels.residues(codes, residues);
                &*residues
            });
            let panel = if is_wide { CodePanel::columns(codes, height) } else { CodePanel::rows(codes, n) };
            gram.push_panel(panel, residues.filter(|residues| residues.iter().any(|r| *r != 0)), height);
        }
        Ok(gram.finish_split(levels.scale(), levels.unit()))
    }
}

pub(super) fn spectrum_error(error: EigenError) -> Error {
    match error {
        EigenError::Cancelled => Error::Cancelled,
        error => Error::Numeric(error.to_string()),
    }
}

/// A matrix as it is stored, and what all levels need of it.
#[derive(Debug)]
pub(super) struct Original {
    pub weights: Weights,
    /// The tensors that it is made of, if that is not one tensor alone.
    pub operands: Vec<Matrix>,
    range: WeightRange,
    /// Of each of the layer's matrices.
    sums: Vec<Damage>,
}

/// A tensor at one level: its weights, and how they become the dequantized ones.
#[derive(Clone, Copy)]
struct Quantized<'a> {
    original: &'a Original,
    /// All dequantized weights, where the scheme makes them at once.
    whole: Option<&'a Matrix>,
    /// The grid, where it makes them one at a time.
    grid: Option<&'a NaiveGrid>,
}

/// The rows of a layer of which there is nothing but a reason.
pub(super) fn failed_rows(layer: &Layer, levels: &[Choice], reason: &str) -> Vec<LayerRow> {
    levels.iter().map(|choice| LayerRow { reason: Some(reason.to_owned()), ..empty_row(layer, *choice) }).collect()
}

/// The pooled eigenvalues of a layer.
pub(super) struct Spectrum {
    /// Ascending.
    pub eigenvalues: Vec<f64>,
    pub sv_max: f64,
    /// Smallest singular value.
    pub sv_min: f64,
    /// Largest of the matrices' smallest singular values: what `WeightWatcher` calls `sv_min`.
    pub sv_min_of_slices: f64,
    pub rank_loss: usize,
}

fn invert(values: &mut [f64]) {
    for value in values {
        *value = value.recip();
    }
}

/// A matrix as the level leaves it.
fn dequantized(matrix: &Matrix, grid: Option<&NaiveGrid>) -> Result<Matrix> {
    let mut values = matrix.values().to_vec();
    if let Some(grid) = grid {
        quantize_block(matrix.values(), grid, &mut values, &mut Damage::default())?;
    }
    Matrix::new(matrix.rows(), matrix.cols(), values)
}

fn quantize_block(block: &[f32], grid: &NaiveGrid, out: &mut [f32], damage: &mut Damage) -> Result<()> {
    grid.dequantize(block, out);
    damage.add_errors(block, out);
    // Half-precision arithmetic overflows on weights that half precision holds.
    if out.iter().any(|v| !v.is_finite()) {
        return Err(Error::Numeric("quantizing overflowed: the dequantized weights hold NaN or infinity".to_owned()));
    }
    Ok(())
}
