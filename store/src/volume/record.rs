//! A record's bytes, taken apart and put together.

use bytes::Bytes;

use crate::error::StoreError;
use crate::format::checksum::{Trailer, trailer_bytes};
use crate::format::meta::Meta;
use crate::format::needle::{
    BatchPlace, HEADER_BYTES, Kind, MAX_DATA_BYTES, NeedleHeader, record_bytes,
};
use crate::format::{ALIGNMENT, FormatError, NeedleOffset, Salt};
use crate::id::{Cookie, Key};

/// A blob to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNeedle {
    /// A key that was never used in the volume.
    pub key: Key,
    /// A random number.
    pub cookie: Cookie,
    /// What the needle says of itself.
    pub meta: Meta,
    /// The blob: at most [`MAX_DATA_BYTES`].
    pub data: Bytes,
}

/// A record that lacks only its place in a volume: checked, encoded and checksummed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    kind: Kind,
    /// The key.
    pub key: Key,
    /// The cookie.
    pub cookie: Cookie,
    meta: Vec<u8>,
    data: Bytes,
    trailer: Trailer,
}

/// Where and when a record goes into a volume.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where it starts.
    pub offset: NeedleOffset,
    /// When it is appended.
    pub appended_ns: u64,
    /// How far the volume is durable.
    pub synced_end: NeedleOffset,
    /// Its place in its batch.
    pub batch: BatchPlace,
}

impl Prepared {
    /// Encodes and checksums a needle.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] or [`StoreError::Malformed`].
    pub fn data(needle: NewNeedle) -> Result<Self, StoreError> {
        let NewNeedle { key, cookie, meta, data } = needle;
        if data.len() as u64 > u64::from(MAX_DATA_BYTES) {
            return Err(StoreError::TooLarge { limit: MAX_DATA_BYTES.into() });
        }
        let meta = meta.to_bytes().map_err(|error| StoreError::Malformed(error.to_string()))?;
        let trailer = Trailer::of(&data, &meta);
        Ok(Self { kind: Kind::Data, key, cookie, meta, data, trailer })
    }

    /// A tombstone. `removed` says which name was removed at which version; it is empty where
    /// only the needle goes.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] where that is too much to be said.
    pub fn tombstone(key: Key, cookie: Cookie, removed: &Meta) -> Result<Self, StoreError> {
        let meta = removed.to_bytes().map_err(|error| StoreError::Malformed(error.to_string()))?;
        Ok(Self::dataless(Kind::Tombstone, key, cookie, meta))
    }

    /// A tombstone that says nothing of a removed name.
    pub fn bare_tombstone(key: Key, cookie: Cookie) -> Self {
        Self::dataless(Kind::Tombstone, key, cookie, Vec::new())
    }

    /// A record that takes back the one of its key.
    pub fn abort(key: Key, cookie: Cookie) -> Self {
        Self::dataless(Kind::Abort, key, cookie, Vec::new())
    }

    /// A record as another replica sent it, with its checksum from there.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if it is not what was stored there.
    pub fn received(
        kind: Kind,
        key: Key,
        cookie: Cookie,
        meta: Vec<u8>,
        data: Bytes,
        body_crc: u32,
    ) -> Result<Self, FormatError> {
        let trailer = Trailer::of(&data, &meta);
        if trailer.body_crc() != body_crc {
            return Err(FormatError::Checksum { what: "record of another replica" });
        }
        Ok(Self { kind, key, cookie, meta, data, trailer })
    }

    /// The record with this header, as it was read from a volume.
    ///
    /// # Errors
    /// Any byte that is not what was written.
    pub fn read(header: &NeedleHeader, record: &Bytes) -> Result<Self, FormatError> {
        let Body { meta, trailer, .. } = {
            let body = Body::parse(header, record)?;
            body.verify()?;
            body
        };
        let data = record.slice(HEADER_BYTES..HEADER_BYTES + header.data_size as usize);
        let NeedleHeader { kind, key, cookie, .. } = *header;
        Ok(Self { kind, key, cookie, meta: meta.to_vec(), data, trailer })
    }

    fn dataless(kind: Kind, key: Key, cookie: Cookie, meta: Vec<u8>) -> Self {
        let trailer = Trailer::of(&[], &meta);
        Self { kind, key, cookie, meta, data: Bytes::new(), trailer }
    }

    /// What the record does to its key.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The encoded meta.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The blob.
    pub fn blob(&self) -> &Bytes {
        &self.data
    }

    /// The checksum that its header will carry.
    pub fn body_crc(&self) -> u32 {
        self.trailer.body_crc()
    }

    /// Bytes of the record with its padding.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.data_size(), self.meta_size())
    }

    /// Whether `header` is of a needle with the same content.
    pub fn same_content(&self, header: &NeedleHeader) -> bool {
        (
            self.kind,
            self.key,
            self.cookie,
            self.data_size(),
            self.meta_size(),
            self.trailer.body_crc(),
        ) == (
            header.kind,
            header.key,
            header.cookie,
            header.data_size,
            header.meta_size,
            header.body_crc,
        )
    }

    /// Whether `body` is this one's, byte for byte.
    pub fn same_body(&self, body: &Body<'_>) -> bool {
        self.data == body.data && self.meta == body.meta
    }

    /// The header at `place`.
    pub fn header(&self, place: Place) -> NeedleHeader {
        let Place { appended_ns, synced_end, batch, .. } = place;
        NeedleHeader {
            kind: self.kind,
            key: self.key,
            cookie: self.cookie,
            data_size: self.data_size(),
            meta_size: self.meta_size(),
            body_crc: self.trailer.body_crc(),
            appended_ns,
            synced_end,
            batch,
        }
    }

    /// Appends the whole record to `out`, which will be written so that it lands at `place`.
    pub fn encode(&self, out: &mut Vec<u8>, salt: Salt, place: Place) -> NeedleHeader {
        let header = self.header(place);
        let start = out.len() as u64;
        out.extend_from_slice(&header.to_bytes(salt, place.offset));
        out.extend_from_slice(&self.data);
        out.extend_from_slice(&self.meta);
        out.extend_from_slice(self.trailer.as_bytes());
        pad(out, start);
        header
    }

    /// Bytes of data.
    #[expect(clippy::cast_possible_truncation, reason = "checked against MAX_DATA_BYTES when made")]
    pub fn data_size(&self) -> u32 {
        self.data.len() as u32
    }

    /// Bytes of encoded meta.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked against MAX_META_BYTES when encoded"
    )]
    pub fn meta_size(&self) -> u32 {
        self.meta.len() as u32
    }
}

/// Zero bytes up to the next boundary after a record that began at `start` of `out`.
pub fn pad(out: &mut Vec<u8>, start: u64) {
    let len = (out.len() as u64 - start).next_multiple_of(ALIGNMENT);
    out.resize(usize::try_from(start + len).unwrap_or(usize::MAX), 0);
}

/// A record's bytes behind its header. [`Body::parse`] vouches for the trailer and the padding.
pub struct Body<'a> {
    /// The blob.
    pub data: &'a [u8],
    /// The encoded meta.
    pub meta: &'a [u8],
    /// Checksums of both.
    pub trailer: Trailer,
}

impl<'a> Body<'a> {
    /// Takes `record` apart as its header says.
    pub fn parse(header: &NeedleHeader, record: &'a [u8]) -> Result<Self, FormatError> {
        let short = || FormatError::Short { what: "needle" };
        let trailer_len = usize::try_from(trailer_bytes(header.data_size)).map_err(|_| short())?;
        let (_, rest) = record.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
        let (data, rest) = rest.split_at_checked(header.data_size as usize).ok_or_else(short)?;
        let (meta, rest) = rest.split_at_checked(header.meta_size as usize).ok_or_else(short)?;
        let (trailer, padding) = rest.split_at_checked(trailer_len).ok_or_else(short)?;
        let trailer = Trailer::from_bytes(trailer, header.data_size, header.body_crc)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Field { what: "needle padding" });
        }
        Ok(Self { data, meta, trailer })
    }

    /// Checks every byte of data and meta.
    pub fn verify(&self) -> Result<(), FormatError> {
        self.trailer.verify_blocks(0, self.data)?;
        self.trailer.verify_meta(self.meta)
    }
}
