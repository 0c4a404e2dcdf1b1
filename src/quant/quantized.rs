//! What quantizing leaves of a matrix.

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
