//! Stored numbers: dtypes and how their bytes become f32 or f64, as `PyTorch` would convert them.

mod decode;
mod round;

pub use decode::{decode_f32, decode_f64, is_decodable};
pub use round::Rounding;
pub use safetensors::Dtype;

/// Bytes that `elements` values of `dtype` take, or `None` if they are no whole number of bytes or the product overflows.
pub fn byte_len(dtype: Dtype, elements: u64) -> Option<u64> {
    let bits = elements.checked_mul(u64::try_from(dtype.bitsize()).ok()?)?;
    (bits % 8 == 0).then_some(bits / 8)
}
