//! 8-bit floats with f32 scales.

use super::quantized::{Quantized, Quantizer};
use super::rounding::{SmallFloat, abs_max};

/// Weights that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extent {
    /// All; without a scale: the values themselves are cast, saturating.
    Cast,
    /// All.
    Tensor,
    /// A row.
    Row,
    /// A square of 128 by 128; at the right and lower edges what there is of it.
    Block128,
}

/// FP8: `s = max|w| / max` (1 for zeros), `q = fp8(clamp(w / s))` to nearest even, `w' = q * s`.
///
/// # Source
/// E4M3 a row and a block equal compressed-tensors 0.20.0 bit for bit; the cast is that of `ml_dtypes` 0.6.0 after
/// clamping, and of torch since 2.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Float8 {
    /// E4M3 (finite only) or E5M2.
    pub is_e4m3: bool,
    /// Who shares a scale.
    pub extent: Extent,
}

/// Side of a block.
const BLOCK: usize = 128;

impl Float8 {
    #[inline(always)]
    fn format(self) -> SmallFloat {
        if self.is_e4m3 { SmallFloat::E4M3 } else { SmallFloat::E5M2 }
    }

    /// Number of scales of a matrix.
    pub fn scale_count(self, rows: u64, cols: u64) -> u64 {
        match self.extent {
            Extent::Cast => 0,
            Extent::Tensor => 1,
            Extent::Row => rows,
            Extent::Block128 => rows.div_ceil(BLOCK as u64) * cols.div_ceil(BLOCK as u64),
        }
    }

    #[inline(always)]
    fn scale(self, abs_max: f32) -> f32 {
        let scale = abs_max / self.format().max();
        // Also of weights so small that the scale underflows.
        if abs_max == 0.0 || scale == 0.0 { 1.0 } else { scale }
    }

    #[inline(always)]
    fn scales(self, weights: &[f32], cols: usize) -> Vec<f32> {
        match self.extent {
            Extent::Cast => Vec::new(),
            Extent::Tensor => vec![self.scale(abs_max(weights))],
            Extent::Row => weights.chunks(cols).map(|row| self.scale(abs_max(row))).collect(),
            Extent::Block128 => {
                let mut scales = Vec::new();
                for band in weights.chunks(BLOCK * cols) {
                    let mut maxima = vec![0.0_f32; cols.div_ceil(BLOCK)];
                    for row in band.chunks(cols) {
                        for (max, block) in maxima.iter_mut().zip(row.chunks(BLOCK)) {
                            *max = max.max(abs_max(block));
                        }
                    }
                    scales.extend(maxima.into_iter().map(|max| self.scale(max)));
                }
                scales
            }
        }
    }

    /// Columns that one scale goes for inside a row, and which scale is the first of a row.
    #[inline(always)]
    fn run(self, row: usize, cols: usize) -> (usize, usize) {
        match self.extent {
            Extent::Cast | Extent::Tensor => (cols, 0),
            Extent::Row => (cols, row),
            Extent::Block128 => (BLOCK, row / BLOCK * cols.div_ceil(BLOCK)),
        }
    }
}

impl Quantizer for Float8 {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], cols: usize) -> Quantized {
        let format = self.format();
        let scales = self.scales(weights, cols);
        let mut codes = vec![0; weights.len()];
        for (row, (weights, codes)) in weights.chunks(cols).zip(codes.chunks_mut(cols)).enumerate() {
            let (run, first) = self.run(row, cols);
            for (index, (weights, codes)) in weights.chunks(run).zip(codes.chunks_mut(run)).enumerate() {
                let scale = scales.get(first + index).copied().unwrap_or(1.0);
                for (code, w) in codes.iter_mut().zip(weights) {
                    *code = format.encode(format.round(w / scale));
                }
            }
        }
        Quantized { codes, scales, ..Quantized::default() }
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, cols: usize, out: &mut [f32]) {
        let format = self.format();
        for (row, (out, codes)) in out.chunks_mut(cols).zip(quantized.codes.chunks(cols)).enumerate() {
            let (run, first) = self.run(row, cols);
            for (index, (out, codes)) in out.chunks_mut(run).zip(codes.chunks(run)).enumerate() {
                let scale = quantized.scales.get(first + index).copied().unwrap_or(1.0);
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = format.decode(*code) * scale;
                }
            }
        }
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        matches!(self.extent, Extent::Cast | Extent::Row)
    }
}
