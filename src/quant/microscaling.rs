//! Small floats with a scale a group of 16 or 32 columns: OCP MX and NVFP4.

use super::quantized::{Quantized, Quantizer};
use super::rounding::{SmallFloat, abs_max, e2m1_ties_down, log2, power_of_two};

/// What a weight is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 4 bits, up to 6.
    E2M1,
    /// 6 bits, up to 7.5.
    E2M3,
    /// 6 bits, up to 28.
    E3M2,
    /// 8 bits, up to 448.
    E4M3,
    /// 8 bits, up to 57344.
    E5M2,
}

impl Element {
    #[inline(always)]
    fn format(self) -> SmallFloat {
        match self {
            Element::E2M1 => SmallFloat::E2M1,
            Element::E2M3 => SmallFloat::E2M3,
            Element::E3M2 => SmallFloat::E3M2,
            Element::E4M3 => SmallFloat::E4M3,
            Element::E5M2 => SmallFloat::E5M2,
        }
    }

    /// Bits of a code.
    pub fn bits(self) -> u8 {
        match self {
            Element::E2M1 => 4,
            Element::E2M3 | Element::E3M2 => 6,
            Element::E4M3 | Element::E5M2 => 8,
        }
    }
}

/// How the power of two that a group shares comes of its largest magnitude. The tools differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleRule {
    /// The exponent of the largest magnitude, less the element's: the largest may saturate. OCP's own, and ggml's.
    Floor,
    /// One more unless the largest magnitude is a power of two.
    Ceil,
    /// The exponent after rounding the largest magnitude to the element's mantissa.
    Even,
    /// The same, also below 2^-126. compressed-tensors'.
    CompressedTensors,
    /// The smallest power of two that nothing saturates with; the logarithm is f32's. torchao's RCEIL.
    RoundCeil,
    /// The same, with the exact logarithm; a group of zeros has scale 1; ties of E2M1 go to the smaller. MLX's.
    Mlx,
}

/// OCP microscaling: 32 elements share a power of two, kept as a biased exponent byte. bits + 8/32 a weight.
///
/// # Source
/// torchao 0.18.0, compressed-tensors 0.20.0 and MLX 0.32.4, each bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Microscaling {
    /// What a weight is stored as.
    pub element: Element,
    /// How scales are chosen.
    pub rule: ScaleRule,
}

/// Columns that share a scale.
pub(super) const MX_GROUP: usize = 32;

impl Microscaling {
    /// The biased exponent of the group's scale.
    #[inline(always)]
    fn exponent(self, abs_max: f32) -> u8 {
        const BIAS: i32 = 127;
        let format = self.element.format();
        let emax = i32::from(format.max_exponent);
        let bits = abs_max.to_bits();
        let exponent_of = |bits: u32| (bits >> 23) as i32 - BIAS;
        let exponent = match self.rule {
            ScaleRule::Floor => exponent_of(bits) - emax,
            ScaleRule::Ceil => exponent_of(bits) - emax + i32::from(bits & 0x007f_ffff != 0),
            ScaleRule::Even | ScaleRule::CompressedTensors => {
                exponent_of(bits + (1 << (22 - format.mantissa_bits()))) - emax
            }
            ScaleRule::RoundCeil => {
                let log = log2(abs_max / format.max());
                if log.is_finite() { log.ceil().clamp(-127.0, 127.0) as i32 } else { -BIAS }
            }
            ScaleRule::Mlx => {
                let ratio = abs_max / format.max();
                if ratio == 0.0 {
                    0
                } else {
                    let log = libm::log2(f64::from(ratio)).ceil() as i32;
                    log.clamp(-BIAS, BIAS)
                }
            }
        };
        (exponent + BIAS).clamp(0, 254) as u8
    }
}

impl Quantizer for Microscaling {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        let format = self.element.format();
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        for (group, codes) in weights.chunks(MX_GROUP).zip(quantized.codes.chunks_mut(MX_GROUP)) {
            let exponent = self.exponent(abs_max(group));
            let scale = power_of_two(i32::from(exponent) - 127);
            quantized.scale_codes.push(exponent);
            quantized.scales.push(scale);
            if self.rule == ScaleRule::Mlx && self.element == Element::E2M1 {
                for (code, w) in codes.iter_mut().zip(group) {
                    *code = e2m1_ties_down(*w, scale);
                }
            } else {
                let divisor = match self.rule {
                    // torchao does not divide by subnormal numbers; by this rule it multiplies with the reciprocal, or 1.
                    ScaleRule::RoundCeil if exponent == 0 => 1.0,
                    ScaleRule::Floor | ScaleRule::Ceil | ScaleRule::Even => scale.max(f32::MIN_POSITIVE),
                    ScaleRule::RoundCeil | ScaleRule::CompressedTensors | ScaleRule::Mlx => scale,
                };
                for (code, w) in codes.iter_mut().zip(group) {
                    *code = format.encode(format.round(w / divisor));
                }
            }
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        dequantize_groups(self.element.format(), quantized, MX_GROUP, out);
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        true
    }
}

#[inline(always)]
fn dequantize_groups(format: SmallFloat, quantized: &Quantized, group: usize, out: &mut [f32]) {
    for ((out, codes), scale) in out.chunks_mut(group).zip(quantized.codes.chunks(group)).zip(&quantized.scales) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = format.decode(*code) * scale;
        }
    }
}

/// Whose NVFP4: they differ in the scale of the tensor, in rounding, and in the smallest scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nvfp4 {
    /// torchao without a scale of the tensor: group scales below 2^-6 are not used, which ruins small weights.
    Torchao,
    /// torchao with one.
    TorchaoTwoLevel,
    /// compressed-tensors; the result is bfloat16, as its tool returns it.
    CompressedTensors,
    /// MLX without a scale of the tensor.
    Mlx,
    /// MLX with one.
    MlxGlobal,
}

/// Columns that share a scale.
pub(super) const NV_GROUP: usize = 16;

impl Nvfp4 {
    /// Whether the tensor has a scale of its own.
    pub fn has_tensor_scale(self) -> bool {
        matches!(self, Nvfp4::TorchaoTwoLevel | Nvfp4::CompressedTensors | Nvfp4::MlxGlobal)
    }

    /// The tensor's scale in the tool's own form; 1 where there is none.
    #[inline(always)]
    fn tensor_scale(self, abs_max: f32) -> f32 {
        // 448 * 6: the largest scale times the largest element.
        const FULL: f32 = 2688.0;
        match self {
            Nvfp4::Torchao | Nvfp4::Mlx => 1.0,
            Nvfp4::TorchaoTwoLevel => abs_max / FULL,
            // The tool divides a number by a tensor, which torch does by way of the reciprocal.
            Nvfp4::CompressedTensors => (1.0 / abs_max) * FULL,
            Nvfp4::MlxGlobal => abs_max,
        }
    }

    /// The group's scale as stored (E4M3).
    #[inline(always)]
    fn group_scale(self, abs_max: f32, tensor: f32) -> f32 {
        const SMALLEST: f32 = 0.015_625;
        let e4m3 = |v: f32| SmallFloat::E4M3.round(v);
        let scale = abs_max / 6.0;
        match self {
            Nvfp4::Torchao => e4m3(scale.clamp(SMALLEST, 448.0)),
            Nvfp4::TorchaoTwoLevel => e4m3((scale / tensor).clamp(SMALLEST, 448.0)),
            Nvfp4::CompressedTensors => {
                let stored = e4m3(tensor * scale);
                // The tool's smallest scale.
                if stored == 0.0 { 0.125 } else { stored }
            }
            Nvfp4::Mlx => e4m3(scale),
            Nvfp4::MlxGlobal => e4m3(scale * (2688.0 / tensor)),
        }
    }

    /// The scale that an element is multiplied by.
    #[inline(always)]
    fn full_scale(self, stored: f32, tensor: f32) -> f32 {
        match self {
            Nvfp4::Torchao | Nvfp4::Mlx => stored,
            Nvfp4::TorchaoTwoLevel => stored * tensor,
            Nvfp4::CompressedTensors => stored / tensor,
            Nvfp4::MlxGlobal => stored * (tensor / 2688.0),
        }
    }
}

impl Quantizer for Nvfp4 {
    #[inline(always)]
    fn quantize(&self, weights: &[f32], _cols: usize) -> Quantized {
        let element = SmallFloat::E2M1;
        let largest = abs_max(weights);
        let mut quantized = Quantized { codes: vec![0; weights.len()], ..Quantized::default() };
        if largest == 0.0 {
            quantized.scales = vec![0.0; weights.len().div_ceil(NV_GROUP)];
            quantized.scale_codes = vec![0; quantized.scales.len()];
            return quantized;
        }
        let tensor = self.tensor_scale(largest);
        if self.has_tensor_scale() {
            quantized.outer.push(tensor);
        }
        for (group, codes) in weights.chunks(NV_GROUP).zip(quantized.codes.chunks_mut(NV_GROUP)) {
            let stored = self.group_scale(abs_max(group), tensor);
            let scale = self.full_scale(stored, tensor);
            quantized.scale_codes.push(SmallFloat::E4M3.encode(stored));
            quantized.scales.push(scale);
            let each = codes.iter_mut().zip(group);
            match self {
                Nvfp4::Torchao => {
                    let factor = 1.0 / stored;
                    each.for_each(|(code, w)| *code = element.encode(element.round(w * factor)));
                }
                Nvfp4::TorchaoTwoLevel => {
                    let factor = (1.0 / tensor) / stored;
                    each.for_each(|(code, w)| *code = element.encode(element.round(w * factor)));
                }
                Nvfp4::CompressedTensors => {
                    each.for_each(|(code, w)| *code = element.encode(element.round(w / scale)));
                }
                Nvfp4::Mlx | Nvfp4::MlxGlobal if scale == 0.0 => {}
                Nvfp4::Mlx | Nvfp4::MlxGlobal => {
                    each.for_each(|(code, w)| *code = e2m1_ties_down(w / scale, 1.0));
                }
            }
        }
        quantized
    }

    #[inline(always)]
    fn dequantize(&self, quantized: &Quantized, _cols: usize, out: &mut [f32]) {
        dequantize_groups(SmallFloat::E2M1, quantized, NV_GROUP, out);
        if *self == Nvfp4::CompressedTensors {
            for out in out {
                *out = half::bf16::from_f32(*out).to_f32();
            }
        }
    }

    fn is_by_row(&self, _cols: usize) -> bool {
        !self.has_tensor_scale()
    }
}
