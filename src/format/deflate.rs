//! Deflated entries of zip archives. The page's module leaves the decoder out: see [`IS_KNOWN`].

use crate::error::{Error, Result, quoted};

/// Whether this build can read deflated entries.
pub(super) const IS_KNOWN: bool = cfg!(feature = "deflate");

/// Deflated data are at least a 1032nd of what they become.
const HIGHEST_RATIO: u64 = 1032;

/// Whether so many bytes can have been deflated to so few.
pub(super) fn is_possible(len: u64, packed: u64) -> bool {
    len <= packed.saturating_mul(HIGHEST_RATIO)
}

/// The first `len` bytes of deflated `data`, or all where it is `data` that is cut short.
///
/// # Errors
/// [`Error::Format`] if it is damaged, [`Error::Unsupported`] in a build without the decoder.
pub(super) fn inflate(what: &str, data: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = begin(data, &mut bytes).ok_or_else(|| {
        if IS_KNOWN {
            Error::Format(format!("the compressed data of {} are damaged; download the file again", quoted(what)))
        } else {
            Error::Unsupported(format!("{} is compressed, which this build can't read", quoted(what)))
        }
    })?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Fills `out` and says how much of it there was.
#[cfg(feature = "deflate")]
fn begin(data: &[u8], out: &mut [u8]) -> Option<usize> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    /// All of the output is one piece of memory, and there may be more data than are given.
    const FLAGS: u32 =
        inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let (status, _, count) = decompress(&mut DecompressorOxide::new(), data, out, 0, FLAGS);
    matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput | TINFLStatus::NeedsMoreInput).then_some(count)
}

#[cfg(not(feature = "deflate"))]
fn begin(_data: &[u8], _out: &mut [u8]) -> Option<usize> {
    None
}
