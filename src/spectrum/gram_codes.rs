//! Gram products of 8-bit codes, exact in integers, streamed like those of floats.

mod packed;

use rayon::prelude::*;

use self::packed::{Packed, slice_rows};
use crate::kernel::{CODE_PANEL, CodeKernel, CodeLayout, Kernel};
use crate::spectrum::tiles::{PARALLEL, SymmetricTiles, TILE, TileRows, triangle_len};

pub use self::packed::CodePanel;

/// Rows to hand in at a time. A multiple of what is packed at a time.
pub const CODE_SLICE: usize = 1024;

/// Rows whose products always fit 32 bits: 131,071 * 128^2 < 2^31, and as much for twice that of codes and residues.
const ROWS_IN_I32: usize = 131_071;

/// Groups of columns in a tile.
const IN_TILE: usize = TILE / CODE_PANEL;

/// Rows of tiles whose packed words stay in the second-level cache (384 KiB).
const TILE_ROWS_IN_CACHE: usize = 4;

/// Up to this order codes may be multiplied word by word: their sums take 4 n^2 bytes more.
pub const SPARSE_ORDER: usize = 2048;

/// They are, where at most one word in so many is not zero. A word costs about twice its share of a dense product of both
/// halves, which is what residues need, and four times that of one half, which is what squares need.
const SPARSE: usize = 3;
const SPARSE_SQUARES: usize = 6;

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
    /// C^T C of slices in which few codes are not zero.
    single: SingleSums,
    /// From the first residue on.
    split: Option<Split>,
    rows_in_sums: usize,
}

impl CodeGramBuilder {
    /// An empty sum for n columns, on this processor's kernel.
    ///
    /// # Cost
    /// 2 n^2 + 2 kB n bytes, twice that with residues; 4 n^2 more for the result, and from 131,071 rows on for each sum. Up to
    /// n = 2048 4 n^2 more where few codes are not zero, and as much where few residues are not.
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
        let (squares, single) = Default::default();
        Self { kernel, n, code_kernel, codes, squares, single, split: None, rows_in_sums: 0 }
    }

    /// Adds k rows of codes: `panel` is row-major \[k, n\].
    ///
    /// # Panics
    /// If `panel` does not hold k n codes.
    ///
    /// # Cost
    /// k n^2 integer operations (multiplications and additions of one triangle); fewer where nearly all codes are zero.
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
            let residues = residues.map(|data| codes.with(data).below(first));
            self.push_slice(codes.below(first), residues, depth);
        }
    }

    fn push_slice(&mut self, codes: CodePanel, residues: Option<CodePanel>, depth: usize) {
        if self.rows_in_sums + depth > ROWS_IN_I32 {
            self.single.move_to(&mut self.squares, self.n, Triangle::Once);
            self.squares.flush(self.n);
            if let Some(split) = &mut self.split {
                split.single.move_to(&mut split.sums, self.n, Triangle::Both);
                split.sums.flush(self.n);
            }
            self.rows_in_sums = 0;
        }
        let (kernel, n) = (self.code_kernel, self.n);
        self.codes.pack(n, codes, depth);
        match self.codes.few_words(n, depth, SPARSE_SQUARES) {
            Some(0) => (),
            Some(_) => self.single.add(kernel, n, (&self.codes, &self.codes), depth),
            None => self.squares.add(kernel, n, &[(&self.codes, &self.codes)], depth),
        }
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
        self.single.move_to(&mut self.squares, self.n, Triangle::Once);
        if let Some(split) = &mut self.split {
            split.single.move_to(&mut split.sums, self.n, Triangle::Both);
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

/// What residues need: C^T R + R^T C is `sums`, plus `single` and its transpose.
#[derive(Clone, Debug)]
struct Split {
    packed: Packed,
    sums: Sums,
    /// R^T C of slices with few residues.
    single: SingleSums,
}

impl Split {
    fn new(layout: CodeLayout, n: usize) -> Self {
        Self { packed: Packed::new(layout, n), sums: Sums::default(), single: SingleSums::default() }
    }

    fn add(&mut self, kernel: CodeKernel, n: usize, codes: &Packed, residues: CodePanel, depth: usize) {
        self.packed.pack(n, residues, depth);
        match self.packed.few_words(n, depth, SPARSE) {
            Some(0) => (),
            Some(_) => self.single.add(kernel, n, (&self.packed, codes), depth),
            None => self.sums.add(kernel, n, &[(codes, &self.packed), (&self.packed, codes)], depth),
        }
    }
}

/// Which elements of a product the lower triangle of a symmetric sum takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Triangle {
    /// Those of one half: the product is symmetric.
    Once,
    /// Those and, transposed, the upper ones: the sum is of the product and its transpose.
    Both,
}

/// A sum of products S^T C whose S has few words that are not zero, multiplied one by one: row-major
/// \[n, groups * CODE_PANEL\]; empty until the first of them.
#[derive(Clone, Debug, Default)]
struct SingleSums(Vec<i32>);

impl SingleSums {
    /// Adds S^T C, word by word of S. Out of line, like [`Self::move_to`]: the page's modules are to be small.
    #[inline(never)]
    fn add(&mut self, kernel: CodeKernel, n: usize, (sparse, codes): (&Packed, &Packed), depth: usize) {
        let words = depth.div_ceil(codes.layout.group);
        let stride = codes.groups.len() * CODE_PANEL;
        self.0.resize(n * stride, 0);
        let rows = self.0.par_chunks_mut(CODE_PANEL * stride).zip(&sparse.groups);
        rows.with_min_len(PARALLEL / CODE_PANEL).for_each(|(rows, sparse)| {
            let columns = sparse.sparse_columns(words, codes.layout);
            for group in 0..codes.groups.len() {
                let lines = rows.chunks_exact_mut(stride).zip(columns.iter());
                for (row, (entries, correction)) in lines.filter(|(_, (entries, _))| !entries.is_empty()) {
                    if let Some(sums) = row[group * CODE_PANEL..].first_chunk_mut() {
                        kernel.gather(entries, codes.left(group), correction, sums);
                    }
                }
            }
        });
    }

    /// Moves the sums to those of whole slices.
    #[inline(never)]
    fn move_to(&mut self, sums: &mut Sums, n: usize, triangle: Triangle) {
        let single = std::mem::take(&mut self.0);
        if single.is_empty() {
            return;
        }
        let stride = n.next_multiple_of(CODE_PANEL);
        let places = (0..n.div_ceil(TILE)).flat_map(|i| (0..=i).map(move |j| (TILE * i, TILE * j)));
        for ((row, column), tile) in places.zip(sums.grow(n).chunks_exact_mut(TILE * TILE)) {
            let (rows, columns) = (TILE.min(n - row), TILE.min(n - column));
            let lines = single[column * stride..].chunks_exact(stride);
            for (sums, line) in tile.chunks_exact_mut(TILE).zip(lines).take(columns) {
                for (sum, x) in sums.iter_mut().zip(&line[row..row + rows]) {
                    *sum += x;
                }
            }
            if triangle == Triangle::Once {
                continue;
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
