use super::photos::photo;
use super::*;

fn refused(source: &[u8]) -> ImageError {
    run(source, "16w.png").expect_err("a refusal")
}

fn is_undecodable(error: &ImageError) -> bool {
    matches!(error, ImageError::Undecodable { .. })
}

fn sample() -> Vec<u8> {
    make::pixels(60, 44, |x, y| [(x * 4) as u8, (y * 5) as u8, (x * y) as u8])
}

/// One small file of each kind, and of some more.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let rgb = sample();
    let rgba: Vec<u8> = rgb.chunks(3).flat_map(|p| [p[0], p[1], p[2], p[0]]).collect();
    let png = make::png(60, 44, png::ColorType::Rgba, &rgba);
    let color = jpeg_encoder::ColorType::Rgb;
    let mut lossless = Vec::new();
    image_webp::WebPEncoder::new(&mut lossless)
        .encode(&rgba, 60, 44, image_webp::ColorType::Rgba8)
        .unwrap();
    vec![
        ("jpeg", make::jpeg(60, 44, color, &rgb)),
        ("progressive", make::jpeg_with(60, 44, color, &rgb, |e| e.set_progressive(true))),
        ("webp", run(&png, ".webp").unwrap().bytes),
        ("lossless webp", lossless),
        ("gif", make::gif(60, 44, &rgba)),
        ("bmp", make::bmp(60, 44, &rgb)),
        ("animation", animations::sample()),
        ("ico", formats::sample_ico()),
        ("bitmap ico", formats::sample_bitmap_ico()),
        ("tiff", formats::sample_tiff()),
        ("interlaced png", run(&png, "progressive").unwrap().bytes),
        ("png", png),
    ]
}

#[test]
fn what_is_no_picture_is_told() {
    for source in
        [&b""[..], b"hello", b"\xff\xd8", b"RIFF\0\0\0\0WAVE", b"BM and more text to come"]
    {
        assert_eq!(refused(source), ImageError::NotAnImage);
    }
}

#[test]
fn kinds_that_are_not_read_are_named() {
    for (source, kind) in [
        (&b"\0\0\0\x20ftypheic\0\0\0\0"[..], "HEIC"),
        #[cfg(not(feature = "avif-in"))]
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        #[cfg(not(feature = "avif-in"))]
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
        (b"8BPS\0\x01", "PSD"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "SVG"),
    ] {
        assert_eq!(refused(source), ImageError::UnsupportedSource { kind });
    }
    let mut arithmetic = make::jpeg(60, 44, jpeg_encoder::ColorType::Rgb, &sample());
    let frame = arithmetic.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    arithmetic[frame + 1] = 0xc9;
    assert_eq!(
        refused(&arithmetic),
        ImageError::UnsupportedSource { kind: "arithmetic-coded JPEG" }
    );
}

#[test]
fn cut_files_are_refused() {
    let photos = ["chelsea.jpg", "chelsea.png", "rocket.jpg"].map(|name| (name, photo(name)));
    for (name, whole) in samples().into_iter().chain(photos) {
        run(&whole, "16w.png").unwrap_or_else(|error| panic!("{name}: {error}"));
        for tenth in 1..10 {
            let cut = &whole[..whole.len() * tenth / 10];
            let error = run(cut, "16w.png").err();
            assert!(error.as_ref().is_some_and(is_undecodable), "{name} {tenth}0 %: {error:?}");
        }
    }
}

#[test]
fn damaged_files_give_a_picture_or_a_refusal() {
    let mut seed = 1u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for (name, whole) in samples() {
        for round in 0..300 {
            let mut damaged = whole.clone();
            for _ in 0..=round % 4 {
                // Headers are where damage tells most.
                let reach = if round % 2 == 0 { whole.len() } else { whole.len().min(200) };
                damaged[random(reach)] = random(256) as u8;
            }
            match run(&damaged, "16w.png") {
                Ok(output) => {
                    Decoded::of(&output);
                }
                Err(ImageError::Internal { reason }) => panic!("{name} {round}: {reason}"),
                Err(_) => {}
            }
        }
    }
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut file = make::png(1, 1, png::ColorType::Grayscale, &[0]);
    file[16..20].copy_from_slice(&width.swap_bytes().to_le_bytes());
    file[20..24].copy_from_slice(&height.swap_bytes().to_le_bytes());
    file
}

fn jpeg_header(width: u16, height: u16) -> Vec<u8> {
    let mut file = make::jpeg(8, 8, jpeg_encoder::ColorType::Luma, &[0; 64]);
    let frame = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&height.swap_bytes().to_le_bytes());
    file[frame + 7..frame + 9].copy_from_slice(&width.swap_bytes().to_le_bytes());
    file
}

/// A canvas of one size around a coded picture of another.
fn webp_header(canvas: u32, coded: u16) -> Vec<u8> {
    let mut body = b"WEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
    for _ in 0..2 {
        body.extend(&(canvas - 1).to_le_bytes()[..3]);
    }
    body.extend(b"VP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a");
    body.extend(coded.to_le_bytes());
    body.extend(coded.to_le_bytes());
    let mut file = b"RIFF".to_vec();
    file.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    file.extend(body);
    file
}

/// A screen of one size with a frame of another, without a pixel.
fn gif_header(screen: u16, frame: u16) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend([screen.to_le_bytes(), screen.to_le_bytes()].concat());
    file.extend(b"\0\0\0,\0\0\0\0");
    file.extend([frame.to_le_bytes(), frame.to_le_bytes()].concat());
    file.extend(b"\0\x02\0;");
    file
}

/// All of these are a few bytes long: had anything been decoded, they would have
/// been refused for having no pixels instead.
#[test]
fn bombs_are_refused_by_their_headers() {
    let side = |got| ImageError::TooLarge { what: Measure::Side, got, limit: 16_384 };
    let pixels = |got| ImageError::TooLarge { what: Measure::Pixels, got, limit: 50_000_000 };
    assert_eq!(refused(&png_header(20_000, 20_000)), side(20_000));
    assert_eq!(refused(&png_header(1, u32::MAX)), side(4_294_967_295));
    assert_eq!(refused(&png_header(10_000, 10_000)), pixels(100_000_000));
    assert_eq!(refused(&jpeg_header(65_535, 65_535)), side(65_535));
    assert_eq!(refused(&jpeg_header(16_000, 16_000)), pixels(256_000_000));
    assert_eq!(refused(&webp_header(1 << 24, 16_383)), side(1 << 24));
    assert!(is_undecodable(&refused(&webp_header(16, 16_383))), "the coded picture counts");
    assert_eq!(refused(&gif_header(65_535, 1)), side(65_535));
    assert_eq!(refused(&gif_header(1, 65_535)), pixels(65_535 * 65_535));
    let mut bmp = make::bmp(1, 1, &[0, 0, 0]);
    bmp[22..26].copy_from_slice(&(-20_000i32).to_le_bytes());
    assert_eq!(refused(&bmp), side(20_000));
    assert!(is_undecodable(&refused(&jpeg_header(0, 8))));
    assert!(is_undecodable(&refused(&png_header(8, 0))));
}

#[test]
fn limits_are_the_operators() {
    let source = photo("chelsea.png");
    let limited =
        |limits: Limits| run_with(&source, "16w", &Settings { limits, ..Settings::default() });
    let defaults = Limits::default();
    let bytes = u64::try_from(source.len()).unwrap();
    limited(Limits { max_source_bytes: bytes, max_pixels: 451 * 300, max_side: 451, ..defaults })
        .unwrap();
    assert_eq!(
        limited(Limits { max_source_bytes: bytes - 1, ..defaults }),
        Err(ImageError::TooLarge { what: Measure::Bytes, got: bytes, limit: bytes - 1 })
    );
    assert_eq!(
        limited(Limits { max_pixels: 451 * 300 - 1, ..defaults }),
        Err(ImageError::TooLarge { what: Measure::Pixels, got: 135_300, limit: 135_299 })
    );
    assert_eq!(
        limited(Limits { max_side: 450, ..defaults }),
        Err(ImageError::TooLarge { what: Measure::Side, got: 451, limit: 450 })
    );
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let whole = samples().remove(1).1;
    let scan = whole.windows(2).rposition(|marker| marker == [0xff, 0xda]).unwrap();
    let (head, tail) = whole.split_at(scan);
    let scan = &tail[..tail.len() - 2];
    let mut file = head.to_vec();
    for _ in 0..5000 {
        file.extend(scan);
    }
    file.extend([0xff, 0xd9]);
    let scans = ImageError::TooLarge { what: Measure::Scans, got: 5011, limit: 100 };
    assert_eq!(refused(&file), scans);
}

#[test]
fn a_profile_that_swells_costs_nothing() {
    let rgb = make::pixels(8, 8, |_, _| [200, 60, 60]);
    let source = make::png_with(8, 8, png::ColorType::Rgb, &rgb, |info| {
        info.icc_profile = Some(vec![0; 32 * 1024 * 1024].into());
    });
    assert!(source.len() < 1024 * 1024);
    assert!(run(&source, "").is_ok_and(|output| output.bytes.len() < 1000));
}

#[test]
fn what_follows_a_picture_is_dropped() {
    let mut file = photo("chelsea.jpg");
    let clean = run(&file, "100w").unwrap();
    file.extend(b"<script>alert(1)</script>");
    assert_eq!(run(&file, "100w").unwrap(), clean);
}

#[test]
fn work_stops_between_its_stages() {
    let source = photo("chelsea.png");
    let suffix = Suffix::parse("100w").unwrap();
    for stages in 0..3 {
        let asked = std::cell::Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < stages;
        let result =
            transform(&source, &suffix, &Settings::default(), &mut Scratch::default(), &go_on);
        assert_eq!(result, Err(ImageError::Timeout), "after {stages}");
    }
}
