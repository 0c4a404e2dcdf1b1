//! The order of the work, and how much of it may be in memory at once. A state machine without clock or threads: both
//! shells ask it what to do next.

use std::collections::VecDeque;

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
    /// A plan that takes the layers with the most work first: the small ones then fill the gaps at the end.
    pub(super) fn new(layers: &[Layer], elements: impl Fn(&Layer) -> u64, levels: usize, limits: Limits) -> Self {
        let mut waiting: Vec<usize> = (0..layers.len()).collect();
        waiting.sort_by(|a, b| layers[*b].work().total_cmp(&layers[*a].work()).then(a.cmp(b)));
        let needs = layers
            .iter()
            .map(|layer| {
                bytes_needed(layer, elements(layer), concurrent_levels(layer, elements(layer), levels, &limits))
            })
            .collect();
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

    /// Takes a finished layer out of flight.
    pub(super) fn finished(&mut self, layer: usize) {
        if let Some(place) = self.in_flight.iter().position(|l| *l == layer) {
            self.in_flight.swap_remove(place);
            self.in_flight_bytes -= self.needs[layer];
        }
    }

    /// Bytes that a layer takes at least: with one level at a time.
    pub(super) fn smallest_need(layer: &Layer, elements: u64) -> u64 {
        bytes_needed(layer, elements, 1)
    }
}

/// How many levels of a layer to compute at once: as many as there are threads, while they fit into memory.
pub(super) fn concurrent_levels(layer: &Layer, elements: u64, levels: usize, limits: &Limits) -> usize {
    let mut count = levels.min(limits.threads).max(1);
    while count > 1 && bytes_needed(layer, elements, count) > limits.memory {
        count -= 1;
    }
    count
}

/// The weights in f32 (with the file's bytes beside them while they are decoded, of which they are at most twice and at
/// least half), and for each level at once a Gram matrix and a few panels.
fn bytes_needed(layer: &Layer, elements: u64, levels: usize) -> u64 {
    let (n, _) = layer.gram_shape();
    let n = n as u64;
    let gram = n.saturating_mul(n).saturating_mul(8);
    let panels = n.saturating_mul(256 * 16);
    let weights = elements.saturating_mul(4);
    weights.saturating_add((levels as u64).saturating_mul(gram.saturating_add(panels))).max(weights.saturating_mul(2))
}
