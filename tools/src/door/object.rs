//! `BUCKET/NAME` on the command line, and as a URL.

use std::fmt;
use std::str::FromStr;

use hayrick_directory::{BucketName, ObjectName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands as it is in a path: RFC 3986's unreserved characters, the slash, and `@`,
/// which keeps picture URLs readable.
const IN_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'@');

/// What stands as it is in a query's value.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Room for what is asked of a picture behind its name.
const MAX_NAME_BYTES: usize = hayrick_directory::MAX_OBJECT_NAME_BYTES + 257;

/// An object, or a bucket where the name is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: BucketName,
    /// The object's name, for pictures with what is asked of them.
    pub name: String,
}

/// An object on the command line: `BUCKET/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectArg(pub Target);

/// A text that names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is no name.
    #[error("write BUCKET/NAME, such as photos/cats/tom.jpg")]
    NoName,
    /// The bucket's name cannot be one.
    #[error(transparent)]
    Bucket(hayrick_directory::NameError),
    /// The object's name cannot be one.
    #[error(transparent)]
    Name(hayrick_directory::NameError),
}

impl FromStr for Target {
    type Err = TargetError;

    /// `BUCKET` or `BUCKET/NAME`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (bucket, name) = text.split_once('/').unwrap_or((text, ""));
        let bucket = bucket.parse().map_err(TargetError::Bucket)?;
        if name.len() > MAX_NAME_BYTES {
            name.parse::<ObjectName>().map_err(TargetError::Name)?;
        }
        Ok(Self { bucket, name: name.to_owned() })
    }
}

impl FromStr for ObjectArg {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let target: Target = text.parse()?;
        if target.name.is_empty() { Err(TargetError::NoName) } else { Ok(Self(target)) }
    }
}

impl Target {
    /// The path of its URL.
    pub fn path(&self) -> String {
        let Self { bucket, name } = self;
        if name.is_empty() {
            return format!("/{bucket}");
        }
        format!("/{bucket}/{}", utf8_percent_encode(name, IN_PATH))
    }

    /// The last part of the name, to call a file by.
    pub fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.name)
    }
}

/// A query string of these keys and values.
pub fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.extend(utf8_percent_encode(value, IN_QUERY));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> String {
        text.parse::<ObjectArg>().unwrap().0.path()
    }

    #[test]
    fn any_name_makes_a_path() {
        for (name, expected) in [
            ("photos/cats/tom.jpg", "/photos/cats/tom.jpg"),
            ("photos/tom.jpg@400w.webp", "/photos/tom.jpg@400w.webp"),
            ("photos/a b?c#d%e", "/photos/a%20b%3Fc%23d%25e"),
            ("photos/東京", "/photos/%E6%9D%B1%E4%BA%AC"),
            ("photos//a//", "/photos//a//"),
            ("photos/\n\0\u{7f}", "/photos/%0A%00%7F"),
            ("photos/a+b&c=d;e:f", "/photos/a%2Bb%26c%3Dd%3Be%3Af"),
        ] {
            assert_eq!(path(name), expected);
            assert!(path(name).parse::<axum::http::Uri>().is_ok());
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in ["", "photos", "photos/", "/photos/x", "UP/x", "ab/x"] {
            assert!(bad.parse::<ObjectArg>().is_err(), "{bad}");
        }
        assert!("photos".parse::<Target>().is_ok());
        assert!(format!("photos/{}", "x".repeat(2000)).parse::<Target>().is_err());
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query([]), "");
        assert_eq!(
            query([("prefix", "a/b c"), ("cursor", "+=")]),
            "?prefix=a%2Fb%20c&cursor=%2B%3D"
        );
    }
}
