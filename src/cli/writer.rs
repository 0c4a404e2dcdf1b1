//! A safetensors file written tensor by tensor, without knowing the later ones' sizes.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Failure;
use crate::error::Error;
use crate::tensor::Dtype;

/// Refuses a file that can't be written, and one that would replace what is read: an output, or the file that it is while it
/// is made, must be none of `inputs`. To be asked before anything is written.
///
/// # Errors
/// [`Error::Options`]: `output` is a folder, names no file, or is a file of the model by whatever path.
pub(super) fn check_output(output: &Path, inputs: &[PathBuf]) -> Result<(), Failure> {
    if output.is_dir() || output.file_name().is_none() {
        return Err(Error::Options(format!("the output {output:?} is a folder; name a file in it")).into());
    }
    for written in [output.to_owned(), partial_path(output)] {
        let place = true_path(&written);
        if let Some(input) = inputs.iter().find(|input| true_path(input) == place) {
            return Err(Error::Options(format!(
                "writing {written:?} would destroy {input:?}, which is read; name another output"
            ))
            .into());
        }
    }
    Ok(())
}

/// The path without links and dots; of a file that is not there yet, that of its folder with the name.
fn true_path(path: &Path) -> PathBuf {
    if let Ok(canonical) = path.canonicalize() {
        return canonical;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// The name of a file that is not finished.
fn partial_path(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

/// A file in the making. Its name ends in `.partial` until it is finished; a dropped one is removed.
pub(super) struct TensorWriter {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
    header: Map<String, Value>,
    header_len: u64,
    offset: u64,
}

impl TensorWriter {
    /// Starts a file for tensors with these names. The header comes first in the file but is known last: room is left for
    /// it, and what it does not need are spaces, which the format allows.
    pub fn create<'a>(path: &Path, metadata: Value, names: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        /// Text of an entry beside its name: dtype, five dimensions and two offsets of 20 digits.
        const ENTRY: usize = 250;
        let room = names.into_iter().map(|name| json!(name).to_string().len() + ENTRY).sum::<usize>();
        let header_len = (metadata.to_string().len() + room + 64).next_multiple_of(8) as u64;
        let partial = partial_path(path);
        // Of another run, or left by one that was killed: not ours to overwrite.
        let file = File::create_new(&partial).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Failure::Core(Error::Options(format!(
                "{partial:?} is there already; if no other run is writing it, remove it, or name another output"
            ))),
            _ => Failure::write(&partial, &e),
        })?;
        let fail = |e: std::io::Error| Failure::write(&partial, &e);
        let mut file = BufWriter::new(file);
        file.seek(SeekFrom::Start(8 + header_len)).map_err(fail)?;
        let header = Map::from_iter([("__metadata__".to_owned(), metadata)]);
        Ok(Self { path: path.to_owned(), partial, file: Some(file), header, header_len, offset: 0 })
    }

    /// Adds a tensor.
    pub fn add(&mut self, name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> Result<(), Failure> {
        let end = self.offset + bytes.len() as u64;
        let entry = json!({"dtype": dtype.to_string(), "shape": shape, "data_offsets": [self.offset, end]});
        self.header.insert(name.to_owned(), entry);
        self.offset = end;
        let file = self.file.as_mut().ok_or_else(|| Failure::Write("the file is closed".to_owned()))?;
        file.write_all(bytes).map_err(|e| Failure::write(&self.partial, &e))
    }

    /// Writes the header and gives the file its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let mut text = Value::Object(std::mem::take(&mut self.header)).to_string().into_bytes();
        if text.len() as u64 > self.header_len {
            return Err(Error::Limit("the header does not fit into the room left for it".to_owned()).into());
        }
        text.resize(self.header_len as usize, b' ');
        if let Some(mut file) = self.file.take() {
            let written = file
                .seek(SeekFrom::Start(0))
                .and_then(|_| file.write_all(&self.header_len.to_le_bytes()))
                .and_then(|()| file.write_all(&text))
                .and_then(|()| file.flush())
                .and_then(|()| fs::rename(&self.partial, &self.path));
            if let Err(error) = written {
                // Nothing is left of a file that can't be finished.
                let _ = fs::remove_file(&self.partial);
                return Err(Failure::write(&self.path, &error));
            }
        }
        Ok(())
    }
}

impl Drop for TensorWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The error that led here is the one to tell.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
