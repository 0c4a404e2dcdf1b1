//! Slices against the whole.

use super::*;
use crate::analysis::LayerTask;
use crate::analysis::layer::Choice;
use crate::analysis::layers::LayerKind;
use crate::analysis::plan::{Limits, Need};
use crate::format::{Config, Contents, Header, ModelBuilder, Storage, TensorEntry};
use crate::progress::Cancellation;
use crate::quant::{Arithmetic, BlockType, GgmlType};
use crate::report::{LayerRow, Status};
use crate::tensor::Dtype;

/// Heavy-tailed weights, as they are stored.
fn stored(shape: &[u64], storage: &Storage, dtype: Dtype) -> (TensorInfo, Vec<u8>) {
    let (count, cols) = (shape.iter().product::<u64>() as usize, shape[1..].iter().product::<u64>() as usize);
    let noise = |i: usize| ((i * 7919 + i * i % 613) % 2003) as f32 / 1001.0 - 1.0;
    let weights: Vec<f32> = (0..count).map(|i| noise(i) * (1.0 + 30.0 / (1.0 + (i / cols) as f32))).collect();
    let value = |w: f32| match dtype {
        Dtype::F16 => half::f16::from_f32(w).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f32(w).to_le_bytes().to_vec(),
        _ => w.to_le_bytes().to_vec(),
    };
    let bytes = match storage {
        Storage::Blocks(BlockType::Ggml(kind)) => kind.quantize_blocks(&weights),
        Storage::Strided(strides) => {
            let place = |i: usize| {
                let parts = shape.iter().zip(strides).rev().scan(i as u64, |rest, (dim, stride)| {
                    let at = *rest % dim * stride;
                    *rest /= dim;
                    Some(at)
                });
                parts.sum::<u64>() as usize
            };
            let size = value(0.0).len();
            // What other views of the same storage hold is no number.
            let mut bytes = vec![0xff; (place(count - 1) + 1) * size];
            for (i, w) in weights.iter().enumerate() {
                bytes[place(i) * size..][..size].copy_from_slice(&value(*w));
            }
            bytes
        }
        Storage::Deflated { storage, from, .. } => {
            let inner = [vec![0; *from as usize], stored(shape, storage, dtype).1].concat();
            // Pieces that are not compressed, behind their lengths; the last is marked.
            let pieces = inner.chunks(60_000).enumerate().map(|(i, piece)| {
                let (is_last, len) = (u8::from((i + 1) * 60_000 >= inner.len()), piece.len() as u16);
                [&[is_last][..], &len.to_le_bytes(), &(!len).to_le_bytes(), piece].concat()
            });
            pieces.collect::<Vec<_>>().concat()
        }
        _ => weights.iter().flat_map(|w| value(*w)).collect(),
    };
    let (shape, end) = (shape.to_vec(), bytes.len() as u64);
    (TensorInfo { name: "layer.weight".to_owned(), dtype, shape, begin: 0, end, storage: storage.clone() }, bytes)
}

/// A quantized checkpoint of one weight, of tensors with dtypes and sides: any codes, and small scales.
fn packed(tensors: &str, config: &str, note: (&str, &[u8])) -> (TensorInfo, Vec<u8>) {
    let (mut header, mut file) = (Header::default(), Vec::new());
    for tensor in tensors.split(", ") {
        let words: Vec<&str> = tensor.split(' ').collect();
        let dtypes = [Dtype::F16, Dtype::F32, Dtype::F8_E4M3, Dtype::I8, Dtype::U8, Dtype::I32, Dtype::U32];
        let dtype = dtypes.into_iter().find(|dtype| dtype.to_string() == words[1]).unwrap();
        let shape: Vec<u64> = words[2..].iter().map(|side| side.parse().unwrap()).collect();
        let (name, count) = (format!("layer.{}", words[0]), shape.iter().product::<u64>() as usize);
        let scale = |i: usize| 0.01 * (1.0 + (i * 37 % 101) as f32 / 50.0 + 20.0 / (1.0 + (i % 41) as f32));
        let begin = file.len() as u64;
        match dtype {
            Dtype::F16 => file.extend((0..count).flat_map(|i| half::f16::from_f32(scale(i)).to_le_bytes())),
            Dtype::F32 => file.extend((0..count).flat_map(|i| scale(i).to_le_bytes())),
            // The groups of 32 columns, mixed.
            Dtype::I32 if name.ends_with("g_idx") => {
                file.extend((0..count).flat_map(|i| ((i * 7 % count / 32) as u32).to_le_bytes()));
            }
            // Powers of two, or floats.
            Dtype::F8_E4M3 | Dtype::U8 if name.ends_with("scales") || name.ends_with("scale") => {
                file.extend((0..count).map(|i| 100 + (i * 11 % 19) as u8));
            }
            // No NaN in any dtype.
            _ => file.extend((0..count * dtype.bitsize() / 8).map(|i| (i * i % 613 * 31 % 251) as u8 & 0x7e)),
        }
        let end = file.len() as u64;
        header.tensors.push(TensorInfo { name, dtype, shape, begin, end, storage: Storage::Plain });
    }
    header.tensors.sort_by(|a, b| a.name.cmp(&b.name));
    header.notes.insert(format!("layer.{}", note.0), note.1.to_vec());
    let mut builder = ModelBuilder::default();
    builder.add(("config.json".to_owned(), 0, Contents::Config(Config::parse(config.as_bytes())))).unwrap();
    builder.add_file("model.safetensors", file.len() as u64, header).unwrap();
    let mut model = builder.finish().unwrap();
    assert!(matches!(model.tensors[..], [TensorEntry { info: TensorInfo { storage: Storage::Packed(_), .. }, .. }]));
    let parts = model.tensors[0].parts();
    let bytes = parts.iter().flat_map(|part| &file[part.begin as usize..part.end as usize]);
    (model.tensors.swap_remove(0).info, bytes.copied().collect())
}

fn choices(options: &Options) -> Vec<Choice> {
    options.levels().unwrap().into_iter().map(|level| Choice { level, scheme: level }).collect()
}

fn rows(layer: &Layer, (info, bytes): &(TensorInfo, Vec<u8>), options: &Options, limits: &Limits) -> Vec<LayerRow> {
    let (levels, cancellation) = (&choices(options)[..], &Cancellation::default());
    LayerTask { layer, info, operands: &[], levels, options, limits, cancellation }.run(bytes.clone())
}

const WHOLE: Limits = Limits { threads: 2, memory: u64::MAX, hard_limit: u64::MAX };
const SLICED: Limits = Limits { threads: 2, memory: 0, hard_limit: u64::MAX };

fn assert_slices_are_the_whole(layer: &Layer, tensor: &(TensorInfo, Vec<u8>), pool: bool) {
    for arithmetic in [Arithmetic::Exact, Arithmetic::Stored, Arithmetic::Seed] {
        let options = Options {
            quantizations: "fp16,8bit,3bit,4bit-asym".to_owned(),
            dequantize: arithmetic,
            mp_fit: true,
            pool,
            ..Options::default()
        };
        let levels = choices(&options);
        assert!(Need::new(layer, &levels, (&tensor.0, &options), &SLICED).in_slices, "{:?}", tensor.0);
        let (whole, sliced) = (rows(layer, tensor, &options, &WHOLE), rows(layer, tensor, &options, &SLICED));
        let what = format!("{:?} {} {arithmetic:?} {pool}", tensor.0.shape, tensor.0.stored_as());
        let count = if pool { 4 } else { 4 * layer.info.rf as usize };
        let found = whole.iter().filter(|row| row.status == Status::Success).count();
        assert_eq!(found, count, "{what}: {whole:?}");
        assert_eq!(format!("{whole:?}"), format!("{sliced:?}"), "{what}");
    }
}

/// Sides that are no multiples of slices, both ways round, in dtypes, blocks, views and compressed.
#[test]
fn slices_give_the_bits_of_the_whole() {
    let block = |kind| Storage::Blocks(BlockType::Ggml(kind));
    let deflated = |storage: Storage, to| Storage::Deflated { storage: Box::new(storage), from: 80, to };
    let cases = [
        ([40, 5301], Storage::Plain, Dtype::F16),
        ([5301, 40], Storage::Plain, Dtype::BF16),
        ([5100, 33], Storage::Plain, Dtype::F32),
        ([40, 5312], block(GgmlType::Q8_0), Dtype::F32),
        ([5300, 64], block(GgmlType::Q4_0), Dtype::F32),
        ([40, 5376], block(GgmlType::Q6_K), Dtype::F32),
        // Transposed; some columns of a larger matrix; some of a transposed one.
        ([40, 5301], Storage::Strided(vec![1, 40]), Dtype::F16),
        ([5301, 40], Storage::Strided(vec![1, 5301]), Dtype::F32),
        ([5100, 33], Storage::Strided(vec![50, 1]), Dtype::BF16),
        ([33, 5100], Storage::Strided(vec![1, 35]), Dtype::F16),
        ([40, 5301], deflated(Storage::Plain, 80 + 2 * 40 * 5301), Dtype::F16),
        ([5301, 40], deflated(Storage::Strided(vec![1, 5301]), 80 + 4 * 40 * 5301), Dtype::F32),
    ];
    for ([height, width], storage, dtype) in cases {
        let (layer, tensor) = (Layer::dense(height, width), stored(&[height as u64, width as u64], &storage, dtype));
        assert_slices_are_the_whole(&layer, &tensor, true);
    }
}

#[test]
fn slices_of_convolutions_give_the_bits_of_the_whole() {
    let cases = [
        ([40, 1300, 3, 2], Storage::Plain, Dtype::F16),
        ([1300, 40, 1, 3], Storage::Plain, Dtype::F32),
        // Channels last.
        ([1300, 40, 3, 2], Storage::Strided(vec![240, 1, 80, 40]), Dtype::BF16),
    ];
    for (shape, storage, dtype) in cases {
        let tensor = stored(&shape.map(|d| d as u64), &storage, dtype);
        let [out, input, height, width] = shape;
        let kind = LayerKind::Conv2d { out, input, positions: height * width };
        let mut layer = Layer { kind, ..Layer::dense(out, input) };
        layer.info.rf = (height * width) as u64;
        for pool in [true, false] {
            assert_slices_are_the_whole(&layer, &tensor, pool);
        }
    }
}

#[test]
fn slices_of_packed_weights_give_the_bits_of_the_whole() {
    let state = |nested: &str| {
        format!(r#"{{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [40, 5301] {nested}}}"#)
    };
    let (flat, nested) = (state(""), state(r#", "nested_blocksize": 256, "nested_offset": 0.5"#));
    let nf4 = |json| ("weight.quant_state.bitsandbytes__nf4", str::as_bytes(json));
    let sides: Vec<u8> = [40_u64, 5301].iter().flat_map(|d| d.to_le_bytes()).collect();
    let none = ("", &[][..]);
    let mlx = |bits: u8, group: u64| format!(r#"{{"quantization": {{"bits": {bits}, "group_size": {group}}}}}"#);
    let (awq_rows, mlx_5, mlx_6) = (r#"{"quantization_config": {"group_size": 32}}"#, mlx(5, 96), mlx(6, 64));
    let cases = [
        // GPTQ, its groups in order and not.
        (40, 5216, "qweight I32 652 40, qzeros I32 8 5, scales F16 8 40", "", none),
        (5216, 64, "qweight I32 6 5216, qzeros I32 2 489, scales F16 2 5216, g_idx I32 64", "", none),
        // AWQ, and its rows.
        (40, 5200, "qweight I32 5200 5, qzeros I32 10 5, scales F16 10 40", "", none),
        (5216, 42, "qweight I32 42 652, qzeros I32 2 652, scales F16 2 5216", "", none),
        (40, 5248, "qweight I32 40 656, qzeros I32 40 24, scales F16 40 192", awq_rows, none),
        // bitsandbytes: blocks that end within rows, scales of scales, rows.
        (40, 5301, "weight U8 106020 1, weight.absmax F32 3314, weight.quant_map F32 16", "", nf4(&flat)),
        (
            40,
            5301,
            "weight U8 106020 1, weight.absmax U8 3314, weight.quant_map F32 16, weight.nested_absmax F32 13, \
             weight.nested_quant_map F32 256",
            "",
            nf4(&nested),
        ),
        (40, 5301, "weight I8 40 5301, SCB F32 40", "", none),
        // compressed-tensors: 5 bits with zeros, bytes, NVFP4.
        (
            40,
            5301,
            "weight_packed I32 40 829, weight_scale F16 40 1, weight_zero_point I32 7 1",
            "",
            ("weight_shape", &sides[..]),
        ),
        (5301, 40, "weight I8 5301 40, weight_scale F16 5301 1", "", none),
        (5301, 48, "weight_packed U8 5301 24, weight_scale F8_E4M3 5301 3, weight_global_scale F32 1", "", none),
        // A scale for 128 rows and columns.
        (40, 5301, "weight F8_E4M3 40 5301, weight_scale_inv F32 1 42", "", none),
        // MLX: groups that no slice ends with; MXFP4, MXFP8, NVFP4.
        (40, 5376, "weight U32 40 840, scales F16 40 56, biases F16 40 56", &mlx_5, none),
        (5301, 64, "weight U32 5301 12, scales F16 5301 1, biases F16 5301 1", &mlx_6, none),
        (40, 5312, "weight U32 40 664, scales U8 40 166", "", none),
        (40, 5312, "weight U32 40 1328, scales U8 40 166", "", none),
        (40, 5312, "weight U32 40 664, scales U8 40 332", "", none),
    ];
    for (height, width, tensors, config, note) in cases {
        let tensor = packed(tensors, config, note);
        assert_eq!(tensor.0.shape, [height as u64, width as u64]);
        assert_slices_are_the_whole(&Layer::dense(height, width), &tensor, true);
    }
}

/// Codes lie along the last dimension: rows and columns of a kernel's first two are no windows of them.
#[test]
fn packed_weights_of_a_kernel_are_decoded_whole() {
    let state =
        |shape: &str| format!(r#"{{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": {shape}}}"#);
    let (matrix, kernel) = (state("[40, 64]"), state("[40, 64, 1, 1]"));
    let tensors = "weight U8 1280 1, weight.absmax F32 40, weight.quant_map F32 16";
    let open = |json: &str| packed(tensors, "", ("weight.quant_state.bitsandbytes__nf4", json.as_bytes()));
    let (matrix, kernel) = (open(&matrix), open(&kernel));
    assert_eq!(kernel.0.shape, [40, 64, 1, 1]);
    assert!(matrix.0.columns_together().is_some() && kernel.0.columns_together().is_none());
    let decoded = |(info, bytes): &(TensorInfo, Vec<u8>)| {
        let mut values = vec![0.0; 40 * 64];
        info.decode(bytes, &mut values).unwrap();
        values
    };
    assert_eq!(decoded(&kernel), decoded(&matrix));
}

#[test]
fn a_level_that_looks_at_the_whole_says_what_it_needs() {
    let (layer, tensor) = (Layer::dense(64, 6000), stored(&[64, 6000], &Storage::Plain, Dtype::F16));
    let options = Options { quantizations: "fp16,q8_0,4bit".to_owned(), ..Options::default() };
    let rows = rows(&layer, &tensor, &options, &Limits { hard_limit: 2_000_000, ..SLICED });
    let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason.as_deref()).collect();
    let needs = "this level looks at the whole matrix, which needs 5 MB of memory, more than the 2 MB there are";
    assert_eq!(reasons, [None, Some(needs), None]);
}

#[test]
fn slices_see_what_is_not_finite_and_what_is_missing() {
    let (layer, (info, mut bytes)) = (Layer::dense(64, 6000), stored(&[64, 6000], &Storage::Plain, Dtype::F16));
    let options = Options { quantizations: "fp16,4bit".to_owned(), ..Options::default() };
    let reason = |bytes: &[u8]| {
        let rows = rows(&layer, &(info.clone(), bytes.to_vec()), &options, &SLICED);
        assert!(rows.len() == 2 && rows[0].reason == rows[1].reason);
        rows[0].reason.clone().unwrap_or_default()
    };
    assert!(reason(&bytes[1..]).contains("takes 768000 bytes, not 767999"));
    (bytes[5000], bytes[5001]) = (0, 0x7c);
    assert!(reason(&bytes).contains("NaN or infinity"));
}
