//! The numerical core against nalgebra, faer and OpenBLAS, as ratios in one run, one thread each.
//!
//!     cargo bench --bench core [--features peers] [-- SECTION ... [--large] [--sizes=N,...]]
//!
//! Sections: kernels, eigenvalues, singular, vectors, growth, powerlaw, accuracy; all of them when none is named. `--large`
//! adds n = 8192 (minutes). OpenBLAS takes part if HEAVYTAIL_PYTHON names a Python with scipy, in accuracy if it is installed; faer with the
//! feature. Times are processor time, best of several runs.

use std::process::Command;

use heavytail::cli::speed::{
    bell, best, code_gram, eigenvalue_flops, eigenvalues, gram, peak, seconds, singular_value_flops, singular_values,
};
use heavytail::kernel::{Blas, Kernel, Panel};
use heavytail::matrix::Matrix;
use heavytail::powerlaw::fit_weightwatcher;
use heavytail::spectrum::eigen::tiled_eigenvalues;
use heavytail::spectrum::{Components, GramBuilder};
use nalgebra::DMatrix;

/// nalgebra takes minutes beyond these.
const NALGEBRA_EIGENVALUES: usize = 1024;
const NALGEBRA_SINGULAR_VALUES: usize = 600;

type Section = (&'static str, fn(&Bench));

struct Bench {
    kernel: Kernel,
    peak: f64,
    is_large: bool,
    /// Orders of matrices in place of the usual ones.
    sizes: Option<Vec<usize>>,
    python: Option<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let kernel = Kernel::from_environment().expect("a known kernel");
    let bench = Bench {
        kernel,
        peak: peak(kernel),
        is_large: arguments.iter().any(|argument| argument == "--large"),
        sizes: arguments
            .iter()
            .find_map(|argument| argument.strip_prefix("--sizes="))
            .map(|list| list.split(',').map(|n| n.parse().expect("--sizes=N,...")).collect()),
        python: std::env::var("HEAVYTAIL_PYTHON").ok().filter(|python| !python.is_empty()),
    };
    if bench.python.is_none() {
        println!("HEAVYTAIL_PYTHON names no Python with scipy: nothing to compare with but nalgebra");
    }
    let sections: [Section; 7] = [
        ("kernels", Bench::kernels),
        ("eigenvalues", Bench::eigenvalues),
        ("singular", Bench::singular_values),
        ("vectors", Bench::vectors),
        ("growth", Bench::growth),
        ("powerlaw", |_| power_law()),
        ("accuracy", Bench::accuracy),
    ];
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    for name in &named {
        assert!(sections.iter().any(|(section, _)| section == name), "no section {name}: see the head of this file");
    }
    for (name, run) in sections {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            println!("\n## {name}");
            run(&bench);
        }
    }
}

fn ms(seconds: f64) -> String {
    format!("{:.2}", 1e3 * seconds)
}

/// How many times as long the peer takes.
fn ratio(theirs: Option<f64>, ours: f64) -> String {
    theirs.map_or("-".to_owned(), |theirs| format!("{} ({:.1}x)", ms(theirs), theirs / ours))
}

impl Bench {
    /// Best processor time of a LAPACK routine on a random matrix, in seconds.
    fn openblas(&self, routine: &str, rows: usize, cols: usize) -> Option<f64> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/benches/openblas.py");
        let output = Command::new(self.python.as_ref()?)
            .args([script, routine, &rows.to_string(), &cols.to_string()])
            .env("OPENBLAS_NUM_THREADS", "1")
            .output()
            .expect("HEAVYTAIL_PYTHON can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).trim().parse().expect("a time"))
    }

    fn sizes(&self, usual: &[usize], large: usize) -> Vec<usize> {
        self.sizes.clone().unwrap_or_else(|| usual.iter().copied().chain(self.is_large.then_some(large)).collect())
    }

    /// Eigenvalues of a Gram matrix against LAPACK's, and the sums that they must keep.
    fn accuracy(&self) {
        let library = match Blas::find() {
            Ok(library) => library,
            Err(fault) => return println!("no library to compare with: {fault}"),
        };
        println!(
            "against dsyevd of {}, errors relative to the largest eigenvalue\n\n\
             | n | error | trace | Frobenius norm |\n|---|---|---|---|",
            library.name()
        );
        for n in self.sizes(&[896, 2048, 3072, 4096], 8192) {
            let tiles = gram(self.kernel, &bell(n * (n + n / 4), n as u64), n).0;
            let mut dense = tiles.to_dense();
            let trace: f64 = (0..n).map(|i| dense[i * n + i]).sum();
            let squares: f64 = dense.iter().map(|x| x * x).sum();
            let ours = tiled_eigenvalues(self.kernel, tiles, &|| false).expect("a finite matrix");
            let theirs = library.eigenvalues(&mut dense, n).expect("dsyevd converges");
            let error = ours.iter().zip(&theirs).fold(0.0f64, |max, (a, b)| max.max((a - b).abs())) / theirs[n - 1];
            println!(
                "| {n} | {error:.1e} | {:.1e} | {:.1e} |",
                ours.iter().sum::<f64>() / trace - 1.0,
                (ours.iter().map(|x| x * x).sum::<f64>() / squares).sqrt() - 1.0
            );
        }
    }

    fn kernels(&self) {
        println!(
            "| kernel | peak GF/s | n | Gram f64, 4n rows, GF/s | share | OpenBLAS dsyrk GF/s | 8-bit codes Gop/s | 6-bit |\n\
             |---|---|---|---|---|---|---|---|"
        );
        let library = Blas::find().ok();
        for kernel in Kernel::available() {
            let is_slow = kernel.name().starts_with("scalar");
            let peak = if kernel == self.kernel { self.peak } else { peak(kernel) };
            for n in if is_slow { vec![192] } else { vec![192, 896, 2048] } {
                let w = bell(4 * n * n, n as u64);
                let flops = 1e-9 * (w.len() * n) as f64;
                let rate = flops / gram(kernel, &w, n).1;
                let [wide, narrow] = [8, 6].map(|bits| flops / code_gram(kernel, &w, n, bits));
                let share = 100.0 * rate / peak;
                let theirs = library.as_ref().filter(|_| kernel == self.kernel).map_or("-".to_owned(), |library| {
                    let (w, mut sum) = (w.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), vec![0.0; n * n]);
                    let time = best(|| library.add_gram(&w, Panel::Rows, w.len() / n, n, &mut sum));
                    format!("{:.1} ({:.1}x)", flops / time, flops / time / rate)
                });
                println!(
                    "| {} | {peak:.1} | {n} | {rate:.1} | {share:.0}% | {theirs} | {wide:.0} | {narrow:.0} |",
                    kernel.name()
                );
            }
        }
    }

    fn eigenvalues(&self) {
        println!(
            "kernel {}, peak {:.1} GF/s; 4/3 n^3 flops\n\n\
             | n | ms | GF/s | share | band | chase | tridiagonal | OpenBLAS dsyevd ms | faer ms | nalgebra ms |\n\
             |---|---|---|---|---|---|---|---|---|---|",
            self.kernel.name(),
            self.peak
        );
        for n in self.sizes(&[192, 384, 512, 576, 896, 1536, 2048, 3072, 4096], 8192) {
            let w = bell(n * (n + n / 4), n as u64);
            let tiles = gram(self.kernel, &w, n).0;
            let stages = eigenvalues(self.kernel, &tiles).expect("a finite matrix");
            let rate = 1e-9 * eigenvalue_flops(n) / stages.total;
            let nalgebra = (n <= NALGEBRA_EIGENVALUES).then(|| {
                let dense = DMatrix::from_vec(n, n, tiles.to_dense());
                best(|| drop(dense.clone().symmetric_eigenvalues()))
            });
            let faer = faer_eigenvalues(&tiles);
            drop(tiles);
            println!(
                "| {n} | {} | {rate:.1} | {:.0}% | {} | {} | {} | {} | {} | {} |",
                ms(stages.total),
                100.0 * rate / self.peak,
                ms(stages.band),
                ms(stages.chase),
                ms(stages.values),
                ratio(self.openblas("dsyevd", n, n), stages.total),
                ratio(faer, stages.total),
                ratio(nalgebra, stages.total)
            );
        }
    }

    fn singular_values(&self) {
        println!(
            "kernel {}, peak {:.1} GF/s\n\n\
             | shape | ms | GF/s | share | band | chase | bidiagonal | OpenBLAS dgesdd ms | nalgebra QR + SVD ms |\n\
             |---|---|---|---|---|---|---|---|---|",
            self.kernel.name(),
            self.peak
        );
        let mut shapes = vec![
            [384, 384],
            [1536, 384],
            [576, 576],
            [1536, 576],
            [896, 896],
            [896, 4864],
            [4864, 896],
            [2048, 2048],
            [2048, 4096],
            [3072, 3072],
        ];
        if let Some(sizes) = &self.sizes {
            shapes = sizes.iter().map(|n| [*n, *n]).collect();
        }
        if self.is_large {
            shapes.extend([[4096, 4096], [8192, 8192]]);
        }
        for [rows, cols] in shapes {
            let w = Matrix::new(rows, cols, bell(rows * cols, cols as u64)).expect("as many numbers as the shape says");
            let stages = singular_values(self.kernel, &w).expect("a finite matrix");
            let rate = 1e-9 * singular_value_flops(rows, cols) / stages.total;
            let nalgebra = (cols <= NALGEBRA_SINGULAR_VALUES).then(|| {
                let dense = DMatrix::from_row_iterator(rows, cols, w.values().iter().map(|x| f64::from(*x)));
                best(|| drop(dense.clone().qr().r().singular_values()))
            });
            println!(
                "| {rows} x {cols} | {} | {rate:.1} | {:.0}% | {} | {} | {} | {} | {} |",
                ms(stages.total),
                100.0 * rate / self.peak,
                ms(stages.band),
                ms(stages.chase),
                ms(stages.values),
                ratio(self.openblas("dgesdd", rows, cols), stages.total),
                ratio(nalgebra, stages.total)
            );
        }
    }
}

impl Bench {
    /// Eigenvectors of the Gram matrix of W [2n, n], and half of its singular components as smoothing takes them.
    fn vectors(&self) {
        println!(
            "| n | W^T W and all vectors ms | OpenBLAS dsyevd with vectors ms | nalgebra ms | W, then half its components ms |\n\
             |---|---|---|---|---|"
        );
        for n in self.sizes(&[384, 896, 2048, 4096], 8192) {
            let w = Matrix::new(2 * n, n, bell(2 * n * n, n as u64)).expect("as many numbers as the shape says");
            let decompose = || Components::new(&w).expect("a finite matrix");
            let all = best(|| drop(decompose().vectors().expect("vectors")));
            let half = best(|| drop(decompose().sum(0..n / 2).expect("components")));
            let nalgebra = (n <= NALGEBRA_EIGENVALUES).then(|| {
                let dense = DMatrix::from_vec(n, n, gram(self.kernel, w.values(), n).0.to_dense());
                best(|| drop(nalgebra::SymmetricEigen::new(dense.clone())))
            });
            println!(
                "| {n} | {} | {} | {} | {} |",
                ms(all),
                ratio(self.openblas("dsyevd_vectors", n, n), all),
                ratio(nalgebra, all),
                ms(half)
            );
        }
    }

    /// Time of a whole matrix [2n, n] against its flops, m n^2 + 4/3 n^3: what a user can expect of a larger one.
    fn growth(&self) {
        println!("| n | s | GF/s | time of a flop over the mean of the largest and the least |\n|---|---|---|---|");
        let times: Vec<(usize, f64, f64)> = self
            .sizes(&[512, 724, 1024, 1448, 2048, 2896, 4096], 8192)
            .into_iter()
            .map(|n| {
                let w = bell(2 * n * n, n as u64);
                let run = || {
                    let mut gram = GramBuilder::with_kernel(self.kernel, n);
                    gram.push(&w, 2 * n);
                    tiled_eigenvalues(self.kernel, gram.finish(), &|| false).expect("a finite matrix")
                };
                // A large one says enough with one run.
                let time = if n > 4096 { once(|| drop(run())) } else { best(|| drop(run())) };
                (n, time, 2.0 * (n as f64).powi(3) + eigenvalue_flops(n))
            })
            .collect();
        let costs: Vec<f64> = times.iter().map(|(_, time, flops)| time / flops).collect();
        let middle = f64::midpoint(
            costs.iter().copied().fold(f64::INFINITY, f64::min),
            costs.iter().copied().fold(0.0, f64::max),
        );
        for ((n, time, flops), cost) in times.iter().zip(&costs) {
            println!("| {n} | {time:.3} | {:.1} | {:+.0}% |", 1e-9 * flops / time, 100.0 * (cost / middle - 1.0));
        }
    }
}

/// Seconds of a single run.
fn once(run: impl FnOnce()) -> f64 {
    let start = seconds();
    run();
    seconds() - start
}

#[cfg(feature = "peers")]
fn faer_eigenvalues(tiles: &heavytail::spectrum::SymmetricTiles) -> Option<f64> {
    let n = tiles.order();
    let matrix = faer::Mat::<f64>::from_fn(n, n, |i, j| tiles.at(i.max(j), i.min(j)));
    // Minutes beyond.
    (n <= 2048).then(|| best(|| drop(matrix.self_adjoint_eigenvalues(faer::Side::Lower))))
}

#[cfg(not(feature = "peers"))]
fn faer_eigenvalues(_: &heavytail::spectrum::SymmetricTiles) -> Option<f64> {
    None
}

/// The whole fit: logarithms, candidates and the scan over them; against all distances of the plain loop.
fn power_law() {
    println!("| n | fit ms | plain loop ms |\n|---|---|---|");
    for n in [576, 896, 2048, 8192] {
        // A power law with exponent 3 above a bulk.
        let mut values: Vec<f64> = bell(n, 7)
            .iter()
            .enumerate()
            .map(|(i, x)| if i % 4 == 0 { 4.0 * (i as f64 / n as f64 + 1e-4).powf(-0.5) } else { 2.0 + f64::from(*x) })
            .collect();
        values.sort_by(f64::total_cmp);
        let ours = best(|| drop(std::hint::black_box(fit_weightwatcher(&values))));
        let plain = (n <= 2048).then(|| {
            best(|| {
                std::hint::black_box(plain_fit(&values));
            })
        });
        println!("| {n} | {} | {} |", ms(ours), ratio(plain, ours));
    }
}

/// The smallest Kolmogorov-Smirnov distance over all candidates, every deviation computed: WeightWatcher's loop.
fn plain_fit(values: &[f64]) -> (usize, f64) {
    let logarithms: Vec<f64> = values.iter().map(|x| x.ln()).collect();
    let mut best = (0, f64::INFINITY);
    for start in 0..values.len() - 1 {
        let tail = &values[start..];
        let count = tail.len() as f64;
        let sum: f64 = logarithms[start..].iter().map(|x| x - logarithms[start]).sum();
        let exponent = -count / sum;
        let distance = tail
            .iter()
            .enumerate()
            .fold(0.0f64, |max, (j, x)| max.max((1.0 - (x / tail[0]).powf(exponent) - j as f64 / count).abs()));
        if distance < best.1 {
            best = (start, distance);
        }
    }
    best
}
