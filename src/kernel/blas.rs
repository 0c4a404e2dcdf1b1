//! A BLAS and LAPACK of the system, loaded at run time: Accelerate on Apple's systems, OpenBLAS elsewhere. The program needs
//! neither to start.

use core::ffi::{c_char, c_int, c_uint};
use libloading::Library;

/// Environment variable that names a library to load in place of those the system has.
pub const BLAS_VARIABLE: &str = "HEAVYTAIL_BLAS";

/// Accelerate's place; it is in the dynamic linker's cache, not on the disk.
const ACCELERATE: &str = "/System/Library/Frameworks/Accelerate.framework/Accelerate";

/// What the same two routines are called by, and whether integers have 64 bits; the better interface first.
///
/// Accelerate has had a current LAPACK since macOS 13.3, under new names without the Fortran underscore; the old names are an
/// older LAPACK. OpenBLAS with 64-bit integers adds `64_`, except Debian's: see [`Blas::open`].
const NAMES: [Names; 4] = [
    Names { syrk: "cblas_dsyrk$NEWLAPACK$ILP64", syevd: "dsyevd$NEWLAPACK$ILP64", is_wide: true },
    Names { syrk: "cblas_dsyrk$NEWLAPACK", syevd: "dsyevd$NEWLAPACK", is_wide: false },
    Names { syrk: "cblas_dsyrk64_", syevd: "dsyevd_64_", is_wide: true },
    Names { syrk: "cblas_dsyrk", syevd: "dsyevd_", is_wide: false },
];

struct Names {
    syrk: &'static str,
    syevd: &'static str,
    is_wide: bool,
}

/// C += A A^T or A^T A, one triangle.
type Syrk<I> = unsafe extern "C" fn(c_int, c_int, c_int, I, I, f64, *const f64, I, f64, *mut f64, I);

/// Eigenvalues of a symmetric matrix. The last two are the lengths of the texts, which compilers of Fortran pass by value;
/// libraries that are not from Fortran do not look at them.
type Syevd<I> = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const I,
    *mut f64,
    *const I,
    *mut f64,
    *mut f64,
    *const I,
    *mut I,
    *const I,
    *mut I,
    usize,
    usize,
);

#[derive(Debug, Clone, Copy)]
struct Routines<I> {
    syrk: Syrk<I>,
    syevd: Syevd<I>,
}

#[derive(Debug, Clone, Copy)]
enum Interface {
    Narrow(Routines<i32>),
    Wide(Routines<i64>),
}

/// A loaded library. Every call runs on the caller's thread alone: matrices are what runs in parallel.
#[derive(Debug)]
pub struct Blas {
    name: String,
    interface: Interface,
    /// Accelerate's switch to a single thread, which counts for the calling thread only (macOS 15).
    set_threading: Option<unsafe extern "C" fn(c_uint) -> c_int>,
    /// The routines live as long as it is open.
    _library: Library,
}

/// How the rows of W lie in a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    /// Row-major \[k, n\].
    Rows,
    /// Row-major \[n, k\]: a column of W after the other.
    Columns,
}

impl Blas {
    /// The library that the environment names ([`BLAS_VARIABLE`]), else the system's.
    ///
    /// # Errors
    /// What was tried, and why it failed.
    pub fn find() -> Result<Self, String> {
        if let Ok(path) = std::env::var(BLAS_VARIABLE)
            && !path.is_empty()
        {
            return Self::open(&path);
        }
        let usual: &[&str] = if cfg!(target_os = "macos") {
            &[ACCELERATE]
        } else if cfg!(target_os = "windows") {
            &["libopenblas.dll", "openblas.dll"]
        } else {
            &["libopenblas.so.0", "libopenblas64_.so.0", "libopenblas64.so.0", "libopenblas.so"]
        };
        let mut faults = Vec::new();
        for name in usual {
            match Self::open(name) {
                Ok(blas) => return Ok(blas),
                Err(fault) => faults.push(fault),
            }
        }
        Err(faults.join("; "))
    }

    /// Whether the system comes with a library that is made for its processor.
    pub fn is_part_of_the_system() -> bool {
        cfg!(target_os = "macos")
    }

    /// Loads a library by name or path.
    ///
    /// # Errors
    /// It can't be loaded, or lacks one of the routines.
    pub fn open(path: &str) -> Result<Self, String> {
        // SAFETY: a library that is named as a BLAS does in its initialisation what BLAS libraries do: it looks at the
        // processor and may start threads.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("can't load {path:?}: {error}"))?;
        // Debian's OpenBLAS with 64-bit integers has the plain names; only its file's name tells.
        let is_wide_by_path = path.rsplit(['/', '\\']).next().is_some_and(|file| file.contains("openblas64"));
        let interface = NAMES.iter().find_map(|names| {
            // SAFETY: these are the routines' types in the interface of CBLAS and LAPACK that the name stands for; the
            // width of integers is part of the name, or of the file's.
            unsafe {
                Some(if names.is_wide || is_wide_by_path {
                    Interface::Wide(Routines {
                        syrk: *library.get(names.syrk.as_bytes()).ok()?,
                        syevd: *library.get(names.syevd.as_bytes()).ok()?,
                    })
                } else {
                    Interface::Narrow(Routines {
                        syrk: *library.get(names.syrk.as_bytes()).ok()?,
                        syevd: *library.get(names.syevd.as_bytes()).ok()?,
                    })
                })
            }
        });
        let interface = interface.ok_or_else(|| format!("{path:?} has no cblas_dsyrk and dsyevd"))?;
        // SAFETY: both are documented with these types; OpenBLAS's counts for the whole process and holds until it is
        // called again.
        let set_threading = unsafe {
            for name in ["openblas_set_num_threads", "openblas_set_num_threads64_"] {
                if let Ok(set_threads) = library.get::<unsafe extern "C" fn(c_int)>(name.as_bytes()) {
                    set_threads(1);
                }
            }
            library.get(b"BLASSetThreading").ok().map(|routine| *routine)
        };
        let name = if path == ACCELERATE { "Accelerate" } else { path };
        Ok(Self { name: name.to_owned(), interface, set_threading, _library: library })
    }

    /// Its name, or the path it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn use_one_thread(&self) {
        const SINGLE_THREADED: c_uint = 1;
        if let Some(set_threading) = self.set_threading {
            // SAFETY: documented; takes one of two numbers. If it refuses, the call after it is only slower.
            unsafe { set_threading(SINGLE_THREADED) };
        }
    }

    /// C += W^T W for k rows of W: the lower triangle of C, row-major \[n, n\].
    ///
    /// # Panics
    /// If `panel` does not hold k n numbers or `c` n^2, or if n or k do not fit the library's integers.
    ///
    /// # Cost
    /// k n^2 flops.
    pub fn add_gram(&self, panel: &[f64], layout: Panel, k: usize, n: usize, c: &mut [f64]) {
        assert!(panel.len() == k * n && c.len() == n * n);
        if n == 0 || k == 0 {
            return;
        }
        self.use_one_thread();
        // SAFETY: the lengths were checked; the routine reads n k numbers and writes inside n^2.
        unsafe {
            match &self.interface {
                Interface::Narrow(routines) => add_gram(routines, panel, layout, whole(k), whole(n), c),
                Interface::Wide(routines) => add_gram(routines, panel, layout, whole(k), whole(n), c),
            }
        }
    }

    /// Eigenvalues, ascending, of the symmetric matrix whose lower triangle `a`, row-major \[n, n\], holds; `a` is lost.
    ///
    /// # Errors
    /// The routine's number of values that did not converge.
    ///
    /// # Panics
    /// If `a` does not hold n^2 numbers, or if n does not fit the library's integers.
    pub fn eigenvalues(&self, a: &mut [f64], n: usize) -> Result<Vec<f64>, i64> {
        assert!(a.len() == n * n);
        if n == 0 {
            return Ok(Vec::new());
        }
        self.use_one_thread();
        let mut values = vec![0.0; n];
        // SAFETY: the lengths were checked; work spaces are as long as the routine asks for.
        let info = unsafe {
            match &self.interface {
                Interface::Narrow(routines) => eigenvalues(routines, a, whole(n), &mut values),
                Interface::Wide(routines) => eigenvalues(routines, a, whole(n), &mut values),
            }
        };
        if info == 0 { Ok(values) } else { Err(info) }
    }
}

/// An integer of the library's interface.
trait Whole: Copy + TryFrom<usize, Error: core::fmt::Debug> + TryFrom<i64, Error: core::fmt::Debug> + Into<i64> {}
impl Whole for i32 {}
impl Whole for i64 {}

fn whole<I: Whole>(x: usize) -> I {
    I::try_from(x).expect("matrices are far smaller than the library's integers")
}

/// # Safety
/// The routine is what its type says; `panel` holds k n numbers, `c` n^2.
unsafe fn add_gram<I: Whole>(routines: &Routines<I>, panel: &[f64], layout: Panel, k: I, n: I, c: &mut [f64]) {
    // The enumerations of CBLAS. What is row-major here is column-major there, transposed: the lower triangle is the upper.
    const COLUMN_MAJOR: c_int = 102;
    const AS_IT_IS: c_int = 111;
    const TRANSPOSED: c_int = 112;
    const UPPER: c_int = 121;
    let (transposition, step) = match layout {
        Panel::Rows => (AS_IT_IS, n),
        Panel::Columns => (TRANSPOSED, k),
    };
    (routines.syrk)(COLUMN_MAJOR, UPPER, transposition, n, k, 1.0, panel.as_ptr(), step, 1.0, c.as_mut_ptr(), n);
}

/// The routine's `info`.
///
/// # Safety
/// The routine is what its type says; `a` holds n^2 numbers, `values` n.
unsafe fn eigenvalues<I: Whole>(routines: &Routines<I>, a: &mut [f64], n: I, values: &mut [f64]) -> i64 {
    let (values_only, upper) = (b'N' as c_char, b'U' as c_char);
    let (a, values) = (a.as_mut_ptr(), values.as_mut_ptr());
    let mut info = whole::<I>(0);
    let mut call = |work: &mut [f64], length: I, whole_work: &mut [I], whole_length: I| {
        (routines.syevd)(
            &raw const values_only,
            &raw const upper,
            &raw const n,
            a,
            &raw const n,
            values,
            work.as_mut_ptr(),
            &raw const length,
            whole_work.as_mut_ptr(),
            &raw const whole_length,
            &raw mut info,
            1,
            1,
        );
    };
    // A length of -1 asks for the best one.
    let ask = I::try_from(-1i64).expect("-1 is an integer");
    let (mut best, mut best_whole) = ([0.0], [whole::<I>(0)]);
    call(&mut best, ask, &mut best_whole, ask);
    let order: i64 = n.into();
    // Never less than the least by the manual, whatever the answer.
    let length = (best[0] as usize).max(2 * order as usize + 1);
    let whole_length = usize::try_from(best_whole[0].into()).unwrap_or(0).max(1);
    call(&mut vec![0.0; length], whole(length), &mut vec![whole(0); whole_length], whole(whole_length));
    info.into()
}
