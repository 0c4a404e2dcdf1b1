//! The order of the work, and how much of it may be in memory at once. A state machine without clock or threads: both
//! shells ask it what to do next.

use std::collections::VecDeque;

use super::layer::Choice;
use super::layers::Layer;

/// What the machine gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads that compute.
    pub threads: usize,
    /// Bytes that all layers in flight may take together. A layer that needs more on its own still runs, alone, unless it
    /// is over `hard_limit`.
    pub memory: u64,
    /// Bytes that can't be had at all: a layer that needs more is a row with a reason.
    pub hard_limit: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read the bytes of this layer and submit them.
    Read(usize),
    /// Nothing until a layer in flight is finished.
    Wait,
    /// All layers are finished.
    Done,
}

/// What a task takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Cost {
    /// Floating-point operations.
    pub work: f64,
    /// Bytes while it is in flight.
    pub bytes: u64,
    /// Bytes without which it can't be done.
    pub least: u64,
}

impl Cost {
    /// Of a layer at some levels, as many at once as fit; none of one without levels.
    pub fn of(layer: &Layer, choices: &[Choice], limits: &Limits) -> Option<Self> {
        let need = Need::new(layer, choices);
        let levels = if layer.info.counted { choices.len() } else { 1 };
        let (bytes, least) = (need.bytes(concurrent_levels(&need, limits)), need.bytes(1));
        (!choices.is_empty()).then(|| Self { work: layer.work() * levels as f64, bytes, least })
    }
}

/// What is waiting, in flight and finished.
#[derive(Debug)]
pub(super) struct Plan {
    waiting: VecDeque<usize>,
    needs: Vec<u64>,
    in_flight: Vec<usize>,
    in_flight_bytes: u64,
    limits: Limits,
}

impl Plan {
    /// A plan that takes the tasks with the most work first: the small ones then fill the gaps at the end. Those without a
    /// cost are finished already.
    pub(super) fn new(costs: &[Option<Cost>], limits: Limits) -> Self {
        let cost = |task: usize| costs[task].unwrap_or_default();
        let mut waiting: Vec<usize> = (0..costs.len()).filter(|task| costs[*task].is_some()).collect();
        waiting.sort_by(|a, b| cost(*b).work.total_cmp(&cost(*a).work).then(a.cmp(b)));
        let needs = (0..costs.len()).map(|task| cost(task).bytes).collect();
        Self { waiting: waiting.into(), needs, in_flight: Vec::new(), in_flight_bytes: 0, limits }
    }

    /// What to do next. [`Next::Read`] counts the layer as in flight.
    pub(super) fn next(&mut self) -> Next {
        let Some(&layer) = self.waiting.front() else {
            return if self.in_flight.is_empty() { Next::Done } else { Next::Wait };
        };
        // One more than the threads, so that a layer is read while the others are computed.
        let has_room = self.in_flight.len() <= self.limits.threads
            && self.in_flight_bytes + self.needs[layer] <= self.limits.memory;
        if !has_room && !self.in_flight.is_empty() {
            return Next::Wait;
        }
        self.waiting.pop_front();
        self.in_flight.push(layer);
        self.in_flight_bytes += self.needs[layer];
        Next::Read(layer)
    }

    /// Moves layers that are still waiting to the front, in the order they have.
    pub(super) fn prioritize(&mut self, is_first: impl Fn(usize) -> bool) {
        let (first, rest): (Vec<usize>, Vec<usize>) = self.waiting.drain(..).partition(|layer| is_first(*layer));
        self.waiting = first.into_iter().chain(rest).collect();
    }

    /// Takes a finished layer out of flight.
    pub(super) fn finished(&mut self, layer: usize) {
        if let Some(place) = self.in_flight.iter().position(|l| *l == layer) {
            self.in_flight.swap_remove(place);
            self.in_flight_bytes -= self.needs[layer];
        }
    }
}

/// How many levels of a layer to compute at once: as many as there are threads, while they fit into memory.
pub(super) fn concurrent_levels(need: &Need, limits: &Limits) -> usize {
    let mut count = need.levels.min(limits.threads).max(1);
    while count > 1 && need.bytes(count) > limits.memory {
        count -= 1;
    }
    count
}

/// What memory a layer takes.
pub(super) struct Need {
    levels: usize,
    weights: u64,
    per_level: u64,
}

impl Need {
    /// The weights in f32 (with the file's bytes beside them while they are decoded, of which they are at most twice and at
    /// least half), and for each level at once a Gram matrix (half of it is kept; of codes also its sums in integers) and some
    /// panels, here and in the reduction to a band; where a level is not elementwise, also the dequantized weights and, at
    /// worst, a byte and a part of a scale for each of them.
    pub fn new(layer: &Layer, choices: &[Choice]) -> Self {
        let (n, _) = layer.gram_shape();
        let (rows, cols) = layer.matrix_shape();
        let (n, elements) = (n as u64, (rows as u64).saturating_mul(cols as u64));
        let gram = n.saturating_mul(n).saturating_mul(8);
        let panels = n.saturating_mul(8192);
        let is_whole = layer.info.counted && choices.iter().any(|choice| !choice.scheme.is_elementwise());
        // Before and after quantizing.
        let operands = layer.combined.as_ref().map_or(0, |combined| combined.elements().saturating_mul(2));
        let whole = if is_whole { elements.saturating_mul(6) } else { 0 };
        Self {
            levels: choices.len(),
            weights: elements.saturating_add(operands).saturating_mul(4),
            per_level: gram.saturating_add(panels).saturating_add(whole),
        }
    }

    /// Bytes with that many levels at once.
    pub fn bytes(&self, levels: usize) -> u64 {
        let at_once = (levels as u64).saturating_mul(self.per_level);
        self.weights.saturating_add(at_once).max(self.weights.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::layers::LayerKind;
    use crate::quant::Scheme;
    use crate::report::LayerInfo;

    fn layer(rows: usize, cols: usize) -> Layer {
        let (n, m) = (rows.max(cols) as u64, rows.min(cols) as u64);
        let info = LayerInfo {
            layer_id: 0,
            name: String::new(),
            layer_type: "dense".to_owned(),
            dtype: "F16".to_owned(),
            shape: vec![rows as u64, cols as u64],
            n,
            m,
            q: n as f64 / m as f64,
            rf: 1,
            num_evals: m,
            counted: true,
            block: None,
            module: String::new(),
        };
        Layer { tensor: 0, kind: LayerKind::Dense { rows, cols }, info, combined: None }
    }

    fn choices(levels: usize) -> Vec<Choice> {
        let level = Scheme::Naive { bits: 4, symmetric: true };
        vec![Choice { level, scheme: level }; levels]
    }

    #[test]
    fn the_largest_come_first_and_as_many_as_fit() {
        let layers = [layer(100, 100), layer(1000, 1000), layer(900, 1000)];
        let choices = vec![choices(1); 3];
        let need = |index: usize| Need::new(&layers[index], &choices[index]).bytes(1);
        let room = |memory| Limits { threads: 2, memory, hard_limit: u64::MAX };
        let plan = |limits: Limits| {
            let costs: Vec<_> =
                layers.iter().zip(&choices).map(|(layer, choices)| Cost::of(layer, choices, &limits)).collect();
            Plan::new(&costs, limits)
        };
        let mut waiting = plan(room(need(1) + need(0)));
        assert_eq!(waiting.next(), Next::Read(1));
        assert_eq!(waiting.next(), Next::Wait);
        waiting.finished(1);
        assert_eq!(waiting.next(), Next::Read(2));
        assert_eq!(waiting.next(), Next::Read(0));
        waiting.finished(2);
        waiting.finished(0);
        assert_eq!(waiting.next(), Next::Done);
        // What does not fit at all runs alone.
        let mut waiting = plan(room(0));
        assert_eq!((waiting.next(), waiting.next()), (Next::Read(1), Next::Wait));
    }

    #[test]
    fn levels_at_once_are_bounded_by_threads_and_memory() {
        let need = Need::new(&layer(1000, 4000), &choices(6));
        let limits = |threads, memory| Limits { threads, memory, hard_limit: u64::MAX };
        assert_eq!(concurrent_levels(&need, &limits(4, u64::MAX)), 4);
        assert_eq!(concurrent_levels(&need, &limits(8, u64::MAX)), 6);
        assert_eq!(concurrent_levels(&need, &limits(4, need.bytes(2))), 2);
        assert_eq!(concurrent_levels(&need, &limits(4, 0)), 1);
    }

    #[test]
    fn the_largest_matrices_have_room() {
        // As many eigenvalues as are analysed by default, on 8 GB; and what a page must hold in wasm's 4 GiB.
        assert!(Need::new(&layer(15_000, 50_000), &choices(6)).bytes(1) < 8_000_000_000);
        assert!(Need::new(&layer(8192, 28_672), &choices(6)).bytes(1) < 3_200_000_000);
    }
}
