//! The point of a picture that a crop keeps in view.

use std::str::FromStr;

/// How finely a focus is told: in steps of this part of a side.
pub(crate) const STEPS: u16 = 10_000;

/// The point of a picture that a crop keeps in view, as parts of its width and height from the top
/// left: `0.3,0.75`. In the upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Focus {
    pub(crate) x: u16,
    pub(crate) y: u16,
}

/// A text that names no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a focus is two numbers from 0 to 1, as in 0.3,0.75")]
pub struct FocusError;

impl FromStr for Focus {
    type Err = FocusError;

    fn from_str(text: &str) -> Result<Self, FocusError> {
        let (x, y) = text.split_once(',').ok_or(FocusError)?;
        Ok(Self { x: steps(x)?, y: steps(y)? })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was checked to be from 0 to 1"
)]
fn steps(text: &str) -> Result<u16, FocusError> {
    let part: f64 = text.trim().parse().map_err(|_| FocusError)?;
    // What is no number lies in no range.
    if (0.0..=1.0).contains(&part) {
        Ok((part * f64::from(STEPS)).round() as u16)
    } else {
        Err(FocusError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_name_a_point() {
        assert_eq!("0.3, 0.75".parse(), Ok(Focus { x: 3_000, y: 7_500 }));
        assert_eq!("0,1".parse(), Ok(Focus { x: 0, y: 10_000 }));
        for text in ["", "0.5", "0.5,", "0.5;0.5", "-0.1,0", "0,1.1", "NaN,0", "inf,0", "1,2,3"] {
            assert_eq!(text.parse::<Focus>(), Err(FocusError), "{text}");
        }
    }
}
