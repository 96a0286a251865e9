//! The keeper: it keeps every volume in as many whole, alike replicas as it was made with.
//!
//! ```text
//!   stores ── status ──▶ health, view ─┐
//!   cluster map ───────────────────────┼─▶ plan ──▶ run ──▶ stores, cluster map
//!   orders of operators ───────────────┘    (pure)   one step of each volume at a time
//! ```

mod config;
mod health;
pub mod http;
mod plan;
mod run;
mod view;

pub use self::config::KeeperConfig;
pub use self::health::Health;
pub use self::run::{
    JobReport, Keeper, KeeperStatus, ScrubReport, StoreHealth, StuckVolume, WaitingJob,
};
