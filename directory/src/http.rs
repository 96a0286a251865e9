//! The directory's HTTP interfaces: [`data`] for proxies, [`admin`] for operators.

pub mod admin;
pub mod data;
mod error;
pub(crate) mod wire;

pub use error::api_error;
pub(crate) use error::directory_error;
