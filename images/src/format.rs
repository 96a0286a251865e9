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
    /// GIF, still or moving.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// Windows icon: the largest of its pictures.
    Ico,
    /// TIFF: the first page.
    Tiff,
    /// AVIF: the still picture. Only with the feature `avif-in`; without it such files
    /// are [`ImageError::UnsupportedSource`](crate::ImageError::UnsupportedSource).
    Avif,
}

/// What can be made of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// JPEG; transparency is flattened on white.
    Jpeg,
    /// PNG, 8 bits a channel.
    Png,
    /// Lossy WebP with lossless transparency; moving where a GIF does.
    WebP,
    /// GIF, of at most 255 colours and no half transparency; moving where its
    /// source does.
    Gif,
    /// AVIF. Only with the feature `avif`; without it no suffix asks for it.
    Avif,
    /// Not a picture: the mean colour as `{"RGB":"#rrggbb"}`.
    AvgColor,
    /// Not a picture: what is known of the source, as JSON. See [`Info`](crate::Info).
    Info,
}

impl SourceFormat {
    /// The format written when the request names none: the source's own where
    /// it can be written, else one that keeps its transparency.
    pub fn default_output(self, has_alpha: bool) -> OutputFormat {
        let other = if has_alpha { OutputFormat::Png } else { OutputFormat::Jpeg };
        self.own_output().unwrap_or(other)
    }

    /// The same kind of file, where it can be written.
    pub(super) const fn own_output(self) -> Option<OutputFormat> {
        match self {
            Self::Jpeg => Some(OutputFormat::Jpeg),
            Self::Png => Some(OutputFormat::Png),
            Self::WebP => Some(OutputFormat::WebP),
            Self::Gif => Some(OutputFormat::Gif),
            Self::Avif if OutputFormat::Avif.is_built() => Some(OutputFormat::Avif),
            Self::Bmp | Self::Ico | Self::Tiff | Self::Avif => None,
        }
    }
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Jpeg, Self::Png, Self::WebP, Self::Gif, Self::Avif, Self::AvgColor, Self::Info];

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
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
            Self::AvgColor | Self::Info => "application/json",
        }
    }

    /// The extension that asks for this format in a suffix.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
            Self::AvgColor => "avg_color",
            Self::Info => "info",
        }
    }

    /// The longest side in pixels that the format can express.
    pub const fn max_side(self) -> u32 {
        match self {
            Self::Jpeg | Self::Gif | Self::Avif => 65_535,
            Self::WebP => 16_383,
            Self::Png | Self::AvgColor | Self::Info => i32::MAX as u32,
        }
    }

    /// Whether it is something to look at, and not text about it.
    pub const fn is_picture(self) -> bool {
        !matches!(self, Self::AvgColor | Self::Info)
    }

    /// Whether this build writes it.
    pub const fn is_built(self) -> bool {
        cfg!(feature = "avif") || !matches!(self, Self::Avif)
    }

    /// Whether it can move.
    pub const fn is_animated(self) -> bool {
        matches!(self, Self::Gif | Self::WebP)
    }

    /// Whether `q` changes the bytes.
    pub const fn has_quality(self) -> bool {
        matches!(self, Self::Jpeg | Self::WebP | Self::Avif)
    }

    /// Whether `progressive` changes the bytes.
    pub const fn has_progressive(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png)
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
            Self::Ico => "ico",
            Self::Tiff => "tiff",
            Self::Avif => "avif",
        })
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}
