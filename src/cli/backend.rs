//! Which backend works: as the user says, or by a calibration at first use whose result is kept.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Failure, speed};
use crate::error::Error;
use crate::kernel::{BLAS_VARIABLE, Blas, Kernel};
use crate::spectrum::backend::{Backend, Own, Parts};
use crate::spectrum::library::Library;

/// What `--backend` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendArg {
    /// The faster one: measured once where the system's library is made for its processor (macOS) or `HEAVYTAIL_BLAS` names
    /// one, else rust
    Auto,
    /// The program's own kernels: the same bits everywhere, and in the page
    Rust,
    /// The system's BLAS and LAPACK: Accelerate or OpenBLAS; last digits may differ
    Blas,
}

/// The backend, and how it was chosen.
pub(super) struct Choice {
    pub backend: Arc<dyn Backend>,
    pub reason: String,
}

/// How much faster the library must be: less is not worth the bits that are the same everywhere.
const WORTH_IT: f64 = 1.2;

/// The backend for `threads` threads.
pub(super) fn choose(argument: BackendArg, threads: usize) -> Result<Choice, Failure> {
    let own = Own(Kernel::selected());
    let rust = |reason: &str| Choice { backend: Arc::new(own), reason: reason.to_owned() };
    match argument {
        BackendArg::Rust => Ok(rust("as asked for")),
        BackendArg::Blas => {
            let blas = Blas::find().map_err(|fault| {
                Error::Options(format!(
                    "--backend blas: no library: {fault}; install OpenBLAS (Debian: libopenblas0) or name a library in \
                     {BLAS_VARIABLE}"
                ))
            })?;
            Ok(Choice { backend: Arc::new(Library::new(blas)), reason: "as asked for".to_owned() })
        }
        BackendArg::Auto => {
            let is_named = std::env::var(BLAS_VARIABLE).is_ok_and(|path| !path.is_empty());
            if !is_named && !Blas::is_part_of_the_system() {
                return Ok(rust("no library is part of this system"));
            }
            match Blas::find() {
                Ok(blas) => Ok(calibrated(own, Library::new(blas), threads)),
                Err(fault) if is_named => Err(Error::Options(format!("{BLAS_VARIABLE}: {fault}")).into()),
                Err(fault) => Ok(rust(&fault)),
            }
        }
    }
}

/// Rates in GF/s, of all threads together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rates {
    pub gram: f64,
    pub eigenvalues: f64,
}

/// What is kept of a calibration.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Calibration {
    /// What it holds for: another version, processor, library or number of threads is measured again.
    of: String,
    rust: Rates,
    blas: Rates,
}

fn calibrated(own: Own, library: Library, threads: usize) -> Choice {
    let of = format!(
        "{} {} {}, {}, {threads} threads",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        own.name(),
        library.name()
    );
    let path = kept();
    let read = path.as_deref().and_then(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok());
    let known = read.filter(|calibration: &Calibration| calibration.of == of);
    let when = if known.is_some() { "measured before" } else { "measured now" };
    let calibration = known.unwrap_or_else(|| {
        let calibration = Calibration { of, rust: measure(&own, threads), blas: measure(&library, threads) };
        // Without a place to keep it, the next run measures again.
        if let Some(path) = path
            && let (Some(folder), Ok(text)) = (path.parent(), serde_json::to_string(&calibration))
        {
            let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        }
        calibration
    });
    let Calibration { rust, blas, .. } = calibration;
    let (own, library): (Arc<dyn Backend>, Arc<dyn Backend>) = (Arc::new(own), Arc::new(library));
    let faster = |rust: f64, blas: f64| if blas > WORTH_IT * rust { library.clone() } else { own.clone() };
    Choice {
        backend: Arc::new(Parts {
            gram: faster(rust.gram, blas.gram),
            eigenvalues: faster(rust.eigenvalues, blas.eigenvalues),
        }),
        reason: format!(
            "{when}: Gram products {:.0} GF/s by rust, {:.0} by the library; eigenvalues {:.0} and {:.0}; the library must be \
             {WORTH_IT} times as fast",
            rust.gram, blas.gram, rust.eigenvalues, blas.eigenvalues
        ),
    }
}

/// The file that keeps the calibration, in the user's cache folder.
fn kept() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = from("XDG_CACHE_HOME").or_else(|| {
        if cfg!(target_os = "windows") {
            return from("LOCALAPPDATA");
        }
        Some(from("HOME")?.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }))
    })?;
    Some(cache.join("heavytail").join("backend.json"))
}

/// The rates of all threads at work together, as layers are: a matrix unit that cores share counts once. About half a second.
pub(super) fn measure(backend: &dyn Backend, threads: usize) -> Rates {
    const N: usize = 640;
    const ROUNDS: usize = 3;
    let w = speed::bell(2 * N * N, 1);
    let gram = || {
        let mut gram = backend.gram(N);
        gram.push(&w, 2 * N);
        gram.finish()
    };
    let of_all = |work: &(dyn Fn() + Sync)| {
        // The first round brings library and caches up.
        (0..=ROUNDS)
            .map(|_| {
                let start = std::time::Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(work);
                    }
                });
                start.elapsed().as_secs_f64()
            })
            .skip(1)
            .fold(f64::INFINITY, f64::min)
    };
    let tiles = gram();
    let all = 1e-9 * threads as f64;
    Rates {
        gram: all * (w.len() * N) as f64 / of_all(&|| drop(gram())),
        eigenvalues: all * speed::eigenvalue_flops(N) / of_all(&|| drop(backend.eigenvalues(tiles.clone(), &|| false))),
    }
}

/// Threads to compute with when the user does not say: one per core; on Apple silicon one per performance core, because the
/// others would hold a layer up that everything waits for.
pub(super) fn default_threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if cfg!(target_os = "macos") { performance_cores().map_or(all, |fast| fast.min(all)) } else { all }
}

/// As macOS counts them; none on a processor whose cores are all alike.
fn performance_cores() -> Option<usize> {
    let output =
        std::process::Command::new("/usr/sbin/sysctl").args(["-n", "hw.perflevel0.physicalcpu"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().filter(|count| *count > 0)
}
