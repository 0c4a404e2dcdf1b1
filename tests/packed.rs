//! Quantized checkpoints, as a user has them: against the unpackers of the tools that wrote them, and damaged ones.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use heavytail::Result;
use heavytail::analysis::{Limits, Next, Options, PairRun, PairSpectrum, Side};
use heavytail::format::{FileReader, Model, ModelBuilder, Part};
use heavytail::powerlaw::fit_weightwatcher;
use heavytail::progress::Cancellation;
use heavytail::report::{PairReport, RunStatus};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Opens files in memory as the shells do.
fn open(files: &[(&str, &[u8])]) -> Result<Model> {
    let mut builder = ModelBuilder::default();
    for (name, bytes) in files {
        let mut reader = FileReader::new(name, bytes.len() as u64);
        while let Some(range) = reader.wants() {
            reader.give(&bytes[range.start as usize..range.end as usize])?;
        }
        builder.add(reader.finish()?)?;
    }
    builder.finish()
}

/// The values of all weights, one after another.
fn values(model: &Model, bytes: &[u8]) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for tensor in &model.tensors {
        let parts: Vec<u8> =
            tensor.parts().iter().flat_map(|part| bytes[part.begin as usize..part.end as usize].to_vec()).collect();
        let mut values = vec![0.0; tensor.info.elements() as usize];
        tensor.info.decode(&parts, &mut values)?;
        all.extend(values);
    }
    Ok(all)
}

fn hash(values: &[f32]) -> String {
    let bits = values.iter().map(|v| if *v == 0.0 { 0 } else { v.to_bits() });
    format!("{:x}", Sha256::digest(bits.flat_map(u32::to_le_bytes).collect::<Vec<u8>>()))
}

fn expected() -> BTreeMap<String, Value> {
    serde_json::from_str(&fs::read_to_string(common::data("packed/values.json")).unwrap()).unwrap()
}

fn checkpoint(name: &str) -> Vec<u8> {
    fs::read(common::data(&format!("packed/{name}.safetensors"))).unwrap()
}

#[test]
fn every_checkpoint_dequantizes_to_its_tools_bits() {
    let mut differing = Vec::new();
    for (name, wanted) in expected() {
        let bytes = checkpoint(&name);
        let config = json!({ "quantization": wanted["arguments"] }).to_string();
        let model = open(&[("model.safetensors", &bytes), ("config.json", config.as_bytes())]).unwrap();
        let shape: Vec<u64> = serde_json::from_value(wanted["shape"].clone()).unwrap();
        let rows: u64 = model.tensors.iter().map(|t| t.info.shape[0]).sum();
        assert_eq!((rows, model.tensors[0].info.shape[1]), (shape[0], shape[1]), "{name}");
        assert!(model.tensors.iter().all(|t| t.info.is_quantized() && t.info.name.ends_with(".weight")), "{name}");
        if hash(&values(&model, &bytes).unwrap()) != wanted["sha256"].as_str().unwrap() {
            differing.push(name);
        }
    }
    assert_eq!(differing, [""; 0]);
}

#[test]
fn windows_of_every_checkpoint_are_cut_from_the_whole() {
    for (name, wanted) in expected() {
        let bytes = checkpoint(&name);
        let config = json!({ "quantization": wanted["arguments"] }).to_string();
        let model = open(&[("model.safetensors", &bytes), ("config.json", config.as_bytes())]).unwrap();
        for tensor in &model.tensors {
            let own = tensor.parts().iter().map(|p| &bytes[p.begin as usize..p.end as usize]).collect::<Vec<_>>();
            common::assert_windows_are_cuts(&tensor.info, &own.concat());
        }
    }
}

/// Compares two models in memory.
fn compared(original: (Model, &[u8]), quantized: (Model, &[u8]), options: Options) -> Result<PairReport> {
    let limits = Limits { threads: 1, memory: u64::MAX, hard_limit: u64::MAX };
    let mut run = PairRun::new(original.0, quantized.0, options, limits, Cancellation::default())?;
    loop {
        match run.next_step() {
            Next::Read(task) => run.task(task, bytes_of(&run, task, original.1, quantized.1))(),
            Next::Wait => _ = run.take_finished(Duration::ZERO),
            Next::Done => return Ok(run.report(RunStatus::Complete)),
        }
    }
}

fn bytes_of(run: &PairRun, task: usize, original: &[u8], quantized: &[u8]) -> Vec<u8> {
    let bytes = |(side, part): (Side, Part)| {
        let bytes = if side == Side::First { original } else { quantized };
        bytes[part.begin as usize..part.end as usize].to_vec()
    };
    run.parts(task).into_iter().flat_map(bytes).collect()
}

#[test]
fn both_spectra_of_a_pair_are_those_of_its_row() {
    let (source, packed) = (checkpoint("source"), checkpoint("gptq_4bit_g128_sym"));
    let models = || (open(&[("source.safetensors", &source)]).unwrap(), open(&[("m.safetensors", &packed)]).unwrap());
    let prepared = |hard_limit| {
        let limits = Limits { threads: 1, memory: u64::MAX, hard_limit };
        let (original, quantized) = models();
        PairRun::new(original, quantized, Options::default(), limits, Cancellation::default()).unwrap()
    };
    let row = compared((models().0, &source), (models().1, &packed), Options::default()).unwrap().pairs.swap_remove(0);
    let run = prepared(u64::MAX);
    let pair = run.find(&row.name, &row.quantized_name).unwrap();
    let bytes = bytes_of(&run, pair, &source, &packed);
    let found = run.spectra(pair, &bytes).unwrap();
    assert_eq!(found.row, row);
    let [before, after] = found.spectra.unwrap();
    let alpha = |spectrum: &PairSpectrum| spectrum.fit.as_ref().map(|fit| fit.alpha);
    assert_eq!((alpha(&before), alpha(&after)), (row.original_alpha.0, row.alpha.0));
    assert!(alpha(&before).is_some() && before.eigenvalues.is_sorted() && before.eigenvalues.len() == 32);
    let ratio = after.eigenvalues.last().unwrap() / before.eigenvalues.last().unwrap();
    assert_eq!(Some(ratio), row.lambda_max_ratio.0);
    // The trace is the squared norm: rounding of the eigenvalues, some 1e-15 of the largest each.
    let trace: f64 = before.eigenvalues.iter().sum();
    assert!((trace / row.squared_norm.0.unwrap() - 1.0).abs() < 1e-13);
    assert_eq!(prepared(1).spectra(pair, &bytes).unwrap_err().code(), "limit");
    assert_eq!(run.find(&row.name, "nothing").unwrap_err().code(), "options");
}

#[test]
fn errors_against_the_source_are_the_makers() {
    let source = checkpoint("source");
    let mut compared_count = 0;
    for (name, wanted) in expected() {
        let Some(error) = wanted["relative_error"].as_f64().filter(|_| wanted["shape"] == json!([32, 256])) else {
            continue;
        };
        compared_count += 1;
        let bytes = checkpoint(&name);
        let config = json!({ "quantization": wanted["arguments"] }).to_string();
        let quantized = open(&[("m.safetensors", &bytes), ("config.json", config.as_bytes())]).unwrap();
        let original = open(&[("source.safetensors", &source)]).unwrap();
        let report = compared((original, &source), (quantized, &bytes), Options::default()).unwrap();
        let [row] = &report.pairs[..] else { panic!("{name}: {} pairs", report.pairs.len()) };
        let found = row.relative_error.0.unwrap();
        // The maker's sums are in another order. For MLX the weight was rounded to BF16 first, which is an error of 1.6e-3 here.
        let tolerance = if name.starts_with("mlx") { 3e-2 } else { 1e-3 };
        assert!((found / error - 1.0).abs() < tolerance, "{name}: {found} {error}");
        assert!((report.totals.relative_error.0.unwrap() / found - 1.0).abs() < 1e-12, "{name}");
        assert!(row.log_spectrum_distance.0.unwrap() > 0.0 && row.lambda_max_ratio.0.unwrap() > 0.5, "{name}: {row:?}");
        assert_eq!((row.layout.as_str(), row.original_scheme.as_str()), ("", "F16"), "{name}");
    }
    assert!(compared_count >= 28, "{compared_count}");
}

#[test]
fn a_model_compared_with_itself_has_no_error() {
    let source = checkpoint("source");
    let model = || open(&[("source.safetensors", &source)]).unwrap();
    let report = compared((model(), &source), (model(), &source), Options::default()).unwrap();
    let row = &report.pairs[0];
    assert_eq!(
        (row.relative_error.0, row.max_error_share.0, row.log_spectrum_distance.0),
        (Some(0.0), Some(0.0), Some(0.0))
    );
    assert_eq!((row.lambda_max_ratio.0, row.bits_per_weight.0), (Some(1.0), Some(16.0)));
    let other = safetensors_of("other.weight", &[4, 4]);
    let model = open(&[("other.safetensors", &other)]).unwrap();
    let source_model = open(&[("source.safetensors", &source)]).unwrap();
    let error = compared((source_model, &source), (model, &other), Options::default()).unwrap_err();
    assert!(error.to_string().contains("no weights in common"), "{error}");
}

fn safetensors_of(name: &str, shape: &[usize]) -> Vec<u8> {
    let len = 4 * shape.iter().product::<usize>();
    common::safetensors(&json!({ name: {"dtype": "F32", "shape": shape, "data_offsets": [0, len]} }).to_string(), len)
}

/// The oracle: singular values of each kernel position by nalgebra, squared and halved as WeightWatcher has them.
#[test]
fn convolutions_are_compared_by_the_spectra_of_all_kernel_positions() {
    let (out, input, positions) = (24, 12, 9);
    let weight = |i: usize| libm::sinf((i * i % 1009) as f32 * 0.37) * (1.0 + (i % 7) as f32);
    let weights: Vec<f32> = (0..out * input * positions).map(weight).collect();
    let rounded: Vec<f32> = weights.iter().map(|w| 2.0 * w.round()).collect();
    let file = |values: &[f32]| {
        let shape = json!({"dtype": "F32", "shape": [out, input, 3, 3], "data_offsets": [0, 4 * values.len()]});
        let header = serde_json::from_value(json!({ "features.3.weight": shape })).unwrap();
        together(&header, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    };
    let (first, second) = (file(&weights), file(&rounded));
    let model = |bytes: &[u8]| open(&[("m.safetensors", bytes)]).unwrap();
    let report = compared((model(&first), &first), (model(&second), &second), Options::default()).unwrap();
    let [row] = &report.pairs[..] else { panic!("{report:?}") };
    assert_eq!(row.reason, None);
    let eigenvalues = |values: &[f32]| {
        let slice = |position: usize| {
            let values = values.iter().skip(position).step_by(positions).map(|v| f64::from(*v));
            nalgebra::DMatrix::from_row_iterator(out, input, values).singular_values()
        };
        let mut all: Vec<f64> =
            (0..positions).flat_map(|p| slice(p).iter().map(|s| s * s / 2.0).collect::<Vec<_>>()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (first, second) = (eigenvalues(&weights), eigenvalues(&rounded));
    let alpha = |values: &[f64]| fit_weightwatcher(values).unwrap().alpha;
    let near = |found: Option<f64>, wanted: f64| (found.unwrap() / wanted - 1.0).abs() < 1e-9;
    assert!(near(row.original_alpha.0, alpha(&first)) && near(row.alpha.0, alpha(&second)), "{row:?}");
    assert!(near(row.lambda_max_ratio.0, second.last().unwrap() / first.last().unwrap()), "{row:?}");
    assert!(row.log_spectrum_distance.0.unwrap() > 0.5, "{row:?}");
}

/// The AWQ checkpoint packed again as AutoAWQ 0.2.9 does it for its GEMV kernel (`WQLinear_GEMV.from_linear`): not
/// transposed, codes in order, zeros and scales by row, in whole words.
#[test]
fn awq_for_gemv_gives_the_weights_of_awq_for_gemm() {
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let (rows, cols, groups) = (32, 256, 2);
    let bytes = checkpoint("awq_4bit_g128");
    let (header, data) = apart(&bytes);
    let part = |end: &str| {
        let at = |i: usize| header[ending(&header, end)]["data_offsets"][i].as_u64().unwrap() as usize;
        &data[at(0)..at(1)]
    };
    let nibble = |end: &str, line: usize, row: usize| {
        let words = part(end).as_chunks::<4>().0;
        let place = ORDER.iter().position(|output| *output == row % 8).unwrap();
        u32::from_le_bytes(words[line * (rows / 8) + row / 8]) >> (4 * place) & 15
    };
    let packed =
        |codes: &mut dyn Iterator<Item = u32>| codes.enumerate().fold(0, |word, (i, code)| word | code << (4 * i));
    let (mut codes, mut zeros, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        for word in 0..cols / 8 {
            let word = packed(&mut (0..8).map(|i| nibble(".qweight", 8 * word + i, row)));
            codes.extend(word.to_le_bytes());
        }
        zeros.extend(packed(&mut (0..groups).map(|group| nibble(".qzeros", group, row))).to_le_bytes());
        for group in 0..8 {
            let at = 2 * (group * rows + row);
            scales.extend(if group < groups { [part(".scales")[at], part(".scales")[at + 1]] } else { [0, 0] });
        }
    }
    let ends = [codes.len(), codes.len() + zeros.len(), codes.len() + zeros.len() + scales.len()];
    let name = |end: &str| ending(&header, end).to_owned();
    let new = json!({
        name(".qweight"): {"dtype": "I32", "shape": [rows, cols / 8], "data_offsets": [0, ends[0]]},
        name(".qzeros"): {"dtype": "I32", "shape": [rows, 1], "data_offsets": [ends[0], ends[1]]},
        name(".scales"): {"dtype": "F16", "shape": [rows, 8], "data_offsets": [ends[1], ends[2]]},
    });
    let gemv = together(&serde_json::from_value(new).unwrap(), &[codes, zeros, scales].concat());
    // Groups of 128 and of 256 fill a word each.
    let message = open(&[("m.safetensors", &gemv)]).unwrap_err().to_string();
    assert!(message.contains("config.json"), "{message}");
    let config = |group: i64| json!({"quantization_config": {"group_size": group}}).to_string();
    let found = |group| open(&[("m.safetensors", &gemv), ("config.json", config(group).as_bytes())]);
    let model = found(128).unwrap();
    assert_eq!(model.tensors[0].info.stored_as(), "AWQ 4-bit g128");
    let wanted = open(&[("m.safetensors", &bytes)]).unwrap();
    assert_eq!(values(&model, &gemv).unwrap(), values(&wanted, &bytes).unwrap());
    let message = found(64).unwrap_err().to_string();
    assert!(message.contains("not of groups of 64"), "{message}");
}

#[test]
fn layouts_for_one_kernel_are_named() {
    let refused = |tensors: Value, what: &str| {
        let bytes = common::safetensors(&tensors.to_string(), 64);
        let error = open(&[("m.safetensors", &bytes)]).unwrap_err();
        assert!(error.code() == "unsupported" && error.to_string().contains(what), "{error}");
    };
    let words = |shape: [u64; 2]| json!({"dtype": "I32", "shape": shape, "data_offsets": [0, 32]});
    let halves = json!({"dtype": "F16", "shape": [1, 16], "data_offsets": [32, 64]});
    refused(json!({"l.0.q.B": words([1, 8]), "l.0.q.s": halves}), "tensor \"l.0.q.B\" is packed in Marlin's layout");
    refused(json!({"l.0.q.weight_packed": words([1, 8]), "l.0.q.scale_packed": halves}), "Marlin's layout");
    let shorts = json!({"dtype": "I16", "shape": [1, 16], "data_offsets": [0, 32]});
    refused(json!({"l.0.q.qweight": shorts, "l.0.q.scales": halves}), "fast GEMV kernel");
}

#[test]
fn schemes_and_bits_are_named() {
    let stored = |name: &str| {
        let bytes = checkpoint(name);
        let config = json!({ "quantization": expected()[name]["arguments"] }).to_string();
        let model = open(&[("m.safetensors", &bytes), ("config.json", config.as_bytes())]).unwrap();
        (model.tensors[0].info.stored_as(), model.tensors[0].info.bits_per_weight().unwrap())
    };
    // Two groups a row: a 16-bit scale and a 4-bit zero each, and a 32-bit group number for each of 256 columns of 32 rows.
    assert_eq!(stored("gptq_4bit_g128_sym"), ("GPTQ 4-bit g128".to_owned(), 4.0 + 20.0 / 128.0 + 1.0));
    assert_eq!(stored("awq_4bit_g128"), ("AWQ 4-bit g128".to_owned(), 4.0 + 20.0 / 128.0));
    // A map of 16 values beside 32 x 256 weights.
    assert_eq!(stored("bnb_nf4"), ("NF4 b64".to_owned(), 4.5 + 16.0 * 32.0 / 8192.0));
    assert_eq!(stored("bnb_int8"), ("LLM.int8".to_owned(), 8.0 + 32.0 / 256.0));
    assert_eq!(stored("mlx_affine_g64_b4"), ("MLX 4-bit g64".to_owned(), 4.5));
    assert_eq!(stored("ct_pack_quantized__int4_sym_g64"), ("INT4 g64".to_owned(), 4.5));
    assert_eq!(stored("fp8_block128_weight_scale_inv").0, "F8_E4M3 128x128");
    assert_eq!(stored("gptoss_mxfp4"), ("MXFP4".to_owned(), 4.25));
}

/// Header and data of a checkpoint, to be damaged.
fn apart(bytes: &[u8]) -> (serde_json::Map<String, Value>, Vec<u8>) {
    let len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + len]).unwrap(), bytes[8 + len..].to_vec())
}

fn together(header: &serde_json::Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let text = serde_json::to_string(header).unwrap();
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat()
}

fn ending<'a>(header: &'a serde_json::Map<String, Value>, end: &str) -> &'a str {
    header.keys().find(|key| key.ends_with(end)).unwrap_or_else(|| panic!("no {end}"))
}

#[test]
fn a_missing_piece_is_named_with_its_weight() {
    for (name, piece) in [
        ("gptq_4bit_g128_sym", ".qzeros"),
        ("gptq_4bit_g128_sym", ".scales"),
        ("gptq_4bit_g128_sym", ".qweight"),
        ("awq_4bit_g128", ".scales"),
        ("bnb_nf4", ".quant_state.bitsandbytes__nf4"),
        ("bnb_nf4_dq", ".nested_absmax"),
        ("bnb_nf4", ".weight.quant_map"),
        ("ct_pack_quantized__int4_sym_g128", ".weight_scale"),
        ("ct_nvfp4_pack_quantized__nvfp4", ".weight_global_scale"),
        ("gptoss_mxfp4", "_scales"),
    ] {
        let (mut header, data) = apart(&checkpoint(name));
        // Under another name, so that the bytes still belong to a tensor.
        let key = ending(&header, piece).to_owned();
        let value = header.remove(&key).unwrap();
        header.insert("lost".to_owned(), value);
        let error = open(&[("m.safetensors", &together(&header, &data))]).unwrap_err();
        assert_eq!(error.code(), "format", "{name} {piece}: {error}");
        assert!(error.to_string().contains("is missing"), "{name} {piece}: {error}");
        assert!(error.to_string().contains("model.layers.0"), "{name} {piece}: {error}");
    }
}

#[test]
fn an_odd_shape_is_named_with_its_weight() {
    for (name, piece) in [
        ("gptq_4bit_g128_sym", ".qweight"),
        ("gptq_4bit_g128_sym", ".qzeros"),
        ("gptq_4bit_g128_sym", ".scales"),
        ("gptq_4bit_g128_sym", ".g_idx"),
        ("awq_4bit_g128", ".qzeros"),
        ("bnb_nf4", ".weight.absmax"),
        ("bnb_int8", ".SCB"),
        ("ct_pack_quantized__int4_asym_g128", ".weight_zero_point"),
        ("ct_nvfp4_pack_quantized__nvfp4", ".weight_scale"),
        ("fp8_block128_weight_scale_inv", ".weight_scale_inv"),
        ("mlx_affine_g64_b4", ".biases"),
        ("mlx_mxfp4", ".scales"),
        ("gptoss_mxfp4", "_scales"),
    ] {
        let (mut header, data) = apart(&checkpoint(name));
        let key = ending(&header, piece).to_owned();
        let shape = header[&key]["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product::<u64>();
        header.get_mut(&key).unwrap()["shape"] = json!([1, 1, shape]);
        let config = json!({ "quantization": expected()[name]["arguments"] }).to_string();
        let bytes = together(&header, &data);
        let error = open(&[("m.safetensors", &bytes), ("config.json", config.as_bytes())]).unwrap_err();
        assert_eq!(error.code(), "format", "{name} {piece}: {error}");
        assert!(error.to_string().contains("tensor \"model.layers.0"), "{name} {piece}: {error}");
    }
}

#[test]
fn what_only_the_config_says_is_asked_for() {
    let bytes = checkpoint("mlx_affine_g64_b4");
    let message = open(&[("m.safetensors", &bytes)]).unwrap_err().to_string();
    assert!(message.ends_with("config.json says in how many bits; put that file beside the model"), "{message}");
    let wrong = json!({"quantization": {"bits": 4, "group_size": 32}}).to_string();
    let message = open(&[("m.safetensors", &bytes), ("config.json", wrong.as_bytes())]).unwrap_err().to_string();
    assert!(message.contains("as config.json has it"), "{message}");
    // 5 bits in groups of 64 fit nothing else.
    let bytes = checkpoint("mlx_affine_g64_b5");
    assert_eq!(open(&[("m.safetensors", &bytes)]).unwrap().tensors[0].info.stored_as(), "MLX 5-bit g64");
}

#[test]
fn the_second_gptq_format_stores_the_zero_itself() {
    let bytes = checkpoint("gptq_4bit_g128_sym");
    let v2 = json!({"quantization_config": {"checkpoint_format": "gptq_v2"}}).to_string();
    let first = open(&[("m.safetensors", &bytes)]).unwrap();
    let second = open(&[("m.safetensors", &bytes), ("config.json", v2.as_bytes())]).unwrap();
    let (first, second) = (values(&first, &bytes).unwrap(), values(&second, &bytes).unwrap());
    // One code apart everywhere: the scale.
    let (header, data) = apart(&bytes);
    let at = header[ending(&header, ".scales")]["data_offsets"][0].as_u64().unwrap() as usize;
    let scale = half::f16::from_le_bytes([data[at], data[at + 1]]).to_f32();
    assert!((second[0] - first[0] - scale).abs() < 1e-6, "{} {} {scale}", first[0], second[0]);
}

#[test]
fn a_group_that_does_not_exist_is_an_error() {
    let mut bytes = checkpoint("gptq_4bit_g64_asym_actorder");
    let (header, data) = apart(&bytes);
    let at = bytes.len() - data.len() + header[ending(&header, ".g_idx")]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[at] = 77;
    let error = values(&open(&[("m.safetensors", &bytes)]).unwrap(), &bytes).unwrap_err();
    assert!(error.to_string().contains("groups that do not exist"), "{error}");
}

proptest! {
    /// A damaged header or note is refused or read, never a panic, and what is accepted can be decoded.
    #[test]
    fn damage_never_panics(which in 0_usize..38, changes in proptest::collection::vec((8_usize..700, any::<u8>()), 1..4), digits in any::<bool>()) {
        let all: Vec<String> = expected().into_keys().collect();
        let mut bytes = checkpoint(&all[which % all.len()]);
        let len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        for (at, byte) in changes {
            let at = 8 + at % len;
            // Digits for digits, so that JSON often stays JSON.
            if !digits || bytes[at].is_ascii_digit() {
                bytes[at] = if digits { b'0' + byte % 10 } else { byte };
            }
        }
        if let Ok(model) = open(&[("m.safetensors", &bytes)]) {
            let plain = |t: &heavytail::format::TensorEntry| t.info.elements() < 1 << 24;
            if model.tensors.iter().all(plain) {
                let _ = values(&model, &bytes);
            }
        }
    }
}
