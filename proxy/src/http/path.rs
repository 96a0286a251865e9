//! What a request's path names.

use std::borrow::Cow;

use hayrick_directory::{BucketName, ObjectName};
use hayrick_service::ApiError;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Root,
    Bucket(BucketName),
    Object(BucketName, ObjectName),
}

/// What stands for itself in a path. A slash does: names are often paths.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Target {
    /// Reads a path as it stands in the request, decoding it once.
    pub(super) fn parse(path: &str) -> Result<Self, ApiError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self::Root);
        }
        let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
        // A bucket that cannot be named cannot exist; the message says why.
        let bucket: BucketName = decode(bucket)?.parse().map_err(|error| {
            ApiError::bad_request(format!("{error}")).with_code("InvalidBucketName")
        })?;
        if name.is_empty() {
            return Ok(Self::Bucket(bucket));
        }
        let name: ObjectName = decode(name)?
            .parse()
            .map_err(|error| ApiError::bad_request(format!("{error}")).with_code("InvalidName"))?;
        Ok(Self::Object(bucket, name))
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| ApiError::bad_request("the path is not UTF-8").with_code("InvalidName"))
}

/// The path of an object, as a client may send it.
pub(super) fn encode(bucket: &BucketName, name: &ObjectName) -> String {
    format!("/{bucket}/{}", utf8_percent_encode(name.as_str(), IN_PATH))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_name_buckets_and_objects() {
        let object = |bucket: &str, name: &str| {
            Target::Object(bucket.parse().unwrap(), name.parse().unwrap())
        };
        let cases = [
            ("/", Target::Root),
            ("/photos", Target::Bucket("photos".parse().unwrap())),
            ("/photos/", Target::Bucket("photos".parse().unwrap())),
            ("/photos/a/b.jpg", object("photos", "a/b.jpg")),
            ("/photos//a/", object("photos", "/a/")),
            ("/photos/%2e%2E/x", object("photos", "../x")),
            ("/photos/a%40b%2520", object("photos", "a@b%20")),
            ("/photos/%00", object("photos", "\0")),
        ];
        for (path, target) in cases {
            assert_eq!(Target::parse(path).unwrap(), target, "{path}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("/photos/{}", "x".repeat(1025));
        for path in ["/ab/x", "/PHOTOS/x", "/photos/%ff", "/pho%00tos/x", &long] {
            assert_eq!(Target::parse(path).unwrap_err().status, 400, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_name_round_trips(name in "\\PC{1,60}|[\\x00-\\x7f]{1,60}") {
            let (bucket, name): (BucketName, ObjectName) = ("photos".parse().unwrap(), name.parse().unwrap());
            let path = encode(&bucket, &name);
            prop_assert!(path.parse::<axum::http::Uri>().is_ok(), "{}", path);
            prop_assert_eq!(Target::parse(&path).unwrap(), Target::Object(bucket, name));
        }
    }
}
