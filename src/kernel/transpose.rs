//! Transposed copies.

use super::lanes::Lanes;
use super::{Isa, Job};

/// to\[c, r\] = sign from\[r, c\]; rows and columns are multiples of 8.
pub(super) struct Transpose {
    pub from: *const f64,
    pub from_step: usize,
    pub to: *mut f64,
    pub to_step: usize,
    pub rows: usize,
    pub columns: usize,
    pub sign: f64,
}

impl Job for Transpose {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let sign = I::Oct::splat(self.sign);
        for row in (0..self.rows).step_by(8) {
            for column in (0..self.columns).step_by(8) {
                let from = self.from.add(row * self.from_step + column);
                let mut rows = [sign; 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = sign.mul(I::Oct::load(from.add(i * self.from_step)));
                }
                let to = self.to.add(column * self.to_step + row);
                let columns = I::Oct::transpose(rows);
                for (i, column) in columns.iter().enumerate() {
                    column.store(to.add(i * self.to_step));
                }
            }
        }
    }
}

/// Copies one half of rows and columns `from .. to` of a square onto the other: a\[r step + c\] = a\[c step + r\],
/// r > c. `to - from` is a multiple of 8.
pub(super) struct Mirror {
    pub a: *mut f64,
    pub step: usize,
    pub from: usize,
    pub to: usize,
}

impl Job for Mirror {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        for line in (self.from..self.to).step_by(8) {
            for i in line..line + 8 {
                for j in i + 1..line + 8 {
                    *self.a.add(j * self.step + i) = *self.a.add(i * self.step + j);
                }
            }
            for other in (line + 8..self.to).step_by(8) {
                let from = self.a.add(line * self.step + other);
                let mut rows = [I::Oct::splat(0.0); 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = I::Oct::load(from.add(i * self.step));
                }
                for (i, row) in I::Oct::transpose(rows).iter().enumerate() {
                    row.store(self.a.add((other + i) * self.step + line));
                }
            }
        }
    }
}
