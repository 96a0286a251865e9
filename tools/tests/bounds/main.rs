//! A server among clients that want too much: the real process with small limits and short
//! timeouts. While they are at it, ordinary uploads and downloads go on; after it, everything that
//! they held is free again, and the process never had more memory than its settings allow.
//!
//! With `HAYRICK_TORTURE_SECONDS` set the crowds have their full size.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panic and say what it did"
)]

mod crowd;
mod host;
mod ordinary;

mod attacks;
mod gaps;
