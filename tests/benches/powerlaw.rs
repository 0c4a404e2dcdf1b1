//! Times of the power-law fits: `cargo bench --bench powerlaw`. Best of several runs, one thread.

use std::hint::black_box;
use std::time::Instant;

use heavytail::powerlaw::{bootstrap, fit_truncated, fit_weightwatcher, goodness_of_fit};
use heavytail::spectrum::fit_noise;

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
    // One thread, to compare with other tools.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(run);
}

fn run() {
    for n in [128, 384, 1000, 8192] {
        let values = spectrum(n);
        time(&format!("fit_weightwatcher, n = {n}"), 20, || fit_weightwatcher(black_box(&values)));
    }
    let values = spectrum(1000);
    time("bootstrap, 1000 draws, n = 1000", 3, || bootstrap(black_box(&values), 1000, 0));
    time("goodness_of_fit, 1000 sets, n = 1000", 3, || goodness_of_fit(black_box(&values), 1000, 0));
    let noise: Vec<f64> = (0..1000).map(|i| (0.42 + 1.16 * (f64::from(i) + 0.5) / 1000.0).powi(2)).collect();
    time("fit_noise, n = 1000", 5, || fit_noise(black_box(&noise), 3000, 1000, false));
    time("fit_truncated, n = 1000", 3, || fit_truncated(black_box(&values), 0.0, f64::INFINITY));
}
