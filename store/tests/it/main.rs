//! A store as its users meet it: over HTTP, on a real file system.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

mod client;
mod replicas;
mod rig;
mod scrub;
mod server;
mod sync;
mod volumes;
