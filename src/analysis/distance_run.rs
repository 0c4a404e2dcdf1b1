//! Distances between two models as a run: what to read next, and what is finished.

use std::sync::Arc;
use std::time::Duration;

use super::distances::Distances;
use super::flight::{Flight, Progress, Side};
use super::plan::{Limits, Next};
use crate::format::{Model, Part};
use crate::progress::Cancellation;
use crate::report::{DistanceReport, DistanceRow};

/// The pairs of [`Distances`], one after another or several at a time: a state machine as [`super::PairRun`] is one.
pub struct DistanceRun {
    shared: Arc<Distances>,
    flight: Flight<Vec<DistanceRow>>,
    cancellation: Cancellation,
    rows: Vec<(usize, Vec<DistanceRow>)>,
}

impl DistanceRun {
    /// Plans the pairs, the most work first.
    pub fn new(distances: Distances, limits: Limits, cancellation: Cancellation) -> Self {
        let costs = (0..distances.len()).map(|pair| Some(distances.cost(pair))).collect();
        Self { shared: Arc::new(distances), flight: Flight::new(costs, limits), cancellation, rows: Vec::new() }
    }

    /// What to do next. A pair that can't fit into memory is not handed out: it is finished at once, with the reason.
    pub fn next_step(&mut self) -> Next {
        let shared = &self.shared;
        self.flight.next(|pair, reason| vec![shared.failed(pair, reason)])
    }

    /// See [`super::Analysis::memory`].
    pub fn memory(&self) -> u64 {
        self.flight.memory()
    }

    /// The name of a pair's weight in the first model.
    pub fn name(&self, pair: usize) -> &str {
        &self.shared.sources(pair)[0].1.info.name
    }

    /// Where the bytes of a pair are, of both models.
    pub fn parts(&self, pair: usize) -> Vec<(Side, Part)> {
        let side = |is_second| if is_second { Side::Second } else { Side::First };
        let sources = self.shared.sources(pair).into_iter();
        sources
            .flat_map(|(is_second, entry)| entry.parts().into_iter().map(move |part| (side(is_second), part)))
            .collect()
    }

    /// One of the models.
    pub fn model(&self, side: Side) -> &Model {
        self.shared.model(side == Side::Second)
    }

    /// The work of a pair whose bytes are there, all of [`DistanceRun::parts`] one after another: run it on a thread of your
    /// choice.
    pub fn task(&self, pair: usize, bytes: Vec<u8>) -> impl FnOnce() + Send + 'static {
        let work = move |shared: &Distances| shared.rows(pair, &bytes);
        let fault = move |shared: &Distances| {
            vec![shared.failed(pair, "internal error while this layer was compared; please report it")]
        };
        self.flight.task(pair, &self.shared, &self.cancellation, work, fault)
    }

    /// Gives a pair up whose bytes could not be read.
    pub fn fail(&mut self, pair: usize, reason: &str) {
        self.flight.finish(pair, vec![self.shared.failed(pair, reason)]);
    }

    /// Takes in what was finished, waiting up to `wait` for a first pair if there is none; and how far the run is.
    pub fn take_finished(&mut self, wait: Duration) -> Progress {
        self.rows.extend(self.flight.take(wait));
        self.flight.progress()
    }

    /// The report of what is finished, in the order of the first model.
    pub fn report(&self) -> DistanceReport {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(pair, _)| *pair);
        self.shared.report(rows.into_iter().flat_map(|(_, rows)| rows.clone()).collect())
    }
}
