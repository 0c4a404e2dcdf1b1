//! The naive quantization, bit for bit as the study's script does it in torch (`tests/data/README.md`).

mod common;

use std::collections::BTreeMap;
use std::fs;

use heavytail::quant::{Arithmetic, Damage, NaiveGrid, Range};
use heavytail::tensor::Dtype;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

fn floats(view: &safetensors::tensor::TensorView) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// `seed_sym_b4_f32_h16` and the like.
fn parse(scheme: &str) -> (u8, bool, Arithmetic) {
    let rest = scheme.strip_prefix("seed_").unwrap();
    let (symmetry, rest) = rest.split_once("_b").unwrap();
    let (bits, convention) = rest.split_once('_').unwrap();
    let arithmetic = match convention {
        "f32" => Arithmetic::Exact,
        "f32_h16" => Arithmetic::Stored,
        "f16" => Arithmetic::Seed,
        other => panic!("unknown convention {other}"),
    };
    (bits.parse().unwrap(), symmetry == "sym", arithmetic)
}

/// Bytes as the reference hashes them: little-endian f32, -0 as +0, NaN as one pattern.
fn canonical(values: &[f32]) -> Vec<u8> {
    let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { (v + 0.0).to_bits() });
    bits.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn every_scheme_on_every_input_equals_torch() {
    let numbers: serde_json::Value =
        serde_json::from_slice(&fs::read(common::data("seed_quantization/numbers.json")).unwrap()).unwrap();
    let load = |name: &str| fs::read(common::data(&format!("seed_quantization/{name}.safetensors"))).unwrap();
    let (inputs, rows, scales) = (load("inputs"), load("dequantized_rows"), load("scales"));
    let inputs = SafeTensors::deserialize(&inputs).unwrap();
    let rows = SafeTensors::deserialize(&rows).unwrap();
    let scales = SafeTensors::deserialize(&scales).unwrap();
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for (scheme, per_input) in numbers["schemes"].as_object().unwrap() {
        let (bits, symmetric, arithmetic) = parse(scheme);
        for (input, expected) in per_input["inputs"].as_object().unwrap() {
            let Ok(view) = inputs.tensor(input) else { continue };
            let cols = view.shape()[1];
            let weights = floats(&view);
            let mut out = vec![0.0; weights.len()];
            // On the edge cases every row is its own tensor.
            let tensor_len = if input == "edge_28x512" { cols } else { weights.len() };
            let scale = floats(&scales.tensor(&format!("{scheme}/{input}/scale")).unwrap());
            for (index, (weights, out)) in weights.chunks(tensor_len).zip(out.chunks_mut(tensor_len)).enumerate() {
                let grid = NaiveGrid::new(Range::of(weights), bits, symmetric, arithmetic, Dtype::F16);
                grid.dequantize(weights, out);
                assert_eq!(grid.scale().to_bits(), scale[index].to_bits(), "{scheme} {input} scale of tensor {index}");
            }
            if let Ok(literal) = rows.tensor(&format!("{scheme}/{input}")) {
                let first = expected["literal_rows"][0].as_u64().unwrap() as usize * cols;
                let literal = floats(&literal);
                for (place, (a, b)) in out[first..].iter().zip(&literal).enumerate() {
                    assert!(
                        a == b || (a.is_nan() && b.is_nan()),
                        "{scheme} {input} row {} col {}: {a}, torch has {b}",
                        place / cols,
                        place % cols
                    );
                }
                *compared.entry("literal").or_default() += 1;
            }
            let hash: String = Sha256::digest(canonical(&out)).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, expected["sha256"].as_str().unwrap(), "{scheme} {input}");
            *compared.entry("hash").or_default() += 1;

            // The reference's own error measures, in f64 from the same matrices.
            let mut damage = Damage::default();
            damage.add(&weights, &out);
            if let Some(error) = expected["rel_fro"].as_f64()
                && arithmetic != Arithmetic::Seed
            {
                let ours = damage.relative_error().unwrap();
                assert!(
                    (ours - error).abs() <= 1e-9 * error.abs(),
                    "{scheme} {input}: relative error {ours}, reference {error}"
                );
                *compared.entry("error").or_default() += 1;
            }
        }
    }
    assert_eq!((compared["hash"], compared["literal"], compared["error"]), (138, 48, 92));
}
