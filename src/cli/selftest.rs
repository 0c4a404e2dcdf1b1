//! `heavytail selftest`: the numerical core against embedded references, on every kernel this machine has.

use std::process::ExitCode;

use serde::Deserialize;

use super::backend::{BackendArg, choose, default_threads, measure};
use super::describe::table;
use super::{Failure, print, speed};
use crate::error::{Error, Result};
use crate::kernel::{Blas, Kernel};
use crate::matrix::Matrix;
use crate::spectrum::backend::{Backend, Own};
use crate::spectrum::eigen::tiled_eigenvalues;
use crate::spectrum::library::Library;
use crate::spectrum::singular::staged_singular_values;
use crate::spectrum::{CodeGramBuilder, GramBuilder};

/// Allowed error, relative to the largest value. LAPACK's own errors are of the order of 1e-15.
const BOUND: f64 = 1e-13;

/// LAPACK's values of matrices given by a formula: `tests/reference/selftest.py`.
const REFERENCES: &str = include_str!("selftest.json");

/// A matrix of whole numbers in -125 ..= 125 and its spectra by LAPACK.
#[derive(Deserialize)]
struct Reference {
    name: String,
    rows: usize,
    cols: usize,
    /// Element (i, j) is ((p i + q j + r i j + s j^2) mod 251) - 125; rows and columns repeat after `period`.
    factors: [usize; 4],
    period: usize,
    /// Of W^T W, ascending, by dsyevd.
    eigenvalues: Vec<f64>,
    /// Ascending, by dgesdd.
    singular_values: Vec<f64>,
}

impl Reference {
    /// The codes, row-major, columns not more than rows.
    fn codes(&self) -> Vec<i8> {
        let [p, q, r, s] = self.factors;
        let element = |at: usize| {
            let (i, j) = (at / self.cols % self.period, at % self.cols % self.period);
            ((p * i + q * j + r * i * j + s * j * j) % 251) as i16 - 125
        };
        (0..self.rows * self.cols).map(|at| element(at) as i8).collect()
    }
}

/// What one kernel computes of one reference.
#[derive(PartialEq)]
struct Computed {
    gram: Vec<f64>,
    eigenvalues: Vec<f64>,
    singular_values: Vec<f64>,
}

fn compute(kernel: Kernel, reference: &Reference, codes: &[i8]) -> Result<(Computed, bool)> {
    let numeric = |error: crate::spectrum::eigen::EigenError| Error::Numeric(error.to_string());
    let values: Vec<f32> = codes.iter().map(|code| f32::from(*code)).collect();
    let mut gram = GramBuilder::with_kernel(kernel, reference.cols);
    gram.push(&values, reference.rows);
    let tiles = gram.finish();
    let mut of_codes = CodeGramBuilder::with_kernel(kernel, reference.cols);
    of_codes.push(codes, reference.rows);
    // Codes to 6 bits have kernels of their own.
    let narrow: Vec<i8> = codes.iter().map(|code| code / 4).collect();
    let mut of_narrow = CodeGramBuilder::with_largest(kernel, reference.cols, 32);
    of_narrow.push(&narrow, reference.rows);
    // Sums of whole numbers are exact, in floats and in integers.
    let gram = tiles.to_dense();
    let is_exact = gram == exact_gram(codes, reference.cols)
        && of_codes.finish().to_dense() == gram
        && of_narrow.finish().to_dense() == exact_gram(&narrow, reference.cols);
    let eigenvalues = tiled_eigenvalues(kernel, tiles, &|| false).map_err(numeric)?;
    let matrix = Matrix::new(reference.rows, reference.cols, values)?;
    let singular_values = staged_singular_values(kernel, &matrix, None, &|| false, &mut |_| ()).map_err(numeric)?;
    Ok((Computed { gram, eigenvalues, singular_values }, is_exact))
}

fn exact_gram(codes: &[i8], n: usize) -> Vec<f64> {
    let mut gram = vec![0i64; n * n];
    for row in codes.chunks_exact(n) {
        for (line, x) in gram.chunks_exact_mut(n).zip(row) {
            for (to, y) in line.iter_mut().zip(row) {
                *to += i64::from(*x) * i64::from(*y);
            }
        }
    }
    gram.into_iter().map(|x| x as f64).collect()
}

/// Largest error relative to the largest expected value; infinite for another number of values or NaN.
fn error(values: &[f64], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |max, x| max.max(x.abs()));
    if values.len() != expected.len() {
        return f64::INFINITY;
    }
    values
        .iter()
        .zip(expected)
        .map(|(x, y)| (x - y).abs() / scale)
        .fold(0.0, |max, x| if x.is_nan() { f64::INFINITY } else { x.max(max) })
}

/// The backends on one thread: their errors and rates.
fn backends(references: &[Reference], faults: &mut Vec<String>) -> Result<impl std::fmt::Display> {
    let mut view = table(&["backend", "eigenvalues", "Gram products", "Gram GF/s", "eigenvalues GF/s"]);
    let mut add = |backend: &dyn Backend| -> Result<()> {
        let (mut worst, mut are_exact) = (0.0f64, true);
        for reference in references {
            let codes = reference.codes();
            let values: Vec<f32> = codes.iter().map(|code| f32::from(*code)).collect();
            let mut gram = backend.gram(reference.cols);
            gram.push(&values, reference.rows);
            let product = gram.finish();
            are_exact &= product.to_dense() == exact_gram(&codes, reference.cols);
            let values = backend.eigenvalues(product, &|| false).map_err(|e| Error::Numeric(e.to_string()))?;
            worst = worst.max(error(&values, &reference.eigenvalues));
        }
        if !are_exact || worst > BOUND {
            faults.push(format!(
                "backend {}: eigenvalues are off by {worst:.1e}, Gram products exact: {are_exact}",
                backend.name()
            ));
        }
        let rates = measure(backend, 1);
        view.add_row([
            backend.name(),
            format!("{worst:.1e}"),
            if are_exact { "exact".to_owned() } else { "WRONG".to_owned() },
            format!("{:.1}", rates.gram),
            format!("{:.1}", rates.eigenvalues),
        ]);
        Ok(())
    };
    add(&Own(Kernel::selected()))?;
    match Blas::find() {
        Ok(blas) => add(&Library::new(blas))?,
        Err(fault) => {
            view.add_row(["blas".to_owned(), format!("no library: {fault}")]);
        }
    }
    Ok(view)
}

pub(super) fn run() -> Result<ExitCode, Failure> {
    let references: Vec<Reference> = serde_json::from_str(REFERENCES)
        .map_err(|e| Error::Numeric(format!("the embedded references can't be read: {e}")))?;
    let kernels = Kernel::available();
    print(&format!(
        "kernel chosen: {} (available: {})\n",
        Kernel::selected().name(),
        kernels.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", ")
    ))?;
    let twin = Kernel::by_name("scalar-fused").map_err(|e| Error::Options(e.to_string()))?;
    let mut view =
        table(&["kernel", "eigenvalues", "singular values", "Gram products", "same bits as the twin", "GF/s"]);
    let mut faults = Vec::new();
    for &kernel in &kernels {
        let (mut eigen, mut singular) = (0.0f64, 0.0f64);
        let (mut grams, mut bits) = (true, true);
        for reference in &references {
            let codes = reference.codes();
            let (computed, is_exact) = compute(kernel, reference, &codes)?;
            let errors = [
                (&computed.eigenvalues, &reference.eigenvalues),
                (&computed.singular_values, &reference.singular_values),
            ]
            .map(|(values, expected)| error(values, expected));
            eigen = eigen.max(errors[0]);
            singular = singular.max(errors[1]);
            grams &= is_exact;
            let is_twin = !kernel.is_fused() || compute(twin, reference, &codes)?.0 == computed;
            bits &= is_twin;
            let mut fault = |what: &str| faults.push(format!("{} on {}: {what}", kernel.name(), reference.name));
            for (what, error) in ["eigenvalues", "singular values"].iter().zip(errors) {
                if error > BOUND {
                    fault(&format!("{what} are off by {error:.1e} of the largest, more than {BOUND:.0e}"));
                }
            }
            if !is_exact {
                fault("a Gram product of whole numbers is not exact");
            }
            if !is_twin {
                fault("the bits differ from those of the portable twin");
            }
        }
        let word = |fine: bool, yes: &str| if fine { yes.to_owned() } else { "WRONG".to_owned() };
        view.add_row([
            kernel.name().to_owned(),
            format!("{eigen:.1e}"),
            format!("{singular:.1e}"),
            word(grams, "exact"),
            if kernel.is_fused() { word(bits, "yes") } else { "rounds twice".to_owned() },
            format!("{:.1}", speed::peak(kernel)),
        ]);
    }
    print(&format!("{view}\n"))?;
    let choice = choose(BackendArg::Auto, default_threads())?;
    print(&format!("backend chosen: {} ({})\n", choice.backend.name(), choice.reason))?;
    print(&format!("{}\n", backends(&references, &mut faults)?))?;
    print(&format!("Errors are relative to the largest value, against LAPACK; up to {BOUND:.0e} is fine.\n"))?;
    if faults.is_empty() {
        print(&format!("passed: {} matrices on {} kernels\n", references.len(), kernels.len()))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("FAILED:\n  {}\n", faults.join("\n  ")))?;
    Ok(ExitCode::FAILURE)
}
