//! Pictures resized and converted on the fly, as the text after `@` asks.
//!
//! * [`Suffix`] is the request: `400w_300h_1c.webp`.
//! * [`Plan`] is pure arithmetic: which part of the source, at what size.

mod format;
mod geometry;
mod suffix;

pub use format::{OutputFormat, SourceFormat};
pub use geometry::{CropAnchor, CropOversize, GeometryOptions, Plan, Rect, Size, Window};
pub use suffix::{Crop, Fit, MAX_SUFFIX_BYTES, Suffix, SuffixError, split};
