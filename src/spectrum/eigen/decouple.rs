//! Rows and columns that no element couples with the others: they are eigenvalues as they stand.
//!
//! Coarse levels leave such Gram matrices: at 2 bit nine of ten columns of a weight matrix can be zero.

use super::{EigenError, Poll};
use crate::spectrum::tiles::SymmetricTiles;

/// Eigenvalues, ascending: the elements on the diagonal of rows that are zero elsewhere, and those of the rest by `solve`.
///
/// # Errors
/// As `solve`; [`EigenError::NotFinite`]; [`EigenError::Cancelled`].
///
/// # Cost
/// n reads where every row begins with an element that is not zero; at most n^2, and n^2 / 2 moves where a row is taken out. The
/// matrix is not copied: the rest moves together.
pub(super) fn solve_coupled(
    mut tiles: SymmetricTiles,
    poll: Poll,
    solve: impl FnOnce(SymmetricTiles) -> Result<Vec<f64>, EigenError>,
) -> Result<Vec<f64>, EigenError> {
    let n = tiles.order();
    let is_coupled = |row: usize| (0..n).any(|column| column != row && tiles.at_either(row, column) != 0.0);
    let (mut coupled, mut alone) = (Vec::with_capacity(n), Vec::new());
    for row in 0..n {
        poll.check()?;
        if is_coupled(row) { &mut coupled } else { &mut alone }.push(row);
    }
    if alone.is_empty() {
        return solve(tiles);
    }
    let mut values: Vec<f64> = alone.iter().map(|row| tiles.at(*row, *row)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(EigenError::NotFinite);
    }
    tiles.keep(&coupled);
    values.extend(solve(tiles)?);
    values.sort_unstable_by(f64::total_cmp);
    Ok(values)
}
