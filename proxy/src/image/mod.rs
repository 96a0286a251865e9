//! Pictures resized and converted on the fly, as the text after `@` asks.
//!
//! ```text
//! bytes + suffix > geometry > pipeline > codecs > bytes
//! ```
//!
//! * [`Suffix`] is the request: `400w_300h_1c.webp`.
//! * [`Plan`] is pure arithmetic: which part of the source, at what size.
//! * [`transform`] runs one picture through: probe, limits, decode, crop and
//!   resize in one step, stand upright, sRGB, encode. It blocks and knows no clock.
//! * [`Imager`] runs that on threads of its own, with a bounded queue, a deadline
//!   and a fence around panics. It is what a server holds.
//!
//! Nothing here knows HTTP. [`ImageError`] has one variant for each answer that a
//! server may want to give.

mod average;
mod codec;
mod color;
mod error;
mod format;
mod geometry;
mod imager;
mod limits;
mod orientation;
mod pipeline;
mod pool;
mod probe;
mod raster;
mod resample;
mod shrink;
mod suffix;

pub use error::{ImageError, Measure};
pub use format::{OutputFormat, SourceFormat};
pub use geometry::{CropAnchor, CropOversize, GeometryOptions, Plan, Rect, Size, Window};
pub use imager::{Imager, StartError};
pub use limits::Limits;
pub use orientation::Orientation;
pub use pipeline::{ENCODER_EPOCH, Output, Settings, transform};
pub use pool::{Pool, PoolError, PoolLoad, PoolOptions, Watch};
pub use probe::Probe;
pub use resample::Scratch;
pub use suffix::{Crop, Fit, MAX_SUFFIX_BYTES, Suffix, SuffixError, split};

#[cfg(test)]
mod tests;
