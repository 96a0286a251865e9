//! Real servers for the tests of all crates: nothing here is part of the product.
//!
//! A helper that cannot do its work panics with the reason, as a failed assertion does.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "only tests use it, and they fail by panicking")]

mod disk;
mod network;
mod postgres;
mod process;
mod zookeeper;

pub use disk::SmallDisk;
pub use network::{Host, Network};
pub use postgres::Postgres;
pub use zookeeper::{Ensemble, ZooKeeper, free_port};
