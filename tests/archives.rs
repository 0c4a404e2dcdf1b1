//! PyTorch's and numpy's files, as a user has them, and files that are wrong.

mod common;

use std::collections::BTreeMap;
use std::fs;

use heavytail::Result;
use heavytail::format::{Contents, FileReader, Header};
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
                let decoded = tensor.decode(&bytes[tensor.begin as usize..tensor.end as usize], &mut values);
                // What is deflated shows its damage only now.
                assert!(decoded.is_ok() || name.starts_with("deflated"), "{name} {decoded:?}");
            }
        }
    }
}
