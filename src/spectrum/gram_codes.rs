//! Gram products of 8-bit codes, exact in integers, streamed like those of floats.

use rayon::prelude::*;

use crate::kernel::{CODE_PANEL, CodeEntry, CodeKernel, CodeLayout, Kernel};
use crate::spectrum::tiles::{PARALLEL, SymmetricTiles, TILE, TileRows, triangle_len};

/// Rows to hand in at a time. A multiple of what is packed at a time.
pub const CODE_SLICE: usize = 1024;

/// Rows packed at a time: 128 words of each column, 24 KiB a group of columns, leave the first-level cache room. But
/// AVX-512 VNNI, the only one with an offset of 128, wants long sums: 256 words, 48 KiB.
fn slice_rows(layout: CodeLayout) -> usize {
    if layout.left_offset == 128 { CODE_SLICE } else { 128 * layout.group }
}

/// Rows whose products always fit 32 bits: 131,071 * 128^2 < 2^31, and as much for twice that of codes and residues.
const ROWS_IN_I32: usize = 131_071;

/// Groups of columns in a tile.
const IN_TILE: usize = TILE / CODE_PANEL;

/// Rows of tiles whose packed words stay in the second-level cache (384 KiB).
const TILE_ROWS_IN_CACHE: usize = 4;

/// Up to this order residues may be multiplied one by one: their sums take 4 n^2 bytes more.
const SPARSE_ORDER: usize = 2048;

/// They are where one word in so many is not zero. A word of theirs costs about twice its share of a dense product.
const SPARSE: usize = 3;

/// Accumulates G = C^T C exactly for codes C \[m, n\] in -128 ..= 127, arriving in panels of rows.
///
/// Sums are 32-bit integers, moved to f64 before they can overflow; f64 holds them exactly up to 2^53, for
/// m < 5 * 10^11. The result is the same for every kernel, every number of threads and every way to cut the rows.
///
/// Weights that are not exactly a scale times a code, because that product was rounded, come in two parts:
/// W = s C + u R with residues R in -64 ..= 64. Then G = s^2 C^T C + s u (C^T R + R^T C) + u^2 R^T R, and the first two are
/// exact ([`CodeGramBuilder::push_panel`]); the third, with W rounded to f32, is below 2^-48 of the first and left out.
#[derive(Clone, Debug)]
pub struct CodeGramBuilder {
    kernel: Kernel,
    n: usize,
    code_kernel: CodeKernel,
    codes: Packed,
    squares: Sums,
    /// From the first residue on.
    split: Option<Split>,
    rows_in_sums: usize,
}

impl CodeGramBuilder {
    /// An empty sum for n columns, on this processor's kernel.
    ///
    /// # Cost
    /// 2 n^2 + 2 kB n bytes, twice that with residues; 4 n^2 more for the result, and from 131,071 rows on for each sum.
    pub fn new(n: usize) -> Self {
        Self::with_kernel(Kernel::selected(), n)
    }

    /// An empty sum for n columns, on a kernel of the caller's choice.
    pub fn with_kernel(kernel: Kernel, n: usize) -> Self {
        Self::with_largest(kernel, n, 128)
    }

    /// An empty sum for n columns of codes and residues of which none is larger in magnitude than `largest` (residues never
    /// than 64). AVX2 and relaxed SIMD multiply those up to 32 (6 bits) about half again as fast. The sum of larger ones is
    /// wrong.
    pub fn with_largest(kernel: Kernel, n: usize, largest: u8) -> Self {
        let code_kernel = kernel.codes(largest);
        let codes = Packed::new(code_kernel.layout(), n);
        Self { kernel, n, code_kernel, codes, squares: Sums::default(), split: None, rows_in_sums: 0 }
    }

    /// Adds k rows of codes: `panel` is row-major \[k, n\].
    ///
    /// # Panics
    /// If `panel` does not hold k n codes.
    ///
    /// # Cost
    /// k n^2 integer operations (multiplications and additions of one triangle).
    pub fn push(&mut self, panel: &[i8], k: usize) {
        assert_eq!(panel.len(), k * self.n);
        self.push_panel(CodePanel::rows(panel, self.n), None, k);
    }

    /// Adds k rows of codes, and of their residues, which are laid out like the codes.
    ///
    /// # Panics
    /// If a panel is too short.
    ///
    /// # Cost
    /// As [`CodeGramBuilder::push`]; three times that with residues, where one is not zero.
    pub fn push_panel(&mut self, codes: CodePanel, residues: Option<&[i8]>, k: usize) {
        let slice = slice_rows(self.code_kernel.layout());
        for first in (0..k).step_by(slice) {
            let depth = slice.min(k - first);
            let residues = residues.map(|data| CodePanel { data, ..codes }.below(first));
            self.push_slice(codes.below(first), residues, depth);
        }
    }

    fn push_slice(&mut self, codes: CodePanel, residues: Option<CodePanel>, depth: usize) {
        if self.rows_in_sums + depth > ROWS_IN_I32 {
            self.squares.flush(self.n);
            if let Some(split) = &mut self.split {
                split.gather(self.n);
                split.sums.flush(self.n);
            }
            self.rows_in_sums = 0;
        }
        let (kernel, n) = (self.code_kernel, self.n);
        self.codes.pack(n, codes, depth);
        self.squares.add(kernel, n, &[(&self.codes, &self.codes)], depth);
        if let Some(residues) = residues {
            let split = self.split.get_or_insert_with(|| Split::new(kernel.layout(), n));
            split.add(kernel, n, &self.codes, residues, depth);
        }
        self.rows_in_sums += depth;
    }

    /// The sum C^T C: whole numbers, exact.
    pub fn finish(self) -> SymmetricTiles {
        self.finish_split(1.0, 0.0)
    }

    /// The product s^2 C^T C + s u (C^T R + R^T C): each of the two sums exact, then two products and a sum in f64.
    pub fn finish_split(mut self, scale: f64, unit: f64) -> SymmetricTiles {
        let (square, cross) = (scale * scale, scale * unit);
        if let Some(split) = &mut self.split {
            split.gather(self.n);
        }
        let (mut squares, mut mixed) = (self.squares, self.split.map_or_else(Sums::default, |split| split.sums));
        let data = if squares.flushed.is_some() {
            let mixed = if mixed.is_empty() { &[] } else { mixed.flush(self.n).elements() };
            weighted(squares.flush(self.n).elements(), mixed, square, cross)
        } else {
            squares.grow(self.n);
            weighted(&squares.recent, &mixed.recent, square, cross)
        };
        let mut tiles = SymmetricTiles::from_elements(self.n, data);
        for i in 0..self.n.div_ceil(TILE) {
            self.kernel.mirror(tiles.tile_mut(i, i), TILE, 0, TILE);
        }
        tiles
    }
}

/// `square` times each sum, and `cross` times each of the mixed ones, if there are any.
fn weighted<T: Copy + Into<f64>>(sums: &[T], mixed: &[T], square: f64, cross: f64) -> Vec<f64> {
    if mixed.is_empty() {
        return sums.iter().map(|sum| square * (*sum).into()).collect();
    }
    sums.iter().zip(mixed).map(|(sum, mixed)| square * (*sum).into() + cross * (*mixed).into()).collect()
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

    fn below(self, row: usize) -> Self {
        Self { data: &self.data[row * self.row_step..], ..self }
    }
}

/// What residues need: C^T R + R^T C is `sums`, plus `single` and its transpose.
#[derive(Clone, Debug)]
struct Split {
    packed: Packed,
    sums: Sums,
    /// R^T C of slices with few residues, row-major \[n, groups * CODE_PANEL\]; empty until the first of them.
    single: Vec<i32>,
}

impl Split {
    fn new(layout: CodeLayout, n: usize) -> Self {
        Self { packed: Packed::new(layout, n), sums: Sums::default(), single: Vec::new() }
    }

    fn add(&mut self, kernel: CodeKernel, n: usize, codes: &Packed, residues: CodePanel, depth: usize) {
        self.packed.pack(n, residues, depth);
        let words = depth.div_ceil(codes.layout.group);
        let nonzero = self.packed.nonzero(words);
        if n > SPARSE_ORDER || nonzero > words * n / SPARSE {
            self.sums.add(kernel, n, &[(codes, &self.packed), (&self.packed, codes)], depth);
        } else if nonzero > 0 {
            self.add_single(kernel, n, codes, words);
        }
    }

    /// Adds R^T C, word by word of R.
    fn add_single(&mut self, kernel: CodeKernel, n: usize, codes: &Packed, words: usize) {
        let stride = codes.groups.len() * CODE_PANEL;
        self.single.resize(n * stride, 0);
        let rows = self.single.par_chunks_mut(CODE_PANEL * stride).zip(&self.packed.groups);
        rows.with_min_len(PARALLEL / CODE_PANEL).for_each(|(rows, residues)| {
            let columns = residues.sparse_columns(words, codes.layout);
            for group in 0..codes.groups.len() {
                for (row, (entries, correction)) in rows.chunks_exact_mut(stride).zip(&columns) {
                    if let Some(sums) = row[group * CODE_PANEL..].first_chunk_mut() {
                        kernel.gather(entries, codes.left(group), *correction, sums);
                    }
                }
            }
        });
    }

    /// Moves what was multiplied one by one to the sums.
    fn gather(&mut self, n: usize) {
        let single = std::mem::take(&mut self.single);
        if single.is_empty() {
            return;
        }
        let stride = n.next_multiple_of(CODE_PANEL);
        let places = (0..n.div_ceil(TILE)).flat_map(|i| (0..=i).map(move |j| (TILE * i, TILE * j)));
        for ((row, column), tile) in places.zip(self.sums.grow(n).chunks_exact_mut(TILE * TILE)) {
            let (rows, columns) = (TILE.min(n - row), TILE.min(n - column));
            let lines = single[column * stride..].chunks_exact(stride);
            for (sums, line) in tile.chunks_exact_mut(TILE).zip(lines).take(columns) {
                for (sum, x) in sums.iter_mut().zip(&line[row..row + rows]) {
                    *sum += x;
                }
            }
            // And the transpose. A cache line of it serves 16 columns.
            for first in (0..columns).step_by(16) {
                for (offset, line) in single[row * stride..].chunks_exact(stride).take(rows).enumerate() {
                    let line = &line[column + first..column + columns.min(first + 16)];
                    for (sums, x) in tile[first * TILE..].chunks_exact_mut(TILE).zip(line) {
                        sums[offset] += x;
                    }
                }
            }
        }
    }
}

/// One slice of codes as the kernel wants it, in groups of columns: \[groups, CODE_PANEL / strip, slice / group, strip\]
/// words.
#[derive(Clone, Debug)]
struct Packed {
    layout: CodeLayout,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    right: Vec<i32>,
    /// Left operand where the layout wants another one (codes plus an offset); else empty.
    left: Vec<i32>,
    /// The offset times the column sums of the slice.
    correction: [i32; CODE_PANEL],
}

impl Packed {
    fn new(layout: CodeLayout, n: usize) -> Self {
        let words = slice_rows(layout) / layout.group * CODE_PANEL;
        let group = || Group {
            right: vec![0; words],
            left: vec![0; if layout.left_offset == 0 { 0 } else { words }],
            correction: [0; CODE_PANEL],
        };
        Self { layout, groups: (0..n.div_ceil(CODE_PANEL)).map(|_| group()).collect() }
    }

    /// Packs `depth` rows of n codes.
    fn pack(&mut self, n: usize, codes: CodePanel, depth: usize) {
        let layout = self.layout;
        self.groups.par_iter_mut().with_min_len(PARALLEL / CODE_PANEL).enumerate().for_each(|(index, group)| {
            let column = index * CODE_PANEL;
            let columns = CODE_PANEL.min(n - column);
            let codes = CodePanel { data: &codes.data[column * codes.column_step..], ..codes };
            group.pack(layout, columns, codes, depth);
        });
    }

    /// How many of each column's first words are not zero.
    fn nonzero(&self, words: usize) -> usize {
        let layout = self.layout;
        let count = |group: &Group| {
            let strips = group.right.chunks_exact(layout.strip_step(group.right.len()));
            strips.flat_map(|strip| &strip[..words * layout.strip]).filter(|word| **word != 0).count()
        };
        self.groups.par_iter().with_min_len(PARALLEL / CODE_PANEL).map(count).sum()
    }

    /// The left operand of a group.
    fn left(&self, group: usize) -> &[i32] {
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
    fn sparse_columns(&self, words: usize, layout: CodeLayout) -> Vec<(Vec<CodeEntry>, i32)> {
        let mut columns: Vec<Vec<CodeEntry>> = vec![Vec::new(); CODE_PANEL];
        let strips = self.right.chunks_exact(layout.strip_step(self.right.len()));
        for (strip, columns) in strips.zip(columns.chunks_exact_mut(layout.strip)) {
            for (word, line) in strip.chunks_exact(layout.strip).take(words).enumerate() {
                for (column, codes) in columns.iter_mut().zip(line) {
                    if *codes != 0 {
                        column.push(CodeEntry { word: word as u32, codes: *codes });
                    }
                }
            }
        }
        let total = |entries: &[CodeEntry]| -> i32 {
            entries.iter().flat_map(|entry| entry.codes.to_le_bytes()).map(|code| i32::from(code as i8)).sum()
        };
        let offset = |entries: &[CodeEntry]| i32::from(layout.left_offset) * total(entries);
        columns
            .into_iter()
            .map(|entries| (offset(&entries), entries))
            .map(|(offset, entries)| (entries, offset))
            .collect()
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
        let capacity = self.right.len() / CODE_PANEL;
        for word in 0..depth.div_ceil(GROUP) {
            // Rows beyond the last are zero.
            let mut lines = [[0i8; CODE_PANEL]; GROUP];
            let first = word * GROUP;
            for (offset, line) in lines[..GROUP.min(depth - first)].iter_mut().enumerate() {
                let from = &codes.data[(first + offset) * codes.row_step..];
                // Most groups are whole: a length known beforehand makes one copy of them.
                match from.first_chunk() {
                    Some(whole) if columns == CODE_PANEL => *line = *whole,
                    _ => line[..columns].copy_from_slice(&from[..columns]),
                }
            }
            let mut packed = [0; CODE_PANEL];
            for i in 0..CODE_PANEL {
                let codes: [i8; GROUP] = std::array::from_fn(|offset| lines[offset][i]);
                totals[i] += codes.iter().map(|code| i32::from(*code)).sum::<i32>();
                packed[i] = word_of(codes);
            }
            for (index, from) in packed.chunks_exact(strip).enumerate() {
                self.right[(index * capacity + word) * strip..][..strip].copy_from_slice(from);
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

/// The lower triangle of a sum of products, tiles as in [`SymmetricTiles`].
#[derive(Clone, Debug, Default)]
struct Sums {
    /// Sums since the last flush; empty until the first.
    recent: Vec<i32>,
    /// Sums flushed before; `None` until the first flush.
    flushed: Option<SymmetricTiles>,
}

impl Sums {
    fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.flushed.is_none()
    }

    /// The sums since the last flush, zero where there are none yet.
    fn grow(&mut self, n: usize) -> &mut [i32] {
        self.recent.resize(triangle_len(n.div_ceil(TILE)), 0);
        &mut self.recent
    }

    /// Adds A^T B for each pair of packed slices.
    fn add(&mut self, kernel: CodeKernel, n: usize, pairs: &[(&Packed, &Packed)], depth: usize) {
        let tile_rows = n.div_ceil(TILE);
        let mut cuts: Vec<usize> = (0..tile_rows).step_by(TILE_ROWS_IN_CACHE).collect();
        cuts.push(tile_rows);
        let least = if n < PARALLEL { usize::MAX } else { 1 };
        let parts = TileRows::split(self.grow(n), &cuts);
        // The last parts are the largest.
        parts.into_par_iter().rev().with_min_len(least).for_each(|part| add_part(kernel, n, pairs, depth, part));
    }

    /// Moves the 32-bit sums to f64. Returns all of these.
    fn flush(&mut self, n: usize) -> &SymmetricTiles {
        let flushed = self.flushed.get_or_insert_with(|| SymmetricTiles::zero(n));
        let tiles = flushed.elements_mut().par_chunks_mut(TILE * TILE).zip(self.recent.par_chunks_mut(TILE * TILE));
        tiles.for_each(|(to, from)| {
            for (to, from) in to.iter_mut().zip(from) {
                *to += f64::from(std::mem::take(from));
            }
        });
        flushed
    }
}

fn add_part(kernel: CodeKernel, n: usize, pairs: &[(&Packed, &Packed)], depth: usize, mut part: TileRows<'_, i32>) {
    let columns = |index: usize| CODE_PANEL.min(n - index * CODE_PANEL);
    let (first, last) = (part.rows.start * IN_TILE, n.div_ceil(CODE_PANEL).min(part.rows.end * IN_TILE));
    for j in 0..last {
        for i in first.max(j)..last {
            let tile = part.tile_mut(i / IN_TILE, j / IN_TILE);
            let corner = j % IN_TILE * CODE_PANEL * TILE + i % IN_TILE * CODE_PANEL;
            for (left, right) in pairs {
                let group = &right.groups[i];
                kernel.gemm(
                    [columns(j), columns(i).next_multiple_of(16), depth.div_ceil(right.layout.group)],
                    left.left(j),
                    &group.right,
                    &group.correction,
                    &mut tile[corner..],
                    TILE,
                );
            }
        }
    }
}
