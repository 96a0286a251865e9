use super::*;

pub(super) const WIDTH: u32 = 48;
pub(super) const HEIGHT: u32 = 32;
pub(super) const RED: [u8; 3] = [200, 30, 30];
pub(super) const GREEN: [u8; 3] = [30, 200, 30];
pub(super) const BLUE: [u8; 3] = [30, 30, 200];
pub(super) const GRAY: [u8; 3] = [120, 120, 120];

/// Red top left, green top right, blue bottom left, gray bottom right.
pub(super) fn upright(x: u32, y: u32) -> [u8; 3] {
    match (x < WIDTH / 2, y < HEIGHT / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => GRAY,
    }
}

/// The stored pixels, by the words of the EXIF standard: which visual side the
/// first row is, and which the first column.
fn stored(orientation: u8) -> (u32, u32, Vec<u8>) {
    let (width, height) = if orientation < 5 { (WIDTH, HEIGHT) } else { (HEIGHT, WIDTH) };
    let from_right = |n| WIDTH - 1 - n;
    let from_bottom = |n| HEIGHT - 1 - n;
    let pixels = make::pixels(width, height, |column, row| match orientation {
        1 => upright(column, row),
        2 => upright(from_right(column), row),
        3 => upright(from_right(column), from_bottom(row)),
        4 => upright(column, from_bottom(row)),
        5 => upright(row, column),
        6 => upright(from_right(row), column),
        7 => upright(from_right(row), from_bottom(column)),
        8 => upright(row, from_bottom(column)),
        _ => unreachable!(),
    });
    (width, height, pixels)
}

fn jpeg(orientation: u8) -> Vec<u8> {
    let (width, height, pixels) = stored(orientation);
    let (width, height) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
    make::jpeg_with(width, height, jpeg_encoder::ColorType::Rgb, &pixels, |encoder| {
        encoder.add_exif_metadata(&make::exif(orientation)).unwrap();
    })
}

fn png(orientation: u8) -> Vec<u8> {
    let (width, height, pixels) = stored(orientation);
    make::png_with(width, height, png::ColorType::Rgb, &pixels, |info| {
        info.exif_metadata = Some(make::exif(orientation).into());
    })
}

fn check_corners(output: &Output) {
    let picture = Decoded::of(output);
    let (right, bottom) = (picture.width - 1, picture.height - 1);
    for (x, y, color) in [(0, 0, RED), (right, 0, GREEN), (0, bottom, BLUE), (right, bottom, GRAY)]
    {
        assert!(is_near(picture.pixel(x, y), color, 12), "{x},{y}: {:?}", picture.pixel(x, y));
    }
}

#[test]
fn every_orientation_is_turned_upright() {
    for orientation in 1..=8 {
        for source in [jpeg(orientation), png(orientation)] {
            let whole = run(&source, ".png").unwrap();
            assert_eq!((whole.width, whole.height), (WIDTH, HEIGHT), "{orientation}");
            check_corners(&whole);
            let small = run(&source, "12w.png").unwrap();
            assert_eq!((small.width, small.height), (12, 8), "{orientation}");
            check_corners(&small);
        }
    }
}

#[test]
fn a_crop_keeps_the_corner_that_one_sees() {
    for orientation in 1..=8 {
        for source in [jpeg(orientation), png(orientation)] {
            // Half as wide as the picture is high: only the left, only the right half.
            for (suffix, top, bottom) in
                [("4w_8h_2c.png", RED, BLUE), ("4w_8h_3c.png", GREEN, GRAY)]
            {
                let picture = Decoded::of(&run(&source, suffix).unwrap());
                assert_eq!((picture.width, picture.height), (4, 8));
                assert!(is_near(picture.pixel(1, 1), top, 12), "{orientation} {suffix}");
                assert!(is_near(picture.pixel(1, 6), bottom, 12), "{orientation} {suffix}");
            }
        }
    }
}

#[test]
fn a_picture_may_be_left_as_stored() {
    for orientation in 1..=8 {
        let output = run(&jpeg(orientation), "24w_0o").unwrap();
        let expected = if orientation < 5 { (24, 16) } else { (24, 36) };
        assert_eq!((output.width, output.height), expected);
    }
}

#[test]
fn the_result_says_nothing_of_orientation() {
    for suffix in [".jpg", ".png", ".webp"] {
        let output = run(&jpeg(6), suffix).unwrap();
        assert!(!output.bytes.windows(4).any(|window| window.eq_ignore_ascii_case(b"exif")));
        let again = run(&output.bytes, ".png").unwrap();
        assert_eq!((again.width, again.height), (WIDTH, HEIGHT));
        check_corners(&again);
    }
}

#[test]
fn webp_may_carry_an_orientation() {
    let (width, height, pixels) = stored(6);
    let mut file = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.set_exif_metadata(make::exif(6));
    encoder.encode(&pixels, width, height, image_webp::ColorType::Rgb8).unwrap();
    let output = run(&file, ".png").unwrap();
    assert_eq!((output.width, output.height), (WIDTH, HEIGHT));
    check_corners(&output);
}
