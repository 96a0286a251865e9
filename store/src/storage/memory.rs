//! A disk in memory that knows what was synced.
//!
//! [`MemoryDisk::crash`] gives the disk as a power cut might leave it: what was synced
//! is there; of what was not, each write is there, or not, or in part, whatever its
//! order; and of the creations, renames and removals since the last directory sync,
//! some first ones have happened. [`MemoryDisk::cut_after`] pulls the plug at the N-th
//! step, [`MemoryDisk::fail_next`] makes one kind of call fail, and
//! [`MemoryDisk::set_capacity`] fills the disk up.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;

use super::{Disk, File, Mapped, Space};

/// A kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::sync`].
    Sync,
    /// [`File::set_len`].
    SetLen,
    /// [`File::allocate`].
    Allocate,
    /// [`Disk::create`].
    Create,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::sync`].
    SyncNames,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<Names>,
    power: Mutex<Power>,
}

/// File names, and how they came to be what they are since the last directory sync.
#[derive(Default)]
struct Names {
    durable: BTreeMap<String, Arc<Content>>,
    now: BTreeMap<String, Arc<Content>>,
    unsynced: Vec<NameChange>,
}

#[derive(Clone)]
enum NameChange {
    Create(String, Arc<Content>),
    Rename(String, String),
    Remove(String),
}

/// The plug, the planned faults and the room that is left.
#[derive(Default)]
struct Power {
    steps: u64,
    cut_at: Option<u64>,
    fault: Option<(Call, u64, io::ErrorKind)>,
    capacity: Option<u64>,
}

type Content = Mutex<Bytes>;

#[derive(Default)]
struct Bytes {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Change>,
    /// Reads that touch these fail, as those of a bad sector do.
    unreadable: Vec<Range<u64>>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

struct MemoryFile {
    content: Arc<Content>,
    shared: Arc<Shared>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls that change something have been made.
    pub fn steps(&self) -> u64 {
        self.shared.power.lock().steps
    }

    /// After `steps` more changing calls, every call fails, as if the power were gone.
    pub fn cut_after(&self, steps: u64) {
        let mut power = self.shared.power.lock();
        power.cut_at = Some(power.steps + steps);
    }

    /// Whether the power is gone.
    pub fn is_cut(&self) -> bool {
        let power = self.shared.power.lock();
        power.cut_at.is_some_and(|at| power.steps > at)
    }

    /// The `skip + 1`-th `call` from now fails once.
    pub fn fail_next(&self, call: Call, skip: u64, kind: io::ErrorKind) {
        self.shared.power.lock().fault = Some((call, skip, kind));
    }

    /// From now on the files may hold `bytes` in all; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.power.lock().capacity = bytes;
    }

    /// Changes one byte of a file for good, as rot does.
    pub fn flip(&self, name: &str, at: usize, mask: u8) {
        let names = self.shared.names.lock();
        if let Some(content) = names.now.get(name) {
            let mut bytes = content.lock();
            let Bytes { durable, now, .. } = &mut *bytes;
            for copy in [durable, now] {
                if let Some(byte) = copy.get_mut(at) {
                    *byte ^= mask;
                }
            }
        }
    }

    /// From now on reads that touch these bytes of a file fail with EIO; an empty range heals it.
    pub fn spoil(&self, name: &str, range: Range<u64>) {
        if let Some(content) = self.shared.names.lock().now.get(name) {
            let unreadable = &mut content.lock().unreadable;
            if range.is_empty() { unreadable.clear() } else { unreadable.push(range) }
        }
    }

    /// The bytes of a file as they are now.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.names.lock().now.get(name).map(|content| content.lock().now.clone())
    }

    /// Puts a file there, already durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut names = self.shared.names.lock();
        let content =
            Arc::new(Mutex::new(Bytes { durable: bytes.clone(), now: bytes, ..Bytes::default() }));
        names.durable.insert(name.to_owned(), Arc::clone(&content));
        names.now.insert(name.to_owned(), content);
    }

    /// The disk as a power cut now might leave it. This disk goes on as it was.
    #[must_use]
    pub fn crash(&self, rng: &mut impl Rng) -> Self {
        let names = self.shared.names.lock();
        let mut kept = names.durable.clone();
        let happened = rng.random_range(0..=names.unsynced.len());
        for change in names.unsynced.iter().take(happened) {
            apply_name(&mut kept, change);
        }
        let after = Self::new();
        for (name, content) in kept {
            after.put(&name, content.lock().after_crash(rng));
        }
        after
    }
}

fn apply_name(names: &mut BTreeMap<String, Arc<Content>>, change: &NameChange) {
    match change {
        NameChange::Create(name, content) => {
            names.insert(name.clone(), Arc::clone(content));
        }
        NameChange::Rename(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Bytes {
    fn after_crash(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match (change, rng.random_range(0..4)) {
                (_, 0) => {}
                (Change::Write(offset, data), 1) => {
                    // Torn: some bytes of it, and the file may be as long as if all had come.
                    let cut = rng.random_range(0..=data.len());
                    let torn = data.get(..cut).unwrap_or_default().to_vec();
                    if rng.random() {
                        apply(&mut bytes, &Change::Write(*offset, vec![0; data.len()]));
                    }
                    apply(&mut bytes, &Change::Write(*offset, torn));
                }
                (Change::Write(offset, data), 2) => {
                    // Some sectors of it, in whatever order the device liked.
                    let sector = 1 << rng.random_range(6..13);
                    for (at, piece) in data.chunks(sector).enumerate().filter(|_| rng.random()) {
                        let place = offset + (at * sector) as u64;
                        apply(&mut bytes, &Change::Write(place, piece.to_vec()));
                    }
                }
                (whole, _) => apply(&mut bytes, whole),
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(_, data) if data.is_empty() => {}
        Change::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(start..end) {
                place.copy_from_slice(data);
            }
        }
        Change::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
    }
}

impl Shared {
    /// Counts a call, and fails it if the power is gone or a fault is due.
    fn step(&self, call: Call) -> io::Result<()> {
        let mut power = self.power.lock();
        if call != Call::Read {
            power.steps += 1;
        }
        if power.cut_at.is_some_and(|at| power.steps > at) {
            return Err(io::Error::other("the power is gone"));
        }
        match power.fault {
            Some((failing, 0, kind)) if failing == call => {
                power.fault = None;
                Err(kind.into())
            }
            Some((failing, skip, kind)) if failing == call => {
                power.fault = Some((failing, skip - 1, kind));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names.lock().now.values().map(|content| content.lock().now.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        let capacity = self.power.lock().capacity;
        capacity.map_or(u64::MAX / 4, |capacity| capacity.saturating_sub(self.used()))
    }

    fn file(self: &Arc<Self>, content: &Arc<Content>) -> Arc<dyn File> {
        Arc::new(MemoryFile { content: Arc::clone(content), shared: Arc::clone(self) })
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let names = self.shared.names.lock();
        let content = names.now.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.shared.file(content))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.shared.step(Call::Create)?;
        let mut names = self.shared.names.lock();
        if names.now.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::<Content>::default();
        let change = NameChange::Create(name.to_owned(), Arc::clone(&content));
        apply_name(&mut names.now, &change);
        names.unsynced.push(change);
        Ok(self.shared.file(&content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.shared.step(Call::Rename)?;
        self.change_names(from, NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.step(Call::Remove)?;
        self.change_names(name, NameChange::Remove(name.to_owned()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.names.lock().now.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.step(Call::SyncNames)?;
        let mut names = self.shared.names.lock();
        names.unsynced.clear();
        names.durable = names.now.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let free_bytes = self.shared.room();
        Ok(Space { total_bytes: free_bytes.saturating_add(self.shared.used()), free_bytes })
    }
}

impl MemoryDisk {
    fn change_names(&self, needed: &str, change: NameChange) -> io::Result<()> {
        let mut names = self.shared.names.lock();
        if !names.now.contains_key(needed) {
            return Err(io::ErrorKind::NotFound.into());
        }
        apply_name(&mut names.now, &change);
        names.unsynced.push(change);
        Ok(())
    }
}

impl MemoryFile {
    fn change(&self, change: Change) {
        let mut content = self.content.lock();
        apply(&mut content.now, &change);
        content.unsynced.push(change);
    }
}

impl File for MemoryFile {
    fn read_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        self.shared.step(Call::Read)?;
        let content = self.content.lock();
        let read = offset..offset + len as u64;
        if content.unreadable.iter().any(|bad| bad.start < read.end && read.start < bad.end) {
            return Err(rustix::io::Errno::IO.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.now.len());
        let end = start.saturating_add(len).min(content.now.len());
        out.extend_from_slice(content.now.get(start..end).unwrap_or_default());
        Ok(end - start)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.shared.step(Call::Write)?;
        let len = self.content.lock().now.len() as u64;
        let growth = (offset + data.len() as u64).saturating_sub(len);
        let missing = growth.saturating_sub(self.shared.room());
        let fits = data.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
        if fits == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Change::Write(offset, data.get(..fits).unwrap_or_default().to_vec()));
        Ok(fits)
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.step(Call::Sync)?;
        let mut content = self.content.lock();
        content.unsynced.clear();
        let Bytes { durable, now, .. } = &mut *content;
        durable.clone_from(now);
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.step(Call::SetLen)?;
        self.change(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.step(Call::Allocate)?;
        let growth = (offset + len).saturating_sub(self.size_bytes()?);
        if growth > self.shared.room() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn map(&self) -> io::Result<Mapped> {
        Ok(Arc::new(self.content.lock().now.clone()))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::storage::write_all_at;

    #[test]
    fn what_was_synced_survives_every_crash_and_the_rest_only_some() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync().unwrap();
        write_all_at(&*file, b"kept", 0).unwrap();
        file.sync().unwrap();
        write_all_at(&*file, b"lost?", 4).unwrap();
        let ends: std::collections::BTreeSet<_> = (0..200)
            .map(|seed| disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("a").unwrap())
            .inspect(|bytes| assert!(bytes.starts_with(b"kept")))
            .collect();
        assert!(ends.contains(b"kept".as_slice()) && ends.contains(b"keptlost?".as_slice()));
        assert!(ends.len() > 3, "torn writes too: {ends:?}");
    }

    #[test]
    fn a_rename_may_be_lost_until_the_directory_is_synced() {
        let disk = MemoryDisk::new();
        disk.put("new", b"2".to_vec());
        disk.put("live", b"1".to_vec());
        disk.rename("new", "live").unwrap();
        let seen: std::collections::BTreeSet<_> = (0..50)
            .map(|seed| disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("live").unwrap())
            .collect();
        assert_eq!(seen.len(), 2);
        disk.sync().unwrap();
        for seed in 0..50 {
            assert_eq!(disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("live").unwrap(), b"2");
        }
    }
}
