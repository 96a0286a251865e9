//! The public door as its users meet it: real sockets, real volumes, real pictures.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

mod access;
mod bad_input;
mod burst;
mod degraded;
mod full_disk;
mod objects;
mod pictures;
mod policies;
mod replicas;
mod rig;
mod shortcut;
