//! `IQ4_NL` and `IQ4_XS`: 16 unevenly spaced values, times a scale for 32 weights.

#![expect(clippy::needless_bitwise_bool, reason = "branches would keep lanes from becoming vectors")]

use super::lanes::{interleave, nearest, signed_max};
use super::{f16_bytes, read_f16, reciprocal};

/// Blocks that are fitted side by side: a super-block of `IQ4_XS`.
const LANES: usize = 8;

/// One number of each of them.
type Lanes = [f32; LANES];

const VALUES: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// Between neighbours: from here on up the upper one is taken.
const MIDPOINTS: [f32; 15] =
    [-115.5, -93.5, -74.0, -57.0, -42.0, -28.5, -16.0, -4.5, 7.0, 19.0, 31.5, 45.5, 61.0, 79.0, 101.0];

/// A block of smaller weights has no scale: the tool's bound.
const TINY: f32 = 1e-15;

#[inline(always)]
fn code_of(v: f32) -> u8 {
    MIDPOINTS.iter().map(|m| u8::from(v >= *m)).sum()
}

/// The value of the nearest code, by adding up the steps to it.
#[inline(always)]
fn value_of(v: f32) -> f32 {
    let mut value = VALUES[0];
    for (i, m) in MIDPOINTS.iter().enumerate() {
        value += if v >= *m { VALUES[i + 1] - VALUES[i] } else { 0.0 };
    }
    value
}

/// `sum w x q` and `sum w q q` over the values `q` that weights have under a factor, `w = x^2`.
#[inline(always)]
fn sums(x: &[Lanes; 32], factor: &Lanes) -> (Lanes, Lanes) {
    let (mut with_x, mut with_q) = ([0.0; LANES], [0.0; LANES]);
    for row in x {
        for lane in 0..LANES {
            let v = row[lane];
            let q = value_of(factor[lane] * v);
            let w = v * v;
            with_x[lane] += w * q * v;
            with_q[lane] += w * q * q;
        }
    }
    (with_x, with_q)
}

/// Scales of eight blocks: one that takes the largest weight to 127, and fifteen around the one that takes it to -127.
#[inline(always)]
fn fit(x: &[Lanes; 32]) -> Lanes {
    let max = signed_max(x);
    let (with_x, with_q) = sums(x, &max.map(|m| 1.0 / (-m / VALUES[0])));
    let (mut scale, mut best) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        scale[lane] = with_x[lane] / with_q[lane];
        best[lane] = scale[lane] * with_x[lane];
    }
    for k in -7_i8..=7 {
        let (with_x, with_q) = sums(x, &max.map(|m| (f32::from(k) + VALUES[0]) / m));
        for lane in 0..LANES {
            let is_better = (with_q[lane] > 0.0) & (with_x[lane] * with_x[lane] > best[lane] * with_q[lane]);
            let new = with_x[lane] / with_q[lane];
            scale[lane] = if is_better { new } else { scale[lane] };
            best[lane] = if is_better { new * with_x[lane] } else { best[lane] };
        }
    }
    for lane in 0..LANES {
        scale[lane] = if max[lane].abs() < TINY { 0.0 } else { scale[lane] };
    }
    scale
}

/// Codes of 32 weights, halves of the block in low and high nibbles.
#[inline(always)]
fn pack(x: &[f32], factor: f32, out: &mut [u8]) {
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = code_of(x[j] * factor) | code_of(x[j + 16] * factor) << 4;
    }
}

/// Any number of blocks, eight at a time.
pub(super) fn quantize_nl(weights: &[f32], bytes: &mut [u8]) {
    let (whole, rest) = weights.split_at(weights.len() / (LANES * 32) * (LANES * 32));
    let (to, to_rest) = bytes.split_at_mut(whole.len() / 32 * 18);
    each!(quantize_eight: [f32; LANES * 32] => [u8; LANES * 18], whole, to);
    if !rest.is_empty() {
        let (mut eight, mut out) = ([0.0; LANES * 32], [0; LANES * 18]);
        eight[..rest.len()].copy_from_slice(rest);
        each!(quantize_eight: [f32; LANES * 32] => [u8; LANES * 18], eight, out);
        to_rest.copy_from_slice(&out[..to_rest.len()]);
    }
}

#[inline(always)]
fn quantize_eight(weights: &[f32; LANES * 32], bytes: &mut [u8; LANES * 18]) {
    let scales = fit(&interleave(weights));
    for ((x, out), scale) in weights.chunks(32).zip(bytes.chunks_mut(18)).zip(scales) {
        out[..2].copy_from_slice(&f16_bytes(scale));
        pack(x, reciprocal(scale), &mut out[2..]);
    }
}

#[inline(always)]
pub(super) fn dequantize_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    unpack(&block[2..], read_f16([block[0], block[1]]), out);
}

#[inline(always)]
fn unpack(bytes: &[u8], scale: f32, out: &mut [f32; 32]) {
    for (j, byte) in bytes.iter().enumerate() {
        out[j] = scale * VALUES[usize::from(byte & 15)];
        out[j + 16] = scale * VALUES[usize::from(byte >> 4)];
    }
}

#[inline(always)]
pub(super) fn quantize_xs(x: &[f32; 256], out: &mut [u8; 136]) {
    let scales = fit(&interleave(x));
    let max = super::signed_max(&scales);
    let d = -max / 32.0;
    let factor = reciprocal(d);
    let (mut low, mut high) = ([0_u8; 4], 0_u16);
    for (j, block) in x.as_chunks::<32>().0.iter().enumerate() {
        let l = nearest(factor * scales[j]).clamp(-32, 31);
        pack(block, reciprocal(d * l as f32), &mut out[8 + 16 * j..][..16]);
        let stored = (l + 32) as u8;
        low[j / 2] |= (stored & 15) << (j % 2 * 4);
        high |= u16::from(stored >> 4) << (2 * j);
    }
    out[..2].copy_from_slice(&f16_bytes(d));
    out[2..4].copy_from_slice(&high.to_le_bytes());
    out[4..8].copy_from_slice(&low);
}

#[inline(always)]
pub(super) fn dequantize_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let stored = block[4 + j / 2] >> (j % 2 * 4) & 15 | ((high >> (2 * j) & 3) as u8) << 4;
        unpack(&block[8 + 16 * j..][..16], d * (f32::from(stored) - 32.0), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_values_and_midpoints_go_up() {
        for (i, pair) in VALUES.windows(2).enumerate() {
            assert_eq!(MIDPOINTS[i], f32::midpoint(pair[0], pair[1]));
            assert_eq!(usize::from(code_of(MIDPOINTS[i])), i + 1);
            assert_eq!(usize::from(code_of(MIDPOINTS[i].next_down())), i);
            assert_eq!(value_of(pair[0]), pair[0]);
        }
        assert_eq!((code_of(-1e9), code_of(1e9), code_of(0.0)), (0, 15, 8));
    }
}
