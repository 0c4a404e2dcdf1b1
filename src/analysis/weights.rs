//! A tensor's weights as its levels get at them: whole in f32, or slice by slice from what is stored.

use super::layers::Layer;
use super::options::Options;
use crate::error::Result;
use crate::format::{StoredTensor, TensorInfo, Window};
use crate::matrix::Matrix;
use crate::quant::{Damage, Range};
use crate::spectrum::backend::Gram;
use crate::spectrum::{Method, SLICE};

/// Where one matrix's weights come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// They are there.
    Whole(&'a Matrix),
    /// They are those of the tensor's matrix at a kernel position, decoded when they are asked for.
    Stored(&'a StoredTensor, usize),
}

/// A tensor's weights.
#[derive(Debug)]
pub(super) enum Weights {
    Whole(Matrix),
    /// Of which there is a slice at a time in f32: 4 bytes a weight less, for a decoding at every level.
    Stored(Box<StoredTensor>),
}

/// Why the levels that work weight by weight need all weights at once, if they do: something that was asked for looks at more
/// of them than a Gram product does, or they can't be decoded slice by slice.
pub(super) fn needs_whole(layer: &Layer, info: &TensorInfo, options: &Options) -> Option<&'static str> {
    const { assert!(SLICE.is_multiple_of(256), "slices are of whole blocks") }
    let can_be_cut = info.columns_together().is_some_and(|together| SLICE.is_multiple_of(together));
    let reasons = [
        (layer.combined.is_some(), "a matrix made of several tensors is not read in slices"),
        (!can_be_cut, "weights stored as these are not read in slices"),
        (options.method() != Method::Gram, "without svd it would be read in slices"),
        (options.vectors, "without vectors it would be read in slices"),
        (options.randomize, "without randomize it would be read in slices"),
        (options.trust, "without trust it would be read in slices"),
        (options.errors, "without errors it would be read in slices"),
        (options.farms > 0, "without farms it would be read in slices"),
    ];
    reasons.into_iter().find(|(is_so, _)| *is_so).map(|(_, reason)| reason)
}

impl Weights {
    /// Decodes a tensor of this shape, or keeps it for its slices: see [`needs_whole`].
    ///
    /// # Errors
    /// As the decoder.
    pub fn new(info: &TensorInfo, bytes: Vec<u8>, (rows, cols): (usize, usize), in_slices: bool) -> Result<Self> {
        if in_slices {
            return StoredTensor::new(info, bytes).map(|stored| Self::Stored(Box::new(stored)));
        }
        let mut values = vec![0.0; rows * cols];
        info.decode(&bytes, &mut values)?;
        drop(bytes);
        Matrix::new(rows, cols, values).map(Self::Whole)
    }

    /// The whole matrix; none if there are only slices of it.
    pub fn whole(&self) -> Option<&Matrix> {
        match self {
            Self::Whole(matrix) => Some(matrix),
            Self::Stored(_) => None,
        }
    }

    pub fn source(&self) -> Source<'_> {
        match self {
            Self::Whole(matrix) => Source::Whole(matrix),
            Self::Stored(stored) => Source::Stored(stored, 0),
        }
    }
}

/// What a pass over all weights finds, and the sums of each of the tensor's matrices.
///
/// # Errors
/// As the decoder.
pub(super) fn survey(stored: &StoredTensor) -> Result<(Range, Vec<Damage>)> {
    /// Values at a time.
    const PASS: usize = 1 << 16;
    /// A multiple of so many rows: of the lanes of sums, so that they are those of the whole to the bit, and of a cache line
    /// where values that follow one another lie down the columns.
    const ROWS: usize = 32;
    let (rows, cols) = (stored.rows(), stored.cols());
    let step = ROWS * (PASS / ROWS / cols.max(1)).max(1);
    let (mut range, mut sums) = (None, vec![Damage::default(); stored.positions()]);
    let mut buffer = Vec::new();
    for (position, sums) in sums.iter_mut().enumerate() {
        for first in (0..rows).step_by(step) {
            let window = Window { rows: first..rows.min(first + step), cols: 0..cols, position };
            buffer.resize(window.rows.len() * cols, 0.0);
            stored.decode(&window, &mut buffer)?;
            let found = Range::of(&buffer);
            range = Some(range.map_or(found, |range: Range| range.with(found)));
            sums.add_weights(&buffer);
        }
    }
    Ok((range.unwrap_or(Range::of(&[])), sums))
}

/// A matrix as its Gram product takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    /// The shorter side: the order of the product.
    pub n: usize,
    /// The longer side, which is summed over.
    pub depth: usize,
    /// Whether it lies along the rows.
    pub is_wide: bool,
}

impl<'a> Source<'a> {
    pub fn sides(self) -> Sides {
        let (rows, cols) = match self {
            Self::Whole(matrix) => (matrix.rows(), matrix.cols()),
            Self::Stored(stored, _) => (stored.rows(), stored.cols()),
        };
        Sides { n: rows.min(cols), depth: rows.max(cols), is_wide: rows < cols }
    }

    /// The weights at `start .. start + height` of the longer side; `buffer` is for those that have to be decoded.
    ///
    /// # Errors
    /// As the decoder.
    pub fn slice<'b>(self, start: usize, height: usize, buffer: &'b mut Vec<f32>) -> Result<Slice<'b>>
    where
        'a: 'b,
    {
        let Sides { n, is_wide, .. } = self.sides();
        let (values, step) = match self {
            Self::Whole(matrix) if is_wide => (&matrix.values()[start..], matrix.cols()),
            Self::Whole(matrix) => (&matrix.values()[start * n..(start + height) * n], n),
            Self::Stored(stored, position) => {
                buffer.resize(height * n, 0.0);
                let along = start..start + height;
                let (rows, cols) = if is_wide { (0..n, along) } else { (along, 0..n) };
                stored.decode(&Window { rows, cols, position }, buffer)?;
                (&buffer[..], height)
            }
        };
        Ok(Slice { values, step, n, height, is_wide })
    }
}

/// Some rows of a tall matrix, or columns of a wide one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice<'a> {
    values: &'a [f32],
    /// From one row of a wide matrix to the next.
    step: usize,
    n: usize,
    height: usize,
    is_wide: bool,
}

impl<'a> Slice<'a> {
    /// The weights in the stretches in which they lie, each of [`Slice::stretch`].
    pub fn stretches(self) -> impl Iterator<Item = &'a [f32]> {
        let step = if self.is_wide { self.step } else { self.values.len().max(1) };
        self.values.chunks(step).map(move |stretch| &stretch[..self.stretch()])
    }

    /// Weights in a stretch.
    pub fn stretch(self) -> usize {
        if self.is_wide { self.height } else { self.height * self.n }
    }

    /// The same place with other weights, stretch after stretch.
    pub fn with(self, values: &[f32]) -> Slice<'_> {
        Slice { values, step: self.height, ..self }
    }

    /// Adds it to a Gram product.
    pub fn push(self, gram: &mut dyn Gram) {
        if self.is_wide {
            gram.push_columns(self.values, self.step, self.height);
        } else {
            gram.push(self.values, self.height);
        }
    }
}

#[cfg(test)]
mod tests;
