//! At most 255 colours for the pixels of one frame.

use std::collections::HashMap;

use color_quant::NeuQuant;

type Color = [u8; 3];

/// One index is left for what is not drawn.
const MAX_COLORS: usize = 255;
/// About so many pixels teach the quantizer.
const SAMPLES: usize = 20_000;
/// At most every so many pixels; its authors' middle course.
const MAX_STEP: i32 = 10;

/// The colours of a frame, and where each pixel's is found among them.
pub(super) enum Palette {
    /// All that there are.
    Exact(HashMap<Color, u8>, Vec<u8>),
    /// The nearest that fit.
    Near(NeuQuant),
}

impl Palette {
    /// Colours for these pixels.
    pub(super) fn of(pixels: &[Color]) -> Self {
        Self::exact(pixels).unwrap_or_else(|| {
            let rgba: Vec<u8> = pixels.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect();
            let step = i32::try_from(1 + pixels.len() / SAMPLES).unwrap_or(MAX_STEP).min(MAX_STEP);
            Self::Near(NeuQuant::new(step, MAX_COLORS, &rgba))
        })
    }

    fn exact(pixels: &[Color]) -> Option<Self> {
        let mut indices = HashMap::new();
        let mut colors = Vec::new();
        for color in pixels {
            if !indices.contains_key(color) {
                let index = u8::try_from(indices.len()).ok()?;
                if usize::from(index) == MAX_COLORS {
                    return None;
                }
                indices.insert(*color, index);
                colors.extend(color);
            }
        }
        Some(Self::Exact(indices, colors))
    }

    /// The number of the colour that stands for this one.
    pub(super) fn index(&self, color: Color) -> u8 {
        match self {
            Self::Exact(indices, _) => indices.get(&color).copied().unwrap_or_default(),
            Self::Near(quantizer) => {
                let [r, g, b] = color;
                u8::try_from(quantizer.index_of(&[r, g, b, 255])).unwrap_or_default()
            }
        }
    }

    /// The colours one after the other. One more index is free after them.
    pub(super) fn colors(&self) -> Vec<u8> {
        match self {
            Self::Exact(_, colors) => colors.clone(),
            Self::Near(quantizer) => quantizer.color_map_rgb(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_are_kept_as_they_are() {
        let pixels: Vec<Color> = (0..255).map(|n| [n, 7, 255 - n]).collect();
        let palette = Palette::of(&[pixels.clone(), pixels.clone()].concat());
        let colors = palette.colors();
        assert_eq!(colors.len(), 3 * 255);
        for color in pixels {
            let at = 3 * usize::from(palette.index(color));
            assert_eq!(colors[at..at + 3], color);
        }
    }

    #[test]
    fn many_colours_become_near_ones() {
        let pixels: Vec<Color> =
            (0..64u8).flat_map(|r| (0..64u8).map(move |g| [r * 4, g * 4, 128])).collect();
        let palette = Palette::of(&pixels);
        let colors = palette.colors();
        assert_eq!(colors.len(), 3 * 255);
        let far = |color: Color| -> u32 {
            let at = 3 * usize::from(palette.index(color));
            colors[at..at + 3].iter().zip(color).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
        };
        let count = pixels.len();
        let sum: u32 = pixels.into_iter().map(far).sum();
        assert!((sum as usize) < 20 * count, "{sum} over {count} pixels");
    }
}
