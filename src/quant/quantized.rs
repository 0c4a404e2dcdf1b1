//! What quantizing leaves of a matrix.

use crate::kernel::{Kernel, Loops};

/// Codes and scales of a matrix, group after group in the order of the weights. What a scheme has not is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quantized {
    /// A code a weight (two's complement where codes are signed), or whole blocks as ggml stores them.
    pub codes: Vec<u8>,
    /// A scale a group, as dequantizing uses it.
    pub scales: Vec<f32>,
    /// The group's zero point, bias or smallest weight.
    pub zeros: Vec<f32>,
    /// The scales' own codes where scales are quantized again.
    pub scale_codes: Vec<u8>,
    /// What the scales' codes are scaled by.
    pub outer: Vec<f32>,
}

/// A scheme with all its parameters: rows of weights to codes and scales, and back.
pub(super) trait Quantizer: Sync {
    /// Quantizes whole rows of `cols` weights.
    fn quantize(&self, weights: &[f32], cols: usize) -> Quantized;

    /// The weights that [`Quantizer::quantize`] left.
    fn dequantize(&self, quantized: &Quantized, cols: usize, out: &mut [f32]);

    /// Whether rows may be quantized apart from one another with the same result.
    fn is_by_row(&self, cols: usize) -> bool;
}

/// A quantizer whose loops are compiled for this processor's instruction set. The methods of the one in it must be
/// `#[inline(always)]`.
pub(super) struct Vectorised<Q>(pub Q);

impl<Q: Quantizer> Quantizer for Vectorised<Q> {
    fn quantize(&self, weights: &[f32], cols: usize) -> Quantized {
        Kernel::selected().loops(Quantize { quantizer: &self.0, weights, cols })
    }

    fn dequantize(&self, quantized: &Quantized, cols: usize, out: &mut [f32]) {
        Kernel::selected().loops(Dequantize { quantizer: &self.0, quantized, cols, out });
    }

    fn is_by_row(&self, cols: usize) -> bool {
        self.0.is_by_row(cols)
    }
}

struct Quantize<'a, Q> {
    quantizer: &'a Q,
    weights: &'a [f32],
    cols: usize,
}

impl<Q: Quantizer> Loops for Quantize<'_, Q> {
    type Output = Quantized;
    #[inline(always)]
    fn run(self) -> Quantized {
        self.quantizer.quantize(self.weights, self.cols)
    }
}

struct Dequantize<'a, Q> {
    quantizer: &'a Q,
    quantized: &'a Quantized,
    cols: usize,
    out: &'a mut [f32],
}

impl<Q: Quantizer> Loops for Dequantize<'_, Q> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        self.quantizer.dequantize(self.quantized, self.cols, self.out);
    }
}
