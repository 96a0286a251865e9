//! Any text after `@` is read or refused; what is read has one form; and no picture grows by it.
#![no_main]

use hayrick_images::{GeometryOptions, Plan, Size, Suffix};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((sides, text)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = (hayrick_images::split(text), Suffix::of_legacy_path(text));
    let Ok(suffix) = Suffix::parse(text) else { return };
    let canonical = suffix.canonical();
    let again = Suffix::parse(&canonical).expect("its own form is read");
    assert_eq!(again.canonical(), canonical);
    let [a, b, c, d, e, f, g, h] = *sides;
    let source = Size {
        width: u32::from_le_bytes([a, b, c, d]).max(1),
        height: u32::from_le_bytes([e, f, g, h]).max(1),
    };
    let options = GeometryOptions::default();
    let plan = Plan::new(source, &suffix, options);
    assert!(plan.target.pixels() > 0 && plan.target.pixels() <= source.pixels());
    assert!(plan.target.width.max(plan.target.height) <= options.max_side);
    assert!(plan.window.left + plan.window.size.width <= plan.cover.width);
    assert!(plan.window.top + plan.window.size.height <= plan.cover.height);
    assert_eq!(Plan::new(source, &again, options), plan, "one form, one plan");
});
