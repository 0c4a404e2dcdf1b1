//! A measured number in files: a finite number, nothing, or an infinity.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// A number that may be missing. JSON has no infinities: they are the texts `"Infinity"`, `"-Infinity"` and `"NaN"`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Number(pub Option<f64>);

impl Number {
    /// No value.
    pub const NONE: Number = Number(None);

    /// The value if it is a finite number, else nothing.
    pub fn finite(value: f64) -> Self {
        Number(value.is_finite().then_some(value))
    }

    /// How the number is written in a CSV cell: the shortest text that reads back as the same number; `inf` and `nan` as
    /// pandas reads them; empty for no value.
    pub fn to_text(self) -> String {
        match self.0 {
            None => String::new(),
            Some(v) if v.is_finite() => ryu::Buffer::new().format_finite(v).to_owned(),
            Some(v) if v.is_nan() => "nan".to_owned(),
            Some(v) => if v > 0.0 { "inf" } else { "-inf" }.to_owned(),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number(Some(value))
    }
}

impl From<Option<f64>> for Number {
    fn from(value: Option<f64>) -> Self {
        Number(value)
    }
}

/// How a change in percent is shown: with its sign, unless it rounds to nothing.
pub(super) fn change(percent: f64) -> String {
    let text = format!("{percent:+.2}%");
    if ["+0.00%", "-0.00%"].contains(&text.as_str()) { "0.00%".to_owned() } else { text }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(v) if v.is_finite() => serializer.serialize_f64(v),
            Some(v) if v.is_nan() => serializer.serialize_str("NaN"),
            Some(v) => serializer.serialize_str(if v > 0.0 { "Infinity" } else { "-Infinity" }),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(f64),
            Text(String),
        }
        match Option::<Raw>::deserialize(deserializer)? {
            None => Ok(Number(None)),
            Some(Raw::Number(v)) => Ok(Number(Some(v))),
            Some(Raw::Text(text)) => match text.as_str() {
                "Infinity" => Ok(Number(Some(f64::INFINITY))),
                "-Infinity" => Ok(Number(Some(f64::NEG_INFINITY))),
                "NaN" => Ok(Number(Some(f64::NAN))),
                _ => Err(D::Error::custom("neither a number nor an infinity")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_number_survives_json() {
        for value in [None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(0.1), Some(-0.0)] {
            let json = serde_json::to_string(&Number(value)).unwrap();
            assert_eq!(serde_json::from_str::<Number>(&json).unwrap().0, value);
        }
        assert!(serde_json::from_str::<Number>("\"NaN\"").unwrap().0.unwrap().is_nan());
        assert!(serde_json::from_str::<Number>("\"x\"").is_err());
        assert_eq!(Number(None).to_text(), "");
        assert_eq!(Number(Some(f64::NEG_INFINITY)).to_text(), "-inf");
    }

    #[test]
    fn a_change_that_rounds_to_nothing_has_no_sign() {
        assert_eq!([-0.004, -0.005_1, 0.004, 1.234].map(change), ["0.00%", "-0.01%", "0.00%", "+1.23%"]);
    }

    proptest! {
        #[test]
        fn floats_round_trip(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(Number(Some(value)).to_text().parse::<f64>().unwrap().to_bits(), bits);
            let json = serde_json::to_string(&Number(Some(value))).unwrap();
            prop_assert_eq!(serde_json::from_str::<Number>(&json).unwrap().0.unwrap().to_bits(), bits);
        }
    }
}
