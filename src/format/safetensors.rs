//! The safetensors header, from its bytes and the length of the file alone.
//!
//! The `safetensors` crate checks the same rules but wants the whole file in memory and keeps offsets as `usize`, which
//! loses every file over 4 GiB in the browser. Its dtypes and its writer are used, and tests compare both readers.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use safetensors::Dtype;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor, value::StrDeserializer};

use super::tensor::{Header, MAX_DIMENSIONS, Storage, TensorInfo, check_dimensions};
use crate::error::{Error, Result, quoted};
use crate::tensor::byte_len;

/// The longest header the format allows.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Length of the JSON header that follows the first eight bytes.
///
/// # Errors
/// [`Error::Format`] if the file is shorter than eight bytes, looks like text, or the length points past its end;
/// [`Error::Limit`] if the length is over [`MAX_HEADER_BYTES`].
pub fn header_len(file: &str, file_len: u64, first_bytes: &[u8]) -> Result<u64> {
    let file = quoted(file);
    if file_len == 0 {
        return Err(Error::Format(format!("{file} is empty (0 bytes); copy or download it again")));
    }
    let Some(first) = first_bytes.first_chunk::<8>().filter(|_| file_len >= 8) else {
        return Err(Error::Format(format!(
            "{file} has only {file_len} bytes, too few for a safetensors file; copy or download it again"
        )));
    };
    let len = u64::from_le_bytes(*first);
    let is_text = first.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e));
    if is_text {
        return Err(Error::Format(format!(
            "{file} is a text file, not a safetensors file (a Git LFS pointer or a web page saved by mistake?); download the model file itself"
        )));
    }
    if len > MAX_HEADER_BYTES {
        return Err(Error::Limit(format!(
            "{file} claims a header of {len} bytes, over the format's limit of {MAX_HEADER_BYTES}; it is not a safetensors file or it is damaged"
        )));
    }
    if len > file_len - 8 {
        return Err(Error::Format(format!(
            "{file} claims a header of {len} bytes but has only {} bytes after the length; it was cut short, download it again",
            file_len - 8
        )));
    }
    Ok(len)
}

/// Parses the JSON header (the bytes after the first eight) and checks every offset against the file's length.
///
/// # Errors
/// [`Error::Format`] naming the tensor and the fault: broken or deeply nested JSON, a tensor named twice, an unknown
/// dtype, shape times dtype that is not the number of bytes, offsets that run backwards, overlap, leave gaps or point past
/// the end of the file. [`Error::Limit`] for a tensor of more than 16 dimensions.
///
/// # Cost
/// One pass over the JSON and one sort of the tensors by offset.
pub fn parse_header(file: &str, file_len: u64, json: &[u8]) -> Result<Header> {
    let file = quoted(file);
    let text = std::str::from_utf8(json).map_err(|e| {
        Error::Format(format!("the header of {file} is not UTF-8 at byte {}; the file is damaged", 8 + e.valid_up_to()))
    })?;
    let raw: RawHeader = serde_json::from_str(text)
        .map_err(|e| Error::Format(format!("the header of {file} is not a valid safetensors header: {}; the file is damaged or was made by a faulty tool", short(&e.to_string()))))?;
    let data_begin = 8 + json.len() as u64;
    let data_len =
        file_len.checked_sub(data_begin).ok_or_else(|| Error::Format(format!("{file} ends inside its header")))?;

    let mut tensors = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        tensors.push(check_tensor(&file, name, &tensor, data_begin, data_len)?);
    }
    check_layout(&file, &mut tensors, data_begin, file_len)?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Header { tensors, metadata: raw.metadata, ..Header::default() })
}

fn check_tensor(file: &str, name: String, raw: &RawTensor, data_begin: u64, data_len: u64) -> Result<TensorInfo> {
    let shown = quoted(&name);
    let dtype = Dtype::deserialize(StrDeserializer::<serde::de::value::Error>::new(&raw.dtype)).map_err(|_| {
        Error::Format(format!(
            "{file}: tensor {shown} has the unknown dtype {}; the file is newer than this program or damaged",
            quoted(&raw.dtype)
        ))
    })?;
    let [begin, end] = raw.data_offsets;
    if begin > end {
        return Err(Error::Format(format!(
            "{file}: the data of tensor {shown} runs backwards, from byte {begin} to {end}; the file is damaged"
        )));
    }
    if end > data_len {
        return Err(Error::Format(format!(
            "{file}: tensor {shown} ends at byte {end} of the data but the file holds {data_len}; it was cut short, download it again"
        )));
    }
    check_dimensions(format_args!("{file}: tensor {shown}"), raw.shape.count)?;
    let shape = &raw.shape.dimensions;
    let needed = shape
        .iter()
        .try_fold(1_u64, |product, d| product.checked_mul(*d))
        .and_then(|elements| byte_len(dtype, elements));
    if needed != Some(end - begin) {
        let needed = needed.map_or_else(|| "an impossible number of".to_owned(), |n| n.to_string());
        return Err(Error::Format(format!(
            "{file}: tensor {shown} of shape {shape:?} and dtype {dtype} needs {needed} bytes but has {}; the file is damaged",
            end - begin
        )));
    }
    let (begin, end) = (data_begin + begin, data_begin + end);
    Ok(TensorInfo { name, dtype, shape: shape.clone(), begin, end, storage: Storage::Plain })
}

/// Tensors must cover the data without gap or overlap, to the last byte.
fn check_layout(file: &str, tensors: &mut [TensorInfo], data_begin: u64, file_len: u64) -> Result<()> {
    tensors.sort_by_key(|t| (t.begin, t.end));
    let mut covered = data_begin;
    for tensor in tensors.iter() {
        let shown = quoted(&tensor.name);
        if tensor.begin < covered {
            return Err(Error::Format(format!(
                "{file}: the data of tensor {shown} overlaps the tensor before it by {} bytes; the file is damaged",
                covered - tensor.begin
            )));
        }
        if tensor.begin > covered {
            return Err(Error::Format(format!(
                "{file}: {} bytes before tensor {shown} belong to no tensor; the file is damaged",
                tensor.begin - covered
            )));
        }
        covered = tensor.end;
    }
    if covered != file_len {
        return Err(Error::Format(format!(
            "{file}: the last {} bytes belong to no tensor; the file is damaged or not finished",
            file_len - covered
        )));
    }
    Ok(())
}

/// serde's messages quote the input, which may be long and hold anything.
fn short(message: &str) -> String {
    const SHOWN: usize = 200;
    let clean: String = message.chars().flat_map(char::escape_debug).take(SHOWN + 1).collect();
    if clean.chars().count() > SHOWN { format!("{}...", clean.chars().take(SHOWN).collect::<String>()) } else { clean }
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: RawShape,
    data_offsets: [u64; 2],
}

/// All dimensions are counted, and no more kept than a tensor may have: a header has room for 50 million.
struct RawShape {
    dimensions: Vec<u64>,
    count: usize,
}

impl<'de> Deserialize<'de> for RawShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = RawShape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawShape, A::Error> {
                let mut shape = RawShape { dimensions: Vec::new(), count: 0 };
                while let Some(dimension) = list.next_element()? {
                    if shape.count < MAX_DIMENSIONS {
                        shape.dimensions.push(dimension);
                    }
                    shape.count += 1;
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that maps tensor names to dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    // serde_json keeps the last of two equal keys without a word.
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("the tensor {} is named twice", quoted(&name))));
                    }
                    if name == "__metadata__" {
                        // MLX writes null for none.
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        let tensor =
                            map.next_value().map_err(|e| A::Error::custom(format!("tensor {}: {e}", quoted(&name))))?;
                        header.tensors.push((name, tensor));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::{SafeTensors, serialize, tensor::TensorView};

    fn parse(json: &str, data_len: u64) -> Result<Header> {
        parse_header("m.safetensors", 8 + json.len() as u64 + data_len, json.as_bytes())
    }

    fn message(json: &str, data_len: u64) -> String {
        let error = parse(json, data_len).unwrap_err();
        assert_eq!(error.code(), "format");
        error.to_string()
    }

    #[test]
    fn each_fault_is_named_with_its_tensor() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a.weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        assert!(parse(&one("F32", "[2,2]", "[0,16]"), 16).is_ok());
        assert!(message(&one("Q4_9", "[2,2]", "[0,16]"), 16).contains(r#"unknown dtype "Q4_9""#));
        assert!(message(&one("F32", "[2,2]", "[16,0]"), 16).contains("runs backwards"));
        assert!(message(&one("F32", "[2,2]", "[0,16]"), 12).contains("cut short"));
        assert!(message(&one("F32", "[2,3]", "[0,16]"), 16).contains("needs 24 bytes but has 16"));
        assert!(message(&one("F32", "[4294967296,4294967296,4294967296]", "[0,16]"), 16).contains("impossible"));
        assert!(message(&one("F32", "[2,2]", "[0,16]"), 20).contains("last 4 bytes"));
        assert!(message(&one("F32", "[-2,2]", "[0,16]"), 16).contains("a.weight"));
        assert!(message(&one("F32", "[1.5]", "[0,16]"), 16).contains("a.weight"));
        let two = |first: &str, second: &str| {
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{first}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
            )
        };
        assert!(parse(&two("[4,8]", "[0,4]"), 8).is_ok());
        assert!(message(&two("[0,4]", "[2,6]"), 8).contains("overlaps"));
        assert!(message(&two("[0,4]", "[5,9]"), 9).contains("1 bytes before tensor \"b\""));
        assert!(message(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4).contains("named twice"));
        assert!(message("{\"a\":", 0).contains("not a valid safetensors header"));
        assert!(message("[]", 0).contains("not a valid safetensors header"));
        assert!(message(&format!("{{\"a\":{}", "[".repeat(100_000)), 0).contains("not a valid"));
        assert!(message(&format!("{{\"a\":{{\"x\":{}", "{\"y\":".repeat(100_000)), 0).len() < 500);
        let name = "\\u001b[31m<script>alert(1)</script>";
        assert!(
            message(&format!(r#"{{"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[0,9]}}}}"#), 4)
                .contains(r"\u{1b}")
        );
        assert!(parse_header("m", 12, b"\xff\xfe{}").unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn dimensions_are_counted_before_they_are_shown() {
        let ones = |count: usize| {
            let shape = vec!["1"; count].join(",");
            parse(&format!(r#"{{"a.weight":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}}}"#), 4)
        };
        assert_eq!(ones(16).unwrap().tensors[0].shape, [1; 16]);
        let error = ones(300_000).unwrap_err();
        let message = error.to_string();
        assert!(error.code() == "limit" && message.len() < 200, "{} {}", error.code(), message.len());
        assert!(message.contains("tensor \"a.weight\" has 300000 dimensions"), "{message}");
    }

    #[test]
    fn the_first_eight_bytes_are_checked_before_anything_is_read() {
        let len = |file_len, first: [u8; 8]| header_len("m.safetensors", file_len, &first);
        assert_eq!(len(100, 92_u64.to_le_bytes()), Ok(92));
        assert!(len(0, [0; 8]).unwrap_err().to_string().contains("is empty"));
        assert!(header_len("m", 3, b"abc").unwrap_err().to_string().contains("only 3 bytes"));
        assert!(len(100, 93_u64.to_le_bytes()).unwrap_err().to_string().contains("cut short"));
        assert_eq!(len(u64::MAX, 100_000_001_u64.to_le_bytes()).unwrap_err().code(), "limit");
        assert!(len(400, *b"version ").unwrap_err().to_string().contains("text file"));
    }

    #[test]
    fn offsets_past_four_gib_survive() {
        let json = r#"{"a":{"dtype":"U8","shape":[5000000000],"data_offsets":[0,5000000000]},"b":{"dtype":"F32","shape":[1],"data_offsets":[5000000000,5000000004]}}"#;
        let header = parse(json, 5_000_000_004).unwrap();
        assert_eq!(header.tensors[1].end, 8 + json.len() as u64 + 5_000_000_004);
    }

    proptest! {
        /// What the safetensors crate writes, both readers understand alike.
        #[test]
        fn agrees_with_the_safetensors_crate(shapes in proptest::collection::vec(proptest::collection::vec(0_usize..5, 0..4), 0..8), note in ".{0,20}") {
            let data: Vec<Vec<u8>> = shapes.iter().map(|s| vec![7; 2 * s.iter().product::<usize>()]).collect();
            let views = shapes.iter().zip(&data).enumerate().map(|(i, (s, d))| (format!("t{i}.weight"), TensorView::new(Dtype::BF16, s.clone(), d).unwrap()));
            let bytes = serialize(views, Some([("note".to_owned(), note.clone())].into())).unwrap();
            let len = header_len("m", bytes.len() as u64, &bytes[..8]).unwrap() as usize;
            let ours = parse_header("m", bytes.len() as u64, &bytes[8..8 + len]).unwrap();
            let theirs = SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(ours.metadata.get("note"), Some(&note));
            prop_assert_eq!(ours.tensors.len(), theirs.len());
            for tensor in ours.tensors {
                let view = theirs.tensor(&tensor.name).unwrap();
                prop_assert_eq!(view.data(), &bytes[tensor.begin as usize..tensor.end as usize]);
                prop_assert_eq!(view.shape().iter().map(|d| *d as u64).collect::<Vec<_>>(), tensor.shape);
            }
        }

        /// No bytes make it panic, and what it accepts covers the file.
        #[test]
        fn never_panics(json in proptest::collection::vec(any::<u8>(), 0..200), data_len in 0_u64..100) {
            let file_len = 8 + json.len() as u64 + data_len;
            if let Ok(header) = parse_header("m", file_len, &json) {
                prop_assert_eq!(header.tensors.iter().map(|t| t.end - t.begin).sum::<u64>(), data_len);
            }
        }
    }
}
