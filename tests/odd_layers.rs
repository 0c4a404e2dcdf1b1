//! Layers that some number can't be had of, among others of which it can: what is said of both.

mod common;

use std::fs;
use std::path::Path;

use common::{Table, analyse, heavytail};

type Layer<'a> = (&'a str, &'a [usize], Vec<f32>);

fn write(path: &Path, layers: &[Layer]) {
    let tensors: Vec<(&str, &[usize], &[f32])> = layers.iter().map(|(n, s, v)| (*n, *s, v.as_slice())).collect();
    common::write_model(path, &tensors);
}

fn numbers(count: usize, stream: usize) -> Vec<f32> {
    (0..count).map(|place| common::noise(place, stream)).collect()
}

#[test]
fn a_layer_of_zeros_does_not_end_the_ranking_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let shape: &[usize] = &[64, 48];
    let mut layers: Vec<Layer> = vec![
        ("a.weight", shape, numbers(64 * 48, 1)),
        ("b.weight", shape, vec![0.0; 64 * 48]),
        ("c.weight", shape, numbers(64 * 48, 2)),
    ];
    let told = |layers: &[Layer]| {
        write(&file, layers);
        let run =
            heavytail(["analyze", file.to_str().unwrap(), "--quantizations", "fp16,8bit,3bit", "--format", "markdown"]);
        String::from_utf8(run.stdout).unwrap()
    };
    let with = told(&layers);
    assert!(with.contains("By the error of the weights, 8bit damages least"), "{with}");
    assert!(!with.contains("Not ranked"), "{with}");
    layers.remove(1);
    let order =
        |text: &str| text.lines().find(|line| line.contains("Order by mean relative error")).unwrap().to_owned();
    assert_eq!(order(&with), order(&told(&layers)));
}

/// Two bits leave one weight of the layer with the outlier, so that its fit fails: the mean of the others didn't change by that.
#[test]
fn the_change_of_mean_alpha_is_of_the_layers_that_both_levels_have() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("model.safetensors"), folder.path().join("out"));
    let shape: &[usize] = &[64, 48];
    let mut outlier = numbers(64 * 48, 3);
    outlier[100] = 50.0;
    write(
        &file,
        &[
            ("a.weight", shape, numbers(64 * 48, 1)),
            ("b.weight", shape, numbers(64 * 48, 2)),
            ("c.weight", shape, outlier),
        ],
    );
    let change = |options: &[&str]| {
        analyse(&file, &output, &[&["--quantizations", "fp16,2bit"], options].concat());
        let [before, after] = ["fp16", "2bit"].map(|level| Table::read(&output.join(format!("results_{level}.csv"))));
        let comparison: serde_json::Value =
            serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
        let mean = |table: &Table, names: &[&str]| {
            names.iter().map(|name| table.number(name, "alpha").unwrap()).sum::<f64>() / names.len() as f64
        };
        assert_eq!(after.text("c", "status"), "failed");
        let found = comparison["comparison"][1]["alpha_change_percent"].as_f64().unwrap();
        (found, move |names: &[&str]| 100.0 * (mean(&after, names) / mean(&before, names) - 1.0))
    };
    let (found, expected) = change(&[]);
    assert!((found - expected(&["a", "b"])).abs() < 1e-9);
    let (found, expected) = change(&["--compat", "weightwatcher"]);
    assert!((found - expected(&["a", "b", "c"])).abs() < 1e-9, "a failed fit is an alpha of -1 there");
}

#[test]
fn a_stack_that_ends_early_has_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("model.safetensors"), folder.path().join("out"));
    let shape: &[usize] = &[64, 48];
    write(&file, &[("a.weight", shape, numbers(64 * 48, 1)), ("b.weight", shape, vec![0.5; 64 * 48])]);
    analyse(&file, &output, &["--stacked", "--quantizations", "fp16,8bit"]);
    let table = Table::read(&output.join("results_8bit.csv"));
    let row = table.names().next().unwrap().to_owned();
    assert!(table.text(&row, "reason").contains("\"b\""), "{}", table.text(&row, "reason"));
    for column in ["relative_error", "sqnr_db", "nonzero_fraction"] {
        assert_eq!(table.text(&row, column), "", "{column}");
    }
}

#[test]
fn what_is_made_of_several_tensors_has_no_cosine() {
    let folder = tempfile::tempdir().unwrap();
    let [file, base, output] = ["tuned.safetensors", "base.safetensors", "out"].map(|name| folder.path().join(name));
    let shape: &[usize] = &[64, 48];
    write(&file, &[("a.weight", shape, numbers(64 * 48, 1))]);
    write(&base, &[("a.weight", shape, numbers(64 * 48, 2))]);
    analyse(&file, &output, &["--base-model", base.to_str().unwrap(), "--quantizations", "fp16,2bit"]);
    let table = Table::read(&output.join("results_2bit.csv"));
    assert!(table.number("a", "relative_error").unwrap() > 0.5);
    assert_eq!(table.text("a", "cosine"), "");
}

#[test]
fn of_few_eigenvalues_no_change_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("model.safetensors"), folder.path().join("out"));
    let (few, enough): (&[usize], &[usize]) = (&[64, 19], &[64, 20]);
    write(&file, &[("few.weight", few, numbers(64 * 19, 1)), ("enough.weight", enough, numbers(64 * 20, 2))]);
    analyse(&file, &output, &["--trust", "--draws", "20", "--quantizations", "fp16,3bit"]);
    let table = Table::read(&output.join("results_3bit.csv"));
    for column in ["alpha_low", "alpha_high", "delta_alpha_low", "distinguishable"] {
        assert_eq!(table.text("few", column), "", "{column}");
        assert_ne!(table.text("enough", column), "", "{column}");
    }
}

/// Beyond the rank the singular vectors are any: how far they turned says nothing.
#[test]
fn spaces_that_are_not_determined_have_no_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("model.safetensors"), folder.path().join("out"));
    let (left, right) = (numbers(12 * 3, 1), numbers(3 * 10, 2));
    let product = |i: usize| (0..3).map(|k| left[i / 10 * 3 + k] * right[k * 10 + i % 10]).sum();
    let shapes: [&[usize]; 2] = [&[12, 10], &[64, 48]];
    write(
        &file,
        &[
            ("rank3.weight", shapes[0], (0..120).map(product).collect()),
            ("full.weight", shapes[1], numbers(64 * 48, 3)),
        ],
    );
    analyse(&file, &output, &["--errors", "--quantizations", "fp16,8bit"]);
    let table = Table::read(&output.join("results_8bit.csv"));
    for column in ["subspace_left", "subspace_right"] {
        assert_eq!(table.text("rank3", column), "", "{column}");
        assert!(table.number("full", column).unwrap() > 0.9, "{column}");
    }
}
