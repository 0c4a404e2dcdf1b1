//! `MXFP4` and `NVFP4` as ggml makes them: of two equally near values the smaller is taken, unlike in the OCP's rounding.

use crate::quant::rounding::{SmallFloat, abs_max, e2m1_ties_down, log2, power_of_two};

#[inline(always)]
fn pack(x: &[f32], scale: f32, out: &mut [u8]) {
    let half = out.len();
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = e2m1_ties_down(x[j], scale) | e2m1_ties_down(x[j + half], scale) << 4;
    }
}

/// Twice the elements, as the tool keeps them; minus zero is zero.
const DOUBLED: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// Elements times twice `half_scale`.
#[inline(always)]
fn unpack(bytes: &[u8], half_scale: f32, out: &mut [f32]) {
    let half = bytes.len();
    for (j, byte) in bytes.iter().enumerate() {
        out[j] = half_scale * DOUBLED[usize::from(byte & 15)];
        out[j + half] = half_scale * DOUBLED[usize::from(byte >> 4)];
    }
}

#[inline(always)]
pub(super) fn quantize_mxfp4(x: &[f32; 32], out: &mut [u8; 17]) {
    let max = abs_max(x);
    // The logarithm is f32's: a magnitude just below a power of two may count as that power.
    // The byte of one below 2^-125 wraps, as in the tool; its block becomes zero.
    out[0] = if max > 0.0 { (log2(max).floor() as i32 - 2 + 127) as u8 } else { 0 };
    pack(x, power_of_two(i32::from(out[0]) - 127), &mut out[1..]);
}

#[inline(always)]
pub(super) fn dequantize_mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // 2^128 is no f32, but half of it times twice the element may be.
    unpack(&block[1..], power_of_two(i32::from(block[0]) - 128), out);
}

/// Positive E4M3 of `value`, halves of the last bit up.
#[inline(always)]
fn scale_code(value: f32) -> u8 {
    const LARGEST: u8 = 0x7e;
    const SMALLEST_NORMAL: f32 = 0.015_625;
    if value <= 0.0 {
        return 0;
    }
    let code = if value < SMALLEST_NORMAL {
        // It does not round up into the normal numbers.
        ((value * 512.0 + 0.5) as u32).min(7)
    } else {
        // Rebias from 127 to 7; the bit below the three of the mantissa decides.
        let bits = value.to_bits();
        (bits >> 20) + (bits >> 19 & 1) - (120 << 3)
    };
    code.min(u32::from(LARGEST)) as u8
}

#[inline(always)]
pub(super) fn quantize_nvfp4(x: &[f32; 64], out: &mut [u8; 36]) {
    let (scales, codes) = out.split_at_mut(4);
    for ((x, scale), codes) in x.as_chunks::<16>().0.iter().zip(scales).zip(codes.chunks_mut(8)) {
        *scale = scale_code(abs_max(x) / 6.0);
        let value = SmallFloat::E4M3.decode(*scale);
        if value == 0.0 {
            codes.fill(0);
        } else {
            pack(x, value, codes);
        }
    }
}

/// A scale has no sign bit; only 0x7f is no number, and counts as zero.
#[inline(always)]
fn scale_of(code: u8) -> f32 {
    match code {
        0x7f => 0.0,
        code => SmallFloat::E4M3.decode(code & 0x7f),
    }
}

#[inline(always)]
pub(super) fn dequantize_nvfp4(block: &[u8; 36], out: &mut [f32; 64]) {
    let (scales, codes) = block.split_at(4);
    for ((out, scale), codes) in out.as_chunks_mut::<16>().0.iter_mut().zip(scales).zip(codes.chunks(8)) {
        unpack(codes, 0.5 * scale_of(*scale), out);
    }
}
