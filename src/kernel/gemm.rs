//! C += A B for small blocks: the micro-kernel that does nearly all the work of the Gram product and of the band
//! reduction.

use super::lanes::Lanes;
use super::{Isa, Job};

/// C\[r, c\] += sum over k of A\[r, k\] B\[k, c\], summed in the order of k with one (fused) multiply-add a term,
/// starting from C: an element's value does not depend on how the product is cut into blocks or calls.
///
/// A is read one number at a time with free strides; the rows of C are contiguous, those of B at least by eights.
pub(super) struct Gemm {
    pub rows: usize,
    /// A multiple of 8.
    pub columns: usize,
    pub depth: usize,
    pub a: *const f64,
    pub a_row_step: usize,
    pub a_depth_step: usize,
    pub b: *const f64,
    pub b_step: usize,
    /// Distance of B's columns c and c + 8, c a multiple of 8.
    pub b_octet_step: usize,
    pub c: *mut f64,
    pub c_step: usize,
    /// Memory that the caller will use next, fetched into the cache along the way.
    pub ahead: *const f64,
    pub ahead_length: usize,
}

impl Job for Gemm {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        I::strips(&self);
    }
}

impl Gemm {
    /// All rows of the `VECTORS` vectors of columns that begin at `column`, `ROWS` rows at a time while they last.
    #[inline(always)]
    pub unsafe fn strip<I: Isa, L: Lanes, const VECTORS: usize, const ROWS: usize>(&self, column: usize) {
        self.strips::<I, L, VECTORS, ROWS>(column, 1);
    }

    /// The same of `strips` such strips side by side, each block of rows through all of them before the next.
    #[inline(always)]
    pub unsafe fn strips<I: Isa, L: Lanes, const VECTORS: usize, const ROWS: usize>(
        &self,
        column: usize,
        strips: usize,
    ) {
        debug_assert!(strips == 1 || column.is_multiple_of(8), "octets are counted from the first column");
        let blocks = self.rows / ROWS;
        // Spread over the steps of all whole blocks of the first strips.
        let steps = (blocks * strips * self.depth).max(1);
        let ahead_step = if column == 0 { self.ahead_length.div_ceil(steps) } else { 0 };
        if blocks > 0 {
            self.blocks::<I, L, VECTORS, ROWS>([0, column], [blocks, strips], ahead_step);
        }
        let mut row = blocks * ROWS;
        let left = self.rows - row;
        if left & 8 != 0 {
            self.blocks::<I, L, VECTORS, 8>([row, column], [1, strips], 0);
            row += 8;
        }
        if left & 4 != 0 {
            self.blocks::<I, L, VECTORS, 4>([row, column], [1, strips], 0);
            row += 4;
        }
        if left & 2 != 0 {
            self.blocks::<I, L, VECTORS, 2>([row, column], [1, strips], 0);
            row += 2;
        }
        if left & 1 != 0 {
            self.blocks::<I, L, VECTORS, 1>([row, column], [1, strips], 0);
        }
    }

    #[inline(always)]
    unsafe fn blocks<I: Isa, L: Lanes, const VECTORS: usize, const ROWS: usize>(
        &self,
        [row, column]: [usize; 2],
        [count, strips]: [usize; 2],
        ahead_step: usize,
    ) {
        I::call(Blocks::<L, VECTORS, ROWS> {
            count,
            strips,
            depth: self.depth,
            a: self.a.add(row * self.a_row_step),
            a_row_step: self.a_row_step,
            a_depth_step: self.a_depth_step,
            b: self.b.add(column / 8 * self.b_octet_step + column % 8),
            b_step: self.b_step,
            b_octet_step: self.b_octet_step,
            c: self.c.add(row * self.c_step + column),
            c_step: self.c_step,
            ahead: self.ahead,
            ahead_step,
            lanes: core::marker::PhantomData,
        });
    }
}

/// How many steps of k ahead B is fetched: about 400 cycles.
const PREFETCH: usize = 16;

/// Register blocks of C, side by side and then one below the other. Out of line: a browser compiles a function anew only
/// between two calls of it. And many to a call: where k is short, a call for each would take a tenth of the time.
struct Blocks<L, const VECTORS: usize, const ROWS: usize> {
    /// One below the other.
    count: usize,
    /// Side by side.
    strips: usize,
    depth: usize,
    a: *const f64,
    a_row_step: usize,
    a_depth_step: usize,
    b: *const f64,
    b_step: usize,
    b_octet_step: usize,
    c: *mut f64,
    c_step: usize,
    ahead: *const f64,
    ahead_step: usize,
    lanes: core::marker::PhantomData<L>,
}

impl<L: Lanes, const VECTORS: usize, const ROWS: usize> Job for Blocks<L, VECTORS, ROWS> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // Several vectors are only ever of eight lanes.
        debug_assert!(VECTORS == 1 || L::LANES == 8);
        let mut ahead = self.ahead;
        let (mut a, mut line) = (self.a, self.c);
        for _ in 0..self.count {
            for strip in 0..self.strips {
                let column = strip * VECTORS * L::LANES;
                let b = self.b.wrapping_add(column / 8 * self.b_octet_step + column % 8);
                let c = line.wrapping_add(column);
                let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
                for row in 0..ROWS {
                    for vector in 0..VECTORS {
                        sums[row][vector] = L::load(c.add(row * self.c_step + vector * L::LANES));
                    }
                }
                if I::FIXED_STEPS && self.a_row_step == 1 {
                    self.neighbouring_rows(a, b, &mut sums);
                } else if I::FIXED_STEPS && self.a_depth_step == 1 {
                    self.neighbouring_steps(a, b, &mut sums);
                } else {
                    self.steps(a, b, &mut sums, &mut ahead);
                }
                for row in 0..ROWS {
                    for vector in 0..VECTORS {
                        sums[row][vector].store(c.add(row * self.c_step + vector * L::LANES));
                    }
                }
            }
            a = a.wrapping_add(ROWS * self.a_row_step);
            line = line.wrapping_add(ROWS * self.c_step);
        }
    }
}

impl<L: Lanes, const VECTORS: usize, const ROWS: usize> Blocks<L, VECTORS, ROWS> {
    /// All steps of k of a block.
    #[inline(always)]
    unsafe fn steps(
        &self,
        mut a: *const f64,
        mut b: *const f64,
        sums: &mut [[L; VECTORS]; ROWS],
        ahead: &mut *const f64,
    ) {
        for _ in 0..self.depth {
            let right = self.right(b);
            // The hardware's own prefetch leaves a tenth of the speed when B comes from the second-level cache.
            for vector in 0..VECTORS {
                L::prefetch(b.wrapping_add(PREFETCH * self.b_step + vector * self.b_octet_step));
            }
            L::prefetch(*ahead);
            *ahead = ahead.wrapping_add(self.ahead_step);
            for row in 0..ROWS {
                let left = L::splat(*a.wrapping_add(row * self.a_row_step));
                for vector in 0..VECTORS {
                    sums[row][vector] = left.mul_add(right[vector], sums[row][vector]);
                }
            }
            a = a.wrapping_add(self.a_depth_step);
            b = b.wrapping_add(self.b_step);
        }
    }

    #[inline(always)]
    unsafe fn right(&self, b: *const f64) -> [L; VECTORS] {
        let mut right = [L::splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            right[vector] = L::load(b.wrapping_add(vector * self.b_octet_step));
        }
        right
    }

    /// [`Self::steps`] where A\[r + 1, k\] is the neighbour of A\[r, k\], without prefetching.
    #[inline(always)]
    unsafe fn neighbouring_rows(&self, mut a: *const f64, mut b: *const f64, sums: &mut [[L; VECTORS]; ROWS]) {
        for _ in 0..self.depth {
            let right = self.right(b);
            for row in 0..ROWS {
                let left = L::splat(*a.add(row));
                for vector in 0..VECTORS {
                    sums[row][vector] = left.mul_add(right[vector], sums[row][vector]);
                }
            }
            a = a.wrapping_add(self.a_depth_step);
            b = b.wrapping_add(self.b_step);
        }
    }

    /// [`Self::steps`] where A\[r, k + 1\] is the neighbour of A\[r, k\], without prefetching.
    #[inline(always)]
    unsafe fn neighbouring_steps(&self, a: *const f64, mut b: *const f64, sums: &mut [[L; VECTORS]; ROWS]) {
        let mut rows = [a; ROWS];
        for row in 0..ROWS {
            rows[row] = a.wrapping_add(row * self.a_row_step);
        }
        for _ in 0..self.depth {
            let right = self.right(b);
            for row in 0..ROWS {
                let left = L::splat(*rows[row]);
                rows[row] = rows[row].wrapping_add(1);
                for vector in 0..VECTORS {
                    sums[row][vector] = left.mul_add(right[vector], sums[row][vector]);
                }
            }
            b = b.wrapping_add(self.b_step);
        }
    }
}
