//! Singular values without vectors: (tall -> triangle ->) band -> bidiagonal -> values.

mod band;
mod chase;
mod grid;
mod triangle;

use self::grid::Grid;
use super::eigen::chase::sweep_in_groups;
use super::eigen::{Cancelled, EigenError, Poll, Stage, exponent_above, power_of_two, scale, tridiagonal};
use crate::kernel::Kernel;
use crate::matrix::Matrix;

/// Matrices with this many times more rows than columns are first reduced to a triangle: in products, 2 m n^2 + 2 n^3
/// flops are then fewer than 4 m n^2 - 4/3 n^3.
const TALL: f64 = 5.0 / 3.0;

/// Singular values of a matrix, ascending, min(rows, cols) of them, with LAPACK gesdd's errors: most within 1e-15 of the
/// largest, at n = 2048 all within 1e-14; those of exactly dependent rows or columns come out at 1e-15 or less.
///
/// `cancelled` is asked every few milliseconds.
///
/// # Errors
/// [`EigenError::NotFinite`] before any work; [`EigenError::Cancelled`]; [`EigenError::NoConvergence`] if the iteration
/// reaches its cap.
///
/// # Cost
/// For m rows and n columns, m >= n: 2 m n^2 + 2 n^3 flops in products and 8 n^2 bytes, or up to m = 5/3 n
/// 4 m n^2 - 4/3 n^3 flops and 8 m n bytes; about 8 n^2 b + 80 n^2 flops besides (b: see [`band_width`]).
///
/// # Source
/// Two stages as in Grosser and Lang: Efficient parallel reduction to bidiagonal form (1999).
pub fn singular_values(matrix: &Matrix, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
    staged_singular_values(Kernel::selected(), matrix, None, cancelled, &mut |_| ())
}

/// [`singular_values`] on a kernel and with a band width (8, 16 or 24) of the caller's choice, telling `ended` after
/// each stage; the triangle counts to the band.
///
/// # Errors
/// As [`singular_values`].
///
/// # Panics
/// If the width is another one.
pub fn staged_singular_values(
    kernel: Kernel,
    matrix: &Matrix,
    width: Option<usize>,
    cancelled: Cancelled,
    ended: &mut dyn FnMut(Stage),
) -> Result<Vec<f64>, EigenError> {
    let poll = Poll { cancelled };
    let Some(source) = Tall::new(matrix)? else {
        return Ok(vec![0.0; matrix.rows().min(matrix.cols())]);
    };
    let width = width.unwrap_or_else(|| band_width(source.cols));
    let grid = if source.rows as f64 > TALL * source.cols as f64 {
        triangle::triangle(kernel, &source, poll)?
    } else {
        let mut grid = Grid::zero(source.rows, source.cols);
        grid.fill(|row, column, line| source.copy([row, column], [1, line.len()], line));
        grid
    };
    let band = band::reduce(kernel, grid, width, poll)?;
    ended(Stage::Band);
    let (d, e) = chase::bidiagonalize(kernel, band, poll)?;
    ended(Stage::Chase);
    let mut values = of_bidiagonal(kernel, &d, &e, poll)?;
    scale(&mut values, source.exponent);
    ended(Stage::Tridiagonal);
    Ok(values)
}

/// Width b of the band for n columns, as [`super::eigen::band_width`] chosen from measurements; the two widths around
/// each bound differ by 2%.
pub fn band_width(n: usize) -> usize {
    match n {
        0..=511 => 8,
        512..=3071 => 16,
        _ => 24,
    }
}

/// Singular values of the bidiagonal matrix with diagonal `d` and superdiagonal `e` (its last element unused), ascending.
///
/// With zeros as diagonal, d_0, e_0, d_1, e_1 .. is the subdiagonal of a symmetric matrix whose eigenvalues are plus
/// and minus the singular values. Both are computed, and half their difference is taken.
///
/// # Source
/// Golub, Kahan: Calculating the singular values and pseudo-inverse of a matrix (1965), section 3.
fn of_bidiagonal(kernel: Kernel, d: &[f64], e: &[f64], poll: Poll) -> Result<Vec<f64>, EigenError> {
    let n = d.len();
    let mut both = vec![0.0; 2 * n];
    let couplings = d.iter().zip(e).flat_map(|(d, e)| [*d, *e]).collect();
    tridiagonal::eigenvalues(kernel, &mut both, couplings, poll)?;
    let (minus, plus) = both.split_at(n);
    Ok(plus.iter().zip(minus.iter().rev()).map(|(plus, minus)| 0.5 * (plus - minus)).collect())
}

/// A matrix stood on its short side, A = W or A = W^T, times a power of two that brings its largest element to 1/2 .. 1.
struct Tall<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    is_transposed: bool,
    /// The scale is 2^-exponent.
    exponent: i32,
}

impl<'a> Tall<'a> {
    /// `None` if all elements are zero.
    fn new(matrix: &'a Matrix) -> Result<Option<Self>, EigenError> {
        let values = matrix.values();
        let largest = values.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        if values.iter().any(|x| !x.is_finite()) {
            return Err(EigenError::NotFinite);
        }
        let (rows, cols) = (matrix.rows().max(matrix.cols()), matrix.rows().min(matrix.cols()));
        let is_transposed = matrix.rows() < matrix.cols();
        let exponent = || exponent_above(f64::from(largest));
        Ok((largest > 0.0).then(|| Self { values, rows, cols, is_transposed, exponent: exponent() }))
    }

    /// Copies A\[row .. row + count, column .. column + width\] into `to`, row-major \[count, width\]; zeros beyond the
    /// last column.
    fn copy(&self, [row, column]: [usize; 2], [count, width]: [usize; 2], to: &mut [f64]) {
        let scale = power_of_two(-self.exponent);
        let inside = width.min(self.cols.saturating_sub(column));
        if inside < width {
            to[..count * width].fill(0.0);
        }
        if self.is_transposed {
            for offset in 0..inside {
                let source = &self.values[(column + offset) * self.rows + row..][..count];
                for (line, x) in to.chunks_exact_mut(width).zip(source) {
                    line[offset] = f64::from(*x) * scale;
                }
            }
        } else {
            for (offset, line) in to.chunks_exact_mut(width).take(count).enumerate() {
                let source = &self.values[(row + offset) * self.cols + column..][..inside];
                for (to, x) in line.iter_mut().zip(source) {
                    *to = f64::from(*x) * scale;
                }
            }
        }
    }
}
