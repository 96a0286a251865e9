//! Verifies all volumes, over and over: a thread for each disk, one volume at a time.
//!
//! A volume is due again when `scrub_pass` has gone by since its last pass began. The
//! rate is what it takes to get round the disk in that time, and a quarter more, to
//! make good for rests while clients are busy. Whoever asks for a pass gets it first,
//! and as fast as `scrub_max_rate` and the clients allow.
//!
//! A keeper can hold the scrub of one volume off for [`SCRUB_HOLD`], so that its replicas are read one
//! after another. What the hold kept waiting goes on by itself, whether a keeper is there or not.

mod worker;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;
use crate::id::VolumeId;
use crate::status::{DiskScrubStatus, DiskScrubWork, ScrubStatus, VolumeScrub};
use crate::storage::Disk;
use crate::store::Store;
use crate::volume::{Volume, files};
use worker::Worker;

/// How long a volume is left alone that was held. It is not remembered over a restart.
pub const SCRUB_HOLD: Duration = Duration::from_mins(30);

/// The scrub of one disk, as others see it.
pub(crate) struct DiskScrub {
    disk: usize,
    orders: Mutex<Orders>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    stopped: bool,
    paused: bool,
    /// Something is different: look again which volume is next.
    changed: bool,
    at_work_on: Option<VolumeId>,
    scrubbed_bytes: u64,
}

/// The scrubs of all disks.
#[derive(Default)]
pub(crate) struct Scrub {
    disks: Vec<Arc<DiskScrub>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Until when volumes are left alone.
    held: Mutex<HashMap<VolumeId, Instant>>,
}

impl Scrub {
    /// Scrubs for these disks, which stay paused where they were.
    pub(crate) fn new<'a>(disks: impl Iterator<Item = &'a dyn Disk>) -> Self {
        let disks = disks.enumerate().map(|(number, disk)| {
            let paused = disk.open(files::SCRUB_PAUSED).is_ok();
            let orders = Mutex::new(Orders { paused, ..Orders::default() });
            Arc::new(DiskScrub { disk: number, orders, wake: Condvar::new() })
        });
        Self { disks: disks.collect(), threads: Mutex::default(), held: Mutex::default() }
    }

    /// Starts the threads. They hold no strong reference to the store between steps.
    pub(crate) fn start(&self, store: &Arc<Store>) {
        let threads = self.disks.iter().map(|disk| {
            let (disk, store) = (Arc::clone(disk), Arc::downgrade(store));
            std::thread::spawn(move || Worker::new(&disk).run(&store))
        });
        *self.threads.lock() = threads.collect();
    }

    /// Stops the threads, which write down how far they have come.
    pub(crate) fn stop(&self) {
        self.order(|orders| orders.stopped = true);
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
    }

    /// Whether a volume is being read.
    pub(crate) fn is_reading(&self, volume: VolumeId) -> bool {
        self.disks.iter().any(|disk| disk.orders.lock().at_work_on == Some(volume))
    }

    fn is_held(&self, volume: VolumeId) -> bool {
        self.held.lock().get(&volume).is_some_and(|until| *until > Instant::now())
    }

    fn hold(&self, volume: VolumeId) {
        let now = Instant::now();
        let mut held = self.held.lock();
        held.retain(|_, until| *until > now);
        held.insert(volume, now + SCRUB_HOLD);
        drop(held);
        if self.is_reading(volume) {
            self.look_again();
        }
    }

    /// Lets everybody look again which volume is next.
    fn look_again(&self) {
        self.order(|orders| orders.changed = true);
    }

    fn order(&self, give: impl Fn(&mut Orders)) {
        for disk in &self.disks {
            give(&mut disk.orders.lock());
            disk.wake.notify_all();
        }
    }
}

impl DiskScrub {
    /// Rests until then or until there are new orders; false if it should stop.
    fn rest(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut orders = self.orders.lock();
        while !orders.stopped && !orders.changed {
            if self.wake.wait_until(&mut orders, end).timed_out() {
                break;
            }
        }
        !orders.stopped
    }
}

/// Why no scrub was started.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// An operator paused the scrub.
    #[error("the scrub is paused: resume it first")]
    Paused,
    /// There is no such volume, or it is not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What operators may ask of the scrub.
impl Store {
    /// The scrub at this moment.
    pub fn scrub_status(&self) -> ScrubStatus {
        let disks = self.disks().iter().zip(&self.scrub().disks);
        let disks = disks.map(|(disk, scrub)| {
            let Orders { paused, at_work_on, scrubbed_bytes, .. } = *scrub.orders.lock();
            let work = match at_work_on {
                _ if paused => DiskScrubWork::Paused,
                Some(_) => DiskScrubWork::Running,
                None if self.options().background.scrub_pass.is_none() => DiskScrubWork::Off,
                None => DiskScrubWork::Idle,
            };
            let bytes_per_s = at_work_on.map_or(0, |_| disk.pace.scrub.rate());
            let path = disk.path.display().to_string();
            DiskScrubStatus { path, work, volume: at_work_on, bytes_per_s, scrubbed_bytes }
        });
        let volumes = self.volumes();
        let volumes = volumes.iter().map(|volume| self.volume_scrub(volume));
        ScrubStatus { disks: disks.collect(), volumes: volumes.collect() }
    }

    /// What is known of one volume.
    pub(crate) fn volume_scrub(&self, volume: &Volume) -> VolumeScrub {
        VolumeScrub::of(volume, self.scrub().is_reading(volume.id()))
    }

    /// See [`StoreHandle::hold_scrub`](crate::StoreHandle::hold_scrub).
    pub fn hold_scrub(&self, volume: VolumeId) -> Result<(), StoreError> {
        self.scrub().hold(self.volume(volume)?.id());
        Ok(())
    }

    /// Asks for a pass over one volume, or all, from the beginning and as fast as may be.
    pub fn scrub_now(&self, volume: Option<VolumeId>) -> Result<(), ScrubError> {
        if self.scrub().disks.iter().any(|disk| disk.orders.lock().paused) {
            return Err(ScrubError::Paused);
        }
        let volumes = match volume {
            Some(volume) => vec![self.volume(volume)?],
            None => self.volumes(),
        };
        for volume in volumes {
            volume.ask_for_scrub();
        }
        self.scrub().look_again();
        Ok(())
    }

    /// Pauses the scrub, or lets it go on, for good: the mark outlives restarts.
    pub fn pause_scrub(&self, paused: bool) -> io::Result<()> {
        for (disk, scrub) in self.disks().iter().zip(&self.scrub().disks) {
            mark_paused(&*disk.disk, paused)?;
            let mut orders = scrub.orders.lock();
            (orders.paused, orders.changed) = (paused, true);
            scrub.wake.notify_all();
        }
        Ok(())
    }
}

fn mark_paused(disk: &dyn Disk, paused: bool) -> io::Result<()> {
    let mark = files::SCRUB_PAUSED;
    let done = if paused { disk.create(mark).map(drop) } else { disk.remove(mark) };
    match done {
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
        {
            Err(error)
        }
        _ => disk.sync(),
    }
}
