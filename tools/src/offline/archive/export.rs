//! `hayrick volume export`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use hayrick_store::VolumeId;
use hayrick_store::format::needle::Kind;
use hayrick_store::storage::is_device_error;
use hayrick_store::volume::digest::{Totals, content};
use hayrick_store::volume::{Current, OfflineVolume, Progress, VerifyError};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

use super::{ABOUT, About, END, End, FORMAT, Told};
use crate::failure::{Exit, Failure};
use crate::offline::place::watch;
use crate::output::Output;
use crate::units::{count, size};

const HELP: &str = "\
Each live needle becomes a member BUCKET/NAME of the tar, with all that it says of itself in
PAX records, so that any tar unpacks the objects and `hayrick volume import` makes the volume
again. Damaged needles are left out and counted. Export while no server has the volume open.

Exit codes: 0 all of it; 4 the rest, as damaged needles were left out; 1 it did not work.";

/// `hayrick volume export`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ExportArgs {
    /// A volume file (*.vol)
    file: PathBuf,
    /// Write to this file; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: ExportArgs, output: Output) -> Result<(), Failure> {
    let ExportArgs { file, output: target } = args;
    if target.is_none() && output.is_terminal() {
        return Err(Failure::usage("a tar is nothing for a terminal")
            .hint("name a file with --output, or send it into a pipe"));
    }
    let label = format!("export of {}", file.display());
    let to_file = target.is_some();
    let end = watch(label, move |progress| match target {
        Some(target) => to_new_file(&file, &target, progress),
        None => export(&file, output.stdout(), progress).map(|(end, _)| end),
    })
    .await?;
    if to_file {
        output.answer(&end, for_people)?;
    } else {
        output.note(for_people(&end));
    }
    if end.damaged == 0 {
        return Ok(());
    }
    let message = format!("{} damaged needles or stretches were left out", count(end.damaged));
    Err(Failure::new(Exit::Damaged, message).hint("hayrick volume verify --file tells which"))
}

fn for_people(end: &End) -> String {
    let End { needles, bytes, tombstones, .. } = end;
    format!("{} needles ({}), {} tombstones", count(*needles), size(*bytes), count(*tombstones))
}

/// The file is there whole, or not at all.
fn to_new_file(file: &Path, target: &Path, progress: &Progress) -> Result<End, Failure> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let temporary = NamedTempFile::new_in(parent).map_err(Failure::file("write in", parent))?;
    let (end, temporary) = export(file, temporary, progress)?;
    let synced = temporary.as_file().sync_all();
    synced.map_err(Failure::file("write", target))?;
    let kept = temporary.persist(target).map_err(|error| error.error);
    kept.map_err(Failure::file("write", target))?;
    Ok(end)
}

fn export<W: Write>(path: &Path, out: W, progress: &Progress) -> Result<(End, W), Failure> {
    let volume = OfflineVolume::open_path(path).map_err(|error| unread(path, &error))?;
    let mut writer =
        Writer { tar: Builder::new(out), end: End::default(), totals: Totals::default() };
    let superblock = volume.superblock();
    let about = About { format: FORMAT, volume: superblock.volume, cluster: superblock.cluster };
    writer.json(ABOUT, &about)?;
    for current in volume.current(progress) {
        match current.map_err(|error| unread(path, &error))? {
            Err(_) => writer.end.damaged += 1,
            Ok(current) => writer.add(path, &volume, &current)?,
        }
    }
    writer.finish()
}

fn unread(path: &Path, error: &VerifyError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        VerifyError::Cancelled => Failure::interrupted(),
        VerifyError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, message)
        }
        VerifyError::Io(_) => Failure::failed(message),
        VerifyError::Format(_) => Failure::new(Exit::Damaged, message)
            .hint("is it a volume file (*.vol)? `hayrick volume fix` may mend its superblock"),
    }
}

struct Writer<W: Write> {
    tar: Builder<W>,
    end: End,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    fn add(
        &mut self,
        path: &Path,
        volume: &OfflineVolume,
        current: &Current,
    ) -> Result<(), Failure> {
        let header = &current.header;
        let (meta, data) = match volume.read(current) {
            Ok(Ok(whole)) => whole,
            // It still deletes.
            Ok(Err(_)) if header.kind == Kind::Tombstone => Default::default(),
            Err(error) if !is_device_error(&error) => return Err(unread(path, &error.into())),
            Ok(Err(_)) | Err(_) => {
                self.end.damaged += 1;
                return Ok(());
            }
        };
        let told = Told::of(header, meta);
        if header.kind == Kind::Data {
            self.end.needles += 1;
            self.end.bytes += data.len() as u64;
            self.totals.add(header.record_bytes(), content(header));
        } else {
            self.end.tombstones += 1;
        }
        let id = volume.superblock().volume;
        self.member(id, &told, &data, header.appended_ns / 1_000_000_000).map_err(unwritten)
    }

    fn member(
        &mut self,
        volume: VolumeId,
        told: &Told,
        data: &[u8],
        modified_s: u64,
    ) -> io::Result<()> {
        let path = told.path(volume);
        let mut records = told.records()?;
        let mut header = header(data.len(), modified_s);
        if header.set_path(&path).is_err() || !path.is_ascii() {
            // Readers that know no PAX see the key in place of the name.
            header.set_path(told.path_by_key(volume))?;
            records.push(("path".to_owned(), path));
        }
        header.set_cksum();
        let records = records.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        self.tar.append_pax_extensions(records)?;
        self.tar.append(&header, data)
    }

    fn json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<(), Failure> {
        let mut write = || {
            let text = serde_json::to_vec_pretty(value)?;
            let mut header = header(text.len(), 0);
            header.set_path(path)?;
            header.set_cksum();
            self.tar.append(&header, &*text)
        };
        write().map_err(unwritten)
    }

    fn finish(mut self) -> Result<(End, W), Failure> {
        self.end.digest = format!("{:032x}", self.totals.digest);
        let end = self.end.clone();
        self.json(END, &end)?;
        let mut out = self.tar.into_inner().map_err(unwritten)?;
        out.flush().map_err(unwritten)?;
        Ok((end, out))
    }
}

fn header(len: usize, modified_s: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(len as u64);
    header.set_mode(0o644);
    header.set_mtime(modified_s);
    header
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => {
            Failure::new(Exit::OutputClosed, "whoever read the tar went away")
        }
        _ => Failure::failed(format!("cannot write the tar: {error}")),
    }
}
