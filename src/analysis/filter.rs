//! Which layers are asked for, by id, type, name or block.

use glob::Pattern;

use super::layers::{is_embedding, layer_type};
use super::options::Options;
use crate::error::{Error, Result, quoted};
use crate::format::TensorInfo;
use crate::quant::{ModelTensor, module};

/// A tensor that may be wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    id: u64,
    layer_type: &'static str,
    is_embedding: bool,
    /// Without `.weight`.
    name: &'a str,
    block: Option<u64>,
}

impl<'a> Candidate<'a> {
    pub fn new(info: &TensorInfo, name: &'a str, id: u64) -> Self {
        let (block, _) = module(&ModelTensor { name: &info.name, shape: &info.shape });
        Self { id, layer_type: layer_type(info), is_embedding: is_embedding(name, &info.shape), name, block }
    }
}

/// Blocks from one to another, both included, every `step`-th.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    first: u64,
    last: u64,
    step: u64,
}

impl Blocks {
    /// `4`, `0-11`, `12-`, `0-/4`.
    fn parse(text: &str) -> Option<Self> {
        let (range, step) = text.split_once('/').map_or((text, Some(1)), |(range, step)| (range, step.parse().ok()));
        let (first, last) = match range.split_once('-') {
            None => (range.parse().ok()?, range.parse().ok()?),
            Some((first, "")) => (first.parse().ok()?, u64::MAX),
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
        };
        let step = step.filter(|step| *step > 0)?;
        (first <= last).then_some(Self { first, last, step })
    }

    fn contain(self, block: u64) -> bool {
        (self.first..=self.last).contains(&block) && (block - self.first).is_multiple_of(self.step)
    }
}

/// What a list of layers keeps or leaves out.
#[derive(Debug, Default)]
struct Group {
    /// Whether nothing but blocks is named.
    is_empty: bool,
    blocks: Vec<Blocks>,
    ids: Vec<u64>,
    types: Vec<String>,
    names: Vec<Pattern>,
}

/// The layers that are wanted: those of the first group, or all if it is empty, less those of the second. Blocks to keep narrow
/// what the others name.
#[derive(Debug)]
pub(super) struct LayerFilter {
    kept: Group,
    left_out: Group,
    as_weightwatcher: bool,
}

impl LayerFilter {
    /// Reads the list of layers in the options.
    ///
    /// # Errors
    /// [`Error::Options`] for a broken pattern; in compatibility mode also for ids to keep beside ids to leave out, which the
    /// tool refuses.
    pub fn new(options: &Options) -> Result<Self> {
        let items = || options.layers.split(',').map(str::trim).filter(|item| !item.is_empty());
        let kept = Group::new(items().filter(|item| !item.starts_with('-')))?;
        let left_out = Group::new(items().filter_map(|item| item.strip_prefix('-')))?;
        let as_weightwatcher = options.compat.is_weightwatcher();
        if as_weightwatcher && !kept.ids.is_empty() && !left_out.ids.is_empty() {
            return Err(Error::Options(format!(
                "layers {} names ids to keep and ids to leave out; WeightWatcher takes one or the other",
                quoted(&options.layers)
            )));
        }
        Ok(Self { kept, left_out, as_weightwatcher })
    }

    /// Whether a layer is wanted.
    pub fn wants(&self, layer: &Candidate) -> bool {
        let matches = |group: &Group| {
            group.ids.contains(&layer.id)
                || group.types.iter().any(|wanted| match wanted.as_str() {
                    // A file does not say what is an embedding; the tool takes them for dense.
                    "embedding" => layer.is_embedding && !self.as_weightwatcher,
                    wanted => wanted == layer.layer_type,
                })
                || group
                    .names
                    .iter()
                    .any(|pattern| pattern.matches(layer.name) || pattern.matches(&format!("{}.weight", layer.name)))
        };
        let is_in_blocks =
            |group: &Group| layer.block.is_some_and(|block| group.blocks.iter().any(|blocks| blocks.contain(block)));
        (self.kept.is_empty || matches(&self.kept))
            && (self.kept.blocks.is_empty() || is_in_blocks(&self.kept))
            && !matches(&self.left_out)
            && !is_in_blocks(&self.left_out)
    }
}

impl Group {
    fn new<'a>(items: impl Iterator<Item = &'a str>) -> Result<Self> {
        const TYPES: [&str; 3] = ["dense", "conv2d", "embedding"];
        let mut group = Self { is_empty: true, ..Self::default() };
        for item in items {
            if let Some(blocks) = item.strip_prefix("blocks=") {
                group.blocks.push(Blocks::parse(blocks).ok_or_else(|| {
                    let item = quoted(item);
                    Error::Options(format!(
                        "the layers {item} can't be used: write blocks=4, blocks=0-11, blocks=12- or, for every third, blocks=0-/3"
                    ))
                })?);
                continue;
            }
            group.is_empty = false;
            if let Ok(id) = item.parse() {
                group.ids.push(id);
            } else if TYPES.contains(&item) {
                group.types.push(item.to_owned());
            } else {
                group.names.push(Pattern::new(item).map_err(|e| {
                    Error::Options(format!("the layer pattern {} can't be used: {}", quoted(item), e.msg))
                })?);
            }
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Compat;

    fn wanted(layers: &str) -> Vec<u64> {
        let filter = LayerFilter::new(&Options { layers: layers.to_owned(), ..Options::default() }).unwrap();
        let layer = |id, layer_type, is_embedding, name, block| Candidate { id, layer_type, is_embedding, name, block };
        let all = [
            layer(0, "dense", true, "embed", None),
            layer(1, "dense", false, "h.0.q", Some(0)),
            layer(2, "conv2d", false, "stem", None),
            layer(3, "dense", false, "h.1.q", Some(1)),
        ];
        all.into_iter().filter(|l| filter.wants(l)).map(|l| l.id).collect()
    }

    #[test]
    fn blocks_narrow_what_is_named() {
        assert_eq!(wanted("blocks=0-"), [1, 3]);
        assert_eq!(wanted("blocks=1"), [3]);
        assert_eq!(wanted("blocks=0-9/2"), [1]);
        assert_eq!(wanted("blocks=0,blocks=1-1,*.q"), [1, 3]);
        assert_eq!(wanted("stem,blocks=0-"), [0; 0]);
        assert_eq!(wanted("-blocks=0"), [0, 2, 3]);
        for broken in ["blocks=", "blocks=x", "blocks=3-1", "blocks=0-3/0", "blocks=0-3/", "blocks=-3"] {
            let options = Options { layers: broken.to_owned(), ..Options::default() };
            assert!(LayerFilter::new(&options).unwrap_err().to_string().contains("blocks=0-11"), "{broken}");
        }
    }

    #[test]
    fn ids_types_and_names_keep_or_leave_out() {
        assert_eq!(wanted(""), [0, 1, 2, 3]);
        assert_eq!(wanted("2, 3"), [2, 3]);
        assert_eq!(wanted("-0"), [1, 2, 3]);
        assert_eq!(wanted("dense"), [0, 1, 3]);
        assert_eq!(wanted("dense,-embedding"), [1, 3]);
        assert_eq!(wanted("h.*.weight"), [1, 3]);
        assert_eq!(wanted("-h.0.q,-conv2d"), [0, 3]);
        assert_eq!(wanted("1,-1"), [0; 0]);
    }

    #[test]
    fn a_broken_pattern_is_the_callers_fault() {
        let options = Options { layers: "a[".to_owned(), ..Options::default() };
        assert_eq!(LayerFilter::new(&options).unwrap_err().code(), "options");
        let mixed = Options { layers: "1,-2".to_owned(), compat: Compat::WeightWatcher, ..Options::default() };
        assert!(LayerFilter::new(&mixed).unwrap_err().to_string().contains("ids to keep and ids to leave out"));
    }
}
