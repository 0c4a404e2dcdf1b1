//! The codes of one weight, and what belongs to them by name.

use safetensors::Dtype;

use super::recognise::{Finder, Found};
use super::{Layout, Packed, Piece};
use crate::error::{Error, Result, quoted};
use crate::format::model::{Part, TensorEntry};
use crate::format::tensor::{MAX_EXPERTS, Storage, TensorInfo};

/// The codes of a weight and the pieces found so far.
pub(super) struct Codes<'a> {
    pub finder: &'a Finder<'a>,
    pub entry: &'a TensorEntry,
    pub stem: &'a str,
    pub pieces: Vec<Piece>,
    pub consumed: Vec<usize>,
}

impl Codes<'_> {
    pub(super) fn name(&self) -> String {
        quoted(&self.entry.info.name)
    }

    pub(super) fn odd(&self, what: &str) -> Error {
        Error::Format(format!("tensor {} {what}; the checkpoint is damaged or of an unknown kind", self.name()))
    }

    pub(super) fn shape<const N: usize>(&self) -> Result<[u64; N]> {
        let shape = &self.entry.info.shape;
        match <[u64; N]>::try_from(&shape[..]) {
            Ok(dims) if dims.iter().all(|d| *d > 0) => Ok(dims),
            _ => Err(self.odd(&format!("is packed but has the shape {shape:?}"))),
        }
    }

    /// Takes the piece whose name ends so, or says that it is missing.
    pub(super) fn piece(&mut self, ending: &str) -> Result<&Piece> {
        if !self.optional_piece(ending) {
            return Err(Error::Format(format!(
                "tensor {} is packed but {} is missing; give all files of the model",
                self.name(),
                quoted(&format!("{}{ending}", self.stem))
            )));
        }
        Ok(&self.pieces[self.pieces.len() - 1])
    }

    pub(super) fn optional_piece(&mut self, ending: &str) -> bool {
        let name = format!("{}{ending}", self.stem);
        let Some(entry) = self.finder.get(&name) else { return false };
        let info = &entry.info;
        let part = Part { file: entry.file, begin: info.begin, end: info.end };
        self.pieces.push(Piece { part, dtype: info.dtype, shape: info.shape.clone() });
        self.pass_over(&name);
        true
    }

    /// A tensor that says nothing about values goes with the codes.
    pub(super) fn pass_over(&mut self, name: &str) {
        self.consumed.extend(self.finder.by_name.get(name));
    }

    /// The last piece must have this shape and one of these dtypes.
    pub(super) fn expect(&self, shape: &[u64], dtypes: &[Dtype]) -> Result<()> {
        let Some(piece) = self.pieces.last() else { return Ok(()) };
        if piece.shape == shape && dtypes.contains(&piece.dtype) {
            return Ok(());
        }
        let entry = self.finder.tensors.iter().find(|t| t.file == piece.part.file && t.info.begin == piece.part.begin);
        let name = entry.map_or_else(String::new, |t| quoted(&t.info.name));
        Err(self.odd(&format!(
            "does not go with {name} of dtype {} and shape {:?}, which should be {shape:?}",
            piece.dtype, piece.shape
        )))
    }

    /// The weight `[rows, cols]` under the name `STEM.weight`.
    pub(super) fn found(self, layout: Layout, dtype: Dtype, shape: Vec<u64>) -> Result<Found> {
        let elements = shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d));
        if elements.is_none_or(|n| n == 0 || n.checked_mul(64).is_none()) {
            return Err(self.odd(&format!("has the impossible shape {shape:?}")));
        }
        let info = TensorInfo {
            name: format!("{}.weight", self.stem),
            dtype,
            shape,
            storage: Storage::Packed(Box::new(Packed { layout, pieces: self.pieces })),
            ..self.entry.info.clone()
        };
        Ok(Found { weights: vec![TensorEntry { file: self.entry.file, info }], consumed: self.consumed })
    }

    /// A stack of matrices: each gets its share of the codes and of every piece.
    pub(super) fn found_stack(self, layout: Layout, dtype: Dtype, count: u64, shape: [u64; 2]) -> Result<Found> {
        if count > MAX_EXPERTS {
            return Err(self.odd(&format!("claims {count} experts")));
        }
        let (stem, last) = self.stem.rsplit_once('.').unwrap_or((self.stem, "weights"));
        let stem = stem.to_owned();
        let name = |i| format!("{stem}.{i}.{last}.weight");
        let share = |part: Part, i: u64| {
            let len = (part.end - part.begin) / count;
            Part { begin: part.begin + i * len, end: part.begin + (i + 1) * len, ..part }
        };
        let (file, info) = (self.entry.file, &self.entry.info);
        let weight = |i| {
            let codes = share(Part { file, begin: info.begin, end: info.end }, i);
            let piece = |piece: &Piece| Piece {
                part: share(piece.part, i),
                dtype: piece.dtype,
                shape: piece.shape[1..].to_vec(),
            };
            let pieces = self.pieces.iter().map(piece).collect();
            let storage = Storage::Packed(Box::new(Packed { layout, pieces }));
            let info =
                TensorInfo { name: name(i), dtype, shape: shape.to_vec(), begin: codes.begin, end: codes.end, storage };
            TensorEntry { file, info }
        };
        Ok(Found { weights: (0..count).map(weight).collect(), consumed: self.consumed })
    }
}

/// What scales are stored in.
pub(super) const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];
