//! aarch64: NEON, four 128-bit registers make eight lanes. Every aarch64 processor has it; only the dot
//! product of bytes is detected.

use super::codes::{CodeGather, CodeGemm, Words};
use super::gemm::Gemm;
use super::lanes::{Lanes, Twice};
use super::{Isa, Job};
use core::arch::aarch64::*;

pub(super) struct Neon;

impl Isa for Neon {
    type Oct = Twice<Twice<F64x2>>;
    type Part = Self::Oct;
    #[inline(always)]
    unsafe fn call<J: Job>(job: J) -> J::Output {
        #[inline(never)]
        unsafe fn compiled<J: Job>(job: J) -> J::Output {
            job.run::<Neon>()
        }
        compiled(job)
    }
    /// Four registers by 6 rows: 24 sums, 4 of B, 1 of A are 29 of 32 registers.
    #[inline(always)]
    unsafe fn strips(gemm: &Gemm) {
        for column in (0..gemm.columns).step_by(8) {
            gemm.strip::<Self, Twice<Twice<F64x2>>, 1, 6>(column);
        }
    }
}

/// One 128-bit register.
#[derive(Clone, Copy)]
pub(super) struct F64x2(float64x2_t);

impl Lanes for F64x2 {
    const LANES: usize = 2;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(vdupq_n_f64(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(vld1q_f64(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        vst1q_f64(to, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(vaddq_f64(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(vsubq_f64(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(vmulq_f64(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(vdivq_f64(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(vmaxq_f64(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(vfmaq_f64(addend.0, self.0, factor.0))
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(vfmsq_f64(addend.0, self.0, factor.0))
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        Self(vbslq_f64(vcltq_f64(vabsq_f64(self.0), floor.0), floor.0, self.0))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        vaddvq_f64(self.0)
    }
    /// Two columns at a time.
    #[inline(always)]
    unsafe fn store_sums(columns: [Self; 8], sums: &mut [f64; 8]) {
        for (pair, sums) in columns.as_chunks::<2>().0.iter().zip(sums.as_chunks_mut::<2>().0) {
            vst1q_f64(sums.as_mut_ptr(), vpaddq_f64(pair[0].0, pair[1].0));
        }
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        Self(vextq_f64::<1>(vdupq_n_f64(x), self.0))
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(vsetq_lane_f64::<0>(x, self.0))
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        vgetq_lane_f64::<0>(self.0)
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        vgetq_lane_f64::<1>(self.0)
    }
}

/// Codes: 8 products of 16 bits an instruction pair.
pub(super) unsafe fn codes(gemm: CodeGemm) {
    gemm.strips::<I32x4, 4, 6>();
}

/// A sparse column of codes.
pub(super) unsafe fn gather(gather: CodeGather) {
    gather.strips::<I32x4, 12>();
}

/// Codes with the dot product of bytes (FEAT_DotProd; every Apple Silicon Mac has it): 16 products an instruction.
pub(super) unsafe fn codes_dot(gemm: CodeGemm) {
    gemm.strips::<Dot, 4, 6>();
}

/// A sparse column of codes.
pub(super) unsafe fn gather_dot(gather: CodeGather) {
    gather.strips::<Dot, 12>();
}

/// Words of four codes.
#[derive(Clone, Copy)]
struct Dot(I32x4);

impl Words for Dot {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(I32x4::splat(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(I32x4::load(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        self.0.store(to);
    }
    /// The intrinsic is not stable yet.
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        let (left, right, mut sums) = (left.0.0, right.0.0, sums.0.0);
        core::arch::asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
            sums = inout(vreg) sums,
            left = in(vreg) left,
            right = in(vreg) right,
            options(pure, nomem, nostack, preserves_flags),
        );
        Self(I32x4(sums))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0))
    }
}

#[derive(Clone, Copy)]
struct I32x4(int32x4_t);

impl Words for I32x4 {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(word: i32) -> Self {
        Self(vdupq_n_s32(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(vld1q_s32(from))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        vst1q_s32(to, self.0);
    }
    /// Widening products of the low and the high half, pairs added.
    #[inline(always)]
    unsafe fn dot(left: Self, right: Self, sums: Self) -> Self {
        let (a, b) = (vreinterpretq_s16_s32(left.0), vreinterpretq_s16_s32(right.0));
        let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
        let high = vmull_high_s16(a, b);
        Self(vaddq_s32(sums.0, vpaddq_s32(low, high)))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(vsubq_s32(self.0, other.0))
    }
}
