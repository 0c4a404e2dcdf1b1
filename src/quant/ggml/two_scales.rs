//! `Q2_K`, `Q4_K`, `Q5_K`: 256 weights in sub-blocks, each with a scale and a minimum that are themselves small integers.

#![expect(clippy::needless_bitwise_bool, reason = "branches would keep lanes from becoming vectors")]

use super::lanes::{Any, Level, Small, are_small, interleave, nearest};
use super::{f16_bytes, read_f16};

/// Sub-blocks that are searched side by side: two super-blocks of `Q4_K` and `Q5_K`, one of `Q2_K`.
const LANES: usize = 16;

/// One number of each of these sub-blocks.
type Lanes = [f32; LANES];

/// The search for a sub-block's scale and minimum.
struct Search {
    /// Highest code.
    highest: f32,
    /// Trial `k` of `0..=steps` has a range of codes longer by `first + step * k`.
    first: f32,
    step: f32,
    steps: u32,
    /// Whether errors are summed by their magnitude or by their square.
    by_magnitude: bool,
}

/// Scale, minimum (as a number to subtract) and codes of sub-blocks.
struct Fit<const N: usize> {
    scales: Lanes,
    minima: Lanes,
    codes: [Lanes; N],
}

/// What a trial's codes sum up to.
struct Sums {
    /// `sum w l`
    l: Lanes,
    /// `sum w l l`
    l2: Lanes,
    /// `sum w l x`
    xl: Lanes,
}

impl Search {
    /// `(weighted error)` of codes under a scale and a minimum.
    #[inline(always)]
    fn error<const N: usize>(
        &self,
        x: &[Lanes; N],
        weights: &[Lanes; N],
        codes: &[Lanes; N],
        scale: &Lanes,
        min: &Lanes,
    ) -> Lanes {
        let mut error = [0.0; LANES];
        for i in 0..N {
            for lane in 0..LANES {
                let e = scale[lane] * codes[i][lane] + min[lane] - x[i][lane];
                let size = if self.by_magnitude { e.abs() } else { e * e };
                error[lane] += weights[i][lane] * size;
            }
        }
        error
    }

    /// The codes under a scale of codes and a minimum, and their sums.
    #[inline(always)]
    fn trial<M: Level, const N: usize>(
        &self,
        x: &[Lanes; N],
        weights: &[Lanes; N],
        codes: &mut [Lanes; N],
        scale: &Lanes,
        min: &Lanes,
    ) -> Sums {
        let mut sums = Sums { l: [0.0; LANES], l2: [0.0; LANES], xl: [0.0; LANES] };
        for i in 0..N {
            for lane in 0..LANES {
                let l = M::level(scale[lane] * (x[i][lane] - min[lane]), 0.0, self.highest);
                let wl = weights[i][lane] * l;
                codes[i][lane] = l;
                sums.l[lane] += wl;
                sums.l2[lane] += wl * l;
                sums.xl[lane] += wl * x[i][lane];
            }
        }
        sums
    }

    /// Fits sub-blocks.
    ///
    /// A trial that is accepted also moves the minimum that later trials start from: the tool does so, and without it a
    /// third to half of all blocks come out otherwise.
    #[inline(always)]
    fn fit<const N: usize>(&self, x: &[Lanes; N], weights: &[Lanes; N]) -> Fit<N> {
        let (mut min, mut max) = (x[0], x[0]);
        let (mut sum_w, mut sum_x) = ([0.0; LANES], [0.0; LANES]);
        for i in 0..N {
            for lane in 0..LANES {
                let v = x[i][lane];
                min[lane] = if v < min[lane] { v } else { min[lane] };
                max[lane] = if v > max[lane] { v } else { max[lane] };
                sum_w[lane] += weights[i][lane];
                sum_x[lane] += weights[i][lane] * v;
            }
        }
        let smallest = min;
        let (mut scale, mut code_scale) = ([0.0; LANES], [0.0; LANES]);
        let mut is_flat = [false; LANES];
        for lane in 0..LANES {
            min[lane] = if min[lane] > 0.0 { 0.0 } else { min[lane] };
            is_flat[lane] = max[lane] == min[lane];
            code_scale[lane] = self.highest / (max[lane] - min[lane]);
            scale[lane] = 1.0 / code_scale[lane];
        }
        let mut code_min = min;
        let mut codes = [[0.0; LANES]; N];
        self.levels(x, &code_scale, &min, &mut codes);
        let mut best = self.error(x, weights, &codes, &scale, &min);
        for k in 0..=self.steps {
            let length = (self.first + self.step * k as f32) + self.highest;
            let (mut trial_scale, mut reach) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                trial_scale[lane] = length / (max[lane] - min[lane]);
                // What is farthest from the minimum, which an accepted trial has moved.
                let (up, down) = ((max[lane] - min[lane]).abs(), (smallest[lane] - min[lane]).abs());
                let farthest = trial_scale[lane].abs() * if down > up { down } else { up };
                // A flat one's codes are no numbers, and neither is its determinant: it stays as it is.
                reach[lane] = if is_flat[lane] { 0.0 } else { farthest };
            }
            let sums = if are_small(&reach) {
                self.trial::<Small, N>(x, weights, &mut codes, &trial_scale, &min)
            } else {
                self.trial::<Any, N>(x, weights, &mut codes, &trial_scale, &min)
            };
            let (mut new_scale, mut new_min, mut is_defined) = ([0.0; LANES], [0.0; LANES], [false; LANES]);
            for lane in 0..LANES {
                let determinant = sum_w[lane] * sums.l2[lane] - sums.l[lane] * sums.l[lane];
                is_defined[lane] = determinant > 0.0;
                let s = (sum_w[lane] * sums.xl[lane] - sum_x[lane] * sums.l[lane]) / determinant;
                let m = (sums.l2[lane] * sum_x[lane] - sums.l[lane] * sums.xl[lane]) / determinant;
                let is_above = m > 0.0;
                new_scale[lane] = if is_above { sums.xl[lane] / sums.l2[lane] } else { s };
                new_min[lane] = if is_above { 0.0 } else { m };
            }
            let error = self.error(x, weights, &codes, &new_scale, &new_min);
            for lane in 0..LANES {
                let is_better = is_defined[lane] & (error[lane] < best[lane]);
                best[lane] = if is_better { error[lane] } else { best[lane] };
                code_scale[lane] = if is_better { trial_scale[lane] } else { code_scale[lane] };
                code_min[lane] = if is_better { min[lane] } else { code_min[lane] };
                scale[lane] = if is_better { new_scale[lane] } else { scale[lane] };
                min[lane] = if is_better { new_min[lane] } else { min[lane] };
            }
        }
        self.levels(x, &code_scale, &code_min, &mut codes);
        let mut minima = [0.0; LANES];
        for lane in 0..LANES {
            scale[lane] = if is_flat[lane] { 0.0 } else { scale[lane] };
            minima[lane] = -min[lane];
            for codes in &mut codes {
                codes[lane] = if is_flat[lane] { 0.0 } else { codes[lane] };
            }
        }
        Fit { scales: scale, minima, codes }
    }

    /// Codes alone.
    #[inline(always)]
    fn levels<const N: usize>(&self, x: &[Lanes; N], scale: &Lanes, min: &Lanes, codes: &mut [Lanes; N]) {
        for i in 0..N {
            for lane in 0..LANES {
                codes[i][lane] = Any::level(scale[lane] * (x[i][lane] - min[lane]), 0.0, self.highest);
            }
        }
    }
}

/// The codes of sub-blocks with the scales as they are stored; where there is none, the searched ones stay.
#[inline(always)]
fn round_again<const N: usize>(x: &[Lanes; N], fit: &mut Fit<N>, scales: &Lanes, minima: &Lanes, highest: f32) {
    for (row, codes) in x.iter().zip(&mut fit.codes) {
        for lane in 0..LANES {
            let l = Any::level((row[lane] + minima[lane]) / scales[lane], 0.0, highest);
            codes[lane] = if scales[lane] == 0.0 { codes[lane] } else { l };
        }
    }
}

/// Largest positive number, 0 without any.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, v| if *v > max { *v } else { max })
}

#[inline(always)]
pub(super) fn quantize_q2_k(x: &[f32; 256], out: &mut [u8; 84]) {
    const SEARCH: Search = Search { highest: 3.0, first: -0.5, step: 0.1, steps: 15, by_magnitude: true };
    const STEPS: f32 = 15.0;
    let x: [Lanes; 16] = interleave(x);
    let mut fit = SEARCH.fit(&x, &x.map(|row| row.map(f32::abs)));
    let (max_scale, max_min) = (largest(&fit.scales), largest(&fit.minima));
    let codes = |values: &Lanes, max: f32| values.map(|v| if max > 0.0 { nearest((STEPS / max) * v) as u8 } else { 0 });
    let (scales, minima) = (codes(&fit.scales, max_scale), codes(&fit.minima, max_min));
    let (d, dmin) = (f16_bytes(max_scale / STEPS), f16_bytes(max_min / STEPS));
    for (j, byte) in out[..16].iter_mut().enumerate() {
        *byte = scales[j] | minima[j] << 4;
    }
    out[80..82].copy_from_slice(&d);
    out[82..].copy_from_slice(&dmin);
    round_again(
        &x,
        &mut fit,
        &scales.map(|s| read_f16(d) * f32::from(s)),
        &minima.map(|m| read_f16(dmin) * f32::from(m)),
        SEARCH.highest,
    );
    let codes: [u8; 256] = std::array::from_fn(|j| fit.codes[j % 16][j / 16] as u8);
    for (bytes, codes) in out[16..80].chunks_mut(32).zip(codes.chunks(128)) {
        for (l, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[l] | codes[l + 32] << 2 | codes[l + 64] << 4 | codes[l + 96] << 6;
        }
    }
}

#[inline(always)]
pub(super) fn dequantize_q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (read_f16([block[80], block[81]]), read_f16([block[82], block[83]]));
    for (j, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[j] & 15);
        let min = dmin * f32::from(block[j] >> 4);
        let (half, quarter) = (j / 8, j % 8 / 2);
        let bytes = &block[16 + half * 32 + j % 2 * 16..][..16];
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = scale * f32::from(byte >> (2 * quarter) & 3) - min;
        }
    }
}

/// Any number of super-blocks of `size` bytes: `pairs` of them, and the last of an odd number twice.
fn in_pairs(size: usize, weights: &[f32], bytes: &mut [u8], pairs: impl Fn(&[f32], &mut [u8])) {
    let (whole, rest) = weights.split_at(weights.len() / 512 * 512);
    let (to, to_rest) = bytes.split_at_mut(whole.len() / 256 * size);
    pairs(whole, to);
    if !rest.is_empty() {
        let mut out = vec![0; 2 * size];
        pairs(&[rest, rest].concat(), &mut out);
        to_rest.copy_from_slice(&out[..size]);
    }
}

/// What `Q4_K` and `Q5_K` share, for two super-blocks: the four bytes of scales' scales and twelve of scales of each, and
/// their codes.
#[inline(always)]
fn quantize_sub_blocks(x: &[f32; 512], search: &Search, heads: [&mut [u8]; 2]) -> [[u8; 256]; 2] {
    const STEPS: f32 = 63.0;
    let x: [Lanes; 32] = interleave(x);
    let mut squares = [0.0; LANES];
    for row in &x {
        for lane in 0..LANES {
            squares[lane] += row[lane] * row[lane];
        }
    }
    let mean = squares.map(|s| (s / 32.0).sqrt());
    let mut weights = [[0.0; LANES]; 32];
    for i in 0..32 {
        for lane in 0..LANES {
            weights[i][lane] = mean[lane] + x[i][lane].abs();
        }
    }
    let mut fit = search.fit(&x, &weights);
    let (mut all_scales, mut all_minima) = ([0.0; LANES], [0.0; LANES]);
    for (half, head) in heads.into_iter().enumerate() {
        let lanes = 8 * half..8 * half + 8;
        let (fitted, fitted_minima) = (&fit.scales[lanes.clone()], &fit.minima[lanes.clone()]);
        let (max_scale, max_min) = (largest(fitted), largest(fitted_minima));
        let (d, dmin) = (f16_bytes(max_scale / STEPS), f16_bytes(max_min / STEPS));
        let factor = |max: f32| if max > 0.0 { STEPS / max } else { 0.0 };
        let codes = |values: &[f32], factor: f32| std::array::from_fn(|j| (nearest(factor * values[j]) as u8).min(63));
        let scales: [u8; 8] = codes(fitted, factor(max_scale));
        let minima: [u8; 8] = codes(fitted_minima, factor(max_min));
        head[..2].copy_from_slice(&d);
        head[2..4].copy_from_slice(&dmin);
        pack_scales(scales, minima, &mut head[4..16]);
        for (j, lane) in lanes.enumerate() {
            all_scales[lane] = read_f16(d) * f32::from(scales[j]);
            all_minima[lane] = read_f16(dmin) * f32::from(minima[j]);
        }
    }
    round_again(&x, &mut fit, &all_scales, &all_minima, search.highest);
    std::array::from_fn(|half| std::array::from_fn(|j| fit.codes[j % 32][8 * half + j / 32] as u8))
}

/// Eight scales and eight minima of six bits in twelve bytes.
#[inline(always)]
fn pack_scales(scales: [u8; 8], minima: [u8; 8], out: &mut [u8]) {
    for j in 0..4 {
        out[j] = scales[j] | scales[j + 4] >> 4 << 6;
        out[j + 4] = minima[j] | minima[j + 4] >> 4 << 6;
        out[j + 8] = scales[j + 4] & 15 | minima[j + 4] << 4;
    }
}

#[inline(always)]
fn unpack_scales(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}

#[inline(always)]
fn pack_low(codes: &[u8; 256], out: &mut [u8]) {
    for (bytes, codes) in out.chunks_mut(32).zip(codes.chunks(64)) {
        for (l, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[l] & 15 | codes[l + 32] << 4;
        }
    }
}

#[inline(always)]
fn dequantize_sub_blocks(head: &[u8], low: &[u8], high: Option<&[u8]>, out: &mut [f32; 256]) {
    let (d, dmin) = (read_f16([head[0], head[1]]), read_f16([head[2], head[3]]));
    for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = unpack_scales(&head[4..16], j);
        let (scale, min) = (d * scale, dmin * min);
        let low = &low[j / 2 * 32..][..32];
        for (l, out) in out.iter_mut().enumerate() {
            let mut code = low[l] >> (4 * (j % 2)) & 15;
            if let Some(high) = high {
                code |= (high[l] >> j & 1) << 4;
            }
            *out = scale * f32::from(code) - min;
        }
    }
}

pub(super) fn quantize_q4_k(weights: &[f32], bytes: &mut [u8]) {
    in_pairs(144, weights, bytes, |x, out| each!(pair_q4_k: [f32; 512] => [u8; 288], x, out));
}

#[inline(always)]
fn pair_q4_k(x: &[f32; 512], out: &mut [u8; 288]) {
    const SEARCH: Search = Search { highest: 15.0, first: -1.0, step: 0.1, steps: 20, by_magnitude: false };
    let (first, second) = out.split_at_mut(144);
    let codes = quantize_sub_blocks(x, &SEARCH, [&mut first[..16], &mut second[..16]]);
    for (codes, out) in codes.iter().zip([first, second]) {
        pack_low(codes, &mut out[16..]);
    }
}

#[inline(always)]
pub(super) fn dequantize_q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    dequantize_sub_blocks(&block[..16], &block[16..], None, out);
}

pub(super) fn quantize_q5_k(weights: &[f32], bytes: &mut [u8]) {
    in_pairs(176, weights, bytes, |x, out| each!(pair_q5_k: [f32; 512] => [u8; 352], x, out));
}

#[inline(always)]
fn pair_q5_k(x: &[f32; 512], out: &mut [u8; 352]) {
    const SEARCH: Search = Search { highest: 31.0, first: -0.5, step: 0.1, steps: 15, by_magnitude: false };
    let (first, second) = out.split_at_mut(176);
    let codes = quantize_sub_blocks(x, &SEARCH, [&mut first[..16], &mut second[..16]]);
    for (codes, out) in codes.iter().zip([first, second]) {
        for l in 0..32 {
            out[16 + l] = (0..8).fold(0, |bits, k| bits | codes[32 * k + l] >> 4 << k);
        }
        pack_low(codes, &mut out[48..]);
    }
}

#[inline(always)]
pub(super) fn dequantize_q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    dequantize_sub_blocks(&block[..16], &block[48..], Some(&block[16..48]), out);
}
