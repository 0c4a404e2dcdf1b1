//! f32 values rounded to the dtype they are stored in.

use safetensors::Dtype;

/// Rounding of f32 values to a storage dtype and back, to nearest even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// f32 and f64 keep the value; so do the integer dtypes, which are never the dtype of a dequantized weight.
    None,
    /// IEEE binary16; overflows to infinity.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit float, 4 exponent bits, finite only; saturates at 448 as torch does since 2.15.
    F8E4M3,
    /// 8-bit float, 5 exponent bits; overflows to infinity.
    F8E5M2,
}

impl Rounding {
    /// The rounding that storing as `dtype` brings about.
    pub fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Rounding::F16,
            Dtype::BF16 => Rounding::Bf16,
            Dtype::F8_E4M3 => Rounding::F8E4M3,
            Dtype::F8_E5M2 => Rounding::F8E5M2,
            _ => Rounding::None,
        }
    }

    /// `value` as it reads back after being stored.
    #[inline]
    pub fn apply(self, value: f32) -> f32 {
        match self {
            Rounding::None => value,
            Rounding::F16 => half::f16::from_f32(value).to_f32(),
            Rounding::Bf16 => half::bf16::from_f32(value).to_f32(),
            Rounding::F8E4M3 => small_float(value, -6, 3).clamp(-448.0, 448.0),
            Rounding::F8E5M2 => {
                let rounded = small_float(value, -14, 2);
                if rounded.abs() > 57_344.0 { f32::INFINITY.copysign(rounded) } else { rounded }
            }
        }
    }

    /// [`Rounding::apply`] to each value.
    #[inline(never)]
    pub fn apply_all(self, values: &mut [f32]) {
        if self != Rounding::None {
            for value in values {
                *value = self.apply(*value);
            }
        }
    }
}

/// `value` rounded to nearest even with `mantissa` bits after the leading one, and to multiples of
/// `2^(min_exponent - mantissa)` below `2^min_exponent`.
fn small_float(value: f32, min_exponent: i32, mantissa: i32) -> f32 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let exponent = (((value.to_bits() >> 23) & 0xff) as i32 - 127).max(min_exponent);
    // A power of two within f32's range, so both operations are exact and only the rounding rounds.
    let step = f32::from_bits(((exponent - mantissa + 127) as u32) << 23);
    (value / step).round_ties_even() * step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::decode_f32;

    #[test]
    fn every_float8_value_is_its_own_rounding_and_midpoints_go_to_even() {
        for (dtype, rounding) in [(Dtype::F8_E4M3, Rounding::F8E4M3), (Dtype::F8_E5M2, Rounding::F8E5M2)] {
            let codes: Vec<u8> = (0..=255).collect();
            let mut values = vec![0.0; 256];
            decode_f32(dtype, &codes, &mut values).unwrap();
            for window in values[..128].windows(2) {
                let [low, high] = window else { unreachable!() };
                if high.is_finite() {
                    assert_eq!(rounding.apply(*low), *low);
                    assert_eq!(rounding.apply(-*high), -*high);
                    let middle = f32::midpoint(*low, *high);
                    let code = values.iter().position(|v| *v == rounding.apply(middle)).unwrap();
                    assert_eq!(code % 2, 0, "{dtype} midpoint {middle}");
                    assert_eq!(rounding.apply(middle.next_up()), *high);
                }
            }
        }
        assert_eq!(Rounding::F8E4M3.apply(1e9), 448.0);
        assert_eq!(Rounding::F8E5M2.apply(-1e9), f32::NEG_INFINITY);
    }
}
