//! Who a volume file is: what its superblock says or, where that has rotted, its index file.
//!
//! The head of an index file names volume, replica and generation under a checksum of its
//! own. That these are the volume file's is not taken on trust: the checksum of every
//! needle header begins with replica and generation, so one header that fits proves them,
//! and under any other identity none does.

use std::io;

use uuid::Uuid;

use super::files;
use super::open::OpenError;
use super::scanner::{Found, Scanner};
use super::verify::{VerifyError, read_superblock};
use crate::format::FormatError;
use crate::format::index::{BLOCK_BYTES, IndexHead};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::id::VolumeId;
use crate::storage::{Disk, File, is_device_error, read_exact_at, read_up_to, write_all_at};

/// A header that proves the identity is looked for this far into the file.
const PROOF_BYTES: u64 = 64 << 20;

/// Who a volume file is.
pub(super) struct Identity {
    pub superblock: Superblock,
    /// What is wrong with the file's own superblock.
    pub problem: Option<Problem>,
}

/// Why a superblock cannot be used.
#[derive(Debug)]
pub(super) struct Problem {
    pub reason: String,
    /// The device failed to read it: it may still be whole.
    pub is_device_error: bool,
}

/// Finds out who the volume file `file` is, which has the name of volume `id`.
pub(super) fn identify(
    disk: &dyn Disk,
    file: &dyn File,
    cluster: Uuid,
    id: VolumeId,
) -> Result<Identity, OpenError> {
    let problem = match read_superblock(file) {
        Ok(superblock) => {
            check_owner(&superblock, cluster, id)?;
            return Ok(Identity { superblock, problem: None });
        }
        Err(VerifyError::Format(error @ FormatError::Version { .. })) => return Err(error.into()),
        Err(VerifyError::Io(error)) if !is_device_error(&error) => return Err(error.into()),
        Err(error) => Problem {
            reason: error.to_string(),
            is_device_error: matches!(error, VerifyError::Io(_)),
        },
    };
    let head = by_index_files(disk, file, id)?;
    let head = head.ok_or_else(|| OpenError::NoIdentity { reason: problem.reason.clone() })?;
    Ok(Identity { superblock: stand_in(cluster, &head), problem: Some(problem) })
}

/// The superblock of the volume file that `head` belongs to. When that was made, nobody knows.
pub(super) fn stand_in(cluster: Uuid, head: &IndexHead) -> Superblock {
    let IndexHead { volume, replica, generation, .. } = *head;
    Superblock { cluster, volume, replica, generation, created_ms: 0 }
}

/// Writes a superblock that has rotted once more, and makes sure that it is on disk.
/// Whatever a crash leaves of that is as good as the rot was.
pub(super) fn restore(
    file: &dyn File,
    superblock: &Superblock,
    problem: &Problem,
) -> io::Result<()> {
    if problem.is_device_error {
        return Err(io::Error::other("the device failed to read its superblock"));
    }
    write_all_at(file, &superblock.to_bytes(), 0)?;
    file.sync()?;
    file.evict(0..SUPERBLOCK_BYTES as u64)?;
    if read_exact_at(file, SUPERBLOCK_BYTES, 0)? == superblock.to_bytes() {
        return Ok(());
    }
    Err(io::Error::other("a superblock that was written again does not read back"))
}

fn check_owner(superblock: &Superblock, cluster: Uuid, id: VolumeId) -> Result<(), OpenError> {
    if superblock.cluster != cluster {
        return Err(OpenError::OtherCluster { expected: cluster, found: superblock.cluster });
    }
    if superblock.volume != id {
        return Err(OpenError::OtherVolume { name: id, found: superblock.volume });
    }
    Ok(())
}

/// The head of the index file that belongs to `file`, if there is one.
pub(super) fn by_index_files(
    disk: &dyn Disk,
    file: &dyn File,
    id: VolumeId,
) -> io::Result<Option<IndexHead>> {
    for name in disk.list()? {
        let Some(generation) = files::parse_index(&name, id) else { continue };
        // One that cannot be read proves nothing, and another one may.
        let Ok(index) = disk.open(&name) else { continue };
        if let Some(head) = proven_head(file, &*index)?
            && (head.volume, head.generation) == (id, generation)
        {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The head of `index` if what `file` holds proves that it is `file`'s own.
pub(super) fn proven_head(file: &dyn File, index: &dyn File) -> io::Result<Option<IndexHead>> {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    if read_up_to(index, &mut bytes, BLOCK_BYTES, 0).is_err() {
        return Ok(None);
    }
    let Ok(head) = IndexHead::from_bytes(&bytes) else { return Ok(None) };
    let records = SUPERBLOCK_BYTES as u64..file.size_bytes()?.min(PROOF_BYTES);
    if records.is_empty() {
        // Where there is no needle, none can be misread.
        return Ok((head.entries == 0).then_some(head));
    }
    for found in Scanner::new(file, head.salt(), records) {
        if let Found::Record { .. } = found? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}
