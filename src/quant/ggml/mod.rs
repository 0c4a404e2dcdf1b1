//! GGUF's block types, without importance matrix: weights to the very bytes that a file holds, and back.
//!
//! A matrix is cut into blocks along its rows; a row must be a whole number of blocks. Multi-byte fields are little-endian.
//!
//! # Source
//! ggml 0.20.2 (the same bytes as llama.cpp's release v0.5.0), bit for bit.

/// `function` for each block on one side and what it becomes on the other, compiled for this processor's instruction set; it
/// must be `#[inline(always)]`. A macro, because a function that is passed on is compiled for itself first.
macro_rules! each {
    ($function:path: $from:ty => $to:ty, $source:expr, $target:expr) => {{
        struct Each<'a> {
            from: &'a [$from],
            to: &'a mut [$to],
        }
        impl crate::kernel::Loops for Each<'_> {
            type Output = ();
            #[inline(always)]
            fn run(self) {
                for (from, to) in self.from.iter().zip(self.to) {
                    $function(from, to);
                }
            }
        }
        let (from, to) = ($source.as_chunks().0, $target.as_chunks_mut().0);
        crate::kernel::Kernel::selected().narrow().loops(Each { from, to });
    }};
}

mod blocks;
mod fp4;
mod iq;
mod iq4;
mod k_quants;
mod lanes;
mod legacy;
mod ternary;
mod two_scales;

pub use self::blocks::{BlockType, IqType};
use super::quantized::{Quantized, Quantizer};

/// A block type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the tool's own names")]
#[allow(non_camel_case_types, reason = "the tool's own names")]
pub enum GgmlType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K,
    Q5_1,
    Q5_0,
    Q4_K,
    Q4_1,
    Q4_0,
    Q3_K,
    Q2_K,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q2_0,
    Q1_0,
}

impl GgmlType {
    /// The types that quantize, in the order of their bits.
    pub const QUANTIZED: [Self; 18] = {
        use GgmlType::{
            IQ4_NL, IQ4_XS, MXFP4, NVFP4, Q1_0, Q2_0, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0,
            TQ1_0, TQ2_0,
        };
        [
            Q8_0, Q6_K, Q5_1, Q5_K, Q5_0, Q4_1, Q4_K, Q4_0, IQ4_NL, NVFP4, IQ4_XS, MXFP4, Q3_K, Q2_K, Q2_0, TQ2_0,
            TQ1_0, Q1_0,
        ]
    };

    /// The tool's name.
    pub fn name(self) -> &'static str {
        match self {
            GgmlType::F32 => "F32",
            GgmlType::F16 => "F16",
            GgmlType::BF16 => "BF16",
            GgmlType::Q8_0 => "Q8_0",
            GgmlType::Q6_K => "Q6_K",
            GgmlType::Q5_K => "Q5_K",
            GgmlType::Q5_1 => "Q5_1",
            GgmlType::Q5_0 => "Q5_0",
            GgmlType::Q4_K => "Q4_K",
            GgmlType::Q4_1 => "Q4_1",
            GgmlType::Q4_0 => "Q4_0",
            GgmlType::Q3_K => "Q3_K",
            GgmlType::Q2_K => "Q2_K",
            GgmlType::IQ4_NL => "IQ4_NL",
            GgmlType::IQ4_XS => "IQ4_XS",
            GgmlType::TQ1_0 => "TQ1_0",
            GgmlType::TQ2_0 => "TQ2_0",
            GgmlType::MXFP4 => "MXFP4",
            GgmlType::NVFP4 => "NVFP4",
            GgmlType::Q2_0 => "Q2_0",
            GgmlType::Q1_0 => "Q1_0",
        }
    }

    /// Weights in a block, and bytes of it.
    pub fn block(self) -> (usize, usize) {
        match self {
            GgmlType::F32 => (1, 4),
            GgmlType::F16 | GgmlType::BF16 => (1, 2),
            GgmlType::Q8_0 => (32, 34),
            GgmlType::Q6_K => (256, 210),
            GgmlType::Q5_K => (256, 176),
            GgmlType::Q5_1 => (32, 24),
            GgmlType::Q5_0 => (32, 22),
            GgmlType::Q4_K => (256, 144),
            GgmlType::Q4_1 => (32, 20),
            GgmlType::Q4_0 | GgmlType::IQ4_NL => (32, 18),
            GgmlType::Q3_K => (256, 110),
            GgmlType::Q2_K => (256, 84),
            GgmlType::IQ4_XS => (256, 136),
            GgmlType::TQ1_0 => (256, 54),
            GgmlType::TQ2_0 => (256, 66),
            GgmlType::MXFP4 => (32, 17),
            GgmlType::NVFP4 => (64, 36),
            GgmlType::Q2_0 => (64, 18),
            GgmlType::Q1_0 => (128, 18),
        }
    }

    /// Bits a weight takes.
    pub fn bits_per_weight(self) -> f64 {
        let (len, bytes) = self.block();
        8.0 * bytes as f64 / len as f64
    }

    /// The type that llama-quantize takes for rows of `cols` weights when asked for this one.
    #[must_use]
    pub fn for_row(self, cols: u64) -> Self {
        let fits = |kind: Self| cols.is_multiple_of(kind.block().0 as u64);
        if fits(self) {
            return self;
        }
        let fallback = match self {
            GgmlType::IQ4_XS => GgmlType::IQ4_NL,
            GgmlType::Q2_K | GgmlType::Q3_K | GgmlType::TQ1_0 | GgmlType::TQ2_0 => GgmlType::Q4_0,
            GgmlType::Q4_K => GgmlType::Q5_0,
            GgmlType::Q5_K => GgmlType::Q5_1,
            GgmlType::Q6_K => GgmlType::Q8_0,
            _ => GgmlType::F16,
        };
        if fits(fallback) { fallback } else { GgmlType::F16 }
    }

    /// The blocks of `weights`, which are whole blocks.
    pub fn quantize_blocks(self, weights: &[f32]) -> Vec<u8> {
        let (len, size) = self.block();
        let mut bytes = vec![0; weights.len() / len * size];
        let (x, out) = (weights, &mut bytes[..]);
        match self {
            GgmlType::F32 => each!(legacy::store_f32: [f32; 1] => [u8; 4], x, out),
            GgmlType::F16 => each!(legacy::store_f16: [f32; 1] => [u8; 2], x, out),
            GgmlType::BF16 => each!(legacy::store_bf16: [f32; 1] => [u8; 2], x, out),
            GgmlType::Q8_0 => each!(legacy::quantize_q8_0: [f32; 32] => [u8; 34], x, out),
            GgmlType::Q6_K => each!(k_quants::quantize_q6_k: [f32; 256] => [u8; 210], x, out),
            GgmlType::Q5_K => two_scales::quantize_q5_k(x, out),
            GgmlType::Q5_1 => each!(legacy::quantize_q5_1: [f32; 32] => [u8; 24], x, out),
            GgmlType::Q5_0 => each!(legacy::quantize_q5_0: [f32; 32] => [u8; 22], x, out),
            GgmlType::Q4_K => two_scales::quantize_q4_k(x, out),
            GgmlType::Q4_1 => each!(legacy::quantize_q4_1: [f32; 32] => [u8; 20], x, out),
            GgmlType::Q4_0 => each!(legacy::quantize_q4_0: [f32; 32] => [u8; 18], x, out),
            GgmlType::Q3_K => each!(k_quants::quantize_q3_k: [f32; 256] => [u8; 110], x, out),
            GgmlType::Q2_K => each!(two_scales::quantize_q2_k: [f32; 256] => [u8; 84], x, out),
            GgmlType::IQ4_NL => iq4::quantize_nl(x, out),
            GgmlType::IQ4_XS => each!(iq4::quantize_xs: [f32; 256] => [u8; 136], x, out),
            GgmlType::TQ1_0 => each!(ternary::quantize_tq1_0: [f32; 256] => [u8; 54], x, out),
            GgmlType::TQ2_0 => each!(ternary::quantize_tq2_0: [f32; 256] => [u8; 66], x, out),
            GgmlType::MXFP4 => each!(fp4::quantize_mxfp4: [f32; 32] => [u8; 17], x, out),
            GgmlType::NVFP4 => each!(fp4::quantize_nvfp4: [f32; 64] => [u8; 36], x, out),
            GgmlType::Q2_0 => each!(legacy::quantize_q2_0: [f32; 64] => [u8; 18], x, out),
            GgmlType::Q1_0 => each!(legacy::quantize_q1_0: [f32; 128] => [u8; 18], x, out),
        }
        bytes
    }

    /// The weights that `blocks` stand for.
    pub fn dequantize_blocks(self, blocks: &[u8], out: &mut [f32]) {
        match self {
            GgmlType::F32 => each!(legacy::load_f32: [u8; 4] => [f32; 1], blocks, out),
            GgmlType::F16 => each!(legacy::load_f16: [u8; 2] => [f32; 1], blocks, out),
            GgmlType::BF16 => each!(legacy::load_bf16: [u8; 2] => [f32; 1], blocks, out),
            GgmlType::Q8_0 => each!(legacy::dequantize_q8_0: [u8; 34] => [f32; 32], blocks, out),
            GgmlType::Q6_K => each!(k_quants::dequantize_q6_k: [u8; 210] => [f32; 256], blocks, out),
            GgmlType::Q5_K => each!(two_scales::dequantize_q5_k: [u8; 176] => [f32; 256], blocks, out),
            GgmlType::Q5_1 => each!(legacy::dequantize_q5_1: [u8; 24] => [f32; 32], blocks, out),
            GgmlType::Q5_0 => each!(legacy::dequantize_q5_0: [u8; 22] => [f32; 32], blocks, out),
            GgmlType::Q4_K => each!(two_scales::dequantize_q4_k: [u8; 144] => [f32; 256], blocks, out),
            GgmlType::Q4_1 => each!(legacy::dequantize_q4_1: [u8; 20] => [f32; 32], blocks, out),
            GgmlType::Q4_0 => each!(legacy::dequantize_q4_0: [u8; 18] => [f32; 32], blocks, out),
            GgmlType::Q3_K => each!(k_quants::dequantize_q3_k: [u8; 110] => [f32; 256], blocks, out),
            GgmlType::Q2_K => each!(two_scales::dequantize_q2_k: [u8; 84] => [f32; 256], blocks, out),
            GgmlType::IQ4_NL => each!(iq4::dequantize_nl: [u8; 18] => [f32; 32], blocks, out),
            GgmlType::IQ4_XS => each!(iq4::dequantize_xs: [u8; 136] => [f32; 256], blocks, out),
            GgmlType::TQ1_0 => each!(ternary::dequantize_tq1_0: [u8; 54] => [f32; 256], blocks, out),
            GgmlType::TQ2_0 => each!(ternary::dequantize_tq2_0: [u8; 66] => [f32; 256], blocks, out),
            GgmlType::MXFP4 => each!(fp4::dequantize_mxfp4: [u8; 17] => [f32; 32], blocks, out),
            GgmlType::NVFP4 => each!(fp4::dequantize_nvfp4: [u8; 36] => [f32; 64], blocks, out),
            GgmlType::Q2_0 => each!(legacy::dequantize_q2_0: [u8; 18] => [f32; 64], blocks, out),
            GgmlType::Q1_0 => each!(legacy::dequantize_q1_0: [u8; 18] => [f32; 128], blocks, out),
        }
    }
}

impl Quantizer for GgmlType {
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        Quantized { codes: self.quantize_blocks(weights), ..Quantized::default() }
    }

    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        self.dequantize_blocks(&quantized.codes, out);
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        true
    }
}

#[inline(always)]
fn read_f16(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

#[inline(always)]
fn f16_bytes(value: f32) -> [u8; 2] {
    half::f16::from_f32(value).to_le_bytes()
}

/// The first value of the largest magnitude; plus zero if all are zeros.
#[inline(always)]
fn signed_max(values: &[f32]) -> f32 {
    let (min, max) = super::rounding::min_max(values);
    if max == -min {
        return values.iter().copied().find(|v| v.abs() == max && max > 0.0).unwrap_or(0.0);
    }
    // No branch: which of the two it is can't be foreseen.
    if max > -min { max } else { min }
}

/// `1 / value`, or 0 of a zero.
#[inline(always)]
fn reciprocal(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}
