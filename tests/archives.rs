//! PyTorch's and numpy's files, as a user has them, and files that are wrong.

mod common;

use std::collections::BTreeMap;
use std::fs;

use heavytail::Result;
use heavytail::format::{Contents, FileReader, Header, Model, ModelBuilder};
use proptest::prelude::*;

fn read(name: &str, bytes: &[u8]) -> Result<Header> {
    let mut reader = FileReader::new(name, bytes.len() as u64);
    while let Some(range) = reader.wants() {
        reader.give(&bytes[range.start as usize..range.end as usize])?;
    }
    match reader.finish()?.2 {
        Contents::Header(header) => Ok(header),
        other => panic!("{other:?}"),
    }
}

fn file(name: &str) -> Vec<u8> {
    fs::read(common::data(&format!("archives/{name}"))).unwrap()
}

fn expected() -> BTreeMap<String, Vec<f32>> {
    serde_json::from_str(&fs::read_to_string(common::data("archives/values.json")).unwrap()).unwrap()
}

fn values(header: &Header, bytes: &[u8], name: &str) -> Vec<f32> {
    let tensor = header.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let mut values = vec![0.0; tensor.elements() as usize];
    tensor.decode(&bytes[tensor.begin as usize..tensor.end as usize], &mut values).unwrap();
    values
}

#[test]
fn state_dicts_hold_their_tensors_whatever_is_around_them() {
    for name in ["plain.pth", "training.pth", "deflated.pth"] {
        let bytes = file(name);
        let header = read(name, &bytes).unwrap();
        let names: Vec<&str> = header.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a.weight", "a_transposed.weight", "b.weight", "half.weight", "steps"], "{name}");
        for (tensor, wanted) in expected().into_iter().filter(|(name, _)| !name.contains(':')) {
            assert_eq!(values(&header, &bytes, &tensor), wanted, "{name} {tensor}");
        }
    }
}

/// A file that torch wrote before 1.6.
#[test]
fn old_state_dicts_are_read_too() {
    let bytes = file("lpips_alex.pth");
    let header = read("alex.pth", &bytes).unwrap();
    let wanted: BTreeMap<String, Vec<f32>> =
        expected().into_iter().filter_map(|(name, v)| Some((name.strip_prefix("old:")?.to_owned(), v))).collect();
    assert_eq!(header.tensors.len(), wanted.len());
    assert_eq!(header.tensors[0].name, "lin0.model.1.weight");
    for (name, wanted) in wanted {
        assert_eq!(values(&header, &bytes, &name), wanted, "{name}");
    }
}

#[test]
fn numpy_arrays_with_sides_are_weights() {
    for file_name in ["arrays.npz", "deflated.npz"] {
        let bytes = file(file_name);
        let header = read(file_name, &bytes).unwrap();
        for (name, wanted) in expected() {
            if let Some(name) = name.strip_prefix("npz:") {
                assert_eq!(values(&header, &bytes, name), wanted, "{file_name} {name}");
            }
        }
        assert_eq!(header.tensors.len(), 5, "the text is there too");
        let bits = header.tensors.iter().find(|t| t.name == "conv.weight").unwrap().bits_per_weight();
        assert_eq!(bits, Some(16.0), "{file_name}");
    }
    let bytes = file("array.npy");
    let header = read("array.npy", &bytes).unwrap();
    assert_eq!(values(&header, &bytes, "array.weight"), expected()["npz:dense/fortran.weight"]);
}

#[test]
fn windows_of_views_and_compressed_tensors_are_cut_from_the_whole() {
    for name in ["plain.pth", "deflated.pth", "lpips_alex.pth", "arrays.npz", "deflated.npz"] {
        let bytes = file(name);
        let mut count = 0;
        for tensor in read(name, &bytes).unwrap().tensors.iter().filter(|t| t.shape.len() >= 2) {
            common::assert_windows_are_cuts(tensor, &bytes[tensor.begin as usize..tensor.end as usize]);
            count += 1;
        }
        assert!(count >= 3, "{name}");
    }
}

#[test]
fn each_fault_is_named() {
    let refused = |name: &str, bytes: &[u8], code: &str, part: &str| {
        let error = read(name, bytes).unwrap_err();
        assert!(error.code() == code && error.to_string().contains(part), "{}: {error}", error.code());
    };
    refused("x.npz", &file("x_bzip2.npz"), "unsupported", "of compressions only deflate");
    let deflated = file("deflated.npz");
    let entry = deflated.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let mut bomb = deflated.clone();
    bomb[entry + 24..entry + 28].copy_from_slice(&0x7000_0000_u32.to_le_bytes());
    refused("bomb.npz", &bomb, "format", "impossible length");
    // A block of a kind that deflate does not have.
    let mut broken = deflated.clone();
    let name_len = usize::from(deflated[26]);
    broken[30 + name_len + usize::from(deflated[28])] = 7;
    refused("broken.npz", &broken, "format", "the compressed data of \"dense/kernel\" are damaged");
    let bytes = file("plain.pth");
    refused("cut.pth", &bytes[..bytes.len() - 30], "format", "cut short");
    let old = file("lpips_alex.pth");
    refused("old.pth", &old[..300], "format", "ends early");
    refused("old.pth", &old[..old.len() - 9], "format", "cut short");
    let with = |old: &[u8], new: &[u8]| {
        let at = bytes.windows(old.len()).position(|w| w == old).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    // The first opcode becomes INST, which would call a class.
    refused(
        "inst.pth",
        &with(b"\x80\x02ccollections", b"ios\nsystem\n"),
        "format",
        "opcode 0x69, which no state dict needs",
    );
    refused(
        "function.pth",
        &with(b"ctorch._utils\n_rebuild_tensor_v2", b"ctorch._utils\n_rebuild_tensor_v9"),
        "unsupported",
        "is of a kind that can't be read",
    );
    refused("storage.pth", &with(b"FloatStorage", b"BloatStorage"), "unsupported", "tensor \"a.weight\"");
    // In the directory, at the end.
    let at = bytes.windows(12).rposition(|w| w == b"plain/data/1").unwrap();
    let mut lost = bytes.clone();
    lost[at + 11] = b'9';
    refused("lost.pth", &lost, "format", "values of tensor \"half.weight\" are not in the file");
}

/// A zip archive of stored entries, without check sums: nobody looks at them.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let [place, len] = [bytes.len(), data.len()].map(|n| (n as u32).to_le_bytes());
        let name_len = (name.len() as u16).to_le_bytes();
        let lens = [&[0; 4][..], &len, &len, &name_len, &[0; 2]].concat();
        bytes.extend([&b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0"[..], &lens, name.as_bytes(), data].concat());
        let head = b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0";
        directory.extend([&head[..], &lens, &[0; 10], &place, name.as_bytes()].concat());
    }
    let [len, begin] = [directory.len(), bytes.len()].map(|n| (n as u32).to_le_bytes());
    bytes.extend([&directory[..], b"PK\x05\x06", &[0; 8], &len, &begin, &[0; 2]].concat());
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A tensor in storage 0 of 64 bytes, as `torch.save` writes it.
fn tensor(kind: &str, storage: &str, numbers: [&[u8]; 2]) -> Vec<u8> {
    let tuple =
        |numbers: &[u8]| [&b"("[..], &numbers.iter().flat_map(|n| [b'K', *n]).collect::<Vec<u8>>(), b"t"].concat();
    let [shape, strides] = numbers.map(tuple);
    let head = [&b"ctorch._utils\n_rebuild_tensor_v2\n(("[..], &text("storage"), b"ctorch\n", kind.as_bytes()].concat();
    [&head[..], b"\n", &text(storage), &text("cpu"), b"K\x40tQK\0", &shape, &strides, b"\x89}tR"].concat()
}

fn pickled(parts: &[&[u8]]) -> Result<Header> {
    read("m.pth", &zip(&[("m/data.pkl", &parts.concat()), ("m/data/0", &[0; 64])]))
}

/// Each of these files filled gigabytes before it was refused.
#[test]
fn small_pickles_stay_small() {
    let refused = |parts: &[&[u8]], code: &str, part: &str| {
        let error = pickled(parts).unwrap_err();
        let message = error.to_string();
        assert!(error.code() == code && message.contains(part) && message.len() < 400, "{}: {message}", error.code());
    };
    let one = tensor("FloatStorage", "0", [&[1], &[1]]);
    assert_eq!(pickled(&[b"\x80\x02}(", &text("a"), &one, b"u."]).unwrap().tensors.len(), 1);
    // A list of 20,000 pairs copied 20,000 times: 6.4 GB.
    let pairs = [&b"ccollections\nOrderedDict\nq\x000]q\x01(NN\x86q\x02"[..], &b"h\x02".repeat(20_000), b"e0"].concat();
    refused(&[b"\x80\x02", &pairs, &b"h\0h\x01\x85R0".repeat(20_000), b"N."], "format", "8388608 values");
    // Nothing, 10 million times, and as many marks.
    refused(&[b"\x80\x02(", &vec![b'N'; 10_000_000], b"t."], "format", "8388608 values");
    refused(&[b"\x80\x02", &vec![b'('; 10_000_000], b"."], "format", "8388608 values");
    // One long name: for all tensors, for all dicts one in another, for all storages.
    let stored = [&one[..], b"q\x01"].concat();
    let long = [&text(&"k".repeat(1_000_000))[..], b"q\0"].concat();
    refused(&[b"\x80\x02}(", &long, &stored, &b"h\0h\x01".repeat(100), b"u."], "format", "is there twice");
    let nested = [&b"\x80\x02"[..], &long, b"0}", &b"(h\0}".repeat(200)].concat();
    let nested = [&nested[..], b"(", &text("a"), &one, b"u", &b"u".repeat(200), b"."].concat();
    refused(&[&nested], "limit", "names in \"m.pth\" take more than 60000000 bytes");
    let far = [&tensor("FloatStorage", &"k".repeat(1_000_000), [&[1], &[1]])[..], b"q\x01"].concat();
    let names: Vec<u8> = (0..100).flat_map(|i| [&text(&i.to_string())[..], b"h\x01"].concat()).collect();
    refused(&[b"\x80\x02}(", &text("a"), &far, &names, b"u."], "limit", "names in \"m.pth\"");
    let deep = tensor("FloatStorage", "0", [&[1; 17], &[1; 17]]);
    refused(&[b"\x80\x02}(", &text("a"), &deep, b"u."], "limit", "tensor \"a\" has 17 dimensions");
    // The same of an array.
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", "1, ".repeat(17));
    let array = [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    let error = read("a.npy", &array).unwrap_err();
    assert!(error.to_string().contains("array \"a\" has 17 dimensions"), "{error}");
}

/// Scales and codes are decoded as they lie in the file: transposed ones came out in another order, without a word.
#[test]
fn views_in_quantized_weights_are_refused() {
    let model = |codes: [u8; 2], scales: [u8; 2]| -> Result<Model> {
        let codes = tensor("CharStorage", "0", [&[2, 4], &codes]);
        let scales = tensor("FloatStorage", "0", [&[2, 2], &scales]);
        let header = pickled(&[b"\x80\x02}(", &text("a.weight"), &codes, &text("a.weight_scale"), &scales, b"u."])?;
        let mut builder = ModelBuilder::default();
        builder.add_file("m.pth", 1000, header)?;
        builder.finish()
    };
    assert_eq!(model([4, 1], [2, 1]).unwrap().tensors[0].info.stored_as(), "INT8 1x2");
    for (codes, scales, name) in [([4, 1], [1, 2], "a.weight_scale"), ([1, 2], [2, 1], "a.weight")] {
        let error = model(codes, scales).unwrap_err();
        let begin = format!("tensor \"{name}\", a part of the quantized weight \"a.weight\", is a view with strides");
        assert!(error.code() == "unsupported" && error.to_string().starts_with(&begin), "{error}");
    }
}

/// Of each dtype, columns first.
#[test]
fn views_are_gathered_in_every_size() {
    for (kind, one) in [
        ("ByteStorage", &[1_u8][..]),
        ("HalfStorage", &[0, 0x3c]),
        ("FloatStorage", &[0, 0, 0x80, 0x3f]),
        ("DoubleStorage", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
    ] {
        let pickle = [&b"\x80\x02}("[..], &text("a"), &tensor(kind, "0", [&[2, 3], &[1, 2]]), b"u."].concat();
        // The second column's first value is one.
        let data = [&vec![0; 2 * one.len()][..], one, &[0; 64]].concat();
        let bytes = zip(&[("m/data.pkl", &pickle), ("m/data/0", &data)]);
        let header = read("m.pth", &bytes).unwrap();
        assert_eq!(values(&header, &bytes, "a"), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], "{kind}");
    }
}

proptest! {
    /// A damaged archive is read or refused, never a panic, and what is accepted can be decoded.
    #[test]
    fn damage_never_panics(which in 0_usize..7, changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5)) {
        let names =
            ["plain.pth", "training.pth", "arrays.npz", "array.npy", "lpips_alex.pth", "deflated.pth", "deflated.npz"];
        let name = names[which];
        let mut bytes = file(name);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(header) = read(name, &bytes) {
            for tensor in &header.tensors {
                let mut values = vec![0.0; tensor.elements() as usize];
                let own = &bytes[tensor.begin as usize..tensor.end as usize];
                let decoded = tensor.decode(own, &mut values);
                // What is deflated shows its damage only now.
                assert!(decoded.is_ok() || name.starts_with("deflated"), "{name} {decoded:?}");
                if decoded.is_ok() && !values.is_empty() && tensor.columns_together().is_some() {
                    common::assert_windows_are_cuts(tensor, own);
                }
            }
        }
    }
}
