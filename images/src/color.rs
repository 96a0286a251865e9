//! From a picture's own colours to sRGB.
//!
//! Run on the small picture, after the shrink, where it costs next to nothing.

use std::sync::Arc;

use moxcms::{ColorProfile, DataColorSpace, Transform8BitExecutor, TransformOptions};

use super::raster::{Layout, Raster};

/// The picture in sRGB. A profile that is broken, of other channels than the
/// picture or beyond what can be applied counts as sRGB, as in every viewer.
pub(super) fn to_srgb(mut raster: Raster, profile: &[u8]) -> Raster {
    if let Some(converted) = convert(&raster, profile) {
        raster.data_mut().copy_from_slice(&converted);
    }
    raster
}

fn convert(raster: &Raster, profile: &[u8]) -> Option<Vec<u8>> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    match (profile.color_space, raster.layout()) {
        (DataColorSpace::Rgb, Layout::Rgb) => color(raster, &profile, moxcms::Layout::Rgb),
        (DataColorSpace::Rgb, Layout::Rgba) => color(raster, &profile, moxcms::Layout::Rgba),
        (DataColorSpace::Gray, Layout::Gray | Layout::GrayAlpha) => gray(raster, &profile),
        _ => None,
    }
}

fn color(raster: &Raster, profile: &ColorProfile, layout: moxcms::Layout) -> Option<Vec<u8>> {
    let transform = transform(profile, layout, layout)?;
    let mut converted = vec![0; raster.data().len()];
    transform.transform(raster.data(), &mut converted).ok()?;
    Some(converted)
}

/// A gray stays a gray: only its 256 levels are converted, and looked up.
fn gray(raster: &Raster, profile: &ColorProfile) -> Option<Vec<u8>> {
    let transform = transform(profile, moxcms::Layout::Gray, moxcms::Layout::Rgb)?;
    let levels: Vec<u8> = (0..=u8::MAX).collect();
    let mut colors = vec![0; 3 * levels.len()];
    transform.transform(&levels, &mut colors).ok()?;
    let mut converted = raster.data().to_vec();
    for pixel in converted.chunks_exact_mut(raster.layout().channels()) {
        if let Some(level) = pixel.first_mut() {
            // The middle channel, green, carries most of the lightness.
            *level = *colors.get(3 * usize::from(*level) + 1)?;
        }
    }
    Some(converted)
}

fn transform(
    profile: &ColorProfile,
    from: moxcms::Layout,
    to: moxcms::Layout,
) -> Option<Arc<Transform8BitExecutor>> {
    let srgb = ColorProfile::new_srgb();
    profile.create_transform_8bit(from, &srgb, to, TransformOptions::default()).ok()
}
