//! What pictures come in and what pictures go out.

use std::fmt;

/// A kind of picture that can be read. Decided by the first bytes, never by a
/// name or a stored content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceFormat {
    /// JPEG: baseline or progressive, 8 bits, gray, colour or CMYK.
    Jpeg,
    /// PNG of any depth; of an animated one, the default image.
    Png,
    /// WebP: lossy or lossless; of an animated one, the first frame.
    WebP,
    /// GIF: the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
}

/// What can be made of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// JPEG; transparency is flattened on white.
    Jpeg,
    /// PNG, 8 bits a channel.
    Png,
    /// Lossy WebP with lossless transparency.
    WebP,
    /// Not a picture: the mean colour as `{"RGB":"#rrggbb"}`.
    AvgColor,
}

impl SourceFormat {
    /// The format written when the request names none: the source's own where
    /// it can be written, else one that keeps its transparency.
    pub fn default_output(self, has_alpha: bool) -> OutputFormat {
        match self {
            Self::Png => OutputFormat::Png,
            Self::WebP => OutputFormat::WebP,
            Self::Gif | Self::Bmp if has_alpha => OutputFormat::Png,
            Self::Jpeg | Self::Gif | Self::Bmp => OutputFormat::Jpeg,
        }
    }
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::WebP, Self::AvgColor];

    /// The format with this [`OutputFormat::extension`].
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// The value for a `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::AvgColor => "application/json",
        }
    }

    /// The extension that asks for this format in a suffix.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::AvgColor => "avg_color",
        }
    }

    /// The longest side in pixels that the format can express.
    pub const fn max_side(self) -> u32 {
        match self {
            Self::Jpeg => 65_535,
            Self::WebP => 16_383,
            Self::Png | Self::AvgColor => i32::MAX as u32,
        }
    }

    /// Whether `q` changes the bytes.
    pub const fn has_quality(self) -> bool {
        matches!(self, Self::Jpeg | Self::WebP)
    }

    /// Whether `progressive` changes the bytes.
    pub const fn has_progressive(self) -> bool {
        matches!(self, Self::Jpeg)
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        })
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}
