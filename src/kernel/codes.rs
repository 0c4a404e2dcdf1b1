//! Exact products of 8-bit codes, summed in 32-bit integers.

use super::narrow::OfBytes;
use super::{Kernel, PORTABLE, Set};

/// Columns in a panel of packed codes.
pub const CODE_PANEL: usize = 48;

/// How a kernel wants codes packed: `group` consecutive k of one column make a 32-bit word (four bytes, or two 16-bit
/// numbers, the first in the low bits); words are [CODE_PANEL / strip, k / group, strip].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// 4 or 2.
    pub group: usize,
    /// Columns whose words are neighbours: [`CODE_PANEL`], or what one block reads, so that it reads its cache lines whole.
    pub strip: usize,
    /// The left operand is unsigned: its codes are stored plus this, and the caller takes so many times the column sums of
    /// the right operand off again. 0: it is signed.
    pub left_offset: u8,
    /// Products of so many words fit sums of 16 bits, which are added up in 32 bits afterwards; 0: products are added in 32
    /// bits at once.
    pub words_in_16_bits: usize,
}

/// The largest magnitude for which sums of 16 bits are worth it: that of 6-bit codes. 63 would still fit the left operand.
const NARROW: u8 = 32;

impl CodeLayout {
    /// 16-bit pairs, added in 32 bits.
    fn pairs(strip: usize) -> Self {
        Self { group: 2, strip, left_offset: 0, words_in_16_bits: 0 }
    }

    /// Bytes of magnitude at most `largest`, added in 16 bits as long as they fit: a word's two sums are of two
    /// products, each at most (2 largest) largest. The left operand has 7 bits.
    fn narrow(strip: usize, largest: u8) -> Self {
        debug_assert!(largest <= NARROW);
        let product = 4 * largest as usize * largest as usize;
        // Zeros can go on for ever.
        let words_in_16_bits = (i16::MAX as usize).checked_div(product).unwrap_or(usize::MAX);
        Self { group: 4, strip, left_offset: largest, words_in_16_bits }
    }

    /// From a strip to the next in a panel of so many words.
    pub fn strip_step(self, panel: usize) -> usize {
        panel / CODE_PANEL * self.strip
    }
}

/// A vector of 32-bit words.
///
/// # Safety
/// As for the lanes of `f64`.
pub(super) trait Words: Copy {
    const LANES: usize;
    unsafe fn splat(word: i32) -> Self;
    unsafe fn load(from: *const i32) -> Self;
    unsafe fn store(self, to: *mut i32);
    /// sums + the products of the codes in each word; wraps modulo 2^32.
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
}

/// One block: C\[r, c\] += sum over k of A\[r, k\] B\[c, k\] - correction\[c\], rows and columns of one panel each.
#[derive(Clone, Copy)]
pub(super) struct CodeGemm {
    pub words: usize,
    pub rows: usize,
    /// A multiple of 16.
    pub columns: usize,
    /// As [`CodeLayout::strip`].
    pub strip: usize,
    pub a: *const i32,
    /// From a strip of A to the next.
    pub a_strip_step: usize,
    pub b: *const i32,
    pub b_strip_step: usize,
    pub correction: *const i32,
    pub c: *mut i32,
    pub c_step: usize,
    /// As [`CodeLayout::words_in_16_bits`].
    pub words_in_16_bits: usize,
}

impl CodeGemm {
    #[inline(always)]
    pub unsafe fn strips<W: Words, const VECTORS: usize, const ROWS: usize>(&self) {
        let mut column = 0;
        while column + VECTORS * W::LANES <= self.columns {
            self.rows::<W, VECTORS, ROWS>(column);
            column += VECTORS * W::LANES;
        }
        while column < self.columns {
            self.rows::<W, 1, ROWS>(column);
            column += W::LANES;
        }
    }

    #[inline(always)]
    unsafe fn rows<W: Words, const VECTORS: usize, const ROWS: usize>(&self, column: usize) {
        let mut row = 0;
        while row + ROWS <= self.rows {
            self.block::<W, VECTORS, ROWS>(row, column);
            row += ROWS;
        }
        while row < self.rows {
            self.block::<W, VECTORS, 1>(row, column);
            row += 1;
        }
    }

    #[inline(always)]
    unsafe fn block<W: Words, const VECTORS: usize, const ROWS: usize>(&self, row: usize, column: usize) {
        let c = self.c.add(row * self.c_step + column);
        let mut sums = [[W::splat(0); VECTORS]; ROWS];
        for vector in 0..VECTORS {
            let correction = W::load(self.correction.add(column + vector * W::LANES));
            for row in 0..ROWS {
                sums[row][vector] = W::load(c.add(row * self.c_step + vector * W::LANES)).sub(correction);
            }
        }
        let mut a = self.a.wrapping_add(row / self.strip * self.a_strip_step + row % self.strip);
        let mut b = self.b.wrapping_add(column / self.strip * self.b_strip_step + column % self.strip);
        for _ in 0..self.words {
            let mut right = [W::splat(0); VECTORS];
            for vector in 0..VECTORS {
                right[vector] = W::load(b.add(vector * W::LANES));
            }
            for row in 0..ROWS {
                let left = W::splat(*a.add(row));
                for vector in 0..VECTORS {
                    sums[row][vector] = W::dot(left, right[vector], sums[row][vector]);
                }
            }
            a = a.wrapping_add(self.strip);
            b = b.wrapping_add(self.strip);
        }
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                sums[row][vector].store(c.add(row * self.c_step + vector * W::LANES));
            }
        }
    }
}

/// A word of the sparse operand of [`CodeKernel::gather`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeEntry {
    /// Which word of its column.
    pub word: u32,
    /// Its codes.
    pub codes: i32,
}

/// C\[c\] += sum over entries of A\[word, c\] . codes - correction, for all columns c of a panel A.
#[derive(Clone, Copy)]
pub(super) struct CodeGather<'a> {
    pub entries: &'a [CodeEntry],
    /// As [`CodeLayout::strip`].
    pub strip: usize,
    pub a: *const i32,
    pub a_strip_step: usize,
    pub correction: i32,
    pub c: *mut i32,
}

impl CodeGather<'_> {
    #[inline(always)]
    pub unsafe fn strips<W: Words, const VECTORS: usize>(&self) {
        for column in (0..CODE_PANEL).step_by(VECTORS * W::LANES) {
            let mut sums = [W::splat(0); VECTORS];
            let mut places = [0; VECTORS];
            for vector in 0..VECTORS {
                let column = column + vector * W::LANES;
                sums[vector] = W::load(self.c.add(column)).sub(W::splat(self.correction));
                places[vector] = column / self.strip * self.a_strip_step + column % self.strip;
            }
            for entry in self.entries {
                let right = W::splat(entry.codes);
                let a = self.a.add(entry.word as usize * self.strip);
                for vector in 0..VECTORS {
                    sums[vector] = W::dot(W::load(a.add(places[vector])), right, sums[vector]);
                }
            }
            for vector in 0..VECTORS {
                sums[vector].store(self.c.add(column + vector * W::LANES));
            }
        }
    }
}

/// Two 16-bit codes or four bytes in a word, multiplied one at a time: the portable twin.
#[derive(Clone, Copy)]
pub(super) struct OneWord(pub i32);

impl Words for OneWord {
    const LANES: usize = 1;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(word)
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(*from)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        *to = self.0;
    }
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        let low = i32::from(left.0 as i16) * i32::from(right.0 as i16);
        let high = (left.0 >> 16) * (right.0 >> 16);
        Self(sums.0.wrapping_add(low).wrapping_add(high))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

/// The kernels for codes up to a magnitude. Made only by [`Kernel::codes`], from what the processor has.
#[derive(Clone, Copy, Debug)]
pub struct CodeKernel {
    set: Set,
    layout: CodeLayout,
}

impl Kernel {
    /// This kernel for codes whose magnitude is at most `largest`.
    pub fn codes(self, largest: u8) -> CodeKernel {
        let layout = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 if is_x86_feature_detected!("avx512vnni") => {
                CodeLayout { group: 4, strip: CODE_PANEL, left_offset: 128, words_in_16_bits: 0 }
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Avx2 if largest <= NARROW => CodeLayout::narrow(CODE_PANEL, largest),
            #[cfg(target_arch = "aarch64")]
            Set::Neon if std::arch::is_aarch64_feature_detected!("dotprod") => {
                CodeLayout { group: 4, ..CodeLayout::pairs(CODE_PANEL) }
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Set::Wasm if largest <= NARROW => CodeLayout::narrow(super::wasm::CODE_STRIP, largest),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Set::Wasm => CodeLayout::pairs(super::wasm::CODE_STRIP),
            Set::Scalar | Set::ScalarFused if largest <= NARROW => CodeLayout::narrow(CODE_PANEL, largest),
            _ => CodeLayout::pairs(CODE_PANEL),
        };
        CodeKernel { set: self.0, layout }
    }
}

impl CodeKernel {
    /// How codes are packed.
    pub fn layout(self) -> CodeLayout {
        self.layout
    }

    /// C \[rows, columns\] += A B^T - correction for the first words of panels A and B, packed alike (see
    /// [`CodeLayout`]), wrapping modulo 2^32; `rows` and `columns` at most [`CODE_PANEL`], `columns` a multiple of 16.
    ///
    /// # Panics
    /// If a slice is too short for the shape.
    ///
    /// # Cost
    /// 2 group words rows columns integer operations.
    pub fn gemm(
        self,
        [rows, columns, words]: [usize; 3],
        a: &[i32],
        b: &[i32],
        correction: &[i32],
        c: &mut [i32],
        c_step: usize,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(rows <= CODE_PANEL && columns <= CODE_PANEL && columns.is_multiple_of(16));
        assert!(words <= a.len().min(b.len()) / CODE_PANEL && correction.len() >= columns);
        assert!(c_step >= columns && c.len() >= columns && (rows - 1) <= (c.len() - columns) / c_step);
        let layout = self.layout;
        let gemm = CodeGemm {
            words,
            rows,
            columns,
            strip: layout.strip,
            a: a.as_ptr(),
            a_strip_step: layout.strip_step(a.len()),
            b: b.as_ptr(),
            b_strip_step: layout.strip_step(b.len()),
            correction: correction.as_ptr(),
            c: c.as_mut_ptr(),
            c_step,
            words_in_16_bits: layout.words_in_16_bits,
        };
        // SAFETY: the lengths are checked above; a CodeKernel exists only where its instruction set does.
        unsafe {
            match self.set {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 if layout.left_offset == 128 => super::x86::codes_vnni(gemm),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 | Set::Avx2 if layout.group == 4 => super::x86::narrow_codes(gemm),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 | Set::Avx2 => super::x86::codes_avx2(gemm),
                #[cfg(target_arch = "aarch64")]
                Set::Neon if layout.group == 4 => super::aarch64::codes_dot(gemm),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => super::aarch64::codes(gemm),
                #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
                Set::Wasm if layout.group == 4 => super::wasm::narrow_codes(gemm),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Set::Wasm => super::wasm::codes(gemm),
                Set::Scalar | Set::ScalarFused if !PORTABLE => unreachable!("no such kernel is made"),
                Set::Scalar | Set::ScalarFused if layout.group == 4 => gemm.narrow_strips::<OneWord, 4, 2>(),
                Set::Scalar | Set::ScalarFused => gemm.strips::<OneWord, 4, 2>(),
            }
        }
    }

    /// C\[c\] += sum over k of A\[k, c\] b\[k\] - correction for a packed panel A and a sparse column b, whose words are
    /// packed like a right operand; A is packed like a left one. Wraps modulo 2^32.
    ///
    /// # Panics
    /// If a word is beyond the panel.
    ///
    /// # Cost
    /// 2 group words CODE_PANEL integer operations, at about half the rate of [`CodeKernel::gemm`].
    pub fn gather(self, entries: &[CodeEntry], a: &[i32], correction: i32, c: &mut [i32; CODE_PANEL]) {
        let words = a.len() / CODE_PANEL;
        assert!(entries.iter().all(|entry| (entry.word as usize) < words));
        let layout = self.layout;
        let a_strip_step = layout.strip_step(a.len());
        let gather =
            CodeGather { entries, strip: layout.strip, a: a.as_ptr(), a_strip_step, correction, c: c.as_mut_ptr() };
        // SAFETY: every word's row of the panel is inside, as checked above; a CodeKernel exists only where its instruction
        // set does.
        unsafe {
            match self.set {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 if layout.left_offset == 128 => super::x86::gather_vnni(gather),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 | Set::Avx2 if layout.group == 4 => super::x86::gather_narrow(gather),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 | Set::Avx2 => super::x86::gather_avx2(gather),
                #[cfg(target_arch = "aarch64")]
                Set::Neon if layout.group == 4 => super::aarch64::gather_dot(gather),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => super::aarch64::gather(gather),
                #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
                Set::Wasm if layout.group == 4 => super::wasm::gather_narrow(gather),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Set::Wasm => super::wasm::gather(gather),
                Set::Scalar | Set::ScalarFused if !PORTABLE => unreachable!("no such kernel is made"),
                Set::Scalar | Set::ScalarFused if layout.group == 4 => gather.strips::<OfBytes<OneWord>, 4>(),
                Set::Scalar | Set::ScalarFused => gather.strips::<OneWord, 4>(),
            }
        }
    }
}
