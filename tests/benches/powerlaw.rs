//! Times of the power-law fits: `cargo bench --bench powerlaw`. Best of several runs, one thread.

use std::hint::black_box;
use std::time::Instant;

use heavytail::powerlaw::fit_weightwatcher;

/// A spectrum like a trained layer's: a Marchenko-Pastur-like bulk with a heavy tail of one in ten.
fn spectrum(n: usize) -> Vec<f64> {
    let mut values: Vec<f64> = (0..n)
        .map(|i| {
            let u = (i as f64 + 0.5) / n as f64;
            let wobble = 1.0 + 0.01 * ((i * 7919 % 1000) as f64 / 1000.0);
            if i * 10 < n * 9 { (0.02 + 2.0 * u * u) * wobble } else { 1.6 * (10.0 * (1.0 - u)).powf(-0.4) * wobble }
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

fn time<T>(what: &str, runs: usize, mut work: impl FnMut() -> T) {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        black_box(work());
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:<50} {:>10.3} ms", best * 1e3);
}

fn main() {
    for n in [128, 384, 1000, 8192] {
        let values = spectrum(n);
        time(&format!("fit_weightwatcher, n = {n}"), 20, || fit_weightwatcher(black_box(&values)));
    }
}
