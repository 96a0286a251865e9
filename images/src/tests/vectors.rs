//! The documented sizes, from file to file.

use super::*;
use crate::geometry::tests::vectors;

const SOURCES: [(u32, u32); 3] = [(1920, 1080), (1080, 1920), (300, 200)];

/// Each pixel tells where it is: red from the left, green from the top. Blue is
/// texture, as photos have it.
fn ramp(width: u32, height: u32) -> Vec<u8> {
    let part = |at: u32, of: u32| (at * 255 / (of - 1)) as u8;
    let texture = |x: u32, y: u32| ((x / 4) ^ (y / 4)) as u8 & 63;
    make::pixels(width, height, |x, y| [part(x, width), part(y, height), texture(x, y)])
}

/// The corner of the source that the result starts at, in 255ths.
fn check_corner(output: &Output, plan: &Plan, name: &str) {
    let picture = Decoded::of(output);
    let rect = plan.source_rect();
    let expected =
        [rect.left / f64::from(plan.source.width), rect.top / f64::from(plan.source.height)]
            .map(|part| part * 255.0);
    for (channel, expected) in picture.pixel(0, 0).iter().zip(expected) {
        // A coarse picture's first pixel reaches far into the source, and JPEG blurs.
        let reach = 20.0 + 255.0 / f64::from(output.width.min(output.height));
        let got = f64::from(*channel);
        assert!((got - expected).abs() < reach, "{name}: {got} for {expected}");
    }
}

#[test]
fn every_documented_size_comes_out() {
    for (number, (width, height)) in SOURCES.into_iter().enumerate() {
        let rgb = ramp(width, height);
        let (w, h) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
        let png = make::png(width, height, png::ColorType::Rgb, &rgb);
        let sources = [
            ("jpeg", make::jpeg(w, h, jpeg_encoder::ColorType::Rgb, &rgb)),
            ("webp", run(&png, "90q.webp").unwrap().bytes),
            ("png", png),
        ];
        for (suffixes, expected) in vectors() {
            for suffix in suffixes {
                let size = expected[number].split(['@', '/']).next().unwrap();
                let size = size.split_once('x').unwrap();
                let size = [size.0, size.1].map(|side| side.parse::<u32>().unwrap());
                for (kind, source) in &sources {
                    let name = format!("{kind} {width}x{height} {suffix}");
                    let output =
                        run(source, suffix).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!([output.width, output.height], size, "{name}");
                    let parsed = Suffix::parse(suffix).unwrap();
                    let plan =
                        Plan::new(Size { width, height }, &parsed, GeometryOptions::default());
                    // Sequential 4:2:0 files with a scan for each component, as
                    // ours are, are misread by the decoder that tests have.
                    if output.format != OutputFormat::Jpeg {
                        check_corner(&output, &plan, &name);
                    }
                }
            }
        }
    }
}
