//! Which layers are asked for, by id, type or name.

use glob::Pattern;

use super::options::Options;
use crate::error::{Error, Result, quoted};

/// What a list of layers keeps or leaves out.
#[derive(Debug, Default)]
struct Group {
    is_empty: bool,
    ids: Vec<u64>,
    types: Vec<String>,
    names: Vec<Pattern>,
}

/// The layers that are wanted: those of the first group, or all if it is empty, less those of the second.
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

    /// Whether a layer is wanted. `name` is without `.weight`.
    pub fn wants(&self, id: u64, layer_type: &str, is_embedding: bool, name: &str) -> bool {
        let matches = |group: &Group| {
            group.ids.contains(&id)
                || group.types.iter().any(|wanted| match wanted.as_str() {
                    // A file does not say what is an embedding; the tool takes them for dense.
                    "embedding" => is_embedding && !self.as_weightwatcher,
                    wanted => wanted == layer_type,
                })
                || group.names.iter().any(|pattern| pattern.matches(name) || pattern.matches(&format!("{name}.weight")))
        };
        (self.kept.is_empty || matches(&self.kept)) && !matches(&self.left_out)
    }
}

impl Group {
    fn new<'a>(items: impl Iterator<Item = &'a str>) -> Result<Self> {
        const TYPES: [&str; 3] = ["dense", "conv2d", "embedding"];
        let mut group = Self { is_empty: true, ..Self::default() };
        for item in items {
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
        let all = [
            (0, "dense", true, "embed"),
            (1, "dense", false, "h.0.q"),
            (2, "conv2d", false, "stem"),
            (3, "dense", false, "h.1.q"),
        ];
        all.into_iter().filter(|l| filter.wants(l.0, l.1, l.2, l.3)).map(|l| l.0).collect()
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
