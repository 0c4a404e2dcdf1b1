//! The header of a `.npy` array.

use safetensors::Dtype;

use super::tensor::check_dimensions;
use crate::error::{Error, Result, quoted};

pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Bytes in which every header that numpy writes fits: one of three dimensions has 128.
pub(super) const HEADER_ROOM: u64 = 4096;

/// An array as its header describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    /// `None` of texts, objects and other things without numbers, and of complex ones.
    pub dtype: Option<Dtype>,
    pub shape: Vec<u64>,
    /// Columns before rows.
    pub is_fortran: bool,
    /// Bytes before the data.
    pub header_len: u64,
}

/// Reads the header at the beginning of `bytes`.
///
/// # Errors
/// [`Error::Format`] if it is broken or longer than [`HEADER_ROOM`]; [`Error::Limit`] for too many dimensions;
/// [`Error::Unsupported`] for big-endian numbers.
pub(super) fn parse(file: &str, name: &str, bytes: &[u8]) -> Result<Described> {
    let broken = || {
        Error::Format(format!(
            "{}: the header of array {} can't be read; the file is damaged",
            quoted(file),
            quoted(name)
        ))
    };
    let (len, begin) = match bytes.get(6) {
        Some(1) => (bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        Some(2 | 3) => {
            let len = bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
            (len, 12)
        }
        _ => (None, 0),
    };
    let end = len.and_then(|len| len.checked_add(begin)).filter(|_| bytes.starts_with(MAGIC));
    let text = end.and_then(|end| bytes.get(begin..end)).and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(broken)?;
    let after = |key: &str| Some(text.split_once(&format!("'{key}':"))?.1.trim_start());
    // A structured dtype is a list, an object of no interest.
    let descr = after("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).unwrap_or("");
    let is_fortran = after("fortran_order").ok_or_else(broken)?.starts_with("True");
    let dims = after("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).ok_or_else(broken)?;
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape = dims.map(|dim| dim.parse().ok()).collect::<Option<Vec<u64>>>().ok_or_else(broken)?;
    check_dimensions(format_args!("{}: array {}", quoted(file), quoted(name)), shape.len())?;
    if descr.starts_with('>') {
        return Err(Error::Unsupported(format!(
            "{}: array {} is big-endian; save it again on another machine",
            quoted(file),
            quoted(name)
        )));
    }
    Ok(Described { dtype: dtype(descr), shape, is_fortran, header_len: end.unwrap_or(0) as u64 })
}

fn dtype(descr: &str) -> Option<Dtype> {
    Some(match descr.trim_start_matches(['<', '|', '=']) {
        "f8" => Dtype::F64,
        "f4" => Dtype::F32,
        "f2" => Dtype::F16,
        "i8" => Dtype::I64,
        "i4" => Dtype::I32,
        "i2" => Dtype::I16,
        "i1" => Dtype::I8,
        "u8" => Dtype::U64,
        "u4" => Dtype::U32,
        "u2" => Dtype::U16,
        "u1" => Dtype::U8,
        "b1" => Dtype::BOOL,
        _ => return None,
    })
}
