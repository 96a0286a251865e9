//! What a file is, told from its first bytes and its headers alone.
//!
//! Nothing is decoded and nothing allocated here, so that a file is refused for
//! its size before it has cost anything.

mod bytes;
mod exif;
pub(super) mod jpeg;
mod png;
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
}

impl Probe {
    /// Reads the headers of a whole file. The size found is not yet held
    /// against any limit.
    pub fn read(source: &[u8]) -> Result<Self, ImageError> {
        let format = detect(source)?;
        let header = match format {
            SourceFormat::Jpeg => jpeg::read(source),
            SourceFormat::Png => png::read(source),
            SourceFormat::WebP => webp::read(source),
            SourceFormat::Gif => gif(source),
            SourceFormat::Bmp => bmp(source),
        };
        match header {
            Ok(Header { size, orientation }) if size.pixels() > 0 => {
                Ok(Self { format, size, orientation })
            }
            Ok(_) => Err(ImageError::undecodable(format, "it has no pixels")),
            Err(ProbeError::Broken(reason)) => Err(ImageError::undecodable(format, reason)),
            Err(ProbeError::Unsupported(kind)) => Err(ImageError::UnsupportedSource { kind }),
        }
    }

    /// The size once it stands upright.
    pub const fn upright_size(&self) -> Size {
        self.orientation.apply_to_size(self.size)
    }
}

/// What one format's reader found.
struct Header {
    size: Size,
    orientation: Orientation,
}

enum ProbeError {
    Broken(&'static str),
    Unsupported(&'static str),
}

fn detect(source: &[u8]) -> Result<SourceFormat, ImageError> {
    match source {
        [0xff, 0xd8, 0xff, ..] => Ok(SourceFormat::Jpeg),
        _ if source.starts_with(png::SIGNATURE) => Ok(SourceFormat::Png),
        _ if webp::is_webp(source) => Ok(SourceFormat::WebP),
        _ if source.starts_with(b"GIF87a") || source.starts_with(b"GIF89a") => {
            Ok(SourceFormat::Gif)
        }
        _ if is_bmp(source) => Ok(SourceFormat::Bmp),
        _ => Err(unsupported(source)
            .map_or(ImageError::NotAnImage, |kind| ImageError::UnsupportedSource { kind })),
    }
}

/// Kinds of picture that are known and not read.
fn unsupported(source: &[u8]) -> Option<&'static str> {
    match source {
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some("TIFF"),
        [b'8', b'B', b'P', b'S', ..] => Some("PSD"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
        [0xff, 0x4f, 0xff, 0x51, ..] | [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => {
            Some("JPEG 2000")
        }
        [0, 0, 1, 0, 1..=u8::MAX, 0, ..] => Some("ICO"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("PDF"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => match &array(source, 8)? {
            b"avif" | b"avis" => Some("AVIF"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                Some("HEIC")
            }
            _ => None,
        },
        _ => is_svg(source).then_some("SVG"),
    }
}

fn is_svg(source: &[u8]) -> bool {
    const LOOK_AT_BYTES: usize = 1024;
    let text = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source).trim_ascii_start();
    let head = text.get(..text.len().min(LOOK_AT_BYTES)).unwrap_or_default();
    let declared = head.starts_with(b"<?xml") || head.starts_with(b"<!");
    head.starts_with(b"<svg") || (declared && head.windows(4).any(|window| window == b"<svg"))
}

fn gif(source: &[u8]) -> Result<Header, ProbeError> {
    let side = |at| Order::Little.u16(source, at).map(u32::from);
    let (width, height) =
        side(6).zip(side(8)).ok_or(ProbeError::Broken("it ends in its header"))?;
    Ok(Header { size: Size { width, height }, orientation: Orientation::Upright })
}

fn is_bmp(source: &[u8]) -> bool {
    source.starts_with(b"BM")
        && matches!(Order::Little.u32(source, 14), Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// The height is negative in a file that runs from the top down.
fn bmp(source: &[u8]) -> Result<Header, ProbeError> {
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
    Ok(Header { size: Size { width, height }, orientation: Orientation::Upright })
}
