//! The text after `@`: what a URL asks of a picture.
//!
//! ```text
//! suffix = *( item *"_" ) [ "!" name ] [ "." [ format ] ]
//! item   = 1*19DIGIT letter / "progressive"
//! letter = "w" / "h" / "s" / "e" / "p" / "o" / "q" / "c" / "f"
//! name   = ( a-z / 0-9 ) *63( a-z / 0-9 / "-" )
//! format = "jpg" / "jpeg" / "png" / "webp" / "avif" / "gif" / "avg_color"
//! ```
//!
//! Case does not matter, order does not matter, the last of a repeated key wins.
//! The grammar is that of the image URLs that Aliyun's object storage documented
//! in its first years. A text outside of the grammar is no suffix at all, so an
//! object may well be called `icon@2x.png`.
//!
//! | key | values | meaning | default |
//! |---|---|---|---|
//! | `w`, `h` | 1.. | width and height of the box, in pixels | none |
//! | `e` | 0, 1, 2 | fit inside the box, cover it, stretch to it | 0 |
//! | `c` | 0..=3 | fill the box and crop: no, default anchor, top left, top right | 0 |
//! | `p` | 1..=1000 | percent to scale the box (or the picture) by; ignored when cropping | 100 |
//! | `q` | 1..=100 | quality, on the encoder's own scale | by configuration |
//! | `o` | 0, 1 | turn the picture upright as its EXIF says | 1 |
//! | `s`, `f` | 1.., 0..=2 | accepted, without effect | |
//! | `progressive` | | progressive JPEG, interlaced PNG | no |

mod focus;
mod legacy;
mod scanner;

use super::format::OutputFormat;
pub(crate) use focus::STEPS as FOCUS_STEPS;
pub use focus::{Focus, FocusError};
use scanner::{Extension, Item, Scanner};

/// A longer text after `@` is never read as a suffix.
pub const MAX_SUFFIX_BYTES: usize = 256;

/// What one suffix asks for. Parsed by [`Suffix::parse`]; the default asks for
/// nothing but decoding and encoding again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Suffix {
    /// Width of the box in pixels.
    pub width: Option<u64>,
    /// Height of the box in pixels.
    pub height: Option<u64>,
    /// How the picture relates to the box when it is not cropped.
    pub fit: Fit,
    /// Whether to fill the box and cut what stands over.
    pub crop: Option<Crop>,
    /// Percent to scale by, 1 to 1000.
    pub percent: u16,
    /// Encoder quality, 1 to 100.
    pub quality: Option<u8>,
    /// Whether to apply the EXIF orientation.
    pub upright: bool,
    /// Whether to write a progressive JPEG or an interlaced PNG.
    pub progressive: bool,
    /// The tag after `!`, lower case. Without effect on the picture here: whoever has presets of
    /// such names reads the rest [onto](Suffix::parse_onto) one.
    pub tag: Option<String>,
    /// The output format; `None` keeps the source's.
    pub format: Option<OutputFormat>,
    /// What [`Crop::Default`] keeps in view. No text after `@` tells it: it comes with the object.
    pub focus: Option<Focus>,
}

/// How a picture relates to the box it is asked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fit {
    /// As large as fits inside, keeping the ratio.
    #[default]
    Inside,
    /// As small as covers the box, keeping the ratio.
    Cover,
    /// Exactly the box; the ratio is lost.
    Stretch,
    /// Exactly the box where that is smaller in both sides, else the picture as it is. No text
    /// after `@` asks for it, only [`Suffix::of_legacy_path`].
    StretchDown,
}

/// Which part stays when the box is filled and the rest is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crop {
    /// What the configuration says, the middle unless changed.
    Default,
    /// The top left corner.
    TopLeft,
    /// The top right corner.
    TopRight,
}

/// Why a text after `@` gives no [`Suffix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuffixError {
    /// Outside of the grammar: the `@` belongs to the object's name.
    #[error("not an image suffix")]
    NotASuffix,
    /// Inside the grammar with a value that the key does not take.
    #[error("`{key}` is {value}, but must be {allowed}")]
    InvalidArgument {
        /// The key's letter.
        key: char,
        /// The value as written.
        value: u64,
        /// The values that the key takes.
        allowed: &'static str,
    },
    /// A format of the grammar that this build cannot write.
    #[error("output format `{format}` is not supported: use jpg, png, webp, gif or avg_color")]
    UnsupportedFormat {
        /// The format's extension, lower case.
        format: &'static str,
    },
}

/// Splits an object's path at the last `@` of its last segment, into what stands
/// before and after. `None` when there is none, or nothing stands before it.
///
/// The path is given decoded (`%40` is an `@` here).
pub fn split(name: &str) -> Option<(&str, &str)> {
    let segment = name.rfind('/').map_or(0, |slash| slash + 1);
    let at = segment + name.get(segment..)?.rfind('@')?;
    (at > segment).then_some((name.get(..at)?, name.get(at + 1..)?))
}

impl Default for Suffix {
    fn default() -> Self {
        Self {
            width: None,
            height: None,
            fit: Fit::Inside,
            crop: None,
            percent: 100,
            quality: None,
            upright: true,
            progressive: false,
            tag: None,
            format: None,
            focus: None,
        }
    }
}

impl Suffix {
    /// Reads the text after `@`, in one pass over at most [`MAX_SUFFIX_BYTES`].
    pub fn parse(text: &str) -> Result<Self, SuffixError> {
        Self::parse_onto(Self::default(), text)
    }

    /// Like [`Suffix::parse`], but what the text leaves open is as in `base`.
    pub fn parse_onto(base: Self, text: &str) -> Result<Self, SuffixError> {
        if text.len() > MAX_SUFFIX_BYTES {
            return Err(SuffixError::NotASuffix);
        }
        let mut rest = Scanner::new(text);
        let mut suffix = base;
        // A text outside of the grammar is a name, even if it starts with a bad
        // value: so a refusal waits for the end of the scan.
        let mut refusal = None;
        while let Some(item) = rest.item()? {
            match item {
                Item::Progressive => suffix.progressive = true,
                Item::Pair(key, value) => {
                    refusal = refusal.or(suffix.set(key, value).err());
                }
            }
            rest.underscores();
        }
        suffix.tag = rest.tag()?;
        match rest.format()? {
            None => {}
            Some(Extension::Output(format)) => suffix.format = Some(format),
            Some(Extension::NotBuilt(format)) => {
                refusal = refusal.or(Some(SuffixError::UnsupportedFormat { format }));
            }
        }
        refusal.map_or(Ok(suffix), Err)
    }

    /// Whether the text was nothing but a tag and perhaps a format.
    pub fn is_bare(&self) -> bool {
        *self == Self { tag: self.tag.clone(), format: self.format, ..Self::default() }
    }

    /// Whether the picture is cut to fill the box.
    pub const fn crops(&self) -> bool {
        self.crop.is_some() && self.width.is_some() && self.height.is_some()
    }

    /// The shortest suffix that asks for the same, to be used in cache keys and
    /// entity tags: lower case, one order, keys without effect left out.
    ///
    /// Two suffixes with the same canonical form give the same bytes from the
    /// same source under the same configuration.
    pub fn canonical(&self) -> String {
        let mut parts = Vec::new();
        let boxed = self.width.is_some() && self.height.is_some();
        parts.extend(self.width.map(|w| format!("{w}w")));
        parts.extend(self.height.map(|h| format!("{h}h")));
        match self.crop {
            Some(crop) if boxed => {
                parts.push(format!("{}c", crop.digit()));
                let focus = self.focus.filter(|_| crop == Crop::Default);
                parts.extend(focus.map(|Focus { x, y }| format!("{x}x{y}focus")));
            }
            _ => {
                let fit = (boxed && self.fit != Fit::Inside).then(|| self.fit.digit());
                parts.extend(fit.map(|e| format!("{e}e")));
                parts.extend((self.percent != 100).then(|| format!("{}p", self.percent)));
            }
        }
        parts.extend((!self.upright).then(|| "0o".to_owned()));
        let quality = self.quality.filter(|_| self.format.is_none_or(OutputFormat::has_quality));
        parts.extend(quality.map(|q| format!("{q}q")));
        let progressive = self.progressive && self.format.is_none_or(OutputFormat::has_progressive);
        parts.extend(progressive.then(|| "progressive".to_owned()));
        let mut text = parts.join("_");
        if let Some(format) = self.format {
            text.push('.');
            text.push_str(format.extension());
        }
        text
    }

    fn set(&mut self, key: u8, value: u64) -> Result<(), SuffixError> {
        let refused = |allowed| SuffixError::InvalidArgument { key: key.into(), value, allowed };
        match key {
            b'w' => self.width = Some(side(value).ok_or_else(|| refused(SIDE))?),
            b'h' => self.height = Some(side(value).ok_or_else(|| refused(SIDE))?),
            b's' => {
                side(value).ok_or_else(|| refused(SIDE))?;
            }
            b'e' => self.fit = Fit::from_digit(value).ok_or_else(|| refused("0, 1 or 2"))?,
            b'c' => self.crop = Crop::from_digit(value).ok_or_else(|| refused("0 to 3"))?,
            b'p' => self.percent = within(value, 1000).ok_or_else(|| refused("1 to 1000"))?,
            b'q' => {
                let quality: u8 = within(value, 100).ok_or_else(|| refused("1 to 100"))?;
                self.quality = Some(quality);
            }
            b'o' => match value {
                0 | 1 => self.upright = value == 1,
                _ => return Err(refused("0 or 1")),
            },
            // Only `f` is left: its values are checked and otherwise without effect.
            _ if value > 2 => return Err(refused("0, 1 or 2")),
            _ => {}
        }
        Ok(())
    }
}

impl Fit {
    const fn from_digit(digit: u64) -> Option<Self> {
        match digit {
            0 => Some(Self::Inside),
            1 => Some(Self::Cover),
            2 => Some(Self::Stretch),
            _ => None,
        }
    }

    const fn digit(self) -> u8 {
        match self {
            Self::Inside => 0,
            Self::Cover => 1,
            Self::Stretch => 2,
            Self::StretchDown => 3,
        }
    }
}

impl Crop {
    /// The outer `None` refuses the digit, the inner one asks for no crop.
    #[expect(clippy::option_option, reason = "two different absences, told apart at one call")]
    const fn from_digit(digit: u64) -> Option<Option<Self>> {
        match digit {
            0 => Some(None),
            1 => Some(Some(Self::Default)),
            2 => Some(Some(Self::TopLeft)),
            3 => Some(Some(Self::TopRight)),
            _ => None,
        }
    }

    const fn digit(self) -> u8 {
        match self {
            Self::Default => 1,
            Self::TopLeft => 2,
            Self::TopRight => 3,
        }
    }
}

const SIDE: &str = "1 to 9223372036854775807";

fn side(value: u64) -> Option<u64> {
    (1..=i64::MAX.unsigned_abs()).contains(&value).then_some(value)
}

fn within<T: TryFrom<u64>>(value: u64, max: u64) -> Option<T> {
    (1..=max).contains(&value).then_some(value).and_then(|value| T::try_from(value).ok())
}

#[cfg(test)]
mod tests;
