//! GGUF files, as a user has them: every type against the package gguf, and files that are wrong.

mod common;

use std::collections::BTreeMap;

use common::Table;
use heavytail::Result;
use heavytail::format::{Contents, FileReader, Header};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// Reads a header as the shells do; also the number of bytes that took.
fn read(bytes: &[u8]) -> Result<(Header, u64)> {
    let mut reader = FileReader::new("m.gguf", bytes.len() as u64);
    let mut taken = 0;
    while let Some(range) = reader.wants() {
        taken += range.end - range.start;
        reader.give(&bytes[range.start as usize..range.end as usize])?;
    }
    match reader.finish()?.2 {
        Contents::Header(header) => Ok((header, taken)),
        other => panic!("{other:?}"),
    }
}

fn blocks() -> Vec<u8> {
    std::fs::read(common::data("gguf/blocks.gguf")).unwrap()
}

#[test]
fn every_type_dequantizes_to_the_packages_bits() {
    let bytes = blocks();
    let text = std::fs::read_to_string(common::data("gguf/values.json")).unwrap();
    let wanted: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let (header, _) = read(&bytes).unwrap();
    assert_eq!(header.metadata["general.architecture"], "llama");
    assert_eq!(header.metadata["llama.attention.head_count"], "4");
    assert!(!header.metadata.contains_key("tokenizer.ggml.tokens"));
    assert!(!header.metadata.contains_key("tokenizer.chat_template"));
    assert_eq!(header.tensors.len(), wanted.len());
    let mut differing = Vec::new();
    for tensor in header.tensors {
        let mut values = vec![0.0; tensor.elements() as usize];
        tensor.decode(&bytes[tensor.begin as usize..tensor.end as usize], &mut values).unwrap();
        let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() });
        let hash = Sha256::digest(bits.flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        if format!("{hash:x}") != wanted[&tensor.name] {
            differing.push(tensor.name);
        }
    }
    assert_eq!(differing, [""; 0]);
}

/// llama.cpp's converter lays the two halves of each head's rows of q and k side by side.
fn permuted_row(row: usize, rows: usize, heads: usize) -> usize {
    let per_head = rows / heads;
    let (head, inside) = (row / per_head, row % per_head);
    head * per_head + inside % 2 * (per_head / 2) + inside / 2
}

/// Where a GGUF tensor of SmolLM2 is in its Hugging Face copy, and its heads if its rows are permuted.
fn hugging_face(name: &str) -> (String, Option<usize>) {
    let parts: Vec<&str> = name.split('.').collect();
    let ["blk", layer, part, "weight"] = parts[..] else {
        let name = if name.starts_with("token_embd") { "model.embed_tokens.weight" } else { "model.norm.weight" };
        return (name.to_owned(), None);
    };
    let (part, heads) = match part {
        "attn_q" => ("self_attn.q_proj", Some(9)),
        "attn_k" => ("self_attn.k_proj", Some(3)),
        "attn_v" => ("self_attn.v_proj", None),
        "attn_output" => ("self_attn.o_proj", None),
        "attn_norm" => ("input_layernorm", None),
        "ffn_norm" => ("post_attention_layernorm", None),
        "ffn_gate" => ("mlp.gate_proj", None),
        "ffn_up" => ("mlp.up_proj", None),
        "ffn_down" => ("mlp.down_proj", None),
        other => panic!("{other}"),
    };
    (format!("model.layers.{layer}.{part}.weight"), heads)
}

/// The tables of SmolLM2 were made from the F16 copy: that copy is this file's weights, each rounded to F16.
#[test]
fn smollm2s_weights_are_those_of_its_f16_copy_before_rounding() {
    let bytes = std::fs::read(common::model("smollm2-135m-gguf").join("model.gguf")).unwrap();
    let copy = std::fs::read(common::model("smollm2-135m-f16").join("model.safetensors")).unwrap();
    let copy = safetensors::SafeTensors::deserialize(&copy).unwrap();
    let (header, _) = read(&bytes).unwrap();
    assert_eq!(header.tensors.len(), copy.len());
    for tensor in header.tensors {
        let mut values = vec![0.0; tensor.elements() as usize];
        tensor.decode(&bytes[tensor.begin as usize..tensor.end as usize], &mut values).unwrap();
        let (name, heads) = hugging_face(&tensor.name);
        let theirs = copy.tensor(&name).unwrap();
        let shape: Vec<u64> = theirs.shape().iter().map(|d| *d as u64).collect();
        assert_eq!(tensor.shape, shape, "{name}");
        let cols = *theirs.shape().last().unwrap();
        for (row, ours) in values.chunks(cols).enumerate() {
            let row = heads.map_or(row, |heads| permuted_row(row, shape[0] as usize, heads));
            let theirs = &theirs.data()[2 * row * cols..][..2 * cols];
            let ours = ours.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes());
            assert!(ours.eq(theirs.iter().copied()), "{name}, row {row}");
        }
    }
}

/// Alphas of the first four blocks: what is left between the file and its F16 copy is the rounding of the copy, which moves
/// xmin, and with it alpha, where two are equally good.
#[test]
fn smollm2s_alphas_are_those_of_its_f16_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = common::model("smollm2-135m-gguf").join("model.gguf");
    let theirs = Table::read(&common::data("weightwatcher/smollm2-135m-f16/fp16.details.csv"));
    let changes = |ours: &Table| -> Vec<f64> {
        let change = |name: &str| {
            let (theirs_name, _) = hugging_face(&format!("{name}.weight"));
            let alpha = theirs.number(theirs_name.trim_end_matches(".weight"), "alpha").unwrap();
            (ours.number(name, "alpha").unwrap() - alpha).abs()
        };
        let mut changes: Vec<f64> = ours.names().map(change).collect();
        changes.sort_by(f64::total_cmp);
        changes
    };
    let direct = folder.path().join("direct");
    common::analyse(&file, &direct, &["--quantizations", "fp16", "--layers", "blk.0.*,blk.1.*,blk.2.*,blk.3.*"]);
    let ours = Table::read(&direct.join("details.csv"));
    assert!(ours.names().all(|name| ours.text(name, "dtype") == "Q4_1"));
    let found = changes(&ours);
    assert_eq!(found.len(), 28);
    assert!(found[14] < 2e-4 && found[27] < 4e-3, "{found:?}");

    // Rounded as the copy was, nothing is left.
    let bytes = std::fs::read(&file).unwrap();
    let (header, _) = read(&bytes).unwrap();
    let rounded: Vec<(String, Vec<usize>, Vec<u8>)> = header
        .tensors
        .iter()
        .filter(|tensor| tensor.name.starts_with("blk.0.") && tensor.shape.len() == 2)
        .map(|tensor| {
            let mut values = vec![0.0; tensor.elements() as usize];
            tensor.decode(&bytes[tensor.begin as usize..tensor.end as usize], &mut values).unwrap();
            let halves = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
            (tensor.name.clone(), tensor.shape.iter().map(|d| *d as usize).collect(), halves)
        })
        .collect();
    let views = rounded.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.clone(), bytes).unwrap())
    });
    let copy = folder.path().join("copy.safetensors");
    std::fs::write(&copy, safetensors::serialize(views, None).unwrap()).unwrap();
    common::analyse(&copy, &folder.path().join("copy"), &["--quantizations", "fp16"]);
    let found = changes(&Table::read(&folder.path().join("copy/details.csv")));
    assert_eq!(found.len(), 7);
    assert!(found[6] < 1e-6, "{found:?}");
}

/// llama.cpp's names are matched with the model library's, and its order of q's and k's rows is undone: what is left is the
/// F16 rounding of the copy.
#[test]
fn compare_finds_smollm2_in_its_gguf_form() {
    let original = common::model("smollm2-135m-f16").join("model.safetensors");
    let quantized = common::model("smollm2-135m-gguf").join("model.gguf");
    let result = common::heavytail([
        "compare",
        original.to_str().unwrap(),
        quantized.to_str().unwrap(),
        "--layers",
        "model.layers.3.*",
        "--format",
        "csv",
        "--quiet",
    ]);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let mut reader = csv::Reader::from_reader(&result.stdout[..]);
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), 7);
    for row in &rows {
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        // Half a unit in the last of F16's eleven bits at most, a third of that on average.
        assert!(number("relative_error") > 1e-5 && number("relative_error") < 2.0_f64.powi(-11), "{row:?}");
        assert_eq!((row["scheme"].as_str(), number("bits_per_weight")), ("Q4_1", 5.0));
        assert!(number("alpha_change").abs() < 1e-2 && (number("lambda_max_ratio") - 1.0).abs() < 1e-3, "{row:?}");
        let layout = match row["quantized_name"].as_str() {
            "blk.3.attn_q.weight" => "rows permuted in 9 heads",
            "blk.3.attn_k.weight" => "rows permuted in 3 heads",
            _ => "",
        };
        assert_eq!(row["layout"], layout, "{row:?}");
    }
}

/// Writes files that are wrong.
#[derive(Clone)]
struct File(Vec<u8>);

impl File {
    fn new(version: u32, tensors: u64, pairs: u64) -> Self {
        let mut file = Self(b"GGUF".to_vec());
        file.u32(version).u64(tensors).u64(pairs);
        file
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64).0.extend(text.as_bytes());
        self
    }

    fn tensor(&mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.text(name).u32(dims.len() as u32);
        for dim in dims {
            self.u64(*dim);
        }
        self.u32(kind).u64(offset)
    }

    /// With `data` bytes after the header.
    fn with_data(&self, data: usize) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
        bytes
    }
}

fn refusal(bytes: &[u8]) -> (&'static str, String) {
    let error = read(bytes).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn each_fault_is_named_with_its_place() {
    let refused = |bytes: &[u8], code: &str, part: &str| {
        let (found, message) = refusal(bytes);
        assert!(found == code && message.contains(part), "{found}: {message}");
    };
    let one =
        |dims: &[u64], kind, offset, data| File::new(3, 1, 0).tensor("a.weight", dims, kind, offset).with_data(data);
    assert!(read(&one(&[32, 2], 2, 0, 36)).is_ok());
    assert_eq!(read(&File::new(2, 0, 0).0).unwrap().0.tensors.len(), 0);
    refused(&File::new(1, 0, 0).0, "unsupported", "GGUF version 1");
    refused(&File::new(3_u32.swap_bytes(), 0, 0).0, "unsupported", "big-endian");
    refused(b"GGUF\x03\0\0\0", "format", "cut short");
    refused(&File::new(3, 1 << 60, 0).0, "format", "claims 1152921504606846976 tensors");
    refused(&File::new(3, 0, 1 << 60).0, "format", "metadata values");
    refused(
        &one(&[33, 2], 2, 0, 36),
        "format",
        "tensor \"a.weight\" has rows of 33 values, which are not whole blocks",
    );
    refused(&one(&[32, 2], 77, 0, 36), "unsupported", "tensor \"a.weight\" has the type number 77");
    refused(&one(&[32, 2], 4, 0, 36), "unsupported", "not in use any more");
    refused(&one(&[32, 2], 2, 8, 64), "format", "no multiple of the alignment");
    refused(&one(&[32, 2], 2, 0, 35), "format", "past the end");
    refused(&one(&[1 << 40, 1 << 40], 2, 0, 36), "format", "impossible shape");
    refused(&one(&[32, 2], 2, u64::MAX - 31, 36), "format", "past the end");
    refused(&one(&[1; 5], 2, 0, 36), "format", "5 dimensions");
    let twice = File::new(3, 2, 0).tensor("a", &[1], 0, 0).tensor("a", &[1], 0, 32).with_data(64);
    refused(&twice, "format", "tensor \"a\" is there twice");
    let overlap = File::new(3, 2, 0).tensor("a", &[9], 0, 0).tensor("b", &[1], 0, 32).with_data(64);
    refused(&overlap, "format", "tensor \"b\" overlaps that of tensor \"a\"");

    let pair = |kind: u32, rest: &dyn Fn(&mut File)| {
        let mut file = File::new(3, 0, 1);
        rest(file.text("key").u32(kind));
        file.with_data(64)
    };
    refused(&pair(13, &|_| ()), "format", "\"key\" has the unknown type 13");
    refused(&pair(8, &|f| _ = f.u64(1 << 40)), "format", "\"key\" claims 1099511627776 bytes");
    refused(&pair(9, &|f| _ = f.u32(4).u64(1 << 60)), "format", "\"key\" claims 1152921504606846976 entries");
    refused(&pair(9, &|f| _ = f.u32(8).u64(1 << 60)), "format", "entries");
    refused(&pair(9, &|f| _ = f.u32(9).u64(1).u32(4).u64(0)), "format", "array of arrays");
    refused(&pair(9, &|f| _ = f.u32(8).u64(1).u64(1 << 40)), "format", "\"key\" claims 1099511627776 bytes");
    let aligned = |by: u32| File::new(3, 0, 1).text("general.alignment").u32(4).u32(by).with_data(0);
    assert!(read(&aligned(8)).is_ok());
    refused(&aligned(0), "format", "not a power of two");
    refused(&aligned(48), "format", "not a power of two");
    // An error's text carries no control characters of the file.
    let (_, message) = refusal(&File::new(3, 1, 0).tensor("\u{1b}[31m", &[32, 2], 77, 0).with_data(36));
    assert!(!message.contains('\u{1b}'));
}

#[test]
fn a_large_vocabulary_is_passed_over_in_few_pieces() {
    let mut file = File::new(3, 1, 2);
    file.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(150_000);
    for i in 0..150_000 {
        file.text(&format!("token-{i}"));
    }
    file.text("tokenizer.ggml.scores").u32(9).u32(6).u64(150_000);
    file.0.resize(file.0.len() + 600_000, 0);
    file.tensor("a.weight", &[32, 32], 8, 0);
    let header_len = file.0.len() as u64;
    let bytes = file.with_data(34 * 32 + 20_000_000);
    let (header, taken) = read(&bytes).unwrap();
    assert_eq!((header.tensors.len(), header.metadata.len()), (1, 0));
    assert!(taken <= 2 * header_len, "{taken} bytes read for a header of {header_len}");
}

proptest! {
    /// A damaged file is read or refused, never a panic; what is accepted lies inside the file.
    #[test]
    fn damage_never_panics(changes in proptest::collection::vec((0_usize..4000, any::<u8>()), 1..6), cut in 0_usize..20_000) {
        let mut bytes = blocks();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(10_000)));
        if let Ok((header, _)) = read(&bytes) {
            for tensor in header.tensors {
                prop_assert!(tensor.begin <= tensor.end && tensor.end <= bytes.len() as u64);
            }
        }
    }
}
