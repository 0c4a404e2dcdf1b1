//! Eigenvalues against nalgebra's one-stage solver, and LAPACK's where the machine has it; identities; and generated matrices
//! that are hard in known ways.

use std::sync::atomic::{AtomicUsize, Ordering};

use heavytail::kernel::Kernel;
use heavytail::spectrum::SymmetricTiles;
use heavytail::spectrum::eigen::{EigenError, staged_eigenvalues, symmetric_eigenvalues, tiled_eigenvalues};
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
}

fn random_symmetric(n: usize, random: &mut Random) -> Vec<f64> {
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            a[i * n + j] = random.next();
            a[j * n + i] = a[i * n + j];
        }
    }
    a
}

/// W^T W for row-major W [m, n].
fn gram(w: &[f64], m: usize, n: usize) -> Vec<f64> {
    let w = DMatrix::from_row_slice(m, n, w);
    (w.transpose() * w).as_slice().to_vec()
}

fn never() -> bool {
    false
}

fn oracle(a: &[f64], n: usize) -> Vec<f64> {
    let mut values = DMatrix::from_row_slice(n, n, a).symmetric_eigenvalues().as_slice().to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, x| x.abs().max(max))
}

/// Largest error relative to the largest eigenvalue.
fn error(values: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(values.len(), expected.len());
    assert!(values.is_sorted());
    let scale = largest(expected);
    if scale == 0.0 {
        return largest(values);
    }
    values.iter().zip(expected).fold(0.0, |max, (x, y)| ((x - y) / scale).abs().max(max))
}

#[track_caller]
fn check(a: &[f64], n: usize, what: &str) {
    let values = symmetric_eigenvalues(&mut a.to_vec(), n, &never).expect(what);
    let error = error(&values, &oracle(a, n));
    assert!(error < 1e-13, "{what}, n = {n}: error {error:e}");
    if let Some(expected) = lapack(a, n) {
        let error = self::error(&values, &expected);
        assert!(error < 1e-13, "{what}, n = {n}: error against LAPACK {error:e}");
    }
}

/// LAPACK's dsyevd, if there is a library.
#[cfg(feature = "blas")]
fn lapack(a: &[f64], n: usize) -> Option<Vec<f64>> {
    use heavytail::kernel::Blas;
    static LIBRARY: std::sync::LazyLock<Option<Blas>> = std::sync::LazyLock::new(|| Blas::find().ok());
    let library = LIBRARY.as_ref()?;
    Some(library.eigenvalues(&mut a.to_vec(), n).expect("dsyevd converges"))
}

/// The emulated processor has no library.
#[cfg(not(feature = "blas"))]
fn lapack(_: &[f64], _: usize) -> Option<Vec<f64>> {
    None
}

#[test]
fn agrees_with_the_oracle_for_every_small_order() {
    let mut random = Random(1);
    for n in (1..=130).chain([150, 191, 192, 193, 200, 255, 256, 257, 288, 300]) {
        check(&random_symmetric(n, &mut random), n, "random");
    }
}

#[test]
fn agrees_with_the_oracle_for_larger_orders() {
    let mut random = Random(2);
    for n in [384, 500, 769] {
        check(&random_symmetric(n, &mut random), n, "random");
    }
}

#[test]
fn every_band_width_works() {
    let mut random = Random(3);
    for n in [1, 7, 33, 100, 193, 260] {
        let a = random_symmetric(n, &mut random);
        for width in [8, 16, 24] {
            let tiles = SymmetricTiles::from_lower(&a, n);
            let values = staged_eigenvalues(Kernel::selected(), tiles, width, &never, &mut |_| ()).expect("finite");
            let error = error(&values, &oracle(&a, n));
            assert!(error < 1e-13, "width {width}, n = {n}: {error:e}");
        }
    }
}

#[test]
fn kernels_that_fuse_agree_to_the_bit() {
    let mut random = Random(4);
    for (n, width) in [(50, 8), (150, 16), (210, 24)] {
        let a = random_symmetric(n, &mut random);
        let of = |kernel| {
            staged_eigenvalues(kernel, SymmetricTiles::from_lower(&a, n), width, &never, &mut |_| ()).expect("finite")
        };
        let twin = of(Kernel::by_name("scalar-fused").expect("known"));
        for kernel in Kernel::available() {
            let values = of(kernel);
            if kernel.is_fused() {
                assert_eq!(values, twin, "{}", kernel.name());
            } else {
                assert!(error(&values, &twin) < 1e-13, "{}", kernel.name());
            }
        }
    }
}

#[test]
fn large_orders_do_not_depend_on_the_number_of_threads() {
    let mut random = Random(10);
    // Several parts in the first stage, fewer and fewer of them.
    let n = 1700;
    let a = random_symmetric(n, &mut random);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| symmetric_eigenvalues(&mut a.clone(), n, &never).expect("finite"))
    };
    let values = run(1);
    assert_eq!(run(3), values);
    let squares: f64 = a.iter().map(|x| x * x).sum();
    assert!((values.iter().map(|x| x * x).sum::<f64>() / squares - 1.0).abs() < 1e-13);
}

#[test]
fn trace_and_frobenius_norm_are_kept() {
    let mut random = Random(5);
    for n in [64, 333, 900] {
        let a = random_symmetric(n, &mut random);
        let values = symmetric_eigenvalues(&mut a.clone(), n, &never).expect("finite");
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        let squares: f64 = a.iter().map(|x| x * x).sum();
        let scale = largest(&values);
        assert!((values.iter().sum::<f64>() - trace).abs() < 1e-13 * scale * n as f64);
        assert!((values.iter().map(|x| x * x).sum::<f64>() / squares - 1.0).abs() < 1e-13);
    }
    // Of a Gram matrix no terms cancel.
    for (m, n) in [(80, 64), (333, 333), (1200, 900), (300, 500)] {
        let a = gram(&(0..m * n).map(|_| random.next()).collect::<Vec<_>>(), m, n);
        let values = symmetric_eigenvalues(&mut a.clone(), n, &never).expect("finite");
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        let squares: f64 = a.iter().map(|x| x * x).sum();
        assert!((values.iter().sum::<f64>() / trace - 1.0).abs() < 1e-13, "{m} x {n}");
        assert!((values.iter().map(|x| x * x).sum::<f64>() / squares - 1.0).abs() < 1e-13, "{m} x {n}");
    }
}

#[test]
fn rows_that_nothing_couples_are_eigenvalues_as_they_stand() {
    let mut random = Random(12);
    // More and less than a tile is left, of more and of fewer tiles.
    for (size, alone) in [(0, 7), (2, 1), (200, 62), (5, 195), (95, 1), (96, 1), (97, 96), (150, 8), (299, 1)] {
        let n = size + alone;
        let mut places: Vec<usize> = (0..n).collect();
        for i in 0..n {
            places.swap(i, i + random.below(n - i));
        }
        let (rows, others) = places.split_at_mut(size);
        rows.sort_unstable();
        let block = random_symmetric(size, &mut random);
        let mut a = vec![0.0; n * n];
        for (at, x) in block.iter().enumerate() {
            a[rows[at / size] * n + rows[at % size]] = *x;
        }
        // To the bit: the rest is solved as if there were nothing else.
        let mut expected = symmetric_eigenvalues(&mut block.clone(), size, &never).expect("finite");
        for row in others.iter().skip(1) {
            a[row * n + row] = random.next();
            expected.push(a[row * n + row]);
        }
        expected.push(0.0);
        expected.sort_by(f64::total_cmp);
        check(&a, n, &format!("{alone} rows alone"));
        assert_eq!(symmetric_eigenvalues(&mut a.clone(), n, &never), Ok(expected), "{size} rows and {alone} alone");
        // One that is not finite is found, too.
        a[others[0] * n + others[0]] = f64::NAN;
        assert_eq!(
            symmetric_eigenvalues(&mut a, n, &never),
            Err(EigenError::NotFinite),
            "{size} rows and {alone} alone"
        );
    }
}

#[test]
fn tiny_and_degenerate_orders() {
    assert_eq!(symmetric_eigenvalues(&mut [], 0, &never), Ok(vec![]));
    assert_eq!(symmetric_eigenvalues(&mut [-3.0], 1, &never), Ok(vec![-3.0]));
    let two = symmetric_eigenvalues(&mut [2.0, 0.0, 1.0, 2.0], 2, &never).expect("finite");
    assert!(error(&two, &[1.0, 3.0]) < 1e-15);
    assert_eq!(symmetric_eigenvalues(&mut [0.0; 49], 7, &never), Ok(vec![0.0; 7]));
}

#[test]
fn only_the_lower_triangle_is_read() {
    let mut random = Random(6);
    let n = 120;
    let a = random_symmetric(n, &mut random);
    let mut lower = a.clone();
    for i in 0..n {
        for j in i + 1..n {
            lower[i * n + j] = f64::NAN;
        }
    }
    assert_eq!(symmetric_eigenvalues(&mut lower, n, &never), symmetric_eigenvalues(&mut a.clone(), n, &never));
}

#[test]
fn what_is_not_finite_is_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (n, at) in [(1, 0), (100, 99 * 100 + 3), (100, 5 * 100 + 5)] {
            let mut a = vec![1.0; n * n];
            a[at] = bad;
            assert_eq!(symmetric_eigenvalues(&mut a, n, &never), Err(EigenError::NotFinite));
        }
    }
}

#[test]
fn stops_when_asked() {
    let mut random = Random(7);
    let n = 300;
    let a = random_symmetric(n, &mut random);
    // Stops at the k-th question, whichever stage asks it: the first n are about rows that nothing couples.
    for k in [0, 100, n, n + 1, n + 10, n + 60, n + 100, n + 300] {
        let asked = AtomicUsize::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= k;
        let result = tiled_eigenvalues(Kernel::selected(), SymmetricTiles::from_lower(&a, n), &cancelled);
        assert_eq!(result, Err(EigenError::Cancelled));
        assert_eq!(asked.into_inner(), k + 1);
    }
    let diagonal = SymmetricTiles::from_lower(&[1.0, 0.0, 0.0, 2.0], 2);
    assert_eq!(tiled_eigenvalues(Kernel::selected(), diagonal, &|| true), Err(EigenError::Cancelled));
}

/// H_2 H_1 diag(values) H_1 H_2 with random reflectors: a dense matrix of known spectrum.
fn with_spectrum(values: &[f64], random: &mut Random) -> Vec<f64> {
    let n = values.len();
    let mut a = DMatrix::from_diagonal(&nalgebra::DVector::from_column_slice(values));
    for _ in 0..2 {
        let v = nalgebra::DVector::from_fn(n, |_, _| random.next()).normalize();
        let w = &a * &v;
        let vav = v.dot(&w);
        a -= 2.0 * (&v * w.transpose() + &w * v.transpose());
        a += 4.0 * vav * (&v * v.transpose());
    }
    let a = 0.5 * (&a + a.transpose());
    a.as_slice().to_vec()
}

#[test]
fn a_thousand_hard_matrices() {
    let mut random = Random(8);
    for case in 0..1100 {
        let n = 1 + random.below(if case % 10 == 0 { 180 } else { 60 });
        let kind = case % 11;
        let a: Vec<f64> = match kind {
            // Graded: eigenvalues over 16 decades.
            0 => {
                let values: Vec<f64> = (0..n).map(|i| 10f64.powf(-16.0 * i as f64 / n as f64)).collect();
                with_spectrum(&values, &mut random)
            }
            // A cluster and a few outliers.
            1 => {
                let values: Vec<f64> =
                    (0..n).map(|i| if i % 9 == 0 { i as f64 } else { 1.0 + 1e-14 * random.next() }).collect();
                with_spectrum(&values, &mut random)
            }
            // Gram matrix of rank 0 .. n.
            2 => {
                let rank = random.below(n + 1);
                let w: Vec<f64> = (0..rank * n).map(|_| random.next()).collect();
                if rank == 0 { vec![0.0; n * n] } else { gram(&w, rank, n) }
            }
            // Duplicate columns: residuals that are rounding noise.
            3 => {
                let (m, few) = (n + 3, 1 + n / 8);
                let base: Vec<f64> = (0..m * few).map(|_| random.next()).collect();
                let w: Vec<f64> = (0..m * n).map(|i| base[i / n * few + i % n % few]).collect();
                gram(&w, m, n)
            }
            // Small integers: exact zeros and ties.
            4 => {
                let w: Vec<f64> = (0..n * n).map(|_| (2.5 * random.next()).round()).collect();
                gram(&w, n, n)
            }
            // Huge, tiny, subnormal.
            5 => random_symmetric(n, &mut random).iter().map(|x| x * 1e150).collect(),
            6 => random_symmetric(n, &mut random).iter().map(|x| x * 1e-150).collect(),
            7 => random_symmetric(n, &mut random).iter().map(|x| x * 1e307).collect(),
            // Rows of very different size.
            8 => {
                let scale: Vec<f64> = (0..n).map(|_| 10f64.powf(8.0 * random.next())).collect();
                let a = random_symmetric(n, &mut random);
                (0..n * n).map(|i| a[i] * scale[i / n] * scale[i % n]).collect()
            }
            // Sparse: blocks, zero rows, constant matrices.
            9 => {
                let a = random_symmetric(n, &mut random);
                let keep: Vec<bool> = (0..n).map(|_| random.next() > 0.3).collect();
                let dense = random.next() > 0.0;
                let mask = |i: usize, j: usize| keep[i] && keep[j] && (dense || i % 3 == j % 3);
                (0..n * n).map(|i| if mask(i / n, i % n) { a[i] } else { 0.0 }).collect()
            }
            _ => vec![random.next(); n * n],
        };
        check(&a, n, &format!("case {case}, kind {kind}"));
    }
}

#[test]
fn subnormal_matrices_have_subnormal_eigenvalues() {
    let mut random = Random(9);
    for n in [1, 5, 40, 150] {
        let a = random_symmetric(n, &mut random);
        // Whole multiples of the smallest number, so that scaling up is exact.
        let whole: Vec<f64> = a.iter().map(|x| (x * 1e6).round()).collect();
        let tiny: Vec<f64> = whole.iter().map(|x| x * f64::from_bits(1)).collect();
        let values = symmetric_eigenvalues(&mut tiny.clone(), n, &never).expect("finite");
        let expected = oracle(&whole, n);
        for (x, y) in values.iter().zip(&expected) {
            assert!((x / f64::from_bits(1) - y).abs() < 1.0, "{x:e} {y}");
        }
    }
}

#[test]
fn an_exact_eigenvalue_as_shift_does_no_harm() {
    // Second differences: shifts of the leading block meet eigenvalues exactly; and a diagonal of equal values.
    for n in [30, 100, 257] {
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            a[i * n + i] = 2.0;
            if i > 0 {
                a[i * n + i - 1] = -1.0;
                a[(i - 1) * n + i] = -1.0;
            }
        }
        let values = symmetric_eigenvalues(&mut a, n, &never).expect("finite");
        let exact: Vec<f64> =
            (1..=n).map(|k| 4.0 * (std::f64::consts::FRAC_PI_2 * k as f64 / (n as f64 + 1.0)).sin().powi(2)).collect();
        assert!(error(&values, &exact) < 1e-14);
    }
}
