//! Reads the table of contents of a file of any kind. What it is shows in its first bytes, never in its name alone; which
//! bytes are needed shows as it goes, so the reader asks for them and the shells, one of which reads asynchronously, bring
//! them.

use std::ops::Range;

use super::archive::{Archive, npy, old_pytorch};
use super::gguf;
use super::numpy;
use super::packed::Config;
use super::pytorch::OLD_MAGIC;
use super::safetensors::{header_len, parse_header};
use super::shards::{ShardIndex, is_index_name, parse_index};
use super::tensor::{Header, TensorInfo};
use super::zip;
use crate::error::{Error, Result, quoted};

/// An index of shards that is larger is none: the largest have some MB.
const MAX_INDEX_BYTES: u64 = 100_000_000;
/// A `config.json` that is larger says nothing of use.
const MAX_CONFIG_BYTES: u64 = 10_000_000;
/// The file beside a model's weights that says how they are quantized.
pub(super) const CONFIG: &str = "config.json";
/// The first piece of a header whose length is unknown.
const FIRST_PIECE: u64 = 1 << 16;

/// What a file of a model turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// Tensors.
    Header(Header),
    /// The index of shards.
    Index(ShardIndex),
    /// A `config.json`.
    Config(Config),
}

/// A file whose table of contents is being read: bring the bytes that [`FileReader::wants`] until it wants no more.
#[derive(Debug)]
pub struct FileReader {
    name: String,
    size: u64,
    state: State,
}

/// Tensors one behind the other, by name and place.
type Neighbours = Vec<(String, Range<u64>)>;

#[derive(Debug)]
enum State {
    /// The first bytes, which say what it is.
    First,
    Index,
    Config,
    /// The JSON header, of this length.
    Safetensors(u64),
    /// Small tensors that say how others are packed: those still to be read, neighbours together.
    Notes {
        header: Header,
        wanted: Vec<Neighbours>,
    },
    /// The first bytes so far, and up to where they are wanted.
    Gguf {
        prefix: Vec<u8>,
        wanted: u64,
    },
    /// The same of a file of an old `PyTorch`.
    OldPytorch {
        prefix: Vec<u8>,
        wanted: u64,
    },
    Archive(Archive),
    /// The header of a single array.
    Array,
    Done(Contents),
}

impl FileReader {
    /// A reader of a file with this name (without folders) and size.
    pub fn new(name: &str, size: u64) -> Self {
        let state = match name {
            CONFIG => State::Config,
            _ if is_index_name(name) => State::Index,
            _ => State::First,
        };
        Self { name: name.to_owned(), size, state }
    }

    /// The bytes it wants next; `None` when it has all.
    pub fn wants(&self) -> Option<Range<u64>> {
        match &self.state {
            State::First => Some(0..self.size.min(8)),
            State::Index => Some(0..self.size.min(MAX_INDEX_BYTES)),
            State::Config => Some(0..self.size.min(MAX_CONFIG_BYTES)),
            State::Safetensors(len) => Some(8..8 + len),
            State::Notes { wanted, .. } => {
                wanted.last().and_then(|group| Some(group.first()?.1.start..group.last()?.1.end))
            }
            State::Gguf { prefix, wanted } | State::OldPytorch { prefix, wanted } => Some(prefix.len() as u64..*wanted),
            State::Archive(archive) => Some(archive.wants()),
            State::Array => Some(0..self.size.min(numpy::HEADER_ROOM)),
            State::Done(_) => None,
        }
    }

    /// Takes the wanted bytes.
    ///
    /// # Errors
    /// What is wrong with the file: as [`header_len`], [`parse_header`] and [`parse_index`]; for GGUF [`Error::Format`]
    /// naming key or tensor, [`Error::Unsupported`] for other versions and types, [`Error::Limit`] for endless headers;
    /// for archives the same, compression and pickles that need more than a state dict does being unsupported.
    pub fn give(&mut self, bytes: &[u8]) -> Result<()> {
        let (name, size) = (&self.name, self.size);
        self.state = match std::mem::replace(&mut self.state, State::First) {
            State::First if bytes.starts_with(gguf::MAGIC) => {
                State::Gguf { prefix: bytes.to_vec(), wanted: size.min(FIRST_PIECE) }
            }
            State::First if bytes.starts_with(zip::MAGIC) => State::Archive(Archive::new(size)),
            State::First if bytes.starts_with(numpy::MAGIC) => State::Array,
            State::First if OLD_MAGIC.starts_with(bytes) && bytes.len() == 8 => {
                State::OldPytorch { prefix: bytes.to_vec(), wanted: size.min(FIRST_PIECE) }
            }
            State::First => State::Safetensors(header_len(name, size, bytes)?),
            State::Index if size > MAX_INDEX_BYTES => {
                return Err(Error::Limit(format!(
                    "{} has {size} bytes, too many for an index of shards; give another file",
                    quoted(name)
                )));
            }
            State::Index => State::Done(Contents::Index(parse_index(name, bytes)?)),
            State::Config => State::Done(Contents::Config(Config::parse(bytes))),
            State::Safetensors(_) => {
                let header = parse_header(name, size, bytes)?;
                let wanted = notes_of(&header);
                with_notes(header, wanted)
            }
            State::Notes { mut header, mut wanted } => {
                let mut rest = bytes;
                for (name, range) in wanted.pop().unwrap_or_default() {
                    let note;
                    (note, rest) = rest.split_at(rest.len().min((range.end - range.start) as usize));
                    header.notes.insert(name, note.to_vec());
                }
                with_notes(header, wanted)
            }
            State::Gguf { mut prefix, .. } => {
                prefix.extend_from_slice(bytes);
                match gguf::parse(name, size, &prefix)? {
                    gguf::Outcome::Done(header) => State::Done(Contents::Header(header)),
                    gguf::Outcome::More(least) => {
                        // Twice as much each time: all parsing together costs twice the last.
                        let wanted = least.max(2 * prefix.len() as u64).min(size);
                        State::Gguf { prefix, wanted }
                    }
                }
            }
            State::OldPytorch { mut prefix, .. } => {
                prefix.extend_from_slice(bytes);
                if let Some(header) = old_pytorch(name, size, &prefix)? {
                    State::Done(Contents::Header(header))
                } else {
                    let wanted = (2 * prefix.len() as u64).min(size);
                    State::OldPytorch { prefix, wanted }
                }
            }
            State::Archive(mut archive) => match archive.give(name, bytes)? {
                Some(header) => State::Done(Contents::Header(header)),
                None => State::Archive(archive),
            },
            State::Array => State::Done(Contents::Header(npy(name, size, bytes)?)),
            done @ State::Done(_) => done,
        };
        Ok(())
    }

    /// The file's name, its size and what it holds.
    ///
    /// # Errors
    /// [`Error::Options`] if it still wants bytes.
    pub fn finish(self) -> Result<(String, u64, Contents)> {
        match self.state {
            State::Done(contents) => Ok((self.name, self.size, contents)),
            _ => Err(Error::Options(format!("the header of {} was not read to its end", quoted(&self.name)))),
        }
    }
}

fn with_notes(header: Header, wanted: Vec<Neighbours>) -> State {
    if wanted.is_empty() { State::Done(Contents::Header(header)) } else { State::Notes { header, wanted } }
}

/// A tensor whose values say how others are packed: bitsandbytes' `quant_state`, compressed-tensors' `weight_shape`.
fn is_note(tensor: &TensorInfo) -> bool {
    const LONGEST: u64 = 4096;
    let is_named = tensor.name.contains(".quant_state.bitsandbytes__") || tensor.name.ends_with(".weight_shape");
    is_named && tensor.end - tensor.begin <= LONGEST
}

/// Where they are, neighbours together.
fn notes_of(header: &Header) -> Vec<Neighbours> {
    let mut notes: Vec<&TensorInfo> = header.tensors.iter().filter(|t| is_note(t)).collect();
    notes.sort_by_key(|note| note.begin);
    let groups = notes.chunk_by(|a, b| a.end == b.begin);
    groups.map(|group| group.iter().map(|note| (note.name.clone(), note.begin..note.end)).collect()).collect()
}
