//! `hayrick ls`.

use axum::http::Method;
use clap::Args;
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};

use super::object::{Target, query};
use super::{Door, DoorArgs};
use crate::failure::Failure;
use crate::output::{Output, one_line};
use crate::units::{self, size};

/// Largest page that is read into memory.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// `hayrick ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Which bucket, and how the names begin
    #[arg(value_name = "BUCKET[/PREFIX]")]
    target: Target,
    /// Show names that share what stands before the next delimiter as one, as folders
    /// are shown; `/` where none is named
    #[arg(short, long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "/", require_equals = true)]
    delimiter: Option<String>,
    /// Show size, time and type too
    #[arg(short, long)]
    long: bool,
    /// Stop after so many names
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    door: DoorArgs,
}

/// A page as the server sends it.
#[derive(Debug, Deserialize)]
struct Page {
    objects: Vec<Listed>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: String,
    size_bytes: u64,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    modified_ms: u64,
}

/// A line of the listing in JSON: an object, or what several names begin with.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Object(&'a Listed),
    Prefix { prefix: &'a str },
}

/// Runs the command. Pages are shown as they come, so a bucket of any size is listed in
/// little memory; in JSON, each line is a document.
pub async fn run(args: &LsArgs, output: Output) -> Result<(), Failure> {
    let door = Door::new(&args.door);
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut cursor = None;
    while left > 0 {
        let page = page(&door, args, cursor.as_deref(), left).await?;
        for line in page.lines().into_iter().take(left) {
            print(&line, args.long, output)?;
            left -= 1;
        }
        match page.next_cursor {
            // A server that sends the same page again would keep us here for good.
            Some(next) if cursor.as_ref() == Some(&next) => {
                return Err(Failure::failed("the server's listing goes round in circles"));
            }
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    output.flush()
}

async fn page(
    door: &Door,
    args: &LsArgs,
    cursor: Option<&str>,
    left: usize,
) -> Result<Page, Failure> {
    let bucket = Target { bucket: args.target.bucket.clone(), name: String::new() };
    let limit = left.min(1000).to_string();
    let prefix = Some(args.target.name.as_str()).filter(|prefix| !prefix.is_empty());
    let pairs = [
        ("prefix", prefix),
        ("delimiter", args.delimiter.as_deref()),
        ("cursor", cursor),
        ("limit", Some(limit.as_str())),
    ];
    let query = query(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let response = door.send(Method::GET, &bucket, &query).await?;
    let body = Limited::new(response.into_body(), MAX_PAGE_BYTES).collect().await;
    let body = body.map_err(|error| Failure::failed(format!("the listing broke off: {error}")))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        Failure::failed(format!("the listing cannot be read: {error}"))
            .hint("is this the public door of a Hayrick server?")
    })
}

impl Page {
    /// Objects and prefixes in the order of their names.
    fn lines(&self) -> Vec<Line<'_>> {
        let objects = self.objects.iter().map(Line::Object);
        let prefixes = self.prefixes.iter().map(|prefix| Line::Prefix { prefix });
        let mut lines: Vec<Line<'_>> = objects.chain(prefixes).collect();
        lines.sort_by(|a, b| a.name().cmp(b.name()));
        lines
    }
}

impl Line<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Object(object) => &object.name,
            Self::Prefix { prefix } => prefix,
        }
    }
}

fn print(line: &Line<'_>, long: bool, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json_line(line);
    }
    let name = one_line(line.name());
    match line {
        Line::Object(object) if long => {
            let modified = units::time_ms(object.modified_ms);
            let content_type = one_line(object.content_type.as_deref().unwrap_or("-"));
            output.text(format_args!(
                "{:>10}  {modified:<20}  {content_type:<24}  {name}",
                size(object.size_bytes)
            ))
        }
        Line::Prefix { .. } if long => {
            output.text(format_args!("{:>10}  {:<20}  {:<24}  {name}", "-", "-", "-"))
        }
        Line::Object(_) | Line::Prefix { .. } => output.text(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stand_among_the_names() {
        let page: Page = serde_json::from_str(
            r#"{"bucket":"photos","prefix":"","objects":[{"name":"a","size_bytes":1,"etag":"x",
               "content_type":"t","modified_ms":1},{"name":"c","size_bytes":2}],
               "prefixes":["b/"],"next_cursor":null}"#,
        )
        .unwrap();
        let lines = page.lines();
        let names: Vec<&str> = lines.iter().map(Line::name).collect();
        assert_eq!(names, ["a", "b/", "c"]);
        assert_eq!(serde_json::to_string(&lines[1]).unwrap(), r#"{"prefix":"b/"}"#);
    }
}
