use super::*;

pub(super) fn photo(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/photos/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

const PHOTOS: [(&str, u32, u32); 8] = [
    ("rocket.jpg", 640, 427),
    ("hubble_deep_field.jpg", 1000, 872),
    ("retina.jpg", 1411, 1411),
    ("astronaut.jpg", 512, 512),
    ("astronaut_4000x3000.jpg", 4000, 3000),
    ("chelsea.jpg", 451, 300),
    ("chelsea.png", 451, 300),
    ("coffee.jpg", 600, 400),
];

#[test]
fn headers_tell_the_size() {
    for (name, width, height) in PHOTOS {
        let probe = Probe::read(&photo(name)).unwrap();
        assert_eq!(probe.size, Size { width, height }, "{name}");
        assert_eq!(probe.orientation, Orientation::Upright, "{name}");
    }
}

#[test]
fn every_photo_becomes_every_format() {
    for (name, width, height) in PHOTOS {
        let source = photo(name);
        let expected = Plan::new(
            Size { width, height },
            &Suffix::parse("300w").unwrap(),
            GeometryOptions::default(),
        );
        let mut exact = None;
        for format in ["png", "jpg", "webp"] {
            let output = run(&source, &format!("300w_90q.{format}")).unwrap();
            assert_eq!(output.format.extension(), format);
            assert_eq!(
                Size { width: output.width, height: output.height },
                expected.target,
                "{name} to {format}"
            );
            let picture = Decoded::of(&output);
            let exact = exact.get_or_insert_with(|| Decoded::of(&output));
            let difference = picture.difference(exact);
            assert!(difference < 6.0, "{name} to {format}: {difference}");
        }
    }
}

#[test]
fn a_webp_is_no_longer_than_webp_can_be() {
    let line = make::png(16_384, 2, png::ColorType::Grayscale, &vec![99; 32_768]);
    assert_eq!(run(&line, "").unwrap().width, 16_384);
    let webp = run(&line, ".webp").unwrap();
    assert_eq!((webp.width, webp.height), (16_383, 2));
    Decoded::of(&webp);
}

#[test]
fn without_a_format_the_source_decides() {
    for (name, format) in [("chelsea.jpg", OutputFormat::Jpeg), ("chelsea.png", OutputFormat::Png)]
    {
        assert_eq!(run(&photo(name), "50w").unwrap().format, format);
    }
    let webp = run(&photo("chelsea.png"), "50w.webp").unwrap();
    assert_eq!(run(&webp.bytes, "").unwrap().format, OutputFormat::WebP);
}

/// An animation of one frame, green, in the corner of a larger canvas.
fn animation() -> Vec<u8> {
    let green = make::pixels(8, 8, |_, _| [0, 200, 0]);
    let mut still = Vec::new();
    image_webp::WebPEncoder::new(&mut still)
        .encode(&green, 8, 8, image_webp::ColorType::Rgb8)
        .unwrap();
    let picture = &still[12..];
    let mut body = b"WEBPVP8X\x0a\0\0\0\x12\0\0\0\x0f\0\0\x0f\0\0".to_vec();
    body.extend(b"ANIM\x06\0\0\0\0\0\0\0\0\0ANMF");
    body.extend(u32::try_from(16 + picture.len()).unwrap().to_le_bytes());
    body.extend(b"\0\0\0\0\0\0\x07\0\0\x07\0\0\x64\0\0\0");
    body.extend(picture);
    let mut file = b"RIFF".to_vec();
    file.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    file.extend(body);
    file
}

#[test]
fn an_animation_gives_its_first_frame() {
    let picture = Decoded::of(&run(&animation(), ".png").unwrap());
    assert_eq!((picture.width, picture.height, picture.channels), (16, 16, 4));
    assert!(is_near(picture.pixel(3, 3), [0, 200, 0], 1));
    assert_eq!(picture.pixel(3, 3)[3], 255);
    assert_eq!(picture.pixel(12, 12)[3], 0);
}

#[test]
fn quality_and_progressive_show_in_the_file() {
    let source = photo("coffee.jpg");
    for format in ["jpg", "webp"] {
        let sizes = [10, 50, 95].map(|q| {
            let output = run(&source, &format!("300w_{q}q.{format}")).unwrap();
            Decoded::of(&output);
            output.bytes.len()
        });
        assert!(sizes.is_sorted(), "{format}: {sizes:?}");
    }
    let frame = |suffix| {
        let bytes = run(&source, suffix).unwrap().bytes;
        Decoded::jpeg(&bytes);
        bytes.windows(2).find(|marker| matches!(marker, [0xff, 0xc0 | 0xc2])).unwrap()[1]
    };
    assert_eq!(frame("300w"), 0xc0);
    assert_eq!(frame("300w_progressive"), 0xc2);
}

#[test]
fn a_crop_is_the_same_part_of_the_picture() {
    let source = photo("astronaut.jpg");
    let whole = Decoded::of(&run(&source, ".png").unwrap());
    let crop = Decoded::of(&run(&source, "512w_256h_2c.png").unwrap());
    assert_eq!((crop.width, crop.height), (512, 256));
    assert_eq!(crop.data, whole.data[..crop.data.len()]);
}

#[test]
fn a_large_png_is_shrunk_as_it_is_read() {
    let source = photo("hubble_deep_field.jpg");
    let whole = run(&source, ".png").unwrap().bytes;
    for suffix in ["100w.png", "100w_40h_1c.png", "31w_77h_2e.png"] {
        let direct = Decoded::of(&run(&source, suffix).unwrap());
        let reduced = Decoded::of(&run(&whole, suffix).unwrap());
        let difference = direct.difference(&reduced);
        assert!(difference > 0.0 && difference < 2.5, "{suffix}: {difference}");
    }
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let source = photo("rocket.jpg");
    let mut scratch = Scratch::default();
    let mut make = |suffix: &str| {
        let suffix = Suffix::parse(suffix).unwrap();
        transform(&source, &suffix, &Settings::default(), &mut scratch, &|| true).unwrap()
    };
    for suffix in ["100w.jpg", "100w.png", "100w.webp"] {
        let first = make(suffix);
        make("33w_44h_1c.png");
        assert_eq!(make(suffix), first, "memory used again does not show");
    }
}

#[test]
fn an_enlargement_gives_the_picture_as_it_is() {
    let source = photo("chelsea.png");
    let whole = run(&source, "").unwrap();
    for suffix in ["3000w", "200p", "9223372036854775807w_9223372036854775807h"] {
        assert_eq!(run(&source, suffix).unwrap(), whole, "{suffix}");
    }
}
