//! A tensor's weights as its levels get at them: whole in f32, or slice by slice from what is stored.

use super::layers::{Layer, LayerKind};
use super::options::Options;
use crate::error::Result;
use crate::format::TensorInfo;
use crate::matrix::Matrix;
use crate::quant::{Damage, Range};
use crate::spectrum::backend::Gram;
use crate::spectrum::{Method, SLICE};

/// A matrix of which there is a slice at a time in f32: 4 bytes a weight less than the whole, for a decoding at every level.
#[derive(Debug)]
pub(super) struct StoredMatrix {
    info: TensorInfo,
    bytes: Vec<u8>,
    rows: usize,
    cols: usize,
}

/// Where one matrix's weights come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// They are there.
    Whole(&'a Matrix),
    /// They are decoded when they are asked for.
    Stored(&'a StoredMatrix),
}

/// A tensor's weights.
#[derive(Debug)]
pub(super) enum Weights {
    Whole(Matrix),
    Stored(StoredMatrix),
}

/// Whether the levels that work weight by weight can do with slices of a tensor: nothing that was asked for looks at the
/// matrix but its Gram product, and every slice can be decoded by itself.
pub(super) fn can_be_sliced(layer: &Layer, info: &TensorInfo, options: &Options) -> bool {
    let LayerKind::Dense { cols, .. } = layer.kind else { return false };
    let looks_at_it = options.vectors || options.randomize || options.trust || options.errors || options.farms > 0;
    let has_parts = info.unit().is_some_and(|(values, _)| cols % values == 0 && SLICE.is_multiple_of(values));
    has_parts && layer.combined.is_none() && options.method() == Method::Gram && !looks_at_it
}

impl Weights {
    /// Decodes a tensor of this shape, or keeps it for its slices: see [`can_be_sliced`].
    ///
    /// # Errors
    /// As the decoder.
    pub fn new(info: &TensorInfo, bytes: Vec<u8>, (rows, cols): (usize, usize), in_slices: bool) -> Result<Self> {
        if in_slices {
            return Ok(Self::Stored(StoredMatrix { info: info.clone(), bytes, rows, cols }));
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
            Self::Stored(stored) => Source::Stored(stored),
        }
    }
}

impl StoredMatrix {
    /// What a pass over all weights finds.
    ///
    /// # Errors
    /// As the decoder.
    pub fn survey(&self) -> Result<(Range, Damage)> {
        /// A multiple of every unit, and of the lanes of sums: they are those of the whole, to the bit.
        const PASS: usize = 1 << 16;
        let (mut range, mut sums) = (None, Damage::default());
        let (count, mut buffer) = (self.rows * self.cols, Vec::new());
        for first in (0..count).step_by(PASS) {
            buffer.resize(PASS.min(count - first), 0.0);
            self.info.decode_part(&self.bytes, first, &mut buffer)?;
            let found = Range::of(&buffer);
            range = Some(range.map_or(found, |range: Range| range.with(found)));
            sums.add_weights(&buffer);
        }
        Ok((range.unwrap_or(Range::of(&[])), sums))
    }
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
            Self::Stored(stored) => (stored.rows, stored.cols),
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
            Self::Stored(stored) => {
                buffer.resize(height * n, 0.0);
                if is_wide {
                    for (row, out) in buffer.chunks_exact_mut(height).enumerate() {
                        stored.info.decode_part(&stored.bytes, row * stored.cols + start, out)?;
                    }
                } else {
                    stored.info.decode_part(&stored.bytes, start * n, buffer)?;
                }
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
mod tests {
    use super::*;
    use crate::analysis::LayerTask;
    use crate::analysis::layer::Choice;
    use crate::analysis::plan::Limits;
    use crate::format::Storage;
    use crate::progress::Cancellation;
    use crate::quant::{Arithmetic, BlockType, GgmlType};
    use crate::report::{LayerRow, Status};
    use crate::tensor::Dtype;

    /// Heavy-tailed weights, as they are stored.
    fn stored(rows: usize, cols: usize, storage: &Storage, dtype: Dtype) -> (TensorInfo, Vec<u8>) {
        let noise = |i: usize| ((i * 7919 + i * i % 613) % 2003) as f32 / 1001.0 - 1.0;
        let weights: Vec<f32> = (0..rows * cols).map(|i| noise(i) * (1.0 + 30.0 / (1.0 + (i / cols) as f32))).collect();
        let bytes = match (storage, dtype) {
            (Storage::Blocks(BlockType::Ggml(kind)), _) => kind.quantize_blocks(&weights),
            (_, Dtype::F16) => weights.iter().flat_map(|w| half::f16::from_f32(*w).to_le_bytes()).collect(),
            (_, Dtype::BF16) => weights.iter().flat_map(|w| half::bf16::from_f32(*w).to_le_bytes()).collect(),
            _ => weights.iter().flat_map(|w| w.to_le_bytes()).collect(),
        };
        let (shape, end) = (vec![rows as u64, cols as u64], bytes.len() as u64);
        (TensorInfo { name: "layer.weight".to_owned(), dtype, shape, begin: 0, end, storage: storage.clone() }, bytes)
    }

    fn rows(layer: &Layer, (info, bytes): &(TensorInfo, Vec<u8>), options: &Options, limits: &Limits) -> Vec<LayerRow> {
        let levels: Vec<Choice> =
            options.levels().unwrap().into_iter().map(|level| Choice { level, scheme: level }).collect();
        let cancellation = Cancellation::default();
        let (levels, cancellation) = (&levels[..], &cancellation);
        LayerTask { layer, info, operands: &[], levels, options, limits, cancellation }.run(bytes.clone())
    }

    const WHOLE: Limits = Limits { threads: 2, memory: u64::MAX, hard_limit: u64::MAX };
    const SLICED: Limits = Limits { threads: 2, memory: 0, hard_limit: u64::MAX };

    /// Sides that are no multiples of slices, both ways round, in dtypes and blocks.
    #[test]
    fn slices_give_the_bits_of_the_whole() {
        let block = |kind| Storage::Blocks(BlockType::Ggml(kind));
        let cases = [
            (40, 1301, Storage::Plain, Dtype::F16),
            (1301, 40, Storage::Plain, Dtype::BF16),
            (1100, 33, Storage::Plain, Dtype::F32),
            (50, 50, Storage::Plain, Dtype::F16),
            (40, 1312, block(GgmlType::Q8_0), Dtype::F32),
            (1300, 64, block(GgmlType::Q4_0), Dtype::F32),
            (40, 1280, block(GgmlType::Q6_K), Dtype::F32),
        ];
        let levels = "fp16,8bit,3bit,4bit-asym".to_owned();
        for (height, width, storage, dtype) in cases {
            let (layer, tensor) = (Layer::dense(height, width), stored(height, width, &storage, dtype));
            for arithmetic in [Arithmetic::Exact, Arithmetic::Stored, Arithmetic::Seed] {
                let options = Options {
                    quantizations: levels.clone(),
                    dequantize: arithmetic,
                    mp_fit: true,
                    ..Options::default()
                };
                assert!(can_be_sliced(&layer, &tensor.0, &options));
                let (whole, sliced) =
                    (rows(&layer, &tensor, &options, &WHOLE), rows(&layer, &tensor, &options, &SLICED));
                assert_eq!(
                    whole.iter().filter(|row| row.status == Status::Success).count(),
                    4,
                    "{height} x {width}: {whole:?}"
                );
                assert_eq!(format!("{whole:?}"), format!("{sliced:?}"), "{height} x {width} {dtype} {arithmetic:?}");
            }
        }
    }

    #[test]
    fn a_level_that_looks_at_the_whole_says_what_it_needs() {
        let (layer, tensor) = (Layer::dense(64, 96), stored(64, 96, &Storage::Plain, Dtype::F16));
        let options = Options { quantizations: "fp16,q8_0,4bit".to_owned(), ..Options::default() };
        let rows = rows(&layer, &tensor, &options, &Limits { hard_limit: 500_000, ..SLICED });
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason.as_deref()).collect();
        let needs = "this level looks at the whole matrix, which needs 1 MB of memory, more than the 0 MB there are";
        assert_eq!(reasons, [None, Some(needs), None]);
    }

    #[test]
    fn slices_see_what_is_not_finite_and_what_is_missing() {
        let (layer, (info, mut bytes)) = (Layer::dense(64, 96), stored(64, 96, &Storage::Plain, Dtype::F16));
        let options = Options { quantizations: "fp16,4bit".to_owned(), ..Options::default() };
        let reason = |bytes: &[u8]| {
            let rows = rows(&layer, &(info.clone(), bytes.to_vec()), &options, &SLICED);
            assert!(rows.len() == 2 && rows[0].reason == rows[1].reason);
            rows[0].reason.clone().unwrap_or_default()
        };
        assert!(reason(&bytes[1..]).contains("has not the bytes that its header says"));
        (bytes[5000], bytes[5001]) = (0, 0x7c);
        assert!(reason(&bytes).contains("NaN or infinity"));
    }
}
