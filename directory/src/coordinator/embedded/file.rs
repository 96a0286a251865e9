//! The file of the embedded coordinator.
//!
//! ```json
//! { "format": 1, "crc32": 1234, "content": { "last_volume_id": 2, .. } }
//! ```
//!
//! `crc32` covers the text of `content` exactly as it stands in the file: a counter
//! with one flipped digit is still good JSON, and would give a key out twice. A new
//! content is written to a file of its own, synced, and renamed over the old one, so
//! the file is whole at every instant.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::State;
use crate::coordinator::{ClusterMap, CoordinatorError};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    crc32: u32,
    content: Box<RawValue>,
}

#[derive(Serialize)]
struct ContentRef<'a> {
    last_volume_id: u32,
    next_keys: &'a BTreeMap<VolumeId, u64>,
    map: &'a ClusterMap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    last_volume_id: u32,
    next_keys: BTreeMap<VolumeId, u64>,
    map: ClusterMap,
}

/// Why a state was not written.
pub(super) enum WriteError {
    /// The file is as before.
    Unchanged(CoordinatorError),
    /// After a crash of the machine the file may hold the new state or the old one.
    Unsure(CoordinatorError),
}

impl WriteError {
    pub(super) fn into_inner(self) -> CoordinatorError {
        match self {
            Self::Unchanged(error) | Self::Unsure(error) => error,
        }
    }
}

/// Reads the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<State>, CoordinatorError> {
    match fs::read(path) {
        Ok(bytes) => decode(path, &bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Replaces the file. Durable on return.
pub(super) fn write(path: &Path, state: &State) -> Result<(), WriteError> {
    let text = encode(state).map_err(|error| {
        WriteError::Unchanged(io_error("encode", path)(io::Error::other(error)))
    })?;
    let temporary = path.with_added_extension("new");
    write_synced(&temporary, &text)
        .map_err(|error| WriteError::Unchanged(io_error("write", &temporary)(error)))?;
    fs::rename(&temporary, path)
        .map_err(|error| WriteError::Unchanged(io_error("replace", path)(error)))?;
    sync_parent(path)
        .map_err(|error| WriteError::Unsure(io_error("sync the directory of", path)(error)))
}

pub(super) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> CoordinatorError + Copy {
    move |source| CoordinatorError::Io { action, path: path.to_owned(), source }
}

fn encode(state: &State) -> Result<Vec<u8>, serde_json::Error> {
    let content = ContentRef {
        last_volume_id: state.last_volume_id,
        next_keys: &state.next_keys,
        map: &state.map,
    };
    let content = RawValue::from_string(serde_json::to_string_pretty(&content)?)?;
    let crc32 = crc32fast::hash(content.get().as_bytes());
    serde_json::to_vec(&Envelope { format: FORMAT, crc32, content })
}

fn decode(path: &Path, bytes: &[u8]) -> Result<State, CoordinatorError> {
    let corrupt = |reason: String| CoordinatorError::Corrupt { path: path.to_owned(), reason };
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if envelope.format > FORMAT {
        let (found, supported) = (envelope.format, FORMAT);
        return Err(CoordinatorError::NewerFormat { path: path.to_owned(), found, supported });
    }
    if envelope.format == 0 {
        return Err(corrupt("there is no format 0".to_owned()));
    }
    let crc32 = crc32fast::hash(envelope.content.get().as_bytes());
    if crc32 != envelope.crc32 {
        return Err(corrupt(format!("its checksum is {crc32}, expected {}", envelope.crc32)));
    }
    let content: Content =
        serde_json::from_str(envelope.content.get()).map_err(|error| corrupt(error.to_string()))?;
    Ok(State {
        map: Arc::new(content.map),
        last_volume_id: content.last_volume_id,
        next_keys: content.next_keys,
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A file left by a crash may have other rights; `mode` only counts for a new one.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
