//! One weight in both models.

use super::PairSpectrum;
use super::align::{Layout, aligned};
use super::matching::{Half, Pair};
use crate::analysis::detail::FitDetail;
use crate::analysis::layer::LayerTask;
use crate::analysis::layers::{Layer, LayerKind};
use crate::analysis::options::Options;
use crate::analysis::plan::Limits;
use crate::analysis::weights::Source;
use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::matrix::Matrix;
use crate::powerlaw::{PowerLawFit, fit_varied};
use crate::progress::Cancellation;
use crate::quant::Damage;
use crate::report::{Number, PairRow};
use crate::spectrum::log_wasserstein;

pub(super) struct Work<'a> {
    pub pair: &'a Pair,
    pub original: &'a TensorInfo,
    pub quantized: &'a TensorInfo,
    /// If its spectrum is to be taken.
    pub layer: Option<&'a Layer>,
    pub heads: Vec<usize>,
    pub options: &'a Options,
    pub limits: &'a Limits,
    pub cancellation: &'a Cancellation,
}

/// What names and headers say of a pair.
pub(super) fn empty_row(pair: &Pair, original: &TensorInfo, quantized: &TensorInfo) -> PairRow {
    let shape = match &pair.original.rows {
        Some(rows) => vec![rows.end - rows.start, original.shape[1]],
        None => original.shape.clone(),
    };
    PairRow {
        name: original.name.clone(),
        quantized_name: quantized.name.clone(),
        shape,
        original_scheme: original.stored_as(),
        scheme: quantized.stored_as(),
        layout: rows_text(pair),
        original_bits_per_weight: original.bits_per_weight().into(),
        bits_per_weight: quantized.bits_per_weight().into(),
        relative_error: Number::NONE,
        sqnr_db: Number::NONE,
        max_error_share: Number::NONE,
        nonzero_fraction: Number::NONE,
        squared_norm: Number::NONE,
        original_alpha: Number::NONE,
        alpha: Number::NONE,
        alpha_change: Number::NONE,
        lambda_max_ratio: Number::NONE,
        log_spectrum_distance: Number::NONE,
        reason: None,
    }
}

fn rows_text(pair: &Pair) -> String {
    let text = |half: &Half, of: &str| {
        half.rows.as_ref().map(|rows| format!("rows {} to {} of {of}", rows.start, rows.end.saturating_sub(1)))
    };
    text(&pair.original, "the original").or_else(|| text(&pair.quantized, "the quantized")).unwrap_or_default()
}

impl Work<'_> {
    /// Errors first, then spectra, so that a failure leaves what was found until then. The spectra, if they are taken.
    pub fn fill(&self, row: &mut PairRow, bytes: &[u8]) -> Result<Option<[PairSpectrum; 2]>> {
        let (first, second) = bytes.split_at((self.original.bytes() as usize).min(bytes.len()));
        let original = decoded(self.original, &self.pair.original, first)?;
        let quantized = decoded(self.quantized, &self.pair.quantized, second)?;
        if ![&original, &quantized].iter().all(|matrix| matrix.values().iter().all(|v| v.is_finite())) {
            return Err(Error::Numeric("the weights hold NaN or infinity".to_owned()));
        }
        let (quantized, layout) = aligned(&original, quantized, self.pair.is_transposed, &self.heads)?;
        describe(row, layout);
        damage(row, &original, &quantized);
        self.layer.map(|_| self.spectra(row, &original, &quantized)).transpose()
    }

    fn spectra(&self, row: &mut PairRow, original: &Matrix, quantized: &Matrix) -> Result<[PairSpectrum; 2]> {
        let (first, second) = rayon::join(|| self.eigenvalues(original), || self.eigenvalues(quantized));
        let (first, second) = (first?, second?);
        let options = self.options.fit_options()?;
        let fitted = |values: &[f64]| match fit_varied(values, &options) {
            Ok(found) => match found.fit.degenerate() {
                None => Ok(found.fit),
                Some(reason) => Err(reason),
            },
            Err(failure) => Err(failure.reason),
        };
        let (before, after) = (fitted(&first), fitted(&second));
        let alpha = |fit: &std::result::Result<PowerLawFit, String>| fit.as_ref().ok().map(|fit| fit.alpha);
        row.original_alpha = alpha(&before).into();
        row.alpha = alpha(&after).into();
        row.alpha_change = alpha(&before).zip(alpha(&after)).map(|(a, b)| b - a).into();
        row.reason = before.clone().err().or(after.clone().err());
        let largest = |values: &[f64]| values.last().copied().filter(|v| *v > 0.0);
        row.lambda_max_ratio = largest(&first).zip(second.last().copied()).map(|(a, b)| b / a).into();
        row.log_spectrum_distance = log_wasserstein(&first, &second).into();
        Ok([(before, first), (after, second)].map(|(fit, eigenvalues)| PairSpectrum {
            fit: fit.ok().map(|fit| FitDetail::new(&fit, &eigenvalues)),
            eigenvalues,
        }))
    }

    /// Of the pair's matrix; of a convolution those at all kernel positions together, as the analysis has them.
    fn eigenvalues(&self, matrix: &Matrix) -> Result<Vec<f64>> {
        let layer = self.layer.ok_or_else(|| Error::Options("there is no layer".to_owned()))?;
        let (options, limits, cancellation) = (self.options, self.limits, self.cancellation);
        let task = LayerTask { layer, info: self.original, operands: &[], levels: &[], options, limits, cancellation };
        let positions = match layer.kind {
            LayerKind::Dense { .. } => 1,
            LayerKind::Conv2d { positions, .. } => positions,
        };
        let mut all = Vec::new();
        for position in 0..positions {
            let slice = task.slice(matrix, position)?;
            let values = task.eigenvalues(Source::Whole(&slice), None, &mut Damage::default())?;
            all.extend(values.into_iter().map(|value| value * task.normalisation()));
        }
        all.sort_by(f64::total_cmp);
        Ok(all)
    }
}

fn describe(row: &mut PairRow, layout: Layout) {
    let text = match layout {
        Layout::Same => return,
        Layout::Transposed => "transposed".to_owned(),
        Layout::Permuted { heads, .. } => format!("rows permuted in {heads} heads"),
    };
    row.layout = if row.layout.is_empty() { text } else { format!("{}, {text}", row.layout) };
}

fn damage(row: &mut PairRow, original: &Matrix, quantized: &Matrix) {
    let mut damage = Damage::default();
    damage.add(original.values(), quantized.values());
    let largest = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
    let weight = largest(&mut original.values().iter().copied());
    let error = largest(&mut original.values().iter().zip(quantized.values()).map(|(a, b)| b - a));
    row.relative_error = damage.relative_error().into();
    row.sqnr_db = damage.sqnr_db().into();
    row.nonzero_fraction = damage.nonzero_fraction().into();
    row.squared_norm = damage.squared_norm().into();
    row.max_error_share = (weight > 0.0).then(|| f64::from(error) / f64::from(weight)).into();
}

/// The matrix of one half, `[rows, cols]`: of a convolution `[out, in * positions]`.
fn decoded(info: &TensorInfo, half: &Half, bytes: &[u8]) -> Result<Matrix> {
    let mut values = vec![0.0; info.elements() as usize];
    info.decode(bytes, &mut values)?;
    let rows = info.shape[0] as usize;
    let cols = values.len() / rows.max(1);
    match &half.rows {
        None => Matrix::new(rows, cols, values),
        Some(range) => {
            let (begin, end) = (range.start as usize * cols, range.end as usize * cols);
            Matrix::new((range.end - range.start) as usize, cols, values[begin..end].to_vec())
        }
    }
}
