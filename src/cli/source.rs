//! Where a model's bytes are: files, a folder, or the built-in demo.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::error::{Error, quoted};
use crate::format::{FileReader, Model, ModelBuilder, Part, TensorEntry, is_index_name, parse_index};

/// The demo model: two encoder blocks of MiniLM-L6 in F16. See `www/demo/README.md`.
const DEMO: &[u8] = include_bytes!("../../www/demo/demo.safetensors");
const DEMO_NAME: &str = "demo.safetensors";

/// An opened model: its checked table of contents, and its files in the same order.
pub(super) struct Source {
    pub model: Model,
    files: Vec<Bytes>,
    /// Every file that was opened, the index and the settings included.
    pub inputs: Vec<PathBuf>,
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
        let mut inputs = Vec::new();
        match path {
            None => named.push((DEMO_NAME.to_owned(), Bytes::Embedded(DEMO))),
            Some(path) => {
                for path in with_config(model_files(path)?) {
                    let file = File::open(&path).map_err(|e| Failure::read(&path, &e))?;
                    inputs.push(path.clone());
                    named.push((file_name(&path), Bytes::File(path, file)));
                }
            }
        }
        for (name, bytes) in &mut named {
            let mut reader = FileReader::new(name, bytes.size()?);
            while let Some(range) = reader.wants() {
                let mut piece = Vec::new();
                bytes.read(range.start, range.end - range.start, &mut piece)?;
                reader.give(&piece)?;
            }
            builder.add(reader.finish()?)?;
        }
        let model = builder.finish()?;
        let mut files: HashMap<String, Bytes> = named.into_iter().collect();
        let files = model.files.iter().filter_map(|file| files.remove(&file.name)).collect();
        Ok(Self { model, files, inputs })
    }

    /// The bytes of a tensor: of all its parts, one after another.
    pub fn read(&mut self, tensor: &TensorEntry) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        for part in tensor.parts() {
            self.read_part(part, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// Appends the bytes of a part.
    pub fn read_part(&mut self, part: Part, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        self.files[part.file].read(part.begin, part.end - part.begin, bytes)
    }
}

/// The bytes of several tensors, one after another, each of one of two models.
pub(super) fn read_all(
    source: &mut Source,
    mut other: Option<&mut Source>,
    tensors: &[(bool, &TensorEntry)],
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for (is_other, tensor) in tensors {
        let read = match &mut other {
            Some(other) if *is_other => other.read(tensor)?,
            _ => source.read(tensor)?,
        };
        // Most often there is one, which is not copied.
        if bytes.is_empty() {
            bytes = read;
        } else {
            bytes.extend(read);
        }
    }
    Ok(bytes)
}

impl Bytes {
    fn size(&self) -> Result<u64, Failure> {
        match self {
            Bytes::File(path, file) => Ok(file.metadata().map_err(|e| Failure::read(path, &e))?.len()),
            Bytes::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Appends `len` bytes from `begin` on to `out`.
    fn read(&mut self, begin: u64, len: u64, out: &mut Vec<u8>) -> Result<(), Failure> {
        let len = usize::try_from(len)
            .map_err(|_| Error::Limit(format!("{len} bytes don't fit into this machine's memory")))?;
        match self {
            Bytes::File(path, file) => {
                let at = out.len();
                out.resize(at + len, 0);
                file.seek(SeekFrom::Start(begin))
                    .and_then(|_| file.read_exact(&mut out[at..]))
                    .map_err(|e| Failure::read(path, &e))?;
            }
            Bytes::Embedded(bytes) => {
                let begin = usize::try_from(begin).unwrap_or(usize::MAX);
                let range = bytes.get(begin..begin.saturating_add(len));
                out.extend(range.ok_or_else(|| Error::Format("the built-in model is cut short".to_owned()))?);
            }
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// With the `config.json` beside them, which may say how the weights are quantized.
fn with_config(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let beside = files.first().map(|file| file.with_file_name("config.json"));
    files.extend(beside.filter(|config| config.is_file()));
    files
}

/// The files of the model at `path`: the file itself, the shards beside an index, or in a folder the index, else
/// `model*.safetensors`, else all `.safetensors` files, else `pytorch_model*.bin`, else the `.gguf` files.
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
    let mut indexes: Vec<&PathBuf> = paths.iter().filter(|p| is_index_name(&file_name(p))).collect();
    // Many models are there twice, as safetensors and as PyTorch files.
    if indexes.iter().any(|p| file_name(p).ends_with(".safetensors.index.json")) {
        indexes.retain(|p| file_name(p).ends_with(".safetensors.index.json"));
    }
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
    let with_extension = |extension: &str| -> Vec<PathBuf> {
        paths.iter().filter(|p| p.extension().is_some_and(|e| e == extension)).cloned().collect()
    };
    let files = with_extension("safetensors");
    let models: Vec<PathBuf> = files.iter().filter(|p| file_name(p).starts_with("model")).cloned().collect();
    let torch: Vec<PathBuf> =
        with_extension("bin").into_iter().filter(|p| file_name(p).starts_with("pytorch_model")).collect();
    for chosen in [models, files, torch] {
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    gguf_files(folder, with_extension("gguf"))
}

/// A folder of GGUF files mostly holds one model at several qualities, of which one must be named; or the shards of one.
fn gguf_files(folder: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let whole: Vec<&PathBuf> = files.iter().filter(|p| !file_name(p).contains("-of-")).collect();
    if files.is_empty() {
        return Err(Error::Format(format!(
            "the folder {folder:?} holds no .safetensors or .gguf file; name a model file or another folder"
        ))
        .into());
    }
    match whole[..] {
        [] => Ok(files),
        [only] if files.len() == 1 => Ok(vec![only.clone()]),
        [first, ..] => Err(Error::Options(format!(
            "{folder:?} holds several GGUF files (among them {}); name one of them",
            quoted(&file_name(first))
        ))
        .into()),
    }
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
