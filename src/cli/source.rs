//! Where a model's bytes are: files, a folder, or the built-in demo.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::analysis::{Options, Peft, adapter_alpha};
use crate::error::{Error, quoted};
use crate::format::{FileReader, Model, ModelBuilder, Part, TensorEntry, is_index_name, parse_index, shard_of};

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

/// The options, with what the settings of an adapter at `path` say of its scale, where they do not.
pub(super) fn with_adapter(mut options: Options, path: &Path) -> Result<Options, Failure> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let file = folder.join("adapter_config.json");
    if options.peft != Peft::No && options.lora_alpha.is_none() && file.is_file() {
        let text = fs::read_to_string(&file).map_err(|e| Failure::read(&file, &e))?;
        options.lora_alpha = adapter_alpha(&text)?;
    }
    Ok(options)
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

/// The files of the model at `path`: the file itself, with one shard its siblings, the shards beside an index, or in a folder
/// the index, else `model*.safetensors`, else all `.safetensors` files, else `pytorch_model*.bin`, else the `.gguf` files, else
/// other PyTorch files, else numpy's, as in the page (`www/files.js`).
fn model_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure::read(path, &e))?;
    if metadata.is_dir() {
        return folder_files(path);
    }
    if is_index_name(&file_name(path)) {
        return indexed_files(path);
    }
    siblings(path)
}

/// Files of one model: they are all open at once.
const MAX_FILES: usize = 1000;

/// A file, and if its name counts shards, the others of its folder: with the index that names it, if there is one.
fn siblings(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = file_name(path);
    let Some(shard) = shard_of(&name).filter(|shard| shard.count > 1) else { return Ok(vec![path.to_owned()]) };
    for kind in ["safetensors", "bin"].into_iter().filter(|kind| name.ends_with(kind)) {
        let index = path.with_file_name(format!("{}.{kind}.index.json", shard.stem));
        if index.is_file() {
            let files = indexed_files(&index)?;
            if files.iter().any(|file| file.file_name() == path.file_name()) {
                return Ok(files);
            }
        }
    }
    let of_the_same = |other: &Path| {
        let other_name = file_name(other);
        other.extension() == path.extension()
            && shard_of(&other_name).is_some_and(|other| (other.stem, other.count) == (shard.stem, shard.count))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if shard.count as usize > MAX_FILES {
        return Err(too_many(&name, shard.count as usize));
    }
    Ok(paths_in(folder)?.into_iter().filter(|other| of_the_same(other)).collect())
}

/// In the order of their names.
fn paths_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Failure::read(folder, &e))? {
        paths.push(entry.map_err(|e| Failure::read(folder, &e))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn folder_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let paths = paths_in(folder)?;
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
    let with_extension = |wanted: &[&str]| -> Vec<PathBuf> {
        let is_wanted = |p: &Path| p.extension().is_some_and(|e| wanted.iter().any(|w| e.eq_ignore_ascii_case(w)));
        paths.iter().filter(|p| is_wanted(p)).cloned().collect()
    };
    let files = with_extension(&["safetensors"]);
    let models: Vec<PathBuf> = files.iter().filter(|p| file_name(p).starts_with("model")).cloned().collect();
    let torch: Vec<PathBuf> =
        with_extension(&["bin"]).into_iter().filter(|p| file_name(p).starts_with("pytorch_model")).collect();
    for chosen in [models, files, torch] {
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    let gguf = with_extension(&["gguf"]);
    if !gguf.is_empty() {
        return gguf_files(folder, gguf);
    }
    for chosen in [with_extension(&["bin", "pth", "pt"]), with_extension(&["npz", "npy"])] {
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    Err(Error::Format(format!(
        "the folder {folder:?} holds no .safetensors, .gguf, .bin, .pth, .pt, .npz or .npy file; name a model file or another \
         folder"
    ))
    .into())
}

/// A folder of GGUF files mostly holds one model at several qualities, of which one must be named; or the shards of one.
fn gguf_files(folder: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let whole: Vec<&PathBuf> = files.iter().filter(|p| !file_name(p).contains("-of-")).collect();
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
    if shards.len() > MAX_FILES {
        return Err(too_many(&file_name(index), shards.len()));
    }
    let shards = shards.into_iter().map(|shard| folder.join(shard)).filter(|path| path.exists());
    Ok(std::iter::once(index.to_owned()).chain(shards).collect())
}

fn too_many(name: &str, count: usize) -> Failure {
    let message =
        format!("{} is of a model of {count} files, more than the {MAX_FILES} that can be opened", quoted(name));
    Error::Limit(message).into()
}
