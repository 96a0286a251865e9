//! `hayrick get`.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, Response};
use clap::Args;
use http_body_util::BodyExt as _;
use serde_json::json;
use tempfile::NamedTempFile;

use super::object::{ObjectArg, Target};
use super::{Door, DoorArgs};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::units::size;

/// `hayrick get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Which object; pictures with what is asked of them, such as photos/tom.jpg@400w.webp
    #[arg(value_name = "BUCKET/NAME")]
    object: ObjectArg,
    /// File or folder to write to; `-` for standard output, which is the default. The file
    /// is there whole or not at all
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    door: DoorArgs,
}

/// Runs the command.
pub async fn run(args: &GetArgs, output: Output) -> Result<(), Failure> {
    let target = &args.object.0;
    let response = Door::new(&args.door).send(Method::GET, target, "").await?;
    match &args.output {
        Some(path) if path.as_os_str() != "-" => {
            let path = destination(path, target)?;
            let size_bytes = to_file(response, &path, target).await?;
            let told = json!({ "file": path, "size_bytes": size_bytes });
            output.answer(&told, |_| format!("{}: {}", path.display(), size(size_bytes)))
        }
        explicit => {
            if explicit.is_none() && output.is_terminal() && !is_text(&response) {
                return Err(Failure::usage("this is no text, and standard output is a terminal")
                    .hint("write it to a file with -o FILE, or force it with -o -"));
            }
            to_stdout(response, output).await
        }
    }
}

/// A folder gets a file of the object's name.
fn destination(path: &Path, target: &Target) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    match target.file_name() {
        "" | "." | ".." => Err(Failure::usage(format!("{} is a folder", path.display()))
            .hint("name the file, as the object's name is none for files")),
        name => Ok(path.join(name)),
    }
}

fn is_text(response: &Response<Body>) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.starts_with("text/") || value.starts_with("application/json"))
}

async fn to_stdout(response: Response<Body>, output: Output) -> Result<(), Failure> {
    let mut body = response.into_body();
    while let Some(piece) = next(&mut body).await? {
        output.bytes(&piece)?;
    }
    output.flush()
}

/// Writes beside the file and renames when all is there and synced. Dropped before that,
/// it leaves nothing.
async fn to_file(response: Response<Body>, path: &Path, target: &Target) -> Result<u64, Failure> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut part = tempfile::Builder::new()
        .prefix(".hayrick-get-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Failure::file("write in", folder))?;
    let total = length(&response).unwrap_or(0);
    let progress = Progress::new(format!("get {target}"));
    let mut body = response.into_body();
    let mut done = 0;
    while let Some(piece) = next(&mut body).await? {
        part = write(part, piece.clone(), path).await?;
        done += piece.len() as u64;
        progress.set(done, total);
    }
    progress.clear();
    let to = path.to_owned();
    let kept = tokio::task::spawn_blocking(move || keep(part, &to)).await;
    kept.map_err(|error| Failure::failed(error.to_string()))??;
    Ok(done)
}

fn keep(part: NamedTempFile, path: &Path) -> Result<(), Failure> {
    part.as_file().sync_all().map_err(Failure::file("write", path))?;
    part.persist(path).map(drop).map_err(|error| Failure::file("write", path)(error.error))
}

async fn write(
    mut part: NamedTempFile,
    piece: Bytes,
    path: &Path,
) -> Result<NamedTempFile, Failure> {
    let written = tokio::task::spawn_blocking(move || {
        part.write_all(&piece)?;
        Ok(part)
    })
    .await;
    let written = written.map_err(|error| Failure::failed(error.to_string()))?;
    written.map_err(Failure::file("write", path))
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The next bytes; an answer that is shorter than it said is an error.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Door::broken(&error)),
            // Anything but data is not for files.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_a_file_of_the_objects_name() {
        let folder = tempfile::tempdir().unwrap();
        let to = |name: &str| destination(folder.path(), &name.parse().unwrap());
        assert_eq!(to("photos/cats/tom.jpg").unwrap(), folder.path().join("tom.jpg"));
        for bad in ["photos/cats/", "photos/..", "photos/a/."] {
            assert!(to(bad).is_err(), "{bad}");
        }
        let file = folder.path().join("x");
        assert_eq!(destination(&file, &"photos/tom".parse().unwrap()).unwrap(), file);
    }
}
