//! The types of 32 weights (64 and 128 for two rare ones) with a scale, or a scale and a minimum. The scale is stored in f16;
//! codes are computed with the scale as it was before.

use super::{f16_bytes, read_f16, reciprocal, signed_max};
use crate::quant::integer::to_int;
use crate::quant::rounding::{abs_max, half_away, min_max};

#[inline(always)]
pub(super) fn store_f32([v]: &[f32; 1], out: &mut [u8; 4]) {
    *out = v.to_le_bytes();
}

#[inline(always)]
pub(super) fn load_f32(bytes: &[u8; 4], out: &mut [f32; 1]) {
    *out = [f32::from_le_bytes(*bytes)];
}

#[inline(always)]
pub(super) fn store_f16([v]: &[f32; 1], out: &mut [u8; 2]) {
    *out = f16_bytes(*v);
}

#[inline(always)]
pub(super) fn load_f16(bytes: &[u8; 2], out: &mut [f32; 1]) {
    *out = [read_f16(*bytes)];
}

#[inline(always)]
pub(super) fn store_bf16([v]: &[f32; 1], out: &mut [u8; 2]) {
    *out = half::bf16::from_f32(*v).to_le_bytes();
}

#[inline(always)]
pub(super) fn load_bf16(bytes: &[u8; 2], out: &mut [f32; 1]) {
    *out = [half::bf16::from_le_bytes(*bytes).to_f32()];
}

/// Whole part of a number from 0 to 2^22.
#[inline(always)]
fn floor(value: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    let nearest = (value + MAGIC) - MAGIC;
    if nearest > value { nearest - 1.0 } else { nearest }
}

/// Where the scale's reciprocal overflows, the tool converts infinity to an integer, which C does not define; on x86-64 it
/// becomes 0. The stored scale is 0 as well.
const UNDEFINED: [u8; 32] = [0; 32];

/// Codes of 4 bits: the first half of the block in the low nibbles, the second in the high ones.
#[inline(always)]
fn pack_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = (codes[j] & 15) | (codes[j + 16] << 4);
    }
}

/// The fifth bits of the codes.
#[inline(always)]
fn pack_fifth(codes: &[u8; 32]) -> [u8; 4] {
    codes.iter().enumerate().fold(0_u32, |bits, (j, code)| bits | (u32::from(code >> 4 & 1) << j)).to_le_bytes()
}

#[inline(always)]
fn nibble(bytes: &[u8], j: usize) -> u8 {
    if j < 16 { bytes[j] & 15 } else { bytes[j - 16] >> 4 }
}

#[inline(always)]
fn fifth(bits: &[u8], j: usize) -> u8 {
    (bits[j / 8] >> (j % 8) & 1) << 4
}

/// Codes around `half` with the scale `M / -half`, `M` the first weight of the largest magnitude.
#[inline(always)]
fn centred(x: &[f32; 32], half: f32) -> (f32, [u8; 32]) {
    let scale = signed_max(x) / -half;
    let factor = reciprocal(scale);
    let highest = 2.0 * half - 1.0;
    if !factor.is_finite() {
        return (scale, UNDEFINED);
    }
    (scale, x.map(|v| to_int(floor((v * factor + (half + 0.5)).clamp(0.0, 64.0)).min(highest))))
}

#[inline(always)]
pub(super) fn quantize_q4_0(x: &[f32; 32], out: &mut [u8; 18]) {
    let (scale, codes) = centred(x, 8.0);
    out[..2].copy_from_slice(&f16_bytes(scale));
    pack_nibbles(&codes, &mut out[2..]);
}

#[inline(always)]
pub(super) fn dequantize_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = read_f16([block[0], block[1]]);
    for (j, out) in out.iter_mut().enumerate() {
        *out = (f32::from(nibble(&block[2..], j)) - 8.0) * scale;
    }
}

#[inline(always)]
pub(super) fn quantize_q5_0(x: &[f32; 32], out: &mut [u8; 22]) {
    let (scale, codes) = centred(x, 16.0);
    out[..2].copy_from_slice(&f16_bytes(scale));
    out[2..6].copy_from_slice(&pack_fifth(&codes));
    pack_nibbles(&codes, &mut out[6..]);
}

#[inline(always)]
pub(super) fn dequantize_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = read_f16([block[0], block[1]]);
    for (j, out) in out.iter_mut().enumerate() {
        *out = (f32::from(nibble(&block[6..], j) | fifth(&block[2..6], j)) - 16.0) * scale;
    }
}

/// Codes from the smallest weight on.
#[inline(always)]
fn from_minimum(x: &[f32; 32], highest: f32) -> (f32, f32, [u8; 32]) {
    let (min, max) = min_max(x);
    let scale = (max - min) / highest;
    let factor = reciprocal(scale);
    if !factor.is_finite() {
        return (scale, min, UNDEFINED);
    }
    (scale, min, x.map(|v| to_int(floor(((v - min) * factor + 0.5).clamp(0.0, 64.0)).min(highest))))
}

#[inline(always)]
pub(super) fn quantize_q4_1(x: &[f32; 32], out: &mut [u8; 20]) {
    let (scale, min, codes) = from_minimum(x, 15.0);
    out[..2].copy_from_slice(&f16_bytes(scale));
    out[2..4].copy_from_slice(&f16_bytes(min));
    pack_nibbles(&codes, &mut out[4..]);
}

#[inline(always)]
pub(super) fn dequantize_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, min) = (read_f16([block[0], block[1]]), read_f16([block[2], block[3]]));
    for (j, out) in out.iter_mut().enumerate() {
        *out = f32::from(nibble(&block[4..], j)) * scale + min;
    }
}

#[inline(always)]
pub(super) fn quantize_q5_1(x: &[f32; 32], out: &mut [u8; 24]) {
    let (scale, min, codes) = from_minimum(x, 31.0);
    out[..2].copy_from_slice(&f16_bytes(scale));
    out[2..4].copy_from_slice(&f16_bytes(min));
    out[4..8].copy_from_slice(&pack_fifth(&codes));
    pack_nibbles(&codes, &mut out[8..]);
}

#[inline(always)]
pub(super) fn dequantize_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, min) = (read_f16([block[0], block[1]]), read_f16([block[2], block[3]]));
    for (j, out) in out.iter_mut().enumerate() {
        *out = f32::from(nibble(&block[8..], j) | fifth(&block[4..8], j)) * scale + min;
    }
}

#[inline(always)]
pub(super) fn quantize_q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let scale = abs_max(x) / 127.0;
    let factor = reciprocal(scale);
    out[..2].copy_from_slice(&f16_bytes(scale));
    if !factor.is_finite() {
        out[2..].copy_from_slice(&UNDEFINED);
        return;
    }
    for (byte, v) in out[2..].iter_mut().zip(x) {
        *byte = to_int(half_away((v * factor).clamp(-128.0, 127.0)));
    }
}

#[inline(always)]
pub(super) fn dequantize_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = read_f16([block[0], block[1]]);
    for (out, code) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(*code as i8) * scale;
    }
}

#[inline(always)]
pub(super) fn quantize_q2_0(x: &[f32; 64], out: &mut [u8; 18]) {
    let scale = abs_max(x);
    let factor = reciprocal(scale);
    out[..2].copy_from_slice(&f16_bytes(scale));
    for (byte, values) in out[2..].iter_mut().zip(x.as_chunks::<4>().0) {
        let codes = values.map(|v| to_int((half_away(v * factor) + 1.0).clamp(0.0, 3.0)));
        *byte = codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6;
    }
}

#[inline(always)]
pub(super) fn dequantize_q2_0(block: &[u8; 18], out: &mut [f32; 64]) {
    let scale = read_f16([block[0], block[1]]);
    for (j, out) in out.iter_mut().enumerate() {
        *out = (f32::from(block[2 + j / 4] >> (2 * (j % 4)) & 3) - 1.0) * scale;
    }
}

#[inline(always)]
pub(super) fn quantize_q1_0(x: &[f32; 128], out: &mut [u8; 18]) {
    let sum = x.iter().fold(0.0_f32, |sum, v| sum + v.abs());
    out[..2].copy_from_slice(&f16_bytes(sum / 128.0));
    for (byte, values) in out[2..].iter_mut().zip(x.as_chunks::<8>().0) {
        *byte = values.iter().enumerate().fold(0, |bits, (j, v)| bits | (u8::from(*v >= 0.0) << j));
    }
}

#[inline(always)]
pub(super) fn dequantize_q1_0(block: &[u8; 18], out: &mut [f32; 128]) {
    let scale = read_f16([block[0], block[1]]);
    for (j, out) in out.iter_mut().enumerate() {
        *out = if block[2 + j / 8] >> (j % 8) & 1 == 1 { scale } else { -scale };
    }
}
