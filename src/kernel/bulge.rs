//! Bulge chasing from both sides: reflectors that turn an upper band matrix into a bidiagonal one.

use super::chase::{annihilate, each, load_all};
use super::lanes::Lanes;
use super::{Isa, Job, WIDEST};

/// One step of a sweep, at row and column s of the band.
///
/// With I = s .. s + b and J = s + b .. s + 2b: applies the reflector H = I - tau v v^T to D = A\[I, I\] from the right;
/// makes the reflector that clears the first column of D below its first element and applies it to D and E = A\[I, J\]
/// from the left; makes the reflector that clears the first row of E after its first element, applies it to E from the
/// right, and leaves it in `v` and as the result for the next step.
///
/// # Cost
/// 16 b^2 flops.
pub(super) struct BulgeStep<const OCTETS: usize> {
    /// Address of A\[s, s\]; rows are contiguous.
    pub block: *mut f64,
    /// Distance of A\[r, c\] and A\[r + 1, c\].
    pub step: usize,
    pub v: *mut f64,
    pub tau: f64,
}

impl<const OCTETS: usize> Job for BulgeStep<OCTETS> {
    /// tau of the next reflector
    type Output = f64;
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> f64 {
        const { assert!(8 * OCTETS <= WIDEST) };
        let b = 8 * OCTETS;
        let zero = I::Oct::splat(0.0);
        let v = load_all::<I, OCTETS>(self.v);
        // D H = D - w v^T
        let w = products::<I, OCTETS>(self.block, self.step, v, I::Oct::splat(self.tau), zero, [zero; OCTETS]);
        let mut column = [0.0; WIDEST];
        for row in 0..b {
            column[row] = *self.block.add(row * self.step);
        }
        let mut first = load_all::<I, OCTETS>(column.as_ptr());
        for octet in 0..OCTETS {
            // v begins with one.
            first[octet] = first[octet].sub(w[octet]);
        }
        let (u, beta, left_tau) = annihilate::<I, OCTETS>(first);
        let (u_each, w_each) = (each::<I, OCTETS>(u), each::<I, OCTETS>(w));
        let (u_each, w_each) = (u_each.as_ptr().cast::<f64>(), w_each.as_ptr().cast::<f64>());
        // What the left reflector takes from each column: tau u^T (D H) and tau u^T E.
        let mut diagonal = [zero; OCTETS];
        let mut beside = [zero; OCTETS];
        for row in 0..b {
            let at = self.block.add(row * self.step);
            let x = I::Oct::splat(*u_each.add(row));
            for octet in 0..OCTETS {
                diagonal[octet] = x.mul_add(I::Oct::load(at.add(8 * octet)), diagonal[octet]);
                beside[octet] = x.mul_add(I::Oct::load(at.add(b + 8 * octet)), beside[octet]);
            }
        }
        let scale = I::Oct::splat(left_tau);
        let uw = I::Oct::splat(dot::<I, OCTETS>(u, w));
        let mut head = load_all::<I, OCTETS>(self.block.add(b));
        for octet in 0..OCTETS {
            diagonal[octet] = scale.mul(uw.neg_mul_add(v[octet], diagonal[octet]));
            beside[octet] = scale.mul(beside[octet]);
            // u begins with one.
            head[octet] = head[octet].sub(beside[octet]);
        }
        let (next, next_beta, next_tau) = annihilate::<I, OCTETS>(head);
        // (E - u beside) H' = E - u beside - y next^T
        let across = I::Oct::splat(dot::<I, OCTETS>(beside, next));
        let y = products::<I, OCTETS>(self.block.add(b), self.step, next, I::Oct::splat(next_tau), across, u);
        let y_each = each::<I, OCTETS>(y);
        let y_each = y_each.as_ptr().cast::<f64>();
        for row in 0..b {
            let at = self.block.add(row * self.step);
            let (ur, wr, yr) =
                (I::Oct::splat(*u_each.add(row)), I::Oct::splat(*w_each.add(row)), I::Oct::splat(*y_each.add(row)));
            for octet in 0..OCTETS {
                let place = at.add(8 * octet);
                let right = wr.neg_mul_add(v[octet], I::Oct::load(place));
                ur.neg_mul_add(diagonal[octet], right).store(place);
                let place = at.add(b + 8 * octet);
                let left = ur.neg_mul_add(beside[octet], I::Oct::load(place));
                yr.neg_mul_add(next[octet], left).store(place);
            }
        }
        // What was cleared is zero, not nearly.
        for row in 0..b {
            *self.block.add(row * self.step) = 0.0;
        }
        *self.block = beta;
        for octet in 0..OCTETS {
            zero.store(self.block.add(b + 8 * octet));
            next[octet].store(self.v.add(8 * octet));
        }
        *self.block.add(b) = next_beta;
        next_tau
    }
}

/// scale (A x - factor u) for the b rows of A that begin at `at`, `step` apart.
#[inline(always)]
unsafe fn products<I: Isa, const OCTETS: usize>(
    at: *const f64,
    step: usize,
    x: [I::Oct; OCTETS],
    scale: I::Oct,
    factor: I::Oct,
    u: [I::Oct; OCTETS],
) -> [I::Oct; OCTETS] {
    let zero = I::Oct::splat(0.0);
    let mut result = [zero; OCTETS];
    for group in 0..OCTETS {
        let mut rows = [zero; 8];
        for (row, product) in rows.iter_mut().enumerate() {
            let at = at.add((8 * group + row) * step);
            *product = x[0].mul(I::Oct::load(at));
            for octet in 1..OCTETS {
                *product = x[octet].mul_add(I::Oct::load(at.add(8 * octet)), *product);
            }
        }
        result[group] = scale.mul(factor.neg_mul_add(u[group], I::Oct::sums(rows)));
    }
    result
}

#[inline(always)]
unsafe fn dot<I: Isa, const OCTETS: usize>(x: [I::Oct; OCTETS], y: [I::Oct; OCTETS]) -> f64 {
    let mut sum = x[0].mul(y[0]);
    for octet in 1..OCTETS {
        sum = x[octet].mul_add(y[octet], sum);
    }
    sum.sum()
}
