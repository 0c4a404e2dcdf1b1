//! What quantizing costs, on one thread: as a share of the same matrix's spectrum, and against ggml in the same run.
//!
//!     cargo bench --bench quantizers [-- [NAME ...] [--all] [--ggml] [--shapes=ROWSxCOLS,...]]
//!
//! Without names the common schemes are measured, with `--all` every one. `--ggml` measures GGUF's types instead, beside ggml's
//! own functions, if HEAVYTAIL_PYTHON names a Python with libggml-python; both must give the same bytes. Times are processor
//! time, best of several runs; kernels are chosen by HEAVYTAIL_KERNEL.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use heavytail::cli::speed::{bell, best};
use heavytail::kernel::Kernel;
use heavytail::matrix::Matrix;
use heavytail::powerlaw::fit_weightwatcher;
use heavytail::quant::{Arithmetic, GgmlType, Scheme, schemes};
use heavytail::spectrum::{GramBuilder, SLICE};
use heavytail::tensor::Dtype;

/// A projection of SmolLM2-135M's, one of Qwen2.5-0.5B's, and a square of a model of 1 to 3 billion parameters.
const SHAPES: [[usize; 2]; 3] = [[576, 1536], [896, 4864], [2048, 2048]];

/// Roughly normal weights of standard deviation 0.02.
fn weights([rows, cols]: [usize; 2]) -> Matrix {
    let values = bell(rows * cols, 1).into_iter().map(|v| 0.035 * v).collect();
    Matrix::new(rows, cols, values).expect("as many values as the shape has")
}

/// All of a layer's numbers but the quantizing: Gram product, eigenvalues, power-law fit.
fn spectrum(matrix: &Matrix) -> f64 {
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
    let eigenvalues = gram.finish().eigenvalues(&|| false).expect("eigenvalues");
    fit_weightwatcher(&eigenvalues).expect("a power law").alpha
}

fn shares(chosen: &[Scheme], shapes: &[[usize; 2]]) {
    for shape in shapes {
        let matrix = weights(*shape);
        let [rows, cols] = *shape;
        let whole = best(|| _ = black_box(spectrum(&matrix)));
        println!("\n{rows} x {cols}: spectrum {:.1} ms", 1e3 * whole);
        for scheme in chosen {
            // As the analysis does it: into memory that was not there before.
            let run = || scheme.dequantized(&matrix, Dtype::F32, Arithmetic::Exact, &mut Vec::new());
            let name = scheme.to_string();
            match run() {
                Ok(_) => {
                    let time = best(|| drop(run()));
                    println!(
                        "{name:24} {:9.2} ms {:8.2} ns/weight {:7.1} % of the spectrum",
                        1e3 * time,
                        1e9 * time / (rows * cols) as f64,
                        100.0 * time / whole
                    );
                }
                Err(error) => println!("{name:24} {error}"),
            }
        }
    }
}

/// Seconds that ggml takes for a matrix in a file; its bytes are left beside it.
fn ggml(python: &str, file: &Path, [rows, cols]: [usize; 2], kind: GgmlType) -> f64 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/benches/ggml.py");
    let (rows, cols) = (rows.to_string(), cols.to_string());
    let output = Command::new(python).arg(script).arg(file).args([&rows, &cols, kind.name()]).output().expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds")
}

fn against_ggml(python: &str, shapes: &[[usize; 2]]) {
    let folder = tempfile::tempdir().expect("a folder");
    for shape in shapes {
        let [rows, cols] = *shape;
        // Rows of whole super-blocks.
        let shape = [rows, cols / 256 * 256];
        let matrix = weights(shape);
        let file = folder.path().join("weights");
        let bytes: Vec<u8> = matrix.values().iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(&file, bytes).expect("written");
        println!("\n{} x {}: ns/weight of ours, of ggml, and how many times faster", shape[0], shape[1]);
        for kind in GgmlType::QUANTIZED {
            let run = || Scheme::Ggml(kind).quantized(&matrix, Dtype::F32, Arithmetic::Exact).expect("it fits");
            let theirs = ggml(python, &file, shape, kind);
            let ours = best(|| drop(run()));
            let bytes = std::fs::read(file.with_extension("out")).expect("read");
            assert!(run().is_some_and(|quantized| quantized.codes == bytes), "{}: other bytes", kind.name());
            let per_weight = 1e9 / matrix.values().len() as f64;
            println!("{:8} {:8.2} {:8.2} {:7.2}", kind.name(), ours * per_weight, theirs * per_weight, theirs / ours);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let shapes = arguments.iter().find_map(|argument| argument.strip_prefix("--shapes=")).map(|list| {
        let shape = |text: &str| {
            let (rows, cols) = text.split_once('x')?;
            Some([rows.parse().ok()?, cols.parse().ok()?])
        };
        list.split(',').map(|text| shape(text).expect("--shapes=ROWSxCOLS,...")).collect::<Vec<_>>()
    });
    let shapes = shapes.unwrap_or(SHAPES.to_vec());
    println!("kernel {}", Kernel::from_environment().expect("a known kernel").name());
    if has("--ggml") {
        let python =
            std::env::var("HEAVYTAIL_PYTHON").expect("HEAVYTAIL_PYTHON: a Python with libggml-python and numpy");
        return against_ggml(&python, &shapes);
    }
    let chosen: Vec<Scheme> = if names.is_empty() {
        let rows = schemes().iter().filter(|row| (row.common || has("--all")) && !row.scheme.is_recipe());
        rows.map(|row| row.scheme).collect()
    } else {
        names.iter().map(|name| name.parse().expect("a scheme")).collect()
    };
    shares(&chosen, &shapes);
}
