//! The real binary on port 0 and empty folders.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]
#![expect(clippy::expect_used, reason = "a test may fail by panic")]
#![expect(clippy::indexing_slicing, reason = "a test may fail by panic")]

mod admin;
mod config;
mod door;
mod exposure;
mod golden;
mod lifecycle;
mod names;
mod offline;
mod recovery;
mod rig;
mod scrub;
mod units;
