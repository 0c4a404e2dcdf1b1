//! What the caller may choose.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result, quoted};
use crate::quant::{Arithmetic, DEFAULT_LEVELS, Scheme, parse_levels};
use crate::report::Settings;
use crate::spectrum::Method;

/// Whose oddities the numbers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Nobody's: a failed or degenerate fit is no value and is left out of means.
    #[default]
    None,
    /// `WeightWatcher` 0.7.7's: a failed fit is alpha = -1, and is averaged like any other.
    WeightWatcher,
    /// The study's: `WeightWatcher`'s, with half-precision quantization.
    Seed,
}

impl Compat {
    /// The name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Compat::None => "none",
            Compat::WeightWatcher => "weightwatcher",
            Compat::Seed => "seed",
        }
    }

    /// Whether rows are as `WeightWatcher` reports them.
    pub fn is_weightwatcher(self) -> bool {
        self != Compat::None
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Options {
    /// Comma-separated levels; see [`parse_levels`].
    pub quantizations: String,
    /// Arithmetic of the naive levels. [`Compat::Seed`] overrides it.
    pub dequantize: Arithmetic,
    /// Whose oddities to follow.
    pub compat: Compat,
    /// Whether to compute true singular values.
    pub svd: bool,
    /// Comma-separated glob patterns of layer names; empty for all. A pattern without a wildcard is a name.
    pub layers: String,
    /// Layers with fewer eigenvalues are skipped.
    pub min_evals: u64,
    /// Layers with more eigenvalues are skipped.
    pub max_evals: u64,
    /// Layers whose longer side is longer are skipped.
    #[serde(rename = "max_N")]
    pub max_n: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quantizations: DEFAULT_LEVELS.to_owned(),
            dequantize: Arithmetic::Exact,
            compat: Compat::None,
            svd: false,
            layers: String::new(),
            // WeightWatcher's defaults.
            min_evals: 8,
            max_evals: 15_000,
            max_n: 50_000,
        }
    }
}

impl Options {
    /// The levels, the baseline first.
    ///
    /// # Errors
    /// [`Error::Options`] for an unknown name.
    pub fn levels(&self) -> Result<Vec<Scheme>> {
        parse_levels(&self.quantizations)
    }

    /// The arithmetic in force.
    pub fn arithmetic(&self) -> Arithmetic {
        if self.compat == Compat::Seed { Arithmetic::Seed } else { self.dequantize }
    }

    /// The method in force.
    pub fn method(&self) -> Method {
        if self.svd { Method::Svd } else { Method::Gram }
    }

    /// The settings as the report has them.
    ///
    /// # Errors
    /// As [`Options::levels`].
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            quantizations: self.levels()?.iter().map(Scheme::to_string).collect::<Vec<_>>().join(","),
            dequantize: self.arithmetic(),
            compat: self.compat.as_str().to_owned(),
            spectrum: self.method(),
            layers: self.layers.clone(),
            min_evals: self.min_evals,
            max_evals: self.max_evals,
            max_n: self.max_n,
        })
    }

    /// The layer names that are wanted; `None` for all.
    pub(super) fn layer_patterns(&self) -> Result<Option<GlobSet>> {
        let patterns: Vec<&str> = self.layers.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        if patterns.is_empty() {
            return Ok(None);
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(Glob::new(pattern).map_err(|e| {
                Error::Options(format!("the layer pattern {} can't be used: {}", quoted(pattern), e.kind()))
            })?);
        }
        let set = set.build().map_err(|e| Error::Options(format!("the layer patterns can't be used: {}", e.kind())))?;
        Ok(Some(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_mode_brings_its_arithmetic() {
        let options = Options { compat: Compat::Seed, ..Options::default() };
        assert_eq!(options.arithmetic(), Arithmetic::Seed);
        assert_eq!(options.settings().unwrap().quantizations, DEFAULT_LEVELS);
    }

    #[test]
    fn a_broken_pattern_is_the_callers_fault() {
        let options = Options { layers: "a[".to_owned(), ..Options::default() };
        assert_eq!(options.layer_patterns().unwrap_err().code(), "options");
    }
}
