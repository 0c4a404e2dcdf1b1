//! A file's table of contents.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::Dtype;

use super::packed::Packed;
use super::window::View;
use crate::error::{Error, Result, quoted};
use crate::quant::BlockType;
use crate::tensor::decode_f32;

/// How a tensor's values are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// One after another, row-major, each as its dtype says.
    Plain,
    /// Each as its dtype says, so many values apart along each dimension.
    Strided(Vec<u64>),
    /// As the storage in it says, from byte `from` on of what the deflated bytes are inflated to.
    Deflated {
        /// Of the inflated bytes.
        storage: Box<Storage>,
        /// Its first inflated byte.
        from: u64,
        /// One past its last.
        to: u64,
    },
    /// In ggml's blocks, along rows.
    Blocks(BlockType),
    /// As codes, with scales and what else belongs to them in other places.
    Packed(Box<Packed>),
}

/// More experts than any mixture has; a tensor that claims more is not taken apart.
pub(super) const MAX_EXPERTS: u64 = 4096;

/// More dimensions than any weight has: only damaged headers claim more, and lists of them fill memory and messages.
pub(super) const MAX_DIMENSIONS: usize = 16;

/// Refuses a tensor with too many dimensions; to be asked before its shape is copied or shown.
///
/// # Errors
/// [`Error::Limit`], in a sentence that begins with `tensor`.
pub(super) fn check_dimensions(tensor: impl fmt::Display, count: usize) -> Result<()> {
    if count <= MAX_DIMENSIONS {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "{tensor} has {count} dimensions, more than the {MAX_DIMENSIONS} that can be read; no weight has so many, the file is damaged"
    )))
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name: untrusted text.
    pub name: String,
    /// The dtype of its values: the stored one, or of a quantized tensor the one that its values are given in.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the start of the file; of a packed tensor the first byte of its codes.
    pub begin: u64,
    /// One past the last byte, counted from the start of the file.
    pub end: u64,
    /// How these bytes become values.
    pub storage: Storage,
}

impl TensorInfo {
    /// Number of values. It can't overflow: the header was checked.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// What people call the way it is stored: a dtype, a block type, or a checkpoint's scheme.
    pub fn stored_as(&self) -> String {
        match &self.storage {
            Storage::Plain | Storage::Strided(_) | Storage::Deflated { .. } => self.dtype.to_string(),
            Storage::Blocks(kind) => kind.name().to_owned(),
            Storage::Packed(packed) => packed.to_string(),
        }
    }

    /// Whether a quantizer made it.
    pub fn is_quantized(&self) -> bool {
        matches!(self.storage, Storage::Blocks(_) | Storage::Packed(_))
    }

    /// Bytes of all that belongs to it, scales included.
    pub fn bytes(&self) -> u64 {
        let others = match &self.storage {
            Storage::Packed(packed) => packed.parts().map(|part| part.end - part.begin).sum(),
            _ => 0,
        };
        self.end - self.begin + others
    }

    /// Bytes that are in memory besides its values while it is decoded: what is stored, and what that is inflated to.
    pub fn decoding_bytes(&self) -> u64 {
        let inflated = if let Storage::Deflated { to, .. } = self.storage { to } else { 0 };
        self.bytes().saturating_add(inflated)
    }

    /// Bits that a value takes, scales included; `None` without values. That a whole archive is compressed does not count.
    pub fn bits_per_weight(&self) -> Option<f64> {
        let elements = self.elements();
        if let Storage::Deflated { .. } = self.storage {
            return (elements > 0).then(|| self.dtype.bitsize() as f64);
        }
        (elements > 0).then(|| 8.0 * self.bytes() as f64 / elements as f64)
    }

    /// Its values in f32, row-major: what `tensor.to(torch.float32)` gives of a plain tensor, what its own tool dequantizes
    /// of a quantized one.
    ///
    /// `bytes` are those of [`super::TensorEntry::parts`], one after another.
    ///
    /// # Errors
    /// As [`decode_f32`]; [`Error::Format`] if there are more or fewer `bytes`, or what is stored makes no sense (a group that
    /// does not exist); [`Error::Options`] if `out` is not as long as the tensor.
    pub fn decode(&self, bytes: &[u8], out: &mut [f32]) -> Result<()> {
        if self.storage == Storage::Plain {
            return decode_f32(self.dtype, bytes, out);
        }
        self.check_len(bytes.len())?;
        if out.len() as u64 != self.elements() {
            let message = format!("tensor {} has {} values, not {}", quoted(&self.name), self.elements(), out.len());
            return Err(Error::Options(message));
        }
        match &self.storage {
            Storage::Plain | Storage::Strided(_) => View::new(self).decode_all(bytes, out),
            Storage::Deflated { from, to, .. } => self.inflated().decode(&self.inflate(bytes, *from, *to)?, out),
            Storage::Blocks(kind) => {
                kind.dequantize(bytes, out);
                Ok(())
            }
            Storage::Packed(packed) => packed.decode(self, bytes, out),
        }
    }

    /// Whether there are as many bytes as [`TensorInfo::bytes`] says.
    ///
    /// # Errors
    /// [`Error::Format`] if not.
    pub(super) fn check_len(&self, len: usize) -> Result<()> {
        if len as u64 == self.bytes() {
            return Ok(());
        }
        Err(Error::Format(format!(
            "tensor {} of {} values takes {} bytes, not {len}",
            quoted(&self.name),
            self.elements(),
            self.bytes()
        )))
    }
}

/// The strides of values one after another; none if there are more of them than a number can say.
pub(super) fn row_major(shape: &[u64]) -> Option<Vec<u64>> {
    let mut strides = vec![1_u64; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].checked_mul(shape[i])?;
    }
    Some(strides)
}

/// The checked table of contents of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// All tensors, sorted by name, as safetensors' own `keys()` has them.
    pub tensors: Vec<TensorInfo>,
    /// Free text and settings: untrusted.
    pub metadata: BTreeMap<String, String>,
    /// The bytes of small tensors that say how others are packed, by name.
    pub notes: BTreeMap<String, Vec<u8>>,
    /// What kind of file it is.
    pub format: FileFormat,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileFormat {
    /// `.safetensors`.
    #[default]
    Safetensors,
    /// `.gguf`.
    Gguf,
    /// `PyTorch`'s zip of a pickle and raw storages.
    Pytorch,
    /// numpy's `.npy` or `.npz`.
    Numpy,
}

impl FileFormat {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            FileFormat::Safetensors => "safetensors",
            FileFormat::Gguf => "GGUF",
            FileFormat::Pytorch => "PyTorch",
            FileFormat::Numpy => "NumPy",
        }
    }
}
