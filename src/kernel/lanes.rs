//! Vectors of `f64` behind one trait, and how to build wide ones from narrow ones.
//!
//! Every algorithm is written once over [`Lanes`]. The arithmetic is defined for eight virtual lanes, whatever the
//! machine's width: a [`Twice`] of narrower vectors does the same operations lane by lane, and sums over the lanes
//! follow one fixed tree. So all instruction sets that fuse multiply and add give the same bits.

/// A vector of `f64` lanes.
///
/// # Safety
/// All functions need the instruction set of the implementing type; `load` and `store` need `LANES` valid elements.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const LANES: usize;
    unsafe fn splat(x: f64) -> Self;
    unsafe fn load(from: *const f64) -> Self;
    unsafe fn store(self, to: *mut f64);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The larger of two lanes, neither NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the instruction set fuses, else twice.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `addend - self * factor`, rounded like [`Lanes::mul_add`].
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self;
    /// Each lane, or `floor` where its magnitude is below `floor`.
    unsafe fn away_from_zero(self, floor: Self) -> Self;
    /// Sum of the lanes: halves are added until one is left, (l, l+4), (l, l+2), (l, l+1).
    unsafe fn sum(self) -> f64;
    /// Moves every lane one place up and puts `x` into lane 0.
    unsafe fn shift_in(self, x: f64) -> Self;
    /// The same vector with lane 0 replaced.
    unsafe fn with_first(self, x: f64) -> Self;
    unsafe fn first(self) -> f64;
    unsafe fn last(self) -> f64;
    /// Lane `j` of vector `i` changes place with lane `i` of vector `j`; only for eight lanes.
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        let mut from = [[0.0; 8]; 8];
        let mut to = [[0.0; 8]; 8];
        for (line, row) in from.iter_mut().zip(rows) {
            row.store(line.as_mut_ptr());
        }
        for i in 0..8 {
            for j in 0..8 {
                to[i][j] = from[j][i];
            }
        }
        let mut columns = rows;
        for (column, line) in columns.iter_mut().zip(&to) {
            *column = Self::load(line.as_ptr());
        }
        columns
    }
    /// Asks for a cache line that will be read soon; any address is allowed.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f64) {}
    /// Lane `j` of the result is `columns[j].sum()`; only for eight lanes.
    #[inline(always)]
    unsafe fn sums(columns: [Self; 8]) -> Self {
        let mut sums = [0.0; 8];
        Self::store_sums(columns, &mut sums);
        Self::load(sums.as_ptr())
    }
    /// `sums[j]` becomes `columns[j].sum()`.
    #[inline(always)]
    unsafe fn store_sums(columns: [Self; 8], sums: &mut [f64; 8]) {
        for (sum, column) in sums.iter_mut().zip(columns) {
            *sum = column.sum();
        }
    }
}

/// Two vectors used as one of double width: the lower lanes first.
#[derive(Clone, Copy)]
pub(super) struct Twice<L>(L, L);

impl<L: Lanes> Lanes for Twice<L> {
    const LANES: usize = 2 * L::LANES;
    #[inline(always)]
    unsafe fn prefetch(from: *const f64) {
        L::prefetch(from);
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(L::splat(x), L::splat(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(L::load(from), L::load(from.add(L::LANES)))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        self.0.store(to);
        self.1.store(to.add(L::LANES));
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0), self.1.sub(other.1))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(self.0.mul(other.0), self.1.mul(other.1))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(self.0.div(other.0), self.1.div(other.1))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0), self.1.max(other.1))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(self.0.mul_add(factor.0, addend.0), self.1.mul_add(factor.1, addend.1))
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(self.0.neg_mul_add(factor.0, addend.0), self.1.neg_mul_add(factor.1, addend.1))
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        Self(self.0.away_from_zero(floor.0), self.1.away_from_zero(floor.1))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        self.0.add(self.1).sum()
    }
    #[inline(always)]
    unsafe fn store_sums(columns: [Self; 8], sums: &mut [f64; 8]) {
        let mut halves = [L::splat(0.0); 8];
        for (half, column) in halves.iter_mut().zip(columns) {
            *half = column.0.add(column.1);
        }
        L::store_sums(halves, sums);
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        Self(self.0.shift_in(x), self.1.shift_in(self.0.last()))
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(self.0.with_first(x), self.1)
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        self.0.first()
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        self.1.last()
    }
}

/// One number as a vector: the portable twin of every instruction set. `FUSED` says whether multiply-add rounds once.
#[derive(Clone, Copy)]
pub(super) struct One<const FUSED: bool>(f64);

impl<const FUSED: bool> Lanes for One<FUSED> {
    const LANES: usize = 1;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(*from)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        *to = self.0;
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        if self.0 > other.0 { self } else { other }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(if FUSED { self.0.mul_add(factor.0, addend.0) } else { self.0 * factor.0 + addend.0 })
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(if FUSED { (-self.0).mul_add(factor.0, addend.0) } else { addend.0 - self.0 * factor.0 })
    }
    #[inline(always)]
    unsafe fn away_from_zero(self, floor: Self) -> Self {
        if self.0.abs() < floor.0 { floor } else { self }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        self.0
    }
    #[inline(always)]
    unsafe fn shift_in(self, x: f64) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn with_first(self, x: f64) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn first(self) -> f64 {
        self.0
    }
    #[inline(always)]
    unsafe fn last(self) -> f64 {
        self.0
    }
}
