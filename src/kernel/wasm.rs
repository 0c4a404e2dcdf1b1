//! WebAssembly: SIMD128, with relaxed SIMD's multiply-add where the build has it.
//!
//! Browsers compile a function anew only between two calls of it, so the register blocks stay out of line; and they keep
//! the order of the module's instructions. V8 has 15 registers for vectors: two vectors by six rows fill them, where each
//! number of A is loaded just before it is used. LLVM's usual order loads all six first, which spills; `.cargo/config.toml`
//! asks for that of the source.

use super::codes::{CodeGather, CodeGemm, Words};
use super::gemm::Gemm;
use super::lanes::{Lanes, Twice};
#[cfg(target_feature = "relaxed-simd")]
use super::narrow::{Bytes, OfBytes};
use super::{Isa, Job};
use core::arch::wasm32::*;

/// The kernel's name: what the page's feature detection chose.
pub(super) const NAME: &str = if cfg!(target_feature = "relaxed-simd") { "relaxed" } else { "simd128" };

/// Elements of B that stay in the first-level cache beside those of A and C: 12 KiB.
const B_IN_CACHE: usize = 1536;

pub(super) struct Wasm;

impl Isa for Wasm {
    type Oct = Twice<Twice<F64x2>>;
    type Part = Twice<F64x2>;
    const FIXED_STEPS: bool = true;
    #[inline(always)]
    unsafe fn call<J: Job>(job: J) -> J::Output {
        #[inline(never)]
        unsafe fn compiled<J: Job>(job: J) -> J::Output {
            job.run::<Wasm>()
        }
        compiled(job)
    }
    /// Six rows by two vectors, but eight rows by four at a time: 6 and 2 would be slower. All columns of some rows before the
    /// next rows where that leaves B in the first-level cache: A and C go by once, and there is no asking for their lines
    /// beforehand.
    #[inline(always)]
    unsafe fn strips(gemm: &Gemm) {
        let together = if gemm.depth * gemm.columns <= B_IN_CACHE { gemm.columns / 4 } else { 1 };
        for column in (0..gemm.columns).step_by(4 * together) {
            if gemm.rows == 8 {
                gemm.strips::<Self, Twice<F64x2>, 1, 4>(column, together);
            } else {
                gemm.strips::<Self, Twice<F64x2>, 1, 6>(column, together);
            }
        }
    }
}

/// One 128-bit vector.
#[derive(Clone, Copy)]
pub(super) struct F64x2(v128);

impl Lanes for F64x2 {
    const LANES: usize = 2;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(f64x2_splat(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(v128_load(from.cast()))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        v128_store(to.cast(), self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(f64x2_add(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(f64x2_sub(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(f64x2_mul(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(f64x2_div(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // One instruction on x86-64, where the other maximum looks for NaN first.
        Self(f64x2_pmax(other.0, self.0))
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(f64x2_relaxed_madd(self.0, factor.0, addend.0))
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(f64x2_add(f64x2_mul(self.0, factor.0), addend.0))
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(f64x2_relaxed_nmadd(self.0, factor.0, addend.0))
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(f64x2_sub(addend.0, f64x2_mul(self.0, factor.0)))
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        Self(v128_bitselect(floor.0, self.0, f64x2_lt(f64x2_abs(self.0), floor.0)))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        f64x2_extract_lane::<0>(self.0) + f64x2_extract_lane::<1>(self.0)
    }
    /// Two columns at a time.
    #[inline(always)]
    unsafe fn store_sums(columns: [Self; 8], sums: &mut [f64; 8]) {
        for (pair, sums) in columns.as_chunks::<2>().0.iter().zip(sums.as_chunks_mut::<2>().0) {
            let [one, other] = [pair[0].0, pair[1].0];
            let both = f64x2_add(i64x2_shuffle::<0, 2>(one, other), i64x2_shuffle::<1, 3>(one, other));
            v128_store(sums.as_mut_ptr().cast(), both);
        }
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        Self(i64x2_shuffle::<0, 2>(f64x2_splat(x), self.0))
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(f64x2_replace_lane::<0>(self.0, x))
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        f64x2_extract_lane::<0>(self.0)
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        f64x2_extract_lane::<1>(self.0)
    }
}

/// Columns of a block of codes.
pub(super) const CODE_STRIP: usize = 8;

/// Codes: 8 products of 16 bits an instruction.
#[inline(never)]
pub(super) unsafe fn codes(gemm: CodeGemm) {
    gemm.strips::<I32x4, 2, 4>();
}

/// A sparse column of codes.
#[inline(never)]
pub(super) unsafe fn gather(gather: CodeGather) {
    gather.strips::<I32x4, 6>();
}

/// Codes that fit sums of 16 bits: 16 products of 8 bits an instruction.
#[cfg(target_feature = "relaxed-simd")]
#[inline(never)]
pub(super) unsafe fn narrow_codes(gemm: CodeGemm) {
    gemm.narrow_strips::<I32x4, 2, 4>();
}

/// A sparse column of such codes.
#[cfg(target_feature = "relaxed-simd")]
#[inline(never)]
pub(super) unsafe fn gather_narrow(gather: CodeGather) {
    gather.strips::<OfBytes<I32x4>, 6>();
}

#[derive(Clone, Copy)]
struct I32x4(v128);

impl Words for I32x4 {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(i32x4_splat(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(v128_load(from.cast()))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        v128_store(to.cast(), self.0);
    }
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        Self(i32x4_add(sums.0, i32x4_dot_i16x8(left.0, right.0)))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(i32x4_sub(self.0, other.0))
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Bytes for I32x4 {
    /// What is relaxed concerns second operands, here the left one, beyond 7 bits and sums beyond 16; neither occurs.
    #[inline(always)]
    unsafe fn dot_16(left: Self, right: Self, sums: Self) -> Self {
        Self(i16x8_add(sums.0, i16x8_relaxed_dot_i8x16_i7x16(right.0, left.0)))
    }
    #[inline(always)]
    unsafe fn add_halves(halves: Self, sums: Self) -> Self {
        Self(i32x4_add(sums.0, i32x4_extadd_pairwise_i16x8(halves.0)))
    }
}
