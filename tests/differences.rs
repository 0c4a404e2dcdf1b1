//! Where `WeightWatcher` does something odd: right by default, as the tool with `--compat weightwatcher`. One test for each
//! entry of the README's table that a user can see; what the tool itself says is in `weightwatcher.rs`, `variants.rs` and
//! `combinations.rs`, ids and the order of rows, which need several files, in `src/analysis/layers.rs`, fingers and `xmax` in
//! `src/powerlaw/options.rs`, truncated laws in `truncated.rs`, the underflow of `detX` in `src/spectrum/erg.rs`, other bases, adapters, kernels' sides and biases in
//! `combinations.rs`.

mod common;

use std::path::Path;

use common::{Table, analyse, data, heavytail, noise, write_model};
use heavytail::powerlaw::peak;
use serde_json::Value;

/// Rows x cols, of the given rank: small whole numbers, so that no sum is rounded.
fn low_rank(rows: usize, cols: usize, rank: usize) -> Vec<f32> {
    let factor = |i: usize, k: usize, stream| (8.0 * noise(i * rank + k, stream)).round();
    (0..rows * cols).map(|p| (0..rank).map(|k| factor(p / cols, k, 1) * factor(p % cols, k, 2)).sum()).collect()
}

fn diagonal(n: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..n * n).map(|p| if p / n == p % n { value(p / n) } else { 0.0 }).collect()
}

struct Both {
    default: Table,
    compat: Table,
}

impl Both {
    fn run(model: &Path, options: &[&str]) -> Self {
        let table = |more: &[&str]| {
            let output = tempfile::tempdir().unwrap();
            analyse(model, output.path(), &[&["--quantizations", "fp16", "--svd"], options, more].concat());
            Table::read(&output.path().join("details.csv"))
        };
        Self { default: table(&[]), compat: table(&["--compat", "weightwatcher"]) }
    }

    fn numbers(&self, name: &str, column: &str) -> (Option<f64>, Option<f64>) {
        (self.default.number(name, column), self.compat.number(name, column))
    }
}

fn write(path: &Path) {
    let gauss = |rows: usize, cols: usize, stream| -> Vec<f32> {
        (0..rows * cols).map(|p| noise(p, stream) + noise(p, stream + 50) + noise(p, stream + 90)).collect()
    };
    let mut broken = gauss(20, 30, 3);
    broken[7] = f32::NAN;
    write_model(
        path,
        &[
            ("zero.weight", &[20, 30], &[0.0; 600]),
            ("equal.weight", &[64, 64], &diagonal(64, |_| 2.0)),
            ("nan.weight", &[20, 30], &broken),
            ("conv.weight", &[8, 16, 2, 2], &gauss(8, 64, 4)),
            ("five.weight", &[20, 30], &low_rank(20, 30, 5)),
            ("one.weight", &[30, 20], &low_rank(30, 20, 1)),
            ("square.weight", &[120, 120], &gauss(120, 120, 5)),
            ("steep.weight", &[64, 64], &diagonal(64, |i| 100.0 * (1.0 + 1e-4 * i as f32))),
        ],
    );
}

#[test]
fn rows() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let both = Both::run(&model, &["--detx", "--mp-fit", "--randomize"]);

    // A failed fit.
    for column in ["alpha", "D", "sigma", "xmin"] {
        assert_eq!(both.numbers("zero", column), (None, Some(-1.0)), "{column}");
        assert_eq!(both.numbers("one", column), (None, Some(-1.0)), "{column}");
    }
    assert!(!both.default.text("zero", "reason").is_empty());
    assert_eq!(both.compat.text("zero", "warning"), "over-trained");
    assert_eq!(both.default.text("zero", "warning"), "");
    // All eigenvalues equal.
    assert_eq!(both.numbers("equal", "alpha"), (None, Some(f64::INFINITY)));
    assert_eq!((both.default.text("equal", "status"), both.compat.text("equal", "status")), ("failed", "success"));
    assert!(both.default.text("equal", "reason").contains("equal"));
    // NaN ends the tool's run; here it costs a row, in both modes.
    for table in [&both.default, &both.compat] {
        assert!(table.text("nan", "status") == "failed" && table.text("nan", "reason").contains("NaN"));
    }
    // Sides and smallest singular value of a convolution.
    assert_eq!(both.numbers("conv", "N"), (Some(16.0), Some(8.0)));
    assert_eq!(both.numbers("conv", "M"), (Some(8.0), Some(16.0)));
    let (least, most) = both.numbers("conv", "sv_min");
    assert!(least.unwrap() < most.unwrap());
    // Five eigenvalues: the standard error of a fit that was skipped.
    let (right, skipped) = both.numbers("five", "sigma");
    let alpha = both.default.number("five", "alpha").unwrap();
    assert!((right.unwrap() - (alpha - 1.0) / 5_f64.sqrt()).abs() < 1e-12 && skipped.unwrap() < 0.0);
    assert_eq!(both.default.number("five", "alpha"), both.compat.number("five", "alpha"));
    // The entropy of one eigenvalue.
    let (none, huge) = both.numbers("one", "entropy");
    assert!(none.is_none() && huge.unwrap().abs() > 100.0, "{huge:?}");
    // A norm beyond the range of f64.
    let (finite, infinite) = both.numbers("steep", "log_alpha_norm");
    assert!(finite.unwrap() > 308.0 && infinite == Some(f64::INFINITY), "{finite:?} {infinite:?}");
    // The two names of the ERG point, and a zero matrix.
    assert_eq!(both.default.number("square", "detX_val"), both.compat.number("square", "detX_val_unrescaled"));
    assert_eq!(both.compat.number("square", "detX_val"), both.default.number("square", "detX_val_unrescaled"));
    assert_ne!(both.numbers("square", "detX_val").0, both.numbers("square", "detX_val").1);
    assert_eq!(both.numbers("zero", "detX_num"), (None, Some(0.0)));
    // The Marchenko-Pastur law of a square matrix: sigma is 1 for noise of mean eigenvalue 1.
    let (right, odd) = both.numbers("square", "sigma_mp");
    assert!((right.unwrap() - 1.0).abs() < 0.05 && (odd.unwrap() - right.unwrap()).abs() > 1e-3, "{right:?} {odd:?}");
    for column in ["sigma_mp", "num_spikes", "bulk_max", "bulk_min", "mp_softrank", "W_scale"] {
        assert_eq!(both.numbers("zero", column), (None, Some(-1.0)), "{column}");
    }
    // Distances to the random order that the other columns are of, or to another one.
    let ratio = |table: &Table| {
        table.number("square", "max_rand_eval").unwrap() / table.number("square", "lambda_max").unwrap()
    };
    assert_eq!(both.default.number("square", "ww_softrank"), Some(ratio(&both.default)));
    assert_ne!(both.compat.number("square", "ww_softrank"), Some(ratio(&both.compat)));
    assert_eq!(both.numbers("square", "max_rand_eval").0, both.numbers("square", "max_rand_eval").1);
    assert_ne!(both.numbers("square", "rand_distance").0, both.numbers("square", "rand_distance").1);
}

/// Fits that are no power law, and what the tool says of them (`tests/reference/differences.py`). An infinite alpha needs 20
/// equal eigenvalues; of fewer the tool leaves the 0 that its table of exponents begins with. No other alpha of at most 1 can
/// come of a fit: the tail's logarithms over xmin have a positive sum or none.
#[test]
fn fits_that_are_no_power_law() {
    let folder = data("weightwatcher/differences");
    let model = folder.join("inputs.safetensors");
    let numbers: Value = serde_json::from_slice(&std::fs::read(folder.join("numbers.json")).unwrap()).unwrap();
    let both = Both::run(&model, &[]);
    for (name, reason) in [
        ("equal", "all eigenvalues in the tail are equal (alpha is infinite)"),
        ("twelve_equal", "alpha = 0 is not above 1"),
        ("five_equal", "alpha = 0 is not above 1"),
        ("nearly_equal", "all eigenvalues in the tail are equal"),
    ] {
        let theirs = &numbers[name];
        let number = |column: &str| match &theirs[column] {
            Value::String(text) => text.parse().unwrap(),
            value => value.as_f64().unwrap(),
        };
        assert_eq!(both.compat.text(name, "status"), theirs["status"].as_str().unwrap(), "{name}");
        assert_eq!(both.compat.text(name, "warning"), theirs["warning"].as_str().unwrap(), "{name}");
        if name == "nearly_equal" {
            // Quotients of rounding errors: the tool has 1e15.
            assert!(number("alpha") > 1e12 && both.compat.number(name, "alpha").unwrap() > 1e12);
        } else {
            for column in ["alpha", "sigma", "D", "xmin", "xmax", "num_pl_spikes", "num_evals", "alpha_weighted"] {
                let (ours, tool) = (both.compat.number(name, column).unwrap(), number(column));
                assert!(ours == tool || (ours - tool).abs() < 1e-12 * tool.abs(), "{name} {column}: {ours} {tool}");
            }
        }
        assert_eq!(both.default.text(name, "status"), "failed", "{name}");
        assert!(both.default.text(name, "reason").contains(reason), "{}", both.default.text(name, "reason"));
        for column in ["alpha", "sigma", "alpha_weighted"] {
            assert_eq!(both.default.number(name, column), None, "{name} {column}");
        }
    }
    // What is averaged.
    let mean = |compat: &str| {
        let arguments = ["analyze", model.to_str().unwrap(), "--layers", "five_equal", "--quantizations", "fp16"];
        let output = heavytail([&arguments[..], &["--format", "json", "--compat", compat]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["summary"][0]["alpha"].clone()
    };
    assert_eq!(mean("weightwatcher"), numbers["five_equal"]["summary_alpha"]);
    assert!(mean("none").is_null());
}

/// The eigenvalues of one slice are inverted again with every slice that follows.
#[test]
fn reciprocals_of_convolutions() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let pooled = Both::run(&model, &["--inverse", "--layers", "conv"]);
    let output = folder.path().join("slices");
    analyse(&model, &output, &["--quantizations", "fp16", "--svd", "--inverse", "--layers", "conv", "--no-pool"]);
    let mut reader = csv::Reader::from_path(output.join("details.csv")).unwrap();
    let column = reader.headers().unwrap().iter().position(|name| name == "norm").unwrap();
    let sum: f64 = reader.records().map(|row| row.unwrap()[column].parse::<f64>().unwrap()).sum();
    // Four slices, each four times as large where they are not pooled.
    let (right, odd) = pooled.numbers("conv", "norm");
    assert!((right.unwrap() / (4.0 * sum) - 1.0).abs() < 1e-9);
    assert!((odd.unwrap() / right.unwrap() - 1.0).abs() > 0.01);
}

/// Quantiles of a power law with exponent 2.5 that begins at 1.1, as square roots: entries of a diagonal.
fn pareto_roots(n: usize) -> Vec<f32> {
    (0..n).map(|i| (1.1 * (1.0 - (i as f64 + 0.5) / n as f64).powf(-1.0 / 1.5)).sqrt() as f32).collect()
}

/// An upper end for the law: in the tool the exponent is that of the law without one.
#[test]
fn forced_upper_ends() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let roots = pareto_roots(60);
    write_model(&model, &[("a.weight", &[60, 60], &diagonal(60, |i| roots[i]))]);
    let both = Both::run(&model, &["--xmax", "force"]);
    let without_end = |table: &Table| {
        let xmin = table.number("a", "xmin").unwrap();
        let tail = roots.iter().map(|root| f64::from(*root).powi(2)).filter(|v| *v >= xmin * (1.0 - 1e-9));
        let logarithms: Vec<f64> = tail.map(|v| (v / xmin).ln()).collect();
        1.0 + logarithms.len() as f64 / logarithms.iter().sum::<f64>()
    };
    let difference = |table: &Table| (table.number("a", "alpha").unwrap() - without_end(table)).abs();
    assert!(difference(&both.compat) < 1e-9, "{}", difference(&both.compat));
    assert!(difference(&both.default) > 0.01, "{}", difference(&both.default));
}

/// The lower end that the peak of the spectrum gives xmin.
#[test]
fn xmin_of_e_tpl() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    // A power law with some values on top of one another, which are the peak; without what is below, some others spoil the fit.
    let mut roots = pareto_roots(120);
    roots.extend((0..12).map(|i| (3.0_f32 + 1e-4 * i as f32).sqrt()));
    roots.extend((0..8).map(|i| (6.0_f32 + 1e-4 * i as f32).sqrt()));
    write_model(&model, &[("a.weight", &[140, 140], &diagonal(140, |i| roots[i]))]);
    let mut values: Vec<f64> = roots.iter().map(|root| f64::from(*root).powi(2)).collect();
    values.sort_by(f64::total_cmp);
    let peak = peak(&values).unwrap();
    assert!((2.9..3.1).contains(&peak), "{peak}");
    let (ours, theirs) = Both::run(&model, &["--fit", "E_TPL"]).numbers("a", "xmin");
    assert!(ours.unwrap() >= 0.95 * peak && theirs.unwrap() < 0.95 * peak, "{ours:?} {theirs:?} {peak}");
    assert!(theirs.unwrap() >= libm::log10(0.95 * peak));
}

/// How many values an overlap and a stack have, and what the layers of a stack are divided by.
#[test]
fn overlaps_and_stacks() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let gauss =
        |count: usize, stream| -> Vec<f32> { (0..count).map(|p| noise(p, stream) + noise(p, stream + 7)).collect() };
    // The second half of the columns is ten times the first.
    let uneven: Vec<f32> =
        gauss(60 * 30, 2).iter().enumerate().map(|(p, w)| w * if p % 30 < 15 { 1.0 } else { 10.0 }).collect();
    write_model(&model, &[("a.weight", &[50, 30], &gauss(50 * 30, 1)), ("b.weight", &[60, 30], &uneven)]);
    let both = Both::run(&model, &["--intra"]);
    assert_eq!(both.default.number("0 X 1", "num_evals"), Some(50.0));
    // The tool's names of overlaps end in a space.
    assert_eq!(both.compat.number("0 X 1 ", "num_evals"), Some(30.0));
    let run = |compat: &[&str]| {
        let output = tempfile::tempdir().unwrap();
        analyse(&model, output.path(), &[&["--quantizations", "fp16", "--stacked"], compat].concat());
        Table::read(&output.path().join("details.csv"))
    };
    let (ours, theirs) = (run(&[]), run(&["--compat", "weightwatcher"]));
    let norm = |table: &Table| table.number("Stacked Layer", "norm").unwrap();
    assert!(
        norm(&ours).is_finite() && (norm(&ours) / norm(&theirs) - 1.0).abs() > 0.1,
        "{} {}",
        norm(&ours),
        norm(&theirs)
    );
}

/// Which layers of two models belong together: of the same name, or one after another.
#[test]
fn pairs_of_layers() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let weights = |stream| -> Vec<f32> { (0..600).map(|p| noise(p, stream)).collect() };
    write_model(&first, &[("a.weight", &[30, 20], &weights(1)), ("b.weight", &[30, 20], &weights(2))]);
    write_model(&second, &[("b.weight", &[30, 20], &weights(2)), ("pre.b.weight", &[30, 20], &weights(3))]);
    let distances = |compat: &str| -> Vec<(String, bool)> {
        let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
        let arguments = ["distances", first, second, "--method", "raw", "--format", "json", "--compat", compat];
        let found: Value = serde_json::from_slice(&heavytail(arguments).stdout).unwrap();
        let row = |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["delta_W"] == 0.0);
        found["rows"].as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(distances("none"), [("b".to_owned(), true)]);
    assert_eq!(distances("weightwatcher"), [("a".to_owned(), false), ("b".to_owned(), false)]);
    // A base model's layer whose name has the layer's in it is the tool's choice.
    let prefixed = folder.path().join("prefixed.safetensors");
    write_model(&prefixed, &[("pre.a.weight", &[30, 20], &weights(1)), ("b.weight", &[30, 20], &weights(3))]);
    let both = Both::run(&first, &["--base-model", prefixed.to_str().unwrap()]);
    assert_eq!(both.default.names().collect::<Vec<_>>(), ["b"]);
    // In the order of the files `b` comes before `pre.a`: the walk is past it when `a` is looked for.
    assert_eq!(both.compat.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(both.numbers("b", "norm").0, both.numbers("b", "norm").1);
}

/// Without a Marchenko-Pastur fit the tool has -1 spikes.
#[test]
fn smoothing_without_a_fit() {
    let folder = tempfile::tempdir().unwrap();
    let [model, output] = ["model", "output"].map(|name| folder.path().join(format!("{name}.safetensors")));
    write_model(&model, &[("zero.weight", &[20, 30], &[0.0; 600])]);
    for (command, compat, says) in [
        (&["smooth", "--method", "rmt"][..], "none", "20 of 20"),
        (&["smooth", "--method", "rmt"][..], "weightwatcher", "19 of 20"),
        (&["sharpen"][..], "none", "20 of 20"),
        (&["sharpen"][..], "weightwatcher", "1 of 20"),
    ] {
        let files = [model.to_str().unwrap(), "-o", output.to_str().unwrap(), "--compat", compat];
        let result = heavytail([command, &files].concat());
        let said = String::from_utf8_lossy(&result.stdout);
        assert!(said.contains(&format!("zero: {says} components")), "{command:?} {compat}: {said}");
    }
}

/// What the tool refuses and we take.
#[test]
fn refused_options() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    for (options, words) in [
        (["--max-n", "100", "--max-evals", "200"], "refuses max_N = 100 below max_evals = 200"),
        (["--min-evals", "20", "--max-evals", "20"], "refuses min_evals = max_evals = 20"),
        (["--layers", "2,-3", "--min-evals", "9"], "ids to keep and ids to leave out"),
    ] {
        let described = |more: &[&str]| {
            let model = [model.to_str().unwrap()];
            heavytail([&["describe"], &model[..], &options, more].concat())
        };
        assert!(described(&[]).status.success(), "{words}");
        let refused = described(&["--compat", "weightwatcher"]);
        assert_eq!(refused.status.code(), Some(2), "{words}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(words), "{words}");
    }
}

/// Spectra of which little can be said: a status and a reason, in both modes, with all that can be asked for.
#[test]
fn poor_spectra_have_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let half: Vec<f32> = diagonal(40, |i| if i < 20 { 1.0 } else { 3.0 });
    write_model(
        &model,
        &[
            ("two_values.weight", &[40, 40], &half),
            ("all_equal.weight", &[40, 40], &diagonal(40, |_| 1.0)),
            ("seven.weight", &[7, 50], &low_rank(7, 50, 7)),
            ("tiny.weight", &[40, 40], &diagonal(40, |i| 1e-6 * (i + 1) as f32)),
            ("zero.weight", &[40, 40], &[0.0; 1600]),
        ],
    );
    for compat in ["none", "weightwatcher"] {
        let output = folder.path().join(compat);
        let options = [
            "--min-evals",
            "0",
            "--compat",
            compat,
            "--trust",
            "--draws",
            "20",
            "--detx",
            "--mp-fit",
            "--randomize",
            "--vectors",
            "--deltas",
            "--curves",
            "20",
            "--farms",
            "4",
            "--quantizations",
            "fp16,4bit,2bit",
        ];
        analyse(&model, &output, &options);
        for level in ["fp16", "4bit", "2bit"] {
            let table = Table::read(&output.join(format!("results_{level}.csv")));
            for name in ["two_values", "all_equal", "seven", "tiny", "zero"] {
                let status = table.text(name, "status");
                let alpha = table.number(name, "alpha");
                if compat == "none" {
                    assert_eq!(status == "success", alpha.is_some(), "{level} {name}");
                    assert!(alpha.is_none_or(|a| a.is_finite() && a > 1.0), "{level} {name}: {alpha:?}");
                    assert!(status == "success" || !table.text(name, "reason").is_empty(), "{level} {name}");
                }
                let verdict = table.text(name, "verdict");
                assert!(
                    ["failed", "too few eigenvalues", "short tail", "not a power law"].contains(&verdict),
                    "{level} {name}: {verdict}"
                );
            }
        }
    }
}
