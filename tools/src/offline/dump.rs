//! `hayrick volume dump`: the records of a volume file in its order, one line each, so that
//! a file of any size is listed in little memory.

use std::io;
use std::ops::Range;
use std::path::Path;

use hayrick_store::format::NeedleOffset;
use hayrick_store::format::meta::Meta;
use hayrick_store::format::needle::{Kind, NeedleHeader};
use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use hayrick_store::storage::File;
use hayrick_store::volume::scanner::{Found, Scanner, check_body};
use hayrick_store::volume::{read_meta, read_superblock};
use serde::Serialize;

use super::open;
use crate::failure::{Exit, Failure};
use crate::output::{Output, one_line};
use crate::units;

/// The head of the listing for people.
const HEAD: &str = "      OFFSET  KIND       KEY                   COOKIE            SIZE  APPENDED              NAME";

/// A line of the listing.
#[derive(Debug, Serialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Line {
    /// The file's own header.
    Superblock(Head),
    /// A blob.
    Needle(Record),
    /// A deletion.
    Tombstone(Record),
    /// A record taken back that was never acknowledged.
    Abort(Record),
    /// Bytes without a readable record.
    Damage { offset: u64, size_bytes: u64 },
}

#[derive(Debug, Serialize)]
struct Head {
    volume: u32,
    cluster: String,
    replica: String,
    generation: u64,
    created_ms: u64,
}

#[derive(Debug, Serialize)]
struct Record {
    offset: u64,
    key: u64,
    cookie: u32,
    size_bytes: u32,
    appended_ns: u64,
    batch_index: u16,
    batch_len: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

#[derive(Debug, Serialize)]
struct Named {
    bucket: String,
    name: String,
    content_type: String,
    version: u64,
    #[serde(skip_serializing_if = "is_zero")]
    upload: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk: Option<[u64; 3]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
}

/// Lists the records of the file up to `end`, or to its end. With `check`, the data of
/// every needle is read and checked too.
pub fn dump(path: &Path, end: Option<u64>, check: bool, output: Output) -> Result<(), Failure> {
    let file = open(path)?;
    let unread = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let superblock = read_superblock(&*file).map_err(|error| {
        Failure::new(Exit::Damaged, format!("{}: {error}", path.display()))
            .hint("is it a volume file (*.vol)? without its superblock no record can be read")
    })?;
    let end = end.map_or_else(|| file.size_bytes(), Ok).map_err(unread)?;
    let listing = Listing { file: &*file, check, output };
    let damaged = listing.run(&superblock, SUPERBLOCK_BYTES as u64..end, unread)?;
    output.flush()?;
    if damaged == 0 {
        return Ok(());
    }
    let message = format!("{damaged} records or stretches of {} are unreadable", path.display());
    Err(Failure::new(Exit::Damaged, message).hint(
        "a torn end after a crash is cut by the next start; `hayrick volume verify` tells whether live needles are lost",
    ))
}

struct Listing<'a> {
    file: &'a dyn File,
    check: bool,
    output: Output,
}

impl Listing<'_> {
    /// Counts what is damaged.
    fn run(
        &self,
        superblock: &Superblock,
        range: Range<u64>,
        unread: impl Fn(io::Error) -> Failure,
    ) -> Result<u64, Failure> {
        self.print(&Line::Superblock(Head::of(superblock)))?;
        let mut damaged = 0;
        for found in Scanner::new(self.file, superblock.salt(), range) {
            let line = match found.map_err(&unread)? {
                Found::Damage(range) => {
                    Line::Damage { offset: range.start, size_bytes: range.end - range.start }
                }
                Found::Record { offset, header } => self.line(offset, &header).map_err(&unread)?,
            };
            damaged += u64::from(line.is_damaged());
            self.print(&line)?;
        }
        Ok(damaged)
    }

    fn line(&self, offset: NeedleOffset, header: &NeedleHeader) -> io::Result<Line> {
        let mut record = Record::of(offset, header);
        if header.kind == Kind::Data || header.meta_size > 0 {
            match read_meta(self.file, offset, header)? {
                Ok(meta) => record.meta = Some(Named::of(meta)),
                Err(error) => record.damage = Some(error.to_string()),
            }
        }
        Ok(match header.kind {
            Kind::Tombstone => Line::Tombstone(record),
            Kind::Abort => Line::Abort(record),
            Kind::Data => {
                if self.check
                    && let Err(error) = check_body(self.file, offset, header)?
                {
                    record.damage = Some(error.to_string());
                }
                Line::Needle(record)
            }
        })
    }

    fn print(&self, line: &Line) -> Result<(), Failure> {
        if self.output.is_json() { self.output.json_line(line) } else { self.output.text(line) }
    }
}

impl Head {
    fn of(superblock: &Superblock) -> Self {
        let Superblock { cluster, volume, replica, generation, created_ms } = superblock;
        Self {
            volume: volume.get(),
            cluster: cluster.to_string(),
            replica: replica.to_string(),
            generation: *generation,
            created_ms: *created_ms,
        }
    }
}

impl Record {
    fn of(offset: NeedleOffset, header: &NeedleHeader) -> Self {
        Self {
            offset: offset.bytes(),
            key: header.key.get(),
            cookie: header.cookie.get(),
            size_bytes: header.data_size,
            appended_ns: header.appended_ns,
            batch_index: header.batch.index,
            batch_len: header.batch.len,
            meta: None,
            damage: None,
        }
    }
}

impl Named {
    fn of(meta: Meta) -> Self {
        let Meta { bucket, name, content_type, version, chunk, user, upload } = meta;
        let chunk = chunk.map(|chunk| [chunk.index.into(), chunk.count.into(), chunk.object_size]);
        Self { bucket, name, content_type, version, upload, chunk, user }
    }
}

impl Line {
    fn is_damaged(&self) -> bool {
        match self {
            Self::Damage { .. } => true,
            Self::Needle(record) | Self::Tombstone(record) => record.damage.is_some(),
            Self::Superblock(_) | Self::Abort(_) => false,
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Superblock(head) => {
                let Head { volume, cluster, replica, generation, created_ms } = head;
                let created = units::time_ms(*created_ms);
                writeln!(f, "volume {volume}, generation {generation}, made {created}")?;
                writeln!(f, "cluster {cluster}, replica {replica}\n")?;
                f.write_str(HEAD)
            }
            Self::Needle(record) => record.write(f, "needle"),
            Self::Tombstone(record) => record.write(f, "tombstone"),
            Self::Abort(record) => record.write(f, "abort"),
            Self::Damage { offset, size_bytes } => {
                write!(f, "{offset:>12}  UNREADABLE {}", units::size(*size_bytes))
            }
        }
    }
}

impl Record {
    fn write(&self, f: &mut std::fmt::Formatter<'_>, kind: &str) -> std::fmt::Result {
        let Self { offset, key, cookie, size_bytes, appended_ns, meta, damage, .. } = self;
        let size = units::size((*size_bytes).into());
        let appended = units::time_ns(*appended_ns);
        write!(f, "{offset:>12}  {kind:<9}  {key:<20}  {cookie:<10}  {size:>10}  {appended}")?;
        if let Some(Named { bucket, name, chunk, .. }) = meta {
            write!(f, "  {}/{}", one_line(bucket), one_line(name))?;
            if let Some([index, count, _]) = chunk {
                write!(f, " (part {index}")?;
                if *count > 0 {
                    write!(f, ", the last of {count}")?;
                }
                write!(f, ")")?;
            }
        }
        match damage {
            Some(damage) => write!(f, "  DAMAGED: {damage}"),
            None => Ok(()),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde takes")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
