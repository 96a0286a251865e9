//! What every Hayrick server shares: configuration, listeners, authentication, metrics, errors and graceful stop.
//!
//! Nothing here knows of needles, volumes or images. A server is put together from these parts:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use hayrick_service::listen::{ListenOptions, serve};
//! use hayrick_service::shutdown::Shutdown;
//!
//! # async fn run() -> std::io::Result<()> {
//! let shutdown = Shutdown::on_signals()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! serve(listener, router, ListenOptions::named("public"), shutdown).await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod conditional;
pub mod config;
pub mod download;
pub mod error;
pub mod gather;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod ops;
pub mod range;
pub mod request;
pub mod shutdown;

pub use error::ApiError;
pub use shutdown::Shutdown;

mod random;
#[cfg(test)]
mod testing;
