//! Householder factorization of a tall panel.

use super::lanes::Lanes;
use super::{Isa, Job, WIDEST};

/// Squared norms below this are taken for zero. The matrix is scaled to entries of order 1, so a column this short
/// (1e-100) is rounding noise, and its square would lose digits to underflow.
pub(super) const NEGLIGIBLE_SQUARE: f64 = 1e-200;

/// A reflector I - tau v v^T, v = (1, x / divisor), that maps (alpha, x) to (beta, 0): returns (beta, tau, 1 / divisor).
///
/// `tail` is the squared norm of x. When that is negligible the reflector is the identity (tau = 0, v = e1).
#[inline(always)]
pub(super) fn reflector(alpha: f64, tail: f64) -> (f64, f64, f64) {
    if tail < NEGLIGIBLE_SQUARE {
        return (alpha, 0.0, 0.0);
    }
    let beta = -(alpha * alpha + tail).sqrt().copysign(alpha);
    ((beta), (beta - alpha) / beta, 1.0 / (alpha - beta))
}

/// Factors a row-major panel P \[rows, 8 OCTETS\] as Q R, Q = H_0 H_1 .., H_c = I - tau_c v_c v_c^T.
///
/// P is overwritten by V, unit lower trapezoidal with its zeros and ones; `r` (\[b, b\] row-major) gets R, `tau` (b)
/// the scales, and `dots` (\[b, b\]) at \[c, j\], j < c, gets v_j . v_c, which the compact form I - V T V^T needs.
/// One pass over the panel a column: the pass that applies H_c also gathers the products with column c + 1.
///
/// # Cost
/// 4 rows b^2 flops.
pub(super) struct PanelQr<const OCTETS: usize> {
    pub p: *mut f64,
    pub step: usize,
    /// At least b.
    pub rows: usize,
    pub r: *mut f64,
    pub tau: *mut f64,
    pub dots: *mut f64,
}

impl<const OCTETS: usize> Job for PanelQr<OCTETS> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        const { assert!(8 * OCTETS <= WIDEST) };
        let b = 8 * OCTETS;
        let mut scale = [0.0; WIDEST];
        let mut dot = [0.0; WIDEST];
        // Column 0 against all columns, below its pivot.
        let mut sums = [I::Oct::splat(0.0); OCTETS];
        for row in 1..self.rows {
            let at = self.p.add(row * self.step);
            let x = I::Oct::splat(*at);
            for octet in 0..OCTETS {
                sums[octet] = x.mul_add(I::Oct::load(at.add(8 * octet)), sums[octet]);
            }
        }
        for column in 0..b {
            for octet in 0..OCTETS {
                sums[octet].store(dot.as_mut_ptr().add(8 * octet));
            }
            let pivot = self.p.add(column * self.step);
            let (beta, tau, inverse) = reflector(*pivot.add(column), dot[column]);
            *self.tau.add(column) = tau;
            scale[column] = inverse;
            // Columns of V still wait for their division by the pivot: `scale` holds it.
            for j in 0..column {
                *self.dots.add(column * b + j) = scale[j] * (*pivot.add(j) + dot[j] * inverse);
            }
            let mut factor = [0.0; WIDEST];
            for j in column + 1..b {
                let z = tau * (*pivot.add(j) + dot[j] * inverse);
                *pivot.add(j) -= z;
                factor[j] = z * inverse;
            }
            *pivot.add(column) = beta;
            if column + 1 < b {
                let mut factors = [I::Oct::splat(0.0); OCTETS];
                for octet in 0..OCTETS {
                    factors[octet] = I::Oct::load(factor.as_ptr().add(8 * octet));
                }
                let next_factor = I::Oct::splat(factor[column + 1]);
                sums = [I::Oct::splat(0.0); OCTETS];
                for row in column + 1..self.rows {
                    let at = self.p.add(row * self.step);
                    let x = I::Oct::splat(*at.add(column));
                    // The same operation as on the whole row below, so the same bits.
                    let next = x.neg_mul_add(next_factor, I::Oct::splat(*at.add(column + 1)));
                    // The next pivot's own row takes no part in its tail.
                    let next = if row == column + 1 { I::Oct::splat(0.0) } else { next };
                    for octet in 0..OCTETS {
                        let updated = x.neg_mul_add(factors[octet], I::Oct::load(at.add(8 * octet)));
                        updated.store(at.add(8 * octet));
                        sums[octet] = next.mul_add(updated, sums[octet]);
                    }
                }
            }
        }
        for row in 0..b {
            for column in 0..b {
                let at = self.p.add(row * self.step + column);
                *self.r.add(row * b + column) = if row <= column { *at } else { 0.0 };
                *at = match row.cmp(&column) {
                    core::cmp::Ordering::Less => 0.0,
                    core::cmp::Ordering::Equal => 1.0,
                    core::cmp::Ordering::Greater => *at * scale[column],
                };
            }
        }
        for row in b..self.rows {
            for octet in 0..OCTETS {
                let at = self.p.add(row * self.step + 8 * octet);
                I::Oct::load(at).mul(I::Oct::load(scale.as_ptr().add(8 * octet))).store(at);
            }
        }
    }
}
