//! One layer at one level, as a user of the program sees it.

mod common;

use std::path::Path;

use serde_json::Value;

fn layer(model: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["layer".to_owned(), model.display().to_string()];
    all.extend(arguments.iter().map(|a| (*a).to_owned()));
    all.extend(["--format".to_owned(), "json".to_owned()]);
    let output = common::heavytail(all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Heavy-tailed rows, so that there is a fit: the same numbers on every machine.
fn weights(rows: usize, cols: usize) -> Vec<f32> {
    let noise = |i: usize| ((i * 7919 + i * i % 613) % 2003) as f32 / 1001.0 - 1.0;
    (0..rows * cols).map(|i| noise(i) * (1.0 + 30.0 / (1.0 + (i / cols) as f32))).collect()
}

fn write(path: &Path) {
    let (dense, kernel) = (weights(96, 160), weights(24, 16 * 4));
    common::write_model(
        path,
        &[
            ("block.weight", &[96, 160], &dense),
            ("embed.weight", &[96, 160], &dense),
            ("conv.weight", &[24, 16, 2, 2], &kernel),
        ],
    );
}

/// Every column that `analyze` has for the layer, with all that `layer` looks at asked for.
#[test]
fn its_rows_are_those_of_an_analysis() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let all = ["--backend", "rust", "--detx", "--mp-fit", "--randomize", "--trust", "--errors"];
    for level in ["4bit", "int4-g32", "fp8-e4m3-row"] {
        common::analyse(&model, folder.path(), &[&["--quantizations", level], &all[..]].concat());
        let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        for name in ["block", "conv"] {
            let rows: Vec<&Value> =
                report["rows"].as_array().unwrap().iter().filter(|row| row["name"] == name).collect();
            let detail = layer(&model, &[name, "--level", level]);
            assert_eq!(rows.len(), 2);
            for (ours, theirs) in detail["rows"].as_array().unwrap().iter().zip(rows) {
                assert_eq!(ours, theirs, "{name} {level}");
            }
        }
    }
}

#[test]
fn its_parts_agree_with_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let detail = layer(&model, &["block.weight", "--level", "4bit"]);
    assert_eq!((&detail["layer"]["name"], &detail["level"]), (&"block".into(), &"4bit".into()));
    for (spectrum, place) in detail["spectra"].as_array().unwrap().iter().zip(["baseline", "level"]) {
        assert_eq!(spectrum["place"], place);
        let eigenvalues: Vec<f64> =
            spectrum["eigenvalues"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(eigenvalues.len(), 96);
        assert!(eigenvalues.is_sorted());
        let sum: f64 = eigenvalues.iter().sum();
        assert!((sum / spectrum["row"]["norm"].as_f64().unwrap() - 1.0).abs() < 1e-14);
        // The best point of the curve is the fit.
        let fit = &spectrum["fit"];
        let curve = spectrum["curve"].as_array().unwrap();
        let best = curve.iter().min_by(|a, b| a["D"].as_f64().unwrap().total_cmp(&b["D"].as_f64().unwrap())).unwrap();
        for column in ["xmin", "alpha", "D", "tail_len"] {
            assert_eq!(best[column], fit[column], "{column}");
        }
        assert_eq!(fit["alpha"], spectrum["row"]["alpha"]);
        let (first, last) = (&fit["line"][0], &fit["line"].as_array().unwrap().last().unwrap()[0]);
        assert!((first[0].as_f64().unwrap() / fit["xmin"].as_f64().unwrap() - 1.0).abs() < 1e-14);
        assert!((last.as_f64().unwrap() / fit["xmax"].as_f64().unwrap() - 1.0).abs() < 1e-14);
        assert_eq!(spectrum["bulk"]["bulk_max"], spectrum["row"]["measures"]["bulk_max"]);
    }
    let random = detail["randomized"]["eigenvalues"].as_array().unwrap();
    assert_eq!(random.len(), 96);
    // One step for the matrix: the largest weight over 7.
    let largest = weights(96, 160).iter().fold(0.0_f32, |a, w| a.max(w.abs()));
    let step = f64::from(largest / 7.0);
    let edge = step * step / 12.0 * (96_f64.sqrt() + 160_f64.sqrt()).powi(2);
    let noise = &detail["spectra"][1]["noise"];
    assert!((noise["edge"].as_f64().unwrap() / edge - 1.0).abs() < 1e-12 && noise["is_predicted"] == true);
    let above = detail["spectra"][0]["eigenvalues"].as_array().unwrap();
    let above = above.iter().filter(|v| v.as_f64().unwrap() > edge).count();
    assert_eq!(detail["spectra"][1]["above_noise"], above);
}

#[test]
fn an_embedding_is_its_own_baseline_and_a_table_has_both_levels() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let embedding = layer(&model, &["embed", "--level", "2bit"]);
    assert_eq!(embedding["spectra"].as_array().unwrap().len(), 1);
    assert_eq!(embedding["rows"].as_array().unwrap().len(), 1);
    let output = common::heavytail(["layer", &model.display().to_string(), "block", "--level", "4bit"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("block\n") && text.contains("fp16") && text.contains("4bit"), "{text}");
    let first: Vec<&str> = text.lines().skip(3).take(4).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first, ["alpha", "sigma", "D", "num_pl_spikes"], "{text}");
    let alpha = text.lines().nth(3).unwrap().split_whitespace().nth(1).unwrap();
    assert!(alpha.len() == 6 && alpha.parse::<f64>().unwrap() > 1.0, "five digits: {alpha}");
    assert!(text.contains("subspace_left") && text.contains("verdict_reason"), "{text}");
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write(&model);
    let path = model.display().to_string();
    for (arguments, says) in [
        (["layer", &path, "blok", "--level", "4bit"], "no layer that can be analysed is named \"blok\""),
        (["layer", &path, "block", "--level", "q9"], "not a quantization this version knows"),
    ] {
        let output = common::heavytail(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
