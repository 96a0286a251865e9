//! Files that ask for more than they are worth are refused within 50 ms and 50 MB,
//! and nothing takes more memory than was foretold.
#![expect(unsafe_code, reason = "an allocator that counts is still an allocator")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, outside of them")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use hayrick_images::{
    Averaging, GeometryOptions, ImageError, Limits, Measure, Output, Plan, Probe, Scratch,
    Settings, Suffix, transform,
};

/// What a refusal may cost.
const TIME: Duration = Duration::from_millis(50);
const MEMORY_BYTES: usize = 50_000_000;
/// Tests run unoptimised, many at a time, on machines that do other things.
const SLOW: u32 = 10;

thread_local! {
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(taken: usize, given_back: usize) {
    let (held, most) = HELD.get();
    let held = held.saturating_add(taken).saturating_sub(given_back);
    HELD.set((held, most.max(held)));
}

// SAFETY: every call is handed on to the system's allocator as it came. Counting
// touches a constant-initialised thread local without a destructor, which does not
// allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while one is copied to the other.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What came of some work, how long it took, and how many bytes it held at most.
struct Cost<T> {
    result: T,
    time: Duration,
    memory_bytes: usize,
}

fn cost<T>(work: impl FnOnce() -> T) -> Cost<T> {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let start = Instant::now();
    let result = work();
    Cost { result, time: start.elapsed(), memory_bytes: HELD.get().1 - before }
}

fn make(source: &[u8], suffix: &str) -> Result<Output, ImageError> {
    make_by(source, suffix, Averaging::Light)
}

fn make_by(source: &[u8], suffix: &str, averaging: Averaging) -> Result<Output, ImageError> {
    let suffix = Suffix::parse(suffix).unwrap();
    let limits = Limits { max_source_bytes: 1 << 30, ..Limits::default() };
    let settings = Settings { limits, averaging, ..Settings::default() };
    transform(source, &suffix, &settings, &mut Scratch::default(), &|| true)
}

fn cheap(name: &str, source: &[u8], suffix: &str) -> Result<Output, ImageError> {
    let Cost { result, time, memory_bytes } = cost(|| make(source, suffix));
    println!("{name}: {time:?}, {memory_bytes} bytes of memory, {} of file", source.len());
    assert!(time < TIME * SLOW, "{name}: {time:?}");
    assert!(memory_bytes < MEMORY_BYTES, "{name}: {memory_bytes} bytes");
    result
}

fn check_refused(name: &str, source: &[u8], expected: Measure) {
    match cheap(name, source, "16w.png") {
        Err(ImageError::TooLarge { what, .. }) => assert_eq!(what, expected, "{name}"),
        other => panic!("{name}: {other:?}"),
    }
}

fn be32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().swap_bytes().to_le_bytes()
}

fn jpeg(adjust: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 90);
    adjust(&mut encoder);
    encoder.encode(&[90; 64 * 64], 64, 64, jpeg_encoder::ColorType::Luma).unwrap();
    file
}

fn png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().unwrap();
    let bits = color.samples() * depth as usize * width as usize;
    writer.write_image_data(&vec![0; bits.div_ceil(8) * height as usize]).unwrap();
    writer.finish().unwrap();
    file
}

/// A chunk of that many zeros after a PNG's header.
fn with_chunk(png: &[u8], kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let (head, tail) = png.split_at(33);
    let mut crc = flate2::Crc::new();
    crc.update(&kind);
    crc.update(body);
    [head, &be32(body.len()), &kind, body, &be32(crc.sum() as usize), tail].concat()
}

#[test]
fn a_flood_of_pixels_is_refused() {
    let png = png(20_000, 20_000, png::ColorType::Grayscale, png::BitDepth::One);
    check_refused("20000x20000 PNG", &png, Measure::Side);
    let mut jpeg = jpeg(|_| ());
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    check_refused("65535x65535 JPEG", &jpeg, Measure::Side);
}

#[test]
fn endless_scans_are_refused() {
    let whole = jpeg(|encoder| encoder.set_progressive(true));
    let scan = whole.windows(2).rposition(|marker| marker == [0xff, 0xda]).unwrap();
    let mut file = whole[..scan].to_vec();
    for _ in 0..5000 {
        file.extend(&whole[scan..whole.len() - 2]);
    }
    file.extend([0xff, 0xd9]);
    check_refused("5000 scans", &file, Measure::Scans);
}

/// Its first frame is shown, and nothing else of it is decoded.
#[test]
fn an_endless_animation_stands_still() {
    let mut encoder = gif::Encoder::new(Vec::new(), 400, 400, &[]).unwrap();
    let frame = gif::Frame::from_palette_pixels(400, 400, vec![0; 160_000], vec![1, 2, 3], None);
    for _ in 0..10_000 {
        encoder.write_frame(&frame).unwrap();
    }
    let file = encoder.into_inner().unwrap();
    assert_eq!(Probe::read(&file).unwrap().frames, 10_000);
    for suffix in ["16w", "16w.webp", "16w.png"] {
        let output = cheap("10000 frames", &file, suffix).unwrap();
        assert_eq!(output.animation_dropped, suffix != "16w.png");
        assert_eq!(Probe::read(&output.bytes).unwrap().frames, 1);
    }
}

#[test]
fn a_huge_profile_is_refused() {
    const HUGE: usize = 100_000_000;
    let small = png(64, 64, png::ColorType::Rgb, png::BitDepth::Eight);
    let profile = [&b"icc\0\0"[..], &vec![7; HUGE]].concat();
    let file = with_chunk(&small, *b"iCCP", &profile);
    check_refused("100 MB profile in PNG", &file, Measure::IccBytes);

    let part = vec![7; 65_000];
    let numbers = (1..=u8::MAX).cycle().take(HUGE / 65_000);
    let parts = numbers.map(|number| [b"ICC_PROFILE\0", &[number, 255][..], &part].concat());
    let file = with_segments(0xe2, parts);
    check_refused("100 MB profile in JPEG", &file, Measure::IccBytes);

    let still = make(&small, ".webp").unwrap().bytes;
    let mut body = b"WEBPVP8X\x0a\0\0\0\x20\0\0\0\x3f\0\0\x3f\0\0ICCP".to_vec();
    body.extend(u32::try_from(HUGE).unwrap().to_le_bytes());
    body.resize(body.len() + HUGE, 7);
    body.extend(&still[12..]);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let file = [&b"RIFF"[..], &length, &body].concat();
    check_refused("100 MB profile in WebP", &file, Measure::IccBytes);
}

/// A JPEG with these bytes behind its first marker.
fn with_bytes(bytes: &[u8]) -> Vec<u8> {
    let whole = jpeg(|_| ());
    let (start, rest) = whole.split_at(2);
    [start, bytes, rest].concat()
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = be32(body.len() + 2);
    [&[0xff, marker], length.get(2..).unwrap(), body].concat()
}

fn with_segments(marker: u8, bodies: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    with_bytes(&bodies.flat_map(|body| segment(marker, &body)).collect::<Vec<u8>>())
}

/// One of so many parts of a description, none of which is the first.
fn part_of_xmp(number: usize, bytes: usize) -> Vec<u8> {
    let mut body = b"http://ns.adobe.com/xmp/extension/\0".to_vec();
    body.extend([b'7'; 32]);
    body.extend(be32(1 << 30));
    body.extend(be32(1 + number * bytes));
    body.resize(body.len() + bytes, b' ');
    body
}

/// The decoder looks at all parts of a description again with each that it finds, and
/// makes a table of some kilobytes of each that stands in seventeen bytes.
#[test]
fn a_flood_of_segments_is_refused() {
    let parts = with_segments(0xe1, (0..200_000).map(|number| part_of_xmp(number, 1)));
    let tables = with_segments(0xc4, (0..300).map(|_| [0; 17].repeat(3800)));
    for (name, file) in [("200000 parts", parts), ("1140000 tables", tables)] {
        let error = cheap(name, &file, "16w.png").unwrap_err();
        assert!(matches!(error, ImageError::Undecodable { .. }), "{name}: {error}");
    }
    let parts = with_segments(0xe1, (0..4000).map(|number| part_of_xmp(number, 1)));
    assert!(cheap("4000 parts", &parts, "16w.png").is_ok());
}

/// What is one segment to those who pass over what precedes it is many to a decoder that
/// counts those bytes otherwise.
#[test]
fn no_segments_hide_in_others() {
    let chunk = |chunk: usize| {
        let parts = (chunk * 800..).take(800).flat_map(|n| segment(0xe1, &part_of_xmp(n, 1)));
        segment(0xef, &parts.collect::<Vec<u8>>())
    };
    for (name, before) in [
        ("160000 parts behind restarts", &[0xff, 0xd0, 0, 6][..]),
        ("160000 parts behind short segments", &[0xff, 0xe0, 0, 6, 0, 0, 0, 0]),
    ] {
        let hidden = (0..200).flat_map(|number| [before, &chunk(number)].concat());
        let file = with_bytes(&hidden.collect::<Vec<u8>>());
        let error = cheap(name, &file, "16w.png").unwrap_err();
        assert!(matches!(error, ImageError::Undecodable { .. }), "{name}: {error}");
    }
}

/// What is packed small is not unpacked far, and the picture is made without it.
#[test]
fn a_profile_that_swells_is_passed_over() {
    use std::io::Write as _;
    let small = png(64, 64, png::ColorType::Rgb, png::BitDepth::Eight);
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&vec![0; 100_000_000]).unwrap();
    let profile = [&b"icc\0\0"[..], &packed.finish().unwrap()].concat();
    let file = with_chunk(&small, *b"iCCP", &profile);
    assert!(cheap("packed profile", &file, "16w.png").is_ok());
}

fn photo(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/photos/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// What the codecs in C take is not seen here.
#[test]
fn no_picture_takes_more_memory_than_foretold() {
    let large = photo("astronaut_4000x3000.jpg");
    let middle = photo("retina.jpg");
    let as_png = make(&middle, ".png").unwrap().bytes;
    let translucent = png(2500, 2000, png::ColorType::Rgba, png::BitDepth::Eight);
    let sources = [
        ("jpeg", large),
        ("progressive jpeg", make(&middle, "progressive").unwrap().bytes),
        ("png", as_png),
        ("png with alpha", translucent),
        ("deep png", png(2500, 2000, png::ColorType::Rgb, png::BitDepth::Sixteen)),
        ("webp", make(&middle, ".webp").unwrap().bytes),
        ("small jpeg", photo("chelsea.jpg")),
        ("described jpeg", with_segments(0xe1, (0..300).map(|n| part_of_xmp(n, 60_000)))),
        ("jpeg of restarts", {
            let mut file = jpeg(|_| ());
            file.truncate(file.len() - 2);
            file.extend([0xff, 0xd0].repeat(9_000_000));
            file.extend([0xff, 0xd9]);
            file
        }),
    ];
    for (name, source) in &sources {
        let probe = Probe::read(source).unwrap();
        for suffix in ["", "95q.jpg", "progressive.jpg", ".png", ".webp", "50p.jpg", "400w.webp"] {
            let parsed = Suffix::parse(suffix).unwrap();
            let plan = Plan::new(probe.upright_size(), &parsed, GeometryOptions::default());
            let format = parsed.format.unwrap_or(probe.format.default_output(true));
            for averaging in [Averaging::Light, Averaging::Values] {
                let foretold = probe.memory_bytes(&plan, format, averaging);
                let Cost { result, memory_bytes, .. } = cost(|| make_by(source, suffix, averaging));
                assert_eq!(result.unwrap().format, format);
                let told = format!("{name} {suffix} {averaging:?}: {memory_bytes} of {foretold}");
                println!("{told}");
                assert!(memory_bytes as u64 <= foretold, "{told}");
                assert!(foretold < 300_000_000, "{told}");
            }
        }
    }
}

#[test]
fn no_animation_takes_more_memory_than_foretold() {
    let mut encoder = gif::Encoder::new(Vec::new(), 800, 600, &[]).unwrap();
    for number in 0..12u8 {
        let pixels: Vec<u8> = (0..800 * 600u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ number)
            .collect();
        let palette = (0..32u8).flat_map(|n| [n * 8, 255 - n * 8, number * 20]).collect::<Vec<_>>();
        let pixels = pixels.into_iter().map(|index| index % 32).collect::<Vec<_>>();
        let mut frame = gif::Frame::from_palette_pixels(800, 600, pixels, palette, None);
        frame.dispose = gif::DisposalMethod::Previous;
        encoder.write_frame(&frame).unwrap();
    }
    let source = encoder.into_inner().unwrap();
    let probe = Probe::read(&source).unwrap();
    for suffix in ["", "300w.gif", "300w.webp", "300w.png"] {
        let parsed = Suffix::parse(suffix).unwrap();
        let plan = Plan::new(probe.upright_size(), &parsed, GeometryOptions::default());
        let format = parsed.format.unwrap_or(probe.format.default_output(true));
        let foretold = probe.animation_bytes(&plan, format, Averaging::Light);
        let Cost { result, memory_bytes, time } = cost(|| make(&source, suffix));
        assert_eq!(Probe::read(&result.unwrap().bytes).unwrap().frames > 1, suffix != "300w.png");
        println!("animation {suffix}: {memory_bytes} of {foretold} in {time:?}");
        assert!(memory_bytes as u64 <= foretold, "{suffix}: {memory_bytes} of {foretold}");
    }
}
