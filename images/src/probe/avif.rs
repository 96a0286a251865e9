//! AVIF: one AV1 picture, and perhaps another for its alpha, in ISO media boxes.
//!
//! Tables say where a picture's bytes lie and which properties it has; size, turn
//! and colours are such properties, so that nothing of AV1 itself need be decoded.

mod boxes;
mod meta;
mod obu;

use std::borrow::Cow;

use boxes::Fields;
use meta::{Meta, Property};

use super::{Probe, ProbeError};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::orientation::Orientation;

/// What an AVIF file holds, not yet decoded.
pub(crate) struct Avif<'a> {
    pub(crate) color: Coded<'a>,
    /// Of the same size.
    pub(crate) alpha: Option<Coded<'a>>,
    /// Whether colours were multiplied by their alpha.
    pub(crate) is_premultiplied: bool,
    pub(crate) icc: Option<&'a [u8]>,
    /// How colours are meant, where that is said outside of the coded picture.
    pub(crate) nclx: Option<Nclx>,
    orientation: Orientation,
}

/// One AV1 picture.
pub(crate) struct Coded<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) size: Size,
    pub(crate) samples: Samples,
}

/// What the samples of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Samples {
    /// 8, 10 or 12.
    pub(crate) bits: u8,
    pub(crate) is_gray: bool,
    /// Whether there are half as many for colour across, and down.
    pub(crate) halved: (bool, bool),
}

/// Numbers of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nclx {
    pub(crate) primaries: u16,
    pub(crate) matrix: u16,
    pub(crate) is_full_range: bool,
}

pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let avif = Avif::of(source)?;
    let size = avif.color.size;
    let coded = [Some(&avif.color), avif.alpha.as_ref()].into_iter().flatten();
    Ok(Probe {
        orientation: avif.orientation,
        has_alpha: avif.alpha.is_some(),
        icc_bytes: avif.icc.map_or(0, |profile| profile.len() as u64),
        // One of them at a time.
        beside_bytes: coded.map(Coded::decoder_bytes).max().unwrap_or(0),
        ..Probe::of(SourceFormat::Avif, size)
    })
}

impl<'a> Avif<'a> {
    /// What the codec is to decode, of a file that was probed.
    pub(crate) fn read(source: &'a [u8]) -> Result<Self, ImageError> {
        Self::of(source).map_err(|error| error.of(SourceFormat::Avif))
    }

    fn of(source: &'a [u8]) -> Result<Self, ProbeError> {
        let meta = Meta::read(source)?;
        let properties = meta.properties(meta.primary);
        let color = Coded::of(&meta, meta.primary, &properties)?;
        let (mut icc, mut nclx) = (None, None);
        for property in properties.iter().filter(|property| &property.kind == b"colr") {
            match property.body.split_at_checked(4) {
                Some((b"nclx", rest)) => nclx = Nclx::of(rest),
                Some((b"prof" | b"rICC", rest)) => icc = Some(rest),
                _ => {}
            }
        }
        let alpha = meta.alpha();
        let is_premultiplied = alpha.is_some_and(|alpha| meta.is_premultiplied(alpha));
        let alpha =
            alpha.map(|alpha| Coded::of(&meta, alpha, &meta.properties(alpha))).transpose()?;
        if alpha.as_ref().is_some_and(|alpha| alpha.size != color.size) {
            return Err(ProbeError::Broken("its alpha has another size"));
        }
        let orientation = orientation(&properties);
        Ok(Self { color, alpha, is_premultiplied, icc, nclx, orientation })
    }
}

impl<'a> Coded<'a> {
    fn of(meta: &Meta<'a>, item: u32, properties: &[Property<'_>]) -> Result<Self, ProbeError> {
        match meta.kind(item).as_ref().map(<[u8; 4]>::as_slice) {
            Some(b"av01") => {}
            Some(b"grid") => return Err(ProbeError::Unsupported("tiled AVIF")),
            Some(_) => return Err(ProbeError::Unsupported("composed AVIF")),
            None => return Err(ProbeError::Broken("it has no picture")),
        }
        if properties.iter().any(|property| property.is_essential && !property.is_known()) {
            return Err(ProbeError::Unsupported("AVIF with further essential properties"));
        }
        let body = |kind: &[u8; 4]| {
            properties.iter().find(|property| &property.kind == kind).map(|property| property.body)
        };
        let size = body(b"ispe").and_then(size).ok_or(ProbeError::Broken("it has no size"))?;
        let samples = body(b"av1C").and_then(Samples::of);
        let samples = samples.ok_or(ProbeError::Broken("it tells no kind of samples"))?;
        let bytes = meta.bytes(item)?;
        obu::check(&bytes)?;
        Ok(Self { bytes, size, samples })
    }

    /// What decoding takes at most beside the pixels given out: the picture before
    /// and after its grain, what is known of each block, and the coded bytes.
    fn decoder_bytes(&self) -> u64 {
        // The decoder works in blocks of 128, and keeps rows apart.
        let side = |side: u32| u64::from(side).next_multiple_of(128) + 128;
        let pixels = side(self.size.width).saturating_mul(side(self.size.height));
        let picture = pixels.saturating_mul(self.samples.bytes_per_two_pixels()) / 2;
        let blocks = pixels.saturating_mul(BLOCK_BYTES_PER_PIXEL);
        let coded = 2 * self.bytes.len() as u64;
        (2 * picture).saturating_add(blocks).saturating_add(coded).saturating_add(STATE_BYTES)
    }
}

/// Of the decoder: what it knows of a block, spread over the block's pixels.
const BLOCK_BYTES_PER_PIXEL: u64 = 2;
/// Of the decoder: what does not grow with the picture.
const STATE_BYTES: u64 = 4 * 1024 * 1024;

impl Samples {
    /// From the second and third byte of `av1C`.
    fn of(body: &[u8]) -> Option<Self> {
        let flags = *body.get(2)?;
        let is = |bit: u8| flags & bit != 0;
        let bits = match (is(0x40), is(0x20)) {
            (false, _) => 8,
            (true, false) => 10,
            (true, true) => 12,
        };
        Some(Self { bits, is_gray: is(0x10), halved: (is(0x08), is(0x04)) })
    }

    fn bytes_per_two_pixels(self) -> u64 {
        let samples = match (self.is_gray, self.halved) {
            (true, _) => 2,
            (false, (true, true)) => 3,
            (false, (true, false)) => 4,
            (false, (false, _)) => 6,
        };
        if self.bits == 8 { samples } else { 2 * samples }
    }
}

impl Nclx {
    fn of(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut number = || u16::try_from(fields.uint(2)?).ok();
        let (primaries, _transfer, matrix) = (number()?, number()?, number()?);
        Some(Self { primaries, matrix, is_full_range: fields.uint(1)? & 0x80 != 0 })
    }
}

fn size(body: &[u8]) -> Option<Size> {
    let mut fields = Fields(body);
    fields.skip(4)?;
    let mut side = || u32::try_from(fields.uint(4)?).ok();
    Some(Size { width: side()?, height: side()? })
}

/// What the turns and mirrors come to, in the order in which they are listed.
fn orientation(properties: &[Property<'_>]) -> Orientation {
    // Quarters turned counter-clockwise, then perhaps top and bottom exchanged.
    let (mut quarters, mut is_flipped) = (0, false);
    for property in properties {
        let value = property.body.first().copied().unwrap_or(0);
        match &property.kind {
            b"irot" if is_flipped => quarters += 4 - (value & 3),
            b"irot" => quarters += value & 3,
            b"imir" => {
                is_flipped = !is_flipped;
                // Left and right exchanged: as the other two, after half a turn.
                quarters += if value & 1 == 1 { 2 } else { 0 };
            }
            _ => {}
        }
        quarters %= 4;
    }
    match (quarters, is_flipped) {
        (0, false) => Orientation::Upright,
        (1, false) => Orientation::TurnLeft,
        (2, false) => Orientation::UpsideDown,
        (_, false) => Orientation::TurnRight,
        (0, true) => Orientation::Flipped,
        (1, true) => Orientation::Transposed,
        (2, true) => Orientation::Mirrored,
        (_, true) => Orientation::Transversed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_and_mirrors_add_up() {
        let of = |steps: &[(&[u8; 4], u8)]| {
            let bodies: Vec<[u8; 1]> = steps.iter().map(|(_, value)| [*value]).collect();
            let properties: Vec<Property<'_>> = steps
                .iter()
                .zip(&bodies)
                .map(|((kind, _), body)| Property { kind: **kind, body, is_essential: true })
                .collect();
            orientation(&properties).to_exif()
        };
        assert_eq!(of(&[]), 1);
        assert_eq!([1, 2, 3].map(|angle| of(&[(b"irot", angle)])), [8, 3, 6]);
        assert_eq!([0, 1].map(|axis| of(&[(b"imir", axis)])), [4, 2]);
        assert_eq!(of(&[(b"irot", 1), (b"imir", 0)]), 5);
        assert_eq!(of(&[(b"irot", 3), (b"imir", 0)]), 7);
        assert_eq!(of(&[(b"imir", 0), (b"irot", 3)]), 5, "order counts");
        assert_eq!(of(&[(b"imir", 1), (b"imir", 1)]), 1);
    }
}
