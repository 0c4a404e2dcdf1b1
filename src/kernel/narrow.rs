//! Exact products of codes to 6 bits: bytes, multiplied four to a word, summed in 16 bits and now and then in 32.
//!
//! For instruction sets whose product of bytes has sums of 16 bits; those with sums of 32 bits multiply all codes as bytes.

use super::codes::{CodeGemm, OneWord, Words};

/// A vector whose words are four codes: two sums of 16 bits a word, then one of 32.
///
/// # Safety
/// As for [`Words`].
pub(super) trait Bytes: Words {
    /// sums + the products of the codes, those of a word's halves added up in 16 bits; left is unsigned, of 7 bits.
    unsafe fn dot_16(left: Self, right: Self, sums: Self) -> Self;
    /// sums + the two sums of 16 bits in each word.
    unsafe fn add_halves(halves: Self, sums: Self) -> Self;
}

/// Words of four codes, each word's products added in 32 bits at once.
#[derive(Clone, Copy)]
pub(super) struct OfBytes<B>(B);

impl<B: Bytes> Words for OfBytes<B> {
    const LANES: usize = B::LANES;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(B::splat(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(B::load(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        self.0.store(to);
    }
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        Self(B::add_halves(B::dot_16(left.0, right.0, B::splat(0)), sums.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0))
    }
}

impl Bytes for OneWord {
    #[inline(always)]
    unsafe fn dot_16(left: Self, right: Self, sums: Self) -> Self {
        let (left, right) = (left.0.to_le_bytes(), right.0.to_le_bytes());
        let product = |i: usize| i16::from(left[i]) * i16::from(right[i] as i8);
        let low = (sums.0 as i16).wrapping_add(product(0)).wrapping_add(product(1));
        let high = ((sums.0 >> 16) as i16).wrapping_add(product(2)).wrapping_add(product(3));
        Self(i32::from(low) & 0xffff | i32::from(high) << 16)
    }
    #[inline(always)]
    unsafe fn add_halves(halves: Self, sums: Self) -> Self {
        Self(sums.0.wrapping_add(i32::from(halves.0 as i16)).wrapping_add(halves.0 >> 16))
    }
}

impl CodeGemm {
    /// For codes that fit sums of 16 bits.
    #[inline(always)]
    pub unsafe fn narrow_strips<B: Bytes, const VECTORS: usize, const ROWS: usize>(&self) {
        const { assert!(16 % (VECTORS * B::LANES) == 0, "columns come by sixteens") }
        for column in (0..self.columns).step_by(VECTORS * B::LANES) {
            let mut row = 0;
            while row + ROWS <= self.rows {
                self.narrow_block::<B, VECTORS, ROWS>(row, column);
                row += ROWS;
            }
            while row < self.rows {
                self.narrow_block::<B, VECTORS, 1>(row, column);
                row += 1;
            }
        }
    }

    /// Sums of 16 bits fill the registers; those of 32 bits stay in C and are taken up when they must.
    #[inline(always)]
    unsafe fn narrow_block<B: Bytes, const VECTORS: usize, const ROWS: usize>(&self, row: usize, column: usize) {
        let c = self.c.add(row * self.c_step + column);
        for vector in 0..VECTORS {
            let correction = B::load(self.correction.add(column + vector * B::LANES));
            for row in 0..ROWS {
                let c = c.add(row * self.c_step + vector * B::LANES);
                B::load(c).sub(correction).store(c);
            }
        }
        let mut a = self.a.wrapping_add(row / self.strip * self.a_strip_step + row % self.strip);
        let mut b = self.b.wrapping_add(column / self.strip * self.b_strip_step + column % self.strip);
        let mut left_over = self.words;
        while left_over > 0 {
            let words = left_over.min(self.words_in_16_bits);
            left_over -= words;
            let mut halves = [[B::splat(0); VECTORS]; ROWS];
            for _ in 0..words {
                let mut right = [B::splat(0); VECTORS];
                for vector in 0..VECTORS {
                    right[vector] = B::load(b.add(vector * B::LANES));
                }
                for row in 0..ROWS {
                    let left = B::splat(*a.add(row));
                    for vector in 0..VECTORS {
                        halves[row][vector] = B::dot_16(left, right[vector], halves[row][vector]);
                    }
                }
                a = a.wrapping_add(self.strip);
                b = b.wrapping_add(self.strip);
            }
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    let c = c.add(row * self.c_step + vector * B::LANES);
                    B::add_halves(halves[row][vector], B::load(c)).store(c);
                }
            }
        }
    }
}
