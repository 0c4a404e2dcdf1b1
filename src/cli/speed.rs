//! Rates of the numerical core on this machine: what `heavytail bench`, `selftest` and the benchmarks time.

use std::sync::Once;

use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Strided};
use crate::matrix::Matrix;
use crate::spectrum::eigen::{Stage, band_width, staged_eigenvalues};
use crate::spectrum::singular::staged_singular_values;
use crate::spectrum::{CodeGramBuilder, GramBuilder, SymmetricTiles};

/// Seconds of this thread: processor time where Linux tells it, so that other programs on a shared core do not count, else
/// seconds on the clock. Only differences mean anything.
pub fn seconds() -> f64 {
    // The kernel brings the account up to date when a thread gives way.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    if let Some(nanoseconds) = account.split(' ').next().and_then(|text| text.parse::<f64>().ok()) {
        return 1e-9 * nanoseconds;
    }
    use std::time::SystemTime;
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The shortest of several runs on this thread alone, in seconds; about a second in all, but at least two runs and at most 30.
pub fn best(mut run: impl FnMut()) -> f64 {
    // Large matrices go to the threads of the pool: here that is this one. Who has started a pool before keeps it.
    static ALONE: Once = Once::new();
    ALONE.call_once(|| drop(rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()));
    let (mut best, mut total) = (f64::INFINITY, 0.0);
    for count in 0..30 {
        if count >= 2 && total > 1.0 {
            break;
        }
        let start = seconds();
        run();
        let time = seconds() - start;
        best = best.min(time);
        total += time;
    }
    best
}

/// Numbers in (-2, 2) in the shape of a bell, the same every time.
pub fn bell(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() + next() + next() + next()).collect()
}

/// GF/s of products that stay in the first-level cache: what the other rates are a share of.
pub fn peak(kernel: Kernel) -> f64 {
    const ROUNDS: usize = 200;
    let (rows, columns, depth) = (24, 24, 256);
    let (a, b) = (vec![1e-3; rows * depth], vec![1e-3; columns * depth]);
    let mut c = vec![0.0; rows * columns];
    let time = best(|| {
        for _ in 0..ROUNDS {
            let a = Strided { data: &a, row_step: 1, depth_step: rows };
            kernel.gemm([rows, columns, depth], a, Rows::new(&b, columns), &mut c, columns);
        }
    });
    2e-9 * (ROUNDS * rows * columns * depth) as f64 / time
}

/// The Gram product of a matrix \[m, n\]: the product, and its best time.
pub fn gram(kernel: Kernel, w: &[f32], n: usize) -> (SymmetricTiles, f64) {
    let run = || {
        let mut gram = GramBuilder::with_kernel(kernel, n);
        gram.push(w, w.len() / n);
        gram.finish()
    };
    (run(), best(|| drop(run())))
}

/// The best time of the Gram product of a matrix \[m, n\] of numbers in (-2, 2) as codes of so many bits.
pub fn code_gram(kernel: Kernel, w: &[f32], n: usize, bits: u8) -> f64 {
    let largest = 1 << (bits - 1);
    // Not over the largest.
    let codes: Vec<i8> = w.iter().map(|x| (0.48 * f32::from(largest) * x) as i8).collect();
    best(|| {
        let mut gram = CodeGramBuilder::with_largest(kernel, n, largest);
        gram.push(&codes, codes.len() / n);
        gram.finish();
    })
}

/// Seconds of one computation and of its stages.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// The whole.
    pub total: f64,
    /// Dense to band.
    pub band: f64,
    /// Band to tridiagonal or bidiagonal.
    pub chase: f64,
    /// From there to the values.
    pub values: f64,
}

/// The best of several runs of `run`, which reports the ends of its stages.
fn best_stages(mut run: impl FnMut(&mut dyn FnMut(Stage)) -> Result<()>) -> Result<Stages> {
    let mut least = Stages { total: f64::INFINITY, band: 0.0, chase: 0.0, values: 0.0 };
    let mut result = Ok(());
    best(|| {
        let start = seconds();
        let mut at = [0.0; 3];
        let outcome = run(&mut |stage| {
            at[match stage {
                Stage::Band => 0,
                Stage::Chase => 1,
                Stage::Tridiagonal => 2,
            }] = seconds() - start;
        });
        if outcome.is_err() {
            result = outcome;
        }
        if at[2] < least.total {
            least = Stages { total: at[2], band: at[0], chase: at[1] - at[0], values: at[2] - at[1] };
        }
    });
    result.map(|()| least)
}

/// Times of the eigenvalues of a symmetric matrix; the copy of the matrix, about 1%, counts to the first stage.
///
/// # Errors
/// The matrix is not finite.
pub fn eigenvalues(kernel: Kernel, tiles: &SymmetricTiles) -> Result<Stages> {
    let width = band_width(tiles.order());
    best_stages(|ended| {
        staged_eigenvalues(kernel, tiles.clone(), width, &|| false, ended)
            .map(|_| ())
            .map_err(|error| Error::Numeric(error.to_string()))
    })
}

/// Times of the singular values of a matrix.
///
/// # Errors
/// The matrix is not finite.
pub fn singular_values(kernel: Kernel, w: &Matrix) -> Result<Stages> {
    best_stages(|ended| {
        staged_singular_values(kernel, w, None, &|| false, ended)
            .map(|_| ())
            .map_err(|error| Error::Numeric(error.to_string()))
    })
}

/// Flops that rates of eigenvalues count: 4/3 n^3.
pub fn eigenvalue_flops(n: usize) -> f64 {
    4.0 / 3.0 * (n as f64).powi(3)
}

/// Flops that rates of singular values count: the fewer of 4 m n^2 - 4/3 n^3 and, by way of a triangle, 2 m n^2 + 2 n^3.
pub fn singular_value_flops(rows: usize, cols: usize) -> f64 {
    let (m, n) = (rows.max(cols) as f64, rows.min(cols) as f64);
    (4.0 * m * n * n - 4.0 / 3.0 * n.powi(3)).min(2.0 * m * n * n + 2.0 * n.powi(3))
}
