//! Any bytes have headers that make sense, or none.
#![no_main]

use hayrick_images::{Averaging, GeometryOptions, Limits, Plan, Probe, Suffix};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(probe) = Probe::read(bytes) else { return };
    assert!(probe.size.pixels() > 0 && probe.frames > 0 && probe.scans > 0);
    assert_eq!(probe.upright_size().pixels(), probe.size.pixels());
    let _ = Limits::default().check(&probe);
    let plan = Plan::new(probe.upright_size(), &Suffix::default(), GeometryOptions::default());
    for output in hayrick_images::OutputFormat::ALL {
        for averaging in [Averaging::Light, Averaging::Values] {
            let still = probe.memory_bytes(&plan, output, averaging);
            assert!(still <= probe.animation_bytes(&plan, output, averaging));
        }
    }
});
