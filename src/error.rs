//! The one error type. A message is one sentence: what is wrong, where, and what to do about it.

/// Everything that can go wrong in the core, by whose fault it is.
///
/// [`Error::code`] is stable: it is the `name` of the error in JavaScript and decides the exit status of the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is wrong.
    #[error("{0}")]
    Format(String),
    /// The file may be right but is bigger than what is allowed or available.
    #[error("{0}")]
    Limit(String),
    /// The file is right but holds something this version does not handle.
    #[error("{0}")]
    Unsupported(String),
    /// The caller is wrong: an option's name or value.
    #[error("{0}")]
    Options(String),
    /// A numerical method did not deliver.
    #[error("{0}")]
    Numeric(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// The stable, machine-readable name of the kind.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Format(_) => "format",
            Error::Limit(_) => "limit",
            Error::Unsupported(_) => "unsupported",
            Error::Options(_) => "options",
            Error::Numeric(_) => "numeric",
            Error::Cancelled => "cancelled",
        }
    }
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A name out of a file, made harmless for a message: quoted, control characters escaped, and cut after 120 characters.
pub fn quoted(name: &str) -> String {
    const SHOWN: usize = 120;
    if name.chars().count() <= SHOWN {
        format!("{name:?}")
    } else {
        let head: String = name.chars().take(SHOWN).collect();
        format!("{head:?}...")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_carry_no_control_characters_and_end() {
        assert_eq!(quoted("a\u{1b}[31mb\n"), r#""a\u{1b}[31mb\n""#);
        assert!(quoted(&"x".repeat(10_000)).len() < 140);
    }
}
