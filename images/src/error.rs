//! Why a picture did not come out.

use super::format::SourceFormat;
use super::suffix::SuffixError;

/// Why a picture did not come out. Each variant asks for a different answer to
/// the client; none of them names a file or shows a client's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The request is wrong: a value out of range or a format that is not written.
    #[error(transparent)]
    InvalidArgument(#[from] SuffixError),
    /// The source is no picture of any known kind.
    #[error("the object is not an image")]
    NotAnImage,
    /// The source is a known kind of picture, but broken or cut short.
    #[error("the {format} image cannot be decoded: {reason}")]
    Undecodable {
        /// What the first bytes promised.
        format: SourceFormat,
        /// What was found instead. For people.
        reason: String,
    },
    /// The source is recognised, but this build does not read its kind.
    #[error("images of type {kind} are not supported")]
    UnsupportedSource {
        /// The kind, as one says it: `HEIC`, `arithmetic-coded JPEG`.
        kind: &'static str,
    },
    /// The source is larger than is decoded here. Found before any decoding.
    #[error("the image has {got} {what}, the limit is {limit}")]
    TooLarge {
        /// What there is too much of.
        what: Measure,
        /// How much there is.
        got: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The queue is full; the same request may well pass a second later.
    #[error("too many images are being processed")]
    Busy,
    /// The deadline passed while the work was queued or under way.
    #[error("the image was not ready in time")]
    Timeout,
    /// The workers have been stopped.
    #[error("image processing is shutting down")]
    Stopped,
    /// Our fault: a codec panicked or refused pixels that we made.
    #[error("image processing failed: {reason}")]
    Internal {
        /// What happened. For the log, not for clients.
        reason: String,
    },
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Bytes of the source file.
    Bytes,
    /// Width times height.
    Pixels,
    /// The longer of width and height, in pixels.
    Side,
    /// Scans of a JPEG.
    Scans,
    /// Bytes of a colour profile.
    IccBytes,
    /// Bytes of memory that the work would take.
    MemoryBytes,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Pixels => "pixels",
            Self::Side => "pixels on its longer side",
            Self::Scans => "scans",
            Self::IccBytes => "bytes of colour profile",
            Self::MemoryBytes => "bytes of memory to be made in",
        })
    }
}

impl ImageError {
    #[expect(clippy::needless_pass_by_value, reason = "errors come by value from `map_err`")]
    pub(super) fn undecodable(format: SourceFormat, reason: impl ToString) -> Self {
        Self::Undecodable { format, reason: reason.to_string() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "errors come by value from `map_err`")]
    pub(super) fn internal(reason: impl ToString) -> Self {
        Self::Internal { reason: reason.to_string() }
    }
}
