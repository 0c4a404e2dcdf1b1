//! What was found, as plain data, and the files and tables made of it. The numbers keep `WeightWatcher`'s names, so that
//! notebooks written for it read our files.

mod csv;
mod curves;
mod distances;
mod json;
mod measures;
mod number;
mod pairs;
mod rows;
mod table;
mod verdict;

pub use self::csv::{comparison_csv, details_csv, distances_csv, harmless, layers_csv};
pub use self::curves::{Curves, DeltaPoint};
pub use self::distances::{DistanceReport, DistanceRow, distances_json};
pub use self::json::report_json;
pub use self::measures::{Cell, Measures};
pub use self::number::Number;
pub use self::pairs::{PairReport, PairRow, PairTotals, Unmatched, pairs_csv, pairs_json};
pub use self::rows::{
    ComparisonRow, Head, LayerInfo, LayerRow, LevelInfo, ModelInfo, ModelReport, RunStatus, SCHEMA, SCHEMA_VERSION,
    Settings, Skipped, Status, Summary,
};
pub use self::table::{ComparisonCell, comparison_cells, report_markdown};
pub use self::verdict::{Verdict, verdict};
