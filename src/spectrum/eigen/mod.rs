//! Eigenvalues of real symmetric matrices: dense -> band -> tridiagonal -> values; and vectors, from the band.

mod band;
pub(super) mod chase;
mod decouple;
mod inverse;
pub(super) mod tridiagonal;
pub(super) mod vectors;

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::spectrum::tiles::SymmetricTiles;

/// Why there are no eigenvalues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EigenError {
    /// An element is NaN or infinite.
    NotFinite,
    /// The QL iteration reached its cap; not known to happen for finite input.
    NoConvergence,
    /// The caller asked to stop.
    Cancelled,
}

impl std::fmt::Display for EigenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotFinite => "the matrix has an element that is not finite",
            Self::NoConvergence => "the eigenvalue iteration did not converge",
            Self::Cancelled => "cancelled",
        })
    }
}

impl std::error::Error for EigenError {}

/// The caller's question whether to stop, asked often and from any thread.
pub type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

#[derive(Clone, Copy)]
pub(super) struct Poll<'a> {
    pub cancelled: Cancelled<'a>,
}

impl Poll<'_> {
    pub fn check(self) -> Result<(), EigenError> {
        if (self.cancelled)() { Err(EigenError::Cancelled) } else { Ok(()) }
    }
}

/// Eigenvalues of a symmetric matrix, ascending, each within about 1e-14 of the largest magnitude.
///
/// `a` is row-major \[n, n\]; its lower triangle (column <= row) is read and the contents are lost. `cancelled` is asked
/// every few milliseconds. From n = 1024 on the first stage uses all threads of the current rayon pool; the bits do not depend
/// on their number.
///
/// # Errors
/// [`EigenError::NotFinite`] before any work if the lower triangle has NaN or infinity; [`EigenError::Cancelled`];
/// [`EigenError::NoConvergence`] if the iteration reaches its cap.
///
/// # Panics
/// If `a` does not hold n^2 elements.
///
/// # Cost
/// 4/3 n^3 flops in products, about 6 n^2 b + 20 n^2 besides (b: see [`band_width`]); 4 n^2 bytes beside `a`.
///
/// # Source
/// Two stages as in Bischof, Lang, Sun (2000); root-free QL of Pal, Walker and Kahan (Parlett 1980, section 8.15).
pub fn symmetric_eigenvalues(a: &mut [f64], n: usize, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
    tiled_eigenvalues(Kernel::selected(), SymmetricTiles::from_lower(a, n), cancelled)
}

/// [`symmetric_eigenvalues`] of a matrix in tiles, without the copy, on a kernel of the caller's choice. Rows that are zero
/// off the diagonal cost about n steps each.
///
/// # Errors
/// As [`symmetric_eigenvalues`].
pub fn tiled_eigenvalues(kernel: Kernel, tiles: SymmetricTiles, cancelled: Cancelled) -> Result<Vec<f64>, EigenError> {
    decouple::solve_coupled(tiles, Poll { cancelled }, |rest| {
        let width = band_width(rest.order());
        staged_eigenvalues(kernel, rest, width, cancelled, &mut |_| ())
    })
}

/// A stage that has just ended, for measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Dense to band.
    Band,
    /// Band to tridiagonal.
    Chase,
    /// Tridiagonal to eigenvalues.
    Tridiagonal,
}

/// [`tiled_eigenvalues`] with a band width of the caller's choice (8, 16 or 24), telling `ended` after each stage.
///
/// # Errors
/// As [`symmetric_eigenvalues`].
///
/// # Panics
/// If the width is another one.
pub fn staged_eigenvalues(
    kernel: Kernel,
    mut tiles: SymmetricTiles,
    width: usize,
    cancelled: Cancelled,
    ended: &mut dyn FnMut(Stage),
) -> Result<Vec<f64>, EigenError> {
    let poll = Poll { cancelled };
    let largest = largest_magnitude(tiles.elements());
    if !largest.is_finite() {
        return Err(EigenError::NotFinite);
    }
    if largest == 0.0 {
        return Ok(vec![0.0; tiles.order()]);
    }
    // To entries of at most 1, by a power of two (no rounding): squares neither overflow nor lose small columns.
    let exponent = exponent_above(largest);
    scale(tiles.elements_mut(), -exponent);
    let band = band::reduce(kernel, &mut tiles, width, poll)?;
    drop(tiles);
    ended(Stage::Band);
    let (mut d, e) = chase::tridiagonalize(kernel, band, poll)?;
    ended(Stage::Chase);
    tridiagonal::eigenvalues(kernel, &mut d, e, poll)?;
    scale(&mut d, exponent);
    ended(Stage::Tridiagonal);
    Ok(d)
}

/// Half bandwidth b for order n: wide bands need fewer passes over the matrix (4 n^3 / 3 b bytes each way), narrow ones
/// less work in the second stage (6 n^2 b flops). Measured on Zen 4 with AVX-512, where the neighbouring width costs
/// 2-5%; up to 1280 the matrix stays in the third-level cache and passes are cheap.
pub fn band_width(n: usize) -> usize {
    match n {
        0..=1279 => 8,
        1280..=3071 => 16,
        _ => 24,
    }
}

/// Elements that one thread goes over without asking others.
const STRETCH: usize = 1 << 18;

/// Largest magnitude, or NaN if an element is not finite.
fn largest_magnitude(x: &[f64]) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    x.par_chunks(STRETCH).map(largest_in_stretch).reduce(|| 0.0, larger)
}

fn largest_in_stretch(x: &[f64]) -> f64 {
    // Eight chains, so that the compiler makes vectors of them; 0 x is NaN unless x is finite.
    let (mut largest, mut poison) = ([0.0f64; 8], [0.0f64; 8]);
    let (chunks, rest) = x.as_chunks::<8>();
    for chunk in chunks {
        for i in 0..8 {
            let magnitude = chunk[i].abs();
            largest[i] = if magnitude > largest[i] { magnitude } else { largest[i] };
            poison[i] += 0.0 * chunk[i];
        }
    }
    let tail = rest.iter().fold(0.0f64, |max, x| max.max(x.abs()) + 0.0 * x);
    largest.iter().fold(tail, |max, x| max.max(*x)) + poison.iter().sum::<f64>()
}

/// An exponent k with |x| <= 2^k, at most one too large; x is finite and not zero.
pub(super) fn exponent_above(x: f64) -> i32 {
    let bits = |x: f64| ((x.abs().to_bits() >> 52) & 0x7ff) as i32;
    match bits(x) {
        // Subnormal: measured after an exact scaling.
        0 => bits(x * power_of_two(600)) - 1022 - 600,
        biased => biased - 1022,
    }
}

/// 2^k for |k| < 1022.
pub(super) fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

/// Multiplies by 2^k in two steps: 2^k itself may be beyond the range (from subnormals up).
pub(super) fn scale(x: &mut [f64], k: i32) {
    let (first, second) = (power_of_two(k / 2), power_of_two(k - k / 2));
    x.par_chunks_mut(STRETCH).for_each(|x| {
        for x in x {
            *x = *x * first * second;
        }
    });
}
