//! What a file is, told from its first bytes and its headers alone.
//!
//! Nothing is decoded and nothing allocated here, so that a file is refused for
//! its size before it has cost anything.

#[cfg(feature = "avif-in")]
pub(super) mod avif;
pub(super) mod bytes;
mod exif;
mod gif;
pub(super) mod ico;
pub(super) mod jpeg;
mod png;
mod tiff;
mod webp;

use bytes::{Order, array};

use super::error::ImageError;
use super::format::SourceFormat;
use super::geometry::Size;
use super::orientation::Orientation;

/// What a picture's headers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The kind of file.
    pub format: SourceFormat,
    /// The size as stored, before any turning.
    pub size: Size,
    /// How to stand it upright.
    pub orientation: Orientation,
    /// The pictures of an animation; 1 for a still.
    pub frames: u32,
    /// Whether the file can have transparent pixels. It need not have any.
    pub has_alpha: bool,
    /// The bytes of its ICC profile, as they are stored; 0 without one.
    pub icc_bytes: u64,
    /// Whether it is a progressive JPEG or an interlaced PNG.
    pub is_progressive: bool,
    /// The scans of a JPEG; 1 for all others.
    pub scans: u32,
    /// The pixels of the largest picture that a decoder makes room for: those of
    /// `size`, unless a part of the file claims more.
    pub(super) coded_pixels: u64,
    /// What a decoder keeps beside the pixels that it gives out, in bytes.
    pub(super) beside_bytes: u64,
}

impl Probe {
    /// Reads the headers of a whole file. What is found is not yet held against
    /// any limit.
    pub fn read(source: &[u8]) -> Result<Self, ImageError> {
        let format = detect(source)?;
        let probe = match format {
            SourceFormat::Jpeg => jpeg::read(source),
            SourceFormat::Png => png::read(source),
            SourceFormat::WebP => webp::read(source),
            SourceFormat::Gif => gif::read(source),
            SourceFormat::Bmp => bmp(source),
            SourceFormat::Ico => ico::read(source),
            SourceFormat::Tiff => tiff::read(source),
            #[cfg(feature = "avif-in")]
            SourceFormat::Avif => avif::read(source),
            #[cfg(not(feature = "avif-in"))]
            SourceFormat::Avif => Err(ProbeError::Unsupported("AVIF")),
        };
        match probe {
            Ok(probe) if probe.size.pixels() > 0 => Ok(probe),
            Ok(_) => Err(ImageError::undecodable(format, "it has no pixels")),
            Err(error) => Err(error.of(format)),
        }
    }

    /// The size once it stands upright.
    pub const fn upright_size(&self) -> Size {
        self.orientation.apply_to_size(self.size)
    }

    /// Whether it says in which colours it is meant.
    pub const fn has_icc(&self) -> bool {
        self.icc_bytes > 0
    }

    /// Whether it is one of the animations that can be shown moving.
    pub(super) fn is_animated_gif(&self) -> bool {
        self.format == SourceFormat::Gif && self.frames > 1
    }

    /// Of a still picture, upright and opaque.
    const fn of(format: SourceFormat, size: Size) -> Self {
        Self {
            format,
            size,
            orientation: Orientation::Upright,
            frames: 1,
            has_alpha: false,
            icc_bytes: 0,
            is_progressive: false,
            scans: 1,
            coded_pixels: size.pixels(),
            beside_bytes: 0,
        }
    }
}

enum ProbeError {
    Broken(&'static str),
    Unsupported(&'static str),
}

impl ProbeError {
    fn of(self, format: SourceFormat) -> ImageError {
        match self {
            Self::Broken(reason) => ImageError::undecodable(format, reason),
            Self::Unsupported(kind) => ImageError::UnsupportedSource { kind },
        }
    }
}

fn detect(source: &[u8]) -> Result<SourceFormat, ImageError> {
    match source {
        [0xff, 0xd8, 0xff, ..] => Ok(SourceFormat::Jpeg),
        _ if source.starts_with(png::SIGNATURE) => Ok(SourceFormat::Png),
        _ if webp::is_webp(source) => Ok(SourceFormat::WebP),
        _ if gif::is_gif(source) => Ok(SourceFormat::Gif),
        _ if is_bmp(source) => Ok(SourceFormat::Bmp),
        _ if ico::is_ico(source) => Ok(SourceFormat::Ico),
        _ if tiff::is_tiff(source) => Ok(SourceFormat::Tiff),
        _ if is_avif(source) => Ok(SourceFormat::Avif),
        _ => Err(unsupported(source)
            .map_or(ImageError::NotAnImage, |kind| ImageError::UnsupportedSource { kind })),
    }
}

/// Kinds of picture that are known and not read.
fn unsupported(source: &[u8]) -> Option<&'static str> {
    match source {
        [b'I', b'I', b'+', 0, ..] | [b'M', b'M', 0, b'+', ..] => Some("BigTIFF"),
        [b'8', b'B', b'P', b'S', ..] => Some("PSD"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
        [0xff, 0x4f, 0xff, 0x51, ..] | [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => {
            Some("JPEG 2000")
        }
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("PDF"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => match &array(source, 8)? {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                Some("HEIC")
            }
            _ => None,
        },
        _ => is_svg(source).then_some("SVG"),
    }
}

/// Whether a file of ISO media boxes says that it is an AVIF, or may be read as one.
fn is_avif(source: &[u8]) -> bool {
    const LOOK_AT_BYTES: usize = 256;
    let length = Order::Big.u32(source, 0).and_then(|length| usize::try_from(length).ok());
    let end = length.unwrap_or(0).clamp(12, LOOK_AT_BYTES).min(source.len());
    array(source, 4) == Some(*b"ftyp")
        && source.get(8..end).is_some_and(|brands| {
            brands.chunks_exact(4).any(|brand| matches!(brand, b"avif" | b"avis"))
        })
}

fn is_svg(source: &[u8]) -> bool {
    const LOOK_AT_BYTES: usize = 1024;
    let text = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source).trim_ascii_start();
    let head = text.get(..text.len().min(LOOK_AT_BYTES)).unwrap_or_default();
    let declared = head.starts_with(b"<?xml") || head.starts_with(b"<!");
    head.starts_with(b"<svg") || (declared && head.windows(4).any(|window| window == b"<svg"))
}

fn is_bmp(source: &[u8]) -> bool {
    source.starts_with(b"BM")
        && matches!(Order::Little.u32(source, 14), Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// The height is negative in a file that runs from the top down.
fn bmp(source: &[u8]) -> Result<Probe, ProbeError> {
    let core = Order::Little.u32(source, 14) == Some(12);
    let side = |at: usize| {
        if core {
            Order::Little.u16(source, 18 + at * 2).map(u32::from)
        } else {
            Order::Little.u32(source, 18 + at * 4).map(|side| side.cast_signed().unsigned_abs())
        }
    };
    let (width, height) =
        side(0).zip(side(1)).ok_or(ProbeError::Broken("it ends in its header"))?;
    let has_alpha = !core && Order::Little.u16(source, 28) == Some(32);
    Ok(Probe { has_alpha, ..Probe::of(SourceFormat::Bmp, Size { width, height }) })
}
