//! Halves to floats.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// The values of as many patterns of F16. The `half` crate asks the processor for its own conversion where it has one.
///
/// # Panics
/// If the slices differ in length.
pub(crate) fn halves_to_f32(bits: &[u16], out: &mut [f32]) {
    if cfg!(target_family = "wasm") {
        widen(bits, out);
    } else {
        let values: &[half::f16] = bits.reinterpret_cast();
        values.convert_to_f32_slice(out);
    }
}

/// The same for WebAssembly, which has no such instruction: nothing here is a jump, so compilers make vectors of it. Out of
/// line: a browser compiles a function anew only between two calls of it.
#[inline(never)]
fn widen(bits: &[u16], out: &mut [f32]) {
    /// What leads from the exponent's bias of 15 to that of 127, in place.
    const REBIAS: u32 = (127 - 15) << 23;
    assert_eq!(bits.len(), out.len());
    for (out, &bits) in out.iter_mut().zip(bits) {
        let magnitude = u32::from(bits & 0x7fff) << 13;
        let normal = magnitude + if magnitude < 0x7c00 << 13 { REBIAS } else { 2 * REBIAS };
        // Multiples of 2^-24: as the digits after a leading one, which goes away.
        let one = REBIAS + (1 << 23);
        let subnormal = (f32::from_bits(magnitude + one) - f32::from_bits(one)).to_bits();
        let widened = if magnitude < 0x400 << 13 { subnormal } else { normal };
        *out = f32::from_bits(widened | u32::from(bits & 0x8000) << 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_halves_widen_exactly() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        for convert in [halves_to_f32, widen] {
            let mut out = vec![0.0; bits.len()];
            convert(&bits, &mut out);
            for (bits, value) in bits.iter().zip(out) {
                let exact = half::f16::from_bits(*bits).to_f32_const();
                assert!(value.to_bits() == exact.to_bits() || (exact.is_nan() && value.is_nan()), "{bits:#x}");
            }
        }
    }
}
