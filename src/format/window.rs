//! A stored tensor as matrices of which some rows and columns are decoded at a time.

use std::borrow::Cow;
use std::ops::Range;

use super::deflate::inflate;
use super::packed::Tables;
use super::tensor::{Storage, TensorInfo, row_major};
use crate::error::{Error, Result, quoted};
use crate::tensor::{Dtype, decode_f32};

/// Some rows and columns of one of a tensor's matrices `[first dimension, second dimension]`, of which it has one for each
/// place of the dimensions that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Along the first dimension.
    pub rows: Range<usize>,
    /// Along the second.
    pub cols: Range<usize>,
    /// Which matrix: a convolution has one for each kernel position.
    pub position: usize,
}

/// The bytes of a tensor, ready to be decoded window by window.
#[derive(Debug)]
pub struct StoredTensor {
    info: TensorInfo,
    bytes: Vec<u8>,
    tables: Tables,
    sides: Sides,
}

/// A tensor's matrices.
#[derive(Debug, Clone, Copy)]
struct Sides {
    rows: usize,
    cols: usize,
    positions: usize,
}

impl TensorInfo {
    /// Columns that are decoded together: windows begin at a multiple of so many and end at one or at the last column. None if
    /// the tensor can only be decoded as a whole.
    pub fn columns_together(&self) -> Option<usize> {
        let [_, cols, positions @ ..] = &self.shape[..] else { return None };
        let is_matrix = positions.iter().all(|d| *d == 1);
        match &self.storage {
            Storage::Plain | Storage::Strided(_) => Some(1).filter(|_| self.dtype.bitsize() >= 8),
            Storage::Deflated { .. } => self.inflated().columns_together(),
            Storage::Blocks(kind) => {
                let (values, _) = kind.block();
                Some(values).filter(|values| is_matrix && cols.is_multiple_of(*values as u64))
            }
            // Packed codes lie along the last dimension, even if the ones before it are kernel positions.
            Storage::Packed(packed) => Some(packed.columns_together()).filter(|_| positions.is_empty()),
        }
    }

    /// Bytes that a [`StoredTensor`] holds: those that are stored, inflated, and tables of scales.
    pub fn open_bytes(&self) -> u64 {
        match &self.storage {
            Storage::Deflated { to, .. } => *to,
            Storage::Packed(packed) => self.bytes().saturating_add(packed.table_bytes(self)),
            _ => self.bytes(),
        }
    }

    /// What it is once it is inflated: its first byte is the first of its values.
    pub(super) fn inflated(&self) -> Cow<'_, Self> {
        let Storage::Deflated { storage, from, to } = &self.storage else { return Cow::Borrowed(self) };
        Cow::Owned(Self { storage: (**storage).clone(), begin: 0, end: to - from, ..self.clone() })
    }

    /// The bytes of its values, from `from` to `to` in what `bytes` are inflated to.
    ///
    /// # Errors
    /// [`Error::Format`] if they are not what was deflated, [`Error::Limit`] if they are too many.
    pub(super) fn inflate(&self, bytes: &[u8], from: u64, to: u64) -> Result<Vec<u8>> {
        let len = usize::try_from(to)
            .map_err(|_| Error::Limit(format!("tensor {} is inflated to {to} bytes, too many", quoted(&self.name))))?;
        let mut inflated = inflate(&self.name, bytes, len)?;
        if inflated.len() < len {
            return Err(Error::Format(format!(
                "the compressed data of {} are {} bytes, {to} are needed; download the file again",
                quoted(&self.name),
                inflated.len()
            )));
        }
        inflated.drain(..len.min(from as usize));
        Ok(inflated)
    }

    fn sides(&self) -> Sides {
        let side = |index: usize| self.shape.get(index).copied().unwrap_or(1) as usize;
        // A tensor without elements may have dimensions whose product is beyond all bounds.
        let positions = match self.elements() {
            0 => 0,
            _ => self.shape.get(2..).unwrap_or_default().iter().product::<u64>() as usize,
        };
        Sides { rows: side(0), cols: side(1), positions }
    }
}

impl StoredTensor {
    /// Opens a tensor; `bytes` are those that [`TensorInfo::decode`] takes.
    ///
    /// # Errors
    /// As [`TensorInfo::decode`]; [`Error::Unsupported`] if it can only be decoded as a whole.
    pub fn new(info: &TensorInfo, bytes: Vec<u8>) -> Result<Self> {
        info.check_len(bytes.len())?;
        if info.columns_together().is_none() {
            return Err(Error::Unsupported(format!("tensor {} can only be decoded as a whole", quoted(&info.name))));
        }
        let bytes = match info.storage {
            Storage::Deflated { from, to, .. } => info.inflate(&bytes, from, to)?,
            _ => bytes,
        };
        let info = info.inflated().into_owned();
        let tables = match &info.storage {
            Storage::Packed(packed) => packed.tables(&info, &bytes)?,
            _ => Tables::default(),
        };
        let sides = info.sides();
        Ok(Self { info, bytes, tables, sides })
    }

    /// Rows of each matrix.
    pub fn rows(&self) -> usize {
        self.sides.rows
    }

    /// Columns of each matrix.
    pub fn cols(&self) -> usize {
        self.sides.cols
    }

    /// How many matrices there are.
    pub fn positions(&self) -> usize {
        self.sides.positions
    }

    /// The values of a window in f32, row-major: bit for bit those that [`TensorInfo::decode`] gives there.
    ///
    /// # Errors
    /// [`Error::Options`] for a window that is not within the tensor, that cuts through columns which are decoded together, or
    /// that `out` is not as large as; as [`TensorInfo::decode`].
    ///
    /// # Cost
    /// No value outside of the window is decoded.
    pub fn decode(&self, window: &Window, out: &mut [f32]) -> Result<()> {
        let Sides { rows, cols, positions } = self.sides;
        let together = self.info.columns_together().unwrap_or(1);
        let is_cut = |col: usize| !col.is_multiple_of(together) && col != cols;
        let is_within = window.rows.end <= rows && window.cols.end <= cols && window.position < positions;
        let (height, width) = (window.rows.len(), window.cols.len());
        if !is_within || is_cut(window.cols.start) || is_cut(window.cols.end) || out.len() != height * width {
            return Err(Error::Options(format!("tensor {} has no such window", quoted(&self.info.name))));
        }
        if out.is_empty() {
            return Ok(());
        }
        match &self.info.storage {
            Storage::Blocks(kind) => {
                let (values, size) = kind.block();
                for (row, out) in window.rows.clone().zip(out.chunks_exact_mut(width)) {
                    let first = (row * (cols / values) + window.cols.start / values) * size;
                    kind.dequantize(&self.bytes[first..][..width / values * size], out);
                }
                Ok(())
            }
            Storage::Packed(packed) => packed.decode_window(&self.info, &self.bytes, &self.tables, window, out),
            _ => {
                let columns =
                    Columns { first: window.cols.start * positions + window.position, step: positions, count: width };
                View::new(&self.info).decode(&self.bytes, window.rows.clone(), columns, out)
            }
        }
    }
}

/// Values of a dtype that lie so far apart along each dimension.
pub(super) struct View<'a> {
    dtype: Dtype,
    /// From one row to the next.
    down: usize,
    /// The dimensions along a row, and their strides.
    across: &'a [u64],
    strides: Vec<u64>,
    /// Whether a row's values are one after another.
    is_dense: bool,
}

/// Some values of every row, by their place in it.
#[derive(Clone, Copy)]
struct Columns {
    first: usize,
    step: usize,
    count: usize,
}

impl<'a> View<'a> {
    /// Of a plain or strided tensor. A single dimension is a row.
    pub fn new(info: &'a TensorInfo) -> Self {
        let plain = row_major(&info.shape).unwrap_or_default();
        let strides = if let Storage::Strided(strides) = &info.storage { strides } else { &plain };
        let rows = usize::from(info.shape.len() > 1);
        let (down, across) = (if rows > 0 { strides[0] } else { 0 }, &info.shape[rows..]);
        let (strides, plain) = (strides[rows..].to_vec(), &plain[rows..]);
        let is_dense = (0..across.len()).all(|i| across[i] == 1 || strides[i] == plain[i]);
        Self { dtype: info.dtype, down: down as usize, across, strides, is_dense }
    }

    /// All values, row-major. `bytes` are the tensor's, and `out` has its length.
    pub fn decode_all(&self, bytes: &[u8], out: &mut [f32]) -> Result<()> {
        let count = self.across.iter().product::<u64>() as usize;
        let rows = out.len().checked_div(count).unwrap_or(0);
        self.decode(bytes, 0..rows, Columns { first: 0, step: 1, count }, out)
    }

    /// Some columns of some rows, row-major. All are within the tensor, and `bytes` are the tensor's.
    ///
    /// Where a row is not one piece of memory, a tile at a time, so that cache lines are read once where values that follow one
    /// another lie down the columns, and from a near cache where they lie along the rows.
    fn decode(&self, bytes: &[u8], rows: Range<usize>, columns: Columns, out: &mut [f32]) -> Result<()> {
        const TALL: usize = 128;
        const WIDE: usize = 64;
        let Columns { first, step, count } = columns;
        if count == 0 {
            return Ok(());
        }
        let (size, down) = (self.dtype.bitsize() / 8, self.down);
        if self.is_dense && step == 1 {
            for (row, out) in rows.zip(out.chunks_exact_mut(count)) {
                decode_f32(self.dtype, &bytes[size * (row * down + first)..][..size * count], out)?;
            }
            return Ok(());
        }
        let copy_column = match size {
            1 => copy_column::<1>,
            2 => copy_column::<2>,
            4 => copy_column::<4>,
            _ => copy_column::<8>,
        };
        let mut tile = vec![0; TALL.min(rows.len()) * WIDE.min(count) * size];
        for left in (0..count).step_by(WIDE) {
            let width = WIDE.min(count - left);
            for top in (0..rows.len()).step_by(TALL) {
                let tile = &mut tile[..TALL.min(rows.len() - top) * width * size];
                for col in 0..width {
                    let at = (rows.start + top) * down + self.offset(first + (left + col) * step);
                    copy_column(&bytes[size * at..], down, &mut tile[size * col..], width);
                }
                for (out, line) in out[top * count..].chunks_mut(count).zip(tile.chunks_exact(width * size)) {
                    decode_f32(self.dtype, line, &mut out[left..left + width])?;
                }
            }
        }
        Ok(())
    }

    /// Where a row's value is, counted from the row's first.
    fn offset(&self, mut column: usize) -> usize {
        let mut offset = 0;
        for (dim, stride) in self.across.iter().zip(&self.strides).rev() {
            let dim = *dim as usize;
            // No more than the number of values: the strides were checked with the header.
            offset += column % dim * *stride as usize;
            column /= dim;
        }
        offset
    }
}

/// Copies values of so many bytes, each `from_step` and `to_step` values from the next, until there is no more room.
fn copy_column<const SIZE: usize>(from: &[u8], from_step: usize, to: &mut [u8], to_step: usize) {
    let from = from.as_chunks::<SIZE>().0;
    for (i, to) in to.as_chunks_mut::<SIZE>().0.iter_mut().step_by(to_step).enumerate() {
        *to = from[i * from_step];
    }
}
