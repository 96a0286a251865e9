//! ISO media boxes: length, type and body. All numbers are big-endian.

use crate::probe::bytes::{Order, array};

/// A box's type and body.
pub(super) type Part<'a> = ([u8; 4], &'a [u8]);

/// The boxes that follow one another in some bytes, to the first that is cut short.
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let kind = array(self.0, 4)?;
        let (head, end) = match Order::Big.u32(self.0, 0)? {
            0 => (8, self.0.len()),
            1 => (16, usize::try_from(Fields(self.0.get(8..)?).uint(8)?).ok()?),
            length => (8, usize::try_from(length).ok()?),
        };
        let body = self.0.get(head..end)?;
        self.0 = self.0.get(end..)?;
        Some((kind, body))
    }
}

impl<'a> Boxes<'a> {
    /// The first of this type.
    pub(super) fn first(mut self, kind: [u8; 4]) -> Option<&'a [u8]> {
        self.find(|part| part.0 == kind).map(|part| part.1)
    }
}

/// Numbers one after another.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next number, of at most eight bytes.
    pub(super) fn uint(&mut self, bytes: usize) -> Option<u64> {
        let number = self.take(bytes)?;
        Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(|_| ())
    }

    /// The head of a full box: its version and its flags.
    pub(super) fn version(&mut self) -> Option<(u64, u64)> {
        Some((self.uint(1)?, self.uint(3)?))
    }
}
