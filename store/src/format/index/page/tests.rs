//! Pages of any entries.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{check_block, most_file_bytes};
use super::*;

/// The salt of all pages here.
fn salt() -> Salt {
    Salt::new(&[7; 16], 1)
}

/// Keys of one pattern, any of which may be next to any other.
fn keys() -> impl Strategy<Value = Vec<u64>> {
    let many = 0..700_usize;
    let pattern = prop_oneof![
        Just(vec![0]),
        Just(vec![u64::MAX]),
        (any::<u64>(), many.clone()).prop_map(|(from, count)| rising(from, count, 1)),
        (any::<u64>(), many.clone(), 0..60_u32).prop_map(|(from, count, log)| rising(
            from,
            count,
            1 << log
        )),
        proptest::collection::vec(any::<u64>(), many.clone()),
        (any::<u64>(), proptest::collection::vec(0..1_u64 << 20, many))
            .prop_map(|(high, low)| low.iter().map(|low| high >> 20 << 20 | low).collect()),
    ];
    proptest::collection::vec(pattern, 0..5).prop_map(|patterns| patterns.concat())
}

fn rising(from: u64, count: usize, step: usize) -> Vec<u64> {
    (0..=u64::MAX - from).step_by(step).take(count).map(|distance| from + distance).collect()
}

fn entry() -> impl Strategy<Value = Entry> {
    let size = prop_oneof![Just(0), 1..200_u32, Just(143), any::<u32>()];
    let offset = prop_oneof![any::<u32>(), (0..1_u32 << 24).prop_map(|number| number * 143)];
    (offset, size).prop_map(|(offset, size_blocks)| Entry {
        offset: NeedleOffset::from_blocks(offset),
        size_blocks,
    })
}

/// Any keys, and entries of which each has one of a few.
fn entries() -> impl Strategy<Value = BTreeMap<Key, Entry>> {
    (keys(), proptest::collection::vec(entry(), 1..20)).prop_map(|(keys, entries)| {
        keys.into_iter().map(Key::new).zip(entries.into_iter().cycle()).collect()
    })
}

/// Writes all of them, as many in a page as fit.
fn pages(entries: &BTreeMap<Key, Entry>) -> Vec<[u8; BLOCK_BYTES]> {
    let mut builder = PageBuilder::default();
    let mut pages = Vec::new();
    for (key, entry) in entries {
        if !builder.push(*key, *entry) {
            pages.extend(builder.finish(salt(), pages.len() as u64));
            assert!(builder.push(*key, *entry), "one entry fits in any page");
        }
    }
    pages.extend(builder.finish(salt(), pages.len() as u64));
    assert_eq!(builder.finish(salt(), 0), None);
    pages
}

proptest! {
    #[test]
    fn pages_hold_what_was_put_in(entries in entries(), strangers: [u64; 4]) {
        let pages = pages(&entries);
        let mut found = BTreeMap::new();
        for (number, block) in (0..).zip(&pages) {
            prop_assert_eq!(check_block(block, salt(), number), Ok(()));
            let page = Page::of(block).unwrap();
            let here: Vec<_> = page.entries().collect();
            prop_assert_eq!(page.entry_count(), here.len() as u64);
            prop_assert_eq!(page.check(), Ok((here[0].0, here.last().unwrap().0)));
            prop_assert!(here.is_sorted_by(|(a, _), (b, _)| a < b));
            let near = here.iter().flat_map(|(key, _)| {
                [key.get().wrapping_sub(1), key.get(), key.get().wrapping_add(1)]
            });
            for key in near.chain(strangers).map(Key::new) {
                let expected = here.binary_search_by_key(&key, |(key, _)| *key);
                prop_assert_eq!(page.get(key), expected.ok().map(|at| here[at].1));
            }
            found.extend(here);
        }
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn no_file_is_longer_than_the_longest(entries in entries()) {
        let bytes = (1 + pages(&entries).len() as u64) * BLOCK_BYTES as u64;
        prop_assert!(bytes <= most_file_bytes(entries.len() as u64));
    }

    /// A checksum may be right by intent: whatever is behind it, there is an answer.
    #[test]
    fn nonsense_is_refused_or_can_be_asked(
        entries in entries(),
        changes in proptest::collection::vec((0..64_usize, any::<u8>()), 1..4),
        keys: [u64; 8],
    ) {
        for mut block in pages(&entries) {
            for (at, byte) in &changes {
                block[*at] = *byte;
            }
            let Some(page) = Page::of(&block) else { continue };
            for key in keys {
                std::hint::black_box(page.get(Key::new(key)));
            }
            let here: Vec<_> = page.entries().collect();
            if let Ok((first, last)) = page.check() {
                prop_assert_eq!(page.entry_count(), here.len() as u64);
                prop_assert_eq!((first, last), (here[0].0, here.last().unwrap().0));
            }
        }
    }
}

/// Far apart keys, and offsets and sizes that have nothing in common.
#[test]
fn the_worst_entries_still_have_the_fewest_to_a_page() {
    let entry = |number: usize| Entry {
        offset: NeedleOffset::from_blocks([0, 1, u32::MAX][number % 3]),
        size_blocks: [1, 0, u32::MAX][number % 3],
    };
    let entries =
        (0..300).map(|number| (Key::new(number as u64 * (u64::MAX / 300)), entry(number)));
    let first = pages(&entries.collect())[0];
    let count = Page::of(&first).unwrap().entry_count();
    assert!((256..300).contains(&count), "{count}");
}

/// Needles of a volume with the most of them that are looked at here.
const SHARE: u64 = 100_000;

/// How far apart 50 million keys are if they are spread over all there are.
const SPREAD: u64 = u64::MAX / 50_000_000;

/// Whether pages of needles with these keys cost at most so many bytes a needle, where 50 million
/// of one size were appended in any order.
fn cost_at_most(bytes: usize, rng: &mut StdRng, keys: impl Iterator<Item = u64>) -> bool {
    const SIZE_BLOCKS: u32 = 40;
    let entries: BTreeMap<_, _> = keys
        .map(|key| {
            let offset = NeedleOffset::from_blocks(rng.random_range(12..50_000_000) * SIZE_BLOCKS);
            (Key::new(key), Entry { offset, size_blocks: SIZE_BLOCKS })
        })
        .collect();
    pages(&entries).len() * BLOCK_BYTES <= bytes * entries.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn adversarial_keys_cost_no_more_than_random_ones_may(
        seed: u64,
        step in 1..SPREAD,
        cluster in 1..1000_u64,
        low_bits in 20..40_u32,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let strided = (0..SHARE).map(|number| number * step);
        let clustered = (0..SHARE).map(|number| {
            number / cluster * cluster * SPREAD + number % cluster
        });
        let mut draw = StdRng::seed_from_u64(!seed);
        let random: Vec<_> = (0..SHARE).map(|_| draw.random_range(0..SHARE * SPREAD)).collect();
        let equal_high_bits = random.iter().map(|key| !0 << low_bits | key >> (64 - low_bits));
        let ends = (0..SHARE).map(|number| if number % 2 == 0 { number } else { !number });
        let patterns: [(&str, Vec<u64>); 5] = [
            ("strided", strided.collect()),
            ("clustered", clustered.collect()),
            ("equal high bits", equal_high_bits.collect()),
            ("both ends", ends.collect()),
            ("random", random),
        ];
        for (pattern, keys) in patterns {
            prop_assert!(cost_at_most(9, &mut rng, keys.into_iter()), "{}", pattern);
        }
    }
}

/// As the directory leases them, and with every third deleted.
#[test]
fn dense_keys_cost_less_than_the_bar() {
    let mut rng = StdRng::seed_from_u64(1);
    for (of, kept) in [(1, 1), (3, 2), (10, 1)] {
        let keys = (0..SHARE).map(|number| number / kept * of + number % kept);
        assert!(cost_at_most(6, &mut rng, keys), "{kept} of {of}");
    }
}

/// Only for speed, but then the guess must be good.
#[test]
fn an_entry_is_where_the_layout_says_if_keys_are_spread_evenly() {
    let mut page = PageBuilder::default();
    let entry = |number: u32| Entry { offset: NeedleOffset::from_blocks(number), size_blocks: 9 };
    let fits = |number: &u32| page.push(Key::new(u64::from(*number) << 30), entry(*number));
    let entries = (0..10_000).take_while(fits).count();
    let block = page.finish(salt(), BLOCK_BYTES as u64).unwrap();
    let page = Page::of(&block).unwrap();
    let Layout { records_at, .. } = page.layout();
    for number in 0..entries {
        let record = records_at + page.record_at(number) / 8;
        let mut places = page.layout().places(number * Layout::WHOLE / entries);
        assert!(places.any(|place| place.abs_diff(record) < 32), "entry {number} of {entries}");
    }
}
