//! Rounding to whole numbers and to small floats, in plain f32 operations that vectorise on every target.

/// Round half to even. `f32::round_ties_even` is a library call on x86-64 without SSE4.1.
#[inline(always)]
pub(super) fn half_even(value: f32) -> f32 {
    // From 2^23 on, f32 holds whole numbers only: the addition itself rounds.
    const WHOLE: f32 = 8_388_608.0;
    let shift = WHOLE.copysign(value);
    let rounded = (value + shift) - shift;
    if value.abs() < WHOLE { rounded } else { value }
}

/// Round half away from zero, as C's `roundf`.
#[inline(always)]
pub(super) fn half_away(value: f32) -> f32 {
    let even = half_even(value);
    // Exact: both have the same exponent or differ by less than one.
    let rest = value - even;
    let up = if rest == 0.5 && value > 0.0 { 1.0 } else { 0.0 };
    let down = if rest == -0.5 && value < 0.0 { 1.0 } else { 0.0 };
    even + up - down
}

/// A float of 4 to 8 bits without infinities: sign, exponent, `mantissa` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SmallFloat {
    mantissa: u8,
    /// Exponent of the smallest normal number.
    min_exponent: i8,
    /// Exponent of the largest number.
    pub max_exponent: i8,
    /// Mantissa of the largest number, in units of its last bit and with the leading one.
    max_significand: u8,
}

impl SmallFloat {
    /// 0 .5 1 1.5 2 3 4 6.
    pub const E2M1: Self = Self { mantissa: 1, min_exponent: 0, max_exponent: 2, max_significand: 3 };
    /// Up to 7.5.
    pub const E2M3: Self = Self { mantissa: 3, min_exponent: 0, max_exponent: 2, max_significand: 15 };
    /// Up to 28.
    pub const E3M2: Self = Self { mantissa: 2, min_exponent: -2, max_exponent: 4, max_significand: 7 };
    /// Up to 448: the code above is NaN.
    pub const E4M3: Self = Self { mantissa: 3, min_exponent: -6, max_exponent: 8, max_significand: 14 };
    /// Up to 57344.
    pub const E5M2: Self = Self { mantissa: 2, min_exponent: -14, max_exponent: 15, max_significand: 7 };

    /// Number of mantissa bits.
    #[inline(always)]
    pub fn mantissa_bits(self) -> u32 {
        u32::from(self.mantissa)
    }

    /// The largest number.
    #[inline(always)]
    pub fn max(self) -> f32 {
        f32::from(self.max_significand) * power_of_two(i32::from(self.max_exponent) - i32::from(self.mantissa))
    }

    /// The nearest number, ties to even, saturating.
    #[inline(always)]
    pub fn round(self, value: f32) -> f32 {
        let max = self.max();
        let value = value.clamp(-max, max);
        let exponent = (((value.to_bits() >> 23) & 0xff) as i32 - 127).max(i32::from(self.min_exponent));
        // 1.5 * 2^23 steps: adding it leaves no bit below the step.
        let shift = 1.5 * power_of_two(exponent - i32::from(self.mantissa) + 23);
        (value + shift) - shift
    }

    /// The bits of a number of this format; the sign is the highest of `1 + exponent + mantissa` bits.
    #[inline(always)]
    pub fn encode(self, number: f32) -> u8 {
        let mantissa = u32::from(self.mantissa);
        let magnitude = number.abs();
        let min_exponent = i32::from(self.min_exponent);
        let below = magnitude * power_of_two(i32::from(self.mantissa) - min_exponent);
        let code = if magnitude < power_of_two(min_exponent) {
            below as u32
        } else {
            (magnitude.to_bits() >> (23 - mantissa)) - (((127 + min_exponent - 1) as u32) << mantissa)
        };
        let sign = u32::from(number < 0.0) << self.sign_bit();
        (code | sign) as u8
    }

    /// The number with these bits. Codes above the largest number's, which `encode` never makes, are read as numbers too.
    #[inline(always)]
    pub fn decode(self, code: u8) -> f32 {
        let mantissa = u32::from(self.mantissa);
        let sign_bit = self.sign_bit();
        let magnitude = u32::from(code) & ((1 << sign_bit) - 1);
        let min_exponent = i32::from(self.min_exponent);
        let subnormal = magnitude as f32 * power_of_two(min_exponent - i32::from(self.mantissa));
        let normal = f32::from_bits((magnitude << (23 - mantissa)) + (((127 + min_exponent - 1) as u32) << 23));
        let value = if magnitude < 1 << mantissa { subnormal } else { normal };
        f32::from_bits(value.to_bits() | (u32::from(code) >> sign_bit & 1) << 31)
    }

    #[inline(always)]
    fn sign_bit(self) -> u32 {
        // Exponent codes run from 1 at the smallest normal number to the largest number's.
        let exponents = (i32::from(self.max_exponent) - i32::from(self.min_exponent) + 1) as u32;
        (32 - exponents.leading_zeros()) + u32::from(self.mantissa)
    }
}

/// `2^exponent` for -149 to 127.
#[inline(always)]
pub(crate) fn power_of_two(exponent: i32) -> f32 {
    if exponent >= -126 {
        f32::from_bits(((exponent + 127) as u32) << 23)
    } else {
        f32::from_bits(1 << (exponent + 149))
    }
}

/// E2M1 code of the magnitude `value / scale`; ties go to the smaller number, as ggml and MLX have it.
#[inline(always)]
pub(super) fn e2m1_ties_down(value: f32, scale: f32) -> u8 {
    const MIDPOINTS: [f32; 7] = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    let magnitude = value.abs();
    let code = MIDPOINTS.iter().map(|m| u8::from(magnitude > m * scale)).sum::<u8>();
    // What rounds to zero is plus zero.
    if value < 0.0 && code > 0 { code | 8 } else { code }
}

/// `log2` as a good f32 library has it: correctly rounded but for hopeless cases.
pub(super) fn log2(value: f32) -> f32 {
    libm::log2(f64::from(value)) as f32
}

/// Largest magnitude.
#[inline(always)]
pub(super) fn abs_max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut max = [0.0_f32; 8];
    for chunk in chunks {
        for lane in 0..8 {
            let v = chunk[lane].abs();
            max[lane] = if v > max[lane] { v } else { max[lane] };
        }
    }
    let more = |a: f32, b: f32| if b > a { b } else { a };
    rest.iter().map(|v| v.abs()).fold(reduced(max, more), more)
}

/// Eight lanes to one by neighbours, which keeps their order: three steps where a fold would wait for eight.
#[inline(always)]
fn reduced(lanes: [f32; 8], pick: impl Fn(f32, f32) -> f32) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|i| pick(lanes[2 * i], lanes[2 * i + 1]));
    pick(pick(four[0], four[1]), pick(four[2], four[3]))
}

/// Smallest and largest value; of a zero of either sign, the first one.
#[inline(always)]
pub(super) fn min_max(values: &[f32]) -> (f32, f32) {
    let (chunks, rest) = values.as_chunks::<8>();
    let (mut min, mut max) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
    for chunk in chunks {
        for lane in 0..8 {
            let v = chunk[lane];
            min[lane] = if v < min[lane] { v } else { min[lane] };
            max[lane] = if v > max[lane] { v } else { max[lane] };
        }
    }
    let less = |a: f32, b: f32| if b < a { b } else { a };
    let more = |a: f32, b: f32| if b > a { b } else { a };
    (rest.iter().copied().fold(reduced(min, less), less), rest.iter().copied().fold(reduced(max, more), more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Rounding;
    use proptest::prelude::*;

    const FORMATS: [(SmallFloat, f32, u32); 5] = [
        (SmallFloat::E2M1, 6.0, 4),
        (SmallFloat::E2M3, 7.5, 6),
        (SmallFloat::E3M2, 28.0, 6),
        (SmallFloat::E4M3, 448.0, 8),
        (SmallFloat::E5M2, 57_344.0, 8),
    ];

    #[test]
    fn every_code_reads_back_and_midpoints_go_to_even() {
        for (format, max, bits) in FORMATS {
            assert_eq!(format.max(), max);
            let codes = (0..(1_u16 << (bits - 1))).map(|c| c as u8).take_while(|c| format.decode(*c) <= max);
            let numbers: Vec<f32> = codes.map(|c| format.decode(c)).collect();
            assert_eq!(*numbers.last().unwrap(), max);
            for (code, number) in numbers.iter().enumerate() {
                assert_eq!(format.encode(*number), code as u8, "{format:?}");
                assert_eq!(format.round(*number), *number);
                if code > 0 {
                    assert_eq!(format.decode(format.encode(-number)), -number);
                    let middle = f32::midpoint(numbers[code - 1], *number);
                    assert_eq!(format.encode(format.round(middle)) % 2, 0);
                    assert_eq!(format.round(middle.next_up()), *number);
                    assert_eq!(format.round(-middle.next_down()), -numbers[code - 1]);
                }
            }
            assert_eq!(format.round(1e30), max);
        }
    }

    #[test]
    fn ties_of_e2m1_go_down() {
        for (value, number) in [(0.25, 0.0), (0.75, 0.5), (1.75, 1.5), (2.5, 2.0), (3.5, 3.0), (5.0, 4.0), (9.0, 6.0)] {
            assert_eq!(SmallFloat::E2M1.decode(e2m1_ties_down(value * 0.125, 0.125)), number);
            assert_eq!(SmallFloat::E2M1.decode(e2m1_ties_down(-value, 1.0)), -number);
        }
        assert_eq!(e2m1_ties_down(-0.1, 1.0), 0);
    }

    proptest! {
        #[test]
        fn roundings_are_those_of_the_standard_library(value in proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL, small in -300.0_f32..300.0, half in -1000_i32..1000) {
            for v in [value, small, half as f32 / 2.0, (half as f32 / 2.0).next_up(), (half as f32 / 2.0).next_down()] {
                prop_assert_eq!(half_even(v), v.round_ties_even());
                prop_assert_eq!(half_away(v), v.round());
            }
            prop_assert_eq!(SmallFloat::E4M3.round(small * 2.0), Rounding::F8E4M3.apply(small * 2.0));
            prop_assert_eq!(SmallFloat::E5M2.round(small), Rounding::F8E5M2.apply(small));
        }
    }
}
