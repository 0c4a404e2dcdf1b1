//! The plan of the house: a module imports only from floors below its own.

use std::fs;
use std::path::Path;

/// Modules by floor, lowest first. Modules on one floor are strangers.
const FLOORS: &[&[&str]] = &[
    &["error", "progress", "kernel"],
    &["matrix", "tensor"],
    &["quant", "spectrum", "powerlaw"],
    &["format"],
    &["report"],
    &["analysis"],
    &["cli", "web"],
];

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} has no floor"))
}

fn check(path: &Path, module: &str, faults: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            check(&entry.unwrap().path(), module, faults);
        }
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    // Tests may look anywhere.
    let text = text.split("#[cfg(test)]").next().unwrap();
    for (_, rest) in text.match_indices("crate::").map(|(at, found)| (at, &text[at + found.len()..])) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => {
                list.split('}').next().unwrap().split(',').map(|n| n.trim().split("::").next().unwrap()).collect()
            }
            None => vec![rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()],
        };
        for name in
            names.into_iter().filter(|name| *name != module && name.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            // A stranger of the bottom floor may be used by its neighbour: progress ends in an error.
            let is_below = floor(name) < floor(module) || (floor(module) == 0 && name == "error");
            if !is_below {
                faults.push(format!("{} imports crate::{name}, which is not on a floor below", path.display()));
            }
        }
    }
}

#[test]
fn imports_go_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut modules = 0;
    for entry in fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["lib", "main"].contains(&name.as_str()) {
            modules += 1;
            check(&path, &name, &mut faults);
        }
    }
    assert!(modules >= 10, "the modules were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
