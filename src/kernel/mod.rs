//! The only unsafe code: small SIMD kernels, one `Isa` for each instruction set, chosen at run time.
//!
//! Algorithms are `Job`s, written once over the vectors of `lanes`; an `Isa` compiles them for its instruction set.
//! What a caller sees is [`Kernel`]: safe functions that check every length before they go down.
//!
//! Same bits everywhere: an element of a product is one chain of multiply-adds in the order of k, and other sums use
//! eight virtual lanes and one tree. All kernels that fuse (`avx512`, `avx2`, `neon`, `relaxed`, `scalar-fused`) agree to
//! the bit; those that cannot (`scalar`, plain `simd128`) run the same code with two roundings a multiply-add.
#![allow(clippy::needless_range_loop, reason = "one index runs over registers, pointers and scalars together")]
#![allow(unsafe_code, reason = "intrinsics and raw pointers live here, behind checked functions")]
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "a kernel is unsafe from end to end; its contract is on the struct it runs on"
)]
#![allow(clippy::wildcard_imports, reason = "intrinsics are many, and named for what they are")]
#![allow(clippy::inline_always, reason = "a kernel must be inlined into the function compiled for its instruction set")]

// The plain module of the page is at the size it may have.
#[cfg(not(all(target_arch = "wasm32", not(target_feature = "relaxed-simd"))))]
mod allocate;
#[cfg(feature = "blas")]
mod blas;
mod bulge;
mod chase;
mod codes;
mod gemm;
mod halves;
mod lanes;
mod loops;
mod narrow;
mod panel;
mod quantize;
mod sweep;
mod transpose;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use lanes::{Lanes, One, Twice};
use std::sync::OnceLock;

#[cfg(feature = "blas")]
pub use blas::{BLAS_VARIABLE, Blas, Panel};
pub use codes::{CODE_PANEL, CodeEntry, CodeKernel, CodeLayout};
pub(crate) use halves::halves_to_f32;
pub use loops::Loops;
pub use quantize::{CodeDamage, CodeGrid};
pub(crate) use sweep::GAMMA_FLOOR;

/// Environment variable that forces a kernel by its name.
pub const VARIABLE: &str = "HEAVYTAIL_KERNEL";

/// Work that is compiled once for every instruction set.
trait Job {
    type Output;
    /// # Safety
    /// The processor has `I`; the job's pointers are valid as its fields say.
    unsafe fn run<I: Isa>(self) -> Self::Output;
}

/// An instruction set.
trait Isa {
    /// Eight lanes.
    type Oct: Lanes;
    /// As many lanes, a divisor of eight, as leave the registers room for four of these vectors and four single ones.
    type Part: Lanes;
    /// Runs the job in a function compiled for this instruction set, out of line.
    unsafe fn call<J: Job>(job: J) -> J::Output;
    /// Blocks have loops of their own for either step of A being 1: an instruction set whose addresses are a register and a
    /// constant would spend half as many additions as products otherwise, each waiting for the one before.
    const FIXED_STEPS: bool = false;
    /// Cuts a product into register blocks of the shape that suits this instruction set.
    unsafe fn strips(gemm: &gemm::Gemm);
}

/// No instruction set assumed. `FUSED` rounds a multiply-add once, slowly on processors without it.
struct Scalar<const FUSED: bool>;

impl<const FUSED: bool> Isa for Scalar<FUSED> {
    type Oct = Twice<Twice<Twice<One<FUSED>>>>;
    type Part = Twice<Twice<One<FUSED>>>;
    #[inline(always)]
    unsafe fn call<J: Job>(job: J) -> J::Output {
        #[inline(never)]
        unsafe fn compiled<J: Job, const FUSED: bool>(job: J) -> J::Output {
            job.run::<Scalar<FUSED>>()
        }
        compiled::<J, FUSED>(job)
    }
    /// Four columns by two rows: compilers make SSE2 vectors of it.
    #[inline(always)]
    unsafe fn strips(gemm: &gemm::Gemm) {
        for column in (0..gemm.columns).step_by(4) {
            gemm.strip::<Self, Twice<Twice<One<FUSED>>>, 1, 2>(column);
        }
    }
}

/// Whether the portable kernels are in this build. In the page they would be dead weight: its module runs only where its own
/// kernel does.
const PORTABLE: bool = cfg!(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))));

/// A set of kernels that this processor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Set);

/// Private, so that only detection makes a [`Kernel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Scalar,
    ScalarFused,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
}

/// A kernel's name that no build of this program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKernel(pub String);

impl std::fmt::Display for UnknownKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown kernel {:?}: expected one of {}", self.0, NAMES.join(", "))
    }
}

impl std::error::Error for UnknownKernel {}

/// All names, on every platform, fastest first.
const NAMES: [&str; 7] = ["avx512", "avx2", "neon", "relaxed", "simd128", "scalar", "scalar-fused"];

impl Kernel {
    /// Kernels this processor can run, fastest first; the portable ones are there on every processor.
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::with_capacity(4);
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                kernels.push(Self(Set::Avx512));
            }
            if avx2 {
                kernels.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(Self(Set::Neon));
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        kernels.push(Self(Set::Wasm));
        if PORTABLE {
            kernels.push(Self(Set::Scalar));
            kernels.push(Self(Set::ScalarFused));
        }
        kernels
    }

    /// The kernel of that name, or the fastest one available where this processor lacks it.
    ///
    /// # Errors
    /// The name is none of those this program knows.
    pub fn by_name(name: &str) -> Result<Self, UnknownKernel> {
        if !NAMES.contains(&name) {
            return Err(UnknownKernel(name.to_owned()));
        }
        let available = Self::available();
        Ok(available.iter().copied().find(|kernel| kernel.name() == name).unwrap_or(available[0]))
    }

    /// The kernel that the environment asks for ([`VARIABLE`]), else the fastest.
    ///
    /// # Errors
    /// The variable holds an unknown name.
    pub fn from_environment() -> Result<Self, UnknownKernel> {
        match std::env::var(VARIABLE) {
            Ok(name) if !name.is_empty() => Self::by_name(&name),
            _ => Ok(Self::available()[0]),
        }
    }

    /// [`Kernel::from_environment`], asked once; an unknown name counts as none here, so a shell checks it at start.
    pub fn selected() -> Self {
        static SELECTED: OnceLock<Kernel> = OnceLock::new();
        *SELECTED.get_or_init(|| Self::from_environment().unwrap_or_else(|_| Self::available()[0]))
    }

    /// The name that [`VARIABLE`] understands.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            Set::ScalarFused => "scalar-fused",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Set::Wasm => wasm::NAME,
        }
    }

    /// Whether multiply-adds round once: kernels for which this is true give the same bits.
    pub fn is_fused(self) -> bool {
        !matches!(self.name(), "scalar" | "simd128")
    }

    /// How the operands of a Gram product suit this processor.
    pub(crate) fn gram_layout(self) -> GramLayout {
        match self.0 {
            // Two blocks of six rows; half as deep, so that the first-level cache holds it: there is no asking beforehand.
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Set::Wasm => GramLayout { width: 24, depth: 128, rows: 12 },
            // Each operand is read front to back.
            _ => GramLayout { width: 8, depth: 256, rows: 8 },
        }
    }

    fn run<J: Job>(self, job: J) -> J::Output {
        // SAFETY: a Kernel exists only where `available` found its instruction set; the functions below, which make the
        // jobs, have checked that every pointer covers what the job touches.
        unsafe {
            match self.0 {
                Set::Scalar | Set::ScalarFused if !PORTABLE => unreachable!("no such kernel is made"),
                Set::Scalar => Scalar::<false>::call(job),
                Set::ScalarFused => Scalar::<true>::call(job),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => x86::Avx2::call(job),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => x86::Avx512::call(job),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => aarch64::Neon::call(job),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Set::Wasm => wasm::Wasm::call(job),
            }
        }
    }

    /// C += A B with C \[rows, columns\], A \[rows, depth\], B \[depth, columns\]; `columns` is a multiple of 8.
    ///
    /// Every element of C is one chain of multiply-adds in the order of k that starts from its old value.
    ///
    /// # Panics
    /// If a slice is too short for the shape.
    ///
    /// # Cost
    /// 2 rows columns depth flops.
    pub fn gemm(self, shape: [usize; 3], a: Strided, b: Rows, c: &mut [f64], c_step: usize) {
        self.gemm_ahead(shape, a, b, c, c_step, &[]);
    }

    /// [`Kernel::gemm`], fetching `ahead` into the cache along the way for the caller's next step.
    pub(crate) fn gemm_ahead(
        self,
        [rows, columns, depth]: [usize; 3],
        a: Strided,
        b: Rows,
        c: &mut [f64],
        c_step: usize,
        ahead: &[f64],
    ) {
        if rows == 0 || columns == 0 || depth == 0 {
            return;
        }
        assert!(columns.is_multiple_of(8));
        assert!((rows - 1) * a.row_step + (depth - 1) * a.depth_step < a.data.len());
        assert!((depth - 1) * b.step + (columns / 8 - 1) * b.octet_step + 8 <= b.data.len());
        assert!((rows - 1) * c_step + columns <= c.len());
        assert!(rows == 1 || c_step >= columns);
        self.run(gemm::Gemm {
            rows,
            columns,
            depth,
            a: a.data.as_ptr(),
            a_row_step: a.row_step,
            a_depth_step: a.depth_step,
            b: b.data.as_ptr(),
            b_step: b.step,
            b_octet_step: b.octet_step,
            c: c.as_mut_ptr(),
            c_step,
            ahead: if ahead.is_empty() { c.as_ptr() } else { ahead.as_ptr() },
            ahead_length: ahead.len(),
        });
    }

    /// to\[c, r\] = sign from\[r, c\], rows `from_step` and `to_step` apart; `rows` and `columns` are multiples of 8.
    pub(crate) fn transpose(
        self,
        [rows, columns]: [usize; 2],
        from: &[f64],
        from_step: usize,
        sign: f64,
        to: &mut [f64],
        to_step: usize,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(rows.is_multiple_of(8) && columns.is_multiple_of(8));
        assert!((rows - 1) * from_step + columns <= from.len() && (columns - 1) * to_step + rows <= to.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        self.run(transpose::Transpose { from, from_step, to, to_step, rows, columns, sign });
    }

    /// Copies one half of rows and columns `from .. to` of a square onto the other: a\[r, c\] = a\[c, r\] for r > c, rows
    /// `step` apart; `to - from` is a multiple of 8.
    pub(crate) fn mirror(self, a: &mut [f64], step: usize, from: usize, to: usize) {
        assert!(from <= to && (to - from).is_multiple_of(8) && to <= step && (to == 0 || to * step <= a.len()));
        self.run(transpose::Mirror { a: a.as_mut_ptr(), step, from, to });
    }

    /// Householder factorization of a row-major panel \[rows, width\], `step` from row to row; width is one of 8, 16,
    /// 24 and rows >= width: see [`panel::PanelQr`].
    pub(crate) fn panel_qr(self, [rows, width]: [usize; 2], p: &mut [f64], step: usize, factors: &mut PanelFactors) {
        assert!(rows >= width && step >= width && (rows - 1) * step + width <= p.len());
        assert!(factors.r.len() == width * width);
        assert!(factors.tau.len() == width && factors.dots.len() == width * width);
        let (p, r) = (p.as_mut_ptr(), factors.r.as_mut_ptr());
        let (tau, dots) = (factors.tau.as_mut_ptr(), factors.dots.as_mut_ptr());
        match width {
            8 => self.run(panel::PanelQr::<1> { p, step, rows, r, tau, dots }),
            16 => self.run(panel::PanelQr::<2> { p, step, rows, r, tau, dots }),
            24 => self.run(panel::PanelQr::<3> { p, step, rows, r, tau, dots }),
            _ => panic!("panel width {width}"),
        }
    }

    /// First reflector of a sweep: `column` is A\[s .., s - 1\], `v` (b elements) gets the vector; returns tau.
    pub(crate) fn chase_start(self, column: &mut [f64], v: &mut [f64]) -> f64 {
        assert!(column.len() >= v.len());
        let (width, column, v) = (v.len(), column.as_mut_ptr(), v.as_mut_ptr());
        match width {
            8 => self.run(chase::ChaseStart::<1> { column, v }),
            16 => self.run(chase::ChaseStart::<2> { column, v }),
            24 => self.run(chase::ChaseStart::<3> { column, v }),
            _ => panic!("band width {width}"),
        }
    }

    /// One step of a sweep, see [`chase::ChaseSteps`]: `block` begins at A\[s, s\], `step` leads to the next column.
    pub(crate) fn chase_step(self, block: &mut [f64], step: usize, v: &mut [f64], tau: f64) -> f64 {
        let width = v.len();
        assert!(step >= 2 * width && block.len() >= width * step + 2 * width);
        let (blocks, v, tau) = ([block.as_mut_ptr()], [v.as_mut_ptr()], [tau]);
        let [tau] = match width {
            8 => self.run(chase::ChaseSteps::<1, 1> { blocks, step, v, tau }),
            16 => self.run(chase::ChaseSteps::<2, 1> { blocks, step, v, tau }),
            24 => self.run(chase::ChaseSteps::<3, 1> { blocks, step, v, tau }),
            _ => panic!("band width {width}"),
        };
        tau
    }

    /// A step of each of two sweeps, if bands of this width gain by that: else `None`, and nothing is done. `band\[s..\]`
    /// begins at A\[s, s\] of each, the later one first; `v` holds the two vectors.
    pub(crate) fn chase_two_steps(
        self,
        band: &mut [f64],
        [first, second]: [usize; 2],
        step: usize,
        v: &mut [f64],
        tau: [f64; 2],
    ) -> Option<[f64; 2]> {
        let width = v.len() / 2;
        let length = width * step + 2 * width;
        assert!(step >= 2 * width && second + length <= first && first + length <= band.len());
        let (below, above) = band.split_at_mut(first);
        let blocks = [above.as_mut_ptr(), below[second..].as_mut_ptr()];
        let (left, right) = v.split_at_mut(width);
        let v = [left.as_mut_ptr(), right.as_mut_ptr()];
        match width {
            8 => Some(self.run(chase::ChaseSteps::<1, 2> { blocks, step, v, tau })),
            // Two of these have more vectors than most processors have registers for.
            _ => None,
        }
    }

    /// One step of a sweep from both sides, see [`bulge::BulgeStep`]: `block` begins at A\[s, s\], `step` leads to the
    /// next row.
    pub(crate) fn bulge_step(self, block: &mut [f64], step: usize, v: &mut [f64], tau: f64) -> f64 {
        let width = v.len();
        assert!(step >= 2 * width && block.len() >= width * step + 2 * width);
        let (block, v) = (block.as_mut_ptr(), v.as_mut_ptr());
        match width {
            8 => self.run(bulge::BulgeStep::<1> { block, step, v, tau }),
            16 => self.run(bulge::BulgeStep::<2> { block, step, v, tau }),
            24 => self.run(bulge::BulgeStep::<3> { block, step, v, tau }),
            _ => panic!("band width {width}"),
        }
    }

    /// Eight root-free QL sweeps over a tridiagonal block, see [`sweep::Sweeps`].
    pub(crate) fn sweeps(self, d: &mut [f64], e2: &mut [f64], shifts: [f64; 8]) {
        assert!(!d.is_empty() && d.len() == e2.len());
        let length = d.len();
        self.run(sweep::Sweeps { d: d.as_mut_ptr(), e2: e2.as_mut_ptr(), length, shifts });
    }
}

/// How columns of a Gram product are packed, and how many of them are multiplied at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GramLayout {
    /// Columns side by side: 8 or 24.
    pub width: usize,
    /// Rows packed at a time.
    pub depth: usize,
    /// Columns that are the left operand at a time: a divisor of the width.
    pub rows: usize,
}

/// A matrix read one element at a time: A\[r, k\] is `data[r * row_step + k * depth_step]`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    /// From A\[0, 0\] on.
    pub data: &'a [f64],
    /// From row to row.
    pub row_step: usize,
    /// From k to k + 1.
    pub depth_step: usize,
}

/// A matrix read in vectors of eight columns: B\[k, 8 o + i\] is `data[k * step + o * octet_step + i]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// From B\[0, 0\] on.
    pub data: &'a [f64],
    /// From k to k + 1.
    pub step: usize,
    /// 8 where whole rows are contiguous.
    pub octet_step: usize,
}

impl<'a> Rows<'a> {
    /// Contiguous rows `step` apart.
    pub fn new(data: &'a [f64], step: usize) -> Self {
        Self { data, step, octet_step: 8 }
    }
}

/// The most columns of a panel, and the widest half of a band.
pub(crate) const WIDEST: usize = 24;

/// What [`Kernel::panel_qr`] returns beside V: R and the products of V's columns \[b, b\] row-major, and the scales.
pub(crate) struct PanelFactors {
    pub r: Vec<f64>,
    pub tau: Vec<f64>,
    pub dots: Vec<f64>,
}

impl PanelFactors {
    /// Room for a panel of b columns.
    pub fn new(width: usize) -> Self {
        Self { r: vec![0.0; width * width], tau: vec![0.0; width], dots: vec![0.0; width * width] }
    }

    /// Writes the T of Q = I - V T V^T, upper triangular, row-major \[b, b\].
    pub fn compact_form(&self, t: &mut [f64]) {
        let width = self.tau.len();
        // T[.., c] = -tau_c T (V^T v_c), the forward recurrence of LAPACK dlarft.
        t.fill(0.0);
        for c in 0..width {
            let tau = self.tau[c];
            for row in 0..c {
                let sum: f64 = (row..c).map(|k| t[row * width + k] * self.dots[c * width + k]).sum();
                t[row * width + c] = -tau * sum;
            }
            t[c * width + c] = tau;
        }
    }
}
