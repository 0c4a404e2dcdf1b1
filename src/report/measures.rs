//! Columns that a row has only when they were asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::number::Number;

/// The value of such a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number, or none.
    Number(Number),
    /// Words.
    Text(String),
}

impl Cell {
    /// How it is written in a CSV cell: whole numbers without a point, since many of these columns are counts.
    pub fn to_text(&self) -> String {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Cell::Number(Number(Some(v))) if v.fract() == 0.0 && v.abs() < EXACT => format!("{v:.0}"),
            Cell::Number(number) => number.to_text(),
            Cell::Text(text) => text.clone(),
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Cell::Number(number) => number.0,
            Cell::Text(_) => None,
        }
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Number(value.into())
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        Cell::Number(value.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

/// Columns by name, in the order of ASCII, as `WeightWatcher` orders its own.
pub type Measures = BTreeMap<String, Cell>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_json() {
        assert_eq!(Cell::from(-3.0).to_text(), "-3");
        for cell in [Cell::from(0.1), Cell::from(f64::INFINITY), Cell::from(None), Cell::from("short tail".to_owned())]
        {
            let json = serde_json::to_string(&cell).unwrap();
            assert_eq!(serde_json::from_str::<Cell>(&json).unwrap(), cell, "{json}");
        }
    }
}
