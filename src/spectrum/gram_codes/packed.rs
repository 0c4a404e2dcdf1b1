//! Slices of codes in the order in which the kernels read them.

use rayon::prelude::*;

use super::{CODE_SLICE, SPARSE_ORDER};
use crate::kernel::{CODE_PANEL, CodeEntry, CodeLayout};
use crate::spectrum::tiles::PARALLEL;

/// Rows packed at a time: 128 words of each column, 24 KiB a group of columns, leave the first-level cache room. But
/// AVX-512 VNNI, the only one with an offset of 128, wants long sums: 256 words, 48 KiB.
pub fn slice_rows(layout: CodeLayout) -> usize {
    if layout.left_offset == 128 { CODE_SLICE } else { 128 * layout.group }
}

/// Codes where they lie: that of row k and column c is `data[k * row_step + c * column_step]`, and one of the steps is 1.
#[derive(Clone, Copy, Debug)]
pub struct CodePanel<'a> {
    data: &'a [i8],
    row_step: usize,
    column_step: usize,
}

impl<'a> CodePanel<'a> {
    /// Rows of n codes, one after the other.
    pub fn rows(data: &'a [i8], n: usize) -> Self {
        Self { data, row_step: n, column_step: 1 }
    }

    /// Columns, `step` from one to the next: for a wide matrix, its rows.
    pub fn columns(data: &'a [i8], step: usize) -> Self {
        Self { data, row_step: 1, column_step: step }
    }

    /// Other codes, such as residues, that are laid out the same way.
    pub(super) fn with(self, data: &'a [i8]) -> Self {
        Self { data, ..self }
    }

    /// From this row on.
    pub(super) fn below(self, row: usize) -> Self {
        Self { data: &self.data[row * self.row_step..], ..self }
    }
}

/// One slice of codes as the kernel wants it, in groups of columns: \[groups, CODE_PANEL / strip, slice / group, strip\]
/// words.
#[derive(Clone, Debug)]
pub struct Packed {
    pub layout: CodeLayout,
    pub groups: Vec<Group>,
}

/// The columns of a panel.
#[derive(Clone, Debug)]
pub struct Group {
    pub right: Vec<i32>,
    /// Left operand where the layout wants another one (codes plus an offset); else empty.
    left: Vec<i32>,
    /// The offset times the column sums of the slice.
    pub correction: [i32; CODE_PANEL],
}

/// The words of a panel's columns that are not zero, column after column.
#[derive(Debug)]
pub struct SparseColumns {
    entries: Vec<CodeEntry>,
    ends: [usize; CODE_PANEL],
    corrections: [i32; CODE_PANEL],
}

impl SparseColumns {
    /// The words of each column, and what is to be taken off its sums.
    pub fn iter(&self) -> impl Iterator<Item = (&[CodeEntry], i32)> {
        let mut begin = 0;
        self.ends.iter().zip(self.corrections).map(move |(end, correction)| {
            let entries = &self.entries[begin..*end];
            begin = *end;
            (entries, correction)
        })
    }
}

impl Packed {
    pub fn new(layout: CodeLayout, n: usize) -> Self {
        let words = slice_rows(layout) / layout.group * CODE_PANEL;
        let group = || Group {
            right: vec![0; words],
            left: vec![0; if layout.left_offset == 0 { 0 } else { words }],
            correction: [0; CODE_PANEL],
        };
        Self { layout, groups: (0..n.div_ceil(CODE_PANEL)).map(|_| group()).collect() }
    }

    /// Packs `depth` rows of n codes.
    pub fn pack(&mut self, n: usize, codes: CodePanel, depth: usize) {
        let layout = self.layout;
        self.groups.par_iter_mut().with_min_len(PARALLEL / CODE_PANEL).enumerate().for_each(|(index, group)| {
            let column = index * CODE_PANEL;
            let columns = CODE_PANEL.min(n - column);
            let codes = CodePanel { data: &codes.data[column * codes.column_step..], ..codes };
            group.pack(layout, columns, codes, depth);
        });
    }

    /// How many words of the first `depth` rows are not zero, if that is at most one in `share`; `None` for large matrices.
    /// Of a dense slice only the first columns are looked at.
    pub fn few_words(&self, n: usize, depth: usize, share: usize) -> Option<usize> {
        let layout = self.layout;
        let words = depth.div_ceil(layout.group);
        let most = words * n / share;
        let count = |strip: &[i32]| strip[..words * layout.strip].iter().filter(|word| **word != 0).count();
        let count_group = |sum: usize, group: &Group| {
            let strips = group.right.chunks_exact(layout.strip_step(group.right.len()));
            Some(sum + strips.map(count).sum::<usize>()).filter(|sum| *sum <= most)
        };
        if n > SPARSE_ORDER { None } else { self.groups.iter().try_fold(0, count_group) }
    }

    /// The left operand of a group.
    pub fn left(&self, group: usize) -> &[i32] {
        let Group { left, right, .. } = &self.groups[group];
        if self.layout.left_offset == 0 { right } else { left }
    }
}

impl Group {
    fn pack(&mut self, layout: CodeLayout, columns: usize, codes: CodePanel, depth: usize) {
        let words = depth.div_ceil(layout.group);
        let totals = match (layout.group, codes.column_step) {
            (4, 1) => self.pack_rows::<4>(layout.strip, columns, codes, depth),
            (4, _) => self.pack_columns::<4>(layout.strip, columns, codes, depth),
            (_, 1) => self.pack_rows::<2>(layout.strip, columns, codes, depth),
            (_, _) => self.pack_columns::<2>(layout.strip, columns, codes, depth),
        };
        let is_small =
            |word: &i32| word.to_le_bytes().iter().all(|code| (*code as i8).unsigned_abs() <= layout.left_offset);
        debug_assert!(
            layout.words_in_16_bits == 0 || self.right.iter().all(is_small),
            "codes are larger than was said"
        );
        if layout.left_offset != 0 {
            let offset = i32::from_ne_bytes([layout.left_offset; 4]);
            let step = layout.strip_step(self.right.len());
            for (left, right) in self.left.chunks_exact_mut(step).zip(self.right.chunks_exact(step)) {
                for (left, right) in left.iter_mut().zip(&right[..words * layout.strip]) {
                    // Byte by byte: what is left without the sign bits carries nothing into the next byte.
                    let low = right & 0x7f7f_7f7f;
                    *left = low.wrapping_add(offset) ^ (right ^ low);
                }
            }
            self.correction = totals.map(|total| i32::from(layout.left_offset) * total);
        }
    }

    /// The words of each column that are not zero, and what the kernel's offset of the other operand adds to their products.
    pub fn sparse_columns(&self, words: usize, layout: CodeLayout) -> SparseColumns {
        let mut entries = Vec::with_capacity(words * CODE_PANEL);
        let (mut ends, mut corrections) = ([0; CODE_PANEL], [0; CODE_PANEL]);
        let step = layout.strip_step(self.right.len());
        for column in 0..CODE_PANEL {
            let first = column / layout.strip * step + column % layout.strip;
            let mut total = 0;
            for (word, codes) in self.right[first..].iter().step_by(layout.strip).take(words).enumerate() {
                if *codes != 0 {
                    entries.push(CodeEntry { word: word as u32, codes: *codes });
                    total += codes.to_le_bytes().iter().map(|code| i32::from(*code as i8)).sum::<i32>();
                }
            }
            ends[column] = entries.len();
            corrections[column] = i32::from(layout.left_offset) * total;
        }
        SparseColumns { entries, ends, corrections }
    }

    /// Returns the sums of the columns.
    fn pack_rows<const GROUP: usize>(
        &mut self,
        strip: usize,
        columns: usize,
        codes: CodePanel,
        depth: usize,
    ) -> [i32; CODE_PANEL] {
        let mut totals = [0i32; CODE_PANEL];
        // Where the first word of every eighth column goes.
        let step = self.right.len() / CODE_PANEL * strip;
        let places: [usize; CODE_PANEL / 8] = std::array::from_fn(|octet| 8 * octet / strip * step + 8 * octet % strip);
        // Cleared once: a browser clears memory by a call, for every word that would be.
        let (mut lines, mut packed) = ([[0i8; CODE_PANEL]; GROUP], [0; CODE_PANEL]);
        for word in 0..depth.div_ceil(GROUP) {
            let first = word * GROUP;
            // Rows beyond the last are zero.
            if first + GROUP > depth {
                lines = [[0; CODE_PANEL]; GROUP];
            }
            for (offset, line) in lines[..GROUP.min(depth - first)].iter_mut().enumerate() {
                let from = &codes.data[(first + offset) * codes.row_step..];
                // Most groups are whole: a length known beforehand makes one copy of them.
                match from.first_chunk() {
                    Some(whole) if columns == CODE_PANEL => *line = *whole,
                    _ => line[..columns].copy_from_slice(&from[..columns]),
                }
            }
            for i in 0..CODE_PANEL {
                let codes: [i8; GROUP] = std::array::from_fn(|offset| lines[offset][i]);
                totals[i] += codes.iter().map(|code| i32::from(*code)).sum::<i32>();
                packed[i] = word_of(codes);
            }
            // By eights, which divide every strip: a browser copies lengths it does not know beforehand by a call.
            for (words, place) in packed.as_chunks::<8>().0.iter().zip(places) {
                if let Some(to) = self.right[place + word * strip..].first_chunk_mut() {
                    *to = *words;
                }
            }
        }
        totals
    }

    fn pack_columns<const GROUP: usize>(
        &mut self,
        strip: usize,
        columns: usize,
        codes: CodePanel,
        depth: usize,
    ) -> [i32; CODE_PANEL] {
        let mut totals = [0i32; CODE_PANEL];
        let capacity = self.right.len() / CODE_PANEL;
        for (i, total) in totals.iter_mut().enumerate().take(columns) {
            let first = i / strip * strip * capacity + i % strip;
            let column = &codes.data[i * codes.column_step..][..depth];
            *total = column.iter().map(|code| i32::from(*code)).sum();
            let (whole, rest) = column.as_chunks::<GROUP>();
            let mut words = self.right[first..].iter_mut().step_by(strip);
            for (codes, to) in whole.iter().zip(&mut words) {
                *to = word_of(*codes);
            }
            if !rest.is_empty() {
                let mut codes = [0; GROUP];
                codes[..rest.len()].copy_from_slice(rest);
                self.right[first + whole.len() * strip] = word_of(codes);
            }
        }
        totals
    }
}

/// Consecutive codes of a column in one word: four bytes or two 16-bit numbers, the first in the low bits.
fn word_of<const GROUP: usize>(codes: [i8; GROUP]) -> i32 {
    let mut word = 0;
    for (offset, code) in codes.iter().enumerate() {
        let bits = 32 / GROUP as u32;
        word |= (i32::from(*code) as u32 & (u32::MAX >> (32 - bits))) << (offset as u32 * bits);
    }
    word as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kernel;

    #[test]
    fn few_words_are_counted_and_many_are_not() {
        for (kernel, largest) in Kernel::available().into_iter().flat_map(|kernel| [(kernel, 32), (kernel, 127)]) {
            let layout = kernel.codes(largest).layout();
            let count = |n: usize, nonzero: &[usize]| {
                let mut codes = vec![0; 40 * n];
                for place in nonzero {
                    codes[*place] = 7;
                }
                let mut packed = Packed::new(layout, n);
                packed.pack(n, CodePanel::rows(&codes, n), 40);
                packed.few_words(n, 40, 6)
            };
            assert_eq!(count(100, &[]), Some(0));
            // The first two are of one word.
            assert_eq!(count(100, &[3, 103, 99, 3999]), Some(3), "{}", kernel.name());
            let words = 40 / layout.group * 100;
            let rows = |words: usize| (0..words).map(|word| word / 100 * layout.group * 100 + word % 100);
            assert_eq!(count(100, &rows(words / 6).collect::<Vec<_>>()), Some(words / 6), "{}", kernel.name());
            assert_eq!(count(100, &rows(words / 6 + 1).collect::<Vec<_>>()), None, "{}", kernel.name());
            assert_eq!(count(SPARSE_ORDER + 1, &[]), None);
        }
    }
}
