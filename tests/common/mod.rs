//! What the integration tests share: running the program as a user, and reading tables.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heavytail::format::{StoredTensor, TensorInfo, Window};

/// A CSV table: rows by the `name` column, cells by column.
#[derive(Debug)]
pub struct Table {
    rows: BTreeMap<String, BTreeMap<String, String>>,
}

impl Table {
    /// Reads a table whose names are unique.
    pub fn read(path: &Path) -> Self {
        let mut reader = csv::Reader::from_path(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let row: BTreeMap<String, String> =
                columns.iter().cloned().zip(record.unwrap().iter().map(str::to_owned)).collect();
            assert!(rows.insert(row["name"].clone(), row).is_none(), "{}: a name twice", path.display());
        }
        Self { rows }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    pub fn text(&self, name: &str, column: &str) -> &str {
        let row = self.rows.get(name).unwrap_or_else(|| panic!("no row {name}"));
        row.get(column).unwrap_or_else(|| panic!("no column {column}"))
    }

    /// The number in a cell; an empty cell is `None`.
    pub fn number(&self, name: &str, column: &str) -> Option<f64> {
        let text = self.text(name, column);
        (!text.is_empty()).then(|| text.parse().unwrap_or_else(|_| panic!("{name}, {column}: {text:?} is no number")))
    }
}

/// Reference numbers in the repository.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// A real model, made by `tests/setup models`.
pub fn model(name: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("HEAVYTAIL_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").expect("HOME is set").join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("heavytail")
    });
    let path = cache.join("models").join(name);
    assert!(path.is_dir(), "the model {name} is not in {}: run `tests/setup models` first", cache.display());
    path
}

/// Runs the program.
pub fn heavytail<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heavytail")).args(arguments).output().expect("the program starts")
}

/// Analyses a model into a folder; the program must succeed.
pub fn analyse(model: &Path, output: &Path, options: &[&str]) {
    let mut arguments = vec!["analyze".into(), model.as_os_str().to_owned(), "--output-dir".into(), output.into()];
    arguments.push("--quiet".into());
    arguments.extend(options.iter().map(Into::into));
    let result = heavytail(arguments);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

/// Bytes of a safetensors file with the given header text and as many zero bytes of data.
pub fn safetensors(header: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data_len, 0);
    bytes
}

/// Writes f32 tensors with the safetensors crate.
pub fn write_model(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.2.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(path, file).unwrap();
}

/// A uniform number from -1 to 1, and its like of another stream.
pub fn noise(place: usize, stream: usize) -> f32 {
    let mut x =
        (place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (stream as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x >> 40) as f32 / 8_388_608.0) - 1.0
}

/// Asserts that windows of a tensor, begun and ended anywhere, hold what the whole holds there.
pub fn assert_windows_are_cuts(info: &TensorInfo, bytes: &[u8]) {
    let mut whole = vec![0.0; info.elements() as usize];
    info.decode(bytes, &mut whole).unwrap();
    let stored = StoredTensor::new(info, bytes.to_vec()).unwrap();
    let (rows, cols, positions) = (stored.rows(), stored.cols(), stored.positions());
    assert_eq!(rows * cols * positions, whole.len());
    let together = info.columns_together().unwrap();
    let cut = |share: usize| cols * share / 7 / together * together;
    for (rows, cols) in [(0..rows, 0..cols), (rows / 3..rows, cut(2)..cut(5)), (0..1, cut(3)..cols), (1..1, 0..cut(6))]
    {
        for position in 0..positions {
            let at = |row: usize, col: usize| whole[(row * stored.cols() + col) * positions + position].to_bits();
            let wanted: Vec<u32> = rows.clone().flat_map(|row| cols.clone().map(move |col| at(row, col))).collect();
            let mut found = vec![0.0; wanted.len()];
            stored.decode(&Window { rows: rows.clone(), cols: cols.clone(), position }, &mut found).unwrap();
            assert!(found.iter().map(|v| v.to_bits()).eq(wanted), "{} {rows:?} {cols:?} {position}", info.name);
        }
    }
    let outside = Window { rows: 0..1, cols: 0..cols + 1, position: 0 };
    assert_eq!(stored.decode(&outside, &mut vec![0.0; cols + 1]).unwrap_err().code(), "options");
    assert_eq!(StoredTensor::new(info, bytes[1..].to_vec()).unwrap_err().code(), "format");
}
