//! The store's HTTP interfaces: [`data`] for proxies, [`admin`] for operators.

pub mod admin;
pub mod batch;
pub mod data;
mod error;
mod meta;

use axum::http::HeaderName;

pub(crate) use error::{api_error, store_error, unavailable};
pub use meta::META_HEADER;
pub(crate) use meta::{meta_of, meta_value};

/// The cluster that the sender of a request is part of, as a UUID. A store of another
/// cluster refuses it.
pub const CLUSTER_HEADER: HeaderName = HeaderName::from_static("x-hayrick-cluster");
