//! The module inside a browser: in a dedicated worker, with a pool of three threads.

#![cfg(target_arch = "wasm32")]

use std::collections::HashMap;

use heavytail::analysis::{Analysis, Limits, Next, Options};
use heavytail::format::{ModelBuilder, header_len, parse_header};
use heavytail::kernel::Kernel;
use heavytail::progress::Cancellation;
use heavytail::report::{ModelReport, RunStatus, Status};
use heavytail::spectrum::{CodeGramBuilder, CodePanel};
use safetensors::{Dtype, tensor::TensorView};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const DEMO: &[u8] = include_bytes!("../www/demo/demo.safetensors");

/// A model file with one tensor of small whole numbers, which every level but the coarsest keeps apart.
fn small_model() -> Vec<u8> {
    let values: Vec<f32> = (0..40 * 30).map(|i: i32| ((i * 7919) % 101 - 50) as f32).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![40, 30], &bytes).unwrap();
    safetensors::serialize([("layer.0.weight", view)], None::<HashMap<String, String>>).unwrap()
}

fn analyse(file: &[u8], threads: usize) -> ModelReport {
    let len = header_len("m.safetensors", file.len() as u64, &file[..8]).unwrap() as usize;
    let mut builder = ModelBuilder::default();
    builder
        .add_file(
            "m.safetensors",
            file.len() as u64,
            parse_header("m.safetensors", file.len() as u64, &file[8..8 + len]).unwrap(),
        )
        .unwrap();
    let limits = Limits { threads, memory: 1 << 30, hard_limit: 1 << 31 };
    let mut run =
        Analysis::new(builder.finish().unwrap(), Options::default(), limits, Cancellation::default()).unwrap();
    loop {
        match run.next_step() {
            Next::Read(layer) => {
                let tensor = &run.source(layer).info;
                let bytes = file[tensor.begin as usize..tensor.end as usize].to_vec();
                let work = run.task(layer, bytes);
                if threads > 1 { rayon::spawn(work) } else { work() }
            }
            // There is no clock to wait by in a worker.
            Next::Wait => drop(run.take_finished(std::time::Duration::ZERO)),
            Next::Done => return run.report(RunStatus::Complete),
        }
    }
}

#[wasm_bindgen_test]
async fn a_pool_of_three_threads_and_none_give_the_same_report() {
    // First: anything that uses rayon before would leave it with one thread for good.
    JsFuture::from(heavytail::web::init_thread_pool(3)).await.unwrap();
    assert_eq!(rayon::current_num_threads(), 3);
    let alone = analyse(&small_model(), 1);
    let together = analyse(&small_model(), 3);
    assert_eq!(alone, together);
    assert_eq!(alone.rows.len(), 6);
    assert!(alone.rows.iter().all(|row| row.status == Status::Success), "{:?}", alone.rows);
    // The squared Frobenius norm of whole numbers is exact, so is the trace of its Gram matrix but for rounding.
    let norm: f64 = (0..40 * 30).map(|i: i32| f64::from((i * 7919) % 101 - 50).powi(2)).sum();
    assert!((alone.rows[0].norm.0.unwrap() / norm - 1.0).abs() < 1e-13);
    // The pool can be started once: what else needs it runs in the same test.
    let demo = analyse(DEMO, 3);
    assert_eq!(demo.comparison[0].num_layers, 12);
    assert_eq!(demo.comparison[0].failed, 0);
    products_of_codes_are_exact();
}

#[wasm_bindgen_test]
fn errors_carry_their_code_as_name() {
    let mut model = heavytail::web::Model::new();
    model.add_file("x.safetensors", 0.0);
    let error = model.give(&[]).unwrap_err();
    let error: &js_sys::Error = error.dyn_ref().unwrap();
    assert_eq!(String::from(error.name()), "format");
    assert!(String::from(error.message()).contains("is empty"));
}

/// The kernels of codes, at the sizes where sums of 16 bits hold the fewest products and the most, against plain sums.
fn products_of_codes_are_exact() {
    let (m, n) = (1030, 50);
    for largest in [128_u8, 33, 32, 7, 1] {
        let (lowest, highest) = (-i32::from(largest), i32::from(largest.min(127)));
        let code = |i: usize| match i % n % 4 {
            1 => lowest as i8,
            3 => highest as i8,
            _ => (lowest + ((i * 7919 + i * i % 613) % (highest - lowest + 1) as usize) as i32) as i8,
        };
        let codes: Vec<i8> = (0..m * n).map(code).collect();
        for one_in in [1, 29] {
            let residue = |i: usize| if i.is_multiple_of(one_in) { code(i + 2) / 2 } else { 0 };
            let residues: Vec<i8> = (0..m * n).map(residue).collect();
            let mut gram = CodeGramBuilder::with_largest(Kernel::selected(), n, largest);
            gram.push_panel(CodePanel::rows(&codes, n), Some(&residues), m);
            let product = |a: &[i8], b: &[i8], i: usize, j: usize| -> i64 {
                (0..m).map(|k| i64::from(a[k * n + i]) * i64::from(b[k * n + j])).sum()
            };
            let expected = (0..n * n).map(|ij| (ij / n, ij % n)).map(|(i, j)| {
                let mixed = product(&codes, &residues, i, j) + product(&residues, &codes, i, j);
                product(&codes, &codes, i, j) as f64 + 0.5 * mixed as f64
            });
            assert_eq!(
                gram.finish_split(1.0, 0.5).to_dense(),
                expected.collect::<Vec<_>>(),
                "{largest}, 1 in {one_in}"
            );
        }
    }
}
