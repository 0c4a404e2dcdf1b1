//! Published fits, by people other than us.

mod common;

use std::fs;

use common::data;
use heavytail::powerlaw::fit_csn;

fn sample(name: &str) -> Vec<f64> {
    let text = fs::read_to_string(data(&format!("powerlaw/{name}.txt"))).unwrap();
    let mut values: Vec<f64> = text.split_whitespace().map(|v| v.parse().unwrap()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Clauset, Shalizi, Newman 2009, table 6.1, and the reference numbers to four digits.
#[test]
fn published_fits() {
    for (name, alpha, xmin, tail) in [
        ("blackouts", 2.2726, 230_000.0, 59),
        ("flares", 1.7884, 323.0, 1711),
        ("cities", 2.3700, 52_457.0, 580),
        ("surnames", 2.4932, 111_919.0, 239),
    ] {
        let fit = fit_csn(&sample(name)).unwrap();
        assert!((fit.alpha - alpha).abs() < 5e-5, "{name}: {fit:?}");
        assert_eq!((fit.xmin, fit.tail_len), (xmin, tail), "{name}");
    }
}
