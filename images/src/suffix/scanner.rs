//! The grammar, read from left to right in one pass.

use super::SuffixError;
use crate::format::OutputFormat;

const MAX_DIGITS: usize = 19;
const MAX_NAME_BYTES: usize = 64;

pub(super) enum Item {
    Pair(u8, u64),
    Progressive,
}

pub(super) enum Extension {
    Output(OutputFormat),
    NotBuilt(&'static str),
}

/// What is left to read of a suffix. Every method takes one production of the
/// grammar off its front.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes() }
    }

    pub(super) fn item(&mut self) -> Result<Option<Item>, SuffixError> {
        match self.bytes.first() {
            Some(byte) if byte.is_ascii_digit() => self.pair().map(Some),
            Some(b'p' | b'P') => self.word("progressive").map(|()| Some(Item::Progressive)),
            _ => Ok(None),
        }
    }

    fn pair(&mut self) -> Result<Item, SuffixError> {
        let digits = self.run(u8::is_ascii_digit);
        if digits.len() > MAX_DIGITS {
            return Err(SuffixError::NotASuffix);
        }
        // Nineteen digits stay below 10^19 and so below 2^64.
        let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let (letter, rest) = self.bytes.split_first().ok_or(SuffixError::NotASuffix)?;
        self.bytes = rest;
        match letter.to_ascii_lowercase() {
            key @ (b'w' | b'h' | b's' | b'e' | b'p' | b'o' | b'q' | b'c' | b'f') => {
                Ok(Item::Pair(key, value))
            }
            _ => Err(SuffixError::NotASuffix),
        }
    }

    pub(super) fn underscores(&mut self) {
        self.run(|byte| *byte == b'_');
    }

    pub(super) fn tag(&mut self) -> Result<Option<String>, SuffixError> {
        match self.bytes.split_first() {
            Some((b'!', rest)) => self.bytes = rest,
            _ => return Ok(None),
        }
        let tag = self.run(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        match tag.first() {
            Some(first) if *first != b'-' && tag.len() <= MAX_NAME_BYTES => {
                Ok(Some(tag.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()))
            }
            _ => Err(SuffixError::NotASuffix),
        }
    }

    /// The extension, and that nothing follows it.
    pub(super) fn format(&mut self) -> Result<Option<Extension>, SuffixError> {
        let extension = match self.bytes.split_first() {
            None | Some((b'.', [])) => return Ok(None),
            Some((b'.', extension)) => extension.to_ascii_lowercase(),
            Some(_) => return Err(SuffixError::NotASuffix),
        };
        let format = match extension.as_slice() {
            b"jpg" | b"jpeg" => OutputFormat::Jpeg,
            b"png" => OutputFormat::Png,
            b"webp" => OutputFormat::WebP,
            b"avif" => OutputFormat::Avif,
            b"gif" => OutputFormat::Gif,
            b"avg_color" => OutputFormat::AvgColor,
            _ => return Err(SuffixError::NotASuffix),
        };
        Ok(Some(if format.is_built() {
            Extension::Output(format)
        } else {
            Extension::NotBuilt(format.extension())
        }))
    }

    fn word(&mut self, word: &str) -> Result<(), SuffixError> {
        match self.bytes.split_at_checked(word.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(word.as_bytes()) => {
                self.bytes = rest;
                Ok(())
            }
            _ => Err(SuffixError::NotASuffix),
        }
    }

    fn run(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let end = self.bytes.iter().position(|byte| !belongs(byte)).unwrap_or(self.bytes.len());
        let (run, rest) = self.bytes.split_at(end);
        self.bytes = rest;
        run
    }
}
