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

mod animate;
mod average;
mod codec;
mod color;
mod cost;
mod error;
mod format;
mod geometry;
mod imager;
mod info;
mod light;
mod limits;
mod orientation;
mod pipeline;
mod pool;
mod probe;
mod raster;
mod resample;
mod shrink;
mod stages;
mod suffix;

pub use error::{ImageError, Measure};
pub use format::{OutputFormat, SourceFormat};
pub use geometry::{CropAnchor, CropOversize, GeometryOptions, Plan, Rect, Size, Window};
pub use imager::{Imager, Made, StartError};
pub use info::Info;
pub use light::Averaging;
pub use limits::Limits;
pub use orientation::Orientation;
pub use pipeline::{ENCODER_EPOCH, Output, Settings, transform};
pub use pool::{Loan, NoMemory, Pool, PoolError, PoolLoad, PoolOptions, Watch};
pub use probe::Probe;
pub use resample::Scratch;
pub use stages::Stages;
pub use suffix::{Crop, Fit, Focus, FocusError, MAX_SUFFIX_BYTES, Suffix, SuffixError, split};

#[cfg(test)]
mod tests;
