//! Root-free QL sweeps over a tridiagonal matrix, eight shifts in flight.

use super::lanes::Lanes;
use super::{Isa, Job};

/// Smallest magnitude allowed for the sweep's gamma, in a matrix of norm about 1: its square is still a normal number,
/// and with it the 0/0 of the root-free recurrence (a shift equal to an eigenvalue) takes its limit by itself.
pub(crate) const GAMMA_FLOOR: f64 = 1e-140;

/// Eight root-free QL sweeps, one a lane, over diagonal d\[0..length\] and squared subdiagonal e2\[0..length - 1\];
/// both arrays have `length` elements and the last of e2 is taken and left as zero.
///
/// A sweep walks from the last element to the first; the sweep of lane l + 1 follows two elements behind lane l, whose
/// results move up one lane a step. So one vector division serves eight sweeps, and the waiting for it is shared.
///
/// # Source
/// Pal, Walker and Kahan's variant of QL: Parlett, The Symmetric Eigenvalue Problem, section 8.15; LAPACK dsterf.
pub(super) struct Sweeps {
    pub d: *mut f64,
    pub e2: *mut f64,
    pub length: usize,
    pub shifts: [f64; 8],
}

impl Job for Sweeps {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let zero = I::Oct::splat(0.0);
        let one = I::Oct::splat(1.0);
        let floor = I::Oct::splat(GAMMA_FLOOR);
        let floor_square = floor.mul(floor);
        let sigma = I::Oct::load(self.shifts.as_ptr());
        let mut s = zero;
        let mut gamma = floor;
        let mut p = one;
        let (mut d_out, mut e_out) = (zero, zero);
        // Rows above the first are zero with no coupling: they push the last results out.
        for wave in 0..self.length + 15 {
            let (d_in, e_in) = if wave < self.length {
                let row = self.length - 1 - wave;
                (*self.d.add(row), if wave == 0 { 0.0 } else { *self.e2.add(row) })
            } else {
                (0.0, 0.0)
            };
            let alpha = d_out.shift_in(d_in);
            let bb = e_out.shift_in(e_in);
            let r = p.add(bb);
            e_out = s.mul(r);
            // The division that the chain waits for comes first. c and s by division, not with a common 1 / r: their
            // errors, sweep after sweep, are what limits the last eigenvalues.
            let c = p.div(r);
            let c_inverse = r.div(p);
            s = bb.div(r);
            let old = gamma;
            let free = c.mul(alpha.sub(sigma)).sub(s.mul(old));
            gamma = free.away_from_zero(floor);
            d_out = old.add(alpha.sub(gamma));
            // gamma^2, without waiting for the guard.
            p = free.mul(free).max(floor_square).mul(c_inverse);
            if wave >= 15 {
                let row = self.length + 14 - wave;
                *self.d.add(row) = d_out.last();
                *self.e2.add(row) = e_out.last();
            }
        }
        *self.e2.add(self.length - 1) = 0.0;
    }
}
