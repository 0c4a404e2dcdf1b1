//! Equal to `WeightWatcher`: its own tables of real models and of awkward small matrices (`tests/data/README.md`).

mod common;

use std::fs;

use common::{Table, analyse, data, model};

/// How a column is compared, and why no tighter.
enum Tolerance {
    /// Texts and counts.
    Equal,
    Absolute(f64),
    Relative(f64),
    /// Equal, but where eigenvalues equal to xmin decide. There `WeightWatcher` counts those that LAPACK's rounding
    /// happened to leave at or above xmin, at least the tail of its fit; we count them all: see [`assert_ties`].
    TailLength,
    /// Relative, but singular values of a rank-deficient matrix are rounding noise below this share of the largest.
    RelativeAbove(f64, f64),
}

/// Both sides work in f64 with different factorizations, which shows as some 1e-12 in alpha and 1e-13 elsewhere: a hundred times
/// that, for processors with other kernels.
const FIT: &[(&str, Tolerance)] = &[
    ("alpha", Tolerance::Absolute(1e-9)),
    ("D", Tolerance::Absolute(1e-11)),
    ("num_pl_spikes", Tolerance::TailLength),
    ("alpha_weighted", Tolerance::Relative(1e-9)),
    ("warning", Tolerance::Equal),
    ("status", Tolerance::Equal),
];
const NORMS: &[(&str, Tolerance)] = &[
    ("log_norm", Tolerance::Relative(1e-11)),
    ("log_spectral_norm", Tolerance::Relative(1e-11)),
    ("stable_rank", Tolerance::Relative(1e-11)),
    ("num_evals", Tolerance::Equal),
    ("N", Tolerance::Equal),
    ("M", Tolerance::Equal),
    ("rf", Tolerance::Equal),
    ("layer_type", Tolerance::Equal),
];
const REST: &[(&str, Tolerance)] = &[
    ("sigma", Tolerance::Absolute(1e-9)),
    ("xmin", Tolerance::Relative(1e-11)),
    ("xmax", Tolerance::Relative(1e-11)),
    ("lambda_max", Tolerance::Relative(1e-11)),
    ("norm", Tolerance::Relative(1e-11)),
    ("spectral_norm", Tolerance::Relative(1e-11)),
    // Of a failed fit the sum of reciprocals, which the smallest eigenvalue decides; a Gram matrix knows it to some 1e-7.
    ("log_alpha_norm", Tolerance::Relative(1e-6)),
    ("Q", Tolerance::Relative(1e-15)),
    ("has_esd", Tolerance::Equal),
];
/// Of a model in a file: the tables of quantized weights were made from weights in memory, whose ids count other tensors too.
const IDS: &[(&str, Tolerance)] = &[("layer_id", Tolerance::Equal), ("longname", Tolerance::Equal)];
const RANKS: &[(&str, Tolerance)] = &[
    ("matrix_rank", Tolerance::Equal),
    ("rank_loss", Tolerance::Equal),
    ("weak_rank_loss", Tolerance::Equal),
    ("entropy", Tolerance::Relative(1e-9)),
    ("sv_max", Tolerance::Relative(1e-9)),
    ("sv_min", Tolerance::RelativeAbove(1e-9, 1e-12)),
];

/// All differences between two tables, over the rows of `theirs` that `wanted` keeps.
fn differences(
    ours: &Table,
    theirs: &Table,
    columns: &[&[(&str, Tolerance)]],
    wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut compared = 0;
    for name in theirs.names().filter(|name| wanted(name)) {
        compared += 1;
        for (column, tolerance) in columns.iter().copied().flatten() {
            let (a, b) = (ours.text(name, column), theirs.text(name, column));
            let numbers = || ours.number(name, column).zip(theirs.number(name, column));
            let close = |bound: &dyn Fn(f64, f64) -> f64| match numbers() {
                Some((a, b)) => a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound(a, b),
                None => a == b,
            };
            let fine = match tolerance {
                Tolerance::Equal => a == b || numbers().is_some_and(|(a, b)| a == b),
                Tolerance::Absolute(bound) => close(&|_, _| *bound),
                Tolerance::Relative(bound) => close(&|_, b| bound * b.abs()),
                Tolerance::TailLength => a == b || counts_ties(ours, theirs, name),
                Tolerance::RelativeAbove(bound, floor) => {
                    let largest = theirs.number(name, "sv_max").unwrap_or(0.0);
                    close(&|_, b| (bound * b.abs()).max(floor * largest))
                }
            };
            if !fine {
                found.push(format!("{name}: {column} = {a}, WeightWatcher has {b}"));
            }
        }
    }
    assert!(compared > 0, "no row was compared");
    found
}

/// The tails begin at the same eigenvalue and ours counts more.
fn counts_ties(ours: &Table, theirs: &Table, name: &str) -> bool {
    let pair = |column| ours.number(name, column).zip(theirs.number(name, column));
    let same_xmin = pair("xmin").is_some_and(|(a, b)| (a - b).abs() <= 1e-12 * b);
    same_xmin && pair("num_pl_spikes").is_some_and(|(a, b)| a > b)
}

/// Our tail is all eigenvalues that are above xmin or equal it but for rounding; the tool's has all those above it, and some of
/// the equal ones. The eigenvalues are those of the layer view.
fn assert_ties(folder: &str, options: &[&str], level: &str, name: &str, (ours, theirs): (&Table, &Table)) {
    let model = model(folder);
    let arguments = ["layer", model.to_str().unwrap(), name, "--level", level, "--draws", "1", "--format", "json"];
    let output = common::heavytail([&arguments[..], options].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let eigenvalues: Vec<f64> =
        view["spectra"][1]["eigenvalues"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let xmin = ours.number(name, "xmin").unwrap();
    // Rounding moves eigenvalues by 1e-14; the next ones are 1e-6 away.
    let count = |wanted: &dyn Fn(f64) -> bool| eigenvalues.iter().filter(|v| wanted(**v)).count() as f64;
    let equal = count(&|v| (v / xmin - 1.0).abs() < 1e-12);
    let above = count(&|v| v / xmin - 1.0 > 1e-6);
    assert_eq!(count(&|v| (v / xmin - 1.0).abs() < 1e-6), equal, "{level} {name}");
    assert_eq!(ours.number(name, "num_pl_spikes"), Some(above + equal), "{level} {name}");
    let theirs = theirs.number(name, "num_pl_spikes").unwrap();
    assert!(above < theirs && theirs < above + equal, "{level} {name}: {theirs}, {above} above and {equal} equal");
}

/// Every reference table of a model against a run in the same convention.
fn compare_model(folder: &str, options: &[&str], columns: &[&[(&str, Tolerance)]], default_mode: bool) {
    let mut found = Vec::new();
    for (dequantize, convention) in [("exact", "f32"), ("stored", "h16"), ("seed", "fp16arith")] {
        let table = |level: &str| data(&format!("weightwatcher/{folder}/{level}.{convention}.details.csv"));
        let levels: &[&str] = match (folder, convention) {
            ("smollm2-135m-f16", "h16") => &["4bit"],
            ("smollm2-135m-f16", "fp16arith") => &["8bit"],
            _ => &["8bit", "6bit", "5bit", "4bit", "2bit"],
        };
        let output = tempfile::tempdir().unwrap();
        let list = levels.join(",");
        let layer_options = [options, &["--dequantize", dequantize]].concat();
        let options: Vec<&str> = [&layer_options[..], &["--quantizations", &list]].concat();
        analyse(&model(folder), output.path(), &options);
        let baseline = data(&format!("weightwatcher/{folder}/fp16.from_dir.details.csv"));
        for (level, path) in levels.iter().map(|level| (*level, table(level))).chain([("fp16", baseline)]) {
            let theirs = Table::read(&path);
            let ours = Table::read(&output.path().join(format!("results_{level}.csv")));
            assert_eq!(ours.names().collect::<Vec<_>>(), theirs.names().collect::<Vec<_>>());
            let wanted = |name: &str| !default_mode || !is_degenerate(&theirs, name);
            found.extend(
                differences(&ours, &theirs, columns, wanted).into_iter().map(|d| format!("{level} {convention} {d}")),
            );
            let ties: Vec<&str> = theirs.names().filter(|name| counts_ties(&ours, &theirs, name)).collect();
            // Exactly equal eigenvalues at xmin: only where two bits leave a handful of weights.
            let expected = match (folder, level) {
                ("smollm2-135m-f16", "2bit") => 23,
                ("minilm-l6-v2-f16", "2bit") => 1,
                _ => 0,
            };
            assert_eq!(ties.len(), expected, "{folder} {level} {convention}: rows with ties at xmin");
            for name in ties {
                assert_ties(folder, &layer_options, level, name, (&ours, &theirs));
            }
            if default_mode {
                for name in theirs.names().filter(|name| is_degenerate(&theirs, name)) {
                    assert_eq!(ours.text(name, "status"), "failed", "{level} {name}");
                    assert_eq!(ours.text(name, "alpha"), "", "{level} {name}");
                    assert_ne!(ours.text(name, "reason"), "", "{level} {name}");
                }
            }
        }
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// A failed fit (alpha = -1) or a "success" that is no power law: no finite exponent above 1, or a tail of equal values.
fn is_degenerate(table: &Table, name: &str) -> bool {
    let alpha = table.number(name, "alpha").unwrap();
    let (xmin, xmax) = (table.number(name, "xmin"), table.number(name, "xmax"));
    !(alpha > 1.0 && alpha.is_finite()) || xmin.zip(xmax).is_some_and(|(a, b)| b / a - 1.0 < 1e-10)
}

#[test]
fn minilm_in_compatibility_mode() {
    compare_model("minilm-l6-v2-f16", &["--compat", "weightwatcher"], &[FIT, NORMS, REST], false);
}

#[test]
fn minilm_by_default() {
    compare_model("minilm-l6-v2-f16", &[], &[FIT, NORMS], true);
}

#[test]
fn minilm_with_true_singular_values() {
    compare_model("minilm-l6-v2-f16", &["--compat", "weightwatcher", "--svd"], &[FIT, NORMS, RANKS], false);
}

#[test]
fn smollm2_in_compatibility_mode() {
    compare_model("smollm2-135m-f16", &["--compat", "weightwatcher"], &[FIT, NORMS, REST], false);
}

#[test]
fn smollm2_by_default() {
    compare_model("smollm2-135m-f16", &[], &[FIT, NORMS], true);
}

#[test]
fn smollm2_with_true_singular_values() {
    compare_model("smollm2-135m-f16", &["--compat", "weightwatcher", "--svd"], &[FIT, NORMS, RANKS], false);
}

/// The package's own file, in F32, and its columns to the last one.
#[test]
fn minilm_in_single_precision() {
    let output = tempfile::tempdir().unwrap();
    let options = ["--compat", "weightwatcher", "--quantizations", "fp16", "--svd"];
    analyse(&model("minilm-l6-v2-f32"), output.path(), &options);
    let theirs = Table::read(&data("weightwatcher/minilm-l6-v2-f32/variant.default.details.csv"));
    let ours = Table::read(&output.path().join("details.csv"));
    let found = differences(&ours, &theirs, &[FIT, NORMS, RANKS, REST, IDS], |_| true);
    assert!(!theirs.names().any(|name| counts_ties(&ours, &theirs, name)));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Means, counts and correlations, over the quantized layers and over all rows.
#[test]
fn summaries_of_minilm() {
    let summary = fs::read_to_string(data("weightwatcher/minilm-l6-v2-f16/quant_summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let mut compared = 0;
    for (dequantize, convention) in [("exact", "f32"), ("stored", "h16"), ("seed", "fp16arith")] {
        let output = tempfile::tempdir().unwrap();
        analyse(&model("minilm-l6-v2-f16"), output.path(), &["--compat", "weightwatcher", "--dequantize", dequantize]);
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(output.path().join("report.json")).unwrap()).unwrap();
        for (table, theirs) in [("comparison", "linear"), ("comparison_all_rows", "all_rows")] {
            for ours in report[table].as_array().unwrap() {
                let level = ours["quantization"].as_str().unwrap();
                let key = if level == "fp16" { level.to_owned() } else { format!("{level}.{convention}") };
                let theirs = &summary[&key][theirs];
                for (our_name, their_name) in [
                    ("num_layers", "n"),
                    ("alpha_mean", "mean_alpha"),
                    ("alpha_median", "median_alpha"),
                    ("layers_optimal", "in_2_6"),
                    ("layers_below_2", "lt2"),
                    ("layers_above_6", "gt6"),
                    ("failed", "failed"),
                    ("pearson", "pearson"),
                    ("alpha_change_percent", "change_pct"),
                ] {
                    // The baseline has no correlation and no change there.
                    let Some(expected) = theirs[their_name].as_f64() else { continue };
                    let found = ours[our_name].as_f64().unwrap();
                    assert!(
                        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                        "{key} {table} {our_name}: {found}, expected {expected}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 2 * (7 + 5 * 9));
}

/// Small matrices, normal and awkward, each a model of its own.
#[test]
fn synthetic_matrices_in_compatibility_mode() {
    let inputs = fs::read(data("weightwatcher/synthetic/inputs.safetensors")).unwrap();
    let inputs = safetensors::SafeTensors::deserialize(&inputs).unwrap();
    let theirs = Table::read(&data("weightwatcher/synthetic/default.details.csv"));
    let outcomes = Table::read(&data("weightwatcher/synthetic/outcomes.csv"));
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (tensor, view) in inputs.tensors() {
        let name = tensor.strip_suffix(".weight").unwrap();
        let file = folder.path().join(format!("{name}.safetensors"));
        let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        common::write_model(&file, &[(&tensor, view.shape(), &values)]);
        let output = folder.path().join(name);
        let arguments = [
            "analyze",
            file.to_str().unwrap(),
            "--compat",
            "weightwatcher",
            "--svd",
            "--quiet",
            "--quantizations",
            "fp16",
            "--output-dir",
            output.to_str().unwrap(),
        ];
        let result = common::heavytail(arguments);
        let rows = outcomes.text(name, "rows");
        if !outcomes.text(name, "exception").is_empty() {
            // Where WeightWatcher ends with an exception, we give a row that says why.
            let ours = Table::read(&output.join("details.csv"));
            assert_eq!(ours.text(name, "status"), "failed");
            assert!(ours.text(name, "reason").contains("NaN"), "{name}");
        } else if rows == "0" {
            assert_eq!(result.status.code(), Some(3), "{name} is not analysed");
        } else {
            let ours = Table::read(&output.join("details.csv"));
            // A tail of eight equal eigenvalues: the digits of its alpha (1.27e15) are those of LAPACK's rounding errors.
            let ties = name == "hadamard_ties_64x64";
            let columns: &[&[(&str, Tolerance)]] = if ties { &[NORMS, RANKS] } else { &[FIT, NORMS, RANKS] };
            found.extend(differences(&ours, &theirs, columns, |n| n == name));
            assert!(ties || !counts_ties(&ours, &theirs, name), "{name}");
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn degenerate_fits_have_no_value_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let identity: Vec<f32> = (0..64 * 64).map(|i| if i % 65 == 0 { 1.0 } else { 0.0 }).collect();
    let mut with_nan = identity.clone();
    with_nan[7] = f32::NAN;
    let mut with_infinity = identity.clone();
    with_infinity[9] = f32::INFINITY;
    let shape: &[usize] = &[64, 64];
    common::write_model(
        &file,
        &[
            ("identity.weight", shape, &identity),
            ("zero.weight", shape, &[0.0; 64 * 64]),
            ("nan.weight", shape, &with_nan),
            ("infinity.weight", shape, &with_infinity),
        ],
    );
    let output = folder.path().join("out");
    analyse(&file, &output, &["--quantizations", "fp16"]);
    let table = Table::read(&output.join("details.csv"));
    for (name, part) in [
        ("identity", "all eigenvalues in the tail are equal"),
        ("zero", "0 of 64 eigenvalues"),
        ("nan", "NaN or infinity"),
        ("infinity", "NaN or infinity"),
    ] {
        assert_eq!(table.text(name, "status"), "failed", "{name}");
        assert!(table.text(name, "reason").contains(part), "{name}: {}", table.text(name, "reason"));
        for column in ["alpha", "D", "xmin", "num_pl_spikes", "alpha_weighted", "warning"] {
            assert_eq!(table.text(name, column), "", "{name} {column}");
        }
    }
    // The spectrum itself is there where there is one.
    assert_eq!(table.number("identity", "norm"), Some(64.0));
    assert_eq!(table.number("zero", "norm"), Some(0.0));
    let comparison = fs::read_to_string(output.join("quantization_comparison.csv")).unwrap();
    assert!(comparison.lines().nth(1).unwrap().starts_with("fp16,4,,,"), "{comparison}");
}
