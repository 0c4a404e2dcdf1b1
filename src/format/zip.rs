//! The directory of a zip archive, as `PyTorch` and numpy write them: entries stored as they are, so that a tensor's bytes can
//! be read from their place, or deflated. (The `zip` crate wants to read and seek by itself, which a browser's files can't.)

use std::ops::Range;

use super::deflate;
use crate::error::{Error, Result, quoted};

/// What every archive begins with, unless it is empty.
pub(super) const MAGIC: &[u8; 4] = b"PK\x03\x04";
/// Bytes of a local header before its name.
pub(super) const LOCAL_LEN: u64 = 30;
/// The end record with the longest comment, and the locator of its 64-bit twin.
const TAIL_LEN: u64 = 22 + 65_535 + 20;
/// Of a directory; the largest models have some MB.
const MAX_DIRECTORY_BYTES: u64 = 200_000_000;

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    /// Bytes that it has.
    pub len: u64,
    /// Bytes that it takes.
    packed: u64,
    /// Where its local header begins; its data follow that.
    pub local: u64,
    method: Method,
}

/// How an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
    Other,
}

impl Entry {
    /// Whether its data have to be inflated.
    pub fn is_deflated(&self) -> bool {
        self.method == Method::Deflated
    }
}

/// Where the directory is.
pub(super) enum Place {
    Directory(Range<u64>),
    /// The 64-bit end record says it.
    EndRecord(Range<u64>),
}

pub(super) fn tail(size: u64) -> Range<u64> {
    size.saturating_sub(TAIL_LEN)..size
}

fn damaged(file: &str, what: &str) -> Error {
    Error::Format(format!(
        "{} is a zip archive {what}; it was cut short or is damaged, download it again",
        quoted(file)
    ))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A directory of `len` bytes that ends before byte `end`.
fn directory(file: &str, begin: u64, len: u64, end: u64) -> Result<Place> {
    if len > MAX_DIRECTORY_BYTES {
        return Err(Error::Limit(format!("{} claims a directory of {len} bytes; it is damaged", quoted(file))));
    }
    match begin.checked_add(len) {
        Some(stop) if stop <= end => Ok(Place::Directory(begin..stop)),
        _ => Err(damaged(file, "whose directory is not in the file")),
    }
}

/// Finds the directory from the last bytes of the file.
pub(super) fn place(file: &str, size: u64, tail: &[u8]) -> Result<Place> {
    let is_end = |at: &usize| tail[*at..].starts_with(b"PK\x05\x06");
    let at = (0..tail.len().saturating_sub(21)).rev().find(is_end).ok_or_else(|| damaged(file, "without an end"))?;
    let (len, begin) = (u32_at(tail, at + 12).unwrap_or(0), u32_at(tail, at + 16).unwrap_or(0));
    let locator = at.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07"));
    if let Some(record) = locator.and_then(|at| u64_at(tail, at + 8)) {
        return match record.checked_add(56) {
            Some(end) if end <= size => Ok(Place::EndRecord(record..end)),
            _ => Err(damaged(file, "whose end record is not in the file")),
        };
    }
    directory(file, begin, len, size)
}

/// Finds the directory from the 64-bit end record.
pub(super) fn place_64(file: &str, size: u64, record: &[u8]) -> Result<Place> {
    let numbers = u64_at(record, 40).zip(u64_at(record, 48)).filter(|_| record.starts_with(b"PK\x06\x06"));
    let (len, begin) = numbers.ok_or_else(|| damaged(file, "with a broken end record"))?;
    directory(file, begin, len, size)
}

/// Reads the directory.
pub(super) fn entries(file: &str, size: u64, mut bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while bytes.starts_with(b"PK\x01\x02") {
        let entry = entry(bytes).filter(|(entry, _)| entry.local.checked_add(LOCAL_LEN).is_some_and(|end| end <= size));
        let (entry, len) = entry.ok_or_else(|| damaged(file, "with a broken directory"))?;
        entries.push(entry);
        bytes = &bytes[len..];
    }
    Ok(entries)
}

/// The first entry, and how many bytes it takes.
fn entry(bytes: &[u8]) -> Option<(Entry, usize)> {
    const FIXED: usize = 46;
    let (method, packed, unpacked) = (u16_at(bytes, 10)?, u32_at(bytes, 20)?, u32_at(bytes, 24)?);
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| u16_at(bytes, at));
    let (name_len, extra_len, comment_len) = (name_len? as usize, extra_len? as usize, comment_len? as usize);
    let local = u32_at(bytes, 42)?;
    let name = bytes.get(FIXED..FIXED + name_len)?;
    let mut extra = bytes.get(FIXED + name_len..FIXED + name_len + extra_len)?;
    let mut numbers = [unpacked, packed, local];
    while let Some((kind, len)) = u16_at(extra, 0).zip(u16_at(extra, 2)) {
        let field = extra.get(4..4 + len as usize)?;
        if kind == 1 {
            // 64-bit numbers for those that did not fit, in this order.
            let mut at = 0;
            for number in numbers.iter_mut().filter(|n| **n == u64::from(u32::MAX)) {
                *number = u64_at(field, at)?;
                at += 8;
            }
        }
        extra = &extra[4 + len as usize..];
    }
    let [len, packed, local] = numbers;
    let method = match method {
        0 if packed == len => Method::Stored,
        8 => Method::Deflated,
        _ => Method::Other,
    };
    let entry = Entry { name: String::from_utf8_lossy(name).into_owned(), len, packed, local, method };
    let total = FIXED + name_len + extra_len + comment_len;
    (bytes.len() >= total).then_some((entry, total))
}

/// Where an entry's data are, from its local header.
pub(super) fn data(file: &str, size: u64, entry: &Entry, local: &[u8]) -> Result<Range<u64>> {
    let advice = match entry.method {
        Method::Deflated if !deflate::IS_KNOWN => Some("the program for the terminal reads it; or"),
        Method::Other => Some("of compressions only deflate can be read;"),
        Method::Stored | Method::Deflated => None,
    };
    if let Some(advice) = advice {
        return Err(Error::Unsupported(format!(
            "{}: {} is compressed; {advice} save the file again without compression",
            quoted(file),
            quoted(&entry.name)
        )));
    }
    if entry.is_deflated() && !deflate::is_possible(entry.len, entry.packed) {
        return Err(damaged(file, &format!("in which {} claims an impossible length", quoted(&entry.name))));
    }
    let lens = u16_at(local, 26).zip(u16_at(local, 28)).filter(|_| local.starts_with(MAGIC));
    let begin = lens.map(|(name, extra)| entry.local + LOCAL_LEN + name + extra);
    match begin.and_then(|begin| Some(begin..begin.checked_add(entry.packed)?)) {
        Some(range) if range.end <= size => Ok(range),
        _ => Err(damaged(file, &format!("in which {} is not whole", quoted(&entry.name)))),
    }
}
