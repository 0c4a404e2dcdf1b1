//! Codes of less than a byte in 32-bit words: GPTQ, AWQ, compressed-tensors, MLX.

use safetensors::Dtype;

use super::codes::{Codes, FLOATS};
use super::recognise::Found;
use super::{Layout, TensorScale};
use crate::error::{Error, Result};

impl Codes<'_> {
    pub(super) fn gptq_or_awq(mut self) -> Result<Found> {
        if self.entry.info.dtype == Dtype::I16 {
            return Err(self.of_one_kernel("AWQ's layout for the fast GEMV kernel"));
        }
        let [first, second] = self.shape()?;
        self.piece(".qzeros")?;
        let scales = self.piece(".scales")?;
        let (scale_dtype, scale_shape) = (scales.dtype, scales.shape.clone());
        let &[groups, rows] = &scale_shape[..] else {
            return Err(self.odd(&format!("has scales of shape {scale_shape:?}, not [groups, outputs]")));
        };
        if self.entry.info.dtype != Dtype::I32 || groups == 0 || rows == 0 {
            return Err(self.odd("is no matrix of 32-bit words"));
        }
        self.expect(&[groups, rows], FLOATS)?;
        let zeros = self.pieces[0].clone();
        let width = zeros.shape.last().copied().unwrap_or(0);
        // Scales of the rows of W, where the others have those of the rows of its transpose.
        if groups == first && width.checked_mul(8) == Some(rows) && zeros.shape == [first, width] {
            return self.awq_rows([first, second.saturating_mul(8)], width, scale_dtype);
        }
        if zeros.dtype != Dtype::I32 || zeros.shape != [groups, width] {
            return Err(self.odd(&format!("has zeros of shape {:?}, not [{groups}, words]", zeros.shape)));
        }
        if rows.is_multiple_of(8) && second == rows / 8 {
            if width != second || !first.is_multiple_of(groups) {
                return Err(self.odd(&format!("has {groups} groups of {width} zeros, which do not fit its shape")));
            }
            return self.found(Layout::Awq { group: first / groups }, scale_dtype, vec![rows, first]);
        }
        let bits = width.saturating_mul(32) / rows;
        if second != rows
            || !matches!(bits, 2 | 3 | 4 | 8)
            || bits * rows != 32 * width
            || !(32 * first).is_multiple_of(bits)
        {
            return Err(self.odd("has neither GPTQ's nor AWQ's shape"));
        }
        let cols = 32 * first / bits;
        let has_groups = self.optional_piece(".g_idx");
        if has_groups {
            self.expect(&[cols], &[Dtype::I32])?;
        } else if !cols.is_multiple_of(groups) {
            return Err(self.odd(&format!("has {cols} inputs, which are not {groups} groups")));
        }
        let offset = self.finder.config.gptq_offset();
        let layout = Layout::Gptq { bits: bits as u8, offset, group: cols.div_ceil(groups), has_groups };
        self.found(layout, scale_dtype, vec![rows, cols])
    }

    /// AWQ's GEMV: zeros of a row in `width` words. How many groups they are of is not a matter of shapes alone.
    fn awq_rows(self, [rows, cols]: [u64; 2], width: u64, dtype: Dtype) -> Result<Found> {
        // The tool's width: whole words, in pairs of groups of 64 and fours of 32.
        let words = |group: u64| {
            let step = (128 / group).max(1);
            (cols / group).div_ceil(8).div_ceil(step) * step
        };
        let fits = |group: &u64| *group >= 32 && cols.is_multiple_of(*group) && words(*group) == width;
        let mut groups = [32, 64, 128, cols].into_iter().filter(fits);
        let group = match (self.finder.config.group_size(), groups.next(), groups.next()) {
            (Some(group), ..) if fits(&group) => group,
            (Some(group), ..) => {
                return Err(self.odd(&format!("has {width} words of zeros a row, which are not of groups of {group}")));
            }
            (None, Some(group), None) => group,
            (None, None, _) => return Err(self.odd(&format!("has {width} words of zeros a row, which fit no groups"))),
            (None, Some(_), Some(_)) => {
                return Err(
                    self.odd("has a group size that only the model's config.json says; put that file beside the model")
                );
            }
        };
        if self.pieces[0].dtype != Dtype::I32 {
            return Err(self.odd("has zeros that are no 32-bit words"));
        }
        self.found(Layout::AwqRows { group }, dtype, vec![rows, cols])
    }

    /// Says what it is, if the scales are there that belong to Marlin's codes.
    pub(super) fn refuse_marlin(&self, scales: &str) -> Result<()> {
        match self.finder.get(&format!("{}{scales}", self.stem)) {
            Some(_) => Err(self.of_one_kernel("Marlin's layout")),
            None => Ok(()),
        }
    }

    /// A layout made for one GPU kernel.
    fn of_one_kernel(&self, what: &str) -> Error {
        Error::Unsupported(format!(
            "tensor {} is packed in {what}, which can't be read; give the checkpoint that it was made from",
            self.name()
        ))
    }

    pub(super) fn compressed(mut self) -> Result<Found> {
        self.refuse_marlin(".scale_packed")?;
        let [rows, width] = self.shape()?;
        let note = format!("{}.weight_shape", self.stem);
        self.pass_over(&note);
        let scales = self.piece(".weight_scale")?;
        let (scale_dtype, scale_shape) = (scales.dtype, scales.shape.clone());
        match (self.entry.info.dtype, scale_dtype) {
            (Dtype::I32, _) => {}
            (Dtype::U8, Dtype::U8) if width.is_multiple_of(16) => {
                self.expect(&[rows, width / 16], &[Dtype::U8])?;
                return self.found(Layout::Mxfp4, Dtype::BF16, vec![rows, 2 * width]);
            }
            (Dtype::U8, _) => return self.nvfp4(TensorScale::Divides, ".weight_global_scale"),
            (dtype, _) => return Err(self.odd(&format!("is packed in dtype {dtype}"))),
        }
        let groups = scale_shape.get(1).copied().unwrap_or(1).max(1);
        self.expect(&[rows, groups], FLOATS)?;
        let noted = self.finder.notes.get(&note).and_then(|bytes| bytes.as_chunks::<8>().0.get(1));
        let cols = noted.map(|bytes| u64::from_le_bytes(*bytes));
        let fits = |bits: u64, cols: u64| cols.checked_mul(bits).is_some_and(|n| n.div_ceil(32) == width);
        let bits = match (self.finder.config.packed_bits(), cols) {
            (Some(bits), _) => bits,
            (None, Some(cols)) => [4, 8, 2, 3, 5, 6, 7].into_iter().find(|bits| fits(*bits, cols)).unwrap_or(0),
            (None, None) => {
                return Err(self.odd(
                    "has a number of bits that only the model's config.json says; put that file beside the model",
                ));
            }
        };
        let cols = cols.unwrap_or_else(|| (32 * width).checked_div(bits).unwrap_or(0));
        if !(2..=8).contains(&bits) || !fits(bits, cols) || !cols.is_multiple_of(groups) {
            return Err(self.odd(&format!("has {width} words a row, which are not {cols} codes of {bits} bits")));
        }
        let has_zeros = self.optional_piece(".weight_zero_point");
        if has_zeros {
            self.expect(&[rows.saturating_mul(bits).div_ceil(32), groups], &[Dtype::I32])?;
        }
        let has_groups = self.optional_piece(".weight_g_idx");
        if has_groups {
            self.expect(&[cols], &[Dtype::I32])?;
        }
        let layout = Layout::Ints { bits: bits as u8, has_zeros, has_groups, group: cols / groups };
        self.found(layout, scale_dtype, vec![rows, cols])
    }

    pub(super) fn mlx(mut self) -> Result<Found> {
        let shape = self.entry.info.shape.clone();
        let scales = self.piece(".scales")?.clone();
        let (lead, rows, width) = match shape[..] {
            [rows, width] => (None, rows, width),
            [count, rows, width] => (Some(count), rows, width),
            _ => return Err(self.odd(&format!("is packed but has the shape {shape:?}"))),
        };
        let groups = scales.shape.last().copied().unwrap_or(0);
        let wanted: Vec<u64> = lead.into_iter().chain([rows, groups]).collect();
        if shape.contains(&0) || groups == 0 || scales.shape != wanted {
            return Err(self.odd(&format!("does not go with scales of shape {:?}", scales.shape)));
        }
        let has_biases = self.optional_piece(".biases");
        let (layout, dtype, group) = if has_biases {
            self.expect(&scales.shape, FLOATS)?;
            let (bits, group) = self.mlx_bits(width, groups)?;
            (Layout::Mlx { bits: bits as u8, group }, scales.dtype, group)
        } else {
            match (scales.dtype, width / groups, width % groups) {
                (Dtype::U8, 4, 0) => (Layout::Mxfp4, Dtype::BF16, 32),
                (Dtype::U8, 8, 0) => (Layout::Mxfp8, Dtype::BF16, 32),
                (Dtype::U8, 2, 0) => (Layout::Nvfp4 { tensor_scale: TensorScale::None }, Dtype::F32, 16),
                _ => return Err(self.odd("has scales but no biases; MLX writes both")),
            }
        };
        let shape = [rows, groups * group];
        match lead {
            None => self.found(layout, dtype, shape.to_vec()),
            Some(count) => self.found_stack(layout, dtype, count, shape),
        }
    }

    /// Bits and group of `width` words in `groups` groups: as the config says, or as only one pair fits.
    pub(super) fn mlx_bits(&self, width: u64, groups: u64) -> Result<(u64, u64)> {
        let fits = |(bits, group): (u64, u64)| {
            group.checked_mul(groups).and_then(|cols| cols.checked_mul(bits)) == width.checked_mul(32)
        };
        if let Some(pair) = self.finder.config.mlx(self.stem) {
            if (1..=8).contains(&pair.0) && pair.1.is_multiple_of(8) && pair.1 > 0 && fits(pair) {
                return Ok(pair);
            }
            let (bits, group) = pair;
            return Err(self.odd(&format!(
                "has {width} words a row and {groups} groups, which are not codes of {bits} bits in groups of {group}, as config.json has it"
            )));
        }
        let pairs = [2, 3, 4, 5, 6, 8].into_iter().flat_map(|bits| [32, 64, 128].map(|group| (bits, group)));
        match pairs.filter(|pair| fits(*pair)).collect::<Vec<_>>()[..] {
            [pair] => Ok(pair),
            [] => Err(self.odd(&format!("has {width} words a row and {groups} groups, which fit no bits of MLX's"))),
            _ => Err(Error::Format(format!(
                "tensor {} is packed by MLX, and only the model's config.json says in how many bits; put that file beside the model",
                self.name()
            ))),
        }
    }
}
