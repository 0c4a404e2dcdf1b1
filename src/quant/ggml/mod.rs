//! GGUF's block types, without importance matrix: weights to the very bytes that a file holds, and back.
//!
//! A matrix is cut into blocks along its rows; a row must be a whole number of blocks. Multi-byte fields are little-endian.
//!
//! # Source
//! ggml 0.20.2 (the same bytes as llama.cpp's release v0.5.0), bit for bit.

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
            GgmlType::F32 => each_out::<1, 4>(x, out, |[v], out| *out = v.to_le_bytes()),
            GgmlType::F16 => each_out::<1, 2>(x, out, |[v], out| *out = half::f16::from_f32(*v).to_le_bytes()),
            GgmlType::BF16 => each_out::<1, 2>(x, out, |[v], out| *out = half::bf16::from_f32(*v).to_le_bytes()),
            GgmlType::Q8_0 => each_out(x, out, legacy::quantize_q8_0),
            GgmlType::Q6_K => each_out(x, out, k_quants::quantize_q6_k),
            GgmlType::Q5_K => each_out(x, out, two_scales::quantize_q5_k),
            GgmlType::Q5_1 => each_out(x, out, legacy::quantize_q5_1),
            GgmlType::Q5_0 => each_out(x, out, legacy::quantize_q5_0),
            GgmlType::Q4_K => each_out(x, out, two_scales::quantize_q4_k),
            GgmlType::Q4_1 => each_out(x, out, legacy::quantize_q4_1),
            GgmlType::Q4_0 => each_out(x, out, legacy::quantize_q4_0),
            GgmlType::Q3_K => each_out(x, out, k_quants::quantize_q3_k),
            GgmlType::Q2_K => each_out(x, out, two_scales::quantize_q2_k),
            GgmlType::IQ4_NL => iq4::quantize_nl(x, out),
            GgmlType::IQ4_XS => each_out(x, out, iq4::quantize_xs),
            GgmlType::TQ1_0 => each_out(x, out, ternary::quantize_tq1_0),
            GgmlType::TQ2_0 => each_out(x, out, ternary::quantize_tq2_0),
            GgmlType::MXFP4 => each_out(x, out, fp4::quantize_mxfp4),
            GgmlType::NVFP4 => each_out(x, out, fp4::quantize_nvfp4),
            GgmlType::Q2_0 => each_out(x, out, legacy::quantize_q2_0),
            GgmlType::Q1_0 => each_out(x, out, legacy::quantize_q1_0),
        }
        bytes
    }

    /// The weights that `blocks` stand for.
    pub fn dequantize_blocks(self, blocks: &[u8], out: &mut [f32]) {
        match self {
            GgmlType::F32 => each_in::<1, 4>(blocks, out, |bytes, out| *out = [f32::from_le_bytes(*bytes)]),
            GgmlType::F16 => each_in::<1, 2>(blocks, out, |bytes, out| *out = [read_f16(*bytes)]),
            GgmlType::BF16 => {
                each_in::<1, 2>(blocks, out, |bytes, out| *out = [half::bf16::from_le_bytes(*bytes).to_f32()]);
            }
            GgmlType::Q8_0 => each_in(blocks, out, legacy::dequantize_q8_0),
            GgmlType::Q6_K => each_in(blocks, out, k_quants::dequantize_q6_k),
            GgmlType::Q5_K => each_in(blocks, out, two_scales::dequantize_q5_k),
            GgmlType::Q5_1 => each_in(blocks, out, legacy::dequantize_q5_1),
            GgmlType::Q5_0 => each_in(blocks, out, legacy::dequantize_q5_0),
            GgmlType::Q4_K => each_in(blocks, out, two_scales::dequantize_q4_k),
            GgmlType::Q4_1 => each_in(blocks, out, legacy::dequantize_q4_1),
            GgmlType::Q4_0 => each_in(blocks, out, legacy::dequantize_q4_0),
            GgmlType::Q3_K => each_in(blocks, out, k_quants::dequantize_q3_k),
            GgmlType::Q2_K => each_in(blocks, out, two_scales::dequantize_q2_k),
            GgmlType::IQ4_NL => each_in(blocks, out, iq4::dequantize_nl),
            GgmlType::IQ4_XS => each_in(blocks, out, iq4::dequantize_xs),
            GgmlType::TQ1_0 => each_in(blocks, out, ternary::dequantize_tq1_0),
            GgmlType::TQ2_0 => each_in(blocks, out, ternary::dequantize_tq2_0),
            GgmlType::MXFP4 => each_in(blocks, out, fp4::dequantize_mxfp4),
            GgmlType::NVFP4 => each_in(blocks, out, fp4::dequantize_nvfp4),
            GgmlType::Q2_0 => each_in(blocks, out, legacy::dequantize_q2_0),
            GgmlType::Q1_0 => each_in(blocks, out, legacy::dequantize_q1_0),
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

fn each_out<const LEN: usize, const SIZE: usize>(
    weights: &[f32],
    bytes: &mut [u8],
    quantize: impl Fn(&[f32; LEN], &mut [u8; SIZE]),
) {
    for (weights, bytes) in weights.as_chunks().0.iter().zip(bytes.as_chunks_mut().0) {
        quantize(weights, bytes);
    }
}

fn each_in<const LEN: usize, const SIZE: usize>(
    bytes: &[u8],
    out: &mut [f32],
    dequantize: impl Fn(&[u8; SIZE], &mut [f32; LEN]),
) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        dequantize(bytes, out);
    }
}

fn read_f16(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

fn f16_bytes(value: f32) -> [u8; 2] {
    half::f16::from_f32(value).to_le_bytes()
}

/// The first value of the largest magnitude; plus zero if all are zeros.
fn signed_max(values: &[f32]) -> f32 {
    let max = super::rounding::abs_max(values);
    values.iter().copied().find(|v| v.abs() == max && max > 0.0).unwrap_or(0.0)
}

/// `1 / value`, or 0 of a zero.
fn reciprocal(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}
