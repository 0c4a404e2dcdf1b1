//! The largest singular values of a matrix with their vectors, without the others.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::eigen::EigenError;
use nalgebra::DVectorView;

use crate::matrix::Matrix;

/// The leading singular triplets of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Leading {
    /// Singular values, descending.
    pub values: Vec<f64>,
    /// Left singular vectors in that order, each as long as the matrix has rows.
    pub left: Vec<Vec<f64>>,
    /// Right singular vectors in that order, each as long as the matrix has columns.
    pub right: Vec<Vec<f64>>,
}

/// Residuals of the squared problem, relative to the largest eigenvalue, at which a triplet counts as found: its value is then
/// right to rounding, and its vectors to this over the gap to the next value.
const FOUND: f64 = 1e-11;
/// Steps between two looks at the residuals.
const LOOK: usize = 8;

/// The `count` largest singular values and their vectors (all of them, if the matrix has fewer). `None` if they are not found
/// in `MOST` steps, or the matrix is zero.
///
/// The numbers do not depend on the machine: a start vector from a fixed seed, sums in a fixed order.
///
/// # Errors
/// [`EigenError::NotFinite`]; [`EigenError::Cancelled`], asked every step.
///
/// # Cost
/// For each of some 50 to 300 steps `4 m n` flops, and as many passes over the vectors so far.
///
/// # Source
/// Golub, Kahan 1965 (bidiagonalization by Lanczos), with full reorthogonalization.
pub fn leading_singular(
    matrix: &Matrix,
    count: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<Leading>, EigenError> {
    /// What convergence may take of a large matrix; a small one is through with all its steps.
    const MOST: usize = 1000;
    if matrix.values().iter().any(|v| !v.is_finite()) {
        return Err(EigenError::NotFinite);
    }
    let sides = matrix.rows().min(matrix.cols());
    let count = count.min(sides);
    if count == 0 || matrix.values().iter().all(|v| *v == 0.0) {
        return Ok(None);
    }
    let mut steps = Bidiagonal::new(matrix);
    for step in 1..=sides.min(MOST) {
        if cancelled() {
            return Err(EigenError::Cancelled);
        }
        steps.advance();
        let is_last = step == sides;
        if step >= count && (step.is_multiple_of(LOOK) || is_last) && (steps.is_found(count)? || is_last) {
            return steps.triplets(count).map(Some);
        }
    }
    Ok(None)
}

/// `sum_ij <a_i, b_j>^2 / k` for two sets of k orthonormal vectors: the mean squared cosine of the angles between the spaces
/// they span, 1 for the same space, and about `k / n` for two spaces that know nothing of one another.
pub fn subspace_overlap(a: &[Vec<f64>], b: &[Vec<f64>]) -> Option<f64> {
    let sum: f64 = a.iter().map(|a| b.iter().map(|b| dot(a, b).powi(2)).sum::<f64>()).sum();
    let count = a.len().min(b.len());
    (count > 0).then(|| (sum / count as f64).min(1.0))
}

/// `A V = U B`, `A^T U = V B^T + beta v e^T`, B upper bidiagonal, V and U orthonormal; as far as it has come. A is the matrix or
/// its transpose, with no more columns than rows, so that the last step leaves nothing.
struct Bidiagonal<'a> {
    matrix: &'a Matrix,
    is_transposed: bool,
    rng: ChaCha8Rng,
    left: Vec<Vec<f64>>,
    /// One more than `left`.
    right: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
    /// `above[j]` couples steps j and j + 1; its last element is beyond B.
    above: Vec<f64>,
}

impl<'a> Bidiagonal<'a> {
    fn new(matrix: &'a Matrix) -> Self {
        let mut steps = Self {
            matrix,
            is_transposed: matrix.rows() < matrix.cols(),
            rng: ChaCha8Rng::seed_from_u64(0),
            left: Vec::new(),
            right: Vec::new(),
            diagonal: Vec::new(),
            above: Vec::new(),
        };
        let start = steps.random(steps.sides().1, true);
        steps.right.push(start.0);
        steps
    }

    /// Rows and columns of A.
    fn sides(&self) -> (usize, usize) {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        (rows.max(cols), rows.min(cols))
    }

    /// `A v`, or backward `A^T u`.
    fn product(&self, vector: &[f64], is_backward: bool) -> Vec<f64> {
        if self.is_transposed == is_backward {
            times(self.matrix, vector)
        } else {
            transposed_times(self.matrix, vector)
        }
    }

    /// A vector of evenly distributed numbers, and 0 for its coupling; orthogonal to what is there.
    fn random(&mut self, len: usize, is_right: bool) -> (Vec<f64>, f64) {
        let others = if is_right { &self.right } else { &self.left };
        loop {
            let uniform = |rng: &mut ChaCha8Rng| (rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            let vector: Vec<f64> = (0..len).map(|_| uniform(&mut self.rng)).collect();
            if let Some((vector, _)) = orthonormal(vector, others, 0.0) {
                return (vector, 0.0);
            }
        }
    }

    fn advance(&mut self) {
        let (rows, cols) = self.sides();
        let scale = self.diagonal.iter().chain(&self.above).fold(0.0_f64, |a, b| a.max(*b));
        let v = self.right.last().map_or(&[][..], |v| v);
        let found = orthonormal(self.product(v, false), &self.left, scale);
        let (u, diagonal) = found.unwrap_or_else(|| self.random(rows, false));
        let found = orthonormal(self.product(&u, true), &self.right, scale.max(diagonal));
        self.left.push(u);
        self.diagonal.push(diagonal);
        // With all directions taken nothing is left to go on with.
        let is_full = self.right.len() == cols;
        let (v, above) = match found {
            Some(found) if !is_full => found,
            _ if is_full => (vec![0.0; cols], 0.0),
            _ => self.random(cols, true),
        };
        self.right.push(v);
        self.above.push(above);
    }

    /// Diagonal and couplings of `B^T B`.
    fn squared(&self) -> (Vec<f64>, Vec<f64>) {
        let before = |j: usize| if j == 0 { 0.0 } else { self.above[j - 1] };
        let d = self.diagonal.iter().enumerate().map(|(j, a)| a * a + before(j) * before(j)).collect();
        let e = (0..self.diagonal.len()).map(|j| self.diagonal[j] * self.above[j]).collect();
        (d, e)
    }

    fn is_found(&self, count: usize) -> Result<bool, EigenError> {
        let steps = self.diagonal.len();
        let (mut d, mut e) = self.squared();
        let beyond = e[steps - 1];
        // The last row of the eigenvectors is all that the residuals need.
        let mut last = vec![0.0; steps];
        last[steps - 1] = 1.0;
        diagonalize(&mut d, &mut e, &mut last)?;
        let order = descending(&d);
        Ok(order[..count].iter().all(|i| (beyond * last[*i]).abs() <= FOUND * d[order[0]]))
    }

    fn triplets(&self, count: usize) -> Result<Leading, EigenError> {
        let steps = self.diagonal.len();
        let (mut d, mut e) = self.squared();
        let mut vectors = vec![0.0; steps * steps];
        for i in 0..steps {
            vectors[i * steps + i] = 1.0;
        }
        diagonalize(&mut d, &mut e, &mut vectors)?;
        let mut leading = Leading { values: Vec::new(), left: Vec::new(), right: Vec::new() };
        for place in descending(&d).into_iter().take(count) {
            let p: Vec<f64> = (0..steps).map(|i| vectors[i * steps + place]).collect();
            let value = d[place].max(0.0).sqrt();
            // B p = sigma q.
            let q: Vec<f64> = (0..steps)
                .map(|j| self.diagonal[j] * p[j] + if j + 1 < steps { self.above[j] * p[j + 1] } else { 0.0 })
                .map(|v| if value > 0.0 { v / value } else { 0.0 })
                .collect();
            leading.right.push(combination(&self.right, &p));
            leading.left.push(combination(&self.left, &q));
            leading.values.push(value);
        }
        if self.is_transposed {
            std::mem::swap(&mut leading.left, &mut leading.right);
        }
        Ok(leading)
    }
}

fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order
}

fn combination(vectors: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for (vector, weight) in vectors.iter().zip(weights) {
        for (sum, v) in sum.iter_mut().zip(vector) {
            *sum += weight * v;
        }
    }
    sum
}

/// The part of a vector that is orthogonal to `others`, at length 1, and its length before; `None` if nothing but rounding is
/// left, seen against `scale`.
fn orthonormal(mut vector: Vec<f64>, others: &[Vec<f64>], scale: f64) -> Option<(Vec<f64>, f64)> {
    /// A part this much shorter than the matrix is rounding.
    const NOTHING: f64 = 1e-13;
    // Twice is enough (Kahan, Parlett).
    for _ in 0..2 {
        for other in others {
            let share = dot(&vector, other);
            for (v, o) in vector.iter_mut().zip(other) {
                *v -= share * o;
            }
        }
    }
    let length = dot(&vector, &vector).sqrt();
    if length.is_nan() || length <= NOTHING * scale || length == 0.0 {
        return None;
    }
    for v in &mut vector {
        *v /= length;
    }
    Some((vector, length))
}

const LANES: usize = 8;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    DVectorView::from_slice(a, a.len()).dot(&DVectorView::from_slice(b, b.len()))
}

/// `A v`.
fn times(matrix: &Matrix, v: &[f64]) -> Vec<f64> {
    let (chunks, rest) = v.as_chunks::<LANES>();
    let row = |row: &[f32]| {
        let mut sums = [0.0; LANES];
        let (a, a_rest) = row.as_chunks::<LANES>();
        for (a, v) in a.iter().zip(chunks) {
            for lane in 0..LANES {
                sums[lane] += f64::from(a[lane]) * v[lane];
            }
        }
        let rest: f64 = a_rest.iter().zip(rest).map(|(a, v)| f64::from(*a) * v).sum();
        sums.iter().sum::<f64>() + rest
    };
    matrix.values().chunks_exact(matrix.cols()).map(row).collect()
}

/// `A^T u`.
fn transposed_times(matrix: &Matrix, u: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; matrix.cols()];
    for (row, u) in matrix.values().chunks_exact(matrix.cols()).zip(u) {
        for (sum, a) in sum.iter_mut().zip(row) {
            *sum += f64::from(*a) * u;
        }
    }
    sum
}

/// Eigenvalues of the symmetric tridiagonal matrix with diagonal `d` and couplings `e` (its last element unused) into `d`, in
/// no order; the columns of `vectors`, row-major with as many columns as there are eigenvalues, are turned along: the identity
/// becomes the eigenvectors, one row of it that row of them.
///
/// # Source
/// Implicit QL: Bowdler, Martin, Reinsch, Wilkinson 1968 (`imtql2`).
fn diagonalize(d: &mut [f64], e: &mut [f64], vectors: &mut [f64]) -> Result<(), EigenError> {
    const MOST: usize = 60;
    let n = d.len();
    e[n - 1] = 0.0;
    for l in 0..n {
        for iteration in 0.. {
            let negligible = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[*m + 1].abs());
            let m = (l..n - 1).find(negligible).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if iteration == MOST {
                return Err(EigenError::NoConvergence);
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut r = libm::hypot(g, 1.0);
            g = d[m] - d[l] + e[l] / (g + if g >= 0.0 { r } else { -r });
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut is_split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                r = libm::hypot(f, g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    is_split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                for row in vectors.chunks_exact_mut(n) {
                    let (x, y) = (row[i], row[i + 1]);
                    row[i + 1] = s * x + c * y;
                    row[i] = c * x - s * y;
                }
            }
            if !is_split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudo_random(rows: usize, cols: usize) -> Matrix {
        let values = (0..rows * cols).map(|i| ((i * 7919 + i * i % 613) % 2003) as f32 / 1001.0 - 1.0).collect();
        Matrix::new(rows, cols, values).unwrap()
    }

    fn check(matrix: &Matrix, count: usize) -> Leading {
        let found = leading_singular(matrix, count, &|| false).unwrap().unwrap();
        let all = super::super::singular_values(matrix, &|| false).unwrap();
        let largest = all[all.len() - 1];
        for (i, value) in found.values.iter().enumerate() {
            assert!((value - all[all.len() - 1 - i]).abs() <= 1e-12 * largest, "{i}: {value} {all:?}");
            let left = times(matrix, &found.right[i]);
            // The residual of the squared problem is 1e-11, that of A v = sigma u no larger here.
            for (a, u) in left.iter().zip(&found.left[i]) {
                assert!((a - value * u).abs() <= 1e-9 * largest);
            }
            for j in 0..=i {
                let product = dot(&found.left[i], &found.left[j]);
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9, "{i} {j} {product}");
            }
        }
        found
    }

    #[test]
    fn triplets_are_those_of_all_singular_values() {
        for (rows, cols) in [(40, 70), (70, 40), (12, 12), (200, 160)] {
            check(&pseudo_random(rows, cols), 10);
        }
        assert_eq!(check(&pseudo_random(3, 9), 10).values.len(), 3);
    }

    #[test]
    fn of_low_rank_and_of_equal_values() {
        let values = (0..30 * 20).map(|i| ((i / 20) as f32 - 14.0) * ((i % 20) as f32 - 9.0)).collect();
        let found = check(&Matrix::new(30, 20, values).unwrap(), 1);
        assert!((subspace_overlap(&found.left, &found.left).unwrap() - 1.0).abs() < 1e-12);
        let identity = (0..64).map(|i| f32::from(u8::from(i % 9 == 0))).collect();
        let found = leading_singular(&Matrix::new(8, 8, identity).unwrap(), 3, &|| false).unwrap().unwrap();
        assert!(found.values.iter().all(|v| (v - 1.0).abs() < 1e-12));
        let zero = Matrix::new(4, 4, vec![0.0; 16]).unwrap();
        assert_eq!(leading_singular(&zero, 3, &|| false), Ok(None));
        let nan = Matrix::new(1, 1, vec![f32::NAN]).unwrap();
        assert_eq!(leading_singular(&nan, 1, &|| false), Err(EigenError::NotFinite));
        assert_eq!(leading_singular(&pseudo_random(9, 9), 1, &|| true), Err(EigenError::Cancelled));
    }

    #[test]
    fn overlap_of_known_planes() {
        let axis = |i: usize| (0..4).map(|j| f64::from(u8::from(i == j))).collect::<Vec<f64>>();
        assert_eq!(subspace_overlap(&[axis(0), axis(1)], &[axis(1), axis(2)]), Some(0.5));
        assert_eq!(subspace_overlap(&[], &[]), None);
    }
}
