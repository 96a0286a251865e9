//! A volume as a tar: what `hayrick volume export` writes and `import` reads.
//!
//! | member | content |
//! |---|---|
//! | `.hayrick/volume.json`, the first | which volume it is |
//! | `BUCKET/NAME`, for a chunk `BUCKET/NAME.part-INDEX` | a needle's data |
//! | `.hayrick/needles/VOLUME-KEY` | the same, of a needle whose name is no safe path, or that has none |
//! | `.hayrick/tombstones/VOLUME-KEY` | nothing: the key is deleted |
//! | `.hayrick/end.json`, the last | how many there were, so that a cut tar is found out |
//!
//! Before each needle and tombstone stand PAX records `HAYRICK.*` with all that it says of
//! itself, each value as JSON; the path is only for who unpacks it. Where a name has several
//! live versions, the last member has the newest.

pub mod export;
pub mod import;

use hayrick_store::format::needle::{Kind, NeedleHeader};
use hayrick_store::{Chunk, Cookie, Key, Meta, VolumeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tar::PaxExtensions;

const ABOUT: &str = ".hayrick/volume.json";
const END: &str = ".hayrick/end.json";
const PREFIX: &str = "HAYRICK.";
const FORMAT: u32 = 1;
/// Longest name of a file on usual file systems.
const MAX_COMPONENT_BYTES: usize = 255;

/// The first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: u32,
    volume: VolumeId,
    cluster: uuid::Uuid,
}

/// The last member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    needles: u64,
    bytes: u64,
    tombstones: u64,
    /// Needles that could not be read, and are missing.
    damaged: u64,
    /// Of the needles, as `hayrick volume show` tells it.
    digest: String,
}

/// What stands in the PAX records of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    kind: What,
    key: u64,
    cookie: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    bucket: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    content_type: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    upload: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunk: Option<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Needle,
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    index: u32,
    count: u32,
    object_size: u64,
}

impl Told {
    fn of(header: &NeedleHeader, meta: Meta) -> Self {
        let Meta { bucket, name, content_type, version, chunk, user, upload } = meta;
        let kind = if header.kind == Kind::Data { What::Needle } else { What::Tombstone };
        let part = |Chunk { index, count, object_size }| Part { index, count, object_size };
        let (key, cookie) = (header.key.get(), header.cookie.get());
        let chunk = chunk.map(part);
        Self { kind, key, cookie, bucket, name, content_type, version, upload, chunk, user }
    }

    fn into_parts(self) -> (What, Key, Cookie, Meta) {
        let Self { kind, key, cookie, bucket, name, content_type, version, upload, chunk, user } =
            self;
        let chunk =
            chunk.map(|Part { index, count, object_size }| Chunk { index, count, object_size });
        let meta = Meta { bucket, name, content_type, version, chunk, user, upload };
        (kind, Key::new(key), Cookie::new(cookie), meta)
    }

    /// Name and value of each record. JSON has no newline, which readers of PAX stumble over.
    fn records(&self) -> Result<Vec<(String, String)>, serde_json::Error> {
        let Value::Object(fields) = serde_json::to_value(self)? else { return Ok(Vec::new()) };
        let record =
            |(name, value): (String, Value)| (format!("{PREFIX}{name}"), value.to_string());
        Ok(fields.into_iter().map(record).collect())
    }

    /// Reads what [`Told::records`] wrote; other records are passed over.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = Map::new();
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(|error| error.to_string())?;
            let key = record.key().map_err(|error| error.to_string())?;
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            let value = serde_json::from_slice(record.value_bytes())
                .map_err(|error| format!("{key}: {error}"))?;
            fields.insert(name.to_owned(), value);
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    }

    /// Where it stands in the tar: nowhere but below the folder it is unpacked in. Tars of
    /// several volumes may be unpacked in one.
    fn path(&self, volume: VolumeId) -> String {
        if self.kind == What::Tombstone {
            return format!(".hayrick/tombstones/{volume}-{}", self.key);
        }
        let part = self.chunk.map_or(String::new(), |part| format!(".part-{:06}", part.index));
        let path = format!("{}/{}{part}", self.bucket, self.name);
        let is_safe = |component: &str| {
            !matches!(component, "" | "." | ".." | ".hayrick")
                && component.len() <= MAX_COMPONENT_BYTES
                && !component.chars().any(|c| c.is_control() || c == '\\')
        };
        let is_named = !self.bucket.contains('/') && !self.name.is_empty();
        if is_named && path.split('/').all(is_safe) { path } else { self.path_by_key(volume) }
    }

    fn path_by_key(&self, volume: VolumeId) -> String {
        format!(".hayrick/needles/{volume}-{}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> VolumeId {
        VolumeId::new(3).unwrap()
    }

    fn told(bucket: &str, name: &str) -> Told {
        Told {
            kind: What::Needle,
            key: 7,
            cookie: 9,
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            content_type: String::new(),
            version: 0,
            upload: 0,
            chunk: None,
            user: vec![("a\nb".to_owned(), "=\n7 x=y\n".to_owned())],
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(told("photos", "a/käse.jpg").path(volume()), "photos/a/käse.jpg");
        let part = Part { index: 2, count: 3, object_size: 0 };
        assert_eq!(Told { chunk: Some(part), ..told("b", "x") }.path(volume()), "b/x.part-000002");
        let long = "x".repeat(256);
        for (bucket, name) in [
            ("b", "../x"),
            ("b", "a/../../x"),
            ("b", "/etc/passwd"),
            ("b", "a//b"),
            ("b", "a/"),
            ("b", "."),
            ("b", "nul\0"),
            ("b", "line\nfeed"),
            ("b", "back\\slash"),
            ("b", &long),
            ("b", ""),
            ("", "x"),
            ("..", "x"),
            ("a/b", "x"),
            (".hayrick", "volume.json"),
        ] {
            assert_eq!(
                told(bucket, name).path(volume()),
                ".hayrick/needles/3-7",
                "{bucket}/{name}"
            );
        }
    }

    #[test]
    fn records_round_trip_whatever_they_hold() {
        let told = told("b", "line\nfeed\0");
        let mut bytes = Vec::new();
        for (name, value) in told.records().unwrap() {
            assert!(!value.contains('\n'));
            let rest = name.len() + value.len() + 3;
            let length = (rest + 1..rest + 8).find(|n| n.to_string().len() + rest == *n).unwrap();
            bytes.extend(format!("{length} {name}={value}\n").bytes());
        }
        assert_eq!(Told::parse(&bytes), Ok(told));
        assert!(Told::parse(b"").is_err());
        assert!(Told::parse(b"21 HAYRICK.key=\"seven\"\n").is_err());
    }
}
