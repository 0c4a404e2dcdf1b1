//! Each option of `WeightWatcher` that adds or changes columns, against the table that the tool made with it.
//!
//! Some of its tables need no test of their own: `accurate` and `max_evals_400` equal `default` (tested in
//! `weightwatcher.rs`) byte for byte, `ERG_alias` equals `detX`, `everything` equals `detX`, `mp_fit` and `randomize` in their
//! columns, `PL_powerlaw` equals `default` and `clip_xmax_powerlaw` equals `clip_xmax` to 3e-14. `stacked` and
//! `intra_sparsify_False` are in `combinations.rs`, `TPL` and `E_TPL` in `truncated.rs`.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Table, analyse, data, heavytail, model};

/// Relative, of closed-form columns; both sides work in f64, and 1e-13 is what is measured.
const CLOSED: f64 = 1e-11;
/// Relative, of alpha and what is made of it.
const FITTED: f64 = 1e-9;
/// Relative, of `log_alpha_norm`: of a failed fit (alpha = -1) it is the sum of reciprocals, which the smallest eigenvalue decides; a
/// Gram matrix knows it to some 1e-7.
const ALPHA_NORM: f64 = 1e-6;
/// Of the Marchenko-Pastur fit: the minimiser stops at 1e-4. Ours takes the same steps and comes out at 1e-9, as long as
/// no comparison of two nearly equal sums goes the other way.
const NOISE: f64 = 1e-4;

const COUNTS: f64 = 0.0;

fn run(options: &[&str]) -> Table {
    let output = tempfile::tempdir().unwrap();
    let options = [&["--compat", "weightwatcher", "--quantizations", "fp16"], options].concat();
    analyse(&model("minilm-l6-v2-f32"), output.path(), &options);
    Table::read(&output.path().join("details.csv"))
}

fn theirs(variant: &str) -> Table {
    Table::read(&data(&format!("weightwatcher/minilm-l6-v2-f32/variant.{variant}.details.csv")))
}

fn differences(ours: &Table, theirs: &Table, columns: &[(&str, f64)]) -> Vec<String> {
    let mut found = Vec::new();
    for name in theirs.names() {
        for (column, tolerance) in columns {
            let (a, b) = (ours.number(name, column), theirs.number(name, column));
            let fine = match (a, b) {
                (Some(a), Some(b)) => a == b || (a - b).abs() <= tolerance * b.abs(),
                (a, b) => a == b,
            };
            if !fine {
                found.push(format!("{name}: {column} = {a:?}, WeightWatcher has {b:?}"));
            }
        }
    }
    found
}

fn assert_equal(ours: &Table, variant: &str, columns: &[(&str, f64)]) {
    let theirs = theirs(variant);
    assert_eq!(ours.names().collect::<Vec<_>>(), theirs.names().collect::<Vec<_>>(), "{variant}");
    let found = differences(ours, &theirs, columns);
    assert!(found.is_empty(), "{variant}: {} differences\n{}", found.len(), found.join("\n"));
}

const FIT: [(&str, f64); 7] = [
    ("alpha", FITTED),
    ("alpha_weighted", FITTED),
    ("log_alpha_norm", ALPHA_NORM),
    ("sigma", FITTED),
    ("xmin", CLOSED),
    ("xmax", CLOSED),
    ("num_pl_spikes", COUNTS),
];

#[test]
fn detx_noise_fit_and_randomization() {
    let ours = run(&["--detx", "--mp-fit", "--randomize"]);
    let erg = [
        ("detX_num", COUNTS),
        ("num_ERG_spikes", COUNTS),
        ("ERG_gap", COUNTS),
        ("detX_val", CLOSED),
        ("detX_val_unrescaled", CLOSED),
    ];
    assert_equal(&ours, "detX", &erg);
    let noise = [
        ("W_scale", CLOSED),
        ("sigma_mp", NOISE),
        ("bulk_max", 2.0 * NOISE),
        ("bulk_min", 2.0 * NOISE),
        ("mp_softrank", 2.0 * NOISE),
        ("num_spikes", COUNTS),
    ];
    assert_equal(&ours, "mp_fit", &noise);
    // Another generator, so other orders of the same weights: the largest eigenvalue of such a matrix of 384 columns varies
    // by some 2%, its noise fit by 3%.
    let theirs = theirs("randomize");
    let random = [
        ("rand_W_scale", CLOSED),
        ("max_rand_eval", 0.1),
        ("rand_sigma_mp", 0.05),
        ("rand_bulk_max", 0.1),
        ("rand_mp_softrank", 0.1),
        ("ww_softrank", 0.1),
    ];
    let found = differences(&ours, &theirs, &random);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let mean = |table: &Table, column: &str| {
        theirs.names().map(|name| table.number(name, column).unwrap()).sum::<f64>() / theirs.names().count() as f64
    };
    // On the average over layers they must be as the tool's: no bias.
    for (column, _) in random.into_iter().chain([("rand_distance", 0.0)]) {
        let (a, b) = (mean(&ours, column), mean(&theirs, column));
        assert!((a - b).abs() <= 0.01 * b.abs(), "{column}: mean {a}, WeightWatcher's {b}");
    }
    for name in theirs.names() {
        let difference = ours.number(name, "num_traps").unwrap() - theirs.number(name, "num_traps").unwrap();
        assert!(difference.abs() <= 2.0, "{name}: num_traps differ by {difference}");
        assert_eq!(ours.text(name, "num_traps"), ours.text(name, "rand_num_spikes"));
    }
}

#[test]
fn clipped_upper_ends() {
    assert_equal(&run(&["--xmax", "2"]), "xmax_2", &FIT);
    assert_equal(&run(&["--xmax", "-1"]), "xmax_-1", &FIT);
}

/// The `powerlaw` package fits the law without an end and compares it with the one that ends at the largest value.
#[test]
fn forced_upper_ends() {
    let ours = run(&["--xmax", "force"]);
    let path = "weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/variant.PL_powerlaw_force.details.csv";
    let columns = [&FIT[..], &[("D", FITTED)]].concat();
    let found = differences(&ours, &Table::read(&data(path)), &columns);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // By default the exponent is that of the law that ends there, which falls less steeply.
    let output = tempfile::tempdir().unwrap();
    let options = ["--quantizations", "fp16", "--xmax", "force", "--layers", "pooler.dense"];
    analyse(&model("minilm-l6-v2-f32"), output.path(), &options);
    let own = Table::read(&output.path().join("details.csv"));
    assert!(own.number("pooler.dense", "D").unwrap() < ours.number("pooler.dense", "D").unwrap());
}

#[test]
fn fingers() {
    let ours = run(&["--fix-fingers", "clip_xmax"]);
    let columns = [&FIT[..], &[("num_fingers", COUNTS), ("raw_alpha", FITTED)]].concat();
    assert_equal(&ours, "clip_xmax", &columns);
    // The tool's own fit refuses the range of xmin_peak; ours takes it by default.
    let refused = run(&["--fix-fingers", "xmin_peak"]);
    let failed = [
        ("D", 0.0),
        ("alpha", 0.0),
        ("sigma", 0.0),
        ("xmin", 0.0),
        ("num_pl_spikes", 0.0),
        ("alpha_weighted", CLOSED),
        // Of reciprocals: the smallest eigenvalues, which are of the Gram matrix, decide.
        ("log_alpha_norm", ALPHA_NORM),
        ("xmax", 0.0),
    ];
    assert_equal(&refused, "xmin_peak_ww", &failed);
    assert!(refused.names().all(|name| refused.text(name, "warning") == "over-trained"));
}

#[test]
fn reciprocal_spectra() {
    let ours = run(&["--inverse", "--svd"]);
    let columns = [
        &FIT[..],
        &[
            ("norm", CLOSED),
            ("spectral_norm", CLOSED),
            ("stable_rank", CLOSED),
            ("entropy", CLOSED),
            ("matrix_rank", COUNTS),
            ("rank_loss", COUNTS),
            ("weak_rank_loss", COUNTS),
            ("sv_max", CLOSED),
            ("sv_min", CLOSED),
        ],
    ]
    .concat();
    assert_equal(&ours, "inverse", &columns);
}

/// The published `xmin_peak` alpha is the tool's with the `powerlaw` package 1.5.
#[test]
fn the_published_xmin_peak() {
    let ours = run(&["--trust", "--draws", "1"]);
    let path = "weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/variant.xmin_peak_powerlaw.details.csv";
    let theirs = Table::read(&data(path));
    for name in theirs.names() {
        // The same table pins the verdict: there is one for every layer.
        assert!(!ours.text(name, "verdict").is_empty() && !ours.text(name, "verdict_reason").is_empty());
        let (a, b) = (ours.number(name, "alpha_xmin_peak").unwrap(), theirs.number(name, "alpha").unwrap());
        assert!((a - b).abs() < 1e-9 * b, "{name}: {a}, WeightWatcher has {b}");
    }
}

/// The tool's eigenvalues of the vectors and those of the fit come from two algorithms, so that the vector at xmin falls on
/// either side by rounding; apart from that one vector all agree.
#[test]
fn eigenvectors() {
    let ours = run(&["--vectors", "--layers", "-embeddings.*"]);
    let theirs = theirs("vectors");
    let mut found = Vec::new();
    for name in ours.names() {
        for side in ["bulk", "tail"] {
            let tail = ours.number(name, "num_pl_spikes").unwrap();
            let count = if side == "tail" { tail } else { ours.number(name, "num_evals").unwrap() - tail };
            for measure in ["vec_entropy", "loc_ratio", "part_ratio"] {
                let (mean, var) = (format!("{side}_mean_{measure}"), format!("{side}_var_{measure}"));
                // One vector more or less, at most five standard deviations out.
                let spread = theirs.number(name, &var).unwrap().sqrt();
                let bound = 5.0 * spread / count + 1e-9;
                let (a, b) = (ours.number(name, &mean).unwrap(), theirs.number(name, &mean).unwrap());
                if (a - b).abs() > bound {
                    found.push(format!("{name}: {mean} = {a}, WeightWatcher has {b}"));
                }
                let (a, b) = (ours.number(name, &var).unwrap(), theirs.number(name, &var).unwrap());
                if (a - b).abs() > 26.0 * b / count + 1e-9 {
                    found.push(format!("{name}: {var} = {a}, WeightWatcher has {b}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(ours.names().count(), 37);
}

#[test]
fn selections() {
    let ids = |options: &[&str]| -> BTreeMap<String, u64> {
        let model = model("minilm-l6-v2-f32");
        let arguments = ["describe", model.to_str().unwrap(), "--format", "json", "--compat", "weightwatcher"];
        let result = heavytail([&arguments, options].concat());
        let head: serde_json::Value = serde_json::from_slice(&result.stdout).unwrap();
        let layers = head["layers"].as_array().unwrap().iter();
        layers.map(|l| (l["name"].as_str().unwrap().to_owned(), l["layer_id"].as_u64().unwrap())).collect()
    };
    let expected = |variant: &str| -> BTreeMap<String, u64> {
        let table = theirs(variant);
        table.names().map(|name| (name.to_owned(), table.number(name, "layer_id").unwrap() as u64)).collect()
    };
    assert_eq!(ids(&["--start-ids", "1"]), expected("start_ids_1"));
    assert_eq!(ids(&["--max-n", "20000"]), expected("max_N_20000"));
    assert_eq!(ids(&["--min-evals", "400"]).len(), 0);
    assert_eq!(ids(&["--layers", "5,6,7"]).into_values().collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(ids(&["--layers", "-5,-6"]).len(), 37);
    assert_eq!(ids(&["--layers", "-pooler.dense"]).len(), 38);
    assert_eq!(ids(&["--layers", "dense"]).len(), 39);
}

/// The evidence for the demo model's alphas: the same bytes with one thread and three.
#[test]
fn evidence() {
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.csv");
    fs::write(&scores, "level,metric,value\nfp16,accuracy,0.7\n4bit,accuracy,0.6\n2bit,accuracy,0.1\n").unwrap();
    let analyse = |threads: &str| {
        let output = folder.path().join(threads);
        let result = heavytail([
            "analyze".as_ref(),
            "--output-dir".as_ref(),
            output.as_os_str(),
            "--quantizations".as_ref(),
            "fp16,4bit,2bit".as_ref(),
            "--trust".as_ref(),
            "--detx".as_ref(),
            "--draws".as_ref(),
            "50".as_ref(),
            "--farms".as_ref(),
            "128".as_ref(),
            "--threads".as_ref(),
            threads.as_ref(),
            "--scores".as_ref(),
            scores.as_os_str(),
        ]);
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        assert!(String::from_utf8_lossy(&result.stdout).contains("3 levels only"));
        output
    };
    let (one, three) = (analyse("1"), analyse("3"));
    for file in ["details.csv", "quantization_comparison.csv", "report.json", "score_correlations.csv"] {
        assert_eq!(fs::read(one.join(file)).unwrap(), fs::read(three.join(file)).unwrap(), "{file}");
    }
    let words = ["reliable", "short tail", "xmin unstable", "not a power law", "too few eigenvalues", "failed"];
    for level in ["fp16", "4bit", "2bit"] {
        let table = Table::read(&one.join(format!("results_{level}.csv")));
        for name in table.names() {
            assert!(words.contains(&table.text(name, "verdict")), "{level} {name}");
            // At few bits most blocks of a matrix with a far outlier are zero.
            assert!(level != "fp16" || table.number(name, "alpha_farms").is_some(), "{level} {name}");
            if table.text(name, "status") == "success" {
                let number = |column: &str| table.number(name, column).unwrap();
                let interval = table.number(name, "alpha_low").zip(table.number(name, "alpha_high"));
                let is_few = table.text(name, "verdict") == "too few eigenvalues";
                assert!(interval.map_or(is_few, |(low, high)| low <= high), "{level} {name}");
                assert!((0.0..=1.0).contains(&number("gof_p")), "{level} {name}");
                assert!((0.0..=1.0).contains(&number("p_lognormal")), "{level} {name}");
                assert!((0.0..=0.84).contains(&number("rand_distance")), "{level} {name}: at most sqrt(ln 2)");
                assert!(number("num_above_random") <= number("num_evals"), "{level} {name}");
                assert!((number("setol_alpha_distance") - (number("alpha") - 2.0)).abs() < 1e-12, "{level} {name}");
                // The point where |det X| = 1 is below the tail if there are more eigenvalues from it on; none at 0.
                let below = table.number(name, "setol_xmin_log_ratio").is_some_and(|ratio| ratio > 0.0);
                assert!(!below || number("detX_num") >= number("num_pl_spikes"), "{level} {name}");
                assert!(number("R_truncated_power_law") <= 1e-9, "{level} {name}: a nested law is never less likely");
                let plateau = number("alpha_plateau_low")..=number("alpha_plateau_high");
                // Below 20 values the fit is another one.
                let few = table.text(name, "verdict") == "too few eigenvalues";
                assert!(few || plateau.contains(&number("alpha")), "{level} {name}");
            }
        }
    }
    let comparison = fs::read_to_string(one.join("quantization_comparison.csv")).unwrap();
    assert!(comparison.lines().next().unwrap().contains("wilcoxon_p"), "{comparison}");
    let wrong = heavytail(["analyze", "--trust", "--xmax", "1"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("trust excludes xmax"));
}

/// `get_summary()` of the same runs (`variants.json` beside the tool's tables).
#[test]
fn summary_and_curves() {
    let output = tempfile::tempdir().unwrap();
    let options = ["--compat", "weightwatcher", "--quantizations", "fp16", "--mp-fit", "--deltas", "--curves", "50"];
    analyse(&model("minilm-l6-v2-f32"), output.path(), &options);
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(output.path().join("report.json")).unwrap()).unwrap();
    let summary = &report["summary"][0];
    assert_eq!(summary["quantization"], "fp16");
    for (name, value) in [
        ("log_norm", 2.930_734_507_678_576),
        ("alpha", 4.117_094_457_966_125),
        ("alpha_weighted", 5.064_799_796_709_486),
        ("log_alpha_norm", 5.595_981_464_817_493),
        ("log_spectral_norm", 1.394_061_222_241_910_6),
        ("stable_rank", 38.062_924_800_578_415),
    ] {
        let ours = summary[name].as_f64().unwrap();
        assert!((ours - value).abs() <= CLOSED * value, "{name}: {ours}, WeightWatcher has {value}");
    }
    let theirs = theirs("mp_fit");
    let mean = theirs.names().map(|name| theirs.number(name, "mp_softrank").unwrap()).sum::<f64>() / 39.0;
    assert!((summary["mp_softrank"].as_f64().unwrap() - mean).abs() < 2.0 * NOISE * mean);
    for row in report["rows"].as_array().unwrap() {
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let curve = row["curves"]["xmin"].as_array().unwrap();
        // The fit is on its curve, and is its lowest point.
        let lowest = curve.iter().min_by(|a, b| number(&a["D"]).total_cmp(&number(&b["D"]))).unwrap();
        for (on_curve, in_row) in
            [("xmin", "xmin"), ("alpha", "alpha"), ("D", "D"), ("sigma", "sigma"), ("tail_len", "num_pl_spikes")]
        {
            assert_eq!(number(&lowest[on_curve]), number(&row[in_row]), "{} {in_row}", row["name"]);
        }
        for curve in ["xmin", "hill", "deltas"] {
            assert!((30..=51).contains(&row["curves"][curve].as_array().unwrap().len()), "{} {curve}", row["name"]);
        }
        // Eigenvalues of trained weights repel each other as those of random ones.
        assert!((0.4..0.65).contains(&number(&row["measures"]["level_spacing_ratio"])), "{}", row["name"]);
    }
}

/// The columns of the tool's `describe()`, in the order of its table.
#[test]
fn described_layers() {
    let result = heavytail(["describe", "--format", "csv", "--layers", "encoder.layer.0.attention.self.query"]);
    let text = String::from_utf8(result.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("layer_id,name,M,N,Q,layer_type,longname,num_evals,rf,"), "{text}");
    assert_eq!(lines.len(), 2, "{text}");
    let query = "encoder.layer.0.attention.self.query";
    assert!(lines[1].contains(&format!(",{query},384,384,1.0,dense,{query},384,1,")), "{text}");
}

/// The rows of one table by name and slice.
fn rows(path: &Path) -> BTreeMap<(String, String), BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    reader
        .records()
        .map(|record| {
            let row: BTreeMap<String, String> =
                columns.iter().cloned().zip(record.unwrap().iter().map(str::to_owned)).collect();
            ((row["name"].clone(), row.get("slice_id").cloned().unwrap_or_default()), row)
        })
        .collect()
}

/// The small matrices, under the options that change convolutions, and with all that adds columns.
#[test]
fn synthetic_matrices() {
    let bytes = fs::read(data("weightwatcher/synthetic/inputs.safetensors")).unwrap();
    let inputs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // One file with all of them: a layer does not know of the others.
    let values: Vec<(String, Vec<usize>, Vec<f32>)> = inputs
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (format!("{}.weight", name.trim_end_matches(".weight")), view.shape().to_vec(), values)
        })
        .collect();
    let tensors: Vec<(&str, &[usize], &[f32])> =
        values.iter().map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.as_slice())).collect();
    let file = folder.path().join("model.safetensors");
    common::write_model(&file, &tensors);
    let closed = ["N", "M", "Q", "rf", "num_evals", "norm", "sv_max", "stable_rank", "matrix_rank", "rank_loss"];
    let fit = ["alpha", "D", "num_pl_spikes", "sigma"];
    let erg = ["detX_num", "num_ERG_spikes", "ERG_gap", "detX_val", "detX_val_unrescaled"];
    let noise = ["W_scale", "sigma_mp", "num_spikes", "mp_softrank", "bulk_max", "bulk_min", "rand_W_scale"];
    let columns = [&closed[..], &fit].concat();
    let mut found = Vec::new();
    let mut compared = 0;
    for (table, options, columns) in [
        ("pool_False", &["--no-pool"][..], columns.clone()),
        ("conv2d_norm_False", &["--no-conv2d-norm"], columns),
        ("everything", &["--detx", "--mp-fit", "--randomize"], [&erg[..], &noise].concat()),
    ] {
        let output = folder.path().join(table);
        analyse(
            &file,
            &output,
            &[&["--compat", "weightwatcher", "--svd", "--quantizations", "fp16"], options].concat(),
        );
        let ours = rows(&output.join("details.csv"));
        for ((name, slice), theirs) in rows(&data(&format!("weightwatcher/synthetic/{table}.details.csv"))) {
            let Some(ours) = ours.get(&(name.clone(), slice.clone())) else {
                found.push(format!("{table} {name} {slice}: no row"));
                continue;
            };
            for column in &columns {
                // Ties: the digits of LAPACK's rounding errors decide (tests/weightwatcher.rs).
                let is_rounding = (name == "hadamard_ties_64x64" && (fit.contains(column) || *column == "ERG_gap"))
                    // A sum over eigenvalues that are zero but for rounding.
                    || ((name.starts_with("rank") || name.starts_with("const")) && ["detX_val", "detX_val_unrescaled"].contains(column));
                if is_rounding {
                    continue;
                }
                let number = |text: &str| text.parse::<f64>().ok();
                let (a, b) = (number(&ours[*column]), number(&theirs[*column]));
                let tolerance = if noise.contains(column) { NOISE } else { FITTED };
                let fine = match (a, b) {
                    (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs(),
                    (a, b) => a == b,
                };
                compared += 1;
                if !fine {
                    found.push(format!("{table} {name} {slice}: {column} = {a:?}, WeightWatcher has {b:?}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} of {compared} differ\n{}", found.len(), found.join("\n"));
    assert!(compared > 1000, "{compared}");
}
