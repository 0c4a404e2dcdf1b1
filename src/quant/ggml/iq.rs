//! IQ1, IQ2 and IQ3: groups of weights looked up in tables, with signs and scales apart. Read only: making them takes an
//! importance matrix, which takes activations.
//!
//! # Source
//! The layouts and the order of roundings are the package gguf's, which the tests compare with bit for bit.

use super::read_f16;

/// The tables, a row of values in two little-endian bytes (`tests/reference/ggml_grids.py` makes the file).
const GRIDS: &[u8; 9216] = include_bytes!("grids.bin");

/// What a table's codes stand for, and where in [`GRIDS`] it begins.
#[derive(Clone, Copy)]
struct Grid {
    first_row: usize,
    values: &'static [f32],
}

const OF_TWO: &[f32] = &[8.0, 25.0, 43.0];
const IQ2_XXS: Grid = Grid { first_row: 0, values: OF_TWO };
const IQ2_XS: Grid = Grid { first_row: 256, values: OF_TWO };
const IQ2_S: Grid = Grid { first_row: 768, values: OF_TWO };
const IQ3_XXS: Grid = Grid { first_row: 1792, values: &[4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0] };
const IQ3_S: Grid = Grid { first_row: 2048, values: &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0] };
const IQ1: Grid = Grid { first_row: 2560, values: &[-1.0, 0.0, 1.0] };

impl Grid {
    /// Row `index`: eight values of 2 bits, or four of 4.
    fn row<const N: usize>(self, index: usize) -> [f32; N] {
        let at = 2 * (self.first_row + index);
        let codes = u16::from_le_bytes([GRIDS[at], GRIDS[at + 1]]);
        let bits = 16 / N;
        // Codes beyond the values do not occur in the tables.
        std::array::from_fn(|i| self.values[usize::from(codes >> (bits * i)) & ((1 << bits) - 1)])
    }
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The signs of eight weights from seven bits: the eighth makes the number of minuses even.
fn even_signs(bits: u32) -> u8 {
    let bits = (bits & 127) as u8;
    bits | (bits.count_ones() as u8 & 1) << 7
}

fn nibble(bytes: &[u8], i: usize) -> f32 {
    f32::from(bytes[i / 2] >> (4 * (i % 2)) & 15)
}

/// `scale * value`, negated where the bit of `signs` is set.
fn signed(scale: f32, values: [f32; 8], signs: u8, out: &mut [f32; 8]) {
    for (i, (out, value)) in out.iter_mut().zip(values).enumerate() {
        *out = scale * value * if signs >> i & 1 == 0 { 1.0 } else { -1.0 };
    }
}

fn two_rows(grid: Grid, first: usize, second: usize) -> [f32; 8] {
    let (a, b) = (grid.row::<4>(first), grid.row::<4>(second));
    std::array::from_fn(|i| if i < 4 { a[i] } else { b[i - 4] })
}

pub(super) fn dequantize_iq2_xxs(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let at = 2 + g / 4 * 8;
        let rest = read_u32(block, at + 4);
        let scale = d * (0.5 + (rest >> 28) as f32) * 0.25;
        signed(scale, IQ2_XXS.row(block[at + g % 4].into()), even_signs(rest >> (7 * (g % 4))), out);
    }
}

pub(super) fn dequantize_iq2_xs(block: &[u8; 74], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let code = read_u16(block, 2 + 2 * g);
        let scale = d * (0.5 + nibble(&block[66..], g / 2)) * 0.25;
        signed(scale, IQ2_XS.row(usize::from(code & 511)), even_signs(u32::from(code >> 9)), out);
    }
}

pub(super) fn dequantize_iq2_s(block: &[u8; 82], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    let (low, signs, high, scales) = (&block[2..34], &block[34..66], &block[66..74], &block[74..]);
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let row = usize::from(low[g]) | usize::from(high[g / 4] >> (2 * (g % 4)) & 3) << 8;
        signed(d * (0.5 + nibble(scales, g / 2)) * 0.25, IQ2_S.row(row), signs[g], out);
    }
}

pub(super) fn dequantize_iq3_xxs(block: &[u8; 98], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let rest = read_u32(block, 66 + g / 4 * 4);
        let scale = d * (0.5 + (rest >> 28) as f32) * 0.5;
        let values = two_rows(IQ3_XXS, block[2 + 2 * g].into(), block[3 + 2 * g].into());
        signed(scale, values, even_signs(rest >> (7 * (g % 4))), out);
    }
}

pub(super) fn dequantize_iq3_s(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    let (low, high, signs, scales) = (&block[2..66], &block[66..74], &block[74..106], &block[106..]);
    let row = |i: usize| usize::from(low[i]) | usize::from(high[i / 8] >> (i % 8) & 1) << 8;
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let scale = d * (1.0 + 2.0 * nibble(scales, g / 4));
        signed(scale, two_rows(IQ3_S, row(2 * g), row(2 * g + 1)), signs[g], out);
    }
}

/// What IQ1 adds to each value, one sign for a group.
const DELTA: f32 = 0.125;

fn shifted(scale: f32, row: usize, is_negative: bool, out: &mut [f32; 8]) {
    let delta = if is_negative { -DELTA } else { DELTA };
    *out = IQ1.row::<8>(row).map(|value| scale * (value + delta));
}

pub(super) fn dequantize_iq1_s(block: &[u8; 50], out: &mut [f32; 256]) {
    let d = read_f16([block[0], block[1]]);
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let high = read_u16(block, 34 + g / 4 * 2);
        let row = usize::from(block[2 + g]) | usize::from(high >> (3 * (g % 4)) & 7) << 8;
        shifted(d * f32::from(2 * (high >> 12 & 7) + 1), row, high & 0x8000 != 0, out);
    }
}

pub(super) fn dequantize_iq1_m(block: &[u8; 56], out: &mut [f32; 256]) {
    let (low, high, scales) = (&block[..32], &block[32..48], &block[48..]);
    // A nibble of the f16 scale is on top of each of four words.
    let d = (0..4).fold(0, |bits, i| bits | (read_u16(scales, 2 * i) >> 12) << (4 * i));
    let d = half::f16::from_bits(d).to_f32();
    for (g, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let scale = d * f32::from(2 * (read_u16(scales, g / 8 * 2) >> (g / 2 % 4 * 3) & 7) + 1);
        let high = high[g / 2] >> (4 * (g % 2));
        shifted(scale, usize::from(low[g]) | usize::from(high & 7) << 8, high & 8 != 0, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_known_codes_only_and_end_where_the_file_ends() {
        assert_eq!(2 * (IQ1.first_row + 2048), GRIDS.len());
        for (grid, rows, bits) in
            [(IQ2_XXS, 256, 2), (IQ2_XS, 512, 2), (IQ2_S, 1024, 2), (IQ3_XXS, 256, 4), (IQ3_S, 512, 4), (IQ1, 2048, 2)]
        {
            for row in 0..rows {
                let codes = read_u16(GRIDS, 2 * (grid.first_row + row));
                for i in 0..16 / bits {
                    assert!(usize::from(codes >> (bits * i) & ((1 << bits) - 1)) < grid.values.len());
                }
            }
        }
    }

    #[test]
    fn the_number_of_minuses_is_even() {
        assert!((0..128).all(|bits| even_signs(bits).count_ones().is_multiple_of(2)));
    }
}
