//! Singular values against nalgebra's one-stage solver, identities, and generated matrices that are hard in known ways.

use std::sync::atomic::{AtomicUsize, Ordering};

use heavytail::kernel::Kernel;
use heavytail::matrix::Matrix;
use heavytail::spectrum::eigen::EigenError;
use heavytail::spectrum::singular::{singular_values, staged_singular_values};
use nalgebra::DMatrix;

/// Numbers in (-1, 1), the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * n as f64) as usize % n.max(1)
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Matrix {
        matrix(rows, cols, (0..rows * cols).map(|_| self.next() as f32).collect())
    }
}

fn matrix(rows: usize, cols: usize, values: Vec<f32>) -> Matrix {
    Matrix::new(rows, cols, values).expect("as many values as the shape says")
}

fn never() -> bool {
    false
}

fn oracle(w: &Matrix) -> Vec<f64> {
    let w = DMatrix::from_row_iterator(w.rows(), w.cols(), w.values().iter().map(|x| f64::from(*x)));
    let mut values = w.singular_values().as_slice().to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Largest error relative to the largest singular value.
fn error(values: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(values.len(), expected.len());
    assert!(values.is_sorted());
    assert!(values.iter().all(|x| *x >= 0.0 && x.is_finite()));
    let scale = expected.last().copied().unwrap_or(0.0);
    let largest = values.iter().zip(expected).fold(0.0, |max, (x, y)| (x - y).abs().max(max));
    if scale > 0.0 { largest / scale } else { largest }
}

#[track_caller]
fn check(w: &Matrix, what: &str) {
    let values = singular_values(w, &never).expect(what);
    let error = error(&values, &oracle(w));
    // Rounding errors of both solvers add up like a random walk of a few ulps a step.
    let bound = 4.0 * f64::EPSILON * (w.rows().min(w.cols()) as f64).sqrt().max(10.0);
    assert!(error < bound, "{what}, {} x {}: error {error:e}", w.rows(), w.cols());
}

#[test]
fn agrees_with_the_oracle_for_small_shapes() {
    let mut random = Random(1);
    for cols in (1..=40).chain([47, 48, 49, 64, 95, 96, 97, 120]) {
        for rows in [cols, cols + 1, cols + 9, 2 * cols + 3, 5 * cols] {
            check(&random.matrix(rows, cols), "tall");
            check(&random.matrix(cols, rows), "wide");
        }
    }
}

#[test]
fn agrees_with_the_oracle_for_larger_shapes() {
    let mut random = Random(2);
    for (rows, cols) in [(200, 193), (257, 256), (288, 150), (1100, 130), (513, 192), (520, 384), (1537, 70)] {
        check(&random.matrix(rows, cols), "tall");
        check(&random.matrix(cols, rows), "wide");
    }
}

#[test]
fn every_band_width_works() {
    let mut random = Random(3);
    for (rows, cols) in [(1, 1), (7, 7), (33, 30), (100, 100), (193, 190), (600, 130)] {
        let w = random.matrix(rows, cols);
        for width in [8, 16, 24] {
            let values =
                staged_singular_values(Kernel::selected(), &w, Some(width), &never, &mut |_| ()).expect("finite");
            let error = error(&values, &oracle(&w));
            assert!(error < 1e-14, "width {width}, {rows} x {cols}: {error:e}");
        }
    }
}

#[test]
fn kernels_that_fuse_agree_to_the_bit() {
    let mut random = Random(4);
    for (rows, cols, width) in [(50, 50, 8), (150, 140, 16), (700, 210, 24)] {
        let w = random.matrix(rows, cols);
        let of = |kernel| staged_singular_values(kernel, &w, Some(width), &never, &mut |_| ()).expect("finite");
        let twin = of(Kernel::by_name("scalar-fused").expect("known"));
        for kernel in Kernel::available() {
            let values = of(kernel);
            if kernel.is_fused() {
                assert_eq!(values, twin, "{}", kernel.name());
            } else {
                assert!(error(&values, &twin) < 1e-14, "{}", kernel.name());
            }
        }
    }
}

#[test]
fn a_matrix_and_its_transpose_have_the_same_bits() {
    let mut random = Random(5);
    for (rows, cols) in [(90, 70), (300, 40)] {
        let w = random.matrix(rows, cols);
        let turned = (0..rows * cols).map(|i| w.values()[i % rows * cols + i / rows]).collect();
        assert_eq!(singular_values(&w, &never), singular_values(&matrix(cols, rows, turned), &never));
    }
}

/// Halves added up, and so on down: its rounding errors are those of a few additions.
fn sum_of_squares(x: &[f64]) -> f64 {
    if x.len() <= 8 {
        return x.iter().map(|x| x * x).sum();
    }
    let (left, right) = x.split_at(x.len() / 2);
    sum_of_squares(left) + sum_of_squares(right)
}

#[test]
fn the_frobenius_norm_is_kept() {
    let mut random = Random(6);
    for (rows, cols) in [(64, 64), (900, 333), (700, 500)] {
        let w = random.matrix(rows, cols);
        let squares = sum_of_squares(&w.values().iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        let values = singular_values(&w, &never).expect("finite");
        let error = (sum_of_squares(&values) / squares - 1.0).abs();
        assert!(error < 1e-14, "{rows} x {cols}: {error:e}");
    }
}

#[test]
fn empty_single_and_zero_matrices() {
    for (rows, cols) in [(0, 0), (0, 5), (5, 0)] {
        assert_eq!(singular_values(&matrix(rows, cols, vec![]), &never), Ok(vec![]));
    }
    assert_eq!(singular_values(&matrix(1, 1, vec![-3.0]), &never), Ok(vec![3.0]));
    assert_eq!(singular_values(&matrix(7, 4, vec![0.0; 28]), &never), Ok(vec![0.0; 4]));
    let row = singular_values(&matrix(1, 4, vec![1.0, -5.0, 5.0, 7.0]), &never).expect("finite");
    assert!(error(&row, &[10.0]) < 1e-15);
}

#[test]
fn what_is_not_finite_is_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (rows, cols, at) in [(1, 1, 0), (100, 30, 2999), (30, 100, 5)] {
            let mut values = vec![1.0; rows * cols];
            values[at] = bad;
            assert_eq!(singular_values(&matrix(rows, cols, values), &never), Err(EigenError::NotFinite));
        }
    }
}

#[test]
fn stops_when_asked() {
    let mut random = Random(7);
    for (rows, cols) in [(300, 280), (800, 200)] {
        let w = random.matrix(rows, cols);
        // Stops at the k-th question, whichever stage asks it.
        for k in [0, 1, 10, 60, 100, 200] {
            let asked = AtomicUsize::new(0);
            let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= k;
            assert_eq!(singular_values(&w, &cancelled), Err(EigenError::Cancelled));
            assert_eq!(asked.into_inner(), k + 1);
        }
    }
}

/// A product of two random matrices of small whole numbers, exact in f32: its rank is known.
fn of_rank(rank: usize, rows: usize, cols: usize, random: &mut Random) -> Matrix {
    let left: Vec<f64> = (0..rows * rank).map(|_| (6.0 * random.next()).round()).collect();
    let right: Vec<f64> = (0..rank * cols).map(|_| (6.0 * random.next()).round()).collect();
    let product = DMatrix::from_row_slice(rows, rank, &left) * DMatrix::from_row_slice(rank, cols, &right);
    matrix(rows, cols, product.transpose().iter().map(|x| *x as f32).collect())
}

/// Singular values that are zero in exact arithmetic stay an order below the bound that ranks are counted with.
#[test]
fn ranks_are_exact() {
    let mut random = Random(8);
    for (rows, cols) in [(64, 64), (130, 100), (500, 120), (120, 500), (384, 200)] {
        let most = rows.min(cols);
        for rank in [1, 2, most / 3, most / 2, most - 1] {
            let values = singular_values(&of_rank(rank, rows, cols, &mut random), &never).expect("finite");
            let largest = values[most - 1];
            let tolerance = 0.1 * largest * rows.max(cols) as f64 * f64::EPSILON;
            assert!(values[most - rank - 1] < tolerance, "{rows} x {cols}, rank {rank}: {:e}", values[most - rank - 1]);
            assert!(values[most - rank] > 1e-6 * largest, "{rows} x {cols}, rank {rank}: {:e}", values[most - rank]);
        }
    }
}

#[test]
fn a_thousand_hard_matrices() {
    let mut random = Random(9);
    for case in 0..1100 {
        let n = 1 + random.below(if case % 10 == 0 { 180 } else { 60 });
        let m = n + [0, 1, n / 2, 3 * n][random.below(4)];
        let kind = case % 11;
        let full = random.matrix(m, n);
        let map = |f: &dyn Fn(usize, usize, f32) -> f64| {
            let values = full.values().iter().enumerate().map(|(i, x)| f(i / n, i % n, *x) as f32).collect();
            matrix(m, n, values)
        };
        let offset = random.below(n);
        let w = match kind {
            // Graded columns, rows, both.
            0 => map(&|_, j, x| f64::from(x) * 10f64.powf(-16.0 * j as f64 / n as f64)),
            1 => map(&|i, _, x| f64::from(x) * 10f64.powf(-30.0 * i as f64 / m as f64)),
            2 => map(&|i, j, x| f64::from(x) * 10f64.powf(15.0 - 20.0 * (i + j) as f64 / (m + n) as f64)),
            // A cluster and a few outliers: nearly orthogonal columns.
            3 => map(&|i, j, x| {
                if i == j { 1.0 + 10.0 * f64::from(u8::from(i % 9 == 0)) } else { 1e-9 * f64::from(x) }
            }),
            // Rank 0 .. n.
            4 => of_rank(random.below(n + 1), m, n, &mut random),
            // Duplicate columns, duplicate rows.
            5 => map(&|i, j, _| f64::from(full.values()[i * n + j % (1 + n / 8)])),
            6 => map(&|i, j, _| f64::from(full.values()[i % (1 + m / 8) * n + j])),
            // Small whole numbers: exact zeros and ties.
            7 => map(&|_, _, x| (1.5 * f64::from(x)).round()),
            // Huge, tiny, subnormal.
            8 => {
                let scale = [3e38, 1e-38, 1e-42, 1e30][case / 11 % 4];
                map(&|_, _, x| f64::from(x) * scale)
            }
            // Sparse: blocks, zero rows and columns, shifted diagonals.
            9 => map(&|i, j, x| if i % 3 == 0 && j % 3 == 0 { f64::from(x) } else { 0.0 }),
            _ => map(&|i, j, _| f64::from(u8::from((i + offset) % n == j))),
        };
        check(&w, &format!("case {case}, kind {kind}"));
    }
}
