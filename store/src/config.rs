//! How a store works, checked and typed.

use std::time::Duration;

/// When an answer to an upload promises that it outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// At once: the answer comes after the sync. The default.
    Sync,
    /// After at most this long: a power cut may lose what was answered since.
    Interval(Duration),
    /// When the operating system gets round to it: a power cut may lose it. The end of
    /// the process alone loses nothing.
    Os,
}
