//! Criterion benches of Hayrick's needle read and write paths, and what they share.
//!
//! | bench | question |
//! |---|---|
//! | `index` | How long does it take to find out where a needle is? |
//! | `needle` | How fast do needles become bytes, and bytes verified needles? |
//! | `volume_read` | How fast does a volume hand out needles that the page cache has? |
//! | `volume_append` | How many small needles a second does a volume take? |
//! | `http_get` | How long does one client wait for an object over HTTP? |
//!
//! `cargo bench -p hayrick-benches` runs all of them, `--bench index` one, and a word behind
//! `--` picks cases by name. Files are made in cargo's target folder, which should be on a
//! real disk: on a memory file system a sync costs nothing. Data is the same in every run.
//!
//! The binaries are servers to compare with and a maker of large volumes. `make bench-peers` uses
//! them, which runs whole servers side by side: see `peers/`.

#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a bench that cannot be set up has nothing to measure"
)]

pub mod corpus;
pub mod index;
pub mod record;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use hayrick_store::storage::Disk;
use hayrick_store::storage::os::OsDisk;
use hayrick_store::volume::{Volume, VolumeOptions};
use hayrick_store::{Cookie, Key, Meta, NewNeedle, VolumeId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tempfile::TempDir;
use uuid::Uuid;

/// The cluster of everything that benches make.
pub const CLUSTER: Uuid = Uuid::from_u128(0x00BE_AC4E);

/// The volume that benches work on.
pub const VOLUME: VolumeId = VolumeId::new(1).expect("1 is a volume id");

/// How benches are run where they do not say otherwise: all of them within three minutes.
pub fn settings() -> Criterion {
    let settings = Criterion::default().warm_up_time(Duration::from_millis(500));
    // A fifth of criterion's own: as many as its statistics need, for less processor time.
    settings.measurement_time(Duration::from_secs(2)).nresamples(20_000)
}

/// A source of data and order that is the same in every run.
pub fn rng() -> StdRng {
    StdRng::seed_from_u64(0x4861_7972_6963_6B31)
}

/// A folder for the files of one bench, removed when dropped. Benches pass their
/// `env!("CARGO_TARGET_TMPDIR")`, which cargo does not tell to libraries.
pub fn scratch(target_tmp_dir: &str) -> TempDir {
    TempDir::new_in(target_tmp_dir).expect("a folder below the target folder")
}

/// A new, empty volume with files in `folder`.
pub fn new_volume(folder: &Path, options: VolumeOptions) -> Volume {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder));
    Volume::create(&*disk, CLUSTER, VOLUME).expect("an empty volume file");
    Volume::open(&disk, CLUSTER, VOLUME, options).expect("a volume that was made just now").0
}

/// A needle as the proxy makes them.
pub fn needle(key: u64, data: Bytes) -> NewNeedle {
    NewNeedle { key: Key::new(key), cookie: cookie(key), meta: meta(key), data }
}

/// The cookie of the needle with this key.
pub fn cookie(key: u64) -> Cookie {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits are a cookie")]
    Cookie::new(key.wrapping_mul(0x9E37_79B9) as u32)
}

/// Meta of ordinary length.
pub fn meta(key: u64) -> Meta {
    Meta {
        bucket: "photos".to_owned(),
        name: format!("2025/holiday/{key:010}.jpg"),
        content_type: "image/jpeg".to_owned(),
        version: 1_750_000_000_000 << 16 | key,
        ..Meta::default()
    }
}

/// Items in random order, over and over. It goes on from one sample to the next, so that a
/// short sample does not stay within the few items that the processor's caches hold.
pub struct Rounds<T> {
    items: Vec<T>,
    next: usize,
}

impl<T> Rounds<T> {
    /// Shuffles `items`, of which there must be some.
    pub fn new(items: impl IntoIterator<Item = T>) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        assert!(!items.is_empty(), "a bench needs items");
        items.shuffle(&mut rng());
        Self { items, next: 0 }
    }
}

impl<T: Clone> Iterator for Rounds<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.items.get(self.next).cloned();
        self.next += 1;
        if self.next == self.items.len() {
            self.next = 0;
        }
        item
    }
}
