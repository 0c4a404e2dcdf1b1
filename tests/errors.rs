//! The measures of error against numpy and scipy (`tests/reference/errors.py`), through the program.

mod common;

use std::fs;

use safetensors::SafeTensors;

#[test]
fn every_measure_equals_numpys() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: serde_json::Value = serde_json::from_slice(&fs::read(common::data("errors.json")).unwrap()).unwrap();
    let bytes = fs::read(common::data("seed_quantization/inputs.safetensors")).unwrap();
    let inputs = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, levels) in numbers["inputs"].as_object().unwrap() {
        let view = inputs.tensor(name).unwrap();
        let weights: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let model = folder.path().join("model.safetensors");
        common::write_model(&model, &[("layer.weight", view.shape(), &weights)]);
        common::analyse(&model, folder.path(), &["--quantizations", "8bit,4bit,2bit", "--errors"]);
        for (level, expected) in levels.as_object().unwrap() {
            let table = common::Table::read(&folder.path().join(format!("results_{level}.csv")));
            for (column, expected) in expected.as_object().unwrap() {
                let ours = table.number("layer", column);
                assert_eq!(
                    ours.is_some(),
                    expected.is_number(),
                    "{name} {level} {column}: {ours:?}, numpy has {expected}"
                );
                let Some((ours, theirs)) = ours.zip(expected.as_f64()) else { continue };
                let tolerance = match column.as_str() {
                    "distinct_values" | "num_above_noise" => 0.0,
                    // Eigenvalues of the Gram matrix are right to 1e-14 of the largest, so the smallest of 384 to 1e-6 or so.
                    // Vectors are right to 1e-11 over the gap to the eleventh singular value, at least 1e-4 of the largest.
                    "log_wasserstein" | "subspace_left" | "subspace_right" => 1e-7,
                    // Sums and products of f64, in another order.
                    "max_error" | "cosine" | "noise_edge" => 1e-12,
                    _ => 1e-9,
                };
                let error = (ours - theirs).abs() / theirs.abs().max(f64::MIN_POSITIVE);
                assert!(error <= tolerance, "{name} {level} {column}: {ours}, numpy has {theirs}");
                compared += 1;
            }
        }
    }
    // Of a t-distributed matrix 2 bits leave single weights, whose singular values are all the same.
    assert_eq!(compared, 3 * 3 * 9 - 2);
}

#[test]
fn the_baseline_has_no_error_and_groups_have_their_own_steps() {
    let folder = tempfile::tempdir().unwrap();
    let weights: Vec<f32> = (0..64 * 128).map(|i: i32| ((i * 7919) % 2003 - 1001) as f32 / 1001.0).collect();
    let model = folder.path().join("model.safetensors");
    common::write_model(&model, &[("layer.weight", &[64, 128], &weights)]);
    common::analyse(&model, folder.path(), &["--quantizations", "int4-g64,nf4,4bit", "--errors"]);
    let number = |level: &str, column: &str| {
        common::Table::read(&folder.path().join(format!("results_{level}.csv"))).number("layer", column)
    };
    assert_eq!(number("fp16", "max_error"), Some(0.0));
    assert_eq!(number("fp16", "cosine"), Some(1.0));
    assert_eq!(number("fp16", "distinct_values"), Some(2003.0));
    // One step for all weights, the largest 1.0: 1 / 7. A group's is at most that.
    let reach = (64_f64.sqrt() + 128_f64.sqrt()).powi(2);
    let step = (number("4bit", "noise_edge").unwrap() * 12.0 / reach).sqrt();
    assert!((step - 1.0 / 7.0).abs() < 1e-8, "{step}");
    let group = (number("int4-g64", "noise_edge").unwrap() * 12.0 / reach).sqrt();
    assert!(group < step && group > 0.9 * step, "{group} {step}");
    // NF4 has no step: the edge comes from the error itself, as the relative error does.
    let norm: f64 = weights.iter().map(|w| f64::from(*w).powi(2)).sum();
    let variance = number("nf4", "relative_error").unwrap().powi(2) * norm / (64.0 * 128.0);
    let edge = number("nf4", "noise_edge").unwrap();
    assert!((edge / (variance * reach) - 1.0).abs() < 1e-12, "{edge}");
}

/// The largest error in the units of the weights, and as a share of the largest of them.
#[test]
fn the_largest_error_has_two_names() {
    let folder = tempfile::tempdir().unwrap();
    // The largest weight is -1/4.
    let weights: Vec<f32> = (0..64 * 128).map(|i: i32| ((i * 7919) % 2003 - 1001) as f32 / 4004.0).collect();
    let [model, quantized] = ["model", "quantized"].map(|name| folder.path().join(format!("{name}.safetensors")));
    common::write_model(&model, &[("layer.weight", &[64, 128], &weights)]);
    common::analyse(&model, folder.path(), &["--quantizations", "q4_0", "--errors"]);
    let table = common::Table::read(&folder.path().join("results_q4_0.csv"));
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let output = common::heavytail(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    run(&["quantize", &text(&model), "--scheme", "q4_0", "-o", &text(&quantized)]);
    let report = run(&["compare", &text(&model), &text(&quantized), "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let share = report["pairs"][0]["max_error_share"].as_f64().unwrap();
    let largest = table.number("layer", "max_error").unwrap();
    // Up to a step of a block of 32, an eighth of its largest weight: the largest code is 7. Both are differences of f32.
    assert!((1e-2..3.2e-2).contains(&largest), "{largest}");
    assert!((share * 0.25 / largest - 1.0).abs() < 1e-6, "{share} {largest}");
}
