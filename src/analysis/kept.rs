//! Rows of an earlier run, which need not be computed again.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::Choice;
use super::layers::Layer;
use super::options::Options;
use crate::report::{Head, LayerRow, Settings};

/// What is kept of one layer.
#[derive(Debug, Default)]
pub(super) struct Kept {
    levels: BTreeSet<String>,
    pub rows: Vec<LayerRow>,
}

impl Kept {
    /// Whether a level is there already.
    pub fn has(&self, level: &str) -> bool {
        self.levels.contains(level)
    }

    /// What is left to compute of a layer: the missing levels; with the baseline if they need it.
    pub fn missing(&self, layer: &Layer, choices: &[Choice], options: &Options) -> Vec<Choice> {
        let is_missing = |choice: &&Choice| !self.has(&choice.level.to_string());
        let missing: Vec<Choice> = choices.iter().filter(is_missing).copied().collect();
        match choices.first() {
            Some(first) if !missing.is_empty() && !missing.contains(first) && needs_baseline(layer, options) => {
                std::iter::once(*first).chain(missing).collect()
            }
            _ => missing,
        }
    }
}

/// Whether rows of a level are made with what was found at the baseline, and not only compared with it afterwards.
fn needs_baseline(layer: &Layer, options: &Options) -> bool {
    options.trust || options.errors || !layer.info.counted
}

/// Sorts rows of an earlier run by layer of this one. Rows are left out that this run would not give: of other files, other
/// settings than levels and layers, other levels or layers; and rows without a spectrum, which may do better this time, unless
/// the shape is what their scheme can't take.
pub(super) fn keep(earlier: &Head, rows: Vec<LayerRow>, head: &Head, pool: bool) -> Vec<Kept> {
    let mut kept: Vec<Kept> = head.layers.iter().map(|_| Kept::default()).collect();
    if earlier.model != head.model || !is_same_way(&earlier.settings, &head.settings) {
        return kept;
    }
    let places: BTreeMap<&str, usize> = head
        .layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| earlier.layers.contains(layer))
        .map(|(place, layer)| (layer.name.as_str(), place))
        .collect();
    let mut groups: BTreeMap<(usize, String), Vec<LayerRow>> = BTreeMap::new();
    for row in rows {
        let is_level = head.levels.iter().any(|level| level.name == row.quantization);
        if let Some(place) = places.get(row.name.as_str()).copied().filter(|_| is_level && is_final(&row, head)) {
            groups.entry((place, row.quantization.clone())).or_default().push(row);
        }
    }
    for ((place, level), rows) in groups {
        let expected = if pool { 1 } else { head.layers[place].rf };
        let slices: BTreeSet<u64> = rows.iter().map(|row| row.key().1).collect();
        if rows.len() as u64 == expected && slices.len() == rows.len() {
            kept[place].levels.insert(level);
            kept[place].rows.extend(rows);
        }
    }
    kept
}

/// Whether a row can't come out otherwise: it has a spectrum, or its scheme is none for its shape.
fn is_final(row: &LayerRow, head: &Head) -> bool {
    let is_baseline = head.levels.first().is_some_and(|level| level.name == row.quantization);
    row.has_esd || (row.counted && !is_baseline && row.scheme_used.is_none())
}

/// Whether settings differ in nothing but levels and layers.
fn is_same_way(a: &Settings, b: &Settings) -> bool {
    Settings { quantizations: b.quantizations.clone(), layers: b.layers.clone(), ..a.clone() } == *b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Analysis, Limits, Next};
    use crate::format::{Header, Model, ModelBuilder, Storage, TensorInfo};
    use crate::progress::Cancellation;
    use crate::report::RunStatus;
    use safetensors::Dtype;
    use std::time::Duration;

    const ROWS: u64 = 40;
    const COLS: u64 = 24;

    fn model() -> Model {
        let tensors = ["embed.weight", "h.0.q.weight", "h.1.q.weight"].map(|name| TensorInfo {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: vec![ROWS, COLS],
            begin: 8,
            end: 8,
            storage: Storage::Plain,
        });
        let mut builder = ModelBuilder::default();
        builder.add_file("m.safetensors", 8, Header { tensors: tensors.to_vec(), ..Header::default() }).unwrap();
        builder.finish().unwrap()
    }

    /// Weights that differ from layer to layer.
    fn bytes(layer_id: u64) -> Vec<u8> {
        (0..ROWS * COLS).flat_map(|i| libm::sinf((i * i) as f32 * 0.37 + layer_id as f32).to_le_bytes()).collect()
    }

    fn options(quantizations: &str, change: fn(&mut Options)) -> Options {
        let mut options = Options { quantizations: quantizations.to_owned(), draws: 5, ..Options::default() };
        change(&mut options);
        options
    }

    fn prepared(options: Options) -> Analysis {
        let limits = Limits { threads: 1, memory: 1_000_000_000, hard_limit: u64::MAX };
        Analysis::new(model(), options, limits, Cancellation::default()).unwrap()
    }

    /// Runs to the end. Returns the layers that were computed, in their order.
    fn finish(analysis: &mut Analysis) -> Vec<usize> {
        let mut computed = Vec::new();
        loop {
            match analysis.next_step() {
                Next::Read(layer) => {
                    computed.push(layer);
                    let bytes = bytes(analysis.head().layers[layer].layer_id);
                    analysis.task(layer, bytes)();
                }
                Next::Wait => drop(analysis.take_finished(Duration::ZERO)),
                Next::Done => break,
            }
        }
        analysis.take_finished(Duration::ZERO);
        computed
    }

    fn run(options: Options) -> (Head, Vec<LayerRow>) {
        let mut analysis = prepared(options);
        finish(&mut analysis);
        (analysis.head().clone(), analysis.report(RunStatus::Complete).rows)
    }

    #[test]
    fn a_level_added_later_gives_the_rows_of_a_whole_run() {
        for change in [|_: &mut Options| {}, |o: &mut Options| o.trust = true] {
            let (earlier, rows) = run(options("fp16,8bit", change));
            let mut later = prepared(options("fp16,8bit,3bit", change));
            let whole = later.take_finished(Duration::ZERO).progress.work_total;
            assert_eq!(later.keep(&earlier, rows), 6);
            let told = later.take_finished(Duration::ZERO);
            assert_eq!((told.rows.len(), told.progress.layers_done), (6, 0));
            assert!(told.progress.work_total < whole);
            assert_eq!(finish(&mut later).len(), 3);
            assert_eq!(later.report(RunStatus::Complete).rows, run(options("fp16,8bit,3bit", change)).1);
        }
    }

    #[test]
    fn layers_added_later_are_all_that_is_computed() {
        let (earlier, rows) = run(options("fp16,8bit", |o| "blocks=0".clone_into(&mut o.layers)));
        let mut later = prepared(options("fp16,8bit", |_| {}));
        assert_eq!(later.keep(&earlier, rows), 2);
        later.prioritize(&[2]);
        assert_eq!(finish(&mut later), [2, 0]);
        assert_eq!(later.report(RunStatus::Complete).rows, run(options("fp16,8bit", |_| {})).1);
    }

    #[test]
    fn a_scheme_that_is_none_for_a_shape_is_not_tried_again() {
        let (earlier, rows) = run(options("fp16,int4-g128", |_| {}));
        assert_eq!(rows.iter().filter(|row| !row.has_esd).count(), 2, "24 columns are no groups of 128");
        let mut later = prepared(options("fp16,int4-g128", |_| {}));
        assert_eq!(later.keep(&earlier, rows), 6);
        assert_eq!(finish(&mut later), [0; 0]);
        let without = &later.comparison()[1].measures["layers_without_error"];
        assert_eq!(without.number(), Some(2.0));
    }

    #[test]
    fn rows_of_another_way_are_not_kept() {
        let (mut earlier, mut rows) = run(options("fp16,8bit", |_| {}));
        assert_eq!(prepared(options("fp16,8bit", |o| o.xmax = 1)).keep(&earlier, rows.clone()), 0);
        assert_eq!(prepared(options("fp16,4bit", |_| {})).keep(&earlier, rows.clone()), 3);
        rows[0].has_esd = false;
        assert_eq!(prepared(options("fp16,8bit", |_| {})).keep(&earlier, rows.clone()), 5);
        rows.extend_from_within(1..2);
        assert_eq!(prepared(options("fp16,8bit", |_| {})).keep(&earlier, rows.clone()), 4, "twice the same is none");
        earlier.layers[1].shape = vec![1, 1];
        assert_eq!(prepared(options("fp16,8bit", |_| {})).keep(&earlier, rows.clone()), 3);
        earlier.model.files[0].size = 9;
        assert_eq!(prepared(options("fp16,8bit", |_| {})).keep(&earlier, rows), 0);
    }
}
