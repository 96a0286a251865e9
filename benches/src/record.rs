//! Whole records by the public functions of the store's formats: the store's own code for them
//! is private, and takes the same steps in the same order.

use hayrick_store::NewNeedle;
use hayrick_store::format::checksum::Trailer;
use hayrick_store::format::needle::{BatchPlace, Kind, NeedleHeader};
use hayrick_store::format::{NeedleOffset, Salt};

/// When every record was appended, in nanoseconds since 1970.
pub const APPENDED_NS: u64 = 1_750_000_000_000_000_000;

/// The header of a record that stands where everything before it is durable.
pub fn header(
    kind: Kind,
    needle: &NewNeedle,
    meta: &[u8],
    trailer: &Trailer,
    offset: NeedleOffset,
) -> NeedleHeader {
    NeedleHeader {
        kind,
        key: needle.key,
        cookie: needle.cookie,
        data_size: u32::try_from(needle.data.len()).expect("a small needle"),
        meta_size: u32::try_from(meta.len()).expect("a small meta"),
        body_crc: trailer.body_crc(),
        appended_ns: APPENDED_NS,
        synced_end: offset,
        batch: BatchPlace::ALONE,
    }
}

/// Appends the record of `needle` at `offset` of the file with this `salt` to `out`. A tombstone's
/// data must be empty.
pub fn encode(
    kind: Kind,
    needle: &NewNeedle,
    salt: Salt,
    offset: NeedleOffset,
    out: &mut Vec<u8>,
) -> NeedleHeader {
    let meta = needle.meta.to_bytes().expect("a small meta");
    let trailer = Trailer::of(&needle.data, &meta);
    let header = header(kind, needle, &meta, &trailer, offset);
    let start = out.len();
    out.extend_from_slice(&header.to_bytes(salt, offset));
    out.extend_from_slice(&needle.data);
    out.extend_from_slice(&meta);
    out.extend_from_slice(trailer.as_bytes());
    let record_bytes = usize::try_from(header.record_bytes()).expect("a record fits into memory");
    out.resize(start + record_bytes, 0);
    header
}
