//! What the volumes say of names, sorted by name: the needles of billions of names fit into no
//! memory, so they go into a database of their own, which sorts them on disk.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `said` | bucket, 0, length of the name, name, 0, version | nothing: a removal |
//! | `said` | bucket, 0, length of the name, name, 1, upload, index, volume, needle key | a needle |
//! | `dead` | volume, needle key | nothing: a tombstone of a volume with several replicas |
//!
//! Numbers are big-endian, because the database sorts keys by their bytes. Replicas of a
//! needle have one key, and so become one.
#![expect(
    clippy::big_endian_bytes,
    reason = "the database sorts keys by their bytes, and only big-endian numbers sort so"
)]

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions};
use hayrick_store::{Cookie, Key, NeedleId, VolumeId};
use serde::{Deserialize, Serialize};

use super::contest::{Piece, Upload};
use crate::names::fjall::engine_error;
use crate::names::{NamesError, NeedleRef, row};
use crate::{BucketName, ObjectName};

const FORMAT: u8 = 1;
const REMOVAL: u8 = 0;
const NEEDLE: u8 = 1;
const MEMTABLE_BYTES: u64 = 64 << 20;

/// The database.
pub(super) struct Staging {
    database: Database,
    said: Keyspace,
    dead: Keyspace,
}

/// All that is said of one name.
pub(super) struct Said {
    pub(super) bucket: BucketName,
    pub(super) name: ObjectName,
    /// The version of its last removal.
    pub(super) removed: Option<u64>,
    /// What is alive of its uploads. All of one name's are in memory at a time.
    pub(super) uploads: Vec<Upload>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    cookie: Cookie,
    size_bytes: u32,
    count: u32,
    version: u64,
    content_type: String,
    user: Vec<(String, String)>,
}

impl Staging {
    /// Makes the database in the folder `path`, which must not be there.
    pub(super) fn create(path: &Path) -> Result<Self, NamesError> {
        // A crash means to begin again: nothing is synced.
        let builder = Database::builder(path).manual_journal_persist(true);
        let database = builder.open().map_err(engine_error)?;
        let keyspace = |name| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            database.keyspace(name, options).map_err(engine_error)
        };
        Ok(Self { said: keyspace("said")?, dead: keyspace("dead")?, database })
    }

    /// Notes a needle of the upload with the version `upload`.
    pub(super) fn needle(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        upload: u64,
        piece: Piece,
    ) -> Result<(), NamesError> {
        let Piece { needle, index, count, version, content_type, user } = piece;
        let NeedleId { volume, key, cookie } = needle.id;
        let mut place = prefix(bucket, name);
        place.push(NEEDLE);
        place.extend(upload.to_be_bytes());
        place.extend(index.to_be_bytes());
        place.extend(volume.get().to_be_bytes());
        place.extend(key.get().to_be_bytes());
        let size_bytes = needle.size_bytes;
        let value = Value { cookie, size_bytes, count, version, content_type, user };
        self.said.insert(place, row::to_bytes(FORMAT, &value)?).map_err(engine_error)
    }

    /// Notes that a name was removed.
    pub(super) fn removal(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        version: u64,
    ) -> Result<(), NamesError> {
        let mut place = prefix(bucket, name);
        place.push(REMOVAL);
        place.extend(version.to_be_bytes());
        self.said.insert(place, []).map_err(engine_error)
    }

    /// Notes that a needle is deleted, on whichever replica.
    pub(super) fn dead(&self, volume: VolumeId, key: Key) -> Result<(), NamesError> {
        self.dead.insert(dead_key(volume, key), []).map_err(engine_error)
    }

    /// Goes through all names, sorted by bucket.
    pub(super) fn for_each<E: From<NamesError>>(
        &self,
        mut visit: impl FnMut(Said) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut said: Option<(Vec<u8>, Said, u64)> = None;
        for entry in self.said.iter() {
            let (key, value) = entry.into_inner().map_err(engine_error)?;
            let (prefix, tag, rest) = split(&key).ok_or_else(malformed)?;
            let (_, current, last_upload) = match said.take() {
                Some(same) if same.0 == prefix => said.insert(same),
                other => {
                    if let Some((_, done, _)) = other {
                        visit(done)?;
                    }
                    said.insert((prefix.to_vec(), Said::new(prefix)?, 0))
                }
            };
            if tag == REMOVAL {
                current.removed = current.removed.max(number(rest));
                continue;
            }
            let (upload, piece) = parse_needle(rest, &value)?;
            let id = piece.needle.id;
            if self.dead.contains_key(dead_key(id.volume, id.key)).map_err(engine_error)? {
                continue;
            }
            match current.uploads.last_mut() {
                Some(same) if *last_upload == upload => same.push(piece),
                _ => current.uploads.push(vec![piece]),
            }
            *last_upload = upload;
        }
        said.map_or(Ok(()), |(_, last, _)| visit(last))
    }

    /// Bytes on disk, for whoever watches the room.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

impl Said {
    fn new(prefix: &[u8]) -> Result<Self, NamesError> {
        let parts = || {
            let end = prefix.iter().position(|&byte| byte == 0)?;
            let bucket = str::from_utf8(prefix.get(..end)?).ok()?.parse().ok()?;
            let name = str::from_utf8(prefix.get(end + 3..)?).ok()?.parse().ok()?;
            Some(Self { bucket, name, removed: None, uploads: Vec::new() })
        };
        parts().ok_or_else(malformed)
    }
}

/// Names may hold any byte, so their length stands before them: no key is the start of another.
fn prefix(bucket: &BucketName, name: &ObjectName) -> Vec<u8> {
    let mut key = [bucket.as_str().as_bytes(), &[0]].concat();
    let length = u16::try_from(name.as_str().len()).unwrap_or(u16::MAX);
    key.extend(length.to_be_bytes());
    key.extend(name.as_str().as_bytes());
    key
}

/// What stands before the tag, the tag, and what stands behind it.
fn split(key: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let end = key.iter().position(|&byte| byte == 0)?;
    let (length, _) = key.get(end + 1..)?.split_first_chunk::<2>()?;
    let (prefix, rest) =
        key.split_at_checked(end + 3 + usize::from(u16::from_be_bytes(*length)))?;
    let (tag, rest) = rest.split_first()?;
    Some((prefix, *tag, rest))
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn parse_needle(key: &[u8], value: &[u8]) -> Result<(u64, Piece), NamesError> {
    let parts = || {
        let (upload, rest) = key.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (volume, rest) = rest.split_first_chunk::<4>()?;
        let volume = VolumeId::new(u32::from_be_bytes(*volume))?;
        let key = Key::new(number(rest)?);
        Some((u64::from_be_bytes(*upload), u32::from_be_bytes(*index), volume, key))
    };
    let (upload, index, volume, key) = parts().ok_or_else(malformed)?;
    let value: Value = row::from_bytes(FORMAT, value)?;
    let Value { cookie, size_bytes, count, version, content_type, user } = value;
    let needle = NeedleRef { id: NeedleId { volume, key, cookie }, size_bytes };
    Ok((upload, Piece { needle, index, count, version, content_type, user }))
}

fn dead_key(volume: VolumeId, key: Key) -> [u8; 12] {
    let mut bytes = [0; 12];
    let parts = [&volume.get().to_be_bytes()[..], &key.get().to_be_bytes()];
    for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    bytes
}

fn malformed() -> NamesError {
    NamesError::Corrupt("what was sorted is malformed".to_owned())
}
