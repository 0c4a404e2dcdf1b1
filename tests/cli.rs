//! The program as a user meets it: files out, exit statuses, messages.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Table, analyse, heavytail, safetensors, write_model};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www/demo/demo.safetensors")
}

/// Numbers without a pattern, the same every time.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..len).map(|_| next() + next() + next()).collect()
}

#[test]
fn without_arguments_the_demo_is_analysed() {
    let result = heavytail::<&str>([]);
    assert!(result.status.success());
    let text = String::from_utf8(result.stdout).unwrap();
    for part in ["as stored (F16)", "2bit", "Relative error", "13 layers analysed", "Failed and degenerate fits"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for word in ["lossless", "safe ", "importance"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn the_output_folder_holds_every_file_and_threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs: Vec<HashMap<String, Vec<u8>>> = Vec::new();
    for threads in ["1", "8"] {
        let output = folder.path().join(threads);
        analyse(&demo(), &output, &["--threads", threads]);
        let files = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap());
        runs.push(files.map(|f| (f.file_name().into_string().unwrap(), fs::read(f.path()).unwrap())).collect());
    }
    let mut names: Vec<&String> = runs[0].keys().collect();
    names.sort();
    let expected = [
        "details.csv",
        "quantization_comparison.csv",
        "report.json",
        "results_2bit.csv",
        "results_4bit.csv",
        "results_5bit.csv",
        "results_6bit.csv",
        "results_8bit.csv",
        "results_fp16.csv",
    ];
    assert_eq!(names, expected);
    assert_eq!(runs[0], runs[1], "1 and 8 threads");

    let details = String::from_utf8(runs[0]["details.csv"].clone()).unwrap();
    let header = "quantization,layer_id,name,D,M,N,Q,alpha,alpha_weighted,entropy,has_esd,lambda_max,layer_type,log_alpha_norm,log_norm,log_spectral_norm,longname,matrix_rank,norm,num_evals,num_pl_spikes,rank_loss,rf,sigma,spectral_norm,stable_rank,status,sv_max,sv_min,warning,weak_rank_loss,xmax,xmin,reason";
    assert!(details.starts_with(header), "{details}");
    assert_eq!(details.lines().count(), 1 + 6 * 13);
    let report: serde_json::Value = serde_json::from_slice(&runs[0]["report.json"]).unwrap();
    assert_eq!(
        (report["schema"].as_str(), report["schema_version"].as_u64(), report["status"].as_str()),
        (Some("heavytail.report"), Some(1), Some("complete"))
    );
    assert_eq!(report["rows"].as_array().unwrap().len(), 6 * 13);
    assert_eq!(report["comparison"].as_array().unwrap().len(), 6);
    // What the CSV says, the JSON says, to the last bit.
    let csv = Table::read(&folder.path().join("1/results_4bit.csv"));
    for row in report["rows"].as_array().unwrap().iter().filter(|row| row["quantization"] == "4bit") {
        for column in ["alpha", "D", "relative_error", "sqnr_db", "log_norm", "xmin"] {
            assert_eq!(csv.number(row["name"].as_str().unwrap(), column), row[column].as_f64(), "{column}");
        }
    }
}

#[test]
fn embeddings_stand_unchanged_at_every_level() {
    let folder = tempfile::tempdir().unwrap();
    analyse(&demo(), folder.path(), &[]);
    let name = "embeddings.position_embeddings";
    let [fp16, two] = ["fp16", "2bit"].map(|level| Table::read(&folder.path().join(format!("results_{level}.csv"))));
    for column in ["alpha", "norm", "nonzero_fraction", "relative_error"] {
        assert_eq!(fp16.text(name, column), two.text(name, column), "{column}");
    }
    assert_eq!((two.text(name, "counted"), two.text(name, "quantized")), ("False", "False"));
    assert!(two.number("encoder.layer.0.attention.self.query", "relative_error").unwrap() > 0.5);
}

#[test]
fn layers_can_be_picked_and_every_format_printed() {
    let demo = demo();
    let demo = demo.to_str().unwrap();
    let print = |format: &str| {
        let result = heavytail([
            "analyze",
            demo,
            "--quiet",
            "--layers",
            "*.layer.0.*",
            "--quantizations",
            "fp16,3bit-asym",
            "--format",
            format,
        ]);
        assert!(result.status.success());
        String::from_utf8(result.stdout).unwrap()
    };
    assert_eq!(print("csv").lines().count(), 1 + 2 * 6);
    let markdown = print("markdown");
    assert!(markdown.starts_with("| Level | Relative error | SQNR dB | Bits/weight |"));
    assert!(markdown.contains("**3bit-asym moves the weights by "));
    assert!(markdown.contains("6 layers of `demo.safetensors`; dequantized: exact; layers: `*.layer.0.*`. HeavyTail "));
    assert!(print("table").contains("3bit-asym"));
    let report: serde_json::Value = serde_json::from_str(&print("json")).unwrap();
    assert_eq!(report["settings"]["layers"], "*.layer.0.*");
    assert!(report["skipped"].as_array().unwrap().iter().any(|s| s["reason"] == "not among the layers asked for"));
}

#[test]
fn describe_lists_what_is_analysed_and_why_the_rest_is_not() {
    let demo = demo();
    let result = heavytail(["describe", demo.to_str().unwrap()]);
    assert!(result.status.success());
    let text = String::from_utf8(result.stdout).unwrap();
    for part in [
        "13 layers to analyse",
        "encoder.layer.0.attention.self.query",
        "its name does not end in .weight",
        "no (embedding)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let result = heavytail(["describe", demo.to_str().unwrap(), "--format", "json"]);
    let head: serde_json::Value = serde_json::from_slice(&result.stdout).unwrap();
    assert_eq!(head["layers"].as_array().unwrap().len(), 13);
}

#[test]
fn sharded_models_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (noise(30 * 20, 1), noise(40 * 25, 2));
    write_model(&folder.path().join("model-00001-of-00002.safetensors"), &[("a.weight", &[30, 20], &a)]);
    write_model(&folder.path().join("model-00002-of-00002.safetensors"), &[("b.weight", &[25, 40], &b)]);
    let whole = folder.path().join("whole");
    fs::create_dir(&whole).unwrap();
    write_model(&whole.join("model.safetensors"), &[("a.weight", &[30, 20], &a), ("b.weight", &[25, 40], &b)]);
    let [out_shards, out_whole, out_index] = ["1", "2", "3"].map(|n| folder.path().join(n));
    analyse(folder.path(), &out_shards, &[]);
    analyse(&whole, &out_whole, &[]);
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map":{"a.weight":"model-00001-of-00002.safetensors","b.weight":"model-00002-of-00002.safetensors"}}"#).unwrap();
    analyse(&index, &out_index, &[]);
    let read = |path: &Path| fs::read_to_string(path.join("details.csv")).unwrap();
    assert_eq!(read(&out_shards), read(&out_whole));
    assert_eq!(read(&out_index), read(&out_whole));
    // A shard that the index names is gone.
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    refused(folder.path(), 3, "shard \"model-00002-of-00002.safetensors\"");
    fs::write(&index, r#"{"weight_map":{"nothing.weight":"model-00001-of-00002.safetensors"}}"#).unwrap();
    refused(&index, 3, "no such tensor");
    fs::remove_file(&index).unwrap();
    refused(folder.path(), 3, "1 of the 2 shards");
}

/// The program ends with `status` and one sentence with `part` in it, without a panic.
fn refused(path: &Path, status: i32, part: &str) {
    for command in ["analyze", "describe"] {
        let result = heavytail([command, path.to_str().unwrap()]);
        let message = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(status), "{command} {}: {message}", path.display());
        assert!(message.contains(part), "{part}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "one sentence: {message}");
        assert!(!message.contains('\u{1b}') && !message.contains("panicked"), "{message}");
    }
}

#[test]
fn bad_files_get_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let one = |dtype: &str, shape: &str, offsets: &str, len| {
        safetensors(&format!(r#"{{"a.weight":{}}}"#, entry(dtype, shape, offsets)), len)
    };
    let two = |a: &str, b: &str, len| {
        safetensors(
            &format!(r#"{{"a.weight":{},"b.weight":{}}}"#, entry("U8", "[4,4]", a), entry("U8", "[4,4]", b)),
            len,
        )
    };
    let twice = format!(r#"{{"a.weight":{0},"a.weight":{0}}}"#, entry("U8", "[4,4]", "[0,16]"));
    let evil = format!(r#"{{"\u001b[31m<script>alert(1)</script>.weight":{}}}"#, entry("U8", "[4,4]", "[0,99]"));
    let mut past_end = 1000_u64.to_le_bytes().to_vec();
    past_end.extend(b"{}");
    let mut huge = 100_000_001_u64.to_le_bytes().to_vec();
    huge.extend(b"{}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("is empty", vec![]),
        ("only 3 bytes", b"abc".to_vec()),
        ("is a text file", b"version https git-lfs spec v1 oid".to_vec()),
        ("over the format's limit", huge),
        ("it was cut short", past_end),
        ("not a valid safetensors header", safetensors("{\"a", 0)),
        ("not a valid safetensors header", safetensors(&format!("{{\"a\":{}", "[".repeat(1_000_000)), 0)),
        ("named twice", safetensors(&twice, 16)),
        ("overlaps", two("[0,16]", "[8,24]", 24)),
        ("belong to no tensor", two("[0,16]", "[20,36]", 36)),
        ("runs backwards", one("U8", "[4,4]", "[16,0]", 16)),
        ("cut short", one("U8", "[4,4]", "[0,16]", 10)),
        ("unknown dtype \"Q4_K\"", one("Q4_K", "[4,4]", "[0,16]", 16)),
        ("needs 64 bytes but has 16", one("F32", "[4,4]", "[0,16]", 16)),
        (r"\u{1b}[31m<script>", safetensors(&evil, 16)),
    ];
    for (part, bytes) in cases {
        fs::write(&file, bytes).unwrap();
        refused(&file, 3, part);
    }
    refused(Path::new("/nonexistent/model.safetensors"), 3, "can't read");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(&empty, 3, "holds no .safetensors, .gguf, .bin, .pth, .pt, .npz or .npy file");
}

#[test]
fn a_model_without_a_matrix_and_bad_options_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    write_model(&file, &[("norm.weight", &[8], &[1.0; 8]), ("a.bias", &[4, 4], &[1.0; 16])]);
    let fails = |arguments: &[&str], status: i32, part: &str| {
        let result = heavytail(arguments);
        let message = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(status), "{message}");
        assert!(message.contains(part), "{message}");
    };
    fails(&["analyze", file.to_str().unwrap()], 3, "none of the 2 tensors is a weight matrix");
    assert!(heavytail(["describe", file.to_str().unwrap()]).status.success());
    fails(&["analyze", "--quantizations", "q9"], 2, "not a quantization");
    fails(&["analyze", "--layers", "nothing.*"], 2, "no layer that can be analysed matches");
    fails(&["analyze", "--layers", "a[b"], 2, "pattern");
    fails(&["analyze", "--threads", "0"], 2, "0");
    fails(&["analyse"], 2, "unrecognized subcommand");
    fails(&["analyze", "--output-dir", "/proc/nothing/here"], 1, "can't write");
}

#[test]
fn names_with_control_characters_reach_the_terminal_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    write_model(&file, &[("\u{1b}[31m<script>.weight", &[16, 16], &[0.0; 256])]);
    let result = heavytail(["analyze", file.to_str().unwrap()]);
    let text = String::from_utf8(result.stdout).unwrap();
    assert!(result.status.success() && text.contains(r"\u{1b}[31m<script>") && !text.contains('\u{1b}'), "{text}");
    // In CSV too, which is printed and opened by spreadsheets; JSON has the name as it is.
    write_model(
        &file,
        &[("\u{1b}[31m<script>.weight", &[16, 16], &[0.0; 256]), ("=1+1.weight", &[16, 16], &noise(256, 9))],
    );
    let output = folder.path().join("out");
    analyse(&file, &output, &[]);
    let table = Table::read(&output.join("results_2bit.csv"));
    assert_eq!(table.names().collect::<Vec<_>>(), ["'=1+1", r"\u{1b}[31m<script>"]);
    // Two bits leave much of noise: its decibels may be negative, and are a number either way.
    assert!(table.number("'=1+1", "log_spectral_norm").is_some() && table.number("'=1+1", "sqnr_db").is_some());
    let report: serde_json::Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    assert!(report["rows"].as_array().unwrap().iter().any(|row| row["name"] == "\u{1b}[31m<script>"));
    for format in ["csv", "markdown", "table"] {
        let printed = heavytail(["analyze", file.to_str().unwrap(), "--format", format]).stdout;
        assert!(!printed.contains(&0x1b), "{format}");
    }
}

#[test]
#[cfg(unix)]
fn a_missing_stderr_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_heavytail"))
        .args(["analyze", "/nonexistent/model.safetensors"])
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_result_that_cannot_be_written_does_not_cost_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    // Folders where two of the files should be.
    fs::create_dir_all(output.join("details.csv")).unwrap();
    fs::create_dir_all(output.join("report.json")).unwrap();
    let result = heavytail(["analyze", "--quantizations", "4bit", "--output-dir", output.to_str().unwrap()]);
    let message = String::from_utf8(result.stderr).unwrap();
    assert_eq!(result.status.code(), Some(1), "{message}");
    assert!(message.lines().count() == 2 && message.contains("details.csv") && message.contains("report.json"));
    assert!(String::from_utf8(result.stdout).unwrap().contains("13 layers analysed"));
    assert_eq!(Table::read(&output.join("results_4bit.csv")).names().count(), 13);
    assert!(output.join("quantization_comparison.csv").is_file());
}

#[test]
fn wrong_options_leave_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    for wrong in [["--quantizations", "bogus"], ["--layers", "nothing.*"], ["--layers", "a[b"]] {
        let result = heavytail([&["analyze", "--output-dir", output.to_str().unwrap()][..], &wrong].concat());
        assert_eq!(result.status.code(), Some(2));
        assert!(!output.exists(), "{wrong:?}");
    }
}

#[test]
fn a_shard_opens_its_siblings_and_a_folder_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    write_model(&path(names[0]), &[("a.weight", &[30, 20], &noise(600, 1))]);
    write_model(&path(names[1]), &[("b.weight", &[25, 40], &noise(1000, 2))]);
    // Another model's.
    write_model(&path("other-00001-of-00002.safetensors"), &[("c.weight", &[30, 20], &noise(600, 1))]);
    let layers = |model: &Path| {
        let result = heavytail(["describe", model.to_str().unwrap(), "--format", "csv"]);
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        String::from_utf8(result.stdout).unwrap()
    };
    let both = layers(&path(names[1]));
    assert!(both.contains("0,a,") && both.contains("1,b,") && both.lines().count() == 3, "{both}");
    // The order of an index counts.
    let index = format!(r#"{{"weight_map":{{"b.weight":"{}","a.weight":"{}"}}}}"#, names[1], names[0]);
    fs::write(path("model.safetensors.index.json"), index).unwrap();
    assert_eq!(layers(&path(names[0])), layers(&path("model.safetensors.index.json")));
    refused(&path("other-00001-of-00002.safetensors"), 3, "1 of the 2 shards");
    for (file, kind) in [("archives/plain.pth", "model.pth"), ("archives/arrays.npz", "arrays.npz")] {
        let file = common::data(file);
        let only = path(kind).with_extension("");
        fs::create_dir(&only).unwrap();
        fs::copy(&file, only.join(kind)).unwrap();
        assert_eq!(layers(&only), layers(&file));
    }
}

#[test]
fn a_layer_over_the_memory_limit_is_a_row_that_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let (big, small) = (noise(1500 * 1500, 3), noise(20 * 20, 4));
    write_model(&file, &[("big.weight", &[1500, 1500], &big), ("small.weight", &[20, 20], &small)]);
    analyse(&file, folder.path(), &["--memory", "16", "--quantizations", "4bit"]);
    let table = Table::read(&folder.path().join("results_4bit.csv"));
    assert_eq!(table.text("small", "status"), "success");
    assert_eq!(table.text("big", "status"), "failed");
    assert!(
        table.text("big", "reason").contains("MB of memory, more than the 16 MB"),
        "{}",
        table.text("big", "reason")
    );
}

/// The program's peak, as long as it lives.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_within_what_a_layer_is_said_to_need() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    write_model(&file, &[("big.weight", &[2048, 2304], &noise(2048 * 2304, 3))]);
    let reason = |memory: &str| {
        analyse(&file, folder.path(), &["--memory", memory, "--quantizations", "5bit"]);
        Table::read(&folder.path().join("results_5bit.csv")).text("big", "reason").to_owned()
    };
    let too_little = reason("20");
    let needed: u64 = too_little.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(reason(&needed.to_string()), "");
    let mut process = Command::new(env!("CARGO_BIN_EXE_heavytail"))
        .args([
            "analyze",
            file.to_str().unwrap(),
            "--quiet",
            "--quantizations",
            "5bit",
            "--memory",
            &needed.to_string(),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while process.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|v| v.trim().split(' ').next());
        peak = peak.max(kilobytes.map_or(0, |v| v.parse::<u64>().unwrap_or(0)));
        std::thread::sleep(Duration::from_millis(5));
    }
    // What the program takes for itself.
    assert!(peak / 1000 < needed + 30, "{} MB, said to need {needed} MB", peak / 1000);
    assert!(peak > 0);
}

#[test]
#[cfg(unix)]
fn control_c_stops_within_a_second_and_keeps_what_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    // Half a minute of work and more, unoptimised or not: it must be under way when it is stopped.
    let values = noise(2500 * 2500, 5);
    write_model(
        &file,
        &[
            ("a.weight", &[2500, 2500], &values),
            ("b.weight", &[2500, 2500], &values),
            ("c.weight", &[2500, 2500], &values),
            ("d.weight", &[2500, 2500], &values),
        ],
    );
    let output = folder.path().join("out");
    let child = Command::new(env!("CARGO_BIN_EXE_heavytail"))
        .args(["analyze", file.to_str().unwrap(), "--output-dir", output.to_str().unwrap(), "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let stopped = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = child.wait_with_output().unwrap();
    let took = stopped.elapsed();
    assert_eq!(result.status.code(), Some(130), "{}", String::from_utf8_lossy(&result.stderr));
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["status"], "cancelled");
    assert!(output.join("details.csv").exists());
}

/// A hole in front of a real tensor past 4 GiB costs nothing to make and nothing to read.
#[test]
#[cfg(unix)]
fn a_tensor_past_four_gib_is_read_where_it_is() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let hole = 5_000_000_000_u64;
    let values = noise(32 * 24, 6);
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let header = format!(
        r#"{{"hole":{{"dtype":"U8","shape":[{hole}],"data_offsets":[0,{hole}]}},"real.weight":{{"dtype":"F32","shape":[32,24],"data_offsets":[{hole},{}]}}}}"#,
        hole + data.len() as u64
    );
    let start = safetensors(&header, 0);
    let sparse = fs::File::create(&file).unwrap();
    sparse.write_all_at(&start, 0).unwrap();
    sparse.write_all_at(&data, start.len() as u64 + hole).unwrap();
    let small = folder.path().join("small.safetensors");
    write_model(&small, &[("real.weight", &[32, 24], &values)]);
    let [far, near] = ["far", "near"].map(|n| folder.path().join(n));
    analyse(&file, &far, &[]);
    analyse(&small, &near, &[]);
    assert_eq!(
        fs::read_to_string(far.join("details.csv")).unwrap(),
        fs::read_to_string(near.join("details.csv")).unwrap()
    );
}

#[test]
fn the_self_test_passes_and_says_on_what() {
    let result = heavytail(["selftest"]);
    let text = String::from_utf8(result.stdout).unwrap();
    assert!(result.status.success(), "{text}");
    for part in ["kernel chosen: ", "scalar-fused", "exact", "GF/s", "backend chosen: ", "passed: 6 matrices"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_benchmark_prints_each_stage() {
    let result = heavytail(["bench", "--sizes", "40,97"]);
    let text = String::from_utf8(result.stdout).unwrap();
    assert!(result.status.success(), "{text}");
    for part in ["peak of the matrix product", "Gram product", "eigenvalues", "singular values", "share of peak", "97"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(heavytail(["bench", "--sizes", "0"]).status.code(), Some(2));
}

#[test]
fn kernels_are_chosen_by_name_and_unknown_names_are_refused() {
    let run = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_heavytail"))
            .args(["describe", demo().to_str().unwrap()])
            .env("HEAVYTAIL_KERNEL", name)
            .output()
            .unwrap()
    };
    assert!(run("scalar").status.success());
    assert!(run("").status.success());
    let refused = run("avx9000");
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    for part in ["HEAVYTAIL_KERNEL", "avx9000", "avx512", "scalar"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
