//! The scrub as operators see it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::config::{ByteSize, Span};
use hayrick_store::config::StoreConfig;
use hayrick_store::status::{DiskScrubWork, ScrubStatus, StoreStatus, VolumeScrub};
use hayrick_store::{Cookie, Key, Meta, NeedleId, NewNeedle, Store, StoreError, StoreHandle};

use crate::rig::{E1, Rig, config, open, vid};

fn needle(key: u64) -> NewNeedle {
    let data = vec![u8::try_from(key % 251).unwrap(); 60_000];
    let (key, cookie) = (Key::new(key), Cookie::new(5));
    NewNeedle { key, cookie, meta: Meta::default(), data: data.into() }
}

async fn read(store: &Store, volume: u32, key: u64) -> bool {
    let id = NeedleId::new(vid(volume), Key::new(key), Cookie::new(5));
    store.open_needle(id).await.is_ok()
}

/// Two volumes of 9 MB each.
async fn filled(config: &StoreConfig) -> Rig {
    let rig = Rig::start(open(config)).await;
    for volume in [1, 2] {
        rig.store.create_volume(vid(volume), E1).await.unwrap();
        rig.store.put(vid(volume), E1, (0..150).map(needle).collect()).await.unwrap();
    }
    rig
}

impl Rig {
    async fn scrub(&self) -> ScrubStatus {
        self.client.get(format!("{}/store/scrub", self.admin)).send_json().await.unwrap()
    }

    async fn order(&self, what: &str) -> Result<ScrubStatus, StatusCode> {
        let url = format!("{}/store/scrub/{what}", self.admin);
        let answer = self.client.post(url).send_json().await;
        answer.map_err(|error| error.status().unwrap())
    }

    /// Waits until the disk's worker has counted more bytes than these.
    async fn until_scrubbed(&self, bytes: u64) {
        let mut scrubbed = 0;
        for _ in 0..1000 {
            scrubbed = self.scrub().await.disks.first().unwrap().scrubbed_bytes;
            if scrubbed > bytes {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {scrubbed} bytes were scrubbed");
    }

    /// Waits until a volume is as it should be.
    async fn until(&self, volume: u32, is_so: impl Fn(&VolumeScrub) -> bool) -> VolumeScrub {
        for _ in 0..1000 {
            let volumes = self.scrub().await.volumes;
            let found = volumes.into_iter().find(|scrub| scrub.volume == vid(volume)).unwrap();
            if is_so(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {:?}", self.scrub().await);
    }
}

fn volume_file(dir: &Path, volume: u32) -> PathBuf {
    dir.join(format!("disk0/{volume:010}.vol"))
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 4;
    file.write_all_at(&byte, offset).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_named_within_one_pass_while_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { scrub_pass: Span::secs(0), ..config(dir.path(), 1) };
    let rig = filled(&config).await;
    assert_eq!(rig.scrub().await.disks[0].work, DiskScrubWork::Off);
    flip(&volume_file(dir.path(), 2), 2_000_000);
    rig.order("now").await.unwrap();
    for key in 200..220 {
        rig.store.put(vid(2), E1, vec![needle(key)]).await.unwrap();
        assert!(read(&rig.store, 2, key).await && read(&rig.store, 2, 0).await);
    }
    let passed = |scrub: &VolumeScrub| scrub.last_pass_ms.is_some() && !scrub.asked;
    let one = rig.until(1, passed).await;
    assert!(one.damaged == 0 && one.pass.is_none());
    let two = rig.until(2, passed).await;
    assert_eq!((two.damaged, two.findings.len()), (1, 1));
    let finding = &two.findings[0];
    assert!(finding.offset <= 2_000_000 && 2_000_000 < finding.offset + finding.size_bytes);
    let key = finding.key.unwrap().get();
    assert!(!read(&rig.store, 2, key).await, "named right: {key}");
    rig.until_scrubbed(18_000_000).await;
    let status: StoreStatus =
        rig.client.get(format!("{}/store/status", rig.admin)).send_json().await.unwrap();
    // A moment after a pass is noted its thread still says that it is reading.
    let [told, two] = [status.volumes[1].scrub.clone().unwrap(), two]
        .map(|scrub| VolumeScrub { reading: false, ..scrub });
    assert_eq!(told, two);

    // The same needle put again heals it; nobody has to wait for the next pass to see that.
    rig.store.put(vid(2), E1, vec![needle(key)]).await.unwrap();
    assert_eq!(rig.until(2, passed).await.damaged, 0);
    assert_eq!(rig.order("now?volume=9").await, Err(StatusCode::NOT_FOUND));
    assert_eq!(rig.order("now?volume=x").await, Err(StatusCode::BAD_REQUEST));
    rig.order("now?volume=2").await.unwrap();
    let again = rig.until(2, |scrub| scrub.last_pass_ms > two.last_pass_ms).await;
    assert_eq!(again.damaged, 0);
    assert_eq!(rig.until(1, passed).await.last_pass_ms, one.last_pass_ms, "was not asked");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_outlives_a_restart_and_so_does_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    // After a step of 4 MiB it rests for a minute.
    let config = StoreConfig { scrub_max_rate: ByteSize::kib(64), ..config(dir.path(), 1) };
    let rig = filled(&config).await;
    rig.order("now?volume=1").await.unwrap();
    let moved = |scrub: &VolumeScrub| scrub.pass.is_some_and(|pass| pass.done_bytes > 0);
    let before = rig.until(1, moved).await.pass.unwrap();
    assert!(before.done_bytes < before.total_bytes);
    let status = rig.order("pause").await.unwrap();
    assert_eq!(status.disks[0].work, DiskScrubWork::Paused);
    assert_eq!(rig.order("now").await, Err(StatusCode::CONFLICT));
    rig.stop().await;

    let rig = Rig::start(open(&config)).await;
    assert_eq!(rig.scrub().await.disks[0].work, DiskScrubWork::Paused);
    let paused = rig.until(1, moved).await.pass.unwrap();
    assert_eq!((paused.started_ms, paused.total_bytes), (before.started_ms, before.total_bytes));
    assert!(paused.done_bytes >= before.done_bytes, "it goes on where it was");
    rig.order("resume").await.unwrap();
    let further = |scrub: &VolumeScrub| {
        scrub.pass.is_some_and(|pass| {
            pass.started_ms == before.started_ms && pass.done_bytes > paused.done_bytes
        })
    };
    rig.until(1, further).await;
    assert_eq!(rig.scrub().await.disks[0].volume, Some(vid(1)));
    rig.stop().await;
    let rig = Rig::start(open(&config)).await;
    assert_ne!(rig.scrub().await.disks[0].work, DiskScrubWork::Paused);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_scrubbed_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 2);
    filled(&config).await.stop().await;
    let rig = Rig::start(open(&config)).await;
    rig.until(1, |scrub| scrub.pass.is_some_and(|pass| pass.done_bytes > 0)).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_held_waits_and_another_volume_has_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    // After a step of 4 MiB it rests for a minute.
    let config = StoreConfig { scrub_max_rate: ByteSize::kib(64), ..config(dir.path(), 1) };
    let rig = filled(&config).await;
    let keeper = StoreHandle::Local(Arc::clone(&rig.store));
    rig.order("now?volume=2").await.unwrap();
    keeper.hold_scrub(vid(2)).await.unwrap();
    let moved = |scrub: &VolumeScrub| scrub.pass.is_some_and(|pass| pass.done_bytes > 0);
    rig.until(2, |scrub| scrub.reading && moved(scrub)).await;
    rig.stop().await;

    // What nobody asked for is held. Volumes that were never read are due at once.
    let rig = filled(&StoreConfig { disks: vec![dir.path().join("b")], ..config }).await;
    let keeper = StoreHandle::Local(Arc::clone(&rig.store));
    keeper.hold_scrub(vid(2)).await.unwrap();
    let unknown = keeper.hold_scrub(vid(9)).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NoVolume(_)), "{unknown}");
    rig.order("resume").await.unwrap();
    rig.until(1, |scrub| scrub.reading && moved(scrub)).await;
    keeper.hold_scrub(vid(1)).await.unwrap();
    let waits = rig.until(1, |scrub| !scrub.reading).await;
    assert!(moved(&waits), "it will go on where it was");
    assert_eq!(rig.scrub().await.disks[0].work, DiskScrubWork::Idle);
    rig.stop().await;
}
