//! Any bytes become a picture or a refusal that does not blame us; and what was written is read.
//!
//! What is made of a JPEG at any size, by whichever decoder, is made of it whole too.
//! The first bytes choose what is asked. AVIF is left out: it is written only, from pixels as
//! any other, and so slowly that nothing else would be tried.
#![no_main]

use hayrick_images::{
    Averaging, ImageError, Limits, Output, OutputFormat, Probe, Scratch, Settings, Suffix,
    transform,
};

const SHAPES: [&str; 12] = [
    "",
    "16w",
    "9w_7h_1c",
    "7w_9h_3c",
    "50p",
    "20w_20h_2e",
    "0o",
    "12h_1e",
    "8w",
    "4w",
    "2w",
    "5w_4h_1c",
];
const FORMATS: [&str; 8] =
    ["", ".jpg", ".png", ".webp", ".gif", ".avg_color", "_progressive.jpg", "_progressive.png"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [shape, format, source @ ..] = bytes else { return };
    let pick = |list: &[&'static str], byte: u8| list[usize::from(byte) % list.len()];
    let text = format!("{}{}", pick(&SHAPES, *shape), pick(&FORMATS, *format));
    let suffix = Suffix::parse(text.trim_start_matches('_')).expect("it is in the grammar");
    let limits = Limits {
        max_pixels: 1 << 16,
        max_side: 4096,
        max_frames: 8,
        max_animation_pixels: 1 << 17,
        ..Limits::default()
    };
    let averaging = if *format < 128 { Averaging::Light } else { Averaging::Values };
    let settings = Settings { limits, averaging, webp_method: 0, ..Settings::default() };
    let make =
        |suffix: &Suffix| transform(source, suffix, &settings, &mut Scratch::default(), &|| true);
    match make(&suffix) {
        Ok(output) => {
            check(&output);
            if source.starts_with(b"\xff\xd8") {
                let whole = make(&Suffix::parse(".jpg").expect("it is in the grammar"));
                assert!(whole.is_ok(), "made small only: {whole:?}");
            }
        }
        Err(ImageError::Internal { reason }) => panic!("our fault: {reason}"),
        Err(_) => {}
    }
});

fn check(output: &Output) {
    if output.format == OutputFormat::AvgColor {
        assert_eq!(output.bytes.len(), 17);
        return;
    }
    let probe = Probe::read(&output.bytes).expect("what we write has headers");
    assert_eq!((probe.size.width, probe.size.height), (output.width, output.height));
    assert!(!probe.has_icc());
}
