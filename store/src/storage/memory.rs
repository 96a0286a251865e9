//! A disk in memory that knows what was synced.
//!
//! [`MemoryDisk::crash`] gives the disk as a power cut might leave it: what was synced
//! is there; of what was not, each write is there, or not, or in part, whatever its
//! order; and of the creations, renames and removals since the last directory sync,
//! some first ones have happened. [`MemoryDisk::cut_after`] pulls the plug at the N-th
//! step, or kills the process there, if [`MemoryDisk::restore_power`] follows;
//! [`MemoryDisk::fail_next`] makes one kind of call fail, and
//! [`MemoryDisk::set_capacity`] fills the disk up.
//!
//! A sync that fails does what the kernel does: the pages count as clean from then on
//! and can still be read, but are not on disk, and no later sync puts them there. As on ext4,
//! that is so even if the same bytes are written once more.
//! [`MemoryDisk::evict`] makes such pages show what is on disk.

mod content;
mod power;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rand::Rng;

use self::content::{Bytes, Change};
use self::power::{Power, Verdict};
use super::{Disk, File, Space};

pub use self::power::{Call, Fault};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<Names>,
    power: Mutex<Power>,
    syncs: Gate,
}

/// Where syncs wait while somebody holds them up.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
    /// How long a sync takes that nobody holds up.
    takes: Duration,
}

/// Holds up the file syncs of a disk for as long as it lives.
pub struct HeldSyncs {
    shared: Arc<Shared>,
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

type Content = Mutex<Bytes>;

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
        self.shared.power.lock().steps()
    }

    /// How many calls of this kind have been made.
    pub fn calls(&self, call: Call) -> u64 {
        self.shared.power.lock().calls(call)
    }

    /// After `steps` more changing calls, every call fails, as if the power were gone.
    pub fn cut_after(&self, steps: u64) {
        self.shared.power.lock().cut_after(steps);
    }

    /// Calls succeed again, and the files are as they were at the cut: as after the end
    /// of a process whose machine goes on.
    pub fn restore_power(&self) {
        self.shared.power.lock().restore();
    }

    /// Whether the power is gone.
    pub fn is_cut(&self) -> bool {
        self.shared.power.lock().is_cut()
    }

    /// The `skip + 1`-th `call` from now fails once.
    pub fn fail_next(&self, call: Call, skip: u64, fault: impl Into<Fault>) {
        self.shared.power.lock().plan(call, skip, fault.into(), false);
    }

    /// The `skip + 1`-th `call` from now fails, and all after it.
    pub fn fail_from(&self, call: Call, skip: u64, fault: impl Into<Fault>) {
        self.shared.power.lock().plan(call, skip, fault.into(), true);
    }

    /// No more calls fail. Tells whether any did since the fault was planned.
    pub fn stop_failing(&self) -> bool {
        self.shared.power.lock().unplan()
    }

    /// From now on the files may hold `bytes` in all; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.power.lock().capacity = bytes;
    }

    /// From now on the disk is mounted for reading only, or no longer.
    pub fn set_read_only(&self, read_only: bool) {
        self.shared.power.lock().read_only = read_only;
    }

    /// Holds up every file sync until the answer is dropped.
    #[must_use]
    pub fn hold_syncs(&self) -> HeldSyncs {
        self.shared.syncs.state.lock().closed = true;
        HeldSyncs { shared: Arc::clone(&self.shared) }
    }

    /// From now on every file sync takes this long.
    pub fn slow_syncs(&self, takes: Duration) {
        self.shared.syncs.state.lock().takes = takes;
    }

    /// Changes one byte of a file for good, as rot does.
    pub fn flip(&self, name: &str, at: usize, mask: u8) {
        if let Some(content) = self.content(name) {
            content.lock().flip(at, mask);
        }
    }

    /// From now on reads that touch these bytes of a file fail with EIO; an empty range heals it.
    pub fn spoil(&self, name: &str, range: Range<u64>) {
        if let Some(content) = self.content(name) {
            content.lock().spoil(range);
        }
    }

    /// Drops every page that counts as clean: reads show what is on disk.
    pub fn evict(&self) {
        for content in self.shared.names.lock().now.values() {
            content.lock().evict();
        }
    }

    /// The bytes of a file as they are now.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.content(name).map(|content| content.lock().now().to_vec())
    }

    /// Puts a file there, already durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut names = self.shared.names.lock();
        let content = Arc::new(Mutex::new(Bytes::durable(bytes)));
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

    fn content(&self, name: &str) -> Option<Arc<Content>> {
        self.shared.names.lock().now.get(name).cloned()
    }

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

impl HeldSyncs {
    /// Whether a sync waits now.
    pub fn any_waits(&self) -> bool {
        self.shared.syncs.state.lock().waiting > 0
    }
}

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        self.shared.syncs.state.lock().closed = false;
        self.shared.syncs.opened.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.opened.wait_while(&mut state, |state| state.closed);
        state.waiting -= 1;
        let takes = state.takes;
        drop(state);
        if !takes.is_zero() {
            std::thread::sleep(takes);
        }
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

impl Shared {
    /// Counts a call that either happens or fails.
    fn step(&self, call: Call) -> io::Result<()> {
        match self.power.lock().judge(call)? {
            Verdict::Go | Verdict::Short | Verdict::WrongBit => Ok(()),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn used(&self) -> u64 {
        self.names.lock().now.values().map(|content| content.lock().len()).sum()
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
        self.shared.step(Call::Open)?;
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
        self.shared.step(Call::List)?;
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
        let total_bytes = free_bytes.saturating_add(self.shared.used());
        let is_read_only = self.shared.power.lock().read_only;
        Ok(Space { total_bytes, free_bytes, is_read_only })
    }
}

impl File for MemoryFile {
    fn read_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let verdict = self.shared.power.lock().judge(Call::Read)?;
        match verdict {
            Verdict::Go | Verdict::WrongBit => self.content.lock().read(out, len, offset),
            Verdict::Short => self.content.lock().read(out, len.div_ceil(2), offset),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn read_cached_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        // Half of all reads go to the disk, so that both ways are taken.
        if (offset / 8).is_multiple_of(2) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(out, len, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let verdict = self.shared.power.lock().judge(Call::Write)?;
        let growth = (offset + data.len() as u64).saturating_sub(self.content.lock().len());
        let missing = growth.saturating_sub(self.shared.room());
        let fits = data.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
        if fits == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_wrong = matches!(verdict, Verdict::WrongBit);
        let half = fits.min(data.len().div_ceil(2));
        let (written, result) = match verdict {
            Verdict::Go | Verdict::WrongBit => (fits, Ok(fits)),
            Verdict::Short => (half, Ok(half)),
            Verdict::Fail(error) if error.kind() == io::ErrorKind::Interrupted => (0, Err(error)),
            // Some of it may have come before the error did.
            Verdict::Fail(error) => (half, Err(error)),
        };
        let mut written = data.get(..written).unwrap_or_default().to_vec();
        let middle = written.len() / 2;
        if let Some(byte) = written.get_mut(middle).filter(|_| is_wrong) {
            *byte ^= 1;
        }
        self.content.lock().change(Change::Write(offset, written));
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.syncs.pass();
        let verdict = self.shared.power.lock().judge(Call::Sync)?;
        match verdict {
            Verdict::Go | Verdict::Short | Verdict::WrongBit => self.content.lock().sync(),
            Verdict::Fail(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.content.lock().fail_sync();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn prefetch(&self, _range: Range<u64>) {}

    fn evict(&self, _range: Range<u64>) -> io::Result<()> {
        self.content.lock().evict();
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.step(Call::SetLen)?;
        self.content.lock().change(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.step(Call::Allocate)?;
        let growth = (offset + len).saturating_sub(self.content.lock().len());
        if growth > self.shared.room() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
