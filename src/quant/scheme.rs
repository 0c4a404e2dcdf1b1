//! Quantization schemes by name, and what they make of a matrix.

use std::fmt;

use rayon::prelude::*;

use super::codebook::{Block4, Dynamic8, LlmInt8};
use super::float8::Float8;
use super::ggml::GgmlType;
use super::hqq::Hqq;
use super::integer::{Group, Integers};
use super::microscaling::{MX_GROUP, Microscaling, NV_GROUP, Nvfp4};
use super::mlx::MlxAffine;
use super::naive::{Arithmetic, NaiveGrid, Range};
use super::quantized::{Quantized, Quantizer, Vectorised};
use super::recipe::{FileType, ModelTensor, takes_high_bits};
use super::registry;
use crate::error::{Error, Result, quoted};
use crate::matrix::Matrix;
use crate::tensor::{Dtype, Rounding};

/// The study's six levels, the default of every shell.
pub const DEFAULT_LEVELS: &str = "fp16,8bit,6bit,5bit,4bit,2bit";

/// One way to quantize a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// The weights as they are stored, whatever the dtype: the baseline. Named `fp16` as in the study.
    Stored,
    /// One scale for the whole tensor.
    Naive {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Symmetric around zero, or spread from the smallest to the largest weight.
        symmetric: bool,
    },
    /// Integers with a scale a row or group.
    Integers(Integers),
    /// GPTQ's grid, rounded to nearest: GPTQ itself needs activations and does better.
    Gptq(Integers),
    /// AWQ's grid, rounded to nearest: AWQ itself needs activations and does better.
    Awq(Integers),
    /// bitsandbytes LLM.int8 weights.
    LlmInt8,
    /// bitsandbytes NF4 and FP4.
    Block4(Block4),
    /// bitsandbytes' dynamic 8-bit map.
    Dynamic8(Dynamic8),
    /// One of GGUF's block types.
    Ggml(GgmlType),
    /// MLX affine.
    Mlx {
        /// Bits of a code.
        bits: u8,
        /// Columns that share a scale.
        group: u16,
    },
    /// OCP microscaling.
    Microscaling(Microscaling),
    /// NVFP4.
    Nvfp4(Nvfp4),
    /// 8-bit floats.
    Float8(Float8),
    /// HQQ.
    Hqq(Hqq),
    /// A file of llama-quantize: a block type for each tensor, by its name and its place. See [`Scheme::for_model`].
    GgufFile(FileType),
    /// A mixed recipe of mlx-lm: affine, groups of 64, two widths. See [`Scheme::for_model`].
    MlxMixed {
        /// Bits of most tensors.
        low: u8,
        /// Bits of those that matter more.
        high: u8,
    },
}

/// What a scheme did with a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// The scheme really used: another one where the rows' length does not allow the one asked for.
    pub scheme: Scheme,
    /// Bits a weight takes, scales included.
    pub bits_per_weight: f64,
}

impl Scheme {
    /// What the scheme means for each of a model's tensors: itself, or if it is a recipe, the scheme that the recipe has for
    /// the tensor; [`Scheme::Stored`] where a recipe leaves a tensor as it is.
    pub fn for_model(self, tensors: &[ModelTensor]) -> Vec<Self> {
        match self {
            Scheme::GgufFile(file) => {
                file.assign(tensors).into_iter().map(|kind| kind.map_or(Scheme::Stored, Scheme::Ggml)).collect()
            }
            Scheme::MlxMixed { low, high } => takes_high_bits(tensors)
                .into_iter()
                .map(|is_high| {
                    is_high.map_or(Scheme::Stored, |is_high| Scheme::Mlx {
                        bits: if is_high { high } else { low },
                        group: 64,
                    })
                })
                .collect(),
            scheme => vec![scheme; tensors.len()],
        }
    }

    /// Whether the scheme is a recipe for a whole model.
    pub fn is_recipe(self) -> bool {
        matches!(self, Scheme::GgufFile(_) | Scheme::MlxMixed { .. })
    }

    /// The scheme to use for a matrix of `cols` columns: this one, or what its tool falls back on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the reason, if the scheme is not applicable and its tool has no fall-back.
    pub fn for_shape(self, rows: usize, cols: usize) -> Result<Self> {
        if let Scheme::Ggml(kind) = self {
            return Ok(Scheme::Ggml(kind.for_row(cols as u64)));
        }
        if self.is_recipe() {
            return Err(Error::Options(format!("{self} is a recipe for a whole model, not for one matrix")));
        }
        let (unit, what) = match self {
            Scheme::Integers(i) | Scheme::Gptq(i) | Scheme::Awq(i) => match i.group {
                Group::Row => (1, "columns"),
                Group::Columns(group) => (usize::from(group), "columns"),
            },
            Scheme::Mlx { group, .. } => (usize::from(group), "columns"),
            Scheme::Microscaling(_) => (MX_GROUP, "columns"),
            Scheme::Nvfp4(_) => (NV_GROUP, "columns"),
            Scheme::Hqq(hqq) => (usize::from(hqq.group), "weights"),
            _ => (1, "columns"),
        };
        let count = if what == "weights" { rows * cols } else { cols };
        if count.is_multiple_of(unit) {
            Ok(self)
        } else {
            Err(Error::Unsupported(format!("{self} is not applicable: {count} {what} are not a multiple of {unit}")))
        }
    }

    /// Bits that a weight of a `[rows, cols]` matrix takes, scales included; `None` for the baseline and for recipes. The shape must be one
    /// that the scheme takes.
    pub fn bits_per_weight(self, rows: u64, cols: u64) -> Option<f64> {
        let weights = rows as f64 * cols as f64;
        let bits = match self {
            Scheme::Stored | Scheme::GgufFile(_) | Scheme::MlxMixed { .. } => return None,
            Scheme::Naive { bits, symmetric } => f64::from(bits) + if symmetric { 16.0 } else { 32.0 } / weights,
            Scheme::Integers(i) | Scheme::Gptq(i) | Scheme::Awq(i) => {
                // An f16 scale, and a zero point that takes as many bits as a code. GPTQ stores one in any case.
                let has_zero = i.has_zero() || self.is_bound();
                let overhead = 16.0 + if has_zero { f64::from(i.bits) } else { 0.0 };
                let group = match i.group {
                    Group::Row => cols as f64,
                    Group::Columns(group) => f64::from(group),
                };
                f64::from(i.bits) + overhead / group
            }
            Scheme::LlmInt8 => 8.0 + 32.0 / cols as f64,
            Scheme::Block4(b) => {
                let blocks = (rows * cols).div_ceil(u64::from(b.block));
                let outer = blocks.div_ceil(super::codebook::OUTER_BLOCK as u64);
                // f32 scales; or their codes, the scales of those, and the mean.
                let overhead = if b.double_quant.is_some() { 8 * blocks + 32 * outer + 32 } else { 32 * blocks };
                4.0 + overhead as f64 / weights
            }
            Scheme::Dynamic8(d) => 8.0 + 32.0 * (rows * cols).div_ceil(u64::from(d.block)) as f64 / weights,
            Scheme::Ggml(kind) => kind.bits_per_weight(),
            Scheme::Mlx { bits, group } => f64::from(bits) + 32.0 / f64::from(group),
            Scheme::Microscaling(mx) => f64::from(mx.element.bits()) + 8.0 / MX_GROUP as f64,
            Scheme::Nvfp4(nv) => 4.0 + 8.0 / NV_GROUP as f64 + if nv.has_tensor_scale() { 32.0 / weights } else { 0.0 },
            Scheme::Float8(f) => 8.0 + 32.0 * f.scale_count(rows, cols) as f64 / weights,
            Scheme::Hqq(hqq) => f64::from(hqq.bits) + 32.0 / f64::from(hqq.group),
        };
        Some(bits)
    }

    /// Whether the scheme is only a bound on what its tool does with activations.
    pub fn is_bound(self) -> bool {
        matches!(self, Scheme::Gptq(_) | Scheme::Awq(_))
    }

    /// What must be said wherever the scheme is shown.
    pub fn label(self) -> Option<&'static str> {
        registry::label(self)
    }

    /// Whether each weight is quantized on its own once the tensor's range is known.
    pub fn is_elementwise(self) -> bool {
        matches!(self, Scheme::Stored | Scheme::Naive { .. })
    }

    /// The naive grid of a tensor, which works weight by weight; `None` of every other scheme.
    pub fn naive_grid(self, range: Range, arithmetic: Arithmetic, dtype: Dtype) -> Option<NaiveGrid> {
        match self {
            Scheme::Naive { bits, symmetric } => Some(NaiveGrid::new(range, bits, symmetric, arithmetic, dtype)),
            _ => None,
        }
    }

    /// The matrix after quantizing and dequantizing, in `out`. [`Arithmetic::Stored`] (and [`Arithmetic::Seed`], which means
    /// something to naive schemes only) rounds the result to the dtype of the weights.
    ///
    /// Weights must be finite. Runs on the current rayon pool; the result does not depend on its threads.
    ///
    /// # Errors
    /// As [`Scheme::for_shape`]; [`Error::Numeric`] if the result is not finite.
    ///
    /// # Cost
    /// A few operations a weight; K-quants and IQ4 search for scales and take some hundred, HQQ a thousand.
    pub fn dequantized(
        self,
        weights: &Matrix,
        dtype: Dtype,
        arithmetic: Arithmetic,
        out: &mut Vec<f32>,
    ) -> Result<Applied> {
        let (rows, cols) = (weights.rows(), weights.cols());
        let scheme = self.for_shape(rows, cols)?;
        out.clear();
        out.resize(weights.values().len(), 0.0);
        let rounding = if arithmetic == Arithmetic::Exact { Rounding::None } else { Rounding::of(dtype) };
        if let Some(quantizer) = scheme.quantizer(dtype, rounding) {
            let quantizer = &*quantizer;
            let apply = |weights: &[f32], out: &mut [f32]| {
                quantizer.dequantize(&quantizer.quantize(weights, cols), cols, out);
                rounding.apply_all(out);
            };
            if quantizer.is_by_row(cols) {
                // Parts whose codes stay in the processor's cache.
                const PART: usize = 1 << 15;
                let part = (PART / cols.max(1)).max(1) * cols.max(1);
                out.par_chunks_mut(part).zip(weights.values().par_chunks(part)).for_each(|(out, w)| apply(w, out));
            } else {
                apply(weights.values(), out);
            }
        } else if let Some(grid) = scheme.naive_grid(Range::of(weights.values()), arithmetic, dtype) {
            grid.dequantize(weights.values(), out);
        } else {
            out.copy_from_slice(weights.values());
        }
        if !are_finite(out) {
            return Err(Error::Numeric(
                "quantizing overflowed: the dequantized weights hold NaN or infinity".to_owned(),
            ));
        }
        let bits = scheme.bits_per_weight(rows as u64, cols as u64);
        let bits_per_weight = bits.unwrap_or_else(|| dtype.bitsize() as f64);
        Ok(Applied { scheme, bits_per_weight })
    }

    /// Codes and scales of a matrix; `None` for the baseline.
    ///
    /// # Errors
    /// As [`Scheme::for_shape`].
    pub fn quantized(self, weights: &Matrix, dtype: Dtype, arithmetic: Arithmetic) -> Result<Option<Quantized>> {
        let scheme = self.for_shape(weights.rows(), weights.cols())?;
        if let Some(grid) = scheme.naive_grid(Range::of(weights.values()), arithmetic, dtype) {
            let zeros = if scheme.has_signed_codes() { Vec::new() } else { vec![grid.zero_point()] };
            let codes = grid.codes(weights.values());
            return Ok(Some(Quantized { codes, scales: vec![grid.scale()], zeros, ..Quantized::default() }));
        }
        let quantizer = scheme.quantizer(dtype, Rounding::None);
        Ok(quantizer.map(|quantizer| quantizer.quantize(weights.values(), weights.cols())))
    }

    /// Whether codes are two's complement.
    pub fn has_signed_codes(self) -> bool {
        match self {
            Scheme::Naive { symmetric, .. } => symmetric,
            Scheme::Integers(i) | Scheme::Gptq(i) | Scheme::Awq(i) => i.is_signed(),
            Scheme::LlmInt8 => true,
            _ => false,
        }
    }

    /// The columns of a matrix's codes, if they are its blocks' bytes row after row; `None` if there is a code a weight.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        match self {
            Scheme::Ggml(kind) => Some(cols / kind.block().0 * kind.block().1),
            _ => None,
        }
    }

    fn quantizer(self, dtype: Dtype, arithmetic: Rounding) -> Option<Box<dyn Quantizer>> {
        Some(match self {
            Scheme::Stored | Scheme::Naive { .. } | Scheme::GgufFile(_) | Scheme::MlxMixed { .. } => return None,
            Scheme::Integers(scheme) | Scheme::Gptq(scheme) | Scheme::Awq(scheme) => Box::new(Vectorised(scheme)),
            Scheme::LlmInt8 => Box::new(Vectorised(LlmInt8)),
            Scheme::Block4(scheme) => Box::new(Vectorised(scheme)),
            // A search for each weight: nothing to make vectors of.
            Scheme::Dynamic8(scheme) => Box::new(scheme),
            // Chooses the instruction set itself, for each type.
            Scheme::Ggml(scheme) => Box::new(scheme),
            Scheme::Hqq(scheme) => Box::new(Vectorised(scheme)),
            Scheme::Mlx { bits, group } => {
                Box::new(Vectorised(MlxAffine { bits, group, stored: Rounding::of(dtype), arithmetic }))
            }
            Scheme::Microscaling(scheme) => Box::new(Vectorised(scheme)),
            Scheme::Nvfp4(scheme) => Box::new(Vectorised(scheme)),
            Scheme::Float8(scheme) => Box::new(Vectorised(scheme)),
        })
    }
}

/// Whether no value is infinite or NaN; without a way out, so that the loop becomes vectors.
fn are_finite(values: &[f32]) -> bool {
    values.chunks(1 << 12).all(|part| part.iter().fold(true, |all, v| all & v.is_finite()))
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&registry::name(*self))
    }
}

impl std::str::FromStr for Scheme {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        registry::find(name).ok_or_else(|| {
            Error::Options(format!(
                "{} is not a quantization this version knows; `heavytail schemes` lists them (fp16, 8bit to 2bit, q4_k, nf4, mlx4-g64, ...)",
                quoted(name)
            ))
        })
    }
}

/// Parses a comma-separated list of levels. The baseline comes first, whether it is named or not; a level named twice
/// counts once.
///
/// # Errors
/// [`Error::Options`] for an unknown name.
pub fn parse_levels(list: &str) -> Result<Vec<Scheme>> {
    let mut levels = vec![Scheme::Stored];
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let scheme = name.parse()?;
        if !levels.contains(&scheme) {
            levels.push(scheme);
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in DEFAULT_LEVELS.split(',').chain(["3bit", "7bit-asym"]) {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
        }
        for name in ["1bit", "9bit", "q4_k_x", "", "bit", "-4bit", "4bits"] {
            assert_eq!(name.parse::<Scheme>().unwrap_err().code(), "options");
        }
    }

    #[test]
    fn the_baseline_is_always_there_and_first() {
        assert_eq!(
            parse_levels("4bit, fp16,4bit").unwrap(),
            [Scheme::Stored, Scheme::Naive { bits: 4, symmetric: true }]
        );
        assert_eq!(parse_levels("").unwrap(), [Scheme::Stored]);
    }

    #[test]
    fn a_shape_that_does_not_fit_falls_back_or_says_why_not() {
        let scheme = |name: &str| name.parse::<Scheme>().unwrap();
        let used = |name: &str, cols| scheme(name).for_shape(4, cols).map(|s| s.to_string());
        assert_eq!(used("q4_k", 896).unwrap(), "q5_0");
        assert_eq!(used("q6_k", 896).unwrap(), "q8_0");
        assert_eq!(used("iq4_xs", 896).unwrap(), "iq4_nl");
        assert_eq!(used("q2_k", 100).unwrap(), "f16-cast");
        assert_eq!(used("q4_k", 4864).unwrap(), "q4_k");
        assert_eq!(used("nf4", 100).unwrap(), "nf4");
        for name in ["mlx4-g64", "int4-g64", "mxfp4-floor", "nvfp4", "hqq4-g64", "gptq4-g128-rtn"] {
            let message = used(name, 100).unwrap_err().to_string();
            assert!(message.contains("not applicable") && message.contains("multiple of"), "{message}");
        }
    }
}
