//! The eight ways a camera may have been held.

use super::geometry::{Rect, Size};
use super::raster::Raster;

/// How the stored pixels must be moved to stand upright; the values of EXIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    Mirrored,
    /// 3: turned by half.
    UpsideDown,
    /// 4: mirrored top to bottom.
    Flipped,
    /// 5: mirrored along the diagonal from the top left.
    Transposed,
    /// 6: to be turned a quarter clockwise.
    TurnRight,
    /// 7: mirrored along the diagonal from the top right.
    Transversed,
    /// 8: to be turned a quarter counter-clockwise.
    TurnLeft,
}

impl Orientation {
    /// The orientation that EXIF writes as this number. `None` outside of 1 to 8.
    pub const fn from_exif(value: u16) -> Option<Self> {
        match value {
            1 => Some(Self::Upright),
            2 => Some(Self::Mirrored),
            3 => Some(Self::UpsideDown),
            4 => Some(Self::Flipped),
            5 => Some(Self::Transposed),
            6 => Some(Self::TurnRight),
            7 => Some(Self::Transversed),
            8 => Some(Self::TurnLeft),
            _ => None,
        }
    }

    /// The number that EXIF writes for it.
    pub const fn to_exif(self) -> u8 {
        match self {
            Self::Upright => 1,
            Self::Mirrored => 2,
            Self::UpsideDown => 3,
            Self::Flipped => 4,
            Self::Transposed => 5,
            Self::TurnRight => 6,
            Self::Transversed => 7,
            Self::TurnLeft => 8,
        }
    }

    /// Whether width and height change places.
    pub const fn turns(self) -> bool {
        matches!(self, Self::Transposed | Self::TurnRight | Self::Transversed | Self::TurnLeft)
    }

    /// The size upright of what is stored at `size`, and the other way round.
    pub(super) const fn apply_to_size(self, size: Size) -> Size {
        if self.turns() { size.turned() } else { size }
    }

    /// Where a rectangle of the upright picture lies in the stored one, which
    /// has the size `stored`.
    pub(super) fn stored_rect(self, upright: Rect, stored: Size) -> Rect {
        let Rect { left, top, width, height } =
            if self.turns() { transposed(upright) } else { upright };
        let right = f64::from(stored.width) - left - width;
        let bottom = f64::from(stored.height) - top - height;
        let (from_right, from_bottom) = self.reversed();
        Rect {
            left: if from_right { right } else { left },
            top: if from_bottom { bottom } else { top },
            width,
            height,
        }
    }

    /// The picture upright.
    pub(super) fn apply(self, stored: Raster) -> Raster {
        if self == Self::Upright {
            return stored;
        }
        let (width, height) = (stored.size().width, stored.size().height);
        let (from_right, from_bottom) = self.reversed();
        stored.rearranged(self.apply_to_size(stored.size()), |column, row| {
            let (x, y) = if self.turns() { (row, column) } else { (column, row) };
            (
                if from_right { width - 1 - x } else { x },
                if from_bottom { height - 1 - y } else { y },
            )
        })
    }

    /// Whether upright order runs from the stored picture's right edge, and from
    /// its bottom edge, once rows and columns have been exchanged if they are.
    const fn reversed(self) -> (bool, bool) {
        match self {
            Self::Upright | Self::Transposed => (false, false),
            Self::Mirrored | Self::TurnLeft => (true, false),
            Self::UpsideDown | Self::Transversed => (true, true),
            Self::Flipped | Self::TurnRight => (false, true),
        }
    }
}

const fn transposed(rect: Rect) -> Rect {
    Rect { left: rect.top, top: rect.left, width: rect.height, height: rect.width }
}
