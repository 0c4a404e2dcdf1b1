//! All files of one model as one list of tensors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::packed::{Config, assemble};
use super::reader::Contents;
use super::shards::{ShardIndex, shard_of};
use super::tensor::{FileFormat, Header, Storage, TensorInfo};
use crate::error::{Error, Result, quoted};

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelFile {
    /// Its name without folders.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A tensor and the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Index into [`Model::files`].
    pub file: usize,
    /// What the file's header says of it.
    pub info: TensorInfo,
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Index into [`Model::files`].
    pub file: usize,
    /// First byte.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

impl TensorEntry {
    /// Where its bytes are: what [`TensorInfo::decode`] takes, in this order.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part { file: self.file, begin: self.info.begin, end: self.info.end }];
        if let Storage::Packed(packed) = &self.info.storage {
            parts.extend(packed.parts());
        }
        parts
    }
}

/// A checked model: every tensor once, in the order in which `WeightWatcher` walks a directory (files in the order of
/// their names; inside a file the order of the index if there is one, else the order of the names).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// The files, in the order of their names.
    pub files: Vec<ModelFile>,
    /// The tensors.
    pub tensors: Vec<TensorEntry>,
    /// Whether the order of `tensors` is that of an index.
    pub has_index: bool,
    /// What kind of files they are.
    pub format: FileFormat,
    /// Settings and free text of the first file that has any: untrusted.
    pub metadata: BTreeMap<String, String>,
}

/// Collects the headers of a model's files, in any order.
#[derive(Debug, Default)]
pub struct ModelBuilder {
    files: BTreeMap<String, (u64, Header)>,
    index: Option<(String, ShardIndex)>,
    config: Config,
}

impl ModelBuilder {
    /// Adds what a [`super::FileReader`] found.
    ///
    /// # Errors
    /// As [`ModelBuilder::add_file`] and [`ModelBuilder::add_index`].
    pub fn add(&mut self, (name, size, contents): (String, u64, Contents)) -> Result<()> {
        match contents {
            Contents::Header(header) => self.add_file(&name, size, header),
            Contents::Index(index) => self.add_index(&name, index),
            Contents::Config(config) => {
                self.config = config;
                Ok(())
            }
        }
    }

    /// Adds the header of one file.
    ///
    /// # Errors
    /// [`Error::Options`] if a file of that name is there already.
    pub fn add_file(&mut self, name: &str, size: u64, header: Header) -> Result<()> {
        if self.files.insert(name.to_owned(), (size, header)).is_some() {
            return Err(Error::Options(format!("the file {} was given twice; give each file once", quoted(name))));
        }
        Ok(())
    }

    /// Adds the index of shards.
    ///
    /// # Errors
    /// [`Error::Options`] if there is one already.
    pub fn add_index(&mut self, name: &str, index: ShardIndex) -> Result<()> {
        if let Some((first, _)) = &self.index {
            return Err(Error::Options(format!(
                "there are two indexes of shards, {} and {}; give the files of one model",
                quoted(first),
                quoted(name)
            )));
        }
        self.index = Some((name.to_owned(), index));
        Ok(())
    }

    /// Checks the files against one another and makes the model.
    ///
    /// # Errors
    /// [`Error::Options`] without any file; [`Error::Format`] if a shard is missing, the index names a tensor that its
    /// file has not, two files hold the same tensor, or a quantized weight lacks its scales or has an odd shape.
    pub fn finish(self) -> Result<Model> {
        if self.files.is_empty() && self.index.is_none() {
            return Err(Error::Options(
                "no model file was given; choose a .safetensors or .gguf file or a folder with one".to_owned(),
            ));
        }
        match &self.index {
            Some((name, index)) => self.check_index(name, index)?,
            None => self.check_counted_names()?,
        }
        let rank = self.index.as_ref().map(|(_, index)| index_order(index));
        let format = self.check_formats()?;
        let mut model = Model { has_index: rank.is_some(), format, ..Model::default() };
        let mut home: HashMap<String, usize> = HashMap::new();
        let mut notes = BTreeMap::new();
        for (name, (size, header)) in self.files {
            let file = model.files.len();
            let mut tensors = header.tensors;
            notes.extend(header.notes);
            if model.metadata.is_empty() {
                model.metadata = header.metadata;
            }
            if let Some(rank) = &rank {
                // Tensors the index does not name come last, by name.
                tensors.sort_by_key(|t| rank.get(&t.name).copied().unwrap_or(usize::MAX));
            }
            for info in tensors {
                if let Some(other) = home.insert(info.name.clone(), file) {
                    let other: &ModelFile = &model.files[other];
                    return Err(Error::Format(format!(
                        "tensor {} is in both {} and {}; give the files of one model only",
                        quoted(&info.name),
                        quoted(&other.name),
                        quoted(&name)
                    )));
                }
                model.tensors.push(TensorEntry { file, info });
            }
            model.files.push(ModelFile { name, size });
        }
        model.tensors = assemble(model.tensors, &notes, &self.config)?;
        Ok(model)
    }

    fn check_index(&self, name: &str, index: &ShardIndex) -> Result<()> {
        let named: BTreeSet<&str> = index.weight_map.iter().map(|(_, shard)| shard.as_str()).collect();
        let missing: Vec<&str> = named.iter().copied().filter(|shard| !self.files.contains_key(*shard)).collect();
        if let [first, rest @ ..] = missing.as_slice() {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            return Err(Error::Format(format!(
                "the shard {}{more} that {} names is missing; put all shards in one place and give them together",
                quoted(first),
                quoted(name)
            )));
        }
        for (tensor, shard) in &index.weight_map {
            let (_, header) = &self.files[shard];
            if header.tensors.binary_search_by(|t| t.name.as_str().cmp(tensor)).is_err() {
                return Err(Error::Format(format!(
                    "{} says that tensor {} is in {}, which has no such tensor; download the index and that shard again",
                    quoted(name),
                    quoted(tensor),
                    quoted(shard)
                )));
            }
        }
        Ok(())
    }

    /// Files of one kind make a model.
    fn check_formats(&self) -> Result<FileFormat> {
        let mut files = self.files.iter();
        let Some((first, (_, header))) = files.next() else { return Ok(FileFormat::default()) };
        match files.find(|(_, (_, other))| other.format != header.format) {
            None => Ok(header.format),
            Some((name, (_, other))) => Err(Error::Options(format!(
                "{} is a {} file and {} a {} file; give the files of one model only",
                quoted(first),
                header.format.name(),
                quoted(name),
                other.format.name()
            ))),
        }
    }

    /// Without an index, `-00001-of-00003` is a promise of three files.
    fn check_counted_names(&self) -> Result<()> {
        let mut present: BTreeMap<(&str, u32), BTreeSet<u32>> = BTreeMap::new();
        for name in self.files.keys().filter_map(|name| shard_of(name)) {
            let found = present.entry((name.stem, name.count)).or_default();
            if (1..=name.count).contains(&name.number) {
                found.insert(name.number);
            }
        }
        for ((stem, count), found) in present {
            let missing = (1..=count).filter(|number| !found.contains(number));
            // A name may promise a million.
            let named: Vec<String> = missing.take(4).map(|number| number.to_string()).collect();
            if named.is_empty() {
                continue;
            }
            let more = if count as usize - found.len() > named.len() { ", ..." } else { "" };
            return Err(Error::Format(format!(
                "{} of the {count} shards of {} are here (missing: number {}{more}); give all of them together",
                found.len(),
                quoted(stem),
                named.join(", ")
            )));
        }
        Ok(())
    }
}

/// Rank of each tensor inside its shard.
fn index_order(index: &ShardIndex) -> HashMap<String, usize> {
    index.weight_map.iter().enumerate().map(|(rank, (tensor, _))| (tensor.clone(), rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::parse_index;
    use safetensors::Dtype;

    fn header(names: &[&str]) -> Header {
        let tensors = names
            .iter()
            .map(|n| TensorInfo {
                name: (*n).to_owned(),
                dtype: Dtype::F32,
                shape: vec![0],
                begin: 8,
                end: 8,
                storage: Storage::Plain,
            })
            .collect();
        Header { tensors, ..Header::default() }
    }

    fn build(files: &[(&str, &[&str])], index: Option<&str>) -> Result<Model> {
        let mut builder = ModelBuilder::default();
        for (name, tensors) in files {
            builder.add_file(name, 8, header(tensors))?;
        }
        if let Some(json) = index {
            builder.add_index(
                "model.safetensors.index.json",
                parse_index("model.safetensors.index.json", json.as_bytes())?,
            )?;
        }
        builder.finish()
    }

    fn names(model: &Model) -> Vec<&str> {
        model.tensors.iter().map(|t| t.info.name.as_str()).collect()
    }

    #[test]
    fn tensors_come_in_the_order_weightwatcher_walks_them() {
        let files: &[(&str, &[&str])] = &[("m-2.safetensors", &["c"]), ("m-1.safetensors", &["a", "b"])];
        assert_eq!(names(&build(files, None).unwrap()), ["a", "b", "c"]);
        let index = r#"{"weight_map":{"c":"m-2.safetensors","b":"m-1.safetensors","a":"m-1.safetensors"}}"#;
        assert_eq!(names(&build(files, Some(index)).unwrap()), ["b", "a", "c"]);
    }

    #[test]
    fn incomplete_models_are_refused_with_the_file_that_is_missing() {
        let fails = |files: &[(&str, &[&str])], index: Option<&str>, part: &str| {
            let message = build(files, index).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        fails(&[], None, "no model file");
        fails(
            &[("m-00001-of-00002.safetensors", &["a"])],
            None,
            "1 of the 2 shards of \"m\" are here (missing: number 2)",
        );
        let two = [("m-00002-of-00900.gguf", &["a"][..]), ("m-00004-of-00900.gguf", &["b"][..])];
        fails(&two, None, "2 of the 900 shards of \"m\" are here (missing: number 1, 3, 5, 6, ...)");
        fails(&[("m-00003-of-00002.gguf", &["a"])], None, "0 of the 2 shards");
        fails(
            &[("a.safetensors", &["a"])],
            Some(r#"{"weight_map":{"a":"a.safetensors","b":"b.safetensors"}}"#),
            "shard \"b.safetensors\"",
        );
        fails(&[("a.safetensors", &["a"])], Some(r#"{"weight_map":{"x":"a.safetensors"}}"#), "no such tensor");
        fails(&[("a.safetensors", &["t"]), ("b.safetensors", &["t"])], None, "in both");
        fails(&[("a.safetensors", &["t"]), ("a.safetensors", &["t"])], None, "twice");
    }
}
