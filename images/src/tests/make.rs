//! Pictures made for tests.

use std::io::Cursor;

use image::ImageEncoder;

pub(super) fn jpeg(
    width: u16,
    height: u16,
    color: jpeg_encoder::ColorType,
    data: &[u8],
) -> Vec<u8> {
    jpeg_with(width, height, color, data, |_| {})
}

pub(super) fn jpeg_with(
    width: u16,
    height: u16,
    color: jpeg_encoder::ColorType,
    data: &[u8],
    adjust: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 95);
    adjust(&mut encoder);
    encoder.encode(data, width, height, color).unwrap();
    file
}

pub(super) fn png(width: u32, height: u32, color: png::ColorType, data: &[u8]) -> Vec<u8> {
    png_with(width, height, color, data, |_| {})
}

pub(super) fn png_with(
    width: u32,
    height: u32,
    color: png::ColorType,
    data: &[u8],
    adjust: impl FnOnce(&mut png::Info<'_>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut info = png::Info::with_size(width, height);
    info.color_type = color;
    info.bit_depth = png::BitDepth::Eight;
    adjust(&mut info);
    let encoder = png::Encoder::with_info(&mut file, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    file
}

pub(super) fn gif(width: u32, height: u32, rgba: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::gif::GifEncoder::new(&mut file)
        .encode(rgba, width, height, image::ExtendedColorType::Rgba8)
        .unwrap();
    file
}

pub(super) fn bmp(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::codecs::bmp::BmpEncoder::new(&mut file)
        .write_image(rgb, width, height, image::ExtendedColorType::Rgb8)
        .unwrap();
    file.into_inner()
}

/// Every pixel as the function says.
pub(super) fn pixels<const N: usize>(
    width: u32,
    height: u32,
    pixel: impl Fn(u32, u32) -> [u8; N],
) -> Vec<u8> {
    let place = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    place.flat_map(|(x, y)| pixel(x, y)).collect()
}

/// A TIFF structure that says nothing but an orientation.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    tiff
}
