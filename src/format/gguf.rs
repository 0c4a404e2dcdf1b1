//! The header of a GGUF file, versions 2 and 3, from the file's first bytes. How long it is shows only at its end, so it is
//! read in growing pieces. Of the metadata, which may hold a vocabulary of megabytes, only single values are kept.

use std::collections::{BTreeMap, HashSet};

use safetensors::Dtype;

use super::tensor::{FileFormat, Header, MAX_EXPERTS, Storage, TensorInfo};
use crate::error::{Error, Result, quoted};
use crate::quant::BlockType;

/// The first four bytes.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// The longest header that is read. The largest vocabularies take some 20 MB.
const MAX_HEADER_BYTES: u64 = 256_000_000;
/// Texts in the metadata that are longer are not kept: chat templates, licences.
const MAX_KEPT_TEXT: u64 = 1024;
/// ggml has no more.
const MAX_DIMENSIONS: u32 = 4;

/// Where the reading of a header ends.
enum Stop {
    /// The pieces so far end before this byte.
    More(u64),
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Bad(error)
    }
}

/// What became of the first bytes of a file.
pub(super) enum Outcome {
    /// They reach up to the end of the header.
    Done(Header),
    /// At least this many are needed.
    More(u64),
}

/// Parses the header from the first bytes of the file.
///
/// # Errors
/// [`Error::Format`] naming the key or the tensor and the fault; [`Error::Unsupported`] for other versions, byte orders and
/// unknown types; [`Error::Limit`] for a header of more than 256 MB.
///
/// # Cost
/// One pass over the bytes; memory for the tensors' names and single values of the metadata.
pub(super) fn parse(file: &str, file_len: u64, prefix: &[u8]) -> Result<Outcome> {
    let mut reader = Reader { file: quoted(file), prefix, file_len, at: 0, what: "the header".to_owned() };
    match reader.header() {
        Ok(header) => Ok(Outcome::Done(header)),
        Err(Stop::More(end)) if end > MAX_HEADER_BYTES => Err(Error::Limit(format!(
            "{} has a header of more than {MAX_HEADER_BYTES} bytes; no model has that much metadata, the file is damaged",
            reader.file
        ))),
        Err(Stop::More(end)) => Ok(Outcome::More(end)),
        Err(Stop::Bad(error)) => Err(error),
    }
}

struct Reader<'a> {
    file: String,
    prefix: &'a [u8],
    file_len: u64,
    at: u64,
    /// What is being read, for messages.
    what: String,
}

/// The types of metadata values.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a value of fixed length.
fn value_len(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl Reader<'_> {
    fn bad(&self, what: &str) -> Stop {
        Stop::Bad(Error::Format(format!("{}: {} {what}; the file is damaged", self.file, self.what)))
    }

    /// Moves on by `len` bytes, which must be in the file.
    fn skip(&mut self, len: u64) -> Result<u64, Stop> {
        let left = self.file_len - self.at;
        if len > left {
            return Err(Stop::Bad(Error::Format(format!(
                "{}: {} claims {len} bytes but the file has only {left} more; it was cut short or is damaged",
                self.file, self.what
            ))));
        }
        let begin = self.at;
        self.at += len;
        Ok(begin)
    }

    fn take(&mut self, len: u64) -> Result<&[u8], Stop> {
        let begin = self.skip(len)?;
        if self.at > self.prefix.len() as u64 {
            return Err(Stop::More(self.at));
        }
        // Both are at most the length of a slice.
        Ok(&self.prefix[begin as usize..self.at as usize])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, things: &str, least: u64) -> Result<u64, Stop> {
        let count = self.u64()?;
        let left = self.file_len - self.at;
        if count > left / least {
            return Err(self.bad(&format!("claims {count} {things} but the file has only {left} more bytes")));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String, Stop> {
        let len = self.u64()?;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.bad("is not UTF-8")),
        }
    }

    fn header(&mut self) -> Result<Header, Stop> {
        self.take(4)?;
        let version = self.u32()?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 2 | 3) => {
                return Err(Error::Unsupported(format!(
                    "{} is a big-endian GGUF file; convert it to little-endian with gguf_convert_endian",
                    self.file
                ))
                .into());
            }
            _ => {
                return Err(Error::Unsupported(format!(
                    "{} is GGUF version {version}; versions 2 and 3 can be read, convert it with a current llama.cpp",
                    self.file
                ))
                .into());
            }
        }
        // A name's length, the number of dimensions, a type and an offset; a key's length, a type and a value.
        let tensors = self.count("tensors", 8 + 4 + 4 + 8)?;
        let pairs = self.count("metadata values", 8 + 4 + 1)?;
        let metadata = self.metadata(pairs)?;
        let alignment = self.alignment(&metadata)?;
        let raw = self.tensors(tensors)?;
        self.what = "the header".to_owned();
        let data_begin = self.at.next_multiple_of(alignment);
        let mut tensors = Vec::with_capacity(raw.len());
        for tensor in raw {
            tensors.push(self.place(tensor, data_begin, alignment)?);
        }
        self.check_layout(&mut tensors)?;
        tensors = tensors.into_iter().flat_map(experts).collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Header { tensors, metadata, format: FileFormat::Gguf, ..Header::default() })
    }

    fn metadata(&mut self, pairs: u64) -> Result<BTreeMap<String, String>, Stop> {
        let mut metadata = BTreeMap::new();
        for number in 0..pairs {
            self.what = format!("the key of metadata value {number}");
            let key = self.text()?;
            self.what = format!("the metadata value {}", quoted(&key));
            let kind = self.u32()?;
            if let Some(text) = self.value(kind)?
                && metadata.insert(key, text).is_some()
            {
                return Err(self.bad("is there twice"));
            }
        }
        Ok(metadata)
    }

    /// A value as text, if it is a single one and short.
    fn value(&mut self, kind: u32) -> Result<Option<String>, Stop> {
        Ok(Some(match kind {
            0 => u8::from_le_bytes(self.array()?).to_string(),
            1 => i8::from_le_bytes(self.array()?).to_string(),
            2 => u16::from_le_bytes(self.array()?).to_string(),
            3 => i16::from_le_bytes(self.array()?).to_string(),
            4 => self.u32()?.to_string(),
            5 => i32::from_le_bytes(self.array()?).to_string(),
            6 => f32::from_le_bytes(self.array()?).to_string(),
            7 => (u8::from_le_bytes(self.array()?) != 0).to_string(),
            10 => self.u64()?.to_string(),
            11 => i64::from_le_bytes(self.array()?).to_string(),
            12 => f64::from_le_bytes(self.array()?).to_string(),
            STRING => {
                let len = self.u64()?;
                if len > MAX_KEPT_TEXT {
                    self.skip(len)?;
                    return Ok(None);
                }
                String::from_utf8_lossy(self.take(len)?).into_owned()
            }
            ARRAY => {
                self.skip_array()?;
                return Ok(None);
            }
            _ => return Err(self.bad(&format!("has the unknown type {kind}"))),
        }))
    }

    fn skip_array(&mut self) -> Result<(), Stop> {
        let kind = self.u32()?;
        match (value_len(kind), kind) {
            (Some(len), _) => {
                let count = self.count("entries", len)?;
                self.skip(count * len)?;
            }
            (None, STRING) => {
                for _ in 0..self.count("entries", 8)? {
                    let len = self.u64()?;
                    self.skip(len)?;
                }
            }
            (None, ARRAY) => return Err(self.bad("is an array of arrays, which llama.cpp never writes")),
            _ => return Err(self.bad(&format!("is an array of the unknown type {kind}"))),
        }
        Ok(())
    }

    fn alignment(&mut self, metadata: &BTreeMap<String, String>) -> Result<u64, Stop> {
        const KEY: &str = "general.alignment";
        let Some(text) = metadata.get(KEY) else { return Ok(32) };
        let alignment: Option<u32> = text.parse().ok().filter(|a: &u32| a.is_power_of_two());
        alignment.map(u64::from).ok_or_else(|| {
            self.what = format!("the metadata value \"{KEY}\"");
            self.bad(&format!("is {}, not a power of two", quoted(text)))
        })
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<RawTensor>, Stop> {
        let mut tensors = Vec::new();
        let mut seen = HashSet::new();
        for number in 0..count {
            self.what = format!("the name of tensor {number}");
            let name = self.text()?;
            self.what = format!("tensor {}", quoted(&name));
            if !seen.insert(name.clone()) {
                return Err(self.bad("is there twice"));
            }
            let dimensions = self.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(self.bad(&format!("has {dimensions} dimensions, more than {MAX_DIMENSIONS}")));
            }
            let mut shape = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<u64>, Stop>>()?;
            shape.reverse();
            let (kind, offset) = (self.u32()?, self.u64()?);
            tensors.push(RawTensor { name, shape, kind, offset });
        }
        Ok(tensors)
    }

    fn place(&mut self, raw: RawTensor, data_begin: u64, alignment: u64) -> Result<TensorInfo, Stop> {
        let RawTensor { name, shape, kind, offset } = raw;
        self.what = format!("tensor {}", quoted(&name));
        let (dtype, storage) = storage_of(kind).ok_or_else(|| {
            Error::Unsupported(format!(
                "{}: {} has the type number {kind}, which is unknown or not in use any more; the file is newer or older than this program can read",
                self.file, self.what
            ))
        })?;
        let (block, size) = match storage {
            Storage::Blocks(kind) => kind.block(),
            _ => (1, dtype.bitsize() / 8),
        };
        let (block, size) = (block as u64, size as u64);
        let cols = shape.last().copied().unwrap_or(1);
        if !cols.is_multiple_of(block) {
            return Err(self.bad(&format!("has rows of {cols} values, which are not whole blocks of {block}")));
        }
        let elements = shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d));
        let Some(bytes) = elements.and_then(|n| (n / block).checked_mul(size)) else {
            return Err(self.bad(&format!("has the impossible shape {shape:?}")));
        };
        if !offset.is_multiple_of(alignment) {
            return Err(
                self.bad(&format!("begins at offset {offset}, which is no multiple of the alignment {alignment}"))
            );
        }
        let begin = data_begin.checked_add(offset);
        match begin.and_then(|begin| Some((begin, begin.checked_add(bytes)?))) {
            Some((begin, end)) if end <= self.file_len => Ok(TensorInfo { name, dtype, shape, begin, end, storage }),
            _ => Err(Error::Format(format!(
                "{}: {} needs {bytes} bytes from offset {offset} on, past the end of the file; it was cut short, download it again",
                self.file, self.what
            ))
            .into()),
        }
    }

    fn check_layout(&mut self, tensors: &mut [TensorInfo]) -> Result<(), Stop> {
        tensors.sort_by_key(|t| (t.begin, t.end));
        for pair in tensors.windows(2) {
            if pair[1].begin < pair[0].end {
                self.what = format!("the data of tensor {}", quoted(&pair[1].name));
                return Err(self.bad(&format!("overlaps that of tensor {}", quoted(&pair[0].name))));
            }
        }
        Ok(())
    }
}

struct RawTensor {
    name: String,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

fn storage_of(kind: u32) -> Option<(Dtype, Storage)> {
    let dtype = match kind {
        0 => Dtype::F32,
        1 => Dtype::F16,
        24 => Dtype::I8,
        25 => Dtype::I16,
        26 => Dtype::I32,
        27 => Dtype::I64,
        28 => Dtype::F64,
        30 => Dtype::BF16,
        _ => return BlockType::from_id(kind).map(|kind| (Dtype::F32, Storage::Blocks(kind))),
    };
    Some((dtype, Storage::Plain))
}

/// The experts of a mixture are stored as one tensor, `[experts, rows, cols]`; each is a matrix of its own.
fn experts(tensor: TensorInfo) -> Vec<TensorInfo> {
    let stem = tensor.name.strip_suffix("_exps.weight");
    let (Some(stem), &[count, rows, cols]) = (stem, &tensor.shape[..]) else { return vec![tensor] };
    if tensor.elements() == 0 || count > MAX_EXPERTS {
        return vec![tensor];
    }
    let bytes = (tensor.end - tensor.begin) / count;
    let expert = |i: u64| TensorInfo {
        name: format!("{stem}_exps.{i}.weight"),
        shape: vec![rows, cols],
        begin: tensor.begin + i * bytes,
        end: tensor.begin + (i + 1) * bytes,
        ..tensor.clone()
    };
    (0..count).map(expert).collect()
}
