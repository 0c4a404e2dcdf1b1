//! Names of quantization levels.

use std::fmt;

use crate::error::{Error, Result, quoted};

/// The study's six levels, the default of every shell.
pub const DEFAULT_LEVELS: &str = "fp16,8bit,6bit,5bit,4bit,2bit";

/// One way to quantize a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// The weights as they are stored, whatever the dtype: the baseline. Named `fp16` as in the study.
    Stored,
    /// One scale for the whole tensor.
    Naive {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Symmetric around zero, or spread from the smallest to the largest weight.
        symmetric: bool,
    },
}

impl Scheme {
    /// Bits that a weight takes, scales included, for a tensor of `elements` values; `None` for the baseline.
    ///
    /// The one 16-bit scale (and zero point) of a tensor counts.
    pub fn bits_per_weight(self, elements: u64) -> Option<f64> {
        match self {
            Scheme::Stored => None,
            Scheme::Naive { bits, symmetric } => {
                let overhead = if symmetric { 16.0 } else { 32.0 };
                Some(f64::from(bits) + overhead / elements as f64)
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::Stored => f.write_str("fp16"),
            Scheme::Naive { bits, symmetric: true } => write!(f, "{bits}bit"),
            Scheme::Naive { bits, symmetric: false } => write!(f, "{bits}bit-asym"),
        }
    }
}

impl std::str::FromStr for Scheme {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name == "fp16" {
            return Ok(Scheme::Stored);
        }
        let (number, symmetric) = match name.strip_suffix("-asym") {
            Some(rest) => (rest, false),
            None => (name, true),
        };
        let bits = number.strip_suffix("bit").and_then(|n| n.parse::<u8>().ok()).filter(|bits| (2..=8).contains(bits));
        match bits {
            Some(bits) => Ok(Scheme::Naive { bits, symmetric }),
            None => Err(Error::Options(format!(
                "{} is not a quantization this version knows; use fp16, 2bit to 8bit, or 2bit-asym to 8bit-asym",
                quoted(name)
            ))),
        }
    }
}

/// Parses a comma-separated list of levels. The baseline comes first, whether it is named or not; a level named twice
/// counts once.
///
/// # Errors
/// [`Error::Options`] for an unknown name.
pub fn parse_levels(list: &str) -> Result<Vec<Scheme>> {
    let mut levels = vec![Scheme::Stored];
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let scheme = name.parse()?;
        if !levels.contains(&scheme) {
            levels.push(scheme);
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in DEFAULT_LEVELS.split(',').chain(["3bit", "7bit-asym"]) {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
        }
        for name in ["1bit", "9bit", "q4_k_m", "", "bit", "-4bit", "4bits"] {
            assert_eq!(name.parse::<Scheme>().unwrap_err().code(), "options");
        }
    }

    #[test]
    fn the_baseline_is_always_there_and_first() {
        assert_eq!(
            parse_levels("4bit, fp16,4bit").unwrap(),
            [Scheme::Stored, Scheme::Naive { bits: 4, symmetric: true }]
        );
        assert_eq!(parse_levels("").unwrap(), [Scheme::Stored]);
    }
}
