//! Buckets and the names in them.

mod images;

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use images::{
    BoxSize, ImagePolicy, ImagePolicyError, NegotiatedFormat, OnImageError, PresetName,
    UnknownPresets,
};

/// The longest object name, in bytes of UTF-8.
pub const MAX_OBJECT_NAME_BYTES: usize = 1_024;

/// Why a text is not the name of a bucket, an object or a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {reason}")]
pub struct NameError {
    kind: &'static str,
    reason: &'static str,
    text: String,
}

impl NameError {
    pub(crate) fn new(kind: &'static str, reason: &'static str, text: &str) -> Self {
        // A hostile path segment may be long; the message stays short.
        Self { kind, reason, text: text.chars().take(80).collect() }
    }
}

/// The name of a bucket: 3 to 63 characters of `a-z`, `0-9`, `.` and `-` that
/// start and end with a letter or digit, so that it may serve as a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(Arc<str>);

/// The name of an object within its bucket: any UTF-8 of 1 to 1,024 bytes.
/// Names sort by their bytes, which is the order of listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(Arc<str>);

/// Who may do a thing without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anybody.
    Public,
    /// Only who shows a token signed with one of the bucket's access keys.
    Private,
}

/// A namespace of objects with its own access rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Its name, unique in the cluster.
    pub name: BucketName,
    /// Who may read objects and list them.
    pub read: Access,
    /// Who may store and delete objects.
    pub write: Access,
    /// On how many stores each new needle is kept; at least 1.
    pub copies: u8,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What may be made of its pictures. Shared: a bucket is handed out for every request.
    #[serde(default, skip_serializing_if = "images::is_default", with = "images::shared")]
    pub images: Arc<ImagePolicy>,
}

impl Bucket {
    /// A bucket that lets anything be made of its pictures.
    pub fn new(name: BucketName, read: Access, write: Access, copies: u8, created_ms: u64) -> Self {
        Self { name, read, write, copies, created_ms, images: Arc::default() }
    }
}

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |reason| Err(NameError::new("a bucket name", reason, text));
        let edge = |byte: Option<u8>| byte.is_some_and(is_lower_alphanumeric);
        if !(3..=63).contains(&text.len()) {
            return error("it needs 3 to 63 characters");
        }
        if !text.bytes().all(|b| is_lower_alphanumeric(b) || b == b'.' || b == b'-') {
            return error("only a-z, 0-9, `.` and `-` are allowed");
        }
        if !edge(text.bytes().next()) || !edge(text.bytes().next_back()) {
            return error("it must start and end with a letter or digit");
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if (1..=MAX_OBJECT_NAME_BYTES).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new("an object name", "it needs 1 to 1024 bytes of UTF-8", text))
        }
    }
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text_conversions;

text_conversions!(BucketName);
text_conversions!(ObjectName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        for good in ["abc", "photos", "a.b-c", "0.0", &"x".repeat(63)] {
            assert_eq!(good.parse::<BucketName>().unwrap().to_string(), good);
        }
        for bad in
            ["", "ab", &"x".repeat(64), "Photos", "a_b", "-abc", "abc-", ".abc", "a\0b", "käse"]
        {
            assert!(bad.parse::<BucketName>().is_err(), "{bad} parsed");
        }
    }

    #[test]
    fn object_names() {
        for good in ["a", "\0", "/", "..", "日本語/写真.jpg", &"x".repeat(1_024)] {
            assert_eq!(good.parse::<ObjectName>().unwrap().as_str(), good);
        }
        for bad in ["", &"x".repeat(1_025), &"é".repeat(513)] {
            assert!(bad.parse::<ObjectName>().is_err());
        }
    }

    #[test]
    fn an_error_names_what_is_wrong_and_stays_short() {
        let error = "X".repeat(10_000).parse::<BucketName>().unwrap_err().to_string();
        assert!(error.contains("3 to 63") && error.len() < 200, "{error}");
    }

    #[test]
    fn names_are_checked_when_deserialized() {
        assert!(serde_json::from_str::<BucketName>("\"UPPER\"").is_err());
        assert!(serde_json::from_str::<ObjectName>("\"\"").is_err());
    }
}
