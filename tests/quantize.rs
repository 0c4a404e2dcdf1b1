//! `heavytail schemes`, `heavytail quantize` and the schemes in `analyze`, as a user.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Table, analyse, heavytail, write_model};
use heavytail::matrix::Matrix;
use heavytail::quant::{Arithmetic, Scheme};
use heavytail::tensor::Dtype;
use safetensors::SafeTensors;
use serde_json::Value;

/// Numbers that look random, the same every time.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| 0.02 * (next() + next() + next())).collect()
}

/// Two blocks with rows of 256 and 128 weights, norms, and an embedding.
fn write_transformer(path: &Path) {
    let (square, wide, norm) = (noise(256 * 256, 1), noise(256 * 128, 2), noise(256, 3));
    let mut tensors: Vec<(String, Vec<usize>, &[f32])> = vec![
        ("model.embed_tokens.weight".to_owned(), vec![256, 256], &square),
        ("model.norm.weight".to_owned(), vec![256], &norm),
    ];
    for layer in 0..2 {
        for (name, shape, values) in [
            ("self_attn.q_proj", vec![256, 256], &square),
            ("self_attn.k_proj", vec![128, 256], &wide),
            ("self_attn.v_proj", vec![128, 256], &wide),
            ("self_attn.o_proj", vec![256, 256], &square),
            ("mlp.up_proj", vec![128, 256], &wide),
            ("mlp.down_proj", vec![256, 128], &wide),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), shape, values));
        }
    }
    let tensors: Vec<(&str, &[usize], &[f32])> = tensors.iter().map(|t| (t.0.as_str(), &t.1[..], t.2)).collect();
    write_model(path, &tensors);
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn schemes_are_listed_with_what_must_be_said() {
    let rows: Value = serde_json::from_str(&stdout(&heavytail(["schemes", "--format", "json"]))).unwrap();
    let rows = rows.as_array().unwrap();
    let by_name: BTreeMap<&str, &Value> = rows.iter().map(|r| (r["name"].as_str().unwrap(), r)).collect();
    assert_eq!(by_name.len(), rows.len());
    for (name, label, bits) in [
        ("q4_k", Some("no imatrix"), "4.5"),
        ("q4_k_m", Some("no imatrix"), "by tensor"),
        ("gptq4-g128-rtn", Some("pessimistic bound"), "4.15625"),
        ("nf4", None, "4.5"),
        ("mlx4-g64", None, "4.5"),
    ] {
        assert_eq!(by_name[name]["label"].as_str(), label, "{name}");
        assert_eq!(by_name[name]["bits_per_weight"].as_str(), Some(bits), "{name}");
    }
    let table = stdout(&heavytail(["schemes", "--common"]));
    assert!(table.contains("q4_k_m") && table.contains("(no imatrix)") && !table.contains("int7-g32-asymz"));
}

#[test]
fn a_quantized_file_holds_what_the_library_computes() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.safetensors"), folder.path().join("out.safetensors"));
    write_transformer(&model);
    let original = fs::read(&model).unwrap();
    let original = SafeTensors::deserialize(&original).unwrap();
    for name in ["nf4", "q4_k", "4bit", "8bit-asym", "mlx4-g64", "fp8-e4m3-block128", "hqq4-g64"] {
        let arguments = ["quantize".as_ref(), model.as_os_str(), "--scheme".as_ref(), name.as_ref(), "-o".as_ref()];
        let text = stdout(&heavytail(arguments.into_iter().chain([out.as_os_str(), "--codes".as_ref()])));
        assert!(text.contains("12 tensors quantized") && text.contains("2 kept"), "{text}");
        let bytes = fs::read(&out).unwrap();
        let quantized = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(quantized.len(), original.len());
        let codes = fs::read(folder.path().join("out.codes.safetensors")).unwrap();
        let codes = SafeTensors::deserialize(&codes).unwrap();
        for (tensor, view) in original.iter() {
            let after = quantized.tensor(tensor).unwrap();
            assert_eq!((after.shape(), after.dtype()), (view.shape(), Dtype::F32));
            if !tensor.contains("_proj") {
                assert_eq!(after.data(), view.data(), "{name} {tensor}");
                continue;
            }
            let matrix = Matrix::new(view.shape()[0], view.shape()[1], floats(view.data())).unwrap();
            let mut expected = Vec::new();
            let scheme: Scheme = name.parse().unwrap();
            let used = scheme.dequantized(&matrix, Dtype::F32, Arithmetic::Exact, &mut expected).unwrap().scheme;
            assert_eq!(floats(after.data()), expected, "{name} {tensor}");
            let what = if name == "q4_k" { "blocks" } else { "codes" };
            let stored = used.quantized(&matrix, Dtype::F32, Arithmetic::Exact).unwrap().unwrap();
            assert_eq!(codes.tensor(&format!("{tensor}.{what}")).unwrap().data(), stored.codes, "{name} {tensor}");
        }
        if name == "q4_k" {
            assert!(text.contains("q4_k: 10 tensors") && text.contains("q5_0: 2 tensors, 5.5"), "{text}");
        }
    }
}

#[test]
fn a_recipe_gives_each_tensor_its_type_and_true_bits() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write_transformer(&model);
    analyse(&model, folder.path(), &["--quantizations", "q4_k_m,q4_k,mlx-mixed-3-6"]);
    let table = Table::read(&folder.path().join("results_q4_k_m.csv"));
    let mut bits = 0.0;
    for (name, used, expected) in [
        // Of two layers, the later is in the last eighth, which takes more.
        ("model.layers.0.self_attn.v_proj", "q4_k", 4.5),
        ("model.layers.1.self_attn.v_proj", "q6_k", 6.5625),
        ("model.layers.0.mlp.down_proj", "q5_0", 5.5),
        ("model.layers.1.mlp.down_proj", "q8_0", 8.5),
        ("model.layers.1.self_attn.q_proj", "q4_k", 4.5),
        ("model.embed_tokens", "", 0.0),
    ] {
        assert_eq!(table.text(name, "scheme_used"), used, "{name}");
        assert_eq!(table.number(name, "bits_per_weight").unwrap_or(0.0), expected, "{name}");
        bits += expected;
    }
    assert!(bits > 0.0);
    let comparison = fs::read_to_string(folder.path().join("quantization_comparison.csv")).unwrap();
    assert!(comparison.contains("q4_k_m (no imatrix)"), "{comparison}");
    let report = fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert!(report.contains("A q4_k_m file of this model takes"), "the file's bits are told");
    // Rows of 128 weights are two groups of 64 for MLX.
    let mixed = Table::read(&folder.path().join("results_mlx-mixed-3-6.csv"));
    assert_eq!(mixed.text("model.layers.1.mlp.down_proj", "scheme_used"), "mlx6-g64");
    assert_eq!(mixed.text("model.layers.0.mlp.up_proj", "scheme_used"), "mlx3-g64");
}

#[test]
fn a_level_and_the_file_made_with_it_have_the_same_spectrum() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.safetensors"), folder.path().join("out.safetensors"));
    write_transformer(&model);
    let level = folder.path().join("level");
    analyse(&model, &level, &["--quantizations", "q3_k"]);
    stdout(&heavytail([
        "quantize".as_ref(),
        model.as_os_str(),
        "--scheme".as_ref(),
        "q3_k".as_ref(),
        "-o".as_ref(),
        out.as_os_str(),
    ]));
    let file = folder.path().join("file");
    analyse(&out, &file, &["--quantizations", "fp16"]);
    let (level, file) = (Table::read(&level.join("results_q3_k.csv")), Table::read(&file.join("results_fp16.csv")));
    for name in level.names() {
        for column in ["alpha", "spectral_norm", "norm", "xmin", "stable_rank"] {
            assert_eq!(level.text(name, column), file.text(name, column), "{name} {column}");
        }
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.safetensors"), folder.path().join("out.safetensors"));
    let (ragged, fine, mut broken) = (noise(100 * 100, 1), noise(64 * 64, 2), noise(64 * 64, 3));
    broken[70] = f32::NAN;
    write_model(
        &model,
        &[
            ("ragged.weight", &[100, 100], &ragged),
            ("fine.weight", &[64, 64], &fine),
            ("nan.weight", &[64, 64], &broken),
        ],
    );
    let quantize = |scheme: &str, rest: &[&str]| {
        let arguments = ["quantize".as_ref(), model.as_os_str(), "--scheme".as_ref(), scheme.as_ref(), "-o".as_ref()];
        heavytail(arguments.into_iter().chain([out.as_os_str()]).chain(rest.iter().map(AsRef::as_ref)))
    };
    let text = stdout(&quantize("mlx4-g64", &["--dtype", "stored"]));
    assert!(text.contains("1 tensors quantized") && text.contains("2 kept"), "{text}");
    assert!(text.contains("\"ragged.weight\": mlx4-g64 is not applicable: 100 columns"), "{text}");
    assert!(text.contains("\"nan.weight\": the weights hold NaN"), "{text}");
    // What can't be quantized is a row with a reason, and the other rows stand.
    analyse(&model, folder.path(), &["--quantizations", "mlx4-g64,q6_k"]);
    let table = Table::read(&folder.path().join("results_mlx4-g64.csv"));
    assert_eq!((table.text("ragged", "status"), table.text("fine", "status")), ("failed", "success"));
    assert!(table.text("ragged", "reason").contains("not a multiple of 64"));
    assert_eq!(table.number("ragged", "bits_per_weight"), None);
    let fallback = Table::read(&folder.path().join("results_q6_k.csv"));
    assert_eq!((fallback.text("ragged", "scheme_used"), fallback.text("fine", "scheme_used")), ("f16-cast", "q8_0"));

    let unknown = quantize("q9_k", &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("heavytail schemes"));
    let nowhere = folder.path().join("no/such/folder/out.safetensors");
    let failed = heavytail([
        "quantize".as_ref(),
        model.as_os_str(),
        "--scheme".as_ref(),
        "nf4".as_ref(),
        "-o".as_ref(),
        nowhere.as_os_str(),
    ]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("can't write"));
    assert!(!folder.path().join("out.safetensors.partial").exists());
}

/// Every way to name a file that is read as the one to write; the model must be there after it, to the byte.
#[test]
fn no_output_replaces_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = path("model.safetensors");
    write_transformer(&model);
    let original = fs::read(&model).unwrap();
    // Files whose names are those of an output's partial file and of its codes.
    for name in ["x.safetensors.partial", "y.codes.safetensors"] {
        fs::copy(&model, path(name)).unwrap();
    }
    fs::create_dir(path("inside")).unwrap();
    let refuse = |arguments: &[&str], part: &str| {
        let result = std::process::Command::new(env!("CARGO_BIN_EXE_heavytail"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let message = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(part) && message.lines().count() == 1, "{arguments:?}: {message}");
    };
    let whole = model.to_str().unwrap();
    for command in [&["quantize", "model.safetensors", "--scheme", "2bit"][..], &["smooth", whole], &["sharpen", whole]]
    {
        for output in ["model.safetensors", "./inside/../model.safetensors", whole] {
            refuse(&[command, &["-o", output]].concat(), "would destroy");
        }
        refuse(&[command, &["-o", "inside"]].concat(), "is a folder");
    }
    let quantize = ["quantize", "--scheme", "2bit"];
    refuse(&[&quantize[..], &["x.safetensors.partial", "-o", "x.safetensors"]].concat(), "would destroy");
    refuse(&[&quantize[..], &["y.codes.safetensors", "--codes", "-o", "y.safetensors"]].concat(), "would destroy");
    // The partial file of another run.
    refuse(&[&quantize[..], &["model.safetensors", "-o", "x.safetensors"]].concat(), "is there already");
    for name in ["model.safetensors", "x.safetensors.partial", "y.codes.safetensors"] {
        assert!(fs::read(path(name)).unwrap() == original, "{name} has changed");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing was made");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&model, path("link.safetensors")).unwrap();
        refuse(&[&quantize[..], &["model.safetensors", "-o", "link.safetensors"]].concat(), "would destroy");
    }
    // A file that is not read may be replaced.
    fs::write(path("old.safetensors"), "old").unwrap();
    let out = path("old.safetensors");
    stdout(&heavytail(["quantize", whole, "--scheme", "2bit", "-o", out.to_str().unwrap()]));
    assert!(SafeTensors::deserialize(&fs::read(&out).unwrap()).is_ok() && !path("old.safetensors.partial").exists());
}

#[test]
#[cfg(unix)]
fn control_c_leaves_no_partial_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let values = noise(768 * 768, 1);
    let names: Vec<String> = (0..40).map(|i| format!("l{i}.weight")).collect();
    let tensors: Vec<(&str, &[usize], &[f32])> =
        names.iter().map(|n| (n.as_str(), &[768, 768][..], &values[..])).collect();
    write_model(&model, &tensors);
    let (model, out) = (model.to_str().unwrap(), folder.path().join("out.safetensors"));
    for command in [&["quantize", model, "--codes", "--scheme", "hqq4-g64"][..], &["smooth", model]] {
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_heavytail"))
            .args(command)
            .args(["-o".as_ref(), out.as_os_str()])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Under way: the first file is begun after the handler is in place.
        let begun = std::time::Instant::now();
        while !folder.path().join("out.safetensors.partial").exists() {
            assert!(begun.elapsed().as_secs() < 60, "nothing is written");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let result = child.wait_with_output().unwrap();
        assert_eq!(result.status.code(), Some(130), "{}", String::from_utf8_lossy(&result.stderr));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{command:?}: the model alone is left");
    }
}
