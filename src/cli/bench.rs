//! `heavytail bench`: how fast this machine is, and how much of that each stage reaches.

use std::process::ExitCode;

use super::arguments::Bench;
use super::backend::{BackendArg, choose, default_threads};
use super::describe::table;
use super::{Failure, print, speed};
use crate::kernel::Kernel;
use crate::matrix::Matrix;

pub(super) fn run(arguments: &Bench) -> Result<ExitCode, Failure> {
    let kernel = Kernel::selected();
    let peak = speed::peak(kernel);
    let choice = choose(BackendArg::Auto, default_threads())?;
    print(&format!(
        "backend {}: {}\n\
         kernel {}, peak of the matrix product on one thread: {peak:.1} GF/s\n\
         G a second: 1e9 floating-point operations (of codes: integer operations)\n",
        choice.backend.name(),
        choice.reason,
        kernel.name()
    ))?;
    let headings = ["n", "stage", "ms", "G a second", "share of peak", "band ms", "chase ms", "values ms"];
    for &n in &arguments.sizes {
        let n = n as usize;
        let mut view = table(&headings);
        let rows = 4 * n;
        let w = speed::bell(rows * n, n as u64);
        let mut line = |stage: &str, flops: f64, total: f64, parts: Option<speed::Stages>| {
            let rate = 1e-9 * flops / total;
            let ms = |seconds: f64| format!("{:.3}", 1e3 * seconds);
            let mut cells = vec![
                n.to_string(),
                stage.to_owned(),
                ms(total),
                format!("{rate:.1}"),
                if stage.ends_with("codes") { String::new() } else { format!("{:.0}%", 100.0 * rate / peak) },
            ];
            cells.extend(parts.map_or(vec![String::new(); 3], |p| vec![ms(p.band), ms(p.chase), ms(p.values)]));
            view.add_row(cells);
        };
        let products = (rows * n * n) as f64;
        let (tiles, time) = speed::gram(kernel, &w, n);
        line("Gram product, 4n rows", products, time, None);
        for (bits, stage) in [(8, "Gram product of 8-bit codes"), (6, "Gram product of 6-bit codes")] {
            line(stage, products, speed::code_gram(kernel, &w, n, bits), None);
        }
        let stages = speed::eigenvalues(kernel, &tiles)?;
        line("eigenvalues", speed::eigenvalue_flops(n), stages.total, Some(stages));
        let matrix = Matrix::new(rows, n, w)?;
        let stages = speed::singular_values(kernel, &matrix)?;
        line("singular values, 4n rows", speed::singular_value_flops(rows, n), stages.total, Some(stages));
        print(&format!("{view}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
