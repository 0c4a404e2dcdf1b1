//! What quantizing costs beside the spectrum of the same matrix, on one thread: `cargo bench --bench quantizers [NAME ...]`.

use std::time::{Duration, Instant};

use heavytail::matrix::Matrix;
use heavytail::quant::{Arithmetic, Scheme, schemes};
use heavytail::spectrum::{GramBuilder, SLICE};
use heavytail::tensor::Dtype;

const ROWS: usize = 1024;
const COLS: usize = 3072;

/// The shortest of a few runs.
fn shortest(mut run: impl FnMut()) -> Duration {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

/// Roughly normal weights of standard deviation 0.02: sums of twelve uniform numbers.
fn weights() -> Matrix {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0
    };
    let values = (0..ROWS * COLS).map(|_| 0.02 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0)).collect();
    Matrix::new(ROWS, COLS, values).expect("as many values as the shape has")
}

fn spectrum(matrix: &Matrix) -> Vec<f64> {
    let n = matrix.rows();
    let mut gram = GramBuilder::new(n);
    let mut panel = vec![0.0; SLICE * n];
    for start in (0..matrix.cols()).step_by(SLICE) {
        let width = SLICE.min(matrix.cols() - start);
        for (row, out) in matrix.values().chunks(matrix.cols()).zip(panel.chunks_mut(width)) {
            out.copy_from_slice(&row[start..start + width]);
        }
        gram.push_columns(&panel[..width * n], width, width);
    }
    gram.finish().eigenvalues(&|| false).expect("eigenvalues")
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let chosen: Vec<Scheme> = if names.is_empty() {
        schemes().iter().filter(|row| row.common && !row.scheme.is_recipe()).map(|row| row.scheme).collect()
    } else {
        names.iter().map(|name| name.parse().expect("a scheme")).collect()
    };
    let matrix = weights();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let spectrum = shortest(|| drop(spectrum(&matrix)));
        println!("{ROWS} x {COLS}: spectrum {:.1} ms", spectrum.as_secs_f64() * 1e3);
        let mut out = Vec::new();
        for scheme in chosen {
            let time = shortest(|| drop(scheme.dequantized(&matrix, Dtype::F32, Arithmetic::Exact, &mut out)));
            println!(
                "{:24} {:8.2} ms {:7.2} ns/weight {:6.1} % of the spectrum",
                scheme.to_string(),
                time.as_secs_f64() * 1e3,
                time.as_secs_f64() * 1e9 / (ROWS * COLS) as f64,
                100.0 * time.as_secs_f64() / spectrum.as_secs_f64()
            );
        }
    });
}
