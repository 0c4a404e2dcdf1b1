//! x86-64: AVX2 with FMA (two 256-bit registers make eight lanes) and AVX-512 (one register).

use super::codes::{CodeGather, CodeGemm, Words};
use super::gemm::Gemm;
use super::lanes::{Lanes, Twice};
use super::narrow::{Bytes, OfBytes};
use super::{Isa, Job};
use core::arch::x86_64::*;

/// AVX2 and FMA.
pub(super) struct Avx2;

impl Isa for Avx2 {
    type Oct = Twice<F64x4>;
    type Part = Self::Oct;
    #[inline(always)]
    unsafe fn call<J: Job>(job: J) -> J::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        unsafe fn compiled<J: Job>(job: J) -> J::Output {
            job.run::<Avx2>()
        }
        compiled(job)
    }
    /// Two registers by 6 rows: 12 sums, 2 of B, 1 of A are 15 of 16 registers.
    #[inline(always)]
    unsafe fn strips(gemm: &Gemm) {
        for column in (0..gemm.columns).step_by(8) {
            gemm.strip::<Self, Twice<F64x4>, 1, 6>(column);
        }
    }
}

/// AVX-512 F, VL, BW and DQ: what every AVX-512 server and desktop processor has.
pub(super) struct Avx512;

impl Isa for Avx512 {
    type Oct = F64x8;
    type Part = Self::Oct;
    #[inline(always)]
    unsafe fn call<J: Job>(job: J) -> J::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
        #[inline(never)]
        unsafe fn compiled<J: Job>(job: J) -> J::Output {
            job.run::<Avx512>()
        }
        compiled(job)
    }
    /// 24 sums in each shape; 32 registers also hold the row of B and one of A.
    #[inline(always)]
    unsafe fn strips(gemm: &Gemm) {
        let mut column = 0;
        while column < gemm.columns {
            let octets = match (gemm.columns - column) / 8 {
                octets @ 1..=4 => octets,
                _ => 3,
            };
            match octets {
                1 => gemm.strip::<Self, F64x8, 1, 16>(column),
                2 => gemm.strip::<Self, F64x8, 2, 12>(column),
                3 => gemm.strip::<Self, F64x8, 3, 8>(column),
                _ => gemm.strip::<Self, F64x8, 4, 6>(column),
            }
            column += 8 * octets;
        }
    }
}

/// One 256-bit register.
#[derive(Clone, Copy)]
pub(super) struct F64x4(__m256d);

impl Lanes for F64x4 {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn prefetch(from: *const f64) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(_mm256_set1_pd(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(_mm256_loadu_pd(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        _mm256_storeu_pd(to, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm256_div_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm256_max_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(_mm256_fmadd_pd(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(_mm256_fnmadd_pd(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        let magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), self.0);
        Self(_mm256_blendv_pd(self.0, floor.0, _mm256_cmp_pd::<_CMP_LT_OQ>(magnitude, floor.0)))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        let pair = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
        _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)))
    }
    /// (l, l+2) of two columns each, then (l, l+1) of four.
    #[inline(always)]
    unsafe fn store_sums(c: [Self; 8], sums: &mut [f64; 8]) {
        #[inline(always)]
        unsafe fn pair(a: F64x4, b: F64x4) -> __m256d {
            let low = _mm256_permute2f128_pd::<0x20>(a.0, b.0);
            _mm256_add_pd(low, _mm256_permute2f128_pd::<0x31>(a.0, b.0))
        }
        for first in [0, 4] {
            let four = _mm256_hadd_pd(pair(c[first], c[first + 2]), pair(c[first + 1], c[first + 3]));
            _mm256_storeu_pd(sums.as_mut_ptr().add(first), four);
        }
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        let up = _mm256_permute4x64_pd::<0b10_01_00_00>(self.0);
        Self(_mm256_blend_pd::<1>(up, _mm256_set1_pd(x)))
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(_mm256_blend_pd::<1>(self.0, _mm256_set1_pd(x)))
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        _mm256_cvtsd_f64(self.0)
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        let high = _mm256_extractf128_pd::<1>(self.0);
        _mm_cvtsd_f64(_mm_unpackhi_pd(high, high))
    }
}

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct F64x8(__m512d);

impl Lanes for F64x8 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn prefetch(from: *const f64) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(_mm512_set1_pd(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(_mm512_loadu_pd(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        _mm512_storeu_pd(to, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm512_div_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm512_max_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(_mm512_fmadd_pd(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(_mm512_fnmadd_pd(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        let below = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(_mm512_abs_pd(self.0), floor.0);
        Self(_mm512_mask_mov_pd(self.0, below, floor.0))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        F64x4(_mm256_add_pd(_mm512_castpd512_pd256(self.0), _mm512_extractf64x4_pd::<1>(self.0))).sum()
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        let low = _mm512_castpd_si512(_mm512_set1_pd(x));
        Self(_mm512_castsi512_pd(_mm512_alignr_epi64::<7>(_mm512_castpd_si512(self.0), low)))
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(_mm512_mask_mov_pd(self.0, 1, _mm512_set1_pd(x)))
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        _mm512_cvtsd_f64(self.0)
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        F64x4(_mm512_extractf64x4_pd::<1>(self.0)).last()
    }
    /// Three rounds of eight shuffles: pairs, quarters, halves.
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        // Columns 0 2 4 6 and 1 3 5 7 of two rows, then 0 4 / 2 6 / .. of four, then one column of eight.
        let mut pairs = [[rows[0].0; 4]; 2];
        for i in 0..4 {
            pairs[0][i] = _mm512_unpacklo_pd(rows[2 * i].0, rows[2 * i + 1].0);
            pairs[1][i] = _mm512_unpackhi_pd(rows[2 * i].0, rows[2 * i + 1].0);
        }
        let mut columns = rows;
        for odd in 0..2 {
            let [a, b, c, d] = pairs[odd];
            let (ab, cd) = (_mm512_shuffle_f64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_f64x2::<0b10_00_10_00>(c, d));
            columns[odd] = Self(_mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd));
            columns[odd + 4] = Self(_mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd));
            let (ab, cd) = (_mm512_shuffle_f64x2::<0b11_01_11_01>(a, b), _mm512_shuffle_f64x2::<0b11_01_11_01>(c, d));
            columns[odd + 2] = Self(_mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd));
            columns[odd + 6] = Self(_mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd));
        }
        columns
    }
    /// Three rounds of adding halves, two columns sharing a register more in each: 14 shuffles and 7 additions.
    #[inline(always)]
    unsafe fn sums(c: [Self; 8]) -> Self {
        /// (l, l+4): four lanes of two columns.
        #[inline(always)]
        unsafe fn quarter(a: F64x8, b: F64x8) -> __m512d {
            let low = _mm512_shuffle_f64x2::<0b01_00_01_00>(a.0, b.0);
            _mm512_add_pd(low, _mm512_shuffle_f64x2::<0b11_10_11_10>(a.0, b.0))
        }
        /// (l, l+2): two lanes of four columns.
        #[inline(always)]
        unsafe fn pair(a: __m512d, b: __m512d) -> __m512d {
            let low = _mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
            _mm512_add_pd(low, _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b))
        }
        let even = pair(quarter(c[0], c[2]), quarter(c[4], c[6]));
        let odd = pair(quarter(c[1], c[3]), quarter(c[5], c[7]));
        Self(_mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd)))
    }
}

/// Codes with VNNI: four products a word, unsigned times signed.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni")]
pub(super) unsafe fn codes_vnni(gemm: CodeGemm) {
    gemm.strips::<I32x16, 3, 8>();
}

/// Codes with AVX2: two products of 16 bits a word.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn codes_avx2(gemm: CodeGemm) {
    gemm.strips::<I32x8, 2, 6>();
}

/// Codes that fit sums of 16 bits, with AVX2: four products a word.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn narrow_codes(gemm: CodeGemm) {
    gemm.narrow_strips::<I32x8, 2, 6>();
}

/// A sparse column of such codes.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn gather_narrow(gather: CodeGather) {
    gather.strips::<OfBytes<I32x8>, 6>();
}

/// A sparse column of codes with VNNI.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni")]
pub(super) unsafe fn gather_vnni(gather: CodeGather) {
    gather.strips::<I32x16, 3>();
}

/// A sparse column of codes with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn gather_avx2(gather: CodeGather) {
    gather.strips::<I32x8, 6>();
}

#[derive(Clone, Copy)]
struct I32x16(__m512i);

impl Words for I32x16 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(_mm512_set1_epi32(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(_mm512_loadu_si512(from.cast()))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        _mm512_storeu_si512(to.cast(), self.0);
    }
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        Self(_mm512_dpbusd_epi32(sums.0, left.0, right.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_epi32(self.0, other.0))
    }
}

#[derive(Clone, Copy)]
struct I32x8(__m256i);

impl Words for I32x8 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(_mm256_set1_epi32(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(_mm256_loadu_si256(from.cast()))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        _mm256_storeu_si256(to.cast(), self.0);
    }
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        Self(_mm256_add_epi32(sums.0, _mm256_madd_epi16(left.0, right.0)))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_epi32(self.0, other.0))
    }
}

impl Bytes for I32x8 {
    #[inline(always)]
    unsafe fn dot_16(left: Self, right: Self, sums: Self) -> Self {
        Self(_mm256_add_epi16(sums.0, _mm256_maddubs_epi16(left.0, right.0)))
    }
    #[inline(always)]
    unsafe fn add_halves(halves: Self, sums: Self) -> Self {
        Self(_mm256_add_epi32(sums.0, _mm256_madd_epi16(halves.0, _mm256_set1_epi16(1))))
    }
}
