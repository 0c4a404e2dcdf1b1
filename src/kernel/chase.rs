//! Bulge chasing: reflectors that turn a band matrix into a tridiagonal one.

use super::lanes::Lanes;
use super::panel::reflector;
use super::{Isa, Job};

/// Begins a sweep: the reflector that clears the band's column `s - 1` below its first subdiagonal element.
pub(super) struct ChaseStart<const OCTETS: usize> {
    /// Address of A\[s, s - 1\].
    pub column: *mut f64,
    /// Gets the b elements of the reflector's vector.
    pub v: *mut f64,
}

impl<const OCTETS: usize> Job for ChaseStart<OCTETS> {
    /// tau
    type Output = f64;
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> f64 {
        let x = load_all::<I, OCTETS>(self.column);
        let (v, beta, tau) = annihilate::<I, OCTETS>(x);
        for octet in 0..OCTETS {
            v[octet].store(self.v.add(8 * octet));
            I::Oct::splat(0.0).store(self.column.add(8 * octet));
        }
        *self.column = beta;
        tau
    }
}

/// `OCTETS` vectors from consecutive memory.
// Loops, not closures: a closure is a function of its own, compiled without the caller's instruction set.
#[inline(always)]
pub(super) unsafe fn load_all<I: Isa, const OCTETS: usize>(from: *const f64) -> [I::Oct; OCTETS] {
    let mut vectors = [I::Oct::splat(0.0); OCTETS];
    for (octet, vector) in vectors.iter_mut().enumerate() {
        *vector = I::Oct::load(from.add(8 * octet));
    }
    vectors
}

/// The reflector that maps `x` to (beta, 0, ..): (v, beta, tau).
#[inline(always)]
pub(super) unsafe fn annihilate<I: Isa, const OCTETS: usize>(x: [I::Oct; OCTETS]) -> ([I::Oct; OCTETS], f64, f64) {
    let mut v = x;
    v[0] = x[0].with_first(0.0);
    let mut squares = v[0].mul(v[0]);
    for octet in 1..OCTETS {
        squares = v[octet].mul_add(v[octet], squares);
    }
    let (beta, tau, inverse) = reflector(x[0].first(), squares.sum());
    for octet in 0..OCTETS {
        v[octet] = v[octet].mul(I::Oct::splat(inverse));
    }
    v[0] = v[0].with_first(1.0);
    (v, beta, tau)
}

/// One step of a sweep, at row and column s of the band.
///
/// With I = s .. s + b and J = s + b .. s + 2b: applies the reflector H = I - tau v v^T to the symmetric block
/// D = A\[I, I\] from both sides and to B = A\[J, I\] from the right, then makes the reflector that clears the first
/// column of B, applies it to B from the left, and leaves it in `v` and `tau` for the next step.
/// D is held whole, and its two triangles stay equal to the bit: w of D's other half would drift otherwise.
///
/// # Cost
/// 12 b^2 flops.
pub(super) struct ChaseStep<const OCTETS: usize> {
    /// Address of A\[s, s\].
    pub block: *mut f64,
    /// Distance of A\[r, c\] and A\[r, c + 1\].
    pub step: usize,
    pub v: *mut f64,
    pub tau: f64,
}

impl<const OCTETS: usize> Job for ChaseStep<OCTETS> {
    /// tau of the next reflector
    type Output = f64;
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> f64 {
        let b = 8 * OCTETS;
        let zero = I::Oct::splat(0.0);
        let tau = I::Oct::splat(self.tau);
        // (D; B) v
        let mut upper = [zero; OCTETS];
        let mut lower = [zero; OCTETS];
        for column in 0..b {
            let at = self.block.add(column * self.step);
            let x = I::Oct::splat(*self.v.add(column));
            for octet in 0..OCTETS {
                upper[octet] = x.mul_add(I::Oct::load(at.add(8 * octet)), upper[octet]);
                lower[octet] = x.mul_add(I::Oct::load(at.add(b + 8 * octet)), lower[octet]);
            }
        }
        let v = load_all::<I, OCTETS>(self.v);
        // The next reflector first: its square root and divisions are the longest wait.
        let mut first = load_all::<I, OCTETS>(self.block.add(b));
        for octet in 0..OCTETS {
            lower[octet] = tau.mul(lower[octet]);
            first[octet] = first[octet].sub(lower[octet]);
        }
        let (next, beta, next_tau) = annihilate::<I, OCTETS>(first);
        // w = tau D v - (tau^2 / 2) (v . D v) v
        let mut vdv = upper[0].mul(v[0]);
        let mut next_u = next[0].mul(lower[0]);
        for octet in 1..OCTETS {
            vdv = upper[octet].mul_add(v[octet], vdv);
            next_u = next[octet].mul_add(lower[octet], next_u);
        }
        let half = I::Oct::splat(0.5 * self.tau * vdv.sum());
        let next_u = I::Oct::splat(next_u.sum());
        let mut w = [zero; OCTETS];
        for octet in 0..OCTETS {
            w[octet] = tau.mul(half.neg_mul_add(v[octet], upper[octet]));
        }
        // z = tau' (v'^T B - (v' . u) v^T): what the next reflector takes from each column of B.
        let mut z = [zero; OCTETS];
        let scale = I::Oct::splat(next_tau);
        for group in 0..OCTETS {
            let mut columns = [zero; 8];
            for (column, product) in columns.iter_mut().enumerate() {
                let at = self.block.add((8 * group + column) * self.step + b);
                *product = next[0].mul(I::Oct::load(at));
                for octet in 1..OCTETS {
                    *product = next[octet].mul_add(I::Oct::load(at.add(8 * octet)), *product);
                }
            }
            z[group] = scale.mul(next_u.neg_mul_add(v[group], I::Oct::sums(columns)));
        }
        let mut w_each = [0.0; 64];
        let mut z_each = [0.0; 64];
        for octet in 0..OCTETS {
            w[octet].store(w_each.as_mut_ptr().add(8 * octet));
            z[octet].store(z_each.as_mut_ptr().add(8 * octet));
        }
        for column in 0..b {
            let at = self.block.add(column * self.step);
            let vc = I::Oct::splat(*self.v.add(column));
            let wc = I::Oct::splat(w_each[column]);
            let zc = I::Oct::splat(z_each[column]);
            for octet in 0..OCTETS {
                // Two products and a sum, not fused: equal when row and column change places.
                let both = v[octet].mul(wc).add(w[octet].mul(vc));
                let place = at.add(8 * octet);
                I::Oct::load(place).sub(both).store(place);
                let place = at.add(b + 8 * octet);
                let right = lower[octet].neg_mul_add(vc, I::Oct::load(place));
                next[octet].neg_mul_add(zc, right).store(place);
            }
        }
        for octet in 0..OCTETS {
            zero.store(self.block.add(b + 8 * octet));
            next[octet].store(self.v.add(8 * octet));
        }
        *self.block.add(b) = beta;
        // The next sweep's D begins a row lower and takes in the first row of B: give it its upper half.
        let mirror = self.block.add(b * self.step);
        for column in 0..b {
            *mirror.add(column) = *self.block.add(column * self.step + b);
        }
        next_tau
    }
}
