//! bitsandbytes: codes that stand for the values of a fixed map, and its rows of 8-bit integers.

mod tables;

use self::tables::{FP4, FP4_ORDER, NF4, dynamic, midpoints};
use super::integer::to_int;
use super::quantized::{Quantized, Quantizer};
use super::rounding::{abs_max, half_even};
use super::torch_sum;

/// Which 16 values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Map4 {
    /// `NormalFloat`, for normally distributed weights.
    Nf4,
    /// A float of sign, two exponent bits and one mantissa bit, as bitsandbytes has it.
    Fp4,
}

/// How a value of the dynamic map is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DynamicSearch {
    /// The nearest; of two equally near the smaller. bitsandbytes on CUDA and in torch.
    Nearest,
    /// By a table of 65536 entries, coarser than the map near zero. bitsandbytes' native CPU build.
    CpuTable,
}

/// bitsandbytes 4-bit: blocks of the flattened matrix scaled by their largest magnitude to -1..1, then the nearest value of
/// the map. With `double_quant`, the largest magnitudes less their mean are quantized by [`Dynamic8`] in blocks of 256.
///
/// # Source
/// bitsandbytes 0.50.2, bit for bit; with double quantization, the mean is torch's of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block4 {
    /// The map.
    pub map: Map4,
    /// Weights a block.
    pub block: u16,
    /// Whether and how scales are quantized.
    pub double_quant: Option<DynamicSearch>,
}

/// Largest magnitudes that share a scale.
pub(super) const OUTER_BLOCK: usize = 256;

impl Quantizer for Block4 {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        // Keeps the reciprocal of a zero block finite.
        const SMALLEST: f32 = 1e-38;
        let block_len = usize::from(self.block);
        let sorted = match self.map {
            Map4::Nf4 => NF4,
            Map4::Fp4 => FP4_ORDER.map(|code| FP4[usize::from(code)]),
        };
        let midpoints: [f32; 15] = midpoints(&sorted);
        let mut codes = vec![0; weights.len()];
        let mut scales = Vec::with_capacity(weights.len().div_ceil(block_len));
        for (block, codes) in weights.chunks(block_len).zip(codes.chunks_mut(block_len)) {
            let max = abs_max(block);
            let factor = 1.0 / max.max(SMALLEST);
            for (code, w) in codes.iter_mut().zip(block) {
                let y = (w * factor).clamp(-1.0, 1.0);
                *code = midpoints.iter().map(|m| u8::from(*m < y)).sum();
            }
            scales.push(max);
        }
        if self.map == Map4::Fp4 {
            for code in &mut codes {
                *code = FP4_ORDER[usize::from(*code)];
            }
        }
        let mut quantized = Quantized { codes, scales, ..Quantized::default() };
        if let Some(search) = self.double_quant {
            quantize_scales(&mut quantized, search);
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        let map = match self.map {
            Map4::Nf4 => NF4,
            Map4::Fp4 => FP4,
        };
        let block_len = usize::from(self.block);
        let blocks = out.chunks_mut(block_len).zip(quantized.codes.chunks(block_len));
        for ((out, codes), scale) in blocks.zip(&quantized.scales) {
            for (out, code) in out.iter_mut().zip(codes) {
                *out = map[usize::from(code & 15)] * scale;
            }
        }
    }

    fn is_by_row(&self, cols: usize) -> bool {
        self.double_quant.is_none() && cols.is_multiple_of(usize::from(self.block))
    }
}

/// Replaces the scales by what their codes give; `outer` ends with the mean that was taken off.
fn quantize_scales(quantized: &mut Quantized, search: DynamicSearch) {
    let offset = torch_sum::mean(&quantized.scales);
    let centred: Vec<f32> = quantized.scales.iter().map(|s| s - offset).collect();
    let inner = Dynamic8 { block: OUTER_BLOCK as u16, search };
    let coded = inner.quantize(&centred, centred.len());
    inner.dequantize(&coded, centred.len(), &mut quantized.scales);
    for scale in &mut quantized.scales {
        *scale += offset;
    }
    quantized.scale_codes = coded.codes;
    quantized.outer = coded.scales;
    quantized.outer.push(offset);
}

/// bitsandbytes' dynamic 8-bit map over blocks of the flattened matrix.
///
/// # Source
/// bitsandbytes 0.50.2, bit for bit in either search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dynamic8 {
    /// Values a block.
    pub block: u16,
    /// How codes are found.
    pub search: DynamicSearch,
}

impl Dynamic8 {
    /// Codes of numbers between -1 and 1.
    fn finder(self) -> impl Fn(f32) -> u8 {
        const LAST: f32 = 65_535.0;
        let midpoints: [f32; 255] = midpoints(&dynamic());
        let nearest = move |y: f32| midpoints.partition_point(|m| *m < y) as u8;
        let table: Vec<u8> = match self.search {
            DynamicSearch::Nearest => Vec::new(),
            DynamicSearch::CpuTable => (0..=u16::MAX).map(|i| nearest(-1.0 + 2.0 * f32::from(i) / LAST)).collect(),
        };
        move |y| {
            if table.is_empty() { nearest(y) } else { table[(((y + 1.0) * 0.5) * LAST + 0.5) as usize & 0xffff] }
        }
    }
}

impl Quantizer for Dynamic8 {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        let block_len = usize::from(self.block);
        let find = self.finder();
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        for (block, codes) in weights.chunks(block_len).zip(quantized.codes.chunks_mut(block_len)) {
            let max = abs_max(block);
            quantized.scales.push(max);
            if max == 0.0 {
                continue;
            }
            let factor = 1.0 / max;
            let is_whole = block.len() == block_len;
            for (code, w) in codes.iter_mut().zip(block) {
                // torch divides where the block is cut short.
                let y = if is_whole || self.search == DynamicSearch::CpuTable { w * factor } else { w / max };
                *code = find(y.clamp(-1.0, 1.0));
            }
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        let map = dynamic();
        let block_len = usize::from(self.block);
        let blocks = out.chunks_mut(block_len).zip(quantized.codes.chunks(block_len));
        for ((out, codes), scale) in blocks.zip(&quantized.scales) {
            for (out, code) in out.iter_mut().zip(codes) {
                *out = map[usize::from(*code)] * scale;
            }
        }
    }

    fn is_by_row(&self, cols: usize) -> bool {
        cols.is_multiple_of(usize::from(self.block))
    }
}

/// The weights of LLM.int8: `q = round(w * ((1 / a) * 127))`, `w' = (q * a) * f32(1 / 127)` with `a` the row's largest magnitude.
///
/// # Source
/// bitsandbytes 0.50.2, bit for bit. (Rows below 4e-37, whose codes are undefined there, become zero.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LlmInt8;

impl Quantizer for LlmInt8 {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], cols: usize) -> Quantized {
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        for (row, codes) in weights.chunks(cols).zip(quantized.codes.chunks_mut(cols)) {
            let max = abs_max(row);
            quantized.scales.push(max);
            // torch divides a number by a tensor by way of the reciprocal.
            let factor = (1.0 / max) * 127.0;
            if factor.is_finite() {
                for (code, w) in codes.iter_mut().zip(row) {
                    *code = to_int(half_even(w * factor).clamp(-127.0, 127.0));
                }
            }
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, cols: usize, out: &mut [f32]) {
        // f32(1 / 127), as the tool has it.
        const PART: f32 = 7.874_016e-3;
        for ((out, codes), scale) in out.chunks_mut(cols).zip(quantized.codes.chunks(cols)).zip(&quantized.scales) {
            for (out, code) in out.iter_mut().zip(codes) {
                *out = (f32::from(*code as i8) * scale) * PART;
            }
        }
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        true
    }
}
