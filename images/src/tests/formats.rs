//! Each kind of file in and out.

use std::io::Cursor;

use image::ImageEncoder as _;

use super::photos::photo;
use super::*;

const SIZE: u32 = 24;

/// A red left and a blue right half.
fn halves() -> Vec<u8> {
    make::pixels(SIZE, SIZE, |x, _| if x < SIZE / 2 { [250, 0, 0] } else { [0, 0, 250] })
}

fn check(source: &[u8], name: &str) {
    for suffix in [".png", "12w.png"] {
        let output = run(source, suffix).unwrap_or_else(|error| panic!("{name}: {error}"));
        let picture = Decoded::of(&output);
        let (right, middle) = (picture.width - 2, picture.height / 2);
        assert!(is_near(picture.pixel(1, middle), [250, 0, 0], 8), "{name} {suffix}");
        assert!(is_near(picture.pixel(right, middle), [0, 0, 250], 8), "{name} {suffix}");
    }
}

/// A TIFF of one strip, with tags beside those that it must have.
fn tiff(samples: u16, bits: u16, photometric: u16, data: &[u8], more: &[(u16, u32)]) -> Vec<u8> {
    let mut tags = vec![
        (256, SIZE),
        (257, SIZE),
        (258, u32::from(bits)),
        (259, 1),
        (262, u32::from(photometric)),
        (273, 8),
        (277, u32::from(samples)),
        (278, SIZE),
        (279, u32::try_from(data.len()).unwrap()),
    ];
    tags.extend(more);
    tags.sort_unstable();
    let directory = 8 + data.len().next_multiple_of(2);
    let mut file = b"II*\0".to_vec();
    file.extend(u32::try_from(directory).unwrap().to_le_bytes());
    file.extend(data);
    file.resize(directory, 0);
    file.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
    // Depths of more than two samples stand behind the directory.
    let behind = u32::try_from(directory + 2 + tags.len() * 12 + 4).unwrap();
    for (tag, value) in tags {
        let (kind, count, value) = match tag {
            258 if samples > 2 => (3, u32::from(samples), behind),
            274 | 258 | 338 => (3u16, 1, value),
            _ => (4, 1, value),
        };
        file.extend(u16::to_le_bytes(tag));
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend(bits.to_le_bytes().repeat(usize::from(samples)));
    file
}

pub(super) fn sample_tiff() -> Vec<u8> {
    tiff(3, 8, 2, &halves(), &[])
}

pub(super) fn sample_ico() -> Vec<u8> {
    ico(&[(24, make::png(SIZE, SIZE, png::ColorType::Rgb, &halves()))])
}

pub(super) fn sample_bitmap_ico() -> Vec<u8> {
    ico(&[(24, dib(SIZE, |x| [(x * 10) as u8, 0, 250, 255]))])
}

#[test]
fn tiff_is_read() {
    let rgb = halves();
    check(&tiff(3, 8, 2, &rgb, &[]), "rgb");
    let deep: Vec<u8> = rgb.iter().flat_map(|byte| [*byte, *byte]).collect();
    check(&tiff(3, 16, 2, &deep, &[]), "16 bits");
    let rgba: Vec<u8> = rgb.chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    check(&tiff(4, 8, 2, &rgba, &[(338, 2)]), "rgba");
    let turned = tiff(3, 8, 2, &rgb, &[(274, 2)]);
    let picture = Decoded::of(&run(&turned, ".png").unwrap());
    assert!(is_near(picture.pixel(1, 1), [0, 0, 250], 1), "mirrored");
    let gray = make::pixels(SIZE, SIZE, |x, _| [(x * 10) as u8]);
    let picture = Decoded::of(&run(&tiff(1, 8, 1, &gray, &[]), ".png").unwrap());
    assert_eq!((picture.channels, picture.pixel(7, 3)), (1, &[70][..]));

    let mut packed = Cursor::new(Vec::new());
    image::codecs::tiff::TiffEncoder::new(&mut packed)
        .write_image(&rgb, SIZE, SIZE, image::ExtendedColorType::Rgb8)
        .unwrap();
    check(&packed.into_inner(), "by another writer");
    assert_eq!(run(&tiff(3, 8, 2, &rgb, &[]), "").unwrap().format, OutputFormat::Jpeg);
}

#[test]
fn a_tiff_is_as_large_as_its_header_says() {
    let mut file = tiff(3, 8, 2, &halves(), &[]);
    let at = file.len() - 2 * 3 - 4 - 9 * 12;
    file[at + 8..at + 12].copy_from_slice(&60_000u32.to_le_bytes());
    let expected = ImageError::TooLarge { what: Measure::Side, got: 60_000, limit: 16_384 };
    assert_eq!(run(&file, "16w.png"), Err(expected));
}

fn ico(pictures: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\0\0\x01\0".to_vec();
    file.extend(u16::try_from(pictures.len()).unwrap().to_le_bytes());
    let mut start = 6 + 16 * pictures.len();
    for (side, picture) in pictures {
        file.extend([*side, *side, 0, 0, 1, 0, 32, 0]);
        file.extend(u32::try_from(picture.len()).unwrap().to_le_bytes());
        file.extend(u32::try_from(start).unwrap().to_le_bytes());
        start += picture.len();
    }
    file.extend(pictures.iter().flat_map(|(_, picture)| picture));
    file
}

/// A bitmap as icons hold it: without a file header, twice as high, with a mask.
fn dib(side: u32, pixel: impl Fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut file = Vec::new();
    for number in [40, side, side * 2, 1 | 32 << 16, 0, 0, 0, 0, 0, 0] {
        file.extend(u32::to_le_bytes(number));
    }
    file.extend(make::pixels(side, side, |x, _| pixel(x)));
    let mask_row = (side.div_ceil(8)).next_multiple_of(4);
    file.resize(file.len() + (mask_row * side) as usize, 0);
    file
}

#[test]
fn the_largest_picture_of_an_icon_is_read() {
    let png = make::png(SIZE, SIZE, png::ColorType::Rgb, &halves());
    let small = make::png(8, 8, png::ColorType::Rgb, &[9; 192]);
    check(&ico(&[(8, small.clone()), (24, png.clone())]), "png second");
    check(&ico(&[(24, png), (8, small.clone())]), "png first");
    let bitmap = dib(SIZE, |x| if x < SIZE / 2 { [0, 0, 250, 255] } else { [250, 0, 0, 255] });
    check(&ico(&[(8, small.clone()), (24, bitmap.clone())]), "bitmap");
    let output = run(&ico(&[(24, bitmap)]), "").unwrap();
    assert_eq!((output.format, output.width), (OutputFormat::Jpeg, SIZE));
    // The directory tells 8, the picture 20,000.
    let mut liar = small;
    liar[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
    let expected = ImageError::TooLarge { what: Measure::Side, got: 20_000, limit: 16_384 };
    assert_eq!(run(&ico(&[(8, liar)]), "16w.png"), Err(expected));
}

#[test]
fn progressive_png_is_interlaced() {
    for name in ["chelsea.png", "coffee.jpg"] {
        let source = photo(name);
        let plain = run(&source, "99w.png").unwrap();
        let interlaced = run(&source, "99w_progressive.png").unwrap();
        assert!(Probe::read(&interlaced.bytes).unwrap().is_progressive);
        assert!(!Probe::read(&plain.bytes).unwrap().is_progressive);
        assert_eq!(Decoded::of(&plain).data, Decoded::of(&interlaced).data);
        assert!(interlaced.bytes.len() < plain.bytes.len() * 3 / 2);
        let again = run(&interlaced.bytes, ".png").unwrap();
        assert_eq!(Decoded::of(&again).data, Decoded::of(&plain).data, "and is read");
    }
}

#[test]
fn an_animated_png_gives_its_default_image() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[200; 192]).unwrap();
    writer.write_image_data(&[20; 192]).unwrap();
    writer.finish().unwrap();
    assert_eq!(Probe::read(&file).unwrap().frames, 2);
    let output = run(&file, "").unwrap();
    assert_eq!((output.format, output.animation_dropped), (OutputFormat::Png, false));
    assert_eq!(Decoded::of(&output).pixel(4, 4), [200; 3]);
}

/// Every depth and colour that PNG has, interlaced and not, of one gray ramp.
#[test]
fn every_png_is_read() {
    use png::BitDepth::{Eight, Four, One, Sixteen, Two};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    for (color, depths) in [
        (Grayscale, &[One, Two, Four, Eight, Sixteen][..]),
        (Indexed, &[One, Two, Four, Eight]),
        (Rgb, &[Eight, Sixteen]),
        (GrayscaleAlpha, &[Eight, Sixteen]),
        (Rgba, &[Eight, Sixteen]),
    ] {
        for depth in depths {
            let bits = color.samples() * *depth as usize;
            // All bits set: white, the last of the palette, opaque.
            let data = vec![0xff; (16 * bits).div_ceil(8) * 16];
            let source = make::png_with(16, 16, color, &data, |info| {
                info.bit_depth = *depth;
                if color == Indexed {
                    info.palette = Some(
                        [0, 0, 0]
                            .repeat((1 << *depth as usize) - 1)
                            .into_iter()
                            .chain([255, 255, 255])
                            .collect::<Vec<u8>>()
                            .into(),
                    );
                }
            });
            let picture = Decoded::of(&run(&source, "8w.png").unwrap());
            assert!(picture.data.iter().all(|byte| *byte == 255), "{color:?} {depth:?}");
        }
    }
}

#[cfg(feature = "avif")]
mod avif {
    use super::*;

    /// The size that the file's `ispe` property tells.
    fn size(file: &[u8]) -> (u32, u32) {
        let at = file.windows(4).position(|kind| kind == b"ispe").unwrap();
        let side =
            |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()).swap_bytes();
        (side(at + 8), side(at + 12))
    }

    #[test]
    fn avif_is_written() {
        let source = photo("coffee.jpg");
        let lengths = [10, 55, 95].map(|quality| {
            let output = run(&source, &format!("60w_{quality}q.avif")).unwrap();
            assert_eq!(
                (output.format, output.format.content_type()),
                (OutputFormat::Avif, "image/avif")
            );
            assert_eq!(&output.bytes[4..12], b"ftypavif");
            assert_eq!(size(&output.bytes), (60, 40));
            output.bytes.len()
        });
        assert!(lengths.is_sorted(), "{lengths:?}");
        assert_eq!(run(&source, "60w.avif"), run(&source, "60w_55q.avif"));
        let rgba = make::pixels(16, 16, |x, _| [200, 0, 0, (x * 16) as u8]);
        let png = make::png(16, 16, png::ColorType::Rgba, &rgba);
        let translucent = run(&png, ".avif").unwrap().bytes;
        assert!(translucent.windows(4).any(|kind| kind == b"auxC"), "alpha is kept");
    }

    #[test]
    fn a_large_avif_is_a_webp() {
        let settings = Settings { avif_max_pixels: 60 * 40, ..Settings::default() };
        let source = photo("coffee.jpg");
        assert_eq!(run_with(&source, "60w.avif", &settings).unwrap().format, OutputFormat::Avif);
        let larger = run_with(&source, "61w.avif", &settings).unwrap();
        assert_eq!(larger.format, OutputFormat::WebP);
        assert_eq!(Ok(larger), run_with(&source, "61w.webp", &settings));
    }
}
