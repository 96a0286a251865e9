//! What a needle says of itself: the name it was stored under, its type and its version; and
//! what a tombstone says of the name that was removed.
//!
//! If the name database is lost, it is rebuilt from these. The bytes are a row of
//! fields, in rising order of tag:
//!
//! | size | field |
//! |---|---|
//! | 1 | tag |
//! | 2 | length of the value in bytes |
//! | length | value |
//!
//! | tag | value |
//! |---|---|
//! | 1 | bucket, UTF-8 |
//! | 2 | name, UTF-8 |
//! | 3 | content type, UTF-8 |
//! | 4 | version, u64: the hybrid logical clock of the name's commit |
//! | 5 | chunk: index u32, count u32, object size in bytes u64 |
//! | 6 | a pair of user metadata: key length u16, key, value; repeated |
//! | 7 | upload, u64: the version that the object's other chunks have, where it is not this one's |
//!
//! Empty texts, a version and an upload of 0 are left out. Unknown tags are passed over, so that
//! a later minor version may add fields.

use bytes::{Buf, BufMut};

use super::FormatError;
use super::needle::MAX_META_BYTES;

const BUCKET: u8 = 1;
const NAME: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const VERSION: u8 = 4;
const CHUNK: u8 = 5;
const USER: u8 = 6;
const UPLOAD: u8 = 7;
const WHAT: &str = "needle meta";

/// What travels in a needle beside its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The bucket the object was stored in.
    pub bucket: String,
    /// The object's name in the bucket.
    pub name: String,
    /// The object's media type.
    pub content_type: String,
    /// The version that the name was given, rising with time; the highest one wins.
    pub version: u64,
    /// Which part of the object this is, if it has several.
    pub chunk: Option<Chunk>,
    /// The uploader's own key and value pairs, in their order.
    pub user: Vec<(String, String)>,
    /// The version that the object's other chunks were stored with, where this chunk came later
    /// to give the object a higher one; else 0.
    pub upload: u64,
}

/// A [`Meta`] whose texts are still where they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaRef<'a> {
    /// See [`Meta::bucket`].
    pub bucket: &'a str,
    /// See [`Meta::name`].
    pub name: &'a str,
    /// See [`Meta::content_type`].
    pub content_type: &'a str,
    /// See [`Meta::version`].
    pub version: u64,
    /// See [`Meta::chunk`].
    pub chunk: Option<Chunk>,
    /// See [`Meta::user`].
    pub user: Vec<(&'a str, &'a str)>,
    /// See [`Meta::upload`].
    pub upload: u64,
}

/// One of several needles that hold an object together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Counted from 0.
    pub index: u32,
    /// How many chunks the object has, as its last chunk says; 0 in the others. An upload
    /// without a last chunk was never whole.
    pub count: u32,
    /// Bytes of the whole object; 0 where that was not known when this chunk was written.
    pub object_size: u64,
}

impl Meta {
    /// The bytes in the needle.
    ///
    /// # Errors
    /// [`FormatError::Field`] where they would be more than [`MAX_META_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::with_capacity(64 + self.bucket.len() + self.name.len());
        put_text(&mut out, BUCKET, &self.bucket)?;
        put_text(&mut out, NAME, &self.name)?;
        put_text(&mut out, CONTENT_TYPE, &self.content_type)?;
        if self.version != 0 {
            put_field(&mut out, VERSION, &self.version.to_le_bytes())?;
        }
        if let Some(chunk) = self.chunk {
            put_field(&mut out, CHUNK, &chunk.to_bytes())?;
        }
        for (key, value) in &self.user {
            put_field(&mut out, USER, &pair_to_bytes(key, value)?)?;
        }
        if self.upload != 0 {
            put_field(&mut out, UPLOAD, &self.upload.to_le_bytes())?;
        }
        if out.len() > MAX_META_BYTES as usize {
            return Err(FormatError::Field { what: "needle meta size" });
        }
        Ok(out)
    }

    /// Reads what [`Meta::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        MetaRef::from_bytes(bytes).map(MetaRef::to_owned)
    }
}

impl<'a> MetaRef<'a> {
    /// Reads what [`Meta::to_bytes`] wrote.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut meta = Self::default();
        let mut left = bytes;
        while left.has_remaining() {
            let tag = left.try_get_u8().map_err(|_| short())?;
            let len = usize::from(left.try_get_u16_le().map_err(|_| short())?);
            let (value, rest) = left.split_at_checked(len).ok_or_else(short)?;
            left = rest;
            match tag {
                BUCKET => meta.bucket = text(value)?,
                NAME => meta.name = text(value)?,
                CONTENT_TYPE => meta.content_type = text(value)?,
                VERSION => meta.version = number(value)?,
                CHUNK => meta.chunk = Some(Chunk::from_bytes(value)?),
                USER => meta.user.push(pair_from_bytes(value)?),
                UPLOAD => meta.upload = number(value)?,
                _ => {}
            }
        }
        Ok(meta)
    }

    /// The same, to be kept.
    pub fn to_owned(self) -> Meta {
        let Self { bucket, name, content_type, version, chunk, user, upload } = self;
        Meta {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            version,
            chunk,
            user: user.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            upload,
        }
    }
}

impl Chunk {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let mut out = &mut bytes[..];
        out.put_u32_le(self.index);
        out.put_u32_le(self.count);
        out.put_u64_le(self.object_size);
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() != 16 {
            return Err(short());
        }
        Ok(Self {
            index: bytes.get_u32_le(),
            count: bytes.get_u32_le(),
            object_size: bytes.get_u64_le(),
        })
    }
}

fn put_text(out: &mut Vec<u8>, tag: u8, text: &str) -> Result<(), FormatError> {
    if text.is_empty() { Ok(()) } else { put_field(out, tag, text.as_bytes()) }
}

fn put_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) -> Result<(), FormatError> {
    out.put_u8(tag);
    out.put_u16_le(field_len(value)?);
    out.put_slice(value);
    Ok(())
}

fn field_len(value: &[u8]) -> Result<u16, FormatError> {
    u16::try_from(value.len()).map_err(|_| FormatError::Field { what: "needle meta size" })
}

fn pair_to_bytes(key: &str, value: &str) -> Result<Vec<u8>, FormatError> {
    let mut pair = Vec::with_capacity(2 + key.len() + value.len());
    pair.put_u16_le(field_len(key.as_bytes())?);
    pair.put_slice(key.as_bytes());
    pair.put_slice(value.as_bytes());
    Ok(pair)
}

fn pair_from_bytes(mut bytes: &[u8]) -> Result<(&str, &str), FormatError> {
    let len = usize::from(bytes.try_get_u16_le().map_err(|_| short())?);
    let (key, value) = bytes.split_at_checked(len).ok_or_else(short)?;
    Ok((text(key)?, text(value)?))
}

fn number(bytes: &[u8]) -> Result<u64, FormatError> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| short())
}

fn text(bytes: &[u8]) -> Result<&str, FormatError> {
    str::from_utf8(bytes).map_err(|_| FormatError::Field { what: "needle meta text" })
}

fn short() -> FormatError {
    FormatError::Short { what: WHAT }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Meta {
        Meta {
            bucket: "photos".into(),
            name: "cats/tom.jpg".into(),
            content_type: "image/jpeg".into(),
            version: 0x0102_0304_0506_0708,
            chunk: Some(Chunk { index: 2, count: 5, object_size: 40_000_000 }),
            user: vec![("camera".into(), "box".into()), ("лето".into(), String::new())],
            upload: 0,
        }
    }

    #[test]
    fn yesterdays_file_still_opens() {
        let golden = include_bytes!("../../testdata/v1/meta.bin");
        assert_eq!(Meta::from_bytes(golden), Ok(sample()));
        assert_eq!(sample().to_bytes().unwrap(), golden);
    }

    #[test]
    fn nothing_said_takes_no_bytes() {
        assert_eq!(Meta::default().to_bytes(), Ok(Vec::new()));
        assert_eq!(Meta::from_bytes(&[]), Ok(Meta::default()));
    }

    #[test]
    fn cuts_between_fields_alone_are_readable() {
        let good = sample().to_bytes().unwrap();
        let whole = (0..good.len()).filter(|&len| Meta::from_bytes(&good[..len]).is_ok()).count();
        assert_eq!(whole, 7, "one per field boundary, the empty one among them");
    }

    #[test]
    fn unknown_tags_are_passed_over() {
        let mut bytes = sample().to_bytes().unwrap();
        bytes.extend_from_slice(&[200, 3, 0, 1, 2, 3]);
        assert_eq!(Meta::from_bytes(&bytes), Ok(sample()));
    }

    #[test]
    fn too_much_is_refused() {
        let user = vec![("k".repeat(10), "v".repeat(MAX_META_BYTES as usize))];
        assert!(Meta { user, ..Meta::default() }.to_bytes().is_err());
        let user = vec![("k".to_owned(), "v".repeat(70_000))];
        assert!(Meta { user, ..Meta::default() }.to_bytes().is_err());
    }

    proptest! {
        #[test]
        fn round_trips(bucket in ".{0,20}", name in ".{0,200}", content_type in ".{0,30}", version: u64,
                       user in proptest::collection::vec((".{0,10}", ".{0,30}"), 0..5),
                       chunk in proptest::option::of((any::<u32>(), any::<u32>(), any::<u64>())), upload: u64) {
            let chunk = chunk.map(|(index, count, object_size)| Chunk { index, count, object_size });
            let meta = Meta { bucket, name, content_type, version, chunk, user, upload };
            prop_assert_eq!(Meta::from_bytes(&meta.to_bytes().unwrap()), Ok(meta));
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Meta::from_bytes(&bytes);
        }
    }
}
