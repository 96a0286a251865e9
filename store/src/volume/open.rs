//! Making a volume, and opening one whatever state a crash left it in.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::fence::Fence;
use super::identity::{Identity, identify, restore};
use super::live::{Condition, Live, Shared};
use super::recovery::{Recovered, recover};
use super::replica::NewReplica;
use super::writer::{TOMBSTONE_RESERVE_BYTES, Writer};
use super::{Volume, VolumeOptions, files};
use crate::error::StoreError;
use crate::format::FormatError;
use crate::format::index::IndexHead;
use crate::format::superblock::Superblock;
use crate::id::VolumeId;
use crate::index::{self, SealError, Sealed};
use crate::storage::{Disk, File, is_read_only, read_exact_at, write_all_at};

/// Written again in one step.
const WRITE_AGAIN_BYTES: usize = 1 << 20;

/// Why a volume was not opened. The store goes on with its other volumes.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A call on its files failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its superblock is of a newer version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its superblock is lost, and with it whose needles the file holds.
    #[error(
        "its superblock cannot be used ({reason}), and no index file proves whose needles it holds: restore the first 4 KiB of the volume file, or its index file, from a copy"
    )]
    NoIdentity {
        /// What is wrong with the superblock.
        reason: String,
    },
    /// The file belongs to another cluster: most likely the wrong disk is mounted here.
    #[error("the volume file belongs to cluster {found}, this store to cluster {expected}")]
    OtherCluster {
        /// The store's cluster.
        expected: Uuid,
        /// The file's.
        found: Uuid,
    },
    /// The file's name and its superblock name different volumes.
    #[error("the file's name says volume {name}, its superblock {found}")]
    OtherVolume {
        /// By the name.
        name: VolumeId,
        /// By the superblock.
        found: VolumeId,
    },
    /// Recovery could not be completed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a volume was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new and empty.
    New,
    /// It was there already.
    Existing,
}

/// What opening a volume met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Bytes that were acknowledged once and cannot be read.
    pub damage: Vec<Range<u64>>,
    /// Bytes of a torn, never acknowledged end that were cut off.
    pub cut_bytes: u64,
    /// Records that were never acknowledged and were taken back.
    pub aborted: usize,
    /// Bytes scanned because no index file covered them.
    pub scanned_bytes: u64,
    /// Why the index file was not used, if there was one.
    pub index_problem: Option<String>,
    /// Why the superblock was not used. The volume file's identity came from its index file.
    pub superblock_problem: Option<String>,
}

impl Volume {
    /// Makes an empty volume file. It is there whole, or not at all.
    ///
    /// Its index file, empty as well, comes first: it says once more who the volume file is.
    pub fn create(disk: &dyn Disk, cluster: Uuid, id: VolumeId) -> io::Result<()> {
        Self::create_replica(disk, cluster, id, NewReplica::default())
    }

    /// Like [`Volume::create`], for one replica of several.
    pub fn create_replica(
        disk: &dyn Disk,
        cluster: Uuid,
        id: VolumeId,
        replica: NewReplica,
    ) -> io::Result<()> {
        replica.prepare(disk, id)?;
        let temporary = format!("{}.tmp", files::volume(id));
        let created_ms =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let superblock = Superblock {
            cluster,
            volume: id,
            replica: Uuid::new_v4(),
            generation: 1,
            created_ms: u64::try_from(created_ms.as_millis()).unwrap_or(u64::MAX),
        };
        let file = disk.create(&temporary)?;
        write_all_at(&*file, &superblock.to_bytes(), 0)?;
        file.sync()?;
        write_empty_index(disk, &superblock)?;
        disk.rename(&temporary, &files::volume(id))?;
        disk.sync()
    }

    /// Opens a volume and brings it into order: see the `recovery` module.
    pub fn open(
        disk: &Arc<dyn Disk>,
        cluster: Uuid,
        id: VolumeId,
        options: VolumeOptions,
    ) -> Result<(Self, OpenReport), OpenError> {
        let file = disk.open(&files::volume(id))?;
        let Identity { superblock, problem } = identify(&**disk, &*file, cluster, id)?;
        let mut report = OpenReport {
            superblock_problem: problem.as_ref().map(|problem| problem.reason.clone()),
            ..OpenReport::default()
        };
        let sealed = open_index(&**disk, &*file, &superblock, &mut report)?;
        let read_from_disk = distrust_memory(&*file, sealed.covered_end().bytes());
        let mut recovered = recover(&*file, superblock.salt(), sealed)?;
        let copying = is_copying(&**disk, id);
        // Where that cannot be told, nothing may be said to be missing.
        recovered.met_device_error |= copying.is_err();
        report.scanned_bytes = recovered.scanned_bytes;
        report.aborted = recovered.aborts.len();
        report.damage.clone_from(&recovered.damage);
        let settled = read_from_disk
            .and_then(|()| check_writable(&**disk))
            .and_then(|()| problem.map_or(Ok(()), |lost| restore(&*file, &superblock, &lost)))
            .and_then(|()| settle(&**disk, &*file, &superblock, &recovered));
        let condition = match settled {
            Ok((cut_bytes, condition)) => {
                report.cut_bytes = cut_bytes;
                condition
            }
            Err(error) if is_read_only(&error) => {
                // Whatever the end of the file is, it stays as it is.
                recovered.aborts.clear();
                Condition::Failed("its file system is read-only: make it writable".into())
            }
            Err(error) => {
                tracing::error!(volume = %id, %error, "volume could not be brought into order: it serves reads only");
                // What is missing may be there: nothing is taken back.
                recovered.aborts.clear();
                Condition::Failed(format!("it could not be brought into order: {error}").into())
            }
        };
        let volume = Self::start(disk, id, options, file, superblock, recovered, condition)?;
        volume.shared.copying.store(copying.unwrap_or_default(), Ordering::Release);
        Ok((volume, report))
    }

    fn start(
        disk: &Arc<dyn Disk>,
        id: VolumeId,
        options: VolumeOptions,
        file: Arc<dyn File>,
        superblock: Superblock,
        recovered: Recovered,
        condition: Condition,
    ) -> Result<Self, OpenError> {
        let Recovered { index, totals, end, last_append_ns, aborts, met_device_error, .. } =
            recovered;
        let salt = superblock.salt();
        let (commands, queue) = sync_channel(options.queue_len);
        let live = Live { file, superblock, salt, index, totals, end, last_append_ns };
        let shared = Arc::new(Shared {
            id,
            disk: Arc::clone(disk),
            options,
            scrub: Mutex::new(super::scrub::load(&**disk, &live)),
            live: RwLock::new(live),
            fence: Fence::load(disk, id),
            confirmed_ns: AtomicU64::new(0),
            copying: AtomicBool::default(),
            condition: Mutex::new(condition),
            upkeep: Mutex::new(()),
            counters: super::live::Counters::default(),
            index_has_gaps: met_device_error,
        });
        let mut writer = Writer::new(Arc::clone(&shared));
        if !aborts.is_empty()
            && let Err(error) = writer.abort(&aborts)
        {
            // Anything written behind them would vouch for them.
            writer.fail("taking back of torn records", &io::Error::other(error));
        }
        let thread = std::thread::Builder::new()
            .name(format!("volume-{id}"))
            .stack_size(512 << 10)
            .spawn(move || writer.run(&queue))?;
        Ok(Self { shared, commands, thread: Mutex::new(Some(thread)) })
    }
}

fn is_copying(disk: &dyn Disk, id: VolumeId) -> io::Result<bool> {
    match disk.open(&files::copying(id)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_empty_index(disk: &dyn Disk, superblock: &Superblock) -> io::Result<()> {
    let head = IndexHead::empty(superblock);
    let name = files::index(superblock.volume, superblock.generation);
    index::write_sealed(disk, &name, head, std::iter::empty(), superblock)?;
    Ok(())
}

/// Sees to it that what is read from `from` on comes from the disk. After a failed sync the
/// kernel takes pages for clean that never reached it: they can be read, no later sync puts
/// them there, and on some file systems even writing them once more does not.
fn distrust_memory(file: &dyn File, from: u64) -> io::Result<()> {
    let synced = file.sync();
    // If the sync failed, all the more of what memory holds may be on no disk.
    file.evict(from..u64::MAX)?;
    synced
}

/// A read-only file system is no fault of the volume's, and known before anything is tried.
fn check_writable(disk: &dyn Disk) -> io::Result<()> {
    if disk.space()?.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
}

/// Makes what recovery believes durable and clears the rest away: torn bytes, of which it
/// tells how many there were, and files that nobody needs.
fn settle(
    disk: &dyn Disk,
    file: &dyn File,
    superblock: &Superblock,
    recovered: &Recovered,
) -> io::Result<(u64, Condition)> {
    if recovered.met_device_error {
        return Err(io::Error::other("the device failed to read some of the volume file"));
    }
    // Whoever gave the file its name may have been killed before that was durable.
    disk.sync()?;
    let names = disk.list()?;
    let id = superblock.volume;
    for name in names.iter().filter(|name| files::is_leftover(name, id, superblock.generation)) {
        tracing::info!(volume = %id, file = %name, "removing what an interrupted task left behind");
        if let Err(error) = disk.remove(name) {
            tracing::warn!(volume = %id, file = %name, %error, "it stays for now");
        }
    }
    write_again(file, recovered.proven_end..recovered.end.bytes())?;
    let cut_bytes = cut_torn_end(file, recovered.end.bytes())?;
    // Changing the length gave back what was set aside behind it. Should others have filled
    // the disk meanwhile, deletes wait for room like everything else.
    let _ = file.allocate(recovered.end.bytes(), TOMBSTONE_RESERVE_BYTES);
    let read_only = names.contains(&files::read_only(id));
    Ok((cut_bytes, if read_only { Condition::ReadOnly } else { Condition::Writable }))
}

/// Writes what was read once more, and changes the file's length and changes it back: where
/// memory could not be evicted, or a length did not reach the disk, the next sync has to see
/// to them.
fn write_again(file: &dyn File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let len = file.size_bytes()?;
    file.set_len(len + 1)?;
    file.set_len(len)?;
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(WRITE_AGAIN_BYTES);
        write_all_at(file, &read_exact_at(file, len, at)?, at)?;
        at += len as u64;
    }
    Ok(())
}

/// The index file, or an empty index where it cannot be used: it is only a cache.
fn open_index(
    disk: &dyn Disk,
    volume_file: &dyn File,
    superblock: &Superblock,
    report: &mut OpenReport,
) -> Result<Sealed, OpenError> {
    let volume_bytes = volume_file.size_bytes()?;
    let opened = disk
        .open(&files::index(superblock.volume, superblock.generation))
        .map_err(SealError::from)
        .and_then(|file| Sealed::open(&*file, superblock, volume_bytes));
    match opened {
        Ok(sealed) => Ok(sealed),
        Err(SealError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Sealed::default())
        }
        Err(error @ (SealError::Io(_) | SealError::Format(_) | SealError::Stale)) => {
            tracing::warn!(volume = %superblock.volume, %error, "index file not used: scanning the volume instead");
            report.index_problem = Some(error.to_string());
            Ok(Sealed::default())
        }
    }
}

/// Cuts off what is behind the last whole record, and tells how much that was.
fn cut_torn_end(file: &dyn File, end: u64) -> io::Result<u64> {
    let torn = file.size_bytes()?.saturating_sub(end);
    if torn > 0 {
        file.set_len(end)?;
    }
    // What recovery believed must not be lost by the next crash.
    file.sync()?;
    Ok(torn)
}
