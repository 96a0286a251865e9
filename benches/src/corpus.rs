//! The bytes that the bare servers answer: files named by numbers, read into memory once.

use std::io;
use std::path::Path;

use bytes::Bytes;
use hyper::header::HeaderValue;

/// One answer, with its headers made ahead.
#[derive(Debug)]
pub struct Body {
    /// The bytes.
    pub data: Bytes,
    /// Always a JPEG's.
    pub content_type: HeaderValue,
    /// Tells it from every other.
    pub etag: HeaderValue,
}

/// All answers, by number.
#[derive(Debug)]
pub struct Corpus {
    bodies: Vec<Body>,
}

impl Corpus {
    /// Reads the files `0`, `1`, `2` and so on of a folder, up to the first that is missing.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut bodies = Vec::new();
        loop {
            match std::fs::read(folder.join(bodies.len().to_string())) {
                Ok(data) => bodies.push(Body::new(bodies.len(), data.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self { bodies });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer of this number.
    pub fn get(&self, number: usize) -> Option<&Body> {
        self.bodies.get(number)
    }
}

impl Body {
    fn new(number: usize, data: Bytes) -> Self {
        let etag = HeaderValue::try_from(format!("\"{number:x}-{:x}\"", data.len()));
        let etag = etag.expect("hexadecimal digits in quotes");
        Self { data, content_type: HeaderValue::from_static("image/jpeg"), etag }
    }
}
