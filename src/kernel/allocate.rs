//! Large blocks of memory begin at cache lines.
//!
//! Vectors of the widest registers are whole lines then. Where blocks begin at 8 or 16 bytes, as allocators give them, each of
//! their loads and stores takes two lines, and in the page, whose vectors have 16 bytes, one in four may.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Blocks of so many bytes are large; to others it would cost memory and gives nothing.
const LARGE: usize = 4096;

/// The system's allocator, with large blocks at cache lines.
struct Lines;

#[global_allocator]
static ALLOCATOR: Lines = Lines;

/// A layout as the system is asked for it: it follows from the layout alone, so that a block is freed as it was made.
fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(LINE).unwrap_or(layout) }
}

// Out of line, for each is called from thousands of places: the page's module would grow by a hundredth.
// SAFETY: every call goes to the system's allocator with a layout of the same size and of at least the same alignment, the same
// for the same block each time; `realloc` of small blocks is the system's,
// else a new block, a copy, and the old one freed.
unsafe impl GlobalAlloc for Lines {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, see above.
        unsafe { System.alloc(aligned(layout)) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, see above.
        unsafe { System.alloc_zeroed(aligned(layout)) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, see above.
        unsafe { System.dealloc(block, aligned(layout)) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise that `size`, rounded up to the alignment, is no more than a layout may have.
        let to = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if layout.size() < LARGE && size < LARGE {
            // SAFETY: the block was made with this layout as it is, and the new one would be.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the block holds as many bytes as are copied, and the new one is another.
        unsafe {
            let new = self.alloc(to);
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_begin_at_lines_and_keep_what_they_hold() {
        let is_aligned = |values: &[f64]| values.as_ptr().addr().is_multiple_of(LINE);
        for count in [512, 513, 1000, 100_000] {
            assert!(is_aligned(&vec![0.0; count]) && is_aligned(&vec![1.0; count]));
            assert_eq!(vec![0.0; count].iter().sum::<f64>(), 0.0);
        }
        // Across the border between small and large, and on.
        let mut values = Vec::new();
        for i in 0..5000 {
            values.push(f64::from(i));
        }
        assert!(is_aligned(&values) && values.iter().zip(0..).all(|(value, i)| *value == f64::from(i)));
        values.truncate(3);
        values.shrink_to_fit();
        assert_eq!(values, [0.0, 1.0, 2.0]);
    }
}
