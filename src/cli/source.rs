//! Where a model's bytes are: files, a folder, or the built-in demo.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::error::{Error, quoted};
use crate::format::{Model, ModelBuilder, header_len, is_index_name, parse_header, parse_index};

/// The demo model: two encoder blocks of MiniLM-L6 in F16. See `www/demo/README.md`.
const DEMO: &[u8] = include_bytes!("../../www/demo/demo.safetensors");
const DEMO_NAME: &str = "demo.safetensors";

/// An opened model: its checked table of contents, and its files in the same order.
pub(super) struct Source {
    pub model: Model,
    files: Vec<Bytes>,
}

enum Bytes {
    File(PathBuf, File),
    Embedded(&'static [u8]),
}

impl Source {
    /// Opens a file, a folder or an index; without a path, the demo.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = ModelBuilder::default();
        let mut named = Vec::new();
        match path {
            None => named.push((DEMO_NAME.to_owned(), Bytes::Embedded(DEMO))),
            Some(path) => {
                for path in model_files(path)? {
                    let name = file_name(&path);
                    if is_index_name(&name) {
                        let json = fs::read(&path).map_err(|e| Failure::read(&path, &e))?;
                        builder.add_index(&name, parse_index(&name, &json)?)?;
                    } else {
                        let file = File::open(&path).map_err(|e| Failure::read(&path, &e))?;
                        named.push((name, Bytes::File(path, file)));
                    }
                }
            }
        }
        for (name, bytes) in &mut named {
            let size = bytes.size()?;
            let first = bytes.read(0, size.min(8))?;
            let len = header_len(name, size, &first)?;
            let json = bytes.read(8, len)?;
            builder.add_file(name, size, parse_header(name, size, &json)?)?;
        }
        let model = builder.finish()?;
        // The model's files are in the order of their names.
        named.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { model, files: named.into_iter().map(|(_, bytes)| bytes).collect() })
    }

    /// Bytes `begin..end` of a file.
    pub fn read(&mut self, file: usize, begin: u64, end: u64) -> Result<Vec<u8>, Failure> {
        self.files[file].read(begin, end - begin)
    }
}

impl Bytes {
    fn size(&self) -> Result<u64, Failure> {
        match self {
            Bytes::File(path, file) => Ok(file.metadata().map_err(|e| Failure::read(path, &e))?.len()),
            Bytes::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&mut self, begin: u64, len: u64) -> Result<Vec<u8>, Failure> {
        let len = usize::try_from(len)
            .map_err(|_| Error::Limit(format!("{len} bytes don't fit into this machine's memory")))?;
        match self {
            Bytes::File(path, file) => {
                let mut bytes = vec![0; len];
                file.seek(SeekFrom::Start(begin))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|e| Failure::read(path, &e))?;
                Ok(bytes)
            }
            Bytes::Embedded(bytes) => {
                let begin = usize::try_from(begin).unwrap_or(usize::MAX);
                let range = bytes.get(begin..begin.saturating_add(len));
                Ok(range.ok_or_else(|| Error::Format("the built-in model is cut short".to_owned()))?.to_vec())
            }
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The files of the model at `path`: the file itself, the shards beside an index, or in a folder the index, else
/// `model*.safetensors`, else all `.safetensors` files.
fn model_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure::read(path, &e))?;
    if metadata.is_dir() {
        return folder_files(path);
    }
    if is_index_name(&file_name(path)) {
        return indexed_files(path);
    }
    Ok(vec![path.to_owned()])
}

fn folder_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Failure::read(folder, &e))? {
        paths.push(entry.map_err(|e| Failure::read(folder, &e))?.path());
    }
    paths.sort();
    let indexes: Vec<&PathBuf> = paths.iter().filter(|p| is_index_name(&file_name(p))).collect();
    if let [index] = indexes[..] {
        return indexed_files(index);
    }
    if let [a, b, ..] = indexes[..] {
        return Err(Error::Options(format!(
            "{folder:?} holds several models ({} and {}); name one of the index files",
            quoted(&file_name(a)),
            quoted(&file_name(b))
        ))
        .into());
    }
    let files: Vec<PathBuf> = paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == "safetensors")).collect();
    let models: Vec<PathBuf> = files.iter().filter(|p| file_name(p).starts_with("model")).cloned().collect();
    let chosen = if models.is_empty() { files } else { models };
    if chosen.is_empty() {
        return Err(Error::Format(format!(
            "the folder {folder:?} holds no .safetensors file; name a model file or another folder"
        ))
        .into());
    }
    Ok(chosen)
}

/// The index and those of its shards that are there; the builder says which are missing.
fn indexed_files(index: &Path) -> Result<Vec<PathBuf>, Failure> {
    let json = fs::read(index).map_err(|e| Failure::read(index, &e))?;
    let folder = index.parent().unwrap_or(Path::new("."));
    let mut shards: Vec<String> =
        parse_index(&file_name(index), &json)?.weight_map.into_iter().map(|(_, shard)| shard).collect();
    shards.sort();
    shards.dedup();
    let shards = shards.into_iter().map(|shard| folder.join(shard)).filter(|path| path.exists());
    Ok(std::iter::once(index.to_owned()).chain(shards).collect())
}
