//! The curves behind a row's numbers.

use serde::{Deserialize, Serialize};

use super::number::Number;
use crate::powerlaw::{CurvePoint, HillPoint};

/// What a row keeps of its spectrum for pictures; every list is thinned to a bounded length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curves {
    /// Alpha, its standard error and the distance against xmin, ascending in xmin; the fit's own is among them.
    pub xmin: Vec<CurvePoint>,
    /// Hill's estimate of alpha against the number of values, ascending.
    pub hill: Vec<HillPoint>,
    /// The distance of each eigenvalue from the one before, ascending in the eigenvalue.
    pub deltas: Vec<DeltaPoint>,
}

/// The distance of an eigenvalue from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DeltaPoint {
    /// Its place among the eigenvalues, from 0.
    pub place: usize,
    /// `log10` of the distance; minus infinity for equal eigenvalues.
    pub log_delta: Number,
}
