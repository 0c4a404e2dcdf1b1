//! `PyTorch`'s and numpy's archives, piece by piece: the directory at the end of the file, then what says where tensors are.

use std::collections::BTreeMap;
use std::ops::Range;

use super::deflate::inflate;
use super::numpy;
use super::pytorch::{self, Described, MAX_PICKLE_BYTES};
use super::tensor::{FileFormat, Header, Storage, TensorInfo, row_major};
use super::zip::{self, Entry, LOCAL_LEN, Place};
use crate::error::{Error, Result, quoted};
use crate::tensor::{Dtype, byte_len};

/// An archive whose table of contents is being read.
#[derive(Debug)]
pub(super) struct Archive {
    size: u64,
    entries: Vec<Entry>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Tail,
    EndRecord(Range<u64>),
    Directory(Range<u64>),
    /// The local header of the pickle, by its place among the entries.
    PickleHead(usize),
    Pickle {
        entry: usize,
        range: Range<u64>,
    },
    /// Local headers of storages: those still to be read, and where the data of those read are.
    Storages {
        tensors: Vec<Described>,
        waiting: Vec<(String, usize)>,
        found: BTreeMap<String, Values>,
    },
    /// Local headers of arrays with the arrays' own behind them.
    Arrays {
        waiting: Vec<usize>,
        found: Vec<TensorInfo>,
    },
}

/// Where values are.
#[derive(Debug, Clone)]
pub(super) struct Values {
    /// In the file.
    pub range: Range<u64>,
    /// How many bytes that becomes, if it is deflated.
    pub inflated: Option<u64>,
}

impl Values {
    fn of(entry: &Entry, range: Range<u64>) -> Self {
        Self { range, inflated: entry.is_deflated().then_some(entry.len) }
    }
}

impl Archive {
    pub fn new(size: u64) -> Self {
        Self { size, entries: Vec::new(), stage: Stage::Tail }
    }

    pub fn wants(&self) -> Range<u64> {
        let local = |entry: &usize, room: u64| {
            let begin = self.entries[*entry].local;
            begin..self.size.min(begin + LOCAL_LEN + room)
        };
        match &self.stage {
            Stage::Tail => zip::tail(self.size),
            Stage::EndRecord(range) | Stage::Directory(range) | Stage::Pickle { range, .. } => range.clone(),
            Stage::PickleHead(entry) => local(entry, 0),
            Stage::Storages { waiting, .. } => waiting.last().map_or(0..0, |(_, entry)| local(entry, 0)),
            Stage::Arrays { waiting, .. } => waiting.last().map_or(0..0, |entry| local(entry, numpy::HEADER_ROOM)),
        }
    }

    /// Takes the wanted bytes; the header when it is complete.
    pub fn give(&mut self, file: &str, bytes: &[u8]) -> Result<Option<Header>> {
        let size = self.size;
        let after = |place| match place {
            Place::Directory(range) => Stage::Directory(range),
            Place::EndRecord(range) => Stage::EndRecord(range),
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Tail) {
            Stage::Tail => after(zip::place(file, size, bytes)?),
            Stage::EndRecord(_) => after(zip::place_64(file, size, bytes)?),
            Stage::Directory(_) => {
                self.entries = zip::entries(file, size, bytes)?;
                self.contents(file)?
            }
            Stage::PickleHead(entry) => {
                let range = zip::data(file, size, &self.entries[entry], bytes)?;
                let len = self.entries[entry].len.max(range.end - range.start);
                if len > MAX_PICKLE_BYTES {
                    return Err(Error::Limit(format!(
                        "the pickle in {} has {len} bytes, too many for a table of contents; the file is damaged",
                        quoted(file)
                    )));
                }
                Stage::Pickle { entry, range }
            }
            Stage::Pickle { entry, .. } => {
                let Entry { name, len, .. } = &self.entries[entry];
                let inflated;
                let bytes = if self.entries[entry].is_deflated() {
                    inflated = inflate(name, bytes, *len as usize)?;
                    &inflated
                } else {
                    bytes
                };
                let tensors = pytorch::tensors(file, bytes)?;
                let waiting = self.storages(file, entry, &tensors)?;
                Stage::Storages { tensors, waiting, found: BTreeMap::new() }
            }
            Stage::Storages { tensors, mut waiting, mut found } => {
                if let Some((key, entry)) = waiting.pop() {
                    let entry = &self.entries[entry];
                    found.insert(key, Values::of(entry, zip::data(file, size, entry, bytes)?));
                }
                if waiting.is_empty() {
                    let tensors = tensors.into_iter().map(|tensor| placed(file, tensor, &found));
                    return finished(file, tensors.collect::<Result<_>>()?, FileFormat::Pytorch).map(Some);
                }
                Stage::Storages { tensors, waiting, found }
            }
            Stage::Arrays { mut waiting, mut found } => {
                if let Some(entry) = waiting.pop() {
                    let entry = &self.entries[entry];
                    let range = zip::data(file, size, entry, bytes)?;
                    let name = array_name(entry).unwrap_or(&entry.name);
                    let header = bytes.get((range.start - entry.local) as usize..).unwrap_or_default();
                    let inflated;
                    let header = if entry.is_deflated() {
                        // What follows the entry is not its own.
                        let own = &header[..header.len().min((range.end - range.start) as usize)];
                        inflated = inflate(name, own, entry.len.min(numpy::HEADER_ROOM) as usize)?;
                        &inflated
                    } else {
                        header
                    };
                    found.push(array(file, name, &Values::of(entry, range), header)?);
                }
                if waiting.is_empty() {
                    return finished(file, found, FileFormat::Numpy).map(Some);
                }
                Stage::Arrays { waiting, found }
            }
        };
        Ok(None)
    }

    /// What the archive is.
    fn contents(&self, file: &str) -> Result<Stage> {
        let is_pickle = |entry: &Entry| entry.name == "data.pkl" || entry.name.ends_with("/data.pkl");
        if let Some(entry) = self.entries.iter().position(is_pickle) {
            return Ok(Stage::PickleHead(entry));
        }
        let arrays = self.entries.iter().enumerate().filter(|(_, entry)| array_name(entry).is_some());
        let waiting: Vec<usize> = arrays.map(|(i, _)| i).collect();
        if waiting.is_empty() {
            return Err(Error::Unsupported(format!(
                "{} is a zip archive without a PyTorch state dict or numpy arrays; unpack it and give the model file in it",
                quoted(file)
            )));
        }
        Ok(Stage::Arrays { waiting, found: Vec::new() })
    }

    /// The entries of the storages that tensors are in, which lie beside the pickle.
    fn storages(&self, file: &str, pickle: usize, tensors: &[Described]) -> Result<Vec<(String, usize)>> {
        let folder = self.entries[pickle].name.trim_end_matches("data.pkl");
        let by_name: BTreeMap<&str, usize> =
            self.entries.iter().enumerate().map(|(i, entry)| (entry.name.as_str(), i)).collect();
        let mut keys: BTreeMap<&str, &Described> = BTreeMap::new();
        keys.extend(tensors.iter().map(|tensor| (tensor.storage.as_str(), tensor)));
        let place = |(key, tensor): (&str, &Described)| {
            let entry = by_name.get(format!("{folder}data/{key}").as_str());
            let entry = entry.ok_or_else(|| {
                Error::Format(format!(
                    "{}: the values of tensor {} are not in the file; download it again",
                    quoted(file),
                    quoted(&tensor.name)
                ))
            })?;
            Ok((key.to_owned(), *entry))
        };
        keys.into_iter().map(place).collect()
    }
}

/// The name under which numpy saved an array.
fn array_name(entry: &Entry) -> Option<&str> {
    entry.name.strip_suffix(".npy")
}

/// A single `.npy` file.
pub(super) fn npy(file: &str, size: u64, bytes: &[u8]) -> Result<Header> {
    let name = file.strip_suffix(".npy").unwrap_or(file);
    let whole = Values { range: 0..size, inflated: None };
    finished(file, vec![array(file, name, &whole, bytes)?], FileFormat::Numpy)
}

fn finished(file: &str, mut tensors: Vec<TensorInfo>, format: FileFormat) -> Result<Header> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    match tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        None => Ok(Header { tensors, format, ..Header::default() }),
        Some(pair) => Err(Error::Format(format!(
            "{}: tensor {} is there twice; the file is damaged",
            quoted(file),
            quoted(&pair[0].name)
        ))),
    }
}

/// A file of `PyTorch` before 1.6, from its first bytes; `None` if more of them are needed.
pub(super) fn old_pytorch(file: &str, size: u64, prefix: &[u8]) -> Result<Option<Header>> {
    let Some((tensors, places)) = pytorch::old(file, size, prefix)? else { return Ok(None) };
    let place = |(key, range)| (key, Values { range, inflated: None });
    let places = places.into_iter().map(place).collect();
    let tensors = tensors.into_iter().map(|tensor| placed(file, tensor, &places));
    finished(file, tensors.collect::<Result<_>>()?, FileFormat::Pytorch).map(Some)
}

/// Checks that a tensor's values are in `range`, `offset` values from its beginning on.
fn strided(file: &str, tensor: Described, range: &Range<u64>) -> Result<TensorInfo> {
    let Described { name, dtype, shape, strides, offset, .. } = tensor;
    let impossible = || {
        Error::Format(format!(
            "{}: tensor {} of shape {shape:?} and strides {strides:?} is not within its {} bytes; the file is damaged",
            quoted(file),
            quoted(&name),
            range.end - range.start
        ))
    };
    let elements = shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d)).ok_or_else(impossible)?;
    // From the first value to one past the last.
    let last = shape
        .iter()
        .zip(&strides)
        .try_fold(1_u64, |sum, (d, stride)| sum.checked_add(d.saturating_sub(1).checked_mul(*stride)?));
    let extent = if elements == 0 { Some(0) } else { last };
    let bytes = |count: u64| byte_len(dtype, count);
    let begin = bytes(offset).and_then(|bytes| range.start.checked_add(bytes));
    let end = extent.and_then(bytes).zip(begin).and_then(|(bytes, begin)| begin.checked_add(bytes));
    // Values may not be there several times, or a file of no size could fill the memory.
    let (Some(extent), Some(begin), Some(end)) = (extent.filter(|e| *e >= elements), begin, end) else {
        return Err(impossible());
    };
    if end > range.end {
        return Err(impossible());
    }
    let wanted = row_major(&shape).ok_or_else(impossible)?;
    let is_plain = shape.iter().zip(strides.iter().zip(&wanted)).all(|(d, (a, b))| *d == 1 || a == b);
    let storage = if is_plain || elements == 0 { Storage::Plain } else { Storage::Strided(strides) };
    debug_assert!(storage != Storage::Plain || extent == elements);
    Ok(TensorInfo { name, dtype, shape, begin, end, storage })
}

/// A tensor whose values begin `from` bytes behind the beginning of `values`.
fn within(file: &str, tensor: Described, values: &Values, from: u64) -> Result<TensorInfo> {
    let Values { range, inflated } = values;
    let Some(len) = *inflated else {
        return strided(file, tensor, &(range.start.saturating_add(from).min(range.end)..range.end));
    };
    let info = strided(file, tensor, &(from.min(len)..len))?;
    // All up to its end is inflated: no more than what its values take in f64, and some header.
    const ROOM: u64 = 1 << 16;
    if info.end > info.elements().saturating_mul(8).saturating_add(ROOM) {
        return Err(Error::Unsupported(format!(
            "{}: tensor {} is a small part of compressed data; save the file again without compression",
            quoted(file),
            quoted(&info.name)
        )));
    }
    let storage = Storage::Deflated { storage: Box::new(info.storage), from: info.begin, to: info.end };
    Ok(TensorInfo { begin: range.start, end: range.end, storage, ..info })
}

fn placed(file: &str, tensor: Described, found: &BTreeMap<String, Values>) -> Result<TensorInfo> {
    // One that is not there has no room for values.
    let nowhere = Values { range: 0..0, inflated: None };
    let values = found.get(&tensor.storage).unwrap_or(&nowhere);
    within(file, tensor, values, 0)
}

/// An array whose bytes begin as `header` does. One with sides is a weight here, whatever its name: arrays are rarely named as
/// layers are.
fn array(file: &str, name: &str, values: &Values, header: &[u8]) -> Result<TensorInfo> {
    let numpy::Described { dtype, shape, is_fortran, header_len } = numpy::parse(file, name, header)?;
    let Some(dtype) = dtype else {
        // Not numbers: bytes that nobody looks at.
        let Range { start: begin, end } = values.range;
        let (name, shape) = (name.to_owned(), vec![end - begin]);
        return Ok(TensorInfo { name, dtype: Dtype::U8, shape, begin, end, storage: Storage::Plain });
    };
    let strides = if is_fortran {
        let mut reversed = shape.clone();
        reversed.reverse();
        row_major(&reversed).map(|mut strides| {
            strides.reverse();
            strides
        })
    } else {
        row_major(&shape)
    };
    let is_weight = shape.len() >= 2 && !name.ends_with(".weight");
    let tensor = Described {
        name: if is_weight { format!("{name}.weight") } else { name.to_owned() },
        dtype,
        // Dimensions too large to have strides are not within the file either.
        strides: strides.unwrap_or_else(|| vec![u64::MAX; shape.len()]),
        shape,
        storage: String::new(),
        offset: 0,
    };
    within(file, tensor, values, header_len)
}
