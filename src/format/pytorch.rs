//! State dicts as `torch.save` writes them: a pickle that says which tensor is where in which storage.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use safetensors::Dtype;

use super::pickle::{ENDS_EARLY, Id, Pickle, Value};
use super::tensor::check_dimensions;
use crate::error::{Error, Result, quoted};
use crate::tensor::byte_len;

/// A tensor as the pickle describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// In values.
    pub strides: Vec<u64>,
    /// Name of the storage.
    pub storage: String,
    /// First value in the storage.
    pub offset: u64,
}

/// Of a pickle that says where tensors are; the largest models have some MB.
pub(super) const MAX_PICKLE_BYTES: u64 = 200_000_000;

/// Of all tensors' names together, and of their storages': 300 bytes for each of 200,000 tensors. Texts in a pickle can be
/// used again and again, so that a short one may describe endless names.
const MAX_NAME_BYTES: usize = 60_000_000;

/// Where training programs keep the state dict among other things, the likeliest first.
const WRAPPERS: [&str; 6] = ["state_dict", "model_state_dict", "model", "module", "params_ema", "params"];

/// The tensors of a pickled state dict, in the order of the dict.
///
/// # Errors
/// [`Error::Format`] if the pickle is broken or names a tensor twice; [`Error::Unsupported`] if it holds something else;
/// [`Error::Limit`] for names or dimensions without end.
pub(super) fn tensors(file: &str, bytes: &[u8]) -> Result<Vec<Described>> {
    let (pickle, root, _) = Pickle::read(bytes).map_err(|what| broken(file, &what))?;
    state_dict(file, &pickle, root)
}

fn broken(file: &str, what: &str) -> Error {
    Error::Format(format!(
        "the pickle in {} can't be read: {what}; nothing in it was run, save the weights as safetensors",
        quoted(file)
    ))
}

/// What `torch.save` began a file with before 1.6: the pickle of a number.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Tensors of an old file, and where their storages are.
pub(super) type Old = (Vec<Described>, BTreeMap<String, Range<u64>>);

/// Reads the pickles at the beginning of an old file: the number, the protocol, the system, the state dict, the storages'
/// names; the storages follow, each behind the number of its values. `None` if there must be more of them.
///
/// # Errors
/// As [`tensors`].
pub(super) fn old(file: &str, size: u64, prefix: &[u8]) -> Result<Option<Old>> {
    let mut pickles = Vec::new();
    let mut at = 0;
    for place in 0..5 {
        match Pickle::read(&prefix[at..]) {
            Ok((pickle, root, len)) => {
                // The first three are not looked at.
                if place >= 3 {
                    pickles.push((pickle, root));
                }
                at += len;
            }
            Err(what) if what == ENDS_EARLY && (prefix.len() as u64) < size.min(MAX_PICKLE_BYTES) => return Ok(None),
            Err(what) => return Err(broken(file, &what)),
        }
    }
    let [(pickle, root), (names, list)] = &pickles[..] else { return Ok(None) };
    let tensors = state_dict(file, pickle, *root)?;
    let storages = pickle.storages();
    let mut places = BTreeMap::new();
    let mut at = at as u64;
    for name in names.list(*list).unwrap_or_default() {
        let place = names.text(*name).and_then(|name| {
            let (dtype, count) = storages.get(name)?;
            let begin = at.checked_add(8)?;
            let end = begin.checked_add(byte_len(*dtype, *count)?)?;
            Some((name.to_owned(), begin..end))
        });
        let (name, range) = place.ok_or_else(|| broken(file, "it names a storage that it does not describe"))?;
        at = range.end;
        places.insert(name, range);
    }
    if at > size {
        return Err(Error::Format(format!(
            "{} ends before its values do, after {size} of {at} bytes; it was cut short, download it again",
            quoted(file)
        )));
    }
    Ok(Some((tensors, places)))
}

fn state_dict(file: &str, pickle: &Pickle, root: Id) -> Result<Vec<Described>> {
    let root = pickle.state_dict(root).unwrap_or(root);
    let mut found = Vec::new();
    pickle.collect(file, root, &mut found)?;
    if found.is_empty() {
        return Err(Error::Unsupported(format!(
            "{} holds no tensors by name, perhaps a whole Python object; save its state_dict() instead",
            quoted(file)
        )));
    }
    Ok(found)
}

impl Pickle {
    /// Dtype and number of values of every storage, by name.
    fn storages(&self) -> BTreeMap<&str, (Dtype, u64)> {
        let storage = |value: &Value| {
            let Value::Persistent(id) = value else { return None };
            let [_, kind, key, _, count, ..] = *self.list(*id)? else { return None };
            Some((self.text(key)?, (dtype(self.global(kind)?)?, self.int(count)?)))
        };
        self.values.iter().filter_map(storage).collect()
    }

    fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match &self.values[id] {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    fn state_dict(&self, root: Id) -> Option<Id> {
        let entries = self.entries(root)?;
        let value = |key: &str| entries.iter().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value);
        let has_tensors = |id: &Id| {
            self.entries(*id).is_some_and(|entries| entries.iter().any(|(_, value)| self.rebuild(*value).is_some()))
        };
        WRAPPERS.iter().find_map(|key| value(key).filter(has_tensors))
    }

    /// All tensors in nested dicts, their keys joined by points.
    fn collect(&self, file: &str, root: Id, found: &mut Vec<Described>) -> Result<()> {
        let mut seen = HashSet::from([root]);
        let mut waiting = vec![(String::new(), root)];
        let (mut names, mut left) = (HashSet::new(), MAX_NAME_BYTES);
        let mut count = |len: usize| -> Result<()> {
            left = left.checked_sub(len).ok_or_else(|| {
                Error::Limit(format!(
                    "the tensors' names in {} take more than {MAX_NAME_BYTES} bytes; no model has such names, the file is damaged",
                    quoted(file)
                ))
            })?;
            Ok(())
        };
        while let Some((prefix, id)) = waiting.pop() {
            let mut inner = Vec::new();
            for (key, value) in self.entries(id).unwrap_or_default() {
                let Some(key) = self.text(*key) else { continue };
                let rebuild = self.rebuild(*value);
                let is_inner = rebuild.is_none() && self.entries(*value).is_some() && seen.insert(*value);
                if rebuild.is_none() && !is_inner {
                    continue;
                }
                count(prefix.len() + 1 + key.len())?;
                let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                let Some((callable, arguments)) = rebuild else {
                    inner.push((name, *value));
                    continue;
                };
                let place = self.place(callable, arguments).ok_or_else(|| {
                    Error::Unsupported(format!(
                        "{}: tensor {} is of a kind that can't be read; save the weights as safetensors",
                        quoted(file),
                        quoted(&name)
                    ))
                })?;
                check_dimensions(format_args!("{}: tensor {}", quoted(file), quoted(&name)), place.shape.len())?;
                count(place.storage.len())?;
                if !names.insert(name.clone()) {
                    return Err(Error::Format(format!(
                        "{}: tensor {} is there twice; the file is damaged",
                        quoted(file),
                        quoted(&name)
                    )));
                }
                found.push(self.describe(&place, name));
            }
            waiting.extend(inner.into_iter().rev());
        }
        Ok(())
    }

    /// The call that makes a tensor, with what may be wrapped around it taken off.
    fn rebuild(&self, mut id: Id) -> Option<(&str, Id)> {
        /// A parameter around a subclass around a tensor, and one to spare.
        const DEEPEST: usize = 4;
        for _ in 0..DEEPEST {
            let Value::Call(callable, arguments) = self.values[id] else { return None };
            let (mut callable, mut arguments) = (self.global(callable)?, arguments);
            if callable == "torch._tensor._rebuild_from_type_v2" {
                let list = self.list(arguments)?;
                (callable, arguments) = (self.global(*list.first()?)?, *list.get(2)?);
            }
            match callable {
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                    id = *self.list(arguments)?.first()?;
                }
                _ => return callable.starts_with("torch._utils._rebuild").then_some((callable, arguments)),
            }
        }
        None
    }

    /// Where a tensor is; none if that is not said in the way that PyTorch says it.
    fn place(&self, callable: &str, arguments: Id) -> Option<Place<'_>> {
        let arguments = self.list(arguments)?;
        let [storage, offset, shape, strides, ..] = *arguments else { return None };
        let Value::Persistent(storage) = self.values[storage] else { return None };
        let [tag, kind, key, ..] = *self.list(storage)? else { return None };
        let kind = self.global(kind)?;
        let kind = match callable {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => kind,
            "torch._utils._rebuild_tensor_v3" => self.global(*arguments.get(6)?)?,
            _ => return None,
        };
        let numbers = |id| self.list(id).filter(|list| list.iter().all(|id| self.int(*id).is_some()));
        let place = Place {
            dtype: dtype(kind)?,
            shape: numbers(shape)?,
            strides: numbers(strides)?,
            storage: self.text(key)?,
            offset: self.int(offset)?,
        };
        (self.text(tag) == Some("storage") && place.shape.len() == place.strides.len()).then_some(place)
    }

    fn describe(&self, place: &Place, name: String) -> Described {
        let &Place { dtype, shape, strides, storage, offset } = place;
        let numbers = |list: &[Id]| list.iter().filter_map(|id| self.int(*id)).collect();
        Described { name, dtype, shape: numbers(shape), strides: numbers(strides), storage: storage.to_owned(), offset }
    }
}

/// What a pickle says of a tensor, before it is copied: see [`Described`].
struct Place<'a> {
    dtype: Dtype,
    shape: &'a [Id],
    strides: &'a [Id],
    storage: &'a str,
    offset: u64,
}

fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "torch.FloatStorage" | "torch.float32" => Dtype::F32,
        "torch.HalfStorage" | "torch.float16" => Dtype::F16,
        "torch.BFloat16Storage" | "torch.bfloat16" => Dtype::BF16,
        "torch.DoubleStorage" | "torch.float64" => Dtype::F64,
        "torch.LongStorage" | "torch.int64" => Dtype::I64,
        "torch.IntStorage" | "torch.int32" => Dtype::I32,
        "torch.ShortStorage" | "torch.int16" => Dtype::I16,
        "torch.CharStorage" | "torch.int8" => Dtype::I8,
        "torch.ByteStorage" | "torch.uint8" => Dtype::U8,
        "torch.BoolStorage" | "torch.bool" => Dtype::BOOL,
        "torch.uint16" => Dtype::U16,
        "torch.uint32" => Dtype::U32,
        "torch.uint64" => Dtype::U64,
        "torch.float8_e4m3fn" => Dtype::F8_E4M3,
        "torch.float8_e5m2" => Dtype::F8_E5M2,
        _ => return None,
    })
}
