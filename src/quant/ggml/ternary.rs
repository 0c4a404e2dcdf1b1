//! `TQ1_0` and `TQ2_0`: -1, 0, 1 times the largest magnitude of 256 weights. Made for models trained that way.

use super::{f16_bytes, read_f16, reciprocal};
use crate::quant::integer::to_int;
use crate::quant::rounding::{abs_max, half_away};

/// Scale, and codes from 0 to 2.
#[inline(always)]
fn codes(x: &[f32; 256]) -> (f32, [u8; 256]) {
    let scale = abs_max(x);
    let factor = reciprocal(scale);
    (scale, x.map(|v| to_int(half_away(v * factor).clamp(-1.0, 1.0) + 1.0)))
}

#[inline(always)]
pub(super) fn quantize_tq2_0(x: &[f32; 256], out: &mut [u8; 66]) {
    let (scale, codes) = codes(x);
    for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
        for m in 0..32 {
            out[32 * half + m] = codes[m] | codes[m + 32] << 2 | codes[m + 64] << 4 | codes[m + 96] << 6;
        }
    }
    out[64..].copy_from_slice(&f16_bytes(scale));
}

#[inline(always)]
pub(super) fn dequantize_tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = read_f16([block[64], block[65]]);
    for (j, out) in out.iter_mut().enumerate() {
        let code = block[j / 128 * 32 + j % 32] >> (j % 128 / 32 * 2) & 3;
        *out = (f32::from(code) - 1.0) * d;
    }
}

/// Where bytes of `TQ1_0` take their trits from: (first byte, bytes, first weight, trits). The i-th byte of a run holds
/// weights `first + i + n * bytes`.
const RUNS: [(usize, usize, usize, usize); 3] = [(0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)];

#[inline(always)]
pub(super) fn quantize_tq1_0(x: &[f32; 256], out: &mut [u8; 54]) {
    let (scale, codes) = codes(x);
    for (byte, bytes, weight, trits) in RUNS {
        for i in 0..bytes {
            let mut value = (0..trits).fold(0, |v, n| 3 * v + u32::from(codes[weight + i + n * bytes]));
            if trits == 4 {
                value *= 3;
            }
            // The trits are then the leading base-3 digits of byte / 256.
            out[byte + i] = (value * 256).div_ceil(243) as u8;
        }
    }
    out[52..].copy_from_slice(&f16_bytes(scale));
}

#[inline(always)]
pub(super) fn dequantize_tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    let d = read_f16([block[52], block[53]]);
    for (byte, bytes, weight, trits) in RUNS {
        for i in 0..bytes {
            let mut rest = block[byte + i];
            for n in 0..trits {
                let trit = ((u16::from(rest) * 3) >> 8) as u8;
                rest = rest.wrapping_mul(3);
                out[weight + i + n * bytes] = (f32::from(trit) - 1.0) * d;
            }
        }
    }
}
