//! Hayrick's public HTTP door: upload, download, access and images resized on the fly.
//!
//! [`image`] turns stored pictures into the pictures a URL asks for. It knows
//! nothing of HTTP, buckets or stores.

pub mod image;
