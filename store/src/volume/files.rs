//! What a volume's files are called in its data directory.
//!
//! | name | content |
//! |---|---|
//! | `0000000007.vol` | volume 7 |
//! | `0000000007.3.idx` | the index file of its generation 3 |
//! | `0000000007.compact` | a compaction's copy, removed when found at start |
//! | `0000000007.readonly` | empty: an operator made the volume read-only |
//! | `0000000007.epoch` | the epoch that the volume was told; without it none was |
//! | `0000000007.copying` | empty: the volume is still being filled from other replicas |
//! | `0000000007.removed` | a volume that was ordered away, removed when found at start with all its files |
//! | `0000000007.scrub` | how far the scrub has come and what it found; made again when missing |
//! | `scrub-paused` | empty: an operator paused the scrub of this directory |
//! | `*.tmp` | a file being written, removed when found at start |
//!
//! Renaming `.compact` to `.vol` is the one commit point of a compaction. The index
//! file carries the generation in its name, so the new one is written beside the old
//! one before that, and whichever volume file wins finds its own.
//!
//! Renaming `.vol` to `.removed` is the one commit point of a removal. `.epoch` and `.copying`
//! are there before the volume file that they are about, and removed after it.

use std::io;

use crate::id::VolumeId;
use crate::storage::{Disk, write_all_at};

/// Extension of volume files, with the dot.
pub const VOLUME: &str = ".vol";
/// Extension of what is left of a removed volume, with the dot.
const REMOVED: &str = ".removed";

/// The volume file.
pub fn volume(id: VolumeId) -> String {
    format!("{:010}{VOLUME}", id.get())
}

/// The index file of one generation.
pub fn index(id: VolumeId, generation: u64) -> String {
    format!("{:010}.{generation}.idx", id.get())
}

/// The generation that `name` is the index file of, if it is one of volume `id`.
pub fn parse_index(name: &str, id: VolumeId) -> Option<u64> {
    let kind = name.strip_prefix(&format!("{:010}.", id.get()))?;
    let generation = kind.strip_suffix(".idx")?.parse().ok()?;
    (index(id, generation) == name).then_some(generation)
}

/// A compaction's copy on its way.
pub fn compacting(id: VolumeId) -> String {
    format!("{:010}.compact", id.get())
}

/// The mark of a read-only volume.
pub fn read_only(id: VolumeId) -> String {
    format!("{:010}.readonly", id.get())
}

/// The epoch of a volume.
pub fn epoch(id: VolumeId) -> String {
    format!("{:010}.epoch", id.get())
}

/// The mark of a volume that is still being filled.
pub fn copying(id: VolumeId) -> String {
    format!("{:010}.copying", id.get())
}

/// What a volume file is called once its volume is removed.
pub fn removed(id: VolumeId) -> String {
    format!("{:010}{REMOVED}", id.get())
}

/// What the scrub knows of a volume.
pub fn scrub(id: VolumeId) -> String {
    format!("{:010}.scrub", id.get())
}

/// The mark of a data directory whose scrub is paused.
pub const SCRUB_PAUSED: &str = "scrub-paused";

/// Whether `name` is a leftover of volume `id` that generation `generation` has no use for.
pub fn is_leftover(name: &str, id: VolumeId, generation: u64) -> bool {
    let Some(kind) = name.strip_prefix(&format!("{:010}.", id.get())) else { return false };
    let extension = kind.rsplit('.').next();
    match extension {
        Some("compact" | "tmp") => true,
        Some("idx") => name != index(id, generation),
        _ => false,
    }
}

/// Whether `name` is a file of volume `id`.
pub fn is_of(name: &str, id: VolumeId) -> bool {
    name.strip_prefix(&format!("{:010}.", id.get())).is_some_and(|kind| {
        let whole = kind.strip_suffix(".tmp").unwrap_or(kind);
        let whole_name = name.strip_suffix(".tmp").unwrap_or(name);
        matches!(whole, "vol" | "compact" | "readonly" | "epoch" | "copying" | "removed" | "scrub")
            || parse_index(whole_name, id).is_some()
    })
}

/// The volume that `name` is the volume file of.
pub fn parse_volume(name: &str) -> Option<VolumeId> {
    let id = parse_digits(name.strip_suffix(VOLUME)?)?;
    (volume(id) == name).then_some(id)
}

/// The volume that `name` is what is left of.
pub fn parse_removed(name: &str) -> Option<VolumeId> {
    let id = parse_digits(name.strip_suffix(REMOVED)?)?;
    (removed(id) == name).then_some(id)
}

fn parse_digits(digits: &str) -> Option<VolumeId> {
    digits.trim_start_matches('0').parse().ok()
}

/// Writes a file in place of the one of that name: whole, or not at all. It is durable after
/// the next sync of the disk.
pub fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    remove_if_there(disk, &temporary)?;
    let file = disk.create(&temporary)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync()?;
    disk.rename(&temporary, name)
}

/// Removes a file; one that is not there is a success.
pub fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_leftovers_told_apart() {
        let id = VolumeId::new(7).unwrap();
        assert_eq!(parse_volume(&volume(id)), Some(id));
        for foreign in ["7.vol", "0000000000.vol", "0000000007.compact", "x.vol", ".vol"] {
            assert_eq!(parse_volume(foreign), None, "{foreign}");
        }
        assert_eq!(parse_removed(&removed(id)), Some(id));
        assert_eq!((parse_removed(&volume(id)), parse_removed("7.removed")), (None, None));
        assert_eq!(parse_index(&index(id, 3), id), Some(3));
        for foreign in ["0000000007.03.idx", "0000000007.3.idx.tmp", "0000000070.3.idx", ".idx"] {
            assert_eq!(parse_index(foreign, id), None, "{foreign}");
        }
        for (name, leftover) in [
            (index(id, 3), false),
            (index(id, 2), true),
            (index(id, 3) + ".tmp", true),
            (compacting(id), true),
            (volume(id), false),
            (read_only(id), false),
            (epoch(id), false),
            (epoch(id) + ".tmp", true),
            (copying(id), false),
            (removed(id), false),
            (scrub(id), false),
            (scrub(id) + ".tmp", true),
            (compacting(VolumeId::new(70).unwrap()), false),
        ] {
            assert_eq!(is_leftover(&name, id, 3), leftover, "{name}");
        }
    }
}
