//! What is known of a picture, for pages that lay out before they load.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::average;
use super::format::OutputFormat;
use super::probe::Probe;
use super::raster::Raster;
use super::suffix::Suffix;

/// The longest side that a `ThumbHash` is made of.
const THUMB_SIDE: u64 = 100;

/// What is known of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// `jpeg`, `png`, `webp`, ..
    pub format: String,
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// The EXIF orientation, 1 to 8, that makes it upright.
    pub orientation: u8,
    /// Pictures of an animation; 1 for a still.
    pub frames: u32,
    /// Whether it can have transparent pixels.
    pub has_alpha: bool,
    /// Whether it says in which colours it is meant.
    pub has_icc: bool,
    /// Whether it is a progressive JPEG or an interlaced PNG.
    pub progressive: bool,
    /// Size of the file.
    pub bytes: u64,
    /// The mean colour, as `avg_color` tells it: `#rrggbb`.
    pub average_color: String,
    /// A blurred likeness in about 25 bytes, base64: <https://evanw.github.io/thumbhash/>.
    pub thumbhash: String,
}

impl Suffix {
    /// Asks for the source's [`Info`]. No text after `@` does.
    pub fn info() -> Self {
        Self {
            width: Some(THUMB_SIDE),
            height: Some(THUMB_SIDE),
            format: Some(OutputFormat::Info),
            ..Self::default()
        }
    }
}

impl Info {
    /// Of a source and a likeness of it that fits [`Suffix::info`].
    pub(super) fn new(probe: &Probe, source_bytes: usize, small: Raster) -> Self {
        let average_color = average::hex(&small);
        let size = probe.upright_size();
        let small = small.in_color().with_alpha();
        let side = |side: u32| side as usize;
        let hash = thumbhash::rgba_to_thumb_hash(
            side(small.size().width),
            side(small.size().height),
            small.data(),
        );
        Self {
            format: probe.format.to_string(),
            width: size.width,
            height: size.height,
            orientation: probe.orientation.to_exif(),
            frames: probe.frames,
            has_alpha: probe.has_alpha,
            has_icc: probe.has_icc(),
            progressive: probe.is_progressive,
            bytes: source_bytes as u64,
            average_color,
            thumbhash: STANDARD.encode(hash),
        }
    }
}
