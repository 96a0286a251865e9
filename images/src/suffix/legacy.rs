//! The older way to ask for a size, that of bfs's first image server: `cats/tom.jpg_100x80.jpg`.
//!
//! Both extensions are the same, the name before them has no dot and the extension no underscore.
//! Two sides stretch the picture to exactly that size if it is larger in both, else only to one
//! that is larger; a side of 0 keeps the ratio. One thing is not as it was: pictures are turned
//! upright.

use super::{Fit, Suffix};
use crate::format::OutputFormat;

/// What that server's encoder used.
const QUALITY: u8 = 95;
const MAX_DIGITS: usize = 9;

impl Suffix {
    /// Reads a whole object's path of this older kind: the object meant and what is asked of it.
    /// `None` for any other path.
    pub fn of_legacy_path(path: &str) -> Option<(&str, Self)> {
        let (rest, extension) = path.rsplit_once('.')?;
        let (object, sides) = rest.rsplit_once('_')?;
        let (stem, first_extension) = object.rsplit_once('.')?;
        let name = stem.rsplit_once('/').map_or(stem, |(_, name)| name);
        if first_extension != extension || name.is_empty() || name.contains('.') {
            return None;
        }
        let (width, height) = sides.split_once('x')?;
        let (width, height) = (side(width)?, side(height)?);
        width.or(height)?;
        let suffix = Self {
            width,
            height,
            fit: Fit::StretchDown,
            quality: Some(QUALITY),
            format: Some(format(extension)?),
            ..Self::default()
        };
        Some((object, suffix))
    }
}

/// The inner `None` is a side of 0, which follows from the other.
#[expect(clippy::option_option, reason = "two different absences, told apart at one call")]
fn side(text: &str) -> Option<Option<u64>> {
    if text.is_empty() || text.len() > MAX_DIGITS || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let pixels: u64 = text.parse().ok()?;
    Some((pixels > 0).then_some(pixels))
}

fn format(extension: &str) -> Option<OutputFormat> {
    match extension.to_ascii_lowercase().as_str() {
        "jpeg" => Some(OutputFormat::Jpeg),
        extension => OutputFormat::from_extension(extension).filter(|format| format.is_picture()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_behind_a_name_are_read() {
        for (path, object, width, height) in [
            ("cats/tom.jpg_100x80.jpg", "cats/tom.jpg", Some(100), Some(80)),
            ("tom.png_100x0.png", "tom.png", Some(100), None),
            ("a/b_c/tom_cat.jpeg_0x080.jpeg", "a/b_c/tom_cat.jpeg", None, Some(80)),
        ] {
            let (found, suffix) = Suffix::of_legacy_path(path).unwrap();
            assert_eq!((found, suffix.width, suffix.height), (object, width, height));
            assert_eq!((suffix.fit, suffix.quality), (Fit::StretchDown, Some(95)));
        }
    }

    #[test]
    fn other_paths_are_names() {
        for path in [
            "",
            "tom.jpg",
            "tom.jpg_100x80",
            "tom.jpg_100x80.png",
            "tom.jpg_0x0.jpg",
            "tom.jpg_x80.jpg",
            "tom.jpg_-1x80.jpg",
            "tom.jpg_1234567890x80.jpg",
            "tom.v2.jpg_100x80.jpg",
            "cats/.jpg_100x80.jpg",
            "tom.svg_100x80.svg",
            "tom.avg_color_1x1.avg_color",
            "tom_100x80.jpg",
        ] {
            assert_eq!(Suffix::of_legacy_path(path), None, "{path}");
        }
    }
}
