//! `Q6_K` and `Q3_K`: 16 sub-blocks of 16 weights, each with a signed scale that is itself a small integer.

#![expect(clippy::needless_bitwise_bool, reason = "branches would keep lanes from becoming vectors")]

use super::lanes::{Any, Level, Small, are_small, interleave, nearest, signed_max};
use super::{f16_bytes, read_f16};
use crate::quant::integer::to_int;

/// A block of smaller weights has no scale: the tool's bound.
const TINY: f32 = 1e-15;

/// Sub-blocks of a super-block, which are searched side by side.
const LANES: usize = 16;

/// One number of each of them.
type Lanes = [f32; LANES];

/// Scales and codes (from 0) of the sub-blocks one after another; a sub-block without a scale has codes 0.
struct Fit {
    scales: Lanes,
    codes: [f32; 256],
}

/// Weights by sub-block, `[place][sub-block]`, with `w = x^2` and `w x`.
struct Turned {
    x: [Lanes; 16],
    w: [Lanes; 16],
    wx: [Lanes; 16],
    /// The first weight of the largest magnitude.
    max: Lanes,
}

impl Turned {
    #[inline(always)]
    fn new(x: &[f32; 256]) -> Self {
        let x: [Lanes; 16] = interleave(x);
        let w = x.map(|row| row.map(|v| v * v));
        let wx = std::array::from_fn(|i| std::array::from_fn(|lane| w[i][lane] * x[i][lane]));
        let max = signed_max(&x);
        Self { x, w, wx, max }
    }

    /// `sum w x l` and `sum w l l` of the codes that a factor gives.
    #[inline(always)]
    fn sums(&self, factor: &Lanes, half: f32) -> (Lanes, Lanes) {
        // What a block without a scale gives is not looked at.
        let reach = std::array::from_fn(|lane| {
            let size = self.max[lane].abs();
            if size < TINY { 0.0 } else { factor[lane].abs() * size }
        });
        if are_small::<LANES>(&reach) { self.sums_by::<Small>(factor, half) } else { self.sums_by::<Any>(factor, half) }
    }

    #[inline(always)]
    fn sums_by<M: Level>(&self, factor: &Lanes, half: f32) -> (Lanes, Lanes) {
        let (mut with_x, mut with_l) = ([0.0; LANES], [0.0; LANES]);
        for i in 0..16 {
            for lane in 0..LANES {
                let l = M::level(factor[lane] * self.x[i][lane], -half, half - 1.0);
                with_x[lane] += self.wx[i][lane] * l;
                with_l[lane] += self.w[i][lane] * l * l;
            }
        }
        (with_x, with_l)
    }
}

/// Nineteen scales around the one that takes the largest weight to -32; the one that explains most wins.
#[inline(always)]
fn fit_q6(blocks: &[f32; 256]) -> Fit {
    const HALF: f32 = 32.0;
    let turned = Turned::new(blocks);
    let max = turned.max;
    let mut best_factor = max.map(|m| -32.0 / m);
    let (with_x, with_l) = turned.sums(&best_factor, HALF);
    let (mut scale, mut best) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        scale[lane] = if with_l[lane] == 0.0 { 0.0 } else { with_x[lane] / with_l[lane] };
        best[lane] = scale[lane] * with_x[lane];
    }
    for k in (-9_i8..=9).filter(|k| *k != 0) {
        let reach = -(32.0 + 0.1_f32 * f32::from(k));
        let factor = max.map(|m| reach / m);
        let (with_x, with_l) = turned.sums(&factor, HALF);
        for lane in 0..LANES {
            let is_better = (with_l[lane] > 0.0) & (with_x[lane] * with_x[lane] > best[lane] * with_l[lane]);
            let new = with_x[lane] / with_l[lane];
            scale[lane] = if is_better { new } else { scale[lane] };
            best[lane] = if is_better { new * with_x[lane] } else { best[lane] };
            best_factor[lane] = if is_better { factor[lane] } else { best_factor[lane] };
        }
    }
    let mut fit = Fit { scales: [0.0; LANES], codes: [0.0; 256] };
    for (lane, codes) in fit.codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        if max[lane].abs() >= TINY {
            fit.scales[lane] = scale[lane];
            for (code, v) in codes.iter_mut().zip(&blocks[16 * lane..]) {
                *code = Any::level(best_factor[lane] * v, -HALF, HALF - 1.0) + HALF;
            }
        }
    }
    fit
}

/// Codes for the largest weight at -4, then up to five passes that move single codes while that explains more.
#[inline(always)]
fn fit_q3(blocks: &[f32; 256]) -> Fit {
    const HALF: f32 = 4.0;
    let turned = Turned::new(blocks);
    let max = turned.max;
    let factor = max.map(|m| -4.0 / m);
    let (with_x, with_l) = turned.sums(&factor, HALF);
    let mut fit = Fit { scales: [0.0; LANES], codes: [0.0; 256] };
    let each = blocks.as_chunks::<16>().0.iter().zip(fit.codes.as_chunks_mut::<16>().0);
    for (lane, (x, codes)) in each.enumerate() {
        if max[lane].abs() >= TINY {
            let mut signed = x.map(|v| Any::level(factor[lane] * v, -HALF, HALF - 1.0));
            fit.scales[lane] = descend_q3(x, &mut signed, with_x[lane], with_l[lane]);
            *codes = signed.map(|code| code + HALF);
        }
    }
    fit
}

/// One sub-block on its own: codes rarely move, so all of its weights are tried at once with the sums as they are, and again
/// after each move. `a` and `b` are the sums of the codes; the scale is returned.
#[inline(always)]
fn descend_q3(x: &[f32; 16], codes: &mut [f32; 16], mut a: f32, mut b: f32) -> f32 {
    const PASSES: usize = 5;
    let w = x.map(|v| v * v);
    let wx: [f32; 16] = std::array::from_fn(|i| w[i] * x[i]);
    let (mut pass, mut start) = (0, 0);
    let mut new_codes = [0.0; 16];
    loop {
        let next = next_move((x, &w, &wx), codes, (a, b), start, &mut new_codes);
        // The next one may be in the next pass.
        pass += usize::from(next >= 16);
        if next == NONE || pass == PASSES {
            break;
        }
        let i = next % 16;
        let (l, n) = (codes[i], new_codes[i]);
        a = (a - wx[i] * l) + wx[i] * n;
        b = (b - w[i] * l * l) + w[i] * n * n;
        codes[i] = n;
        start = i + 1;
    }
    if b > 0.0 { a / b } else { 0.0 }
}

/// No code moves any more.
const NONE: usize = 32;

/// The first weight from `start` on whose code should move, counting on over the end; and where each would.
#[inline(always)]
fn next_move(
    (x, w, wx): (&[f32; 16], &[f32; 16], &[f32; 16]),
    codes: &[f32; 16],
    (a, b): (f32, f32),
    start: usize,
    new_codes: &mut [f32; 16],
) -> usize {
    const HALF: f32 = 4.0;
    let mut places = [NONE as i32; 16];
    for i in 0..16 {
        let l = codes[i];
        let (a_without, b_without) = (a - wx[i] * l, b - w[i] * l * l);
        let n = Any::level(x[i] * b_without / a_without, -HALF, HALF - 1.0);
        let (new_a, new_b) = (a_without + wx[i] * n, b_without + w[i] * n * n);
        new_codes[i] = n;
        let moves = (a_without > 0.0) & (n != l) & (new_b > 0.0) & (new_a * new_a * b > a * a * new_b);
        let place = i as i32 + if (i as i32) < start as i32 { 16 } else { 0 };
        places[i] = if moves { place } else { NONE as i32 };
    }
    places.into_iter().fold(NONE as i32, i32::min) as usize
}

/// All 256 codes, rounded again with the scales as they are stored; where there is none, the searched ones stay.
#[inline(always)]
fn round_again(x: &[f32; 256], fit: &Fit, scales: &[f32; 16], half: f32) -> [u8; 256] {
    let mut codes = [0; 256];
    for (j, (codes, x)) in codes.as_chunks_mut::<16>().0.iter_mut().zip(x.as_chunks::<16>().0).enumerate() {
        let searched = &fit.codes[16 * j..][..16];
        for i in 0..16 {
            let l = Any::level(x[i] / scales[j], -half, half - 1.0) + half;
            codes[i] = to_int(if scales[j] == 0.0 { searched[i] } else { l });
        }
    }
    codes
}

#[inline(always)]
pub(super) fn quantize_q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    let fit = fit_q6(x);
    let scales = fit.scales;
    let max = super::signed_max(&scales);
    if max.abs() < TINY {
        out.fill(0);
        return;
    }
    let factor = -128.0 / max;
    let d = f16_bytes(1.0 / factor);
    let scale_codes = scales.map(|s| nearest(factor * s).min(127) as i8);
    let codes = round_again(x, &fit, &scale_codes.map(|s| read_f16(d) * f32::from(s)), 32.0);
    let (low, rest) = out.split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
        for l in 0..32 {
            let [a, b, c, d] = [codes[l], codes[l + 32], codes[l + 64], codes[l + 96]];
            low[64 * half + l] = a & 15 | c << 4;
            low[64 * half + l + 32] = b & 15 | d << 4;
            high[32 * half + l] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
        }
    }
    for (byte, code) in rest.iter_mut().zip(scale_codes) {
        *byte = code as u8;
    }
    rest[16..].copy_from_slice(&d);
}

#[inline(always)]
pub(super) fn dequantize_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, rest) = block.split_at(128);
    let (high, scales) = rest.split_at(64);
    let d = read_f16([block[208], block[209]]);
    for (j, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[j] as i8);
        let (half, quarter) = (j / 8, j % 8 / 2);
        let low = &low[64 * half + quarter % 2 * 32 + j % 2 * 16..][..16];
        let high = &high[32 * half + j % 2 * 16..][..16];
        for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
            let code = low >> (quarter / 2 * 4) & 15 | (high >> (2 * quarter) & 3) << 4;
            *out = scale * (f32::from(code) - 32.0);
        }
    }
}

#[inline(always)]
pub(super) fn quantize_q3_k(x: &[f32; 256], out: &mut [u8; 110]) {
    let fit = fit_q3(x);
    let scales = fit.scales;
    let max = super::signed_max(&scales);
    let (packed, d) = out[96..].split_at_mut(12);
    packed.fill(0);
    let mut scale_codes = [-32_i32; 16];
    if max == 0.0 {
        d.fill(0);
    } else {
        let factor = -32.0 / max;
        d.copy_from_slice(&f16_bytes(1.0 / factor));
        for (j, code) in scale_codes.iter_mut().enumerate() {
            *code = nearest(factor * scales[j]).clamp(-32, 31);
            let stored = (*code + 32) as u8;
            packed[j % 8] |= (stored & 15) << (j / 8 * 4);
            packed[8 + j % 4] |= stored >> 4 << (j / 4 * 2);
        }
    }
    let d = read_f16([d[0], d[1]]);
    let codes = round_again(x, &fit, &scale_codes.map(|s| d * s as f32), 4.0);
    let (mask, low) = out[..96].split_at_mut(32);
    for (m, byte) in mask.iter_mut().enumerate() {
        *byte = (0..8).fold(0, |bits, k| bits | codes[32 * k + m] >> 2 << k);
    }
    for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
        for l in 0..32 {
            low[32 * half + l] = (0..4).fold(0, |bits, quarter| bits | (codes[32 * quarter + l] & 3) << (2 * quarter));
        }
    }
}

#[inline(always)]
pub(super) fn dequantize_q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (mask, rest) = block.split_at(32);
    let (low, packed) = rest.split_at(64);
    let d = read_f16([block[108], block[109]]);
    for (j, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let stored = packed[j % 8] >> (j / 8 * 4) & 15 | (packed[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
        let scale = d * (f32::from(stored) - 32.0);
        let (half, quarter, first) = (j / 8, j % 8 / 2, j % 2 * 16);
        for (i, out) in out.iter_mut().enumerate() {
            let low = low[32 * half + first + i] >> (2 * quarter) & 3;
            let high = (mask[first + i] >> (j / 2) & 1) << 2;
            *out = scale * (f32::from(low | high) - 4.0);
        }
    }
}
