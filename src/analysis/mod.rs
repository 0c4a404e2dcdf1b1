//! The work itself: which tensors, in which order, through which stages; and the levels against one another.

mod combine;
mod compare;
mod detail;
mod distance_run;
mod distances;
mod errors;
mod filter;
mod flight;
mod kept;
mod layer;
mod layers;
mod measures;
mod options;
mod paired;
mod pairs;
mod plan;
mod row;
mod run;
mod scores;
mod smooth;
mod stack;
mod trust;
mod weights;

pub use combine::{Combination, Combined, Operand, adapter_alpha, select_combined};
pub use compare::compare;
pub use detail::{
    Detail, DetailPart, FitDetail, LayerDetail, NOT_ONE_TENSOR, Place, RandomDetail, SpectrumDetail, refit,
};
pub use distance_run::DistanceRun;
pub use distances::{DistanceMethod, Distances};
pub use errors::RoundingNoise;
pub use flight::{Progress, Side};
pub use layer::LayerTask;
pub use layers::{Layer, LayerKind, Selection, select};
pub use measures::curves;
pub use options::{Compat, Options, Peft};
pub use pairs::{PairRun, PairSpectra, PairSpectrum};
pub use plan::{Limits, Next};
pub use run::{Analysis, Finished, comparison, describe, describe_with_base, report};
pub use scores::{Score, ScoreCorrelation, check_scores, correlate, correlations_csv, parse_scores};
pub use smooth::{Smoothed, Smoothing, smoothed};
pub use stack::Stack;
