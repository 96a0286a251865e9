//! What is decoded small, held against what the full decoder makes of the same file: near
//! its means, and refused where it is.

use proptest::prelude::*;

use super::writer::Writer;
use super::{differences, means, reduced, whole};
use crate::codec::{Decoded, Request};
use crate::error::ImageError;
use crate::geometry::Size;
use crate::light::Averaging;
use crate::probe::Probe;

const SCALES: [u32; 3] = [2, 4, 8];

/// Decodes as for a picture that may be reduced so far and no further.
fn decoded(file: &[u8], by: u32) -> Result<Decoded, ImageError> {
    let probe = Probe::read(file)?;
    let side = |side: u32| (side / (2 * by)).max(1);
    let wanted = Size { width: side(probe.size.width), height: side(probe.size.height) };
    super::super::decode(Request {
        source: file,
        probe: &probe,
        wanted,
        averaging: Averaging::Light,
        memory: Vec::new(),
    })
}

/// Whether the file is decoded small at all, and if so, that it is done well.
fn is_reduced_well(name: &str, file: &[u8], size: Size, tolerance: f64) -> bool {
    let whole = whole(file, size);
    let mut is_reduced = false;
    for by in SCALES {
        let small = reduced::decode(file, size, 8 / by as usize, Averaging::Light, &mut Vec::new());
        let Some(whole) = &whole else {
            assert!(decoded(file, by).is_err(), "{name} by {by}: only refused whole");
            continue;
        };
        assert!(decoded(file, by).is_ok(), "{name} by {by}: refused small");
        if let Some(small) = small {
            is_reduced = true;
            let (mean, worst) =
                differences(&means(whole, size, by as usize, Averaging::Light), small.data());
            assert!(mean < tolerance, "{name} by {by}: {mean}, at worst {worst}");
        }
    }
    is_reduced
}

/// Waves, those of the chromas longer, of colours that are all within sRGB.
fn waves(component: usize, x: f64, y: f64) -> f64 {
    let (scale, shift, height) =
        [(9.0, 0.0, 60.0), (23.0, 1.0, 25.0), (31.0, 2.0, 25.0)][component];
    125.0 + height * (x / scale + shift).sin() * (y / scale / 1.3 + shift).cos()
}

#[test]
fn every_sampling_of_both_chromas() {
    let mut reduced = Vec::new();
    let sides = || (1..=4).flat_map(|across| (1..=4).map(move |down| (across, down)));
    for luma in sides() {
        for chroma in sides() {
            let sampling = vec![luma, chroma, chroma];
            let writer = Writer { width: 75, height: 53, sampling, restart: 0, step: 2 };
            let size = Size { width: 75, height: 53 };
            let file = writer.write(waves);
            if is_reduced_well(&format!("{luma:?} {chroma:?}"), &file, size, 2.5) {
                reduced.push((luma, chroma));
            }
        }
    }
    for usual in [(1, 1), (2, 1), (1, 2), (2, 2)] {
        assert!(reduced.contains(&(usual, (1, 1))), "{usual:?} is left to the full decoder");
    }
}

#[test]
fn every_photo() {
    for (name, width, height) in [
        ("astronaut.jpg", 512, 512),
        ("astronaut_4000x3000.jpg", 4000, 3000),
        ("chelsea.jpg", 451, 300),
        ("coffee.jpg", 600, 400),
        ("hubble_deep_field.jpg", 1000, 872),
        ("retina.jpg", 1411, 1411),
        ("rocket.jpg", 640, 427),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/photos/");
        let file = std::fs::read(format!("{folder}{name}")).unwrap();
        assert!(is_reduced_well(name, &file, Size { width, height }, 2.5), "{name} is left");
    }
}

prop_compose! {
    fn writer()(
        width in 1..150usize,
        height in 1..150usize,
        sampling in prop_oneof![
            3 => prop::collection::vec((1..=2usize, 1..=2usize), 3),
            1 => prop::collection::vec((1..=4usize, 1..=4usize), 3),
            1 => prop::collection::vec((1..=4usize, 1..=4usize), 1),
        ],
        restart in prop_oneof![Just(0), 1..12usize],
        step in 1..24u8,
    ) -> Writer {
        Writer { width, height, sampling, restart, step }
    }
}

proptest! {
    #[test]
    fn any_valid_file(writer in writer(), grain in 0.0..20.0, seed in any::<u32>()) {
        let size = Size { width: writer.width as u32, height: writer.height as u32 };
        let file = writer.write(|component, x, y| {
            let mixed = seed ^ (x as u32).wrapping_mul(40_503) ^ (y as u32).wrapping_mul(2_654_435_761);
            let noise = f64::from(mixed.wrapping_mul(2_246_822_519) >> 16) / 65_536.0 - 0.5;
            waves(component, x, y) + if component == 0 { grain * noise } else { 0.0 }
        });
        // In a few pixels, nothing evens out.
        let tolerance = if size.width.min(size.height) < 16 { 6.0 } else { 2.5 };
        is_reduced_well(&format!("{writer:?}"), &file, size, tolerance);
    }
}

/// A plain file and where its first segment of this kind begins.
fn plain(marker: u8) -> (Vec<u8>, usize) {
    let sampling = vec![(2, 2), (1, 1), (1, 1)];
    let file = Writer { width: 96, height: 80, sampling, restart: 3, step: 4 }.write(waves);
    let at = file.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
    (file, at)
}

const SIZE: Size = Size { width: 96, height: 80 };

/// A plain file with something done to the segment of this kind, from its marker on.
fn forged(marker: u8, forge: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (file, at) = plain(marker);
    let end = at + 2 + usize::from(file[at + 3]);
    let mut segment = file[at..end].to_vec();
    forge(&mut segment);
    let length = (segment.len() - 2) as u16;
    segment[2..4].copy_from_slice(&[(length >> 8) as u8, length as u8]);
    [&file[..at], &segment, &file[end..]].concat()
}

/// Each of these has a code, a table or a number that the full decoder does not take.
#[test]
fn what_is_refused_whole_is_refused_small() {
    const DHT: u8 = 0xc4;
    const DQT: u8 = 0xdb;
    const DRI: u8 = 0xdd;
    const SOF: u8 = 0xc0;
    const SOS: u8 = 0xda;
    let forgeries = [
        ("a table of a third class", forged(DHT, |dht| dht[4] = 0x20)),
        ("a fifth table", forged(DHT, |dht| dht[4] = 4)),
        ("a table and a half", forged(DHT, |dht| dht.extend([0; 9]))),
        ("more codes than symbols", forged(DHT, |dht| dht[5 + 7] = 200)),
        (
            "codes of all ones",
            forged(DHT, |dht| {
                dht[5] = 2;
                dht[5 + 3] = 10;
            }),
        ),
        ("a DC of 16 bits", forged(DHT, |dht| dht[5 + 16 + 3] = 16)),
        (
            "steps of 24 bits",
            forged(DQT, |dqt| {
                dqt[4] = 0x20;
                dqt.extend([0; 128]);
            }),
        ),
        ("a fifth table of steps", forged(DQT, |dqt| dqt[4] = 4)),
        ("half a table of steps", forged(DQT, |dqt| dqt.extend([1; 20]))),
        ("a frame with more to say", forged(SOF, |sof| sof.push(0))),
        ("a component too many", forged(SOF, |sof| sof[9] = 4)),
        ("steps that are nowhere", forged(SOF, |sof| sof[12] = 2)),
        ("steps beyond all tables", forged(SOF, |sof| sof[12] = 9)),
        ("sampled not at all", forged(SOF, |sof| sof[11] = 0x20)),
        ("sampled three times", forged(SOF, |sof| sof[11] = 0x31)),
        ("sampled five times", forged(SOF, |sof| sof[11] = 0x51)),
        ("one component twice", forged(SOS, |sos| sos[7] = 1)),
        ("a component of no frame", forged(SOS, |sos| sos[7] = 9)),
        ("codes that are nowhere", forged(SOS, |sos| sos[6] = 0x11)),
        ("codes beyond all tables", forged(SOS, |sos| sos[6] = 0xf0)),
        (
            "no components in the scan",
            forged(SOS, |sos| {
                sos[4] = 0;
                sos.drain(5..11);
            }),
        ),
        ("a long interval", forged(DRI, |dri| dri.extend([0, 0]))),
        ("arithmetic conditions", {
            let (file, at) = plain(DQT);
            [&file[..at], &[0xff, 0xcc, 0, 4, 0, 0], &file[at..]].concat()
        }),
    ];
    for (name, file) in forgeries {
        assert!(whole(&file, SIZE).is_none(), "{name} is no forgery");
        is_reduced_well(name, &file, SIZE, 0.0);
    }
}

/// These are strange and yet decoded, by the one or the other.
#[test]
fn what_is_strange_is_the_same_small() {
    let (file, at) = plain(0xc4);
    let (_, scan) = plain(0xda);
    let again = [&file[..at], &file[at..scan], &file[at..]].concat();
    assert!(is_reduced_well("tables told twice", &again, SIZE, 2.0));
    let (_, steps) = plain(0xdb);
    let mut other = file[steps..steps + 69].to_vec();
    other[5..].fill(99);
    let overwritten = [&file[..steps], &other, &file[steps..]].concat();
    assert!(is_reduced_well("the last table counts", &overwritten, SIZE, 2.0));
    let elsewhere = [&file[..steps + 69], &[0xff, 0xdb, 0, 67, 3], &[9; 64], &file[steps + 69..]];
    assert!(is_reduced_well("a table that nobody uses", &elsewhere.concat(), SIZE, 2.0));

    let mut late = file[..file.len() - 2].to_vec();
    late.extend([0xff, 0xdc, 0, 4, 0, 80, 0xff, 0xd9]);
    assert!(!is_reduced_well("its height told late", &late, SIZE, 2.0));
    let mut zeros = file.clone();
    let ac = zeros.windows(3).position(|bytes| bytes == [0x00, 0xf0, 0x01]).unwrap();
    zeros[ac + 1] = 0x50;
    assert!(!is_reduced_well("zeros by six", &zeros, SIZE, f64::INFINITY));
    let flood = [&file[..file.len() - 2], &[0xff, 0xd0].repeat(9), &[0xff, 0xd9]].concat();
    assert!(!is_reduced_well("restarts without end", &flood, SIZE, f64::INFINITY));
    let first = file.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
    let second = file.windows(2).position(|pair| pair == [0xff, 0xd2]).unwrap();
    let lost = [&file[..first], &file[second..]].concat();
    assert!(!is_reduced_well("an interval is lost", &lost, SIZE, f64::INFINITY));
}

/// What is wrong with a file is told at every size, or at none.
#[test]
fn damage_is_refused_small_where_it_is_whole() {
    let (file, _) = plain(0xc0);
    let (_, scan) = plain(0xda);
    let mut seed = 1u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut refused = 0;
    for round in 0..3_000 {
        let mut damaged = file.clone();
        for _ in 0..=round % 3 {
            let reach = if round % 4 == 0 { file.len() } else { scan + 14 };
            damaged[random(reach)] = random(256) as u8;
        }
        let Ok(probe) = Probe::read(&damaged) else { continue };
        if probe.size.pixels() > 1 << 16 {
            continue;
        }
        if whole(&damaged, probe.size).is_none() {
            refused += 1;
            for by in SCALES {
                assert!(decoded(&damaged, by).is_err(), "round {round} by {by}: {damaged:x?}");
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
