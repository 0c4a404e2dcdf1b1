//! Models in several files: the index that says which tensor is where, and names that count.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::error::{Error, Result, quoted};

/// The `weight_map` of a `*.safetensors.index.json`: tensor name and file name, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIndex {
    /// Where each tensor is.
    pub weight_map: Vec<(String, String)>,
}

/// Whether a file of this name is a shard index.
pub fn is_index_name(file: &str) -> bool {
    file.ends_with(".safetensors.index.json") || file.ends_with(".bin.index.json")
}

/// Parses a `*.safetensors.index.json` or `*.bin.index.json`.
///
/// # Errors
/// [`Error::Format`]: broken JSON, no `weight_map`, a tensor named twice, a shard that is not a plain file name.
pub fn parse_index(file: &str, json: &[u8]) -> Result<ShardIndex> {
    #[derive(serde::Deserialize)]
    struct Raw {
        weight_map: Entries,
    }
    let file = quoted(file);
    let raw: Raw = serde_json::from_slice(json)
        .map_err(|e| Error::Format(format!("{file} is not a valid index of shards: {e}; download it again")))?;
    for (tensor, shard) in &raw.weight_map.0 {
        // A name with a folder in it would make us read outside the model.
        if shard.is_empty() || shard.contains(['/', '\\']) || shard == ".." {
            return Err(Error::Format(format!(
                "{file} puts tensor {} into {}, which is not a plain file name",
                quoted(tensor),
                quoted(shard)
            )));
        }
    }
    Ok(ShardIndex { weight_map: raw.weight_map.0 })
}

struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that maps tensor names to file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut seen = HashSet::new();
                while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
                    if !seen.insert(tensor.clone()) {
                        return Err(A::Error::custom(format!("the tensor {} is named twice", quoted(&tensor))));
                    }
                    entries.push((tensor, shard));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A name like `model-00001-of-00003.safetensors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedName<'a> {
    /// `model`.
    pub stem: &'a str,
    /// Which of the shards, from 1 on.
    pub number: u32,
    /// How many shards there are.
    pub count: u32,
}

/// What a file's name says of the shards it belongs to; `None` if it doesn't count.
pub fn shard_of(file: &str) -> Option<CountedName<'_>> {
    let name = [".safetensors", ".gguf", ".bin"].iter().find_map(|end| file.strip_suffix(end))?;
    let (rest, count) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(count) || !digits(number) {
        return None;
    }
    Some(CountedName { stem, number: number.parse().ok()?, count: count.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_keeps_its_order_and_refuses_nonsense() {
        let index = parse_index("i", br#"{"metadata":{"total_size":1},"weight_map":{"b.weight":"m-2.safetensors","a.weight":"m-1.safetensors"}}"#).unwrap();
        assert_eq!(index.weight_map[0].0, "b.weight");
        for (json, part) in [
            (&b"{"[..], "not a valid index"),
            (br#"{"weight_map":{"a":"../x.safetensors"}}"#, "plain file name"),
            (br#"{"weight_map":{"a":"x","a":"y"}}"#, "named twice"),
            (br#"{"weight_map":[]}"#, "not a valid index"),
            (b"{}", "weight_map"),
        ] {
            let error = parse_index("i.json", json).unwrap_err();
            assert_eq!(error.code(), "format");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn names_that_count_are_understood() {
        let name = |stem, number, count| Some(CountedName { stem, number, count });
        assert_eq!(shard_of("model-00001-of-00003.safetensors"), name("model", 1, 3));
        assert_eq!(shard_of("m-00002-of-00002.gguf"), name("m", 2, 2));
        assert_eq!(shard_of("model-x-of-00003.safetensors"), None);
        assert_eq!(shard_of("model.safetensors"), None);
        assert_eq!(shard_of("a-1-of-99999999999999.safetensors"), None);
    }
}
