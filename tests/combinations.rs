//! Matrices made of several tensors, distances and smoothing, against `WeightWatcher` (`tests/reference/combinations.py`).

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Table, analyse, data, heavytail, noise, write_model};
use serde_json::Value;

/// Of columns that both sides compute from the same f32 matrix.
const CLOSED: f64 = 1e-9;
const FITTED: f64 = 1e-6;
/// Of a product, which the tool sums in f32: 50 terms with relative errors of 6e-8, and singular values down to a hundredth of
/// the largest.
const SUMMED: f64 = 1e-4;

fn folder() -> PathBuf {
    data("weightwatcher/combinations")
}

fn input(name: &str) -> PathBuf {
    folder().join(format!("{name}.safetensors"))
}

fn theirs() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("numbers.json")).unwrap()).unwrap()
}

/// The options of a run that is compared: ids count from 1 in a dictionary.
fn run(model: &Path, options: &[&str]) -> Table {
    let output = tempfile::tempdir().unwrap();
    let always = ["--quantizations", "fp16", "--svd"];
    analyse(model, output.path(), &[&always, options].concat());
    Table::read(&output.path().join("details.csv"))
}

fn compat(model: &Path, options: &[&str]) -> Table {
    let svd = if options.contains(&"--stacked") { &[][..] } else { &["--svd"] };
    let output = tempfile::tempdir().unwrap();
    let always = ["--quantizations", "fp16", "--compat", "weightwatcher", "--start-ids", "1"];
    analyse(model, output.path(), &[&always, svd, options].concat());
    Table::read(&output.path().join("details.csv"))
}

fn assert_equal(ours: &Table, key: &str, closed: f64, fitted: f64) {
    let theirs = theirs();
    let rows = theirs[key].as_array().unwrap();
    assert_eq!(ours.names().count(), rows.len(), "{key}: {:?}", ours.names().collect::<Vec<_>>());
    let columns = [
        ("layer_id", 0.0),
        ("N", 0.0),
        ("M", 0.0),
        ("Q", closed),
        ("rf", 0.0),
        ("num_evals", 0.0),
        ("norm", closed),
        ("log_norm", closed),
        ("spectral_norm", closed),
        ("stable_rank", closed),
        ("sv_max", closed),
        ("sv_min", closed),
        ("matrix_rank", 0.0),
        ("rank_loss", 0.0),
        ("entropy", closed),
        ("alpha", fitted),
        ("alpha_weighted", fitted),
        ("sigma", fitted),
        ("num_pl_spikes", 0.0),
        ("xmin", closed),
        ("xmax", closed),
    ];
    let mut found = Vec::new();
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert_eq!(ours.text(name, "longname"), row["longname"].as_str().unwrap(), "{key}");
        assert_eq!(ours.text(name, "layer_type"), row["layer_type"].as_str().unwrap(), "{key}");
        for flag in ["Xflag", "peft"] {
            if let Some(value) = row[flag].as_bool() {
                assert_eq!(ours.text(name, flag), if value { "True" } else { "False" }, "{key} {name} {flag}");
            }
        }
        for (column, tolerance) in columns {
            let (a, b) = (ours.number(name, column).unwrap(), row[column].as_f64().unwrap());
            if (a - b).abs() > tolerance * b.abs() {
                found.push(format!("{key} {name}: {column} = {a}, WeightWatcher has {b}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn error(arguments: &[&str]) -> String {
    let result = heavytail(arguments);
    assert_eq!(result.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(result.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn differences_from_a_base_model() {
    let (model, tuned) = (input("model"), input("tuned"));
    let base = ["--base-model", text(&model)];
    assert_equal(&compat(&tuned, &base), "base_model", CLOSED, FITTED);
    // The same by default, where nothing is odd.
    let (ours, compat_rows) = (run(&tuned, &base), compat(&tuned, &base));
    for name in ours.names() {
        assert_eq!(ours.number(name, "alpha"), compat_rows.number(name, "alpha"), "{name}");
    }
    // A layer that the base model has not: the tool analyses it as it is, by default it is left out.
    let folder = tempfile::tempdir().unwrap();
    let fewer = folder.path().join("fewer.safetensors");
    let bytes = fs::read(&model).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.tensors().into_iter().filter(|(name, _)| name != "b.weight");
    fs::write(&fewer, safetensors::serialize(kept, None).unwrap()).unwrap();
    let base = ["--base-model", text(&fewer)];
    assert_equal(&compat(&tuned, &base), "base_model_without_b", CLOSED, FITTED);
    assert_eq!(run(&tuned, &base).names().collect::<Vec<_>>(), ["a", "c", "conv", "d"]);
    // Another shape: zeros in the tool, and a reason here.
    let other = folder.path().join("other.safetensors");
    write_model(&other, &[("a.weight", &[50, 61], &vec![1.0; 50 * 61]), ("b.weight", &[50, 40], &vec![1.0; 2000])]);
    let result = heavytail(["analyze", text(&tuned), "--base-model", text(&other), "--format", "json"]);
    let report: Value = serde_json::from_slice(&result.stdout).unwrap();
    assert_eq!(report["settings"]["measures"]["base_model"], "other.safetensors");
    let skipped = report["skipped"].as_array().unwrap();
    let reason = |name: &str| skipped.iter().find(|s| s["name"] == name).unwrap()["reason"].as_str().unwrap();
    assert_eq!(reason("a.weight"), "its shape is 60 x 50 here and 50 x 61 in the base model");
    assert_eq!(reason("c.weight"), "the base model has no such tensor to be analysed");
    // The transpose of the other is taken.
    assert_eq!(report["rows"][0]["name"], "b");
    let zero = compat(&tuned, &["--base-model", text(&other), "--layers", "a"]);
    assert_eq!(zero.number("a", "norm"), Some(0.0));
    let wrong = ["analyze", text(&tuned), "--layers", "c", "--base-model", text(&other)];
    assert!(error(&wrong).contains("no layer of the model has a counterpart in the base model"));
}

#[test]
fn overlaps_of_neighbours() {
    let model = input("model");
    assert_equal(&compat(&model, &["--intra"]), "intra", SUMMED, 10.0 * SUMMED);
    // All values by default: the tool asks for as many as the second layer has, the same here.
    let ours = run(&model, &["--intra"]);
    assert_eq!(ours.names().collect::<Vec<_>>(), ["0 X 1", "1 X 2"]);
    assert_eq!(ours.text("0 X 1", "longname"), "b");
    // The random matrix changes the overlap, and its seed tells all.
    let sparse = |seed| run(&model, &["--intra", "--sparsify", "--seed", seed]).number("0 X 1", "norm").unwrap();
    assert_eq!(sparse("1"), sparse("1"));
    assert_ne!(sparse("1"), sparse("2"));
    assert_ne!(Some(sparse("1")), ours.number("0 X 1", "norm"));
    assert!(error(&["analyze", "--intra", "--vectors"]).contains("intra excludes randomize, vectors"));
    assert!(error(&["analyze", "--intra", "--base-model", text(&model)]).contains("intra and base_model"));
    assert!(error(&["analyze", "--sparsify"]).contains("sparsify is an option of intra"));
}

#[test]
fn layers_on_top_of_one_another() {
    let model = input("model");
    assert_equal(&compat(&model, &["--stacked"]), "stacked", CLOSED, FITTED);
    let output = tempfile::tempdir().unwrap();
    analyse(&model, output.path(), &["--stacked", "--quantizations", "fp16,8bit", "--detx", "--mp-fit", "--curves"]);
    let all = Table::read(&output.path().join("results_fp16.csv"));
    // The tool has the first layer's 50 values only.
    assert_eq!(all.number("Stacked Layer", "num_evals"), Some(90.0));
    assert!(all.number("Stacked Layer", "detX_num").is_some());
    // No Marchenko-Pastur law has its bulk where most of a stack's eigenvalues are; the tool reports the first of its grid.
    let column = |options: &[&str]| {
        analyse(&model, output.path(), &[&["--stacked", "--quantizations", "fp16", "--mp-fit"], options].concat());
        Table::read(&output.path().join("results_fp16.csv")).number("Stacked Layer", "sigma_mp")
    };
    assert_eq!(column(&[]), None);
    assert!(column(&["--compat", "weightwatcher"]).is_some());
    analyse(&model, output.path(), &["--stacked", "--quantizations", "fp16,8bit"]);
    let quantized = Table::read(&output.path().join("results_8bit.csv"));
    let error_8bit = quantized.number("Stacked Layer", "relative_error").unwrap();
    assert!((1e-3..2e-2).contains(&error_8bit), "{error_8bit}");
    assert!(error(&["analyze", "--stacked", "--no-pool"]).contains("stacked excludes"));
    assert!(error(&["analyze", "--stacked", "--intra"]).contains("exclude each other"));
    assert!(error(&["analyze", "--stacked", "--base-model", text(&model)]).contains("stacked and base_model"));
}

#[test]
fn the_real_models_stack() {
    let ours = {
        let output = tempfile::tempdir().unwrap();
        let options = ["--compat", "weightwatcher", "--quantizations", "fp16", "--stacked"];
        analyse(&common::model("minilm-l6-v2-f32"), output.path(), &options);
        Table::read(&output.path().join("details.csv"))
    };
    let theirs = Table::read(&data("weightwatcher/minilm-l6-v2-f32/variant.stacked.details.csv"));
    let name = "Stacked Layer";
    for (column, tolerance) in [
        ("N", 0.0),
        ("M", 0.0),
        ("num_evals", 0.0),
        ("norm", CLOSED),
        ("sv_min", CLOSED),
        ("alpha", FITTED),
        ("num_pl_spikes", 0.0),
    ] {
        let (a, b) = (ours.number(name, column).unwrap(), theirs.number(name, column).unwrap());
        assert!((a - b).abs() <= tolerance * b.abs(), "{column} = {a}, WeightWatcher has {b}");
    }
}

/// The tool multiplies and takes norms in f32: the norm of 12 million embeddings is off by 3e-5.
#[test]
fn the_real_models_overlaps() {
    let output = tempfile::tempdir().unwrap();
    let options = ["--compat", "weightwatcher", "--quantizations", "fp16", "--intra"];
    analyse(&common::model("minilm-l6-v2-f32"), output.path(), &options);
    let ours = Table::read(&output.path().join("details.csv"));
    let theirs = Table::read(&data("weightwatcher/minilm-l6-v2-f32/variant.intra_sparsify_False.details.csv"));
    assert_eq!(ours.names().collect::<Vec<_>>(), theirs.names().collect::<Vec<_>>());
    let mut found = Vec::new();
    for name in theirs.names() {
        for (column, tolerance) in
            [("N", 0.0), ("M", 0.0), ("num_evals", 0.0), ("norm", SUMMED), ("sv_max", SUMMED), ("alpha", 1e-3)]
        {
            let (a, b) = (ours.number(name, column).unwrap(), theirs.number(name, column).unwrap());
            if (a - b).abs() > tolerance * b.abs() {
                found.push(format!("{name}: {column} = {a}, WeightWatcher has {b}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn adapters() {
    let lora = input("lora");
    assert_equal(&compat(&lora, &["--peft"]), "peft", SUMMED, SUMMED);
    assert_equal(&compat(&lora, &["--peft", "with_base"]), "peft_with_base", SUMMED, SUMMED);
    // By default all values of the sum, also where the adapter's rank is below min_evals.
    let ours = run(&lora, &["--peft", "with_base"]);
    assert_eq!(ours.number("m.0.lora_W_plus_AB.default", "num_evals"), Some(48.0));
    assert_eq!(ours.number("m.1.lora_W_plus_AB.default", "num_evals"), Some(30.0));
    assert_eq!(ours.number("m.0.lora_BA.default", "num_evals"), Some(10.0));
    assert_eq!(ours.names().count(), 5);
    // Rank 10: lora_alpha = 20 doubles the update, in default mode only.
    let norm = |options: &[&str]| run(&lora, options).number("m.0.lora_BA.default", "norm").unwrap();
    let (plain, scaled) = (norm(&["--peft"]), norm(&["--peft", "--lora-alpha", "20"]));
    assert!((scaled / plain - 4.0).abs() < 1e-6, "{scaled} {plain}");
    let tool = norm(&["--peft", "--lora-alpha", "20", "--compat", "weightwatcher"]);
    assert!((tool / plain - 1.0).abs() < 1e-9);

    // An adapter's own file, beside its settings, with the base elsewhere.
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(&lora).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = |name: &str| -> Option<String> {
        let (module, rest) = name.split_at(3);
        if rest == ".base_layer.weight" {
            return None;
        }
        Some(format!("base_model.model.{module}{}", rest.replace(".default", "")))
    };
    let adapter = folder.path().join("adapter_model.safetensors");
    let halves = tensors.tensors().into_iter().filter_map(|(name, view)| Some((renamed(&name)?, view)));
    fs::write(&adapter, safetensors::serialize(halves, None).unwrap()).unwrap();
    fs::write(folder.path().join("adapter_config.json"), r#"{"r": 10, "lora_alpha": 20}"#).unwrap();
    let base = folder.path().join("base.safetensors");
    let plain_base = tensors.tensors().into_iter().filter(|(name, _)| name.starts_with("m.0.base"));
    let plain_base = plain_base.map(|(_, view)| ("m.0.weight".to_owned(), view));
    fs::write(&base, safetensors::serialize(plain_base, None).unwrap()).unwrap();
    let ours = run(&adapter, &["--peft"]);
    assert_eq!(ours.names().collect::<Vec<_>>(), ["base_model.model.m.0.lora_BA"]);
    assert!((ours.number("base_model.model.m.0.lora_BA", "norm").unwrap() / scaled - 1.0).abs() < 1e-9);
    let arguments = [
        "analyze",
        text(&adapter),
        "--peft",
        "with_base",
        "--base-model",
        text(&base),
        "--format",
        "json",
        "--lora-alpha",
        "10",
    ];
    let report: Value = serde_json::from_slice(&heavytail(arguments).stdout).unwrap();
    let norm = report["rows"].as_array().unwrap().iter().find(|r| r["name"] == "base_model.model.m.0.lora_W_plus_AB");
    let whole = run(&lora, &["--peft", "with_base"]);
    let expected = whole.number("m.0.lora_W_plus_AB.default", "norm").unwrap();
    assert!((norm.unwrap()["norm"].as_f64().unwrap() / expected - 1.0).abs() < 1e-9);
    let skipped = report["skipped"].as_array().unwrap();
    let reason = |name: &str| skipped.iter().find(|s| s["name"] == name).unwrap()["reason"].as_str().unwrap();
    assert_eq!(reason("base_model.model.m.1.lora_B.weight"), "its base is neither in this model nor in the base model");
    assert!(reason("base_model.model.m.1.lora_A.weight").contains("rank 4"));
    assert!(error(&["analyze", text(&base), "--peft"]).contains("no tensor named *lora_A*"));
    assert!(error(&["analyze", text(&base), "--peft", "--intra"]).contains("exclude each other"));

    // Half an adapter, and halves that do not fit.
    let broken = folder.path().join("broken.safetensors");
    write_model(
        &broken,
        &[
            ("x.lora_A.weight", &[8, 20], &[1.0; 160]),
            ("y.lora_A.weight", &[8, 20], &[1.0; 160]),
            ("y.lora_B.weight", &[30, 9], &[1.0; 270]),
            ("z.lora_B.weight", &[30, 9], &[1.0; 270]),
        ],
    );
    let result = heavytail(["analyze", text(&broken), "--peft"]);
    assert_eq!(result.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&result.stderr).contains("nothing to analyse"));
}

/// The layer view has the rows of the run, with all that it looks at asked for.
#[test]
fn the_layer_view_is_of_the_same_matrices() {
    let (model, tuned, lora) = (input("model"), input("tuned"), input("lora"));
    let looking = ["--backend", "rust", "--detx", "--mp-fit", "--errors", "--quantizations"];
    // Of overlaps there is no random order.
    let trusting = ["--randomize", "--trust", "--draws", "20"];
    let base = ["--base-model", text(&model)];
    let mut applicable = 0;
    for (model, options, evidence, name) in [
        (&tuned, &base[..], &trusting[..], "a"),
        (&tuned, &base, &trusting, "conv"),
        (&lora, &["--peft"], &trusting, "m.0.lora_BA.default"),
        (&lora, &["--peft", "with_base", "--lora-alpha", "20"], &trusting, "m.0.lora_BA.default"),
        (&lora, &["--peft", "with_base", "--lora-alpha", "20"], &trusting, "m.1.lora_W_plus_AB.default"),
        (&lora, &["--peft", "with_base"], &trusting, "m.1.base_layer"),
        (&model, &["--intra"], &[], "1 X 2"),
        (&model, &["--intra", "--sparsify", "--seed", "3"], &[], "0 X 1"),
    ] {
        for level in ["4bit", "int4-g32"] {
            let case = format!("{name} {options:?} {level}");
            let analysis = [&["analyze", text(model), "--format", "json"], options, evidence, &looking, &[level]];
            let run = heavytail(analysis.concat());
            let report: Value = serde_json::from_slice(&run.stdout).expect(&case);
            let rows: Vec<&Value> =
                report["rows"].as_array().unwrap().iter().filter(|row| row["name"] == name).collect();
            let draws = if evidence.is_empty() { &[][..] } else { &["--draws", "20"] };
            let view = ["layer", text(model), name, "--level", level, "--format", "json"];
            let view = heavytail([&view, options, draws].concat());
            assert!(view.status.success(), "{case}: {}", String::from_utf8_lossy(&view.stderr));
            let view: Value = serde_json::from_slice(&view.stdout).unwrap();
            assert_eq!(rows.len(), 2, "{case}");
            assert_eq!(view["rows"].as_array().unwrap().iter().collect::<Vec<_>>(), rows, "{case}");
            // The pictures are of the same spectra.
            for (spectrum, row) in view["spectra"].as_array().unwrap().iter().zip(rows) {
                let values = spectrum["eigenvalues"].as_array().unwrap();
                if row["reason"].is_string() {
                    assert_eq!(values.len(), 0, "{case}");
                    continue;
                }
                assert_eq!(Some(values.len() as u64), row["num_evals"].as_u64(), "{case}");
                let sum: f64 = values.iter().map(|v| v.as_f64().unwrap()).sum();
                assert!((sum / row["norm"].as_f64().unwrap() - 1.0).abs() < 1e-12, "{case}");
            }
            let has_level = view["rows"][1]["reason"].is_null();
            assert_eq!(view["randomized"].is_null(), evidence.is_empty() || !has_level, "{case}");
            applicable += u32::from(has_level);
        }
    }
    assert_eq!(applicable, 8, "4bit everywhere; rows of 30 to 50 weights have no groups of 32");
    let wrong = ["layer", text(&tuned), "zzz", "--base-model", text(&model)];
    assert!(error(&wrong).contains("no layer that can be analysed is named \"zzz\""));
}

/// A level changes a difference by what it changes the weights, and both measures are of the matrix that is made.
#[test]
fn errors_of_a_difference() {
    let (model, tuned) = (input("model"), input("tuned"));
    let run = |options: &[&str]| {
        let output = tempfile::tempdir().unwrap();
        analyse(&tuned, output.path(), &[&["--quantizations", "fp16,4bit", "--errors"], options].concat());
        let table = |level: &str| Table::read(&output.path().join(format!("results_{level}.csv")));
        (table("fp16"), table("4bit"))
    };
    let (plain, difference) = (run(&[]), run(&["--base-model", text(&model)]));
    for name in ["a", "b", "c", "d"] {
        let both = |column: &str| [&plain, &difference].map(|tables| tables.1.number(name, column).unwrap());
        let relative = both("relative_error");
        assert_eq!(relative[0], relative[1], "of the tensor that is quantized");
        // Differences are rounded to f32: by 6e-8 of the weights, whose errors are a twentieth of them.
        let [ours, theirs] = both("max_error");
        assert!(ours > 0.0 && (ours / theirs - 1.0).abs() < 1e-5, "{name}: {ours} {theirs}");
        let norm = |tables: &(Table, Table)| tables.0.number(name, "sv_max").unwrap();
        let [ours, theirs] = both("spectral_error");
        let ratio = (theirs * norm(&difference)) / (ours * norm(&plain));
        assert!((ratio - 1.0).abs() < 1e-5, "{name}: {ratio}");
        let edge = both("noise_edge");
        // Uniform rounding against the mean squared error of these weights, half of which are next to zero.
        assert!((0.1..1.5).contains(&(edge[1] / edge[0])), "{name}: {edge:?}");
    }
}

#[test]
fn distances_between_models() {
    let (model, tuned) = (input("model"), input("tuned"));
    let theirs = &theirs()["distances"];
    for method in ["raw", "euclidean", "cka"] {
        let run = |options: &[&str]| -> Value {
            let arguments = ["distances", text(&model), text(&tuned), "--method", method, "--format", "json"];
            serde_json::from_slice(&heavytail([&arguments, options].concat()).stdout).unwrap()
        };
        let ours = run(&["--compat", "weightwatcher", "--start-ids", "1"]);
        let theirs = &theirs[method];
        // The tool's norms are of f32.
        let close = |a: &Value, b: &Value| {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 2e-6 * b.abs(), "{method}: {a}, WeightWatcher has {b}");
        };
        close(&ours["delta_W"], &theirs["delta_W"]);
        close(&ours["delta_b"], &theirs["delta_b"]);
        let rows = theirs["rows"].as_array().unwrap();
        assert_eq!(ours["rows"].as_array().unwrap().len(), rows.len());
        for (a, b) in ours["rows"].as_array().unwrap().iter().zip(rows) {
            for column in ["method", "layer_id", "name", "longname", "M", "N"] {
                assert_eq!(a[column], b[column], "{method} {column}");
            }
            close(&a["delta_W"], &b["delta_W"]);
            close(&a["delta_b"], &b["delta_b"]);
            assert_eq!(a["b_shape"].as_u64(), b["b_shape"].as_u64());
        }
        // By default the sides of a kernel are those of its matrices. In the tool they are the least and the largest of the
        // tensor's where it compares tensors.
        let ours = run(&[]);
        let (conv, tool) = (&ours["rows"][3], &rows[3]);
        assert_eq!((conv["name"].as_str(), conv["M"].as_u64(), conv["N"].as_u64()), (Some("conv"), Some(10), Some(12)));
        let least = if method == "raw" { 3 } else { 10 };
        assert_eq!(
            (tool["name"].as_str(), tool["M"].as_u64(), tool["N"].as_u64()),
            (Some("conv"), Some(least), Some(12))
        );
        // By default a layer without biases has no distance of biases, and the mean is over those that have. In the tool it is
        // 0, and the mean is over all. Both look at biases only where they compare tensors.
        let has_biases: Vec<bool> =
            ours["rows"].as_array().unwrap().iter().map(|row| row["delta_b"].is_number()).collect();
        assert_eq!(has_biases, [method == "raw", false, false, false, false], "{method}");
        assert_eq!(ours["delta_b"], ours["rows"][0]["delta_b"]);
        assert_eq!(rows[3]["delta_b"], 0.0);
        if method == "raw" {
            close(&ours["rows"][0]["delta_b"], &rows[0]["delta_b"]);
            let mean = ours["delta_b"].as_f64().unwrap() / rows.len() as f64;
            close(&Value::from(mean), &theirs["delta_b"]);
        } else {
            assert_eq!(theirs["delta_b"], 0.0);
        }
        let slices = run(&["--no-pool", "--layers", "conv"]);
        assert_eq!(slices["rows"].as_array().unwrap().len(), if method == "raw" { 1 } else { 9 });
        close(&slices["delta_W"], &conv["delta_W"]);
    }
    // What the two have not in common.
    let lora = input("lora");
    assert!(error(&["distances", text(&model), text(&lora)]).contains("no layer in common"));
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.safetensors");
    write_model(&other, &[("a.weight", &[50, 60], &vec![1.0; 3000]), ("z.weight", &[20, 20], &[1.0; 400])]);
    let result = heavytail(["distances", text(&model), text(&other), "--format", "csv"]);
    let csv = String::from_utf8(result.stdout).unwrap();
    assert!(csv.starts_with("method,layer_id,name,delta_W,delta_b,M,N,b_shape,longname"), "{csv}");
    assert!(csv.contains("its shapes differ: [60, 50] and [50, 60]"), "{csv}");
    let table = String::from_utf8(heavytail(["distances", text(&model), text(&other)]).stdout).unwrap();
    assert!(table.contains("z.weight") && table.contains("the first model has no such layer"), "{table}");
}

/// Norm and rank of the weights of a file, and their distance from the model's.
fn measured(path: &Path, name: &str) -> (f64, f64) {
    let read = |path: &Path| -> Vec<f64> {
        let bytes = fs::read(path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = tensors.tensor(name).unwrap();
        values.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    };
    let (before, after) = (read(&input("model")), read(path));
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let change: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
    (norm(&after), norm(&change))
}

/// The tool's components come from a random projection with seven iterations, which mixes those next to the edge of what is
/// kept: norms agree to 1e-3, and the exact ones leave less behind.
#[test]
fn smoothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let (model, theirs) = (input("model"), theirs());
    for (method, options) in
        [("detX", &[][..]), ("svd", &["--percent", "0.5"]), ("rmt", &[]), ("alpha_min", &[]), ("auto", &[])]
    {
        let arguments = ["smooth", text(&model), "-o", text(&output), "--method", method, "--compat", "weightwatcher"];
        let result = heavytail([&arguments, options].concat());
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        for (name, theirs) in theirs["smoothing"][method].as_object().unwrap() {
            let (norm, change) = measured(&output, name);
            let (their_norm, their_change) = (theirs["norm"].as_f64().unwrap(), theirs["change"].as_f64().unwrap());
            // No sum of as many components is nearer to the matrix than the exact ones.
            assert!(norm >= their_norm * (1.0 - 1e-6), "{method} {name}: {norm}, tool {their_norm}");
            assert!(change <= their_change + 1e-6 * their_norm, "{method} {name}: {change}, tool {their_change}");
            assert!((norm / their_norm - 1.0).abs() < 2e-3, "{method} {name}: {norm}, tool {their_norm}");
            assert!(their_change - change < 0.01 * their_norm, "{method} {name}: {change}, tool {their_change}");
        }
    }
    // Other tensors are copied, dtypes kept where they are asked for.
    let bytes = fs::read(&output).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.len(), 6);
    let original = fs::read(&model).unwrap();
    let original = safetensors::SafeTensors::deserialize(&original).unwrap();
    assert_eq!(tensors.tensor("a.bias").unwrap().data(), original.tensor("a.bias").unwrap().data());
    assert!(error(&["smooth", text(&model), "-o", text(&output), "--percent", "0"]).contains("percent"));
    assert!(error(&["smooth", text(&model), "-o", text(&output), "--no-pool"]).contains("no-pool"));
}

/// Matrices with some far larger entries: in random order these still stand out, and as many components are removed.
#[test]
fn sharpening() {
    let folder = tempfile::tempdir().unwrap();
    let (model, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let mut values: Vec<f32> = (0..200 * 100).map(|i| noise(i, 1) + noise(i, 2)).collect();
    let quiet = values.clone();
    for place in [77, 5050, 15_321] {
        values[place] = 60.0;
    }
    write_model(&model, &[("loud.weight", &[200, 100], &values), ("quiet.weight", &[200, 100], &quiet)]);
    let result = heavytail(["sharpen", text(&model), "-o", text(&output)]);
    let said = String::from_utf8(result.stdout).unwrap();
    assert!(said.contains("loud: 97 of 100 components") && said.contains("quiet: 100 of 100"), "{said}");
    let details = run(&output, &[]);
    let before = run(&model, &[]);
    assert!(details.number("loud", "sv_max").unwrap() < 0.6 * before.number("loud", "sv_max").unwrap());
    assert_eq!(details.number("quiet", "norm"), before.number("quiet", "norm"));
}
