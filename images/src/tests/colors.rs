use moxcms::ColorProfile;

use super::photos::photo;
use super::*;

#[test]
fn transparency_is_white_in_jpeg() {
    let rgba = make::pixels(32, 32, |x, _| if x < 16 { [0, 0, 0, 0] } else { [200, 0, 0, 255] });
    let source = make::png(32, 32, png::ColorType::Rgba, &rgba);
    let picture = Decoded::of(&run(&source, "95q.jpg").unwrap());
    assert!(is_near(picture.pixel(2, 16), [255; 3], 4), "{:?}", picture.pixel(2, 16));
    assert!(is_near(picture.pixel(29, 16), [200, 0, 0], 8), "{:?}", picture.pixel(29, 16));
}

#[test]
fn transparency_stays_in_png_and_webp() {
    let rgba = make::pixels(64, 64, |x, y| [200, 40, 0, if (x + y) % 2 == 0 { 255 } else { 0 }]);
    let source = make::png(64, 64, png::ColorType::Rgba, &rgba);
    for suffix in ["16w.png", "16w.webp"] {
        let picture = Decoded::of(&run(&source, suffix).unwrap());
        assert_eq!(picture.channels, 4, "{suffix}");
        let pixel = picture.pixel(8, 8);
        assert!(pixel[3].abs_diff(128) <= 6, "{suffix}: {pixel:?}");
        assert!(is_near(pixel, [200, 40, 0], 12), "colour of the opaque half: {suffix} {pixel:?}");
    }
}

#[test]
fn an_alpha_that_hides_nothing_is_dropped() {
    let rgba = make::pixels(8, 8, |x, y| [(x * 30) as u8, (y * 30) as u8, 0, 255]);
    let source = make::png(8, 8, png::ColorType::Rgba, &rgba);
    assert_eq!(Decoded::of(&run(&source, "").unwrap()).channels, 3);
}

#[test]
fn gray_stays_gray() {
    let gray = make::pixels(64, 32, |x, _| [(x * 4) as u8]);
    let jpeg = make::jpeg(64, 32, jpeg_encoder::ColorType::Luma, &gray);
    let png = make::png(64, 32, png::ColorType::Grayscale, &gray);
    for source in [jpeg, png] {
        for suffix in ["32w.jpg", "32w.png"] {
            let picture = Decoded::of(&run(&source, suffix).unwrap());
            assert_eq!(picture.channels, if suffix.ends_with("png") { 1 } else { 3 });
            assert!(is_near(picture.pixel(16, 8), [130; 3], 6), "{:?}", picture.pixel(16, 8));
        }
        assert!(is_near(Decoded::of(&run(&source, ".webp").unwrap()).pixel(32, 16), [128; 3], 6));
    }
    let gray_alpha = make::pixels(8, 8, |x, _| [90, if x < 4 { 255 } else { 0 }]);
    let source = make::png(8, 8, png::ColorType::GrayscaleAlpha, &gray_alpha);
    assert_eq!(Decoded::of(&run(&source, "").unwrap()).pixel(1, 1), [90, 255]);
    assert!(is_near(Decoded::of(&run(&source, "95q.jpg").unwrap()).pixel(7, 0), [255; 3], 6));
}

#[test]
fn cmyk_becomes_rgb() {
    use jpeg_encoder::ColorType::{Cmyk, CmykAsYcck};
    // Full cyan, no other ink.
    let cmyk = make::pixels(32, 32, |_, _| [255, 0, 0, 0]);
    for color in [Cmyk, CmykAsYcck] {
        let source = make::jpeg(32, 32, color, &cmyk);
        let picture = Decoded::of(&run(&source, "16w.png").unwrap());
        let pixel = picture.pixel(8, 8);
        assert!(is_near(pixel, [0, 255, 255], 8), "{color:?}: {pixel:?}");
    }
}

#[test]
fn a_jpeg_may_hold_rgb_as_it_is() {
    // The encoder takes this for YCbCr and leaves it as it is; Adobe's marker says
    // that nothing was transformed.
    let rgb = make::pixels(32, 32, |_, _| [200, 30, 60]);
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    for profile in [None, Some(p3)] {
        let source = make::jpeg_with(32, 32, jpeg_encoder::ColorType::Ycbcr, &rgb, |encoder| {
            encoder.add_app_segment(14, b"Adobe\0\x64\0\0\0\0\0".to_vec()).unwrap();
            if let Some(profile) = &profile {
                encoder.add_icc_profile(profile).unwrap();
            }
        });
        let picture = Decoded::of(&run(&source, "16w.png").unwrap());
        let red = if profile.is_some() { 218 } else { 200 };
        assert!(picture.pixel(8, 8)[0].abs_diff(red) < 6, "{red}: {:?}", picture.pixel(8, 8));
    }
}

#[test]
fn deep_and_indexed_png_are_read() {
    let deep = make::pixels(16, 16, |_, _| [0x80, 0x12, 0x40, 0x34, 0x20, 0x56]);
    let source = make::png_with(16, 16, png::ColorType::Rgb, &deep, |info| {
        info.bit_depth = png::BitDepth::Sixteen;
    });
    assert_eq!(Decoded::of(&run(&source, "").unwrap()).pixel(3, 3), [0x80, 0x40, 0x20]);

    let indices = make::pixels(16, 16, |x, _| [u8::from(x >= 8)]);
    let source = make::png_with(16, 16, png::ColorType::Indexed, &indices, |info| {
        info.palette = Some(vec![10, 20, 30, 40, 50, 60].into());
        info.trns = Some(vec![255, 0].into());
    });
    let picture = Decoded::of(&run(&source, "").unwrap());
    assert_eq!(picture.pixel(0, 0), [10, 20, 30, 255]);
    assert_eq!(picture.pixel(15, 0)[3], 0);
}

#[test]
fn gif_and_bmp_are_read() {
    let rgb = make::pixels(20, 10, |x, _| if x < 10 { [250, 0, 0] } else { [0, 0, 250] });
    let rgba = make::pixels(20, 10, |x, _| if x < 10 { [250, 0, 0, 255] } else { [0, 0, 0, 0] });
    let bmp = run(&make::bmp(20, 10, &rgb), "95q").unwrap();
    assert_eq!(bmp.format, OutputFormat::Jpeg);
    assert!(is_near(Decoded::of(&bmp).pixel(2, 5), [250, 0, 0], 8));
    let gif = run(&make::gif(20, 10, &rgba), "").unwrap();
    assert_eq!(gif.format, OutputFormat::Gif);
    assert_eq!(Decoded::of(&gif).pixel(15, 5)[3], 0);
}

#[test]
fn a_profile_is_applied_and_dropped() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let rgb = make::pixels(32, 32, |_, _| [200, 60, 60]);
    let jpeg = make::jpeg_with(32, 32, jpeg_encoder::ColorType::Rgb, &rgb, |encoder| {
        encoder.add_icc_profile(&p3).unwrap();
    });
    let png = make::png_with(32, 32, png::ColorType::Rgb, &rgb, |info| {
        info.icc_profile = Some(p3.clone().into());
    });
    for source in [jpeg, png] {
        let output = run(&source, ".png").unwrap();
        assert!(!output.bytes.windows(4).any(|window| window == b"iCCP"));
        let picture = Decoded::of(&output);
        let pixel = picture.pixel(16, 16);
        // The same red takes more of sRGB's red, which is paler.
        assert!(pixel[0] >= 212 && pixel[1] <= 56, "{pixel:?}");
    }
}

#[test]
fn a_gray_profile_is_applied_to_gray() {
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let gray = make::pixels(8, 8, |_, _| [55]);
    let source = make::png_with(8, 8, png::ColorType::Grayscale, &gray, |info| {
        info.icc_profile = Some(linear.into());
    });
    let picture = Decoded::of(&run(&source, "").unwrap());
    assert_eq!(picture.channels, 1);
    assert!(picture.pixel(4, 4)[0].abs_diff(128) <= 3, "{:?}", picture.pixel(4, 4));
}

#[test]
fn a_profile_of_no_sense_is_passed_over() {
    let rgb = make::pixels(8, 8, |_, _| [200, 60, 60]);
    for profile in
        [Vec::new(), vec![7; 500], ColorProfile::new_gray_with_gamma(1.0).encode().unwrap()]
    {
        let source = make::png_with(8, 8, png::ColorType::Rgb, &rgb, |info| {
            info.icc_profile = Some(profile.clone().into());
        });
        assert_eq!(Decoded::of(&run(&source, "").unwrap()).pixel(4, 4), [200, 60, 60]);
    }
}

#[test]
fn the_mean_colour_is_told() {
    let json = |source: &[u8], suffix: &str| {
        let output = run(source, suffix).unwrap();
        assert_eq!(output.format.content_type(), "application/json");
        String::from_utf8(output.bytes).unwrap()
    };
    let solid = make::pixels(40, 30, |_, _| [0x7d, 0x6f, 0x6c]);
    let solid = make::png(40, 30, png::ColorType::Rgb, &solid);
    for suffix in [".avg_color", "10w.AVG_COLOR", "5w_5h_1c.avg_color"] {
        assert_eq!(json(&solid, suffix), r##"{"RGB":"#7d6f6c"}"##);
    }
    let nothing = make::png(4, 4, png::ColorType::Rgba, &[0; 64]);
    assert_eq!(json(&nothing, ".avg_color"), r##"{"RGB":"#ffffff"}"##);
    let halves = make::pixels(2, 1, |x, _| if x == 0 { [0, 0, 0, 0] } else { [9, 8, 7, 128] });
    let halves = make::png(2, 1, png::ColorType::Rgba, &halves);
    assert_eq!(json(&halves, ".avg_color"), r##"{"RGB":"#090807"}"##);
    assert_eq!(json(&photo("chelsea.png"), "100w.avg_color").len(), 17);
}

/// Such files are what encoders write with tables made for the picture, ours among them; a decoder
/// that mistakes their planes for each other says nothing of it.
#[test]
fn a_scan_for_each_component_keeps_its_colours() {
    let (width, height) = (150u32, 101u32);
    let color = |x: u32, y: u32| [(x * 255 / width) as u8, (y * 255 / height) as u8, 90];
    let pixels: Vec<u8> =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| color(x, y))).collect();
    let source = make::png(width, height, png::ColorType::Rgb, &pixels);
    for suffix in ["85q.jpg", "60q.jpg", "95q.jpg", "85q_progressive.jpg"] {
        let jpeg = run(&source, suffix).unwrap();
        let probe = Probe::read(&jpeg.bytes).unwrap();
        for again in [".png", "75w.png", "18w.png"] {
            let small = Decoded::of(&run(&jpeg.bytes, again).unwrap());
            let expected = Decoded::of(&run(&source, again).unwrap());
            let apart: f64 = std::iter::zip(&small.data, &expected.data)
                .map(|(a, b)| f64::from(a.abs_diff(*b)))
                .sum();
            let mean = apart / expected.data.len() as f64;
            assert!(mean < 4.0, "{suffix} of {} scans, then {again}: {mean}", probe.scans);
        }
    }
    let ours = Probe::read(&run(&source, "85q.jpg").unwrap().bytes).unwrap();
    assert_eq!((ours.scans, ours.is_progressive), (3, false), "what this test is about");
}

/// Half of the light is 188 of 255, and half of the value 128.
#[test]
fn a_reduction_averages_what_the_operator_says() {
    let (width, height) = (512, 384);
    let gray = make::pixels(width, height, |x, y| [if (x + y) % 2 == 0 { 255 } else { 0 }]);
    let color = make::pixels(width, height, |x, y| [if (x + y) % 2 == 0 { 255 } else { 0 }; 3]);
    let mut webp = Vec::new();
    image_webp::WebPEncoder::new(&mut webp)
        .encode(&color, width, height, image_webp::ColorType::Rgb8)
        .unwrap();
    let of_light = Settings::default();
    let of_values = Settings { averaging: Averaging::Values, ..of_light };
    for (name, source) in [
        ("jpeg", make::jpeg(512, 384, jpeg_encoder::ColorType::Luma, &gray)),
        ("png", make::png(width, height, png::ColorType::Rgb, &color)),
        ("gray png", make::png(width, height, png::ColorType::Grayscale, &gray)),
        ("bmp", make::bmp(width, height, &color)),
        ("webp", webp),
    ] {
        // By the filter alone, and by what comes before it as well.
        for suffix in ["200w.png", "100w.png", "30w.png", "7w_30h_2e.png"] {
            for (settings, expected) in [(&of_light, 188), (&of_values, 128)] {
                let picture = Decoded::of(&run_with(&source, suffix, settings).unwrap());
                let pixel = picture.pixel(picture.width / 2, picture.height / 2);
                let is_gray = pixel.iter().all(|value| value.abs_diff(expected) <= 4);
                assert!(is_gray, "{name} {suffix}: {pixel:?} for {expected}");
            }
        }
    }
}

#[test]
fn frames_are_reduced_as_stills_are() {
    let rgba = make::pixels(64, 64, |x, y| {
        let value = if (x + y) % 2 == 0 { 255 } else { 0 };
        [value, value, value, 255]
    });
    let mut encoder = gif::Encoder::new(Vec::new(), 64, 64, &[]).unwrap();
    for offset in [0, 4] {
        let mut pixels = rgba.clone();
        pixels.rotate_left(offset);
        encoder.write_frame(&gif::Frame::from_rgba(64, 64, &mut pixels)).unwrap();
    }
    let source = encoder.into_inner().unwrap();
    for (averaging, expected) in [(Averaging::Light, 188), (Averaging::Values, 128)] {
        let settings = Settings { averaging, ..Settings::default() };
        for suffix in ["16w.gif", "16w.png"] {
            let picture = Decoded::of(&run_with(&source, suffix, &settings).unwrap());
            let pixel = picture.pixel(8, 8);
            assert!(is_near(pixel, [expected; 3], 4), "{suffix}: {pixel:?} for {expected}");
        }
    }
}
