//! The block types that a GGUF file may hold.

use super::{GgmlType, iq};

/// How the weights of a GGUF tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockType {
    /// A type that can be made and read.
    Ggml(GgmlType),
    /// A type that can be read only.
    Iq(IqType),
}

/// Types that take an importance matrix to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the tool's own names")]
#[allow(non_camel_case_types, reason = "the tool's own names")]
pub enum IqType {
    IQ3_S,
    IQ3_XXS,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    IQ1_M,
    IQ1_S,
}

impl BlockType {
    /// The type with this number in a file, if it is one whose weights are f32 and come in blocks.
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            2 => Self::Ggml(GgmlType::Q4_0),
            3 => Self::Ggml(GgmlType::Q4_1),
            6 => Self::Ggml(GgmlType::Q5_0),
            7 => Self::Ggml(GgmlType::Q5_1),
            8 => Self::Ggml(GgmlType::Q8_0),
            10 => Self::Ggml(GgmlType::Q2_K),
            11 => Self::Ggml(GgmlType::Q3_K),
            12 => Self::Ggml(GgmlType::Q4_K),
            13 => Self::Ggml(GgmlType::Q5_K),
            14 => Self::Ggml(GgmlType::Q6_K),
            16 => Self::Iq(IqType::IQ2_XXS),
            17 => Self::Iq(IqType::IQ2_XS),
            18 => Self::Iq(IqType::IQ3_XXS),
            19 => Self::Iq(IqType::IQ1_S),
            20 => Self::Ggml(GgmlType::IQ4_NL),
            21 => Self::Iq(IqType::IQ3_S),
            22 => Self::Iq(IqType::IQ2_S),
            23 => Self::Ggml(GgmlType::IQ4_XS),
            29 => Self::Iq(IqType::IQ1_M),
            34 => Self::Ggml(GgmlType::TQ1_0),
            35 => Self::Ggml(GgmlType::TQ2_0),
            39 => Self::Ggml(GgmlType::MXFP4),
            40 => Self::Ggml(GgmlType::NVFP4),
            41 => Self::Ggml(GgmlType::Q1_0),
            42 => Self::Ggml(GgmlType::Q2_0),
            _ => return None,
        })
    }

    /// The tool's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ggml(kind) => kind.name(),
            Self::Iq(IqType::IQ3_S) => "IQ3_S",
            Self::Iq(IqType::IQ3_XXS) => "IQ3_XXS",
            Self::Iq(IqType::IQ2_S) => "IQ2_S",
            Self::Iq(IqType::IQ2_XS) => "IQ2_XS",
            Self::Iq(IqType::IQ2_XXS) => "IQ2_XXS",
            Self::Iq(IqType::IQ1_M) => "IQ1_M",
            Self::Iq(IqType::IQ1_S) => "IQ1_S",
        }
    }

    /// Weights in a block, and bytes of it.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::Ggml(kind) => kind.block(),
            Self::Iq(IqType::IQ3_S) => (256, 110),
            Self::Iq(IqType::IQ3_XXS) => (256, 98),
            Self::Iq(IqType::IQ2_S) => (256, 82),
            Self::Iq(IqType::IQ2_XS) => (256, 74),
            Self::Iq(IqType::IQ2_XXS) => (256, 66),
            Self::Iq(IqType::IQ1_M) => (256, 56),
            Self::Iq(IqType::IQ1_S) => (256, 50),
        }
    }

    /// The weights that whole `blocks` stand for: as many as there are blocks, but no more than `out` has room for.
    pub fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        match self {
            Self::Ggml(kind) => kind.dequantize_blocks(blocks, out),
            Self::Iq(IqType::IQ3_S) => each!(iq::dequantize_iq3_s: [u8; 110] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ3_XXS) => each!(iq::dequantize_iq3_xxs: [u8; 98] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ2_S) => each!(iq::dequantize_iq2_s: [u8; 82] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ2_XS) => each!(iq::dequantize_iq2_xs: [u8; 74] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ2_XXS) => each!(iq::dequantize_iq2_xxs: [u8; 66] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ1_M) => each!(iq::dequantize_iq1_m: [u8; 56] => [f32; 256], blocks, out),
            Self::Iq(IqType::IQ1_S) => each!(iq::dequantize_iq1_s: [u8; 50] => [f32; 256], blocks, out),
        }
    }
}
