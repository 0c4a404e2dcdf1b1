//! Plain loops that compilers make vectors of, compiled once for each instruction set.

use super::{Isa, Job, Kernel, Set};

/// Safe work without intrinsics. `run` and all that its loops call must be `#[inline(always)]`: what stays out of line is
/// compiled for the least processor.
pub trait Loops {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

struct Compiled<L>(L);

impl<L: Loops> Job for Compiled<L> {
    type Output = L::Output;
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> L::Output {
        self.0.run()
    }
}

impl Kernel {
    /// The same with vectors of at most 256 bits, for work with many numbers at once: processors that take 512 bits in two
    /// steps (AMD's Zen 4) are up to a third slower with them there.
    #[must_use]
    pub fn narrow(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Set::Avx512 {
            // Where there is AVX-512 there is AVX2: see `available`.
            return Self(Set::Avx2);
        }
        self
    }

    /// Runs loops as they are compiled for this kernel. Compilers fuse nothing by themselves, and do not change the order of
    /// sums: every kernel gives the same bits.
    pub fn loops<L: Loops>(self, loops: L) -> L::Output {
        // Without anything to fuse, the portable kernels are one.
        let kernel = if self.0 == Set::ScalarFused { Self(Set::Scalar) } else { self };
        kernel.run(Compiled(loops))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sum of 1 / (x + 0.1)`, from left to right: neither fused nor reordered, or the bits differ.
    struct Sum<'a>(&'a [f32]);

    impl Loops for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run(self) -> f32 {
            self.0.iter().fold(0.0, |sum, x| sum + x * 0.3 + 1.0 / (x + 0.1))
        }
    }

    #[test]
    fn every_kernel_gives_the_same_bits() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() + 2.0).collect();
        let expected = Sum(&values).run();
        for kernel in Kernel::available() {
            assert_eq!(kernel.loops(Sum(&values)).to_bits(), expected.to_bits(), "{}", kernel.name());
        }
    }
}
