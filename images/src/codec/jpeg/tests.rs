#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "made-up pixels wrap on purpose, and sides are small"
)]

mod against_the_whole;
mod writer;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::reduced;
use crate::geometry::Size;
use crate::light::Averaging;
use crate::raster::Layout;

const SIZE: Size = Size { width: 203, height: 117 };

/// Waves, an edge and grain.
fn picture(channels: usize) -> Vec<u8> {
    let mut seed = 7u32;
    let mut pixels = Vec::new();
    for y in 0..SIZE.height {
        for x in 0..SIZE.width {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = f64::from(seed >> 28);
            let wave = (f64::from(x) / 9.0).sin() * (f64::from(y) / 13.0).cos() * 60.0;
            let edge = if x + y > 160 { 70.0 } else { 0.0 };
            for channel in 0..channels {
                let value = 60.0 + wave + edge + grain + 25.0 * channel as f64;
                pixels.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    pixels
}

fn encoded(color: ColorType, adjust: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 92);
    adjust(&mut encoder);
    let pixels = picture(match color {
        ColorType::Luma => 1,
        ColorType::Cmyk => 4,
        _ => 3,
    });
    encoder.encode(&pixels, SIZE.width as u16, SIZE.height as u16, color).unwrap();
    file
}

fn light(value: u8) -> f64 {
    let value = f64::from(value) / 255.0;
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn value(light: f64) -> f64 {
    255.0 * if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

/// The pixels that the full decoder makes, and how many channels they have.
fn whole(file: &[u8], size: Size) -> Option<(Vec<u8>, usize)> {
    let options = zune_core::options::DecoderOptions::default().set_strict_mode(false);
    let cursor = zune_core::bytestream::ZCursor::new(file);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(cursor, options);
    decoder.decode_headers().ok()?;
    if decoder.info()?.components == 1 {
        decoder
            .set_options(options.jpeg_set_out_colorspace(zune_core::colorspace::ColorSpace::Luma));
    }
    let pixels = decoder.decode().ok()?;
    let channels = pixels.len() / size.width as usize / size.height as usize;
    Some((pixels, channels))
}

/// The means of what the full decoder makes.
fn means(
    (pixels, channels): &(Vec<u8>, usize),
    size: Size,
    by: usize,
    averaging: Averaging,
) -> Vec<f64> {
    let forth = |value: u8| match averaging {
        Averaging::Light => light(value),
        Averaging::Values => value.into(),
    };
    let back = |mean: f64| match averaging {
        Averaging::Light => value(mean),
        Averaging::Values => mean,
    };
    let (width, height) = (size.width as usize, size.height as usize);
    let lights: Vec<f64> = (0..=u8::MAX).map(forth).collect();
    let mut means = Vec::new();
    for top in (0..height).step_by(by) {
        for left in (0..width).step_by(by) {
            for channel in 0..*channels {
                let (rows, columns) = (top..height.min(top + by), left..width.min(left + by));
                let count = (rows.len() * columns.len()) as f64;
                let at = |x, y| lights[usize::from(pixels[(y * width + x) * channels + channel])];
                let sum: f64 = rows.flat_map(|y| columns.clone().map(move |x| at(x, y))).sum();
                means.push(back(sum / count));
            }
        }
    }
    means
}

/// The mean and the largest difference between `found` and the exact means.
fn differences(exact: &[f64], found: &[u8]) -> (f64, f64) {
    assert_eq!(exact.len(), found.len());
    let difference = |(exact, found): (&f64, &u8)| (exact - f64::from(*found)).abs();
    let all: Vec<f64> = exact.iter().zip(found).map(difference).collect();
    (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(0.0, f64::max))
}

fn check(name: &str, file: &[u8], layout: Layout) {
    use Averaging::{Light, Values};
    let exact = whole(file, SIZE).unwrap();
    for (by, averaging) in [2, 4, 8].into_iter().flat_map(|by| [(by, Light), (by, Values)]) {
        let small = reduced::decode(file, SIZE, 8 / by, averaging, &mut Vec::new());
        let small = small.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(small.layout(), layout, "{name}");
        let side = |side: u32| side.div_ceil(by as u32);
        assert_eq!(small.size(), Size { width: side(SIZE.width), height: side(SIZE.height) });
        let (mean, worst) = differences(&means(&exact, SIZE, by, averaging), small.data());
        assert!(mean < 1.5, "{name} by {by}: {mean}");
        // Means of the other kind would be off by more than this everywhere.
        assert!(worst < 24.0, "{name} by {by}, {averaging:?}: {worst}");
    }
}

#[test]
fn a_reduced_picture_has_the_means_of_the_whole_one() {
    use SamplingFactor as Sampling;
    for sampling in [Sampling::F_1_1, Sampling::F_2_2, Sampling::F_2_1, Sampling::F_1_2] {
        let file = encoded(ColorType::Rgb, |encoder| encoder.set_sampling_factor(sampling));
        check(&format!("{sampling:?}"), &file, Layout::Rgb);
    }
    check("gray", &encoded(ColorType::Luma, |_| {}), Layout::Gray);
    let restarts = encoded(ColorType::Rgb, |encoder| encoder.set_restart_interval(3));
    check("restarts", &restarts, Layout::Rgb);
}

#[test]
fn other_kinds_are_left_to_the_full_decoder() {
    let none =
        |file: &[u8]| reduced::decode(file, SIZE, 2, Averaging::Light, &mut Vec::new()).is_none();
    assert!(none(&encoded(ColorType::Rgb, |encoder| encoder.set_progressive(true))));
    assert!(none(&encoded(ColorType::Cmyk, |_| {})));
    // Its scans hold one component each.
    assert!(none(&encoded(ColorType::Rgb, |encoder| encoder.set_optimized_huffman_tables(true))));
    assert!(none(&encoded(ColorType::Ycbcr, |encoder| {
        encoder.add_app_segment(14, b"Adobe\0\x64\0\0\0\0\0".to_vec()).unwrap();
    })));
    let file = encoded(ColorType::Rgb, |_| {});
    assert!(!none(&file));
    assert!(none(&file[..file.len() / 2]), "cut short");
}

#[test]
fn damage_is_no_panic() {
    let mut seed = 1u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let whole = encoded(ColorType::Rgb, |encoder| encoder.set_restart_interval(4));
    for round in 0..2_000 {
        let mut damaged = whole.clone();
        for _ in 0..=round % 5 {
            let reach = if round % 2 == 0 { whole.len() } else { 640 };
            damaged[random(reach)] = random(256) as u8;
        }
        for n in [1, 2, 4] {
            reduced::decode(&damaged, SIZE, n, Averaging::Light, &mut Vec::new());
        }
    }
}
