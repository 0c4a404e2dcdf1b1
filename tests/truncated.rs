//! Truncated power laws against `WeightWatcher` and the `powerlaw` package 1.5, which `tests/reference/truncated.py` asked for its
//! fits at single values of xmin.
//!
//! The package searches with Nelder and Mead's method, which stops when the corners of its simplex are within 1e-4 of each other in
//! both parameters and in the likelihood. On most tails that is at the maximum; on some it is not, and as xmin is chosen by the
//! distances of these fits, the tool then has another xmin.

mod common;

use std::fs;

use common::{Table, analyse, data, model};
use heavytail::powerlaw::{TruncatedFit, fit_truncated};
use heavytail::spectrum::GramBuilder;
use serde_json::Value;

/// Layers and lengths of the tails on which the tool stops early, with how much it falls short in the logarithm of the likelihood.
const STOPS_EARLY: [(&str, f64, f64); 2] =
    [("encoder.layer.0.attention.self.key", 178.0, 2.8e-3), ("encoder.layer.0.output.dense", 229.0, 3.1)];

fn run(options: &[&str]) -> Table {
    let output = tempfile::tempdir().unwrap();
    let options = [&["--compat", "weightwatcher", "--quantizations", "fp16"], options].concat();
    analyse(&model("minilm-l6-v2-f32"), output.path(), &options);
    Table::read(&output.path().join("details.csv"))
}

fn weights() -> Vec<u8> {
    fs::read(model("minilm-l6-v2-f32").join("model.safetensors")).unwrap()
}

fn eigenvalues(bytes: &[u8], name: &str) -> Vec<f64> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let tensor = tensors.tensor(&format!("{name}.weight")).unwrap();
    let values: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let (rows, cols) = (tensor.shape()[0], tensor.shape()[1]);
    let mut gram = GramBuilder::new(rows.min(cols));
    if rows >= cols {
        gram.push(&values, rows);
    } else {
        gram.push_columns(&values, cols, cols);
    }
    gram.finish().eigenvalues(&|| false).unwrap()
}

/// The integral of the law's density but for its factor, in `u = ln(x / xmin)`, by Simpson's rule.
fn integral((alpha, lambda, xmin): (f64, f64, f64), from: f64, to: f64, steps: usize) -> f64 {
    let width = (to - from) / steps as f64;
    let weight = |i: usize| if i == 0 || i == steps { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
    let value = |u: f64| ((1.0 - alpha) * u - lambda * xmin * u.exp_m1()).exp();
    (0..=steps).map(|i| weight(i) * value(from + i as f64 * width)).sum::<f64>() * width / 3.0
}

/// Logarithm of the likelihood of a truncated power law on a tail, and its Kolmogorov-Smirnov distance: the largest difference of
/// the law below a value and the share of the values below it.
fn judged(tail: &[f64], alpha: f64, lambda: f64) -> (f64, f64) {
    let law = (alpha, lambda, tail[0]);
    let place: Vec<f64> = tail.iter().map(|x| (x / tail[0]).ln()).collect();
    let exponent = |u: f64| (1.0 - alpha) * u - lambda * tail[0] * u.exp_m1();
    let mut end = 1.0;
    while exponent(end) > -45.0 {
        end *= 1.5;
    }
    let whole = integral(law, 0.0, end, 200_000);
    // In u, whose density is x times that of x.
    let likelihood = tail.iter().zip(&place).map(|(x, u)| exponent(*u) - whole.ln() - x.ln()).sum();
    let (mut below, mut distance) = (0.0, 0.0_f64);
    for (i, pair) in place.windows(2).enumerate() {
        below += integral(law, pair[0], pair[1], 64) / whole;
        distance = distance.max((below - (i + 1) as f64 / tail.len() as f64).abs());
    }
    (likelihood, distance)
}

fn tail(values: &[f64], count: f64) -> &[f64] {
    &values[values.len() - count as usize..]
}

/// The fit at one xmin.
fn fit_at(values: &[f64], xmin: f64) -> TruncatedFit {
    fit_truncated(values, xmin, xmin).unwrap()
}

/// What is maximised, and what the distance is, are the package's; our parameters are the maximum, and the package's are within its
/// 1e-4 of them, but where it stops early.
#[test]
fn fits_at_single_values_of_xmin() {
    let path = data("weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/truncated.json");
    let theirs: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let bytes = weights();
    let mut early = Vec::new();
    for (name, rows) in theirs.as_object().unwrap() {
        let values = eigenvalues(&bytes, name);
        for row in rows.as_array().unwrap() {
            let number = |column: &str| row[column].as_f64().unwrap();
            let (count, alpha, lambda) = (number("tail_len"), number("alpha"), number("Lambda"));
            let tail = tail(&values, count);
            assert!((tail[0] / number("xmin") - 1.0).abs() < 1e-11, "{name} {count}");
            let (likelihood, distance) = judged(tail, alpha, lambda);
            // The package's integral is mpmath's; both are good to 1e-9 a value.
            assert!((likelihood - number("log_likelihood")).abs() < 1e-8 * count, "{name} {count}: {likelihood}");
            assert!(
                (distance - number("D")).abs() < 1e-8,
                "{name} {count}: {distance}, the package has {}",
                number("D")
            );

            let ours = fit_at(&values, tail[0]);
            let (own, own_distance) = judged(tail, ours.alpha, ours.lambda);
            assert!((ours.ks_distance - own_distance).abs() < 1e-8, "{name} {count}: {own_distance} {ours:?}");
            assert!(own - likelihood > -1e-9 * count, "{name} {count}: {own}, the package has {likelihood}");
            let is_close = (ours.alpha - alpha).abs() < 1e-4 && (ours.lambda - lambda).abs() < 1e-4;
            if !is_close {
                early.push((name.clone(), count, own - likelihood));
            }
        }
    }
    assert_eq!(early.len(), STOPS_EARLY.len(), "{early:?}");
    for ((name, count, lead), expected) in early.iter().zip(STOPS_EARLY) {
        assert_eq!((name.as_str(), *count), (expected.0, expected.1));
        assert!((lead / expected.2 - 1.0).abs() < 0.05, "{name}: {lead}");
    }
}

/// The tool's tables: the same xmin, tail, D and Lambda, but where its choice rests on a fit that stopped early. There the maximum on
/// the tool's tail is farther from the data than ours.
#[test]
fn the_tools_choice_of_xmin() {
    let bytes = weights();
    let mut other = Vec::new();
    for (fit, layers) in [("TPL", "5,6,7"), ("E_TPL", "5,6,7,8,9,11")] {
        let ours = run(&["--fit", fit, "--layers", layers]);
        let path = format!("weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/variant.{fit}_powerlaw_layers.details.csv");
        let theirs = Table::read(&data(&path));
        assert_eq!(ours.names().collect::<Vec<_>>(), theirs.names().collect::<Vec<_>>());
        for name in theirs.names() {
            let pair = |column: &str| (ours.number(name, column).unwrap(), theirs.number(name, column).unwrap());
            let (own, tool) = pair("num_pl_spikes");
            if let Some((_, count, _)) = STOPS_EARLY.into_iter().find(|(layer, ..)| *layer == name) {
                let values = eigenvalues(&bytes, name);
                assert_eq!(tool, count, "{fit} {name}");
                let at_tools = fit_at(&values, tail(&values, tool)[0]).ks_distance;
                let chosen = ours.number(name, "D").unwrap();
                assert!((fit_at(&values, tail(&values, own)[0]).ks_distance - chosen).abs() < 1e-9, "{fit} {name}");
                assert!(chosen < at_tools, "{fit} {name}: {chosen} {at_tools}");
                assert!(theirs.number(name, "D").unwrap() < chosen, "{fit} {name}");
                other.push(name.to_owned());
                continue;
            }
            assert_eq!(own, tool, "{fit} {name}");
            let (own, tool) = pair("xmin");
            assert!((own / tool - 1.0).abs() < 1e-11, "{fit} {name}: xmin {own}, the tool's {tool}");
            for column in ["alpha", "Lambda"] {
                let (own, tool) = pair(column);
                assert!((own - tool).abs() < 1e-4, "{fit} {name}: {column} {own}, the tool's {tool}");
            }
            // What 1e-4 in Lambda can move a law that falls as exp(-Lambda x): at most 1e-4 / (e Lambda).
            let (own, tool) = pair("D");
            let reach = 1e-4 / (std::f64::consts::E * pair("Lambda").1);
            assert!((own - tool).abs() < reach.min(1e-3), "{fit} {name}: D {own}, the tool's {tool}");
        }
    }
    assert_eq!(other.len(), 3, "{other:?}");
}
