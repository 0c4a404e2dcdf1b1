//! Reads the table of contents of a file of any kind. What it is shows in its first bytes, never in its name alone; which
//! bytes are needed shows as it goes, so the reader asks for them and the shells, one of which reads asynchronously, bring
//! them.

use std::ops::Range;

use super::gguf;
use super::safetensors::{header_len, parse_header};
use super::shards::{ShardIndex, is_index_name, parse_index};
use super::tensor::Header;
use crate::error::{Error, Result, quoted};

/// An index of shards that is larger is none: the largest have some MB.
const MAX_INDEX_BYTES: u64 = 100_000_000;
/// The first piece of a header whose length is unknown.
const FIRST_PIECE: u64 = 1 << 16;

/// What a file of a model turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// Tensors.
    Header(Header),
    /// The index of shards.
    Index(ShardIndex),
}

/// A file whose table of contents is being read: bring the bytes that [`FileReader::wants`] until it wants no more.
#[derive(Debug)]
pub struct FileReader {
    name: String,
    size: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first bytes, which say what it is.
    First,
    Index,
    /// The JSON header, of this length.
    Safetensors(u64),
    /// The first bytes so far, and up to where they are wanted.
    Gguf {
        prefix: Vec<u8>,
        wanted: u64,
    },
    Done(Contents),
}

impl FileReader {
    /// A reader of a file with this name (without folders) and size.
    pub fn new(name: &str, size: u64) -> Self {
        let state = if is_index_name(name) { State::Index } else { State::First };
        Self { name: name.to_owned(), size, state }
    }

    /// The bytes it wants next; `None` when it has all.
    pub fn wants(&self) -> Option<Range<u64>> {
        match &self.state {
            State::First => Some(0..self.size.min(8)),
            State::Index => Some(0..self.size.min(MAX_INDEX_BYTES)),
            State::Safetensors(len) => Some(8..8 + len),
            State::Gguf { prefix, wanted } => Some(prefix.len() as u64..*wanted),
            State::Done(_) => None,
        }
    }

    /// Takes the wanted bytes.
    ///
    /// # Errors
    /// What is wrong with the file: as [`header_len`], [`parse_header`] and [`parse_index`]; for GGUF [`Error::Format`]
    /// naming key or tensor, [`Error::Unsupported`] for other versions and types, [`Error::Limit`] for endless headers.
    pub fn give(&mut self, bytes: &[u8]) -> Result<()> {
        let (name, size) = (&self.name, self.size);
        self.state = match std::mem::replace(&mut self.state, State::First) {
            State::First if bytes.starts_with(gguf::MAGIC) => {
                State::Gguf { prefix: bytes.to_vec(), wanted: size.min(FIRST_PIECE) }
            }
            State::First => State::Safetensors(header_len(name, size, bytes)?),
            State::Index if size > MAX_INDEX_BYTES => {
                return Err(Error::Limit(format!(
                    "{} has {size} bytes, too many for an index of shards; give another file",
                    quoted(name)
                )));
            }
            State::Index => State::Done(Contents::Index(parse_index(name, bytes)?)),
            State::Safetensors(_) => State::Done(Contents::Header(parse_header(name, size, bytes)?)),
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
