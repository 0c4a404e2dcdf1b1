//! Bytes to numbers.

use safetensors::Dtype;

use crate::error::{Error, Result};
use crate::kernel::halves_to_f32;

/// Whether [`decode_f32`] knows the dtype.
pub fn is_decodable(dtype: Dtype) -> bool {
    use Dtype::{BF16, BOOL, F8_E4M3, F8_E5M2, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, F64 | F32 | F16 | BF16 | F8_E4M3 | F8_E5M2 | BOOL | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)
}

/// Converts little-endian values of `dtype` to f32, as `tensor.to(torch.float32)` does: exact where f32 can hold the
/// value (F16, BF16, F8, small integers), rounded to nearest even where it can't (F64, large integers).
///
/// `F8_E4M3` is the finite-only variant (`e4m3fn`: no infinities, 0x7f and 0xff are NaN), `F8_E5M2` follows IEEE.
///
/// # Errors
/// [`Error::Unsupported`] for a dtype [`is_decodable`] refuses; [`Error::Format`] if `bytes` is not `out.len()` values.
pub fn decode_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    check(dtype, bytes, out.len())?;
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => halves(bytes, out),
        Dtype::BF16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
        Dtype::F8_E4M3 => each(bytes, out, |[b]| f8_e4m3_to_f32(b)),
        Dtype::F8_E5M2 => each(bytes, out, |[b]| f8_e5m2_to_f32(b)),
        Dtype::BOOL => each(bytes, out, |[b]| f32::from(u8::from(b != 0))),
        Dtype::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U8 => each(bytes, out, |[b]| f32::from(b)),
        Dtype::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::U16 => each(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        Dtype::U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        other => return Err(unsupported(other)),
    }
    Ok(())
}

/// Converts little-endian values of `dtype` to f64, as `tensor.to(torch.float64)` does: exact for every dtype but the
/// 64-bit integers, which round to nearest even.
///
/// # Errors
/// As [`decode_f32`].
pub fn decode_f64(dtype: Dtype, bytes: &[u8], out: &mut [f64]) -> Result<()> {
    check(dtype, bytes, out.len())?;
    match dtype {
        Dtype::F64 => each(bytes, out, f64::from_le_bytes),
        Dtype::I32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U32 => each(bytes, out, |b| f64::from(u32::from_le_bytes(b))),
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
        // All others fit into f32 exactly.
        _ => {
            let mut narrow = vec![0.0_f32; out.len()];
            decode_f32(dtype, bytes, &mut narrow)?;
            for (out, narrow) in out.iter_mut().zip(narrow) {
                *out = f64::from(narrow);
            }
        }
    }
    Ok(())
}

fn check(dtype: Dtype, bytes: &[u8], elements: usize) -> Result<()> {
    if !is_decodable(dtype) {
        return Err(unsupported(dtype));
    }
    if super::byte_len(dtype, elements as u64) != Some(bytes.len() as u64) {
        return Err(Error::Format(format!("{} bytes are not {elements} values of {dtype}", bytes.len())));
    }
    Ok(())
}

fn unsupported(dtype: Dtype) -> Error {
    Error::Unsupported(format!("tensors of dtype {dtype} can't be decoded by this version"))
}

/// Applies `convert` to each `SIZE`-byte value.
fn each<const SIZE: usize, T>(bytes: &[u8], out: &mut [T], convert: impl Fn([u8; SIZE]) -> T) {
    for (out, chunk) in out.iter_mut().zip(bytes.as_chunks::<SIZE>().0) {
        *out = convert(*chunk);
    }
}

/// F16, in blocks.
fn halves(bytes: &[u8], out: &mut [f32]) {
    const BLOCK: usize = 1024;
    let mut bits = [0_u16; BLOCK];
    for (bytes, out) in bytes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
        let bits = &mut bits[..out.len()];
        each(bytes, bits, u16::from_le_bytes);
        halves_to_f32(bits, out);
    }
}

/// 4 exponent bits with bias 7, 3 mantissa bits, no infinity, NaN where all seven bits are set.
fn f8_e4m3_to_f32(code: u8) -> f32 {
    let magnitude = code & 0x7f;
    let value = if magnitude == 0x7f {
        f32::NAN
    } else if magnitude < 8 {
        // Subnormal: multiples of 2^-9.
        f32::from(magnitude) / 512.0
    } else {
        // Rebias 7 -> 127 and move the three mantissa bits to the top of f32's 23.
        f32::from_bits((u32::from(magnitude) << 20) + ((127 - 7) << 23))
    };
    if code & 0x80 == 0 { value } else { -value }
}

/// The upper byte of an IEEE half.
fn f8_e5m2_to_f32(code: u8) -> f32 {
    half::f16::from_bits(u16::from(code) << 8).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(dtype: Dtype, bytes: &[u8]) -> f32 {
        let mut out = [0.0];
        decode_f32(dtype, bytes, &mut out).unwrap();
        out[0]
    }

    #[test]
    fn float8_values_of_the_ocp_table() {
        // OCP 8-bit floating point specification, table 2: largest, smallest normal, subnormal bounds.
        for (code, value) in [
            (0x7e, 448.0),
            (0x08, 2f32.powi(-6)),
            (0x07, 0.875 * 2f32.powi(-6)),
            (0x01, 2f32.powi(-9)),
            (0x80, -0.0),
            (0x38, 1.0),
            (0xb8, -1.0),
        ] {
            assert_eq!(one(Dtype::F8_E4M3, &[code]).to_bits(), value.to_bits(), "e4m3 {code:#x}");
        }
        assert!(one(Dtype::F8_E4M3, &[0x7f]).is_nan() && one(Dtype::F8_E4M3, &[0xff]).is_nan());
        for (code, value) in [
            (0x7b, 57344.0),
            (0x04, 2f32.powi(-14)),
            (0x03, 0.75 * 2f32.powi(-14)),
            (0x01, 2f32.powi(-16)),
            (0xfc, f32::NEG_INFINITY),
        ] {
            assert_eq!(one(Dtype::F8_E5M2, &[code]), value, "e5m2 {code:#x}");
        }
    }

    #[test]
    fn every_dtype_decodes_its_own_bytes() {
        assert_eq!(one(Dtype::F64, &0.1_f64.to_le_bytes()), 0.1_f32);
        assert_eq!(one(Dtype::F32, &(-0.1_f32).to_le_bytes()), -0.1);
        assert_eq!(one(Dtype::F16, &half::f16::from_f32(1.5).to_le_bytes()), 1.5);
        assert_eq!(one(Dtype::BF16, &half::bf16::from_f32(-3.0).to_le_bytes()), -3.0);
        assert_eq!(one(Dtype::I8, &(-128_i8).to_le_bytes()), -128.0);
        assert_eq!(one(Dtype::U8, &[200]), 200.0);
        assert_eq!(one(Dtype::I16, &(-2_i16).to_le_bytes()), -2.0);
        assert_eq!(one(Dtype::U16, &60_000_u16.to_le_bytes()), 60_000.0);
        assert_eq!(one(Dtype::I32, &16_777_217_i32.to_le_bytes()), 16_777_216.0);
        assert_eq!(one(Dtype::U32, &u32::MAX.to_le_bytes()), 4_294_967_296.0);
        assert_eq!(one(Dtype::I64, &(-1_i64).to_le_bytes()), -1.0);
        assert_eq!(one(Dtype::U64, &u64::MAX.to_le_bytes()), 18_446_744_073_709_551_616.0);
        assert_eq!(one(Dtype::BOOL, &[1]), 1.0);
        let mut wide = [0.0_f64];
        decode_f64(Dtype::I32, &16_777_217_i32.to_le_bytes(), &mut wide).unwrap();
        assert_eq!(wide[0], 16_777_217.0);
        decode_f64(Dtype::F64, &0.1_f64.to_le_bytes(), &mut wide).unwrap();
        assert_eq!(wide[0], 0.1);
    }

    #[test]
    fn all_halves_widen_exactly() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; 65536];
        decode_f32(Dtype::F16, &bytes, &mut out).unwrap();
        for (bits, value) in (0..=u16::MAX).zip(out) {
            let half = half::f16::from_bits(bits);
            assert!(value == half.to_f32_const() || (half.is_nan() && value.is_nan()));
        }
    }

    #[test]
    fn a_wrong_byte_count_and_an_unknown_dtype_are_errors() {
        assert_eq!(decode_f32(Dtype::F32, &[0; 7], &mut [0.0; 2]).unwrap_err().code(), "format");
        assert_eq!(decode_f32(Dtype::F4, &[0; 1], &mut [0.0; 2]).unwrap_err().code(), "unsupported");
    }
}
