//! The system's BLAS and LAPACK as a backend, and our own numbers against LAPACK's. `tests/setup native` installs a library; on a
//! machine that can't have one `HEAVYTAIL_WITHOUT_BLAS=1` leaves out what needs it.

use std::process::Command;
use std::sync::Arc;

use heavytail::kernel::{Blas, Kernel, Panel};
use heavytail::spectrum::SymmetricTiles;
use heavytail::spectrum::backend::{Backend, Own, Parts};
use heavytail::spectrum::eigen::EigenError;
use heavytail::spectrum::library::Library;

/// Whether the user says that this machine has no library.
fn has_none() -> bool {
    std::env::var_os("HEAVYTAIL_WITHOUT_BLAS").is_some_and(|value| !value.is_empty())
}

/// The library; none if there need not be one.
fn library() -> Option<Library> {
    match Blas::find() {
        Ok(blas) => Some(Library::new(blas)),
        Err(_) if has_none() => None,
        Err(fault) => panic!(
            "no BLAS library: {fault}; install OpenBLAS (`tests/setup native` does on Debian), name a library in HEAVYTAIL_BLAS, or \
             leave these tests out with HEAVYTAIL_WITHOUT_BLAS=1"
        ),
    }
}

fn own() -> Own {
    Own(Kernel::selected())
}

/// Numbers in (-1, 1), the same on every run.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn gram(backend: &dyn Backend, w: &[f32], n: usize) -> SymmetricTiles {
    let mut gram = backend.gram(n);
    gram.push(w, w.len() / n);
    gram.finish()
}

fn eigenvalues(backend: &dyn Backend, matrix: &SymmetricTiles) -> Vec<f64> {
    backend.eigenvalues(matrix.clone(), &|| false).expect("a finite matrix")
}

/// Largest difference relative to the largest value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(f64::MIN_POSITIVE, |max, x| max.max(x.abs()));
    a.iter().zip(b).fold(0.0, |max, (x, y)| f64::max(max, (x - y).abs() / scale))
}

#[test]
fn gram_products_agree_whatever_the_orientation() {
    let Some(library) = library() else { return };
    for [m, n] in [[1, 1], [5, 3], [300, 8], [700, 47], [64, 96], [513, 100], [40, 200], [1030, 130]] {
        let w = numbers(m * n, 1);
        let ours = gram(&own(), &w, n).to_dense();
        // A sum of m products below 1, in another order: each of up to sqrt(m) roundings is below 1e-16 m.
        let close = |theirs: SymmetricTiles| {
            assert!(ours.iter().zip(theirs.to_dense()).all(|(a, b)| (a - b).abs() < 1e-14 * m as f64), "{m} x {n}");
        };
        close(gram(&library, &w, n));
        let turned: Vec<f32> = (0..m * n).map(|i| w[i % m * n + i / m]).collect();
        let mut by_columns = library.gram(n);
        by_columns.push_columns(&turned, m, m / 2);
        by_columns.push_columns(&turned[m / 2..], m, m - m / 2);
        close(by_columns.finish());
    }
    assert_eq!(library.gram(0).finish().to_dense(), Vec::<f64>::new());
    let mut none = library.gram(0);
    none.push(&[], 7);
    assert_eq!(none.finish().order(), 0);
    assert_eq!(library.gram(2).finish().to_dense(), vec![0.0; 4]);
}

/// Our eigenvalues against LAPACK's dsyevd. Its own error is of the order of 1e-15 of the largest eigenvalue.
#[test]
fn our_eigenvalues_are_lapacks_up_to_order_3072() {
    let Some(library) = library() else { return };
    let mut worst = 0.0f64;
    for n in (1..64).chain([65, 96, 97, 128, 191, 192, 193, 257, 384, 511, 640, 895, 1023, 1280, 1537, 2049, 3072]) {
        let matrix = gram(&own(), &numbers(n * (n + n / 4), n as u64), n);
        let difference = difference(&eigenvalues(&own(), &matrix), &eigenvalues(&library, &matrix));
        assert!(difference <= 1e-13, "n = {n}: {difference:e}");
        worst = worst.max(difference);
    }
    println!("largest difference: {worst:.1e} of the largest eigenvalue");
}

#[test]
fn a_library_refuses_what_we_refuse() {
    let Some(library) = library() else { return };
    let zero = SymmetricTiles::zero(7);
    assert_eq!(library.eigenvalues(zero.clone(), &|| false), Ok(vec![0.0; 7]));
    assert_eq!(library.eigenvalues(SymmetricTiles::zero(0), &|| false), Ok(vec![]));
    assert_eq!(library.eigenvalues(zero.clone(), &|| true), Err(EigenError::Cancelled));
    for bad in [f64::NAN, f64::INFINITY] {
        let mut matrix = zero.clone();
        matrix.tile_mut(0, 0)[3] = bad;
        assert_eq!(library.eigenvalues(matrix, &|| false), Err(EigenError::NotFinite));
    }
}

/// Debian's library with 64-bit integers, Apple's newer interface: the same calls with other integers.
#[test]
fn both_widths_of_integers_work() {
    let opened: Vec<Blas> =
        ["libopenblas.so.0", "libopenblas64.so.0"].iter().filter_map(|name| Blas::open(name).ok()).collect();
    // Elsewhere one library has both widths, or the user has named one.
    let may_miss = has_none() || !cfg!(target_os = "linux") || std::env::var_os("HEAVYTAIL_BLAS").is_some();
    if opened.len() < 2 && may_miss {
        return;
    }
    assert_eq!(opened.len(), 2, "libopenblas0 and libopenblas64-0: `tests/setup native` installs both");
    let (k, n) = (70, 50);
    let w: Vec<f64> = numbers(k * n, 2).iter().map(|x| f64::from(*x)).collect();
    let [narrow, wide] = [0, 1].map(|i| {
        let mut sum = vec![0.0; n * n];
        opened[i].add_gram(&w, Panel::Rows, k, n, &mut sum);
        opened[i].eigenvalues(&mut sum, n).expect("a finite matrix")
    });
    assert!(difference(&narrow, &wide) < 1e-14);
}

#[test]
fn threads_call_a_library_at_the_same_time() {
    let Some(library) = library() else { return };
    let matrix = gram(&own(), &numbers(300 * 150, 3), 150);
    let alone = eigenvalues(&library, &matrix);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..5).map(|_| eigenvalues(&library, &matrix)).collect::<Vec<_>>()))
            .collect();
        for thread in threads {
            assert!(thread.join().expect("no panic").iter().all(|values| *values == alone));
        }
    });
}

#[test]
fn each_call_goes_to_its_part() {
    let Some(library) = library() else { return };
    let parts = Parts { gram: Arc::new(library.clone()), eigenvalues: Arc::new(own()) };
    let w = numbers(90 * 60, 4);
    let product = gram(&parts, &w, 60);
    assert_eq!(product.to_dense(), gram(&library, &w, 60).to_dense());
    assert_eq!(eigenvalues(&parts, &product), eigenvalues(&own(), &product));
    assert!(parts.name().contains("blas") && parts.name().contains("rust"), "{}", parts.name());
}

#[test]
fn what_is_no_library_is_named() {
    let fault = Blas::open("no-such-library.so").unwrap_err();
    assert!(fault.contains("no-such-library.so"), "{fault}");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_heavytail"))
            .args(arguments)
            .env("HEAVYTAIL_BLAS", "no-such-library.so")
            .output()
            .expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for backend in ["blas", "auto"] {
        let (status, message) = run(&["analyze", "--quiet", "--backend", backend]);
        assert_eq!(status, Some(2), "{message}");
        assert!(message.contains("no-such-library.so"), "{message}");
    }
}

/// The demo model by the library, by the calibrated choice and by our own kernels: the same but for the last digits.
#[test]
fn the_program_runs_on_every_backend() {
    let Some(_) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let name = if std::env::var_os("HEAVYTAIL_BLAS").is_some() { "" } else { "libopenblas.so.0" };
    let alphas = |backend: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heavytail"));
        command.args(["analyze", "--quiet", "--format", "csv", "--backend", backend, "--quantizations", "fp16,4bit"]);
        command.env("XDG_CACHE_HOME", folder.path());
        if backend == "auto" && !name.is_empty() {
            command.env("HEAVYTAIL_BLAS", name);
        }
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut table = csv::Reader::from_reader(&output.stdout[..]);
        let column = table.headers().expect("headers").iter().position(|name| name == "alpha").expect("alpha");
        table.records().map(|row| row.expect("a row")[column].parse().expect("a number")).collect::<Vec<f64>>()
    };
    let ours = alphas("rust");
    assert!(ours.len() > 10);
    for backend in ["blas", "auto"] {
        for (a, b) in ours.iter().zip(alphas(backend)) {
            assert!((a - b).abs() < 1e-9 * a, "{a} {b}");
        }
    }
    if cfg!(target_os = "linux") && !name.is_empty() {
        let kept = std::fs::read_to_string(folder.path().join("heavytail/backend.json")).expect("a calibration");
        assert!(kept.contains("libopenblas.so.0"), "{kept}");
    }
}

/// A stack goes to the chosen library too: the same but for the last digits, and not the same digits.
#[test]
fn a_stack_is_the_backends() {
    let Some(_) = library() else { return };
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/weightwatcher/combinations/model.safetensors");
    let numbers = |backend: &str| {
        let arguments =
            ["analyze", model, "--quiet", "--stacked", "--quantizations", "8bit", "--format", "json", "--backend"];
        let output = Command::new(env!("CARGO_BIN_EXE_heavytail"))
            .args(arguments)
            .arg(backend)
            .output()
            .expect("the program starts");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        let rows = report["rows"].as_array().expect("rows");
        let number = |row: &serde_json::Value, column: &str| row[column].as_f64().expect("a number");
        let columns = ["norm", "sv_max", "alpha", "D", "xmin"];
        rows.iter().flat_map(|row| columns.map(|column| number(row, column))).collect::<Vec<f64>>()
    };
    let (ours, theirs) = (numbers("rust"), numbers("blas"));
    assert!(ours.len() == 10 && difference(&ours, &theirs) < 1e-9, "{ours:?} {theirs:?}");
    assert_ne!(ours, theirs);
}
