//! `hayrick volume import`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hayrick_store::format::NeedleOffset;
use hayrick_store::format::checksum::Trailer;
use hayrick_store::format::needle::{
    BatchPlace, Kind, MAX_DATA_BYTES, MAX_META_BYTES, NeedleHeader,
};
use hayrick_store::storage::Disk;
use hayrick_store::storage::os::OsDisk;
use hayrick_store::volume::digest::{Totals, content};
use hayrick_store::volume::{Durability, Progress, Volume, VolumeOptions, files};
use hayrick_store::{Cookie, Key, Meta, NewNeedle, StoreError, VolumeId};
use serde::Serialize;
use tar::{Archive, Entry, EntryType};
use tempfile::TempDir;

use super::{ABOUT, About, END, End, FORMAT, Told, What};
use crate::failure::{Exit, Failure};
use crate::offline::place::{take_dir, watch};
use crate::output::Output;
use crate::units::{count, size};

const HELP: &str = "\
The exact inverse of `hayrick volume export`: a volume file with the same keys, cookies and
metadata, under the same volume id, so that names and URLs that point into it are good again.
It does not upload; for that, unpack the tar and `hayrick put` the files. The whole tar is
checked first; with --apply the volume is written, beside no other of its id. A server finds
it at its next start; `hayrick names rebuild` gives its objects their names back.

Exit codes: 0 the tar is whole, and with --apply the volume is there; 4 the tar is damaged or
cut short; 1 it did not work. Nothing is left behind then.";

/// Longest PAX header: metadata, in which JSON may turn each byte into six.
const MAX_RECORDS_BYTES: u64 = 8 * MAX_META_BYTES as u64;
const MAX_JSON_BYTES: u64 = 4096;
/// Needles are stored in batches of this many, or of so many bytes.
const BATCH_NEEDLES: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// `hayrick volume import`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ImportArgs {
    /// A tar that `hayrick volume export` wrote
    tar: PathBuf,
    /// The data directory that the volume goes into
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Write the volume; without it the tar is only checked
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    applied: bool,
    volume: VolumeId,
    #[serde(flatten)]
    end: End,
}

/// Runs the command.
pub async fn run(args: ImportArgs, output: Output) -> Result<(), Failure> {
    let ImportArgs { tar, into, apply } = args;
    let label = format!("import of {}", tar.display());
    let answer = watch(label, move |progress| import(&tar, &into, apply, progress)).await?;
    output.answer(&answer, |Answer { applied, volume, end }| {
        let what = if *applied { "is made" } else { "could be made" };
        let (needles, bytes) = (count(end.needles), size(end.bytes));
        format!(
            "volume {volume} {what}: {needles} needles ({bytes}), {} tombstones",
            end.tombstones
        )
    })?;
    if answer.end.damaged > 0 {
        output
            .note(format_args!("{} needles were damaged when it was exported", answer.end.damaged));
    }
    if !answer.applied {
        output.note("nothing was changed: add --apply to write it");
    }
    Ok(())
}

fn import(tar: &Path, into: &Path, apply: bool, progress: &Progress) -> Result<Answer, Failure> {
    let dir = take_dir(into)?;
    let file = File::open(tar).map_err(Failure::file("open", tar))?;
    progress.expect(file.metadata().map_or(0, |metadata| metadata.len()));
    let mut archive = Archive::new(Counted { file, progress });
    let entries = archive.entries().map_err(|error| bad(&error))?.raw(true);
    let mut reader = Reader { records: None, totals: Totals::default(), bytes: 0, tombstones: 0 };
    let mut about = None;
    let mut target: Option<Target> = None;
    for entry in entries {
        match reader.next(entry.map_err(|error| bad(&error))?)? {
            Found::Nothing => {}
            Found::About(found) => {
                let other = dir.identity.is_some_and(|(cluster, _)| cluster != found.cluster);
                if other {
                    let message =
                        format!("the volume is of cluster {}, not of this disk's", found.cluster);
                    return Err(
                        Failure::failed(message).hint("name a disk of that cluster with --into")
                    );
                }
                if dir.volumes().contains(&found.volume) {
                    let path = dir.volume_path(found.volume);
                    return Err(Failure::failed(format!("{} is there already", path.display()))
                        .hint(
                            "two contents of one volume cannot be one: move that file away first",
                        ));
                }
                if apply {
                    target = Some(Target::create(into, &found)?);
                }
                about = Some(found);
            }
            Found::Member(kind, key, cookie, meta, data) => {
                if about.is_none() {
                    return Err(bad(&"it does not begin with .hayrick/volume.json"));
                }
                if let Some(target) = &mut target {
                    target.add(kind, key, cookie, meta, data)?;
                }
            }
            Found::End(end) => {
                let About { volume, .. } =
                    about.ok_or_else(|| bad(&"it does not say which volume it is"))?;
                reader.check(&end)?;
                if let Some(target) = target {
                    target.finish(&end)?;
                }
                return Ok(Answer { applied: apply, volume, end });
            }
        }
    }
    Err(bad(&"it is cut short: .hayrick/end.json is missing"))
}

fn bad(problem: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Damaged, format!("not a tar that `hayrick volume export` wrote: {problem}"))
}

/// Counts what is read, and stops when asked to.
struct Counted<'a> {
    file: File,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if self.progress.advance(count as u64) {
            Ok(count)
        } else {
            Err(io::Error::other("interrupted"))
        }
    }
}

/// What a member is.
enum Found {
    /// Something for the next one.
    Nothing,
    About(About),
    Member(What, Key, Cookie, Meta, Vec<u8>),
    End(End),
}

/// Reads members; at most one is in memory.
struct Reader {
    /// The PAX records before a member.
    records: Option<Vec<u8>>,
    totals: Totals,
    bytes: u64,
    tombstones: u64,
}

impl Reader {
    fn next<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<Found, Failure> {
        match entry.header().entry_type() {
            EntryType::XHeader => {
                self.records = Some(read(&mut entry, MAX_RECORDS_BYTES)?);
                return Ok(Found::Nothing);
            }
            EntryType::Regular => {}
            other => return Err(bad(&format_args!("it has a member of type {other:?}"))),
        }
        let path = entry.path_bytes().into_owned();
        if path == ABOUT.as_bytes() {
            let about: About = json(&mut entry)?;
            if about.format != FORMAT {
                return Err(bad(&format_args!("format {}; upgrade hayrick", about.format)));
            }
            return Ok(Found::About(about));
        }
        if path == END.as_bytes() {
            return json(&mut entry).map(Found::End);
        }
        let records = self.records.take().ok_or_else(|| bad(&"a member has no PAX records"))?;
        let told = Told::parse(&records).map_err(|problem| bad(&problem))?;
        let data = read(&mut entry, MAX_DATA_BYTES.into())?;
        let (kind, key, cookie, meta) = told.into_parts();
        self.note(kind, key, cookie, &meta, &data)?;
        Ok(Found::Member(kind, key, cookie, meta, data))
    }

    /// Adds a member to what the end will be compared with.
    fn note(
        &mut self,
        kind: What,
        key: Key,
        cookie: Cookie,
        meta: &Meta,
        data: &[u8],
    ) -> Result<(), Failure> {
        let meta = meta.to_bytes().map_err(|error| bad(&error))?;
        if kind == What::Tombstone {
            self.tombstones += 1;
            return if data.is_empty() { Ok(()) } else { Err(bad(&"a tombstone has data")) };
        }
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let header = NeedleHeader {
            kind: Kind::Data,
            key,
            cookie,
            data_size: size(data.len()),
            meta_size: size(meta.len()),
            body_crc: Trailer::of(data, &meta).body_crc(),
            appended_ns: 0,
            synced_end: NeedleOffset::default(),
            batch: BatchPlace::ALONE,
        };
        self.bytes += data.len() as u64;
        self.totals.add(header.record_bytes(), content(&header));
        Ok(())
    }

    fn check(&self, end: &End) -> Result<(), Failure> {
        let found = (self.totals.live_needles, self.bytes, self.tombstones, digest(&self.totals));
        if found == (end.needles, end.bytes, end.tombstones, end.digest.clone()) {
            Ok(())
        } else {
            Err(bad(&"its members are not what its end says"))
        }
    }
}

fn digest(totals: &Totals) -> String {
    format!("{:032x}", totals.digest)
}

/// The whole of a member that may have so many bytes.
fn read<R: Read>(entry: &mut Entry<'_, R>, limit: u64) -> Result<Vec<u8>, Failure> {
    let len = entry.header().entry_size().map_err(|error| bad(&error))?;
    if len > limit {
        return Err(bad(&format_args!("a member has {len} bytes, at most {limit} can be")));
    }
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes).map_err(|error| bad(&error))?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(bad(&"it is cut short")) }
}

fn json<R: Read, T: serde::de::DeserializeOwned>(entry: &mut Entry<'_, R>) -> Result<T, Failure> {
    let bytes = read(entry, MAX_JSON_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| bad(&error))
}

/// The volume on its way, in a folder of its own that goes if it does not come to its end.
struct Target {
    folder: TempDir,
    into: PathBuf,
    volume: Volume,
    batch: Vec<NewNeedle>,
    batch_bytes: usize,
}

impl Target {
    fn create(into: &Path, about: &About) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("import-")
            .tempdir_in(into)
            .map_err(Failure::file("write in", into))?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.path()));
        // It is synced as a whole before it gets its place.
        let options = VolumeOptions {
            durability: Durability::Os,
            min_free_bytes: 0,
            ..VolumeOptions::default()
        };
        let opened = Volume::create(&*disk, about.cluster, about.volume)
            .map_err(|error| Failure::failed(format!("cannot make the volume: {error}")))
            .and_then(|()| {
                Volume::open(&disk, about.cluster, about.volume, options)
                    .map_err(|error| Failure::failed(format!("cannot make the volume: {error}")))
            });
        let (volume, _) = opened?;
        let into = into.to_owned();
        Ok(Self { folder, into, volume, batch: Vec::new(), batch_bytes: 0 })
    }

    fn add(
        &mut self,
        kind: What,
        key: Key,
        cookie: Cookie,
        meta: Meta,
        data: Vec<u8>,
    ) -> Result<(), Failure> {
        if kind == What::Tombstone {
            self.flush()?;
            let deleted = self.volume.delete_under(None, key, cookie, &meta);
            return deleted.and_then(wait).map(drop).map_err(|error| refused(&error));
        }
        self.batch_bytes += data.len();
        self.batch.push(NewNeedle { key, cookie, meta, data: data.into() });
        if self.batch.len() == BATCH_NEEDLES || self.batch_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        self.volume.put(batch).and_then(wait).map_err(|error| refused(&error))
    }

    /// Moves the proved and synced volume to where stores look for it.
    fn finish(mut self, end: &End) -> Result<(), Failure> {
        self.flush()?;
        let totals = self.volume.stats().totals;
        if (totals.live_needles, digest(&totals)) != (end.needles, end.digest.clone()) {
            return Err(bad(&"a key comes twice, or is deleted and there"));
        }
        self.volume.close().map_err(|error| refused(&error))?;
        let id = self.volume.id();
        // The volume last: an index without one is a stray, not half a volume.
        for name in [files::index(id, 1), files::volume(id)] {
            let (from, to) = (self.folder.path().join(&name), self.into.join(&name));
            match fs::rename(&from, &to) {
                // An empty volume has no index.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && !name.ends_with(files::VOLUME) => {}
                moved => moved.map_err(Failure::file("put in place", &to))?,
            }
        }
        let synced = File::open(&self.into).and_then(|folder| folder.sync_all());
        synced.map_err(Failure::file("sync", &self.into))
    }
}

fn wait<T>(answer: hayrick_store::volume::Answer<T>) -> Result<T, StoreError> {
    let stopped = |_| StoreError::Unavailable {
        store: "the new volume".to_owned(),
        reason: "its writer has ended".to_owned(),
    };
    answer.blocking_recv().map_err(stopped)?
}

fn refused(error: &StoreError) -> Failure {
    Failure::failed(format!("the volume cannot be written: {error}"))
}
