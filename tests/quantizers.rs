//! Every scheme on every input, bit for bit as the tools have it (`tests/data/README.md`).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use heavytail::matrix::Matrix;
use heavytail::quant::{
    Arithmetic, Block4, Damage, Dynamic8, DynamicSearch, Element, Extent, Float8, GgmlType, Group, Hqq, Integers, Map4,
    Microscaling, Nvfp4, ScaleRule, Scheme, Spread,
};
use heavytail::tensor::{Dtype, Rounding};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Whole matrices whose bits differ, and why. Everything else must be equal.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "hqq_b",
    "edge_28x512",
    "ties of the optimiser are decided by the last bit of torch's own pow(x, -0.3); SQNR agrees to 0.01 dB",
)];

/// Rows of `edge_28x512` that a tool leaves undefined.
const EDGE_ROWS: &[(&str, usize, &str)] = &[("mlx_mxfp", 8, "weights of 1e-38: the tool's exponent byte wraps")];

fn load(path: &str) -> Vec<u8> {
    fs::read(common::data(path)).unwrap()
}

fn floats(view: &safetensors::tensor::TensorView) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The inputs, each with its dtype; 16-bit ones are the rounded `gauss_64x512`.
fn inputs() -> BTreeMap<String, (Matrix, Dtype)> {
    let mut inputs = BTreeMap::new();
    for file in ["seed_quantization/inputs.safetensors", "quant/inputs.safetensors"] {
        let bytes = load(file);
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let matrix = Matrix::new(view.shape()[0], view.shape()[1], floats(&view)).unwrap();
            inputs.insert(name.to_owned(), (matrix, Dtype::F32));
        }
    }
    let gauss = inputs["gauss_64x512"].0.clone();
    for (suffix, dtype) in [("f16", Dtype::F16), ("bf16", Dtype::BF16)] {
        let values = gauss.values().iter().map(|v| Rounding::of(dtype).apply(*v)).collect();
        inputs.insert(format!("gauss_64x512_{suffix}"), (Matrix::new(64, 512, values).unwrap(), dtype));
    }
    inputs
}

/// The scheme that a name of the reference stands for; `None` for the plain casts to 16 bits, which are no schemes of
/// their own, and for the cast that overflows to NaN.
fn scheme(name: &str) -> Scheme {
    let parts: Vec<&str> = name.split('_').collect();
    let number = |text: &str| text[1..].parse::<u16>().unwrap();
    let group = |text: &str| if text == "row" { Group::Row } else { Group::Columns(number(text)) };
    match parts[..] {
        ["int", spread, extent, bits] => {
            let spread = match spread {
                "sym" => Spread::Symmetric,
                "symfull" => Spread::SymmetricFull,
                "asym" => Spread::Asymmetric,
                "asymz" => Spread::AsymmetricZero,
                other => panic!("{other}"),
            };
            Scheme::Integers(Integers { bits: number(bits) as u8, spread, group: group(extent) })
        }
        ["ct", int @ ("int4" | "int8"), symmetry, extent] => {
            let spread = if symmetry == "sym" { Spread::SymmetricFull } else { Spread::AsymmetricSigned };
            let group = if extent == "channel" { Group::Row } else { group(extent) };
            Scheme::Integers(Integers { bits: int[3..].parse().unwrap(), spread, group })
        }
        ["bnb" | "bnbt", map @ ("nf4" | "fp4"), block, ref rest @ ..] => {
            let search = if parts[0] == "bnb" { DynamicSearch::CpuTable } else { DynamicSearch::Nearest };
            let map = if map == "nf4" { Map4::Nf4 } else { Map4::Fp4 };
            let double_quant = (rest == ["dq"]).then_some(search);
            Scheme::Block4(Block4 { map, block: block[2..].parse().unwrap(), double_quant })
        }
        ["bnb" | "bnbt", "dyn8", block] => {
            let search = if parts[0] == "bnb" { DynamicSearch::CpuTable } else { DynamicSearch::Nearest };
            Scheme::Dynamic8(Dynamic8 { block: block[2..].parse().unwrap(), search })
        }
        ["bnb", "int8", "rowwise"] => Scheme::LlmInt8,
        ["gguf", ..] => {
            let kind = name.strip_prefix("gguf_").unwrap().to_uppercase();
            Scheme::Ggml(GgmlType::QUANTIZED.into_iter().find(|k| k.name() == kind).unwrap())
        }
        ["mlx", "affine", group, bits] => Scheme::Mlx { bits: number(bits) as u8, group: number(group) },
        ["mlx", "mxfp4"] => Scheme::Microscaling(Microscaling { element: Element::E2M1, rule: ScaleRule::Mlx }),
        ["mlx", "mxfp8"] => Scheme::Microscaling(Microscaling { element: Element::E4M3, rule: ScaleRule::Mlx }),
        ["mlx", "nvfp4"] => Scheme::Nvfp4(Nvfp4::Mlx),
        ["mlx", "nvfp4", "global"] => Scheme::Nvfp4(Nvfp4::MlxGlobal),
        ["ao", "nvfp4"] => Scheme::Nvfp4(Nvfp4::Torchao),
        ["ao", "nvfp4", "two", "level"] => Scheme::Nvfp4(Nvfp4::TorchaoTwoLevel),
        ["ct", "nvfp4"] => Scheme::Nvfp4(Nvfp4::CompressedTensors),
        ["ct", "mxfp4"] => {
            Scheme::Microscaling(Microscaling { element: Element::E2M1, rule: ScaleRule::CompressedTensors })
        }
        ["ao", element, rule] => {
            let element = match element {
                "mxfp4" => Element::E2M1,
                "mxfp6e2m3" => Element::E2M3,
                "mxfp6e3m2" => Element::E3M2,
                "mxfp8e4m3" => Element::E4M3,
                "mxfp8e5m2" => Element::E5M2,
                other => panic!("{other}"),
            };
            let rule = match rule {
                "FLOOR" => ScaleRule::Floor,
                "CEIL" => ScaleRule::Ceil,
                "EVEN" => ScaleRule::Even,
                "RCEIL" => ScaleRule::RoundCeil,
                other => panic!("{other}"),
            };
            Scheme::Microscaling(Microscaling { element, rule })
        }
        ["fp8", format, extent] | ["ct", format @ "fp8", extent] => {
            let extent = match extent {
                "tensor" => Extent::Tensor,
                "row" | "channel" => Extent::Row,
                "block128" => Extent::Block128,
                other => panic!("{other}"),
            };
            Scheme::Float8(Float8 { is_e4m3: format != "e5m2", extent })
        }
        ["cast", format @ ("e4m3" | "e5m2"), ..] => {
            Scheme::Float8(Float8 { is_e4m3: format == "e4m3", extent: Extent::Cast })
        }
        ["cast", format] => Scheme::Ggml(if format == "f16" { GgmlType::F16 } else { GgmlType::BF16 }),
        ["hqq", bits, group, axis, ref rest @ ..] => Scheme::Hqq(Hqq {
            bits: number(bits) as u8,
            group: number(group),
            by_columns: axis == "axis1",
            optimised: rest.is_empty(),
        }),
        _ => panic!("{name}"),
    }
}

/// Bytes as the reference hashes them: little-endian f32, -0 as +0, NaN as one pattern.
fn canonical(values: &[f32]) -> Vec<u8> {
    let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { (v + 0.0).to_bits() });
    bits.flat_map(u32::to_le_bytes).collect()
}

fn sha256(values: &[f32]) -> String {
    Sha256::digest(canonical(values)).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn crc32(values: &[f32]) -> u64 {
    let mut crc = u32::MAX;
    for byte in canonical(values) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    u64::from(!crc)
}

/// What a tool's plain cast leaves where this crate's schemes saturate: NaN or infinity beyond the last number.
fn overflow(name: &str, weights: &[f32], out: &mut [f32]) {
    for (w, out) in weights.iter().zip(out) {
        match name {
            // Half a step beyond 448 still rounds to it.
            "cast_e4m3" if w.abs() > 464.0 => *out = f32::NAN,
            "cast_e5m2" if w.abs() >= 61_440.0 => *out = f32::INFINITY.copysign(*w),
            "cast_f16" if w.abs() >= 65_520.0 => *out = f32::INFINITY.copysign(*w),
            _ => {}
        }
    }
}

#[test]
fn every_scheme_on_every_input_equals_its_tool() {
    let numbers: Value = serde_json::from_slice(&load("quant/numbers.json")).unwrap();
    let first_rows = load("quant/first_rows.safetensors");
    let first_rows = SafeTensors::deserialize(&first_rows).unwrap();
    let inputs = inputs();
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut excused = BTreeSet::new();
    for (family, entry) in numbers.as_object().unwrap() {
        for (name, cases) in entry["schemes"].as_object().unwrap() {
            for (input, expected) in cases.as_object().unwrap() {
                let (matrix, dtype) = &inputs[input];
                let cols = matrix.cols();
                let mut out = Vec::new();
                // What these tools return is f32 whatever the dtype of the weights.
                let returns_f32 = name.starts_with("gguf") || name.starts_with("bnb_int8");
                let arithmetic = if returns_f32 { Arithmetic::Exact } else { Arithmetic::Stored };
                let applied = scheme(name).dequantized(matrix, *dtype, arithmetic, &mut out);
                if let Err(error) = &applied {
                    // The cast to f16 overflows on weights of 1e4 and more, and says so.
                    assert!(name == "cast_f16" && error.code() == "numeric", "{name} {input}: {error}");
                }
                overflow(name, matrix.values(), &mut out);
                if let Ok(row) = first_rows.tensor(&format!("{name}/{input}"))
                    && let Some((place, (ours, theirs))) =
                        out.iter().zip(floats(&row)).enumerate().find(|(_, (a, b))| **a != *b)
                {
                    faults.push(format!("{name} {input} column {place}: {ours}, the tool has {theirs}"));
                }
                *compared.entry(family).or_default() += 1;
                if sha256(&out) != expected["sha256"].as_str().unwrap() {
                    if let Some(exception) =
                        EXCEPTIONS.iter().find(|e| name.starts_with(e.0) && (e.1.is_empty() || e.1 == input))
                    {
                        excused.insert(exception);
                    } else if let Some(rows) = expected["crc32_rows"].as_array() {
                        let wrong: Vec<usize> = out
                            .chunks(cols)
                            .zip(rows)
                            .enumerate()
                            .filter(|(row, (ours, theirs))| {
                                Some(crc32(ours)) != theirs.as_u64()
                                    && !EDGE_ROWS.iter().any(|e| name.starts_with(e.0) && e.1 == *row)
                            })
                            .map(|(row, _)| row)
                            .collect();
                        if !wrong.is_empty() {
                            faults.push(format!("{name} {input}: rows {wrong:?} differ"));
                        }
                    } else {
                        faults.push(format!("{name} {input}: the hash differs"));
                    }
                }
                // SQNR holds for the excused ones too.
                let mut damage = Damage::default();
                damage.add(matrix.values(), &out);
                if let (Some(ours), Some(theirs)) = (damage.sqnr_db(), expected["sqnr_db"].as_f64())
                    && ours != theirs
                    && (ours - theirs).abs() > 0.01
                {
                    faults.push(format!("{name} {input}: SQNR {ours} dB, the tool has {theirs}"));
                }
                if let (Ok(applied), Some(bits)) = (applied, expected["bpw"].as_f64())
                    && !name.starts_with("ct_")
                    // The reference counts the last scale of a matrix by its share, a file by its 32 bits.
                    && (applied.bits_per_weight - bits).abs() > 32.0 / matrix.values().len() as f64
                {
                    faults.push(format!("{name} {input}: {} bits, the tool has {bits}", applied.bits_per_weight));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults of {compared:?}:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(excused.len(), EXCEPTIONS.len(), "an exception that is not needed");
    assert_eq!(compared.values().sum::<usize>(), 1424);
}

#[test]
fn blocks_and_scales_are_the_tools() {
    let bytes = load("quant/codes.safetensors");
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let inputs = inputs();
    let mut compared: BTreeMap<String, usize> = BTreeMap::new();
    for (name, view) in stored.iter() {
        let parts: Vec<&str> = name.split('/').collect();
        let [name, input, what] = parts[..] else { continue };
        let (matrix, dtype) = &inputs[input];
        let quantized = scheme(name).quantized(matrix, *dtype, Arithmetic::Exact).unwrap().unwrap();
        let stored = view.data();
        match what {
            "blocks" => {
                let row_bytes = view.shape()[1];
                for (row, (ours, theirs)) in quantized.codes.chunks(row_bytes).zip(stored.chunks(row_bytes)).enumerate()
                {
                    // Mixed zeros: which zero is the smallest depends on the order of comparing.
                    let is_sign_of_zero = input == "edge_28x512" && row == 23 && name.ends_with("_1");
                    assert!(ours == theirs || is_sign_of_zero, "{name} {input} row {row}:\n{ours:?}\n{theirs:?}");
                }
            }
            "absmax" | "SCB" | "scale" | "scales" | "biases" | "absmax2" | "offset" | "zero" | "absmax_codes"
            | "scale_e4m3" | "e8m0" | "scales_u8" => {
                // The offset of double quantization comes last; bitsandbytes' double-quantized scales are codes.
                let ours: Vec<u8> = match what {
                    "absmax_codes" | "scale_e4m3" | "e8m0" | "scales_u8" => quantized.scale_codes.clone(),
                    "absmax2" => le_bytes(&quantized.outer[..quantized.outer.len() - 1]),
                    "offset" => le_bytes(&quantized.outer[quantized.outer.len() - 1..]),
                    "zero" | "biases" => le_bytes(&quantized.zeros),
                    _ => le_bytes(&quantized.scales),
                };
                assert!(ours.starts_with(stored), "{name} {input} {what}");
            }
            "codes" if name.starts_with("fp8") || name.starts_with("bnb") => {
                let plain = |code: &u8| if name.starts_with("fp8") && *code == 0x80 { 0 } else { *code };
                let theirs: Vec<u8> = stored.iter().map(plain).collect();
                assert!(quantized.codes.starts_with(&theirs), "{name} {input} codes");
            }
            "packed" if name.starts_with("bnb") => {
                let ours: Vec<u8> = quantized.codes.as_chunks::<2>().0.iter().map(|[a, b]| a << 4 | b).collect();
                // Zero has two patterns in FP4.
                let zero = |byte: &u8| [byte >> 4, byte & 15].map(|code| if code == 8 { 0 } else { code });
                let is_fp4 = name.contains("fp4_bs") && !name.contains("nf4");
                for (ours, theirs) in ours.iter().zip(stored) {
                    assert!(
                        ours == theirs || (is_fp4 && zero(ours) == zero(theirs)),
                        "{name} {input}: {ours} {theirs}"
                    );
                }
            }
            _ => continue,
        }
        *compared.entry(format!("{} {what}", name.split('_').next().unwrap())).or_default() += 1;
    }
    assert_eq!(compared["gguf blocks"], 36);
    assert_eq!(compared.values().sum::<usize>(), 97, "{compared:?}");
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
