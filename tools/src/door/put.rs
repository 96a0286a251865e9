//! `hayrick put`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Response};
use clap::Args;
use futures::TryStreamExt as _;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use super::object::{Target, TargetError};
use super::{Door, DoorArgs};
use crate::failure::Failure;
use crate::output::{Output, one_line};
use crate::progress::Progress;
use crate::units::size;

/// How much is read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Where files go that are put without a target.
const DEFAULT_BUCKET: &str = "photos";

/// `hayrick put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// File to upload; `-` for standard input
    file: PathBuf,
    /// Where to; a name that ends in `/` gets the file's name behind it
    /// [default: photos/ and the file's name]
    #[arg(value_name = "BUCKET/NAME")]
    target: Option<Target>,
    /// Media type [default: what the name or the file's name tells]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    door: DoorArgs,
}

/// What was stored.
#[derive(Debug, Serialize)]
struct Stored {
    bucket: String,
    name: String,
    location: Option<String>,
    etag: Option<String>,
    needle: Option<String>,
    size_bytes: u64,
}

/// Runs the command.
pub async fn run(args: &PutArgs, output: Output) -> Result<(), Failure> {
    let target = target(args)?;
    let door = Door::new(&args.door);
    let mut headers = HeaderMap::new();
    if let Some(content_type) = content_type_of(args, &target)? {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let progress = Arc::new(Progress::new(format!("put {target}")));
    let counter = Arc::new(AtomicU64::new(0));
    let (body, length) = body(&args.file, &progress, &counter).await?;
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let response = door.upload(&target, headers, body).await?;
    progress.clear();
    let size_bytes = counter.load(Ordering::Relaxed);
    output.answer(&Stored::new(&target, &response, size_bytes), Stored::for_people)
}

fn target(args: &PutArgs) -> Result<Target, Failure> {
    let wrong = |error: TargetError| Failure::usage(error.to_string());
    let from_stdin = is_stdin(&args.file);
    let file_name = args.file.file_name().and_then(|name| name.to_str());
    let mut target = match &args.target {
        Some(target) => target.clone(),
        None => DEFAULT_BUCKET.parse().map_err(wrong)?,
    };
    if target.name.is_empty() || target.name.ends_with('/') {
        match file_name.filter(|_| !from_stdin) {
            Some(name) => target.name.push_str(name),
            None => return Err(wrong(TargetError::NoName)),
        }
    }
    Ok(target)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The type that was asked for, else one that only the file's own name tells.
fn content_type_of(args: &PutArgs, target: &Target) -> Result<Option<HeaderValue>, Failure> {
    if let Some(asked) = &args.content_type {
        let value = HeaderValue::try_from(asked);
        return value.map(Some).map_err(|_| Failure::usage(format!("{asked:?} is no media type")));
    }
    // By the object's name the server tells, from the same list.
    let name = args.file.file_name().filter(|_| guess(target.file_name().as_ref()).is_none());
    Ok(name.and_then(guess))
}

fn guess(name: &OsStr) -> Option<HeaderValue> {
    let known = mime_guess::from_path(name).first_raw()?;
    Some(HeaderValue::from_static(known))
}

/// The file as a body, with its length where it has one.
async fn body(
    path: &Path,
    progress: &Arc<Progress>,
    counter: &Arc<AtomicU64>,
) -> Result<(Body, Option<u64>), Failure> {
    if is_stdin(path) {
        return Ok((counted(tokio::io::stdin(), 0, progress, counter), None));
    }
    let file = tokio::fs::File::open(path).await.map_err(Failure::file("open", path))?;
    let about = file.metadata().await.map_err(Failure::file("read", path))?;
    if about.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", path.display())));
    }
    if !about.is_file() {
        return Ok((counted(file, 0, progress, counter), None));
    }
    // What grows meanwhile is stored as long as it was; what shrinks is an error.
    let length = about.len();
    Ok((counted(file.take(length), length, progress, counter), Some(length)))
}

fn counted(
    reader: impl AsyncRead + Send + 'static,
    total: u64,
    progress: &Arc<Progress>,
    counter: &Arc<AtomicU64>,
) -> Body {
    let (progress, counter) = (Arc::clone(progress), Arc::clone(counter));
    let pieces = ReaderStream::with_capacity(reader, PIECE_BYTES).inspect_ok(move |piece| {
        let added = piece.len() as u64;
        let done = counter.fetch_add(added, Ordering::Relaxed) + added;
        progress.set(done, total);
    });
    Body::from_stream(pieces)
}

impl Stored {
    fn new(target: &Target, response: &Response<Body>, size_bytes: u64) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Self {
            bucket: target.bucket.to_string(),
            name: target.name.clone(),
            location: header(LOCATION.as_str()),
            etag: header(ETAG.as_str()),
            needle: header("x-hayrick-needle"),
            size_bytes,
        }
    }

    fn for_people(&self) -> String {
        let Self { bucket, name, size_bytes, etag, needle, .. } = self;
        let mut parts = vec![size(*size_bytes)];
        for (what, value) in [("etag", etag), ("needle", needle)] {
            parts.extend(value.as_ref().map(|value| format!("{what} {value}")));
        }
        one_line(&format!("{bucket}/{name}: {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &str, target: Option<&str>) -> Result<String, Failure> {
        let door = DoorArgs { url: super::super::DEFAULT_URL.to_owned(), key: None };
        let target = target.map(|target| target.parse().unwrap());
        let args = PutArgs { file: file.into(), target, content_type: None, door };
        super::target(&args).map(|target| target.to_string())
    }

    #[test]
    fn a_target_is_completed_by_the_files_name() {
        assert_eq!(put("/tmp/tom.jpg", None).unwrap(), "photos/tom.jpg");
        assert_eq!(put("/tmp/tom.jpg", Some("pets")).unwrap(), "pets/tom.jpg");
        assert_eq!(put("/tmp/tom.jpg", Some("pets/cats/")).unwrap(), "pets/cats/tom.jpg");
        assert_eq!(put("/tmp/tom.jpg", Some("pets/cats")).unwrap(), "pets/cats");
        assert_eq!(put("-", Some("pets/cats")).unwrap(), "pets/cats");
        assert!(put("-", None).is_err() && put("-", Some("pets/cats/")).is_err());
    }

    #[test]
    fn the_type_is_told_where_the_objects_name_does_not() {
        let told = |file: &str, name: &str, asked: Option<&str>| {
            let door = DoorArgs { url: super::super::DEFAULT_URL.to_owned(), key: None };
            let content_type = asked.map(str::to_owned);
            let args = PutArgs { file: file.into(), target: None, content_type, door };
            content_type_of(&args, &name.parse().unwrap())
        };
        assert_eq!(told("a.jpg", "photos/a.png", None), Ok(None));
        assert_eq!(
            told("a.jpg", "photos/a", None),
            Ok(Some(HeaderValue::from_static("image/jpeg")))
        );
        assert_eq!(told("a", "photos/a", None), Ok(None));
        let asked = told("a.jpg", "photos/a.jpg", Some("text/plain"));
        assert_eq!(asked, Ok(Some(HeaderValue::from_static("text/plain"))));
        assert!(told("a", "photos/a", Some("\n")).is_err());
    }
}
