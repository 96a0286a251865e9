//! Small parts of many needles in one answer: `GET /parts/{part}/{part}/…`.
//!
//! A request costs both ends more than to read a small needle does, and a proxy reads many at the same
//! time. A part is `vid,key,cookie,start-end`: a needle, and which of its bytes, the last one not
//! included. The answer is a row of frames:
//!
//! | size | field |
//! |---|---|
//! | 2 | number of the part, from 0 in the order in which they were asked for |
//! | 4 | length of the part; or 4294967295 if it has to be asked for alone, which tells why, 4294967294 if it is damaged, 4294967293 if the disk failed to read it |
//! | length | the part's bytes |
//!
//! Numbers are little-endian. Parts that memory holds come first. Before those for which the disk has
//! to be waited for stands a frame with the number 65535 and no bytes: whoever has questions meanwhile
//! need not wait with them for these.

pub(crate) mod serve;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::format::FormatError;
use crate::id::{NeedleId, ParseIdError};

/// Media type of an answer.
pub const CONTENT_TYPE: &str = "application/x-hayrick-parts";

/// Most parts in one request.
pub const MAX_PARTS: usize = 32;

/// Most bytes of a part. Larger ones are worth a request.
pub const MAX_PART_BYTES: u64 = 16 << 10;

const HEAD_BYTES: usize = 6;
const ALONE: u32 = u32::MAX;
const DAMAGED: u32 = u32::MAX - 1;
const UNREAD: u32 = u32::MAX - 2;
const PAUSE: u16 = u16::MAX;
const WHAT: &str = "frame of a part";

/// Some bytes of a needle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The needle.
    pub id: NeedleId,
    /// Which of its bytes: at least one, and at most [`MAX_PART_BYTES`].
    pub range: Range<u64>,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// All bytes of the part with this number.
    Found(u16, Bytes),
    /// The part with this number has to be asked for alone.
    Alone(u16),
    /// The part with this number does not have the bytes that were stored.
    Damaged(u16),
    /// The disk failed to read the part with this number.
    Unread(u16),
    /// The disk is waited for.
    Pause,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}-{}", self.id, self.range.start, self.range.end)
    }
}

impl FromStr for Part {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("part", "vid,key,cookie,start-end", text);
        let (id, range) = text.rsplit_once(',').ok_or_else(error)?;
        let (start, end) = range.split_once('-').ok_or_else(error)?;
        let position = |text: &str| text.parse::<u64>().map_err(|_| error());
        let range = position(start)?..position(end)?;
        let has_size = range.start < range.end && range.end - range.start <= MAX_PART_BYTES;
        if has_size { Ok(Self { id: id.parse()?, range }) } else { Err(error()) }
    }
}

/// The path that asks for `parts`.
pub fn path<'a>(parts: impl Iterator<Item = &'a Part>) -> String {
    use fmt::Write as _;
    parts.fold("/parts".to_owned(), |mut path, part| {
        // A String takes whatever is written to it.
        let _ = write!(path, "/{part}");
        path
    })
}

/// The parts that the rest of such a path asks for.
///
/// # Errors
/// [`ParseIdError`] where one is none, or there are more than [`MAX_PARTS`].
pub fn parse(list: &str) -> Result<Vec<Part>, ParseIdError> {
    let parts: Result<Vec<Part>, _> =
        list.split('/').take(MAX_PARTS + 1).map(Part::from_str).collect();
    match parts? {
        parts if parts.len() <= MAX_PARTS => Ok(parts),
        _ => Err(ParseIdError::new("list", "at most 32 parts", list)),
    }
}

impl Frame {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        let (number, length, data) = match self {
            Self::Found(number, data) => {
                (*number, u32::try_from(data.len()).unwrap_or(ALONE), data.as_ref())
            }
            Self::Alone(number) => (*number, ALONE, &[][..]),
            Self::Damaged(number) => (*number, DAMAGED, &[][..]),
            Self::Unread(number) => (*number, UNREAD, &[][..]),
            Self::Pause => (PAUSE, 0, &[][..]),
        };
        out.reserve(HEAD_BYTES + data.len());
        out.put_u16_le(number);
        out.put_u32_le(length);
        out.put_slice(data);
    }

    /// Takes a frame from the front of `bytes`, once all of it is there.
    ///
    /// # Errors
    /// [`FormatError`] where there is none.
    pub fn decode(bytes: &mut BytesMut) -> Result<Option<Self>, FormatError> {
        let Some((mut head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(None) };
        let (number, length) = (head.get_u16_le(), head.get_u32_le());
        let frame = match (number, length) {
            (PAUSE, 0) => Self::Pause,
            (PAUSE, _) => return Err(FormatError::Field { what: WHAT }),
            (_, ALONE) => Self::Alone(number),
            (_, DAMAGED) => Self::Damaged(number),
            (_, UNREAD) => Self::Unread(number),
            (_, 0) => return Err(FormatError::Field { what: WHAT }),
            (_, length) if u64::from(length) > MAX_PART_BYTES => {
                return Err(FormatError::Field { what: WHAT });
            }
            (_, length) if rest.len() < length as usize => return Ok(None),
            (_, length) => {
                // Copied, as whoever gets it may keep it for long, and should not keep all others too.
                let data = rest.get(..length as usize).map(Bytes::copy_from_slice);
                bytes.advance(HEAD_BYTES + length as usize);
                return Ok(data.map(|data| Self::Found(number, data)));
            }
        };
        bytes.advance(HEAD_BYTES);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Cookie, Key, VolumeId};

    fn part(key: u64, range: Range<u64>) -> Part {
        let volume = VolumeId::new(7).unwrap();
        Part { id: NeedleId::new(volume, Key::new(key), Cookie::new(9)), range }
    }

    #[test]
    fn paths_say_what_is_wanted_and_no_more_than_may_be() {
        let parts = vec![part(1, 0..1), part(u64::MAX, 5..5 + MAX_PART_BYTES)];
        let path = path(parts.iter());
        assert_eq!(path, "/parts/7,1,9,0-1/7,18446744073709551615,9,5-16389");
        assert_eq!(parse(path.strip_prefix("/parts/").unwrap()).unwrap(), parts);
        for bad in [
            "",
            "7,1,9",
            "7,1,9,0",
            "7,1,9,0-0",
            "7,1,9,1-0",
            "7,1,9,0-16385",
            "0,1,9,0-1",
            "7,1,9,0-1/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many = |count| vec!["7,1,9,0-1"; count].join("/");
        assert!(parse(&many(MAX_PARTS)).is_ok() && parse(&many(MAX_PARTS + 1)).is_err());
    }

    #[test]
    fn frames_come_out_as_they_went_in_wherever_they_are_cut() {
        let frames = [
            Frame::Found(0, Bytes::from_static(b"hay")),
            Frame::Alone(2),
            Frame::Damaged(3),
            Frame::Pause,
            Frame::Unread(4),
            Frame::Found(1, vec![7; 16 << 10].into()),
        ];
        let mut whole = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut whole);
        }
        for piece in [1, 5, 4096, whole.len()] {
            let (mut bytes, mut out) = (BytesMut::new(), Vec::new());
            for piece in whole.chunks(piece) {
                bytes.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut bytes).unwrap() {
                    out.push(frame);
                }
            }
            assert_eq!(out, frames);
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_memory_is_set_aside_for_it() {
        for (number, length) in [(0, 0), (0, (16 << 10) + 1), (0, u32::MAX - 3), (PAUSE, 1)] {
            let mut bytes = BytesMut::new();
            bytes.put_u16_le(number);
            bytes.put_u32_le(length);
            assert!(Frame::decode(&mut bytes).is_err(), "{number} {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut bytes) {}
        }

        #[test]
        fn any_text_is_parts_or_an_error(text in "[0-9,/-]{0,40}") {
            if let Ok(parts) = parse(&text) {
                let path = path(parts.iter());
                prop_assert_eq!(parse(path.strip_prefix("/parts/").unwrap()).unwrap(), parts);
            }
        }
    }
}
