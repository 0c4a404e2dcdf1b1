//! A file's table of contents.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::Dtype;

use super::deflate::inflate;
use super::packed::Packed;
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
    /// As [`decode_f32`]; [`Error::Format`] if `bytes` or `out` have not the right length, or what is stored makes no sense
    /// (a group that does not exist).
    pub fn decode(&self, bytes: &[u8], out: &mut [f32]) -> Result<()> {
        match &self.storage {
            Storage::Plain => decode_f32(self.dtype, bytes, out),
            _ if bytes.len() as u64 != self.bytes() || out.len() as u64 != self.elements() => {
                Err(Error::Format(format!(
                    "tensor {} of {} values takes {} bytes, not {}",
                    quoted(&self.name),
                    self.elements(),
                    self.bytes(),
                    bytes.len()
                )))
            }
            Storage::Strided(strides) => self.gather(strides, bytes, out),
            Storage::Deflated { storage, from, to } => {
                let len = usize::try_from(*to).map_err(|_| {
                    Error::Limit(format!("tensor {} is inflated to {to} bytes, too many", quoted(&self.name)))
                })?;
                let inflated = inflate(&self.name, bytes, len)?;
                let (begin, end) = (0, to - from);
                let values = inflated.get(*from as usize..len).ok_or_else(|| {
                    Error::Format(format!(
                        "the compressed data of {} are {} bytes, {to} are needed; download the file again",
                        quoted(&self.name),
                        inflated.len()
                    ))
                })?;
                Self { storage: (**storage).clone(), begin, end, ..self.clone() }.decode(values, out)
            }
            Storage::Blocks(kind) => {
                kind.dequantize(bytes, out);
                Ok(())
            }
            Storage::Packed(packed) => packed.decode(self, bytes, out),
        }
    }
}

impl TensorInfo {
    /// Values and bytes of the smallest part that can be decoded by itself; none if that takes other parts of the file.
    pub fn unit(&self) -> Option<(usize, usize)> {
        match &self.storage {
            Storage::Plain => Some((1, self.dtype.bitsize() / 8)).filter(|(_, bytes)| *bytes > 0),
            Storage::Blocks(kind) => Some(kind.block()),
            Storage::Strided(_) | Storage::Deflated { .. } | Storage::Packed(_) => None,
        }
    }

    /// The values from `first` on, as many as `out` has room for: those of [`TensorInfo::decode`], without the others. `bytes`
    /// are all of the tensor's.
    ///
    /// # Errors
    /// As [`TensorInfo::decode`]; [`Error::Unsupported`] if its parts can't be decoded by themselves, [`Error::Options`] if
    /// `first` or the length of `out` is no multiple of [`TensorInfo::unit`].
    pub fn decode_part(&self, bytes: &[u8], first: usize, out: &mut [f32]) -> Result<()> {
        let (values, size) = self.unit().ok_or_else(|| {
            Error::Unsupported(format!("tensor {} can only be decoded as a whole", quoted(&self.name)))
        })?;
        if !first.is_multiple_of(values) || !out.len().is_multiple_of(values) {
            return Err(Error::Options(format!("parts of tensor {} are {values} values", quoted(&self.name))));
        }
        let part = bytes.get(first / values * size..).and_then(|rest| rest.get(..out.len() / values * size));
        let part = part.filter(|_| bytes.len() as u64 == self.bytes()).ok_or_else(|| {
            Error::Format(format!("tensor {} has not the bytes that its header says", quoted(&self.name)))
        })?;
        match &self.storage {
            Storage::Blocks(kind) => {
                kind.dequantize(part, out);
                Ok(())
            }
            _ => decode_f32(self.dtype, part, out),
        }
    }

    /// A few values at a time: all of them in f32 would take as much again as what they become.
    fn gather(&self, strides: &[u64], bytes: &[u8], out: &mut [f32]) -> Result<()> {
        match self.dtype.bitsize() {
            8 => self.gather_sized::<1>(strides, bytes, out),
            16 => self.gather_sized::<2>(strides, bytes, out),
            32 => self.gather_sized::<4>(strides, bytes, out),
            _ => self.gather_sized::<8>(strides, bytes, out),
        }
    }

    fn gather_sized<const SIZE: usize>(&self, strides: &[u64], bytes: &[u8], out: &mut [f32]) -> Result<()> {
        const BLOCK: usize = 1024;
        let values = bytes.as_chunks::<SIZE>().0;
        let mut index = vec![0_u64; self.shape.len()];
        let mut block = Vec::with_capacity(BLOCK.min(out.len()) * SIZE);
        for out in out.chunks_mut(BLOCK) {
            block.clear();
            for _ in 0..out.len() {
                // Less than the number of values: the strides were checked with the header.
                let at: u64 = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
                block.extend_from_slice(&values[at as usize]);
                // The next index, the last dimension first.
                for (i, dim) in index.iter_mut().zip(&self.shape).rev() {
                    *i += 1;
                    if *i < *dim {
                        break;
                    }
                    *i = 0;
                }
            }
            decode_f32(self.dtype, &block, out)?;
        }
        Ok(())
    }
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
