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
        let Self { blocks, step, v: vectors, tau } = self;
        let b = 8 * OCTETS;
        let zero = I::Oct::splat(0.0);
        // (D; B) v
        let mut upper = [[zero; OCTETS]; COUNT];
        let mut lower = [[zero; OCTETS]; COUNT];
        for column in 0..b {
            for i in 0..COUNT {
                let at = blocks[i].add(column * step);
                let x = I::Oct::splat(*vectors[i].add(column));
                for octet in 0..OCTETS {
                    upper[i][octet] = x.mul_add(I::Oct::load(at.add(8 * octet)), upper[i][octet]);
                    lower[i][octet] = x.mul_add(I::Oct::load(at.add(b + 8 * octet)), lower[i][octet]);
                }
            }
        }
        let mut v = [[zero; OCTETS]; COUNT];
        // The next reflector first: its square root and divisions are the longest wait.
        let mut next = [[zero; OCTETS]; COUNT];
        let mut beta = [0.0; COUNT];
        let mut next_tau = [0.0; COUNT];
        for i in 0..COUNT {
            v[i] = load_all::<I, OCTETS>(vectors[i]);
            let mut first = load_all::<I, OCTETS>(blocks[i].add(b));
            for octet in 0..OCTETS {
                lower[i][octet] = I::Oct::splat(tau[i]).mul(lower[i][octet]);
                first[octet] = first[octet].sub(lower[i][octet]);
            }
            (next[i], beta[i], next_tau[i]) = annihilate::<I, OCTETS>(first);
        }
        let mut w = [[0.0; 32]; COUNT];
        let mut next_u = [zero; COUNT];
        for i in 0..COUNT {
            // w = tau D v - (tau^2 / 2) (v . D v) v
            let mut vdv = upper[i][0].mul(v[i][0]);
            let mut product = next[i][0].mul(lower[i][0]);
            for octet in 1..OCTETS {
                vdv = upper[i][octet].mul_add(v[i][octet], vdv);
                product = next[i][octet].mul_add(lower[i][octet], product);
            }
            let half = I::Oct::splat(0.5 * tau[i] * vdv.sum());
            next_u[i] = I::Oct::splat(product.sum());
            for octet in 0..OCTETS {
                upper[i][octet] = I::Oct::splat(tau[i]).mul(half.neg_mul_add(v[i][octet], upper[i][octet]));
                upper[i][octet].store(w[i].as_mut_ptr().add(8 * octet));
            }
        }
        // z = tau' (v'^T B - (v' . u) v^T): what the next reflector takes from each column of B.
        let mut z = [[0.0; 32]; COUNT];
        for i in 0..COUNT {
            let scale = I::Oct::splat(next_tau[i]);
            for group in 0..OCTETS {
                let mut columns = [zero; 8];
                for (column, product) in columns.iter_mut().enumerate() {
                    let at = blocks[i].add((8 * group + column) * step + b);
                    *product = next[i][0].mul(I::Oct::load(at));
                    for octet in 1..OCTETS {
                        *product = next[i][octet].mul_add(I::Oct::load(at.add(8 * octet)), *product);
                    }
                }
                let sums = scale.mul(next_u[i].neg_mul_add(v[i][group], I::Oct::sums(columns)));
                sums.store(z[i].as_mut_ptr().add(8 * group));
            }
        }
        for column in 0..b {
            for i in 0..COUNT {
                let at = blocks[i].add(column * step);
                let vc = I::Oct::splat(*vectors[i].add(column));
                let wc = I::Oct::splat(w[i][column]);
                let zc = I::Oct::splat(z[i][column]);
                for octet in 0..OCTETS {
                    // Two products and a sum, not fused: equal when row and column change places.
                    let both = v[i][octet].mul(wc).add(upper[i][octet].mul(vc));
                    let place = at.add(8 * octet);
                    I::Oct::load(place).sub(both).store(place);
                    let place = at.add(b + 8 * octet);
                    let right = lower[i][octet].neg_mul_add(vc, I::Oct::load(place));
                    next[i][octet].neg_mul_add(zc, right).store(place);
                }
            }
        }
        for i in 0..COUNT {
            for octet in 0..OCTETS {
                zero.store(blocks[i].add(b + 8 * octet));
                next[i][octet].store(vectors[i].add(8 * octet));
            }
            *blocks[i].add(b) = beta[i];
            // The next sweep's D begins a row lower and takes in the first row of B: give it its upper half.
            let mirror = blocks[i].add(b * step);
            for column in 0..b {
                *mirror.add(column) = *blocks[i].add(column * step + b);
            }
        }
        next_tau
    }
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
