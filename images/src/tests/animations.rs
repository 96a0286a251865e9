use std::io::Cursor;

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use image::AnimationDecoder as _;

use super::*;

const RED: [u8; 4] = [200, 0, 0, 255];
const GREEN: [u8; 4] = [0, 200, 0, 255];
const BLUE: [u8; 4] = [0, 0, 200, 255];
const NOTHING: [u8; 4] = [0; 4];

/// A frame of one colour: where it lies, how long it is seen, what becomes of it.
struct Patch(u16, u16, u16, u16, [u8; 4], u16, DisposalMethod);

fn gif(width: u16, height: u16, repeat: Repeat, patches: &[Patch]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), width, height, &[]).unwrap();
    encoder.set_repeat(repeat).unwrap();
    for Patch(left, top, width, height, color, delay, dispose) in patches {
        let mut pixels = color.repeat(usize::from(*width) * usize::from(*height));
        encoder
            .write_frame(&Frame {
                left: *left,
                top: *top,
                delay: *delay,
                dispose: *dispose,
                ..Frame::from_rgba(*width, *height, &mut pixels)
            })
            .unwrap();
    }
    encoder.into_inner().unwrap()
}

/// Four frames: red; green on it that goes; a blue corner; nothing new.
pub(super) fn sample() -> Vec<u8> {
    use DisposalMethod::{Background, Keep, Previous};
    gif(
        40,
        40,
        Repeat::Finite(2),
        &[
            Patch(0, 0, 40, 40, RED, 10, Keep),
            Patch(0, 0, 20, 20, GREEN, 20, Previous),
            Patch(20, 20, 20, 20, BLUE, 30, Background),
            Patch(0, 0, 1, 1, RED, 40, Keep),
            Patch(5, 5, 1, 1, RED, 50, Keep),
        ],
    )
}

/// What is seen: each frame whole, and for how many milliseconds.
fn seen(output: &Output) -> Vec<(image::RgbaImage, u32)> {
    let file = Cursor::new(&output.bytes[..]);
    let frames = match output.format {
        OutputFormat::Gif => image::codecs::gif::GifDecoder::new(file).unwrap().into_frames(),
        OutputFormat::WebP => return webp_frames(&output.bytes),
        other => panic!("{other} does not move"),
    };
    let frames = frames.collect_frames().unwrap().into_iter();
    frames
        .map(|frame| {
            let (ms, per) = frame.delay().numer_denom_ms();
            (frame.into_buffer(), ms / per)
        })
        .collect()
}

fn webp_frames(bytes: &[u8]) -> Vec<(image::RgbaImage, u32)> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).unwrap();
    let (width, height) = decoder.dimensions();
    let mut frames = Vec::new();
    for _ in 0..decoder.num_frames() {
        let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
        let ms = decoder.read_frame(&mut pixels).unwrap();
        if !decoder.has_alpha() {
            pixels = pixels.chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        }
        frames.push((image::RgbaImage::from_raw(width, height, pixels).unwrap(), ms));
    }
    frames
}

fn check(image: &image::RgbaImage, expected: [[u8; 4]; 3], by: u8) {
    let (w, h) = image.dimensions();
    for ((x, y), color) in
        [(w / 4, h / 4), (3 * w / 4, h / 4), (3 * w / 4, 3 * h / 4)].into_iter().zip(expected)
    {
        let pixel = image.get_pixel(x, y).0;
        assert!(pixel[3] == color[3], "{x},{y}: {pixel:?} for {color:?}");
        assert!(
            color[3] == 0 || is_near(&pixel[..3], [color[0], color[1], color[2]], by),
            "{x},{y}: {pixel:?} for {color:?}"
        );
    }
}

#[test]
fn an_animation_goes_on_moving() {
    for (suffix, by) in [("20w", 0), ("20w.gif", 0), (".gif", 0), ("20w_95q.webp", 24)] {
        let output = run(&sample(), suffix).unwrap();
        let side = if suffix == ".gif" { 40 } else { 20 };
        assert_eq!((output.width, output.height), (side, side), "{suffix}");
        assert!(!output.animation_dropped);
        let frames = seen(&output);
        let delays: Vec<u32> = frames.iter().map(|(_, ms)| *ms).collect();
        assert_eq!(delays, [100, 200, 300, 900], "{suffix}: the last two look alike");
        check(&frames[0].0, [RED, RED, RED], by);
        check(&frames[1].0, [GREEN, RED, RED], by);
        check(&frames[2].0, [RED, RED, BLUE], by);
        check(&frames[3].0, [RED, RED, NOTHING], by);
    }
}

#[test]
fn it_is_repeated_as_often() {
    for (repeat, times) in
        [(Repeat::Infinite, 0u16), (Repeat::Finite(0), 1), (Repeat::Finite(4), 5)]
    {
        let patches = [
            Patch(0, 0, 8, 8, RED, 10, DisposalMethod::Keep),
            Patch(0, 0, 8, 8, BLUE, 10, DisposalMethod::Keep),
        ];
        let source = gif(8, 8, repeat, &patches);
        let gif = run(&source, ".gif").unwrap().bytes;
        let mut decoder = gif::DecodeOptions::new().read_info(&gif[..]).unwrap();
        decoder.next_frame_info().unwrap();
        assert_eq!(decoder.repeat(), repeat);
        let webp = run(&source, ".webp").unwrap().bytes;
        let at = webp.windows(4).position(|kind| kind == b"ANIM").unwrap();
        assert_eq!(webp[at + 12..at + 14], times.to_le_bytes());
    }
}

#[test]
fn other_formats_show_the_first_frame() {
    let source = gif(
        20,
        20,
        Repeat::Infinite,
        &[
            Patch(10, 0, 10, 20, GREEN, 10, DisposalMethod::Keep),
            Patch(0, 0, 20, 20, RED, 10, DisposalMethod::Keep),
        ],
    );
    for suffix in [".png", ".jpg", "10w.png"] {
        let output = run(&source, suffix).unwrap();
        assert!(!output.animation_dropped, "nobody asked for it");
        let picture = Decoded::of(&output);
        let (right, middle) = (picture.width - 2, picture.height / 2);
        assert!(is_near(&picture.pixel(right, middle)[..3], [0, 200, 0], 6), "{suffix}");
        let left = picture.pixel(1, middle);
        assert!(left.len() == 3 && left[0] > 250 || left[3] == 0, "{suffix}: {left:?}");
    }
}

#[test]
fn an_animation_over_the_limits_stands_still() {
    let source = sample();
    for limits in [
        Limits { max_frames: 4, ..Limits::default() },
        Limits { max_animation_pixels: 5 * 1600 - 1, ..Limits::default() },
    ] {
        let settings = Settings { limits, ..Settings::default() };
        for suffix in ["", "20w.webp"] {
            let output = run_with(&source, suffix, &settings).unwrap();
            assert!(output.animation_dropped, "{suffix}");
            assert_eq!(seen_count(&output), 1, "{suffix}");
            assert!(is_near(&Decoded::of(&output).pixel(3, 3)[..3], [200, 0, 0], 8), "{suffix}");
        }
        assert!(!run_with(&source, ".png", &settings).unwrap().animation_dropped);
    }
    let exact = Limits { max_frames: 5, max_animation_pixels: 8000, ..Limits::default() };
    let settings = Settings { limits: exact, ..Settings::default() };
    assert!(!run_with(&source, "", &settings).unwrap().animation_dropped);
}

fn seen_count(output: &Output) -> u32 {
    Probe::read(&output.bytes).unwrap().frames
}

/// Each frame has pixels in other places, and takes others away.
#[test]
fn what_is_taken_away_is_gone() {
    let patches: Vec<Patch> = (0..8)
        .map(|n| {
            Patch(
                n * 4,
                n * 4,
                12,
                12,
                [BLUE, GREEN][usize::from(n % 2)],
                5,
                DisposalMethod::Background,
            )
        })
        .collect();
    let source = gif(48, 48, Repeat::Infinite, &patches);
    let straight = seen(&Output {
        bytes: source.clone(),
        format: OutputFormat::Gif,
        width: 48,
        height: 48,
        animation_dropped: false,
    });
    let ours = seen(&run(&source, ".gif").unwrap());
    assert_eq!(straight.len(), ours.len());
    for ((expected, _), (got, _)) in straight.iter().zip(&ours) {
        for (a, b) in expected.pixels().zip(got.pixels()) {
            assert!(a.0[3] == b.0[3] && (a.0[3] == 0 || a == b), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_photo_becomes_a_gif() {
    let source = photos::photo("coffee.jpg");
    let output = run(&source, "200w.gif").unwrap();
    let exact = Decoded::of(&run(&source, "200w.png").unwrap());
    let picture = Decoded::of(&output);
    let rgb: Vec<u8> = picture.data.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let picture = Decoded { channels: 3, data: rgb, ..picture };
    assert!(picture.difference(&exact) < 5.0, "{}", picture.difference(&exact));
}

#[test]
fn work_stops_between_frames() {
    let source = sample();
    let suffix = Suffix::parse("20w").unwrap();
    let asked = std::cell::Cell::new(0);
    let go_on = || asked.replace(asked.get() + 1) < 3;
    let result = transform(&source, &suffix, &Settings::default(), &mut Scratch::default(), &go_on);
    assert_eq!((result, asked.get()), (Err(ImageError::Timeout), 4));
}

#[test]
fn headers_tell_the_frames() {
    let probe = Probe::read(&sample()).unwrap();
    assert_eq!((probe.frames, probe.has_alpha), (5, false));
    let webp = run(&sample(), ".webp").unwrap();
    assert_eq!(Probe::read(&webp.bytes).unwrap().frames, 4);
    assert_eq!(run(&webp.bytes, ".gif").map(|output| seen_count(&output)), Ok(1));
}
