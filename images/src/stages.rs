//! Where the time of a picture goes.

use std::time::{Duration, Instant};

/// Where the time of a picture went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// Waiting for a thread.
    pub waited: Duration,
    /// Bytes to pixels, reduced ones where the codec can.
    pub decoding: Duration,
    /// Cropping, resizing, turning upright, and to sRGB.
    pub resizing: Duration,
    /// Pixels to bytes.
    pub encoding: Duration,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    Decoding,
    Resizing,
    Encoding,
}

impl Stages {
    /// Notes that the stage took until now since `began`.
    pub(super) fn note(&mut self, stage: Stage, began: Instant) {
        let total = match stage {
            Stage::Decoding => &mut self.decoding,
            Stage::Resizing => &mut self.resizing,
            Stage::Encoding => &mut self.encoding,
        };
        *total += began.elapsed();
    }
}
