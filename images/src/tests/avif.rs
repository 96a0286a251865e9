//! AVIF read: what our own encoder wrote, and what files of others may hold.

mod writer;

use rav1e::prelude::{ChromaSampling, MatrixCoefficients};

use super::orientations::{BLUE, GRAY, GREEN, HEIGHT, RED, WIDTH, upright as corner};
use super::photos::photo;
use super::*;
use writer::{ALPHA, Coding, File, PLAIN, be16};

fn check_corners(name: &str, picture: &Decoded, expected: [[u8; 3]; 4], by: u8) {
    let (right, bottom) = (picture.width - 3, picture.height - 3);
    for ((x, y), color) in
        [(2, 2), (right, 2), (2, bottom), (right, bottom)].into_iter().zip(expected)
    {
        let found = picture.pixel(x, y);
        assert!(is_near(found, color, by), "{name} at {x},{y}: {found:?}, not {color:?}");
    }
}

fn decoded(file: &[u8]) -> Decoded {
    Decoded::of(&run(file, ".png").unwrap())
}

#[test]
fn what_our_encoder_wrote_is_read() {
    let source = photo("coffee.jpg");
    for suffix in ["300w_90q", "301w_99h_2e_90q"] {
        let avif = run(&source, &format!("{suffix}.avif")).unwrap();
        let plain = Decoded::of(&run(&source, &format!("{suffix}.png")).unwrap());
        assert_eq!(Probe::read(&avif.bytes).unwrap().format, SourceFormat::Avif);
        let difference = decoded(&avif.bytes).difference(&plain);
        assert!(difference < 2.5, "{suffix}: {difference}");
    }
}

#[test]
fn alpha_that_our_encoder_wrote_is_read() {
    let rgba = make::pixels(64, 40, |x, y| [(x * 3) as u8, 90, (y * 5) as u8, 60 + (x * 3) as u8]);
    let png = make::png(64, 40, png::ColorType::Rgba, &rgba);
    let avif = run(&png, "90q.avif").unwrap().bytes;
    assert!(Probe::read(&avif).unwrap().has_alpha);
    let (found, expected) = (decoded(&avif), decoded(&png));
    assert_eq!(found.channels, 4);
    let difference = found.difference(&expected);
    assert!(difference < 2.5, "{difference}");
}

#[test]
fn an_avif_stays_one_unless_another_is_asked_for() {
    let file = File::of(PLAIN).bytes();
    assert_eq!(run(&file, "").unwrap().format, OutputFormat::Avif);
    assert_eq!(run(&file, ".jpg").unwrap().format, OutputFormat::Jpeg);
}

#[test]
fn every_coding_is_read() {
    use ChromaSampling::{Cs420, Cs422, Cs444};
    use MatrixCoefficients::{BT601, BT709, BT2020NCL, Unspecified};
    let all = [RED, GREEN, BLUE, GRAY];
    for bits in [8, 10, 12] {
        for chroma in [Cs420, Cs422, Cs444] {
            for matrix in [BT601, BT709, BT2020NCL, Unspecified] {
                for is_full in [true, false] {
                    let coding = Coding { bits, chroma, matrix, is_full };
                    let name = format!("{coding:?}");
                    check_corners(&name, &decoded(&File::of(coding).bytes()), all, 6);
                }
            }
        }
        let coding = Coding { bits, matrix: MatrixCoefficients::Identity, ..PLAIN };
        check_corners(&format!("{coding:?}"), &decoded(&File::of(coding).bytes()), all, 6);
        for is_full in [true, false] {
            let coding = Coding { bits, chroma: ChromaSampling::Cs400, is_full, ..PLAIN };
            let picture = decoded(&File::of(coding).bytes());
            assert_eq!(picture.channels, 1, "{coding:?}");
            let gray = [81, 130, 49, 120].map(|level| [level; 3]);
            check_corners(&format!("{coding:?}"), &picture, gray, 4);
        }
    }
}

/// Sides that no block divides.
#[test]
fn every_size_is_read() {
    for side in [1, 2, 3, 5, 16, 63, 64, 65, 129] {
        let coding = Coding { chroma: ChromaSampling::Cs420, ..PLAIN };
        let file = File::sized(coding, side, side + 1, |_, _| [90, 160, 40]);
        let picture = decoded(&file.bytes());
        assert_eq!((picture.width, picture.height), (side as usize, side as usize + 1));
        assert!(picture.data.chunks(3).all(|pixel| is_near(pixel, [90, 160, 40], 5)), "{side}");
    }
}

/// What a `colr` property says counts more than what the coded picture says.
#[test]
fn colours_are_told_outside() {
    let nclx = |primaries: usize, matrix: usize, full: u8| {
        [
            b"nclx".to_vec(),
            be16(primaries).to_vec(),
            be16(13).to_vec(),
            be16(matrix).to_vec(),
            vec![full],
        ]
        .concat()
    };
    let all = [RED, GREEN, BLUE, GRAY];
    let coding = Coding { matrix: MatrixCoefficients::BT709, is_full: false, ..PLAIN };
    let mut file = File::of(coding);
    // The picture itself says otherwise.
    let said = Coding { matrix: MatrixCoefficients::BT601, is_full: true, ..PLAIN };
    let first = coding.samples(RED);
    file.color = said.encode(WIDTH, HEIGHT, corner);
    assert_ne!(first, said.samples(RED));
    check_corners("by itself", &decoded(&file.bytes()), all, 6);
    let told = file.with(*b"colr", &[&nclx(1, 1, 0)], false).bytes();
    let picture = decoded(&told);
    assert!(!is_near(picture.pixel(2, 2), RED, 6), "{:?}", picture.pixel(2, 2));
    let p3 = File::of(PLAIN).with(*b"colr", &[&nclx(12, 6, 0x80)], false).bytes();
    let red = decoded(&p3).pixel(2, 2).to_vec();
    assert!(red[0] > RED[0] + 8 && red[1] < RED[1], "P3 has stronger colours: {red:?}");
    let odd = File::of(PLAIN).with(*b"colr", &[&nclx(1, 14, 0x80)], false).bytes();
    let kind = "AVIF in unusual colours";
    assert_eq!(run(&odd, ".png"), Err(ImageError::UnsupportedSource { kind }));
}

#[test]
fn a_profile_is_applied() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let file = File::of(PLAIN).with(*b"colr", &[b"prof", &profile], false).bytes();
    assert_eq!(Probe::read(&file).unwrap().icc_bytes, profile.len() as u64);
    let red = decoded(&file).pixel(2, 2).to_vec();
    assert!(red[0] > RED[0] + 8 && red[1] < RED[1], "{red:?}");
}

/// As the standard puts it: `irot` turns counter-clockwise, then `imir` exchanges top
/// and bottom, or left and right.
#[test]
fn turns_and_mirrors_are_undone() {
    let cases = [
        (None, None, [RED, GREEN, BLUE, GRAY]),
        (None, Some(1), [GREEN, RED, GRAY, BLUE]),
        (Some(2), None, [GRAY, BLUE, GREEN, RED]),
        (None, Some(0), [BLUE, GRAY, RED, GREEN]),
        (Some(1), Some(0), [RED, BLUE, GREEN, GRAY]),
        (Some(3), None, [BLUE, RED, GRAY, GREEN]),
        (Some(3), Some(0), [GRAY, GREEN, BLUE, RED]),
        (Some(1), None, [GREEN, GRAY, RED, BLUE]),
    ];
    for (number, (angle, axis, expected)) in (1..).zip(cases) {
        let mut file = File::of(PLAIN);
        if let Some(angle) = angle {
            file = file.with(*b"irot", &[&[angle]], true);
        }
        if let Some(axis) = axis {
            file = file.with(*b"imir", &[&[axis]], true);
        }
        let file = file.bytes();
        assert_eq!(Probe::read(&file).unwrap().orientation.to_exif(), number);
        let picture = decoded(&file);
        let sides = (picture.width as u32, picture.height as u32);
        assert_eq!(sides, if number < 5 { (WIDTH, HEIGHT) } else { (HEIGHT, WIDTH) });
        check_corners(&number.to_string(), &picture, expected, 6);
    }
}

#[test]
fn premultiplied_colours_are_divided() {
    let half = |x, y| corner(x, y).map(|channel| channel / 2);
    let mut file = File::sized(PLAIN, WIDTH, HEIGHT, half);
    file.alpha = Some(ALPHA.encode(WIDTH, HEIGHT, |_, _| [128; 3]));
    let all = [RED, GREEN, BLUE, GRAY];
    let plain = decoded(&file.bytes());
    check_corners("as it is", &plain, all.map(|color| color.map(|channel| channel / 2)), 6);
    assert!(plain.pixel(2, 2)[3].abs_diff(128) < 3);
    file.is_premultiplied = true;
    check_corners("divided", &decoded(&file.bytes()), all, 10);
}

/// How long the delimiter and the sequence header are, with which a picture starts.
fn sequence_bytes(coded: &[u8]) -> usize {
    assert_eq!(coded[..3], [0x12, 0, 0x0a]);
    4 + usize::from(coded[3])
}

#[test]
fn what_is_not_read_is_named() {
    let kind_of = |file: &File| match run(&file.bytes(), "16w.png") {
        Err(ImageError::UnsupportedSource { kind }) => kind,
        other => panic!("{other:?}"),
    };
    let mut grid = File::of(PLAIN);
    grid.kind = *b"grid";
    assert_eq!(kind_of(&grid), "tiled AVIF");
    let cropped = File::of(PLAIN).with(*b"clap", &[&[0; 32]], true);
    assert_eq!(kind_of(&cropped), "AVIF with further essential properties");
    let mut layered = File::of(PLAIN);
    layered.color.extend(&File::of(PLAIN).color[sequence_bytes(&File::of(PLAIN).color)..]);
    assert_eq!(kind_of(&layered), "layered AVIF");
}

/// Had anything been decoded, it would have been found to be small.
#[test]
fn a_forged_size_is_refused_by_its_header() {
    let mut file = File::of(PLAIN);
    let refused = |file: &File| run(&file.bytes(), "16w.png").unwrap_err();
    file.size = (60_000, 60_000);
    let side = ImageError::TooLarge { what: Measure::Side, got: 60_000, limit: 16_384 };
    assert_eq!(refused(&file), side);
    file.size = (10_000, 10_000);
    let pixels =
        ImageError::TooLarge { what: Measure::Pixels, got: 100_000_000, limit: 50_000_000 };
    assert_eq!(refused(&file), pixels);
    for size in [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT * 2), (8, 8), (0, 8)] {
        file.size = size;
        assert!(matches!(refused(&file), ImageError::Undecodable { .. }), "{size:?}");
    }
    let mut file = File::of(PLAIN);
    file.coding.bits = 10;
    assert!(matches!(refused(&file), ImageError::Undecodable { .. }), "another depth");
}

fn samples() -> Vec<Vec<u8>> {
    let rgba = make::pixels(60, 44, |x, y| [(x * 4) as u8, (y * 5) as u8, (x * y) as u8, x as u8]);
    let png = make::png(60, 44, png::ColorType::Rgba, &rgba);
    let deep = Coding { bits: 10, chroma: ChromaSampling::Cs420, is_full: false, ..PLAIN };
    let noisy = |x: u32, y: u32| [((x * 37) ^ (y * 91)) as u8, (x * y) as u8, (y * 5) as u8];
    vec![
        run(&png, ".avif").unwrap().bytes,
        run(&photo("coffee.jpg"), "60w.avif").unwrap().bytes,
        File::sized(deep, 130, 70, noisy).bytes(),
    ]
}

#[test]
fn cut_avifs_are_refused() {
    for whole in samples() {
        run(&whole, "16w.png").unwrap();
        for tenth in 1..10 {
            let error = run(&whole[..whole.len() * tenth / 10], "16w.png").unwrap_err();
            assert!(matches!(error, ImageError::Undecodable { .. }), "{tenth}0 %: {error:?}");
        }
    }
}

#[test]
fn damaged_avifs_give_a_picture_or_a_refusal() {
    let mut seed = 1u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let rounds = 40;
    let mut made = 0;
    for whole in samples() {
        for round in 0..rounds {
            let mut damaged = whole.clone();
            for _ in 0..=round % 4 {
                let reach = if round % 2 == 0 { whole.len() } else { whole.len().min(400) };
                damaged[random(reach)] = random(256) as u8;
            }
            match run(&damaged, "16w.png") {
                Ok(output) => {
                    Decoded::of(&output);
                    made += 1;
                }
                Err(ImageError::Internal { reason }) => panic!("{round}: {reason}"),
                Err(_) => {}
            }
        }
    }
    assert!(made > rounds / 10, "{made}: most damage is within pixels");
}
