//! Bulge chasing: reflectors that turn a band matrix into a tridiagonal one.

use super::lanes::Lanes;
use super::panel::reflector;
use super::{Isa, Job};
use core::mem::MaybeUninit;

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

/// One step of each of `COUNT` sweeps that do not touch each other's blocks: while one waits for its square root and its
/// division, the other goes on.
///
/// At row and column s of the band, with I = s .. s + b and J = s + b .. s + 2b: applies the reflector H = I - tau v v^T to
/// the symmetric block D = A\[I, I\] from both sides and to B = A\[J, I\] from the right, then makes the reflector that
/// clears the first column of B, applies it to B from the left, and leaves it in `v` and as the result for the next step.
/// D is held whole, and its two triangles stay equal to the bit: w of D's other half would drift otherwise.
///
/// # Cost
/// 12 b^2 flops a sweep.
pub(super) struct ChaseSteps<const OCTETS: usize, const COUNT: usize> {
    /// Addresses of A\[s, s\].
    pub blocks: [*mut f64; COUNT],
    /// Distance of A\[r, c\] and A\[r, c + 1\].
    pub step: usize,
    pub v: [*mut f64; COUNT],
    pub tau: [f64; COUNT],
}

impl<const OCTETS: usize, const COUNT: usize> Job for ChaseSteps<OCTETS, COUNT> {
    /// tau of the next reflectors
    type Output = [f64; COUNT];
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> [f64; COUNT] {
        const { assert!(COUNT == 1 || COUNT == 2) };
        let last = COUNT - 1;
        let mut one = SweepStep::<I, OCTETS>::new(self.blocks[0], self.step, self.v[0], self.tau[0]);
        if COUNT == 1 {
            one.reflect();
            let z = one.gather();
            one.update(z);
            return [one.next_tau; COUNT];
        }
        // Written out, and not a loop over sweeps: compilers leave that one a loop, and its numbers in memory.
        let mut other = SweepStep::<I, OCTETS>::new(self.blocks[last], self.step, self.v[last], self.tau[last]);
        one.reflect();
        other.reflect();
        let z = [one.gather(), other.gather()];
        one.update(z[0]);
        other.update(z[1]);
        let mut next_tau = [one.next_tau; COUNT];
        next_tau[last] = other.next_tau;
        next_tau
    }
}

/// One step of a sweep.
struct SweepStep<I: Isa, const OCTETS: usize> {
    block: *mut f64,
    step: usize,
    vector: *mut f64,
    tau: f64,
    v: [I::Oct; OCTETS],
    /// D v, then w.
    upper: [I::Oct; OCTETS],
    /// B v, then u = tau B v.
    lower: [I::Oct; OCTETS],
    /// The vector of the next reflector.
    next: [I::Oct; OCTETS],
    beta: f64,
    next_tau: f64,
}

impl<I: Isa, const OCTETS: usize> SweepStep<I, OCTETS> {
    const WIDTH: usize = 8 * OCTETS;

    /// (D; B) v
    #[inline(always)]
    unsafe fn new(block: *mut f64, step: usize, vector: *mut f64, tau: f64) -> Self {
        let mut upper = [I::Oct::splat(0.0); OCTETS];
        let mut lower = upper;
        for column in 0..Self::WIDTH {
            let at = block.add(column * step);
            let x = I::Oct::splat(*vector.add(column));
            for octet in 0..OCTETS {
                upper[octet] = x.mul_add(I::Oct::load(at.add(8 * octet)), upper[octet]);
                lower[octet] = x.mul_add(I::Oct::load(at.add(Self::WIDTH + 8 * octet)), lower[octet]);
            }
        }
        let v = load_all::<I, OCTETS>(vector);
        Self { block, step, vector, tau, v, upper, lower, next: v, beta: 0.0, next_tau: 0.0 }
    }

    /// Makes the next reflector: as early as may be, for its square root and divisions are the longest wait.
    #[inline(always)]
    unsafe fn reflect(&mut self) {
        let mut first = load_all::<I, OCTETS>(self.block.add(Self::WIDTH));
        for octet in 0..OCTETS {
            self.lower[octet] = I::Oct::splat(self.tau).mul(self.lower[octet]);
            first[octet] = first[octet].sub(self.lower[octet]);
        }
        (self.next, self.beta, self.next_tau) = annihilate::<I, OCTETS>(first);
    }

    /// w = tau D v - (tau^2 / 2) (v . D v) v; returns z = tau' (v'^T B - (v' . u) v^T): what the next reflector takes from
    /// each column of B.
    #[inline(always)]
    unsafe fn gather(&mut self) -> [I::Oct; OCTETS] {
        let mut vdv = self.upper[0].mul(self.v[0]);
        let mut product = self.next[0].mul(self.lower[0]);
        for octet in 1..OCTETS {
            vdv = self.upper[octet].mul_add(self.v[octet], vdv);
            product = self.next[octet].mul_add(self.lower[octet], product);
        }
        let half = I::Oct::splat(0.5 * self.tau * vdv.sum());
        for octet in 0..OCTETS {
            let upper = half.neg_mul_add(self.v[octet], self.upper[octet]);
            self.upper[octet] = I::Oct::splat(self.tau).mul(upper);
        }
        let next_u = I::Oct::splat(product.sum());
        let scale = I::Oct::splat(self.next_tau);
        let mut z = self.next;
        for group in 0..OCTETS {
            let mut columns = [next_u; 8];
            for (column, product) in columns.iter_mut().enumerate() {
                let at = self.block.add((8 * group + column) * self.step + Self::WIDTH);
                *product = self.next[0].mul(I::Oct::load(at));
                for octet in 1..OCTETS {
                    *product = self.next[octet].mul_add(I::Oct::load(at.add(8 * octet)), *product);
                }
            }
            z[group] = scale.mul(next_u.neg_mul_add(self.v[group], I::Oct::sums(columns)));
        }
        z
    }

    /// D - v w^T - w v^T and B - u v^T - v' z^T, and what the next steps find.
    #[inline(always)]
    unsafe fn update(&self, z: [I::Oct; OCTETS]) {
        let width = Self::WIDTH;
        let (w, u) = (each::<I, OCTETS>(self.upper), each::<I, OCTETS>(self.lower));
        let (z, next) = (each::<I, OCTETS>(z), each::<I, OCTETS>(self.next));
        let (w, u) = (w.as_ptr().cast::<f64>(), u.as_ptr().cast::<f64>());
        let (z, next) = (z.as_ptr().cast::<f64>(), next.as_ptr().cast::<f64>());
        for part in (0..width).step_by(I::Part::LANES) {
            let v_part = I::Part::load(self.vector.add(part));
            let w_part = I::Part::load(w.add(part));
            let u_part = I::Part::load(u.add(part));
            let next_part = I::Part::load(next.add(part));
            for column in 0..width {
                let at = self.block.add(column * self.step + part);
                let vc = I::Part::splat(*self.vector.add(column));
                // Two products and a sum, not fused: equal when row and column change places.
                let both = v_part.mul(I::Part::splat(*w.add(column))).add(w_part.mul(vc));
                I::Part::load(at).sub(both).store(at);
                let right = u_part.neg_mul_add(vc, I::Part::load(at.add(width)));
                next_part.neg_mul_add(I::Part::splat(*z.add(column)), right).store(at.add(width));
            }
        }
        for octet in 0..OCTETS {
            I::Oct::splat(0.0).store(self.block.add(width + 8 * octet));
            self.next[octet].store(self.vector.add(8 * octet));
        }
        *self.block.add(width) = self.beta;
        // The next sweep's D begins a row lower and takes in the first row of B: give it its upper half.
        let mirror = self.block.add(width * self.step);
        for column in 0..width {
            *mirror.add(column) = *self.block.add(column * self.step + width);
        }
    }
}

/// The numbers of vectors, one after the other. Not cleared before: a browser does that by a call.
#[inline(always)]
pub(super) unsafe fn each<I: Isa, const OCTETS: usize>(x: [I::Oct; OCTETS]) -> [MaybeUninit<[f64; 8]>; OCTETS] {
    let mut numbers = [const { MaybeUninit::<[f64; 8]>::uninit() }; OCTETS];
    for octet in 0..OCTETS {
        x[octet].store(numbers[octet].as_mut_ptr().cast());
    }
    numbers
}

#[cfg(test)]
mod tests {
    use crate::kernel::Kernel;

    #[test]
    fn two_steps_at_once_are_two_steps() {
        let (width, step, places) = (8, 24, [300, 10]);
        let number = |i: usize| ((i * 7919 % 1000) as f64 / 500.0 - 1.0).sin();
        let band: Vec<f64> = (0..600).map(number).collect();
        let mut vectors: Vec<f64> = (1000..1016).map(number).collect();
        (vectors[0], vectors[8]) = (1.0, 1.0);
        let taus = [0.7, 1.3];
        for kernel in Kernel::available() {
            let (mut together, mut v) = (band.clone(), vectors.clone());
            let next = kernel.chase_two_steps(&mut together, places, step, &mut v, taus);
            let (mut apart, mut v_apart) = (band.clone(), vectors.clone());
            let single =
                |(index, v): (usize, &mut [f64])| kernel.chase_step(&mut apart[places[index]..], step, v, taus[index]);
            let next_apart: Vec<f64> = v_apart.chunks_exact_mut(width).enumerate().map(single).collect();
            assert_eq!(next.map(Vec::from), Some(next_apart), "{}", kernel.name());
            assert_eq!((together, v), (apart, v_apart), "{}", kernel.name());
        }
        let mut wide = vec![0.0; 2000];
        let v = &mut [0.0; 32];
        assert_eq!(
            Kernel::selected().chase_two_steps(&mut wide, [1000, 0], 48, v, taus),
            None,
            "16 columns are too many"
        );
    }
}
