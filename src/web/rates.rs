//! Times of the numerical core inside a browser, for `tests/benches/page`. Only in builds with the feature `rates`.

use js_sys::Float64Array;
use wasm_bindgen::prelude::*;

use super::to_error;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Strided};
use crate::spectrum::eigen::{Stage, band_width, staged_eigenvalues};
use crate::spectrum::{CodeGramBuilder, CodePanel, GramBuilder};

#[wasm_bindgen]
extern "C" {
    /// Milliseconds.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// Shortest run, in seconds, of at least three and about a second in all.
fn best(mut run: impl FnMut()) -> f64 {
    let (mut best, mut total, mut count) = (f64::INFINITY, 0.0, 0);
    while count < 3 || total < 1.0 {
        let start = now();
        run();
        let time = 1e-3 * (now() - start);
        (best, total, count) = (best.min(time), total + time, count + 1);
    }
    best
}

/// Numbers in (-2, 2) in the shape of a bell.
fn bell(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() + next() + next() + next()).collect()
}

/// Seconds of a product of doubles that stays in the first-level cache, of 2 * 24 * 24 * 256 flops.
#[wasm_bindgen]
pub fn peak_seconds() -> f64 {
    const ROUNDS: usize = 200;
    let (a, b, mut c) = (vec![1e-3; 24 * 256], vec![1e-3; 24 * 256], vec![0.0; 24 * 24]);
    let run = || {
        for _ in 0..ROUNDS {
            let a = Strided { data: &a, row_step: 1, depth_step: 24 };
            Kernel::selected().gemm([24, 24, 256], a, Rows::new(&b, 24), &mut c, 24);
        }
    };
    best(run) / ROUNDS as f64
}

/// Seconds of the Gram product of a matrix \[m, n\] of f32.
#[wasm_bindgen]
pub fn gram_seconds(m: usize, n: usize) -> f64 {
    let w = bell(m * n);
    best(|| {
        let mut gram = GramBuilder::new(n);
        gram.push(&w, m);
        gram.finish();
    })
}

/// Seconds of the Gram product of codes \[m, n\] of so many bits; with residues in one of `every` places for them, whole
/// columns where 2 `every` divides n (0: no residues).
#[wasm_bindgen]
pub fn codes_seconds(m: usize, n: usize, bits: u8, every: usize) -> f64 {
    let largest = 1 << (bits - 1);
    // Not over the largest.
    let codes: Vec<i8> = bell(m * n).iter().map(|w| (0.48 * f32::from(largest) * w) as i8).collect();
    let residues: Vec<i8> =
        codes.iter().enumerate().map(|(i, code)| if i.is_multiple_of(2 * every) { code / 2 } else { 0 }).collect();
    best(|| {
        let mut gram = CodeGramBuilder::with_largest(Kernel::selected(), n, largest);
        gram.push_panel(CodePanel::rows(&codes, n), (every > 0).then_some(&residues), m);
        gram.finish_split(1.0, 1e-7);
    })
}

/// Seconds of the eigenvalues of a Gram matrix of order n: until the band, the tridiagonal form and the values are there.
///
/// # Errors
/// None in practice: the matrix is finite.
#[wasm_bindgen]
pub fn eigenvalue_seconds(n: usize) -> std::result::Result<Float64Array, JsValue> {
    let m = n + n / 4;
    let mut gram = GramBuilder::new(n);
    gram.push(&bell(m * n), m);
    let tiles = gram.finish();
    let mut least = [f64::INFINITY; 3];
    let mut outcome: Result<()> = Ok(());
    best(|| {
        let tiles = tiles.clone();
        let start = now();
        let mut at = [0.0; 3];
        let result = staged_eigenvalues(Kernel::selected(), tiles, band_width(n), &|| false, &mut |stage| {
            at[match stage {
                Stage::Band => 0,
                Stage::Chase => 1,
                Stage::Tridiagonal => 2,
            }] = 1e-3 * (now() - start);
        });
        if let Err(error) = result {
            outcome = Err(Error::Numeric(error.to_string()));
        } else if at[2] < least[2] {
            least = at;
        }
    });
    outcome.map(|()| Float64Array::from(&least[..])).map_err(|error| to_error(&error))
}
