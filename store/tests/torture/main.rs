//! Stores under power cuts, failing calls, rot and kills: first on a disk in memory that can
//! be made to do anything, then on the real kernel.
//!
//! | variable | meaning |
//! |---|---|
//! | `HAYRICK_TORTURE_SECONDS` | how long each randomised test goes on; a few seconds without it |
//! | `HAYRICK_SEED` | begins with this seed, which a failed run has printed |

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panic and say what it did"
)]

mod budget;
mod client;
mod cuts;
mod faults;
mod fire;
mod history;
mod kernel;
mod record;
mod rot;
mod starts;
mod traps;
