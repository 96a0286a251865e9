//! AVIF in, by rav1d.

mod rav1d_sys;
mod yuv;

use moxcms::ColorProfile;

use super::{Decoded, Request, check_size};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::probe::avif::{Avif, Coded, Nclx};
use crate::raster::{Layout, Raster};
use crate::shrink;
use rav1d_sys::{Decoder, Frame};
use yuv::{Matrix, Range};

/// Matrix coefficients that stand for none in particular.
const UNSPECIFIED: u16 = 2;

pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let avif = Avif::read(request.source)?;
    check_size(request.probe, Some(avif.color.size))?;
    let mut raster = color(&avif, request.memory)?;
    if let Some(alpha) = &avif.alpha {
        add_alpha(&mut raster, alpha)?;
        if avif.is_premultiplied {
            divide_by_alpha(&mut raster);
        }
    }
    let profile = avif.icc.map(<[u8]>::to_vec).or_else(|| wide_colors(avif.nclx?));
    let (raster, reduced_by) = shrink::reduce(raster, request.wanted, request.averaging);
    Ok(Decoded { raster, reduced_by, profile })
}

/// The picture without its alpha, but with room for it.
fn color(avif: &Avif<'_>, memory: Vec<u8>) -> Result<Raster, ImageError> {
    let frame = frame(&avif.color)?;
    let has_alpha = avif.alpha.is_some();
    let layout = match (avif.color.samples.is_gray, has_alpha) {
        (true, false) => Layout::Gray,
        (true, true) => Layout::GrayAlpha,
        (false, false) => Layout::Rgb,
        (false, true) => Layout::Rgba,
    };
    let is_full = avif.nclx.map_or(frame.is_full_range(), |nclx| nclx.is_full_range);
    let range = Range::new(avif.color.samples.bits, is_full);
    let said = avif.nclx.map(|nclx| nclx.matrix).filter(|matrix| *matrix != UNSPECIFIED);
    let matrix = Matrix::of(said.unwrap_or(frame.matrix()))
        .ok_or(ImageError::UnsupportedSource { kind: "AVIF in unusual colours" })?;
    let mut raster = Raster::zeroed(avif.color.size, layout, memory)
        .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
    yuv::write_colors(&frame, range, matrix, &mut raster).ok_or_else(|| broken("it lacks rows"))?;
    Ok(raster)
}

fn add_alpha(raster: &mut Raster, alpha: &Coded<'_>) -> Result<(), ImageError> {
    let frame = frame(alpha)?;
    let range = Range::new(alpha.samples.bits, frame.is_full_range());
    yuv::write_alpha(&frame, range, raster).ok_or_else(|| broken("its alpha lacks rows"))
}

fn frame(coded: &Coded<'_>) -> Result<Frame, ImageError> {
    let mut decoder = Decoder::new(coded.size).map_err(ImageError::internal)?;
    decoder.decode(&coded.bytes, coded.size, coded.samples).map_err(broken)
}

fn divide_by_alpha(raster: &mut Raster) {
    let channels = raster.layout().channels();
    for pixel in raster.data_mut().chunks_exact_mut(channels) {
        if let Some((alpha, colors)) = pixel.split_last_mut() {
            let alpha = u32::from(*alpha);
            for color in colors {
                let whole = (u32::from(*color) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0);
                *color = u8::try_from(whole).unwrap_or(u8::MAX);
            }
        }
    }
}

/// The profile of primaries that are not those of sRGB.
fn wide_colors(nclx: Nclx) -> Option<Vec<u8>> {
    const BT2020: u16 = 9;
    const DISPLAY_P3: u16 = 12;
    let profile = match nclx.primaries {
        BT2020 => ColorProfile::new_bt2020(),
        DISPLAY_P3 => ColorProfile::new_display_p3(),
        _ => return None,
    };
    profile.encode().ok()
}

fn broken(reason: impl ToString) -> ImageError {
    ImageError::undecodable(SourceFormat::Avif, reason)
}
