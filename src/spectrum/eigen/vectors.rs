//! Eigenvectors of real symmetric matrices, as many as are asked for: dense -> band, inverse iteration on the band, and back.

use std::ops::Range;

use rayon::prelude::*;

use super::band::{self, Band, Reflectors};
use super::inverse::{Inverse, WIDTH};
use super::{Cancelled, EigenError, Poll, chase, exponent_above, largest_magnitude, scale, tridiagonal};
use crate::kernel::{Kernel, Rows, Strided};
use crate::spectrum::tiles::SymmetricTiles;

/// Vectors that lie side by side.
pub(in crate::spectrum) const BLOCK: usize = 48;

/// Largest residual |B v - lambda v| of a unit vector, relative to the largest eigenvalue. It is about 1e-14, or the distance of
/// eigenvalues that share a shift; more means that the iteration went astray.
const RESIDUAL: f64 = 1e-11;

/// A symmetric matrix with what its eigenvectors are made from.
pub(in crate::spectrum) struct Reduced {
    kernel: Kernel,
    /// Rows of vectors: n rounded up to a multiple of [`WIDTH`].
    padded: usize,
    band: Band,
    reflectors: Vec<Reflectors>,
    /// Of the band, ascending; the matrix was scaled by 2^-exponent.
    values: Vec<f64>,
    exponent: i32,
}

impl Reduced {
    /// Reduces a matrix to a band and computes its eigenvalues.
    ///
    /// # Errors
    /// As [`super::symmetric_eigenvalues`].
    ///
    /// # Cost
    /// 4/3 n^3 flops; 4 n^2 bytes beside the matrix.
    pub fn new(kernel: Kernel, mut tiles: SymmetricTiles, cancelled: Cancelled) -> Result<Self, EigenError> {
        let poll = Poll { cancelled };
        let largest = largest_magnitude(tiles.elements());
        if !largest.is_finite() {
            return Err(EigenError::NotFinite);
        }
        let exponent = if largest == 0.0 { 0 } else { exponent_above(largest) };
        scale(tiles.elements_mut(), -exponent);
        let mut reflectors = Vec::new();
        let band = band::reduce_keeping(kernel, &mut tiles, WIDTH, poll, Some(&mut reflectors))?;
        drop(tiles);
        let (mut values, off_diagonal) = chase::tridiagonalize(kernel, band.clone(), poll)?;
        tridiagonal::eigenvalues(kernel, &mut values, off_diagonal, poll)?;
        let padded = band.n.next_multiple_of(WIDTH);
        Ok(Self { kernel, padded, band, reflectors, values, exponent })
    }

    /// The eigenvalues, ascending.
    pub fn values(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        scale(&mut values, self.exponent);
        values
    }

    /// Rows of a block of vectors: n and some zeros.
    pub fn rows(&self) -> usize {
        self.padded
    }

    /// Orthonormal eigenvectors of the eigenvalues at `places`, 0 that of the largest, in blocks of [`BLOCK`] columns, row-major
    /// \[[`Reduced::rows`], [`BLOCK`]\]; those beyond the last are zero. The bits do not depend on the number of threads.
    ///
    /// # Errors
    /// [`EigenError::Cancelled`]; [`EigenError::NoConvergence`] if a vector is none, which is checked.
    ///
    /// # Cost
    /// For k vectors about 500 n k flops on the band, 4 n k^2 to make them orthogonal and 2 n^2 k to bring them back;
    /// 8 n k bytes.
    ///
    /// # Source
    /// Inverse iteration: Peters and Wilkinson 1979. Equal eigenvalues: block Gram-Schmidt, twice (Giraud et al. 2005).
    pub fn vectors(&self, places: Range<usize>, cancelled: Cancelled) -> Result<Vec<Vec<f64>>, EigenError> {
        let poll = Poll { cancelled };
        let all: Vec<usize> = places.collect();
        let inverse = Inverse::new(&self.band, &self.values);
        let mut blocks = all
            .par_chunks(BLOCK)
            .map(|places| {
                poll.check()?;
                let mut block = vec![0.0; self.padded * BLOCK];
                let indices = places.iter().map(|place| self.band.n - 1 - place);
                inverse.fill(indices, &mut block, BLOCK);
                Ok(block)
            })
            .collect::<Result<Vec<_>, EigenError>>()?;
        self.orthogonalize(&mut blocks, all.len(), poll)?;
        blocks.par_iter_mut().zip(all.par_chunks(BLOCK)).try_for_each(|(block, places)| {
            poll.check()?;
            self.check(block, places)?;
            self.turn_back(block);
            Ok(())
        })?;
        Ok(blocks)
    }

    /// Makes all columns orthonormal, the first ones as they are.
    fn orthogonalize(&self, blocks: &mut [Vec<f64>], count: usize, poll: Poll) -> Result<(), EigenError> {
        for _ in 0..2 {
            for index in 0..blocks.len() {
                poll.check()?;
                let (done, rest) = blocks.split_at_mut(index + 1);
                let block = &mut done[index];
                self.orthonormalize(block, BLOCK.min(count - BLOCK * index))?;
                let block = &*block;
                rest.par_iter_mut().for_each(|other| {
                    let mut products = vec![0.0; BLOCK * BLOCK];
                    self.inner(block, other, &mut products);
                    for product in &mut products {
                        *product = -*product;
                    }
                    let left = Strided { data: block, row_step: BLOCK, depth_step: 1 };
                    self.kernel.gemm([self.padded, BLOCK, BLOCK], left, Rows::new(&products, BLOCK), other, BLOCK);
                });
            }
        }
        Ok(())
    }

    /// Adds the products of the columns of two blocks.
    fn inner(&self, a: &[f64], b: &[f64], products: &mut [f64]) {
        let left = Strided { data: a, row_step: 1, depth_step: BLOCK };
        self.kernel.gemm([BLOCK, BLOCK, self.padded], left, Rows::new(b, BLOCK), products, BLOCK);
    }

    /// Makes the first `count` columns of a block orthonormal: X R^-1 with X^T X = R^T R, twice.
    fn orthonormalize(&self, block: &mut Vec<f64>, count: usize) -> Result<(), EigenError> {
        for _ in 0..2 {
            let mut products = vec![0.0; BLOCK * BLOCK];
            self.inner(block, block, &mut products);
            let inverse = inverse_factor(&products, count).ok_or(EigenError::NoConvergence)?;
            let mut result = vec![0.0; block.len()];
            let left = Strided { data: block, row_step: BLOCK, depth_step: 1 };
            self.kernel.gemm([self.padded, BLOCK, BLOCK], left, Rows::new(&inverse, BLOCK), &mut result, BLOCK);
            *block = result;
        }
        Ok(())
    }

    /// Whether a block's columns are eigenvectors of the band.
    fn check(&self, block: &[f64], places: &[usize]) -> Result<(), EigenError> {
        let n = self.band.n;
        let largest = largest_magnitude(&self.values);
        let row = |row: usize| &block[row * BLOCK..(row + 1) * BLOCK];
        let mut squares = [0.0; BLOCK];
        for i in 0..n {
            let mut residual = [0.0; BLOCK];
            for ((r, x), place) in residual.iter_mut().zip(row(i)).zip(places) {
                *r = -self.values[n - 1 - place] * x;
            }
            for j in i.saturating_sub(WIDTH)..n.min(i + WIDTH + 1) {
                let element = self.band.at(i.max(j), i.min(j));
                for (r, x) in residual.iter_mut().zip(row(j)) {
                    *r += element * x;
                }
            }
            for (square, r) in squares.iter_mut().zip(residual) {
                *square += r * r;
            }
        }
        // Not a number is no eigenvector either.
        let is_one = |square: &f64| *square <= (RESIDUAL * largest).powi(2);
        if squares.iter().all(is_one) { Ok(()) } else { Err(EigenError::NoConvergence) }
    }

    /// From eigenvectors of the band to those of the matrix: X = Q X, panel after panel, the last first.
    fn turn_back(&self, block: &mut [f64]) {
        let kernel = self.kernel;
        for Reflectors { first, v, t } in self.reflectors.iter().rev() {
            let x = &mut block[first * BLOCK..];
            let rows = self.padded - first;
            let (mut products, mut scaled) = ([0.0; WIDTH * BLOCK], [0.0; WIDTH * BLOCK]);
            let left = Strided { data: v, row_step: 1, depth_step: WIDTH };
            kernel.gemm([WIDTH, BLOCK, rows], left, Rows::new(x, BLOCK), &mut products, BLOCK);
            let left = Strided { data: t, row_step: WIDTH, depth_step: 1 };
            kernel.gemm([WIDTH, BLOCK, WIDTH], left, Rows::new(&products, BLOCK), &mut scaled, BLOCK);
            for x in &mut scaled {
                *x = -*x;
            }
            let left = Strided { data: v, row_step: WIDTH, depth_step: 1 };
            kernel.gemm([rows, BLOCK, WIDTH], left, Rows::new(&scaled, BLOCK), x, BLOCK);
        }
    }
}

/// R^-1 of the upper triangular R with R^T R = G in the first `count` rows and columns, zero elsewhere; none if a column depends
/// on those before it.
fn inverse_factor(g: &[f64], count: usize) -> Option<Vec<f64>> {
    /// Squared length that is left of a unit column: less is rounding noise.
    const LEFT: f64 = 1e-13;
    let mut r = vec![0.0; BLOCK * BLOCK];
    for i in 0..count {
        for j in i..count {
            let dot: f64 = (0..i).map(|k| r[k * BLOCK + i] * r[k * BLOCK + j]).sum();
            let rest = g[i * BLOCK + j] - dot;
            if i < j {
                r[i * BLOCK + j] = rest / r[i * BLOCK + i];
            } else if rest > LEFT * g[i * BLOCK + i] {
                r[i * BLOCK + i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut inverse = vec![0.0; BLOCK * BLOCK];
    for j in 0..count {
        inverse[j * BLOCK + j] = 1.0 / r[j * BLOCK + j];
        for i in (0..j).rev() {
            let sum: f64 = (i + 1..=j).map(|k| r[i * BLOCK + k] * inverse[k * BLOCK + j]).sum();
            inverse[i * BLOCK + j] = -sum / r[i * BLOCK + i];
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        ((i * 7919 + i * i % 613 + i / 7 * 104_729) % 2003) as f64 / 1001.0 - 1.0
    }

    /// Q D Q^T with a Q of a few reflectors.
    fn with_values(values: &[f64]) -> Vec<f64> {
        let n = values.len();
        let mut a = vec![0.0; n * n];
        for (i, value) in values.iter().enumerate() {
            a[i * n + i] = *value;
        }
        for round in 0..3 {
            let v: Vec<f64> = (0..n).map(|i| noise(i + 31 * round + 5)).collect();
            let length: f64 = v.iter().map(|x| x * x).sum();
            // H A H with H = I - 2 v v^T / |v|^2.
            for _ in 0..2 {
                for column in 0..n {
                    let dot: f64 = (0..n).map(|row| v[row] * a[row * n + column]).sum();
                    for row in 0..n {
                        a[row * n + column] -= 2.0 * v[row] * dot / length;
                    }
                }
                a = (0..n * n).map(|p| a[p % n * n + p / n]).collect();
            }
        }
        a
    }

    /// Residuals and angles of all vectors, relative to the largest value.
    fn check(name: &str, a: &[f64], n: usize, bound: f64) {
        let reduced = Reduced::new(Kernel::selected(), SymmetricTiles::from_lower(a, n), &|| false).unwrap();
        let values = reduced.values();
        let largest = values.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        for places in [0..n, 0..n / 3, n / 2..n] {
            let blocks = reduced.vectors(places.clone(), &|| false).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(blocks.len(), places.len().div_ceil(BLOCK));
            let vector =
                |k: usize| -> Vec<f64> { (0..n).map(|row| blocks[k / BLOCK][row * BLOCK + k % BLOCK]).collect() };
            let vectors: Vec<Vec<f64>> = (0..places.len()).map(vector).collect();
            for (k, x) in vectors.iter().enumerate() {
                let value = values[n - 1 - (places.start + k)];
                let residual = (0..n)
                    .map(|row| {
                        a[row * n..(row + 1) * n].iter().zip(x).map(|(a, x)| a * x).sum::<f64>() - value * x[row]
                    })
                    .fold(0.0_f64, |largest, r| largest.max(r.abs()));
                assert!(residual <= bound * largest, "{name}: vector {k} of {n}: {residual:e} of {largest:e}");
                for (j, y) in vectors.iter().enumerate().take(k + 1) {
                    let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    // Two roundings a block of 48.
                    assert!(
                        (dot - f64::from(u8::from(j == k))).abs() < 1e-14 * 10.0,
                        "{name}: {j}, {k} of {n}: {dot:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn vectors_of_separate_values() {
        for n in [1, 2, 3, 8, 9, 47, 48, 49, 130] {
            let values: Vec<f64> = (0..n).map(|i| 1.0 + i as f64 + 0.3 * noise(i)).collect();
            check("separate", &with_values(&values), n, 1e-13);
            let negative: Vec<f64> = values.iter().map(|v| (v - n as f64 / 2.0) * 1e200).collect();
            check("large, of both signs", &with_values(&negative), n, 1e-13);
        }
    }

    #[test]
    fn vectors_of_equal_and_close_values() {
        let n = 150;
        let of = |value: &dyn Fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
        check("zero", &vec![0.0; n * n], n, 0.0);
        check("identity", &with_values(&of(&|_| 1.0)), n, 1e-13);
        check("rank 1", &with_values(&of(&|i| f64::from(u8::from(i == 7)))), n, 1e-13);
        check("rank 60", &with_values(&of(&|i| if i < 90 { 0.0 } else { i as f64 })), n, 1e-13);
        check("pairs", &with_values(&of(&|i| (i / 2) as f64)), n, 1e-13);
        check("two values", &with_values(&of(&|i| f64::from(u8::from(i % 3 == 0)))), n, 1e-13);
        // Beside one another at every distance, from what shares a shift up to what does not.
        check("graded", &with_values(&of(&|i| libm::exp2(-(i as f64) / 2.0))), n, 1e-13);
        for distance in [1e-16, 1e-15, 3e-15, 6e-15, 7e-15, 8e-15, 9e-15, 1e-14, 2e-14, 1e-13, 1e-12, 1e-10, 1e-8] {
            let close = of(&|i| (i / 30) as f64 / 5.0 + distance * (i % 30) as f64);
            check(&format!("clusters at {distance}"), &with_values(&close), n, 1e-12);
        }
        // A diagonal matrix is its own band: its vectors are the axes.
        let diagonal: Vec<f64> = (0..n * n).map(|p| if p / n == p % n { noise(p) } else { 0.0 }).collect();
        check("diagonal", &diagonal, n, 1e-13);
        let blocks: Vec<f64> =
            (0..n * n).map(|p| if p / n / 5 == p % n / 5 { noise(p / n % 5 + p % n % 5) } else { 0.0 }).collect();
        check("equal blocks", &blocks, n, 1e-13);
    }

    #[test]
    fn threads_do_not_change_a_bit_and_faults_are_told() {
        let n = 120;
        let a = with_values(&(0..n).map(|i| (i / 3) as f64).collect::<Vec<f64>>());
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tiles = SymmetricTiles::from_lower(&a, n);
            pool.install(|| {
                Reduced::new(Kernel::selected(), tiles, &|| false).unwrap().vectors(0..n, &|| false).unwrap()
            })
        };
        assert!(run(1) == run(3));
        let reduced = Reduced::new(Kernel::selected(), SymmetricTiles::from_lower(&a, n), &|| false).unwrap();
        assert_eq!(reduced.vectors(0..n, &|| true), Err(EigenError::Cancelled));
        let broken = SymmetricTiles::from_lower(&[f64::NAN], 1);
        assert_eq!(Reduced::new(Kernel::selected(), broken, &|| false).err(), Some(EigenError::NotFinite));
        // Two columns that are one.
        let mut same = vec![0.0; BLOCK * BLOCK];
        (same[0], same[1], same[BLOCK + 1]) = (1.0, 1.0, 1.0);
        assert!(inverse_factor(&same, 1).is_some() && inverse_factor(&same, 2).is_none());
    }
}
