//! From a source's size and a suffix to the size and the part that come out.
//!
//! Pure integer arithmetic in `u128`, rounding half up. Sides of a suffix go up
//! to 2^63 and a source's up to 2^32, so no product here comes near 2^128, but
//! for the area of the result, which is compared with overflow in mind.

use super::suffix::{Crop, FOCUS_STEPS, Fit, Focus, Suffix};

/// A width and a height in pixels, neither of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Where a crop without an anchor of its own (`1c`) cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CropAnchor {
    /// Keep the middle.
    #[default]
    Center,
    /// Keep the bottom right corner.
    BottomRight,
}

/// What a crop does when its box is larger than the source in a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CropOversize {
    /// Keep the box's ratio and take the largest part of the source that has it.
    #[default]
    FillDown,
    /// Leave width, height and crop out of the request.
    Skip,
}

/// The choices that the grammar leaves to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeometryOptions {
    /// Where `1c` cuts. Default: the middle.
    pub crop_anchor: CropAnchor,
    /// What a crop larger than the source does. Default: fill down.
    pub crop_oversize: CropOversize,
    /// The longest side of a result, in pixels. Default 16384.
    pub max_side: u32,
}

impl Default for GeometryOptions {
    fn default() -> Self {
        Self {
            crop_anchor: CropAnchor::default(),
            crop_oversize: CropOversize::default(),
            max_side: 16_384,
        }
    }
}

/// What to make of a source: scale the whole of it to `cover`, and of that keep
/// `target` pixels from `offset` on. Without a crop `target` is `cover`, unless
/// `target` was scaled once more to fit the longest allowed side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The source's size, upright.
    pub source: Size,
    /// The size to which the whole source would be scaled.
    pub cover: Size,
    /// The part of `cover` that is kept: left, top, and its size.
    pub window: Window,
    /// The size that comes out. Never more pixels than the source has.
    pub target: Size,
}

/// A part of a picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Pixels left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its size.
    pub size: Size,
}

/// A rectangle in source pixels, which need not fall on whole ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Size {
    /// The number of pixels.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The size after a quarter turn.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { width: self.height, height: self.width }
    }
}

impl Plan {
    /// Decides what becomes of a source of `source` pixels (upright, unless the
    /// suffix wants it as stored).
    pub fn new(source: Size, suffix: &Suffix, options: GeometryOptions) -> Self {
        let full = Area::from(source);
        let crop = suffix.crop.zip(suffix.width.zip(suffix.height));
        let plan = match crop {
            Some((crop, (w, h))) => {
                let anchor = Anchor::new(crop, suffix.focus, options.crop_anchor);
                crop_plan(source, anchor, u128::from(w), u128::from(h), options)
            }
            None => scale_plan(source, wanted(full, suffix), options.max_side),
        };
        plan.unwrap_or(Self::whole(source)).within(options.max_side)
    }

    /// The part of the source that the target shows.
    pub fn source_rect(&self) -> Rect {
        let across = f64::from(self.source.width) / f64::from(self.cover.width);
        let down = f64::from(self.source.height) / f64::from(self.cover.height);
        Rect {
            left: f64::from(self.window.left) * across,
            top: f64::from(self.window.top) * down,
            width: f64::from(self.window.size.width) * across,
            height: f64::from(self.window.size.height) * down,
        }
    }

    const fn whole(source: Size) -> Self {
        let window = Window { left: 0, top: 0, size: source };
        Self { source, cover: source, window, target: source }
    }

    /// The same picture with the target scaled down until no side is too long.
    fn within(mut self, max_side: u32) -> Self {
        let longest = u128::from(self.target.width.max(self.target.height));
        let max = u128::from(max_side.max(1));
        if longest > max {
            let scaled = |side: u32| narrow(divide(u128::from(side) * max, longest), side);
            self.target =
                Size { width: scaled(self.target.width), height: scaled(self.target.height) };
        }
        self
    }
}

/// A size before it is known to be sane.
#[derive(Clone, Copy)]
struct Area {
    width: u128,
    height: u128,
}

impl From<Size> for Area {
    fn from(size: Size) -> Self {
        Self { width: size.width.into(), height: size.height.into() }
    }
}

/// `a / b` rounded half up, and at least 1: no side vanishes.
fn divide(a: u128, b: u128) -> u128 {
    ((2 * a + b) / (2 * b)).max(1)
}

fn narrow(side: u128, otherwise: u32) -> u32 {
    u32::try_from(side).unwrap_or(otherwise)
}

/// The size asked for, without regard to how large it is.
fn wanted(full: Area, suffix: &Suffix) -> Area {
    let percent = u128::from(suffix.percent);
    let scaled = |side: u64| divide(u128::from(side) * percent, 100);
    match (suffix.width.map(scaled), suffix.height.map(scaled)) {
        (None, None) => Area {
            width: divide(full.width * percent, 100),
            height: divide(full.height * percent, 100),
        },
        (Some(width), None) => by_width(full, width),
        (None, Some(height)) => by_height(full, height),
        (Some(width), Some(height)) => {
            let width_limits = width * full.height <= height * full.width;
            match suffix.fit {
                Fit::Stretch => Area { width, height },
                Fit::StretchDown if width < full.width && height < full.height => {
                    Area { width, height }
                }
                Fit::StretchDown => full,
                Fit::Inside if width_limits => by_width(full, width),
                Fit::Cover if !width_limits => by_width(full, width),
                Fit::Inside | Fit::Cover => by_height(full, height),
            }
        }
    }
}

fn by_width(full: Area, width: u128) -> Area {
    Area { width, height: divide(full.height * width, full.width) }
}

fn by_height(full: Area, height: u128) -> Area {
    Area { width: divide(full.width * height, full.height), height }
}

/// Nothing is enlarged: by area, so that one side may grow while the other shrinks.
fn scale_plan(source: Size, wanted: Area, max_side: u32) -> Option<Plan> {
    let pixels = wanted.width.checked_mul(wanted.height)?;
    if pixels > u128::from(source.pixels()) {
        return None;
    }
    let size =
        Size { width: wanted.width.try_into().ok()?, height: wanted.height.try_into().ok()? };
    if size.width.max(size.height) > max_side {
        return None;
    }
    let window = Window { left: 0, top: 0, size };
    Some(Plan { source, cover: size, window, target: size })
}

fn crop_plan(
    source: Size,
    anchor: Anchor,
    w: u128,
    h: u128,
    options: GeometryOptions,
) -> Option<Plan> {
    let full = Area::from(source);
    let oversize = w > full.width || h > full.height;
    let keep = match options.crop_oversize {
        _ if !oversize => Area { width: w, height: h },
        CropOversize::Skip => return None,
        CropOversize::FillDown if w * full.height >= h * full.width => {
            Area { width: full.width, height: divide(full.width * h, w) }
        }
        CropOversize::FillDown => Area { width: divide(full.height * w, h), height: full.height },
    };
    let cover = if keep.width * full.height >= keep.height * full.width {
        Area { width: keep.width, height: keep.height.max(by_width(full, keep.width).height) }
    } else {
        Area { width: keep.width.max(by_height(full, keep.height).width), height: keep.height }
    };
    let size = |area: Area| {
        Some(Size { width: area.width.try_into().ok()?, height: area.height.try_into().ok()? })
    };
    let (cover, keep) = (size(cover)?, size(keep)?);
    let window = anchor.window(cover, keep);
    Some(Plan { source, cover, window, target: keep })
}

/// What a crop keeps.
#[derive(Clone, Copy)]
enum Anchor {
    TopLeft,
    TopRight,
    BottomRight,
    /// As much around it as there is room for; the middle has no focus but its own.
    Around(Focus),
}

impl Anchor {
    const MIDDLE: Focus = Focus { x: FOCUS_STEPS / 2, y: FOCUS_STEPS / 2 };

    fn new(crop: Crop, focus: Option<Focus>, default: CropAnchor) -> Self {
        match (crop, focus, default) {
            (Crop::TopLeft, ..) => Self::TopLeft,
            (Crop::TopRight, ..) => Self::TopRight,
            (Crop::Default, Some(focus), _) => Self::Around(focus),
            (Crop::Default, None, CropAnchor::Center) => Self::Around(Self::MIDDLE),
            (Crop::Default, None, CropAnchor::BottomRight) => Self::BottomRight,
        }
    }

    /// The part of `keep` pixels of a picture of `cover` pixels.
    fn window(self, cover: Size, keep: Size) -> Window {
        let over = (cover.width - keep.width, cover.height - keep.height);
        let (left, top) = match self {
            Self::TopLeft => (0, 0),
            Self::TopRight => (over.0, 0),
            Self::BottomRight => over,
            Self::Around(focus) => (
                around(focus.x, cover.width, keep.width),
                around(focus.y, cover.height, keep.height),
            ),
        };
        Window { left, top, size: keep }
    }
}

/// Where `keep` pixels begin that have the focus in their middle, or as near to it as the edge allows.
fn around(focus: u16, cover: u32, keep: u32) -> u32 {
    let (cover, keep) = (u64::from(cover), u64::from(keep));
    let twice_begin = 2 * u64::from(focus) * cover / u64::from(FOCUS_STEPS);
    let begin = twice_begin.saturating_sub(keep) / 2;
    u32::try_from(begin.min(cover - keep)).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests;
