//! The order of the work, and how much of it may be in memory at once. A state machine without clock or threads: both
//! shells ask it what to do next.

use std::collections::VecDeque;

use super::combine::Combined;
use super::layer::Choice;
use super::layers::{Layer, LayerKind};
use super::options::Options;
use super::weights::needs_whole;
use crate::format::TensorInfo;
use crate::spectrum::{SPARSE_ORDER, backend};

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

impl Limits {
    /// What is wrong with something that needs so many bytes.
    pub(super) fn exceeded_by(&self, bytes: u64) -> String {
        let megabytes = bytes.div_ceil(1_000_000);
        format!("needs {megabytes} MB of memory, more than the {} MB there are", self.hard_limit / 1_000_000)
    }
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
    /// Why it is not read in slices, if these would fit where the whole does not.
    pub why: Option<&'static str>,
}

impl Cost {
    /// Of a layer at some levels, as many at once as fit; none of one without levels.
    pub fn of(layer: &Layer, choices: &[Choice], of: (&TensorInfo, &Options), limits: &Limits) -> Option<Self> {
        let need = Need::new(layer, choices, of, limits);
        let levels = if layer.info.counted { choices.len() } else { 1 };
        let (bytes, least) = (need.bytes(levels_together(&need, limits)), need.bytes(1));
        let would_fit = || Need::sliced(layer, choices, of.0).bytes(1) <= limits.hard_limit;
        let why = needs_whole(layer, of.0, of.1).filter(|_| least > limits.hard_limit && would_fit());
        (!choices.is_empty()).then(|| Self { work: layer.work() * levels as f64, bytes, least, why })
    }

    /// What is wrong with it, if there is less memory than it needs.
    pub fn excess(&self, limits: &Limits) -> Option<String> {
        let more = self.why.map_or_else(String::new, |why| format!("; {why}"));
        (self.least > limits.hard_limit).then(|| limits.exceeded_by(self.least) + &more)
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
        let has_room = self.in_flight.len() < self.limits.threads + AHEAD
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

/// Layers in flight beyond one for each thread: one is read while another lies ready for the thread that is done first. A
/// thread that waits for the last level of its layer begins another layer meanwhile, so a single one would be gone too soon.
const AHEAD: usize = 2;

/// How many levels of a layer to hand out together. All, where memory would hold those of as many such layers as are in flight:
/// no thread waits for another's level before it takes the next. Else as many as are computed at once.
pub(super) fn levels_together(need: &Need, limits: &Limits) -> usize {
    let in_flight = (limits.threads + AHEAD) as u64;
    if need.bytes(need.levels).saturating_mul(in_flight) <= limits.memory {
        need.levels.max(1)
    } else {
        concurrent_levels(need, limits)
    }
}

/// How many levels of a layer to compute at once: as many as there are threads, while they fit into memory.
fn concurrent_levels(need: &Need, limits: &Limits) -> usize {
    let mut count = need.levels.min(limits.threads).max(1);
    while count > 1 && need.bytes(count) > limits.memory {
        count -= 1;
    }
    count
}

/// What memory a layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// Whether its weights are never whole in f32, so that levels which look at the whole matrix can't be computed.
    pub in_slices: bool,
    levels: usize,
    weights: u64,
    decoding: u64,
    per_level: u64,
}

impl Need {
    /// Whole where that fits into the memory for all layers in flight. A larger layer is read in slices if that takes less,
    /// unless it would cost levels for which there is memory.
    pub fn new(layer: &Layer, choices: &[Choice], of: (&TensorInfo, &Options), limits: &Limits) -> Self {
        let whole = Self::whole(layer, choices, of);
        let bytes = whole.bytes(1);
        let can_wait = whole_levels(layer, choices) && bytes <= limits.hard_limit;
        if bytes <= limits.memory || can_wait || needs_whole(layer, of.0, of.1).is_some() {
            return whole;
        }
        let sliced = Self::sliced(layer, choices, of.0);
        if sliced.bytes(1) < bytes { sliced } else { whole }
    }

    /// The weights as they are stored, with what they are inflated to and tables of scales; for each level at once what
    /// [`level`] says, and a slice in f32, which for codes is of 1024 rows.
    fn sliced(layer: &Layer, choices: &[Choice], info: &TensorInfo) -> Self {
        let n = layer.gram_shape().0 as u64;
        let weights = info.open_bytes();
        let decoding = weights.max(info.decoding_bytes());
        let per_level = level(n).saturating_add(n.saturating_mul(4096));
        Self { in_slices: true, levels: choices.len(), weights, decoding, per_level }
    }

    /// The weights in f32, with the file's bytes beside them while they are decoded, and for each level at once what
    /// [`level`] says; of a convolution also the matrix of one kernel position; where a level is not elementwise, also the dequantized weights and, at worst, a byte and a part of a
    /// scale for each of them. Measures that look at the weights have copies of them, and eigenvectors.
    pub fn whole(layer: &Layer, choices: &[Choice], (info, options): (&TensorInfo, &Options)) -> Self {
        let (n, _) = layer.gram_shape();
        let (rows, cols) = layer.matrix_shape();
        let elements = (rows as u64).saturating_mul(cols as u64);
        let operands = layer.combined.as_ref().map_or(0, Combined::elements);
        let weights = elements.saturating_add(operands).saturating_mul(4);
        let decoding = match layer.combined {
            // Of several tensors: at most twice.
            Some(_) => weights.saturating_mul(2),
            None => weights.saturating_add(info.decoding_bytes()),
        };
        // What a level leaves of the tensors, as they are and turned, and what is made of them in two steps.
        let of_operands = match layer.combined {
            Some(_) => elements.saturating_add(operands).saturating_mul(8),
            None => 0,
        };
        let of_whole_levels = if whole_levels(layer, choices) { elements.saturating_mul(6) } else { 0 };
        let of_position = match layer.kind {
            LayerKind::Conv2d { positions: 2.., .. } => elements.saturating_mul(4) / layer.info.rf.max(1),
            _ => 0,
        };
        // As the level leaves them; in random order; the error, and all bits in order.
        let copies = match options {
            Options { errors: true, .. } => 3,
            Options { randomize: true, .. } | Options { trust: true, .. } => 2,
            Options { vectors: true, .. } | Options { farms: 1.., .. } => 1,
            _ => 0,
        };
        let vectors = if options.vectors { 24 } else { 0 } * (n as u64).saturating_mul(n as u64);
        let of_measures = elements.saturating_mul(4 * copies).saturating_add(vectors);
        let per_level = [of_position, of_whole_levels, of_measures, of_operands];
        let per_level = per_level.into_iter().fold(level(n as u64), u64::saturating_add);
        Self { in_slices: false, levels: choices.len(), weights, decoding, per_level }
    }

    /// Bytes with that many levels at once.
    pub fn bytes(&self, levels: usize) -> u64 {
        let at_once = (levels as u64).saturating_mul(self.per_level);
        self.weights.saturating_add(at_once).max(self.decoding)
    }
}

/// Bytes of a level of order n: a Gram matrix (half of it is kept; of codes also its sums in integers; of a library all of it)
/// and some panels, here and in the reduction to a band.
fn level(n: u64) -> u64 {
    let square = n.saturating_mul(n);
    // Sums of few codes and of few residues are kept apart.
    let of_codes = if n <= SPARSE_ORDER as u64 { 12 } else { 8 };
    backend::selected().bytes(n).max(square.saturating_mul(of_codes)).saturating_add(n.saturating_mul(8192))
}

/// Whether some level looks at the whole matrix.
fn whole_levels(layer: &Layer, choices: &[Choice]) -> bool {
    layer.info.counted && choices.iter().any(|choice| !choice.scheme.is_elementwise())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Storage;
    use crate::quant::Scheme;
    use crate::tensor::Dtype;

    fn choices(levels: usize) -> Vec<Choice> {
        let level = Scheme::Naive { bits: 4, symmetric: true };
        vec![Choice { level, scheme: level }; levels]
    }

    fn halves(layer: &Layer) -> TensorInfo {
        let shape = layer.info.shape.clone();
        let end = 2 * shape.iter().product::<u64>();
        TensorInfo { name: String::new(), dtype: Dtype::F16, shape, begin: 0, end, storage: Storage::Plain }
    }

    fn limits(threads: usize, memory: u64, hard_limit: u64) -> Limits {
        Limits { threads, memory, hard_limit }
    }

    fn need(layer: &Layer, choices: &[Choice], limits: Limits) -> Need {
        Need::new(layer, choices, (&halves(layer), &Options::default()), &limits)
    }

    const PLENTY: Limits = Limits { threads: 2, memory: u64::MAX, hard_limit: u64::MAX };

    #[test]
    fn the_largest_come_first_and_as_many_as_fit() {
        let layers = [Layer::dense(100, 100), Layer::dense(1000, 1000), Layer::dense(900, 1000)];
        let choices = vec![choices(1); 3];
        let bytes = |index: usize| need(&layers[index], &choices[index], PLENTY).bytes(1);
        let plan = |memory| {
            let room = limits(2, memory, u64::MAX);
            let cost = |(layer, choices): (&Layer, &Vec<Choice>)| {
                Cost::of(layer, choices, (&halves(layer), &Options::default()), &room)
            };
            let costs: Vec<_> = layers.iter().zip(&choices).map(cost).collect();
            Plan::new(&costs, room)
        };
        let mut waiting = plan(bytes(1) + bytes(0));
        assert_eq!(waiting.next(), Next::Read(1));
        assert_eq!(waiting.next(), Next::Wait);
        waiting.finished(1);
        assert_eq!(waiting.next(), Next::Read(2));
        assert_eq!(waiting.next(), Next::Read(0));
        waiting.finished(2);
        waiting.finished(0);
        assert_eq!(waiting.next(), Next::Done);
        // What does not fit at all runs alone.
        let mut waiting = plan(0);
        assert_eq!((waiting.next(), waiting.next()), (Next::Read(1), Next::Wait));
    }

    #[test]
    fn levels_at_once_are_bounded_by_threads_and_memory() {
        let need = need(&Layer::dense(1000, 4000), &choices(6), PLENTY);
        assert_eq!(concurrent_levels(&need, &limits(4, u64::MAX, u64::MAX)), 4);
        assert_eq!(concurrent_levels(&need, &limits(8, u64::MAX, u64::MAX)), 6);
        assert_eq!(concurrent_levels(&need, &limits(4, need.bytes(2), u64::MAX)), 2);
        assert_eq!(concurrent_levels(&need, &limits(4, 0, u64::MAX)), 1);
        // Two threads have up to four layers in flight.
        assert_eq!(levels_together(&need, &limits(2, 4 * need.bytes(6), u64::MAX)), 6);
        assert_eq!(levels_together(&need, &limits(2, 4 * need.bytes(6) - 1, u64::MAX)), 2);
    }

    #[test]
    fn two_layers_lie_ready_for_the_threads() {
        let cost = Some(Cost { work: 1.0, bytes: 1, least: 1, why: None });
        let mut plan = Plan::new(&[cost; 9], limits(3, u64::MAX, u64::MAX));
        assert_eq!((0..6).filter(|_| plan.next() != Next::Wait).count(), 5);
        plan.finished(2);
        assert_eq!((plan.next(), plan.next()), (Next::Read(5), Next::Wait));
    }

    #[test]
    fn the_largest_matrices_have_room() {
        // As many eigenvalues as are analysed by default, on 8 GB; and what a page must hold in wasm's 4 GiB.
        let eight = limits(2, 8_000_000_000, 8_000_000_000);
        assert!(!need(&Layer::dense(15_000, 50_000), &choices(6), eight).in_slices);
        let page = limits(2, 1_000_000_000, 3_200_000_000);
        assert!(need(&Layer::dense(8192, 28_672), &choices(6), page).bytes(1) < page.memory + 200_000_000);
        let four = limits(2, 4_000_000_000, 4_000_000_000);
        let sliced = need(&Layer::dense(15_000, 50_000), &choices(6), four);
        assert!(sliced.in_slices && sliced.bytes(1) < four.memory);
    }

    #[test]
    fn a_view_needs_its_whole_extent() {
        // Every 100th of 400,000,000 bytes' values, columns first.
        let (layer, (rows, cols)) = (Layer::dense(1000, 500), (1000, 500));
        let view = TensorInfo {
            dtype: Dtype::F64,
            end: 8 * 100 * rows * cols,
            storage: Storage::Strided(vec![100, 100 * rows]),
            ..halves(&layer)
        };
        let need = Need::whole(&layer, &choices(1), (&view, &Options::default()));
        assert_eq!(need.bytes(1), 4 * rows * cols + 800 * rows * cols);
    }

    #[test]
    fn slices_cost_no_level_that_has_memory() {
        let (layer, naive) = (Layer::dense(1000, 4000), choices(1));
        let block = Choice { level: "q8_0".parse().unwrap(), scheme: "q8_0".parse().unwrap() };
        let both = [naive[0], block];
        let whole = need(&layer, &both, PLENTY);
        assert!(!whole.in_slices && !need(&layer, &naive, PLENTY).in_slices);
        let soft = limits(2, 1, u64::MAX);
        assert!(!need(&layer, &both, soft).in_slices && need(&layer, &naive, soft).in_slices);
        let hard = limits(2, 1, whole.bytes(1) - 1);
        assert!(need(&layer, &both, hard).in_slices);
        // Where the matrix itself is looked at, slices of it won't do.
        let looking = Options { errors: true, ..Options::default() };
        assert!(!Need::new(&layer, &naive, (&halves(&layer), &looking), &soft).in_slices);
        let permuted = TensorInfo { storage: Storage::Strided(vec![1, 1000]), ..halves(&layer) };
        assert!(Need::new(&layer, &naive, (&permuted, &Options::default()), &soft).in_slices);
        // One value in 100 of what is read: the whole in f32 is far less.
        let sparse =
            TensorInfo { storage: Storage::Strided(vec![400_000, 100]), end: 100 * 8_000_000, ..halves(&layer) };
        assert!(!Need::new(&layer, &naive, (&sparse, &Options::default()), &soft).in_slices);
        let cost = |options| Cost::of(&layer, &naive, (&halves(&layer), options), &limits(2, 1, 35_000_000)).unwrap();
        let (looking_at_it, slices) = (cost(&looking), cost(&Options::default()));
        assert!(looking_at_it.least > 35_000_000 && slices.least < 35_000_000, "{looking_at_it:?} {slices:?}");
        assert_eq!((looking_at_it.why, slices.why), (Some("without errors it would be read in slices"), None));
        // Three copies of the weights for the errors.
        let bytes = |options| Need::whole(&layer, &naive, (&halves(&layer), options)).bytes(1);
        assert_eq!(bytes(&looking) - bytes(&Options::default()), 12 * 4_000_000);
    }
}
