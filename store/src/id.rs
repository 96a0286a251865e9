//! The names of things a store knows: volumes, keys, cookies, epochs and whole needles.
//!
//! All but the last are bare integers on the wire, so each has a type of its own: the
//! compiler refuses a swap. Every type prints in decimal and parses what it prints.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected {expected}")]
pub struct ParseIdError {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

/// A volume of the cluster: 1 to 4,294,967,295. Never used for two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(NonZeroU32);

/// A needle's key, unique within its volume. Any `u64` is a key; the directory
/// gives out dense ranges because dense keys pack into a small index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(u64);

/// A random number kept in the needle, so that nobody finds needles by counting keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cookie(u32);

/// Which set of replicas a volume has: one more at each change. What is ordered under an
/// older epoch than a store knows is refused. 0 for a volume that was never told one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(u64);

/// Everything it takes to ask for one needle. Prints as `vid,key,cookie`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NeedleId {
    /// The volume that holds the needle.
    pub volume: VolumeId,
    /// The needle's key in that volume.
    pub key: Key,
    /// The cookie it was stored with.
    pub cookie: Cookie,
}

impl VolumeId {
    /// `None` for 0, which is no volume.
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as the number that files and URLs carry.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Key {
    /// Every `u64` is a key.
    pub const fn new(key: u64) -> Self {
        Self(key)
    }

    /// The key as the number that files and URLs carry.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Cookie {
    /// Every `u32` is a cookie; draw it from a random source.
    pub const fn new(cookie: u32) -> Self {
        Self(cookie)
    }

    /// The cookie as the number that files and URLs carry.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Epoch {
    /// Of a volume that was never told one.
    pub const NONE: Self = Self(0);

    /// Every `u64` is an epoch.
    pub const fn new(epoch: u64) -> Self {
        Self(epoch)
    }

    /// The epoch as the number that files and headers carry.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl NeedleId {
    /// The id of `key` and `cookie` in `volume`.
    pub fn new(volume: VolumeId, key: Key, cookie: Cookie) -> Self {
        Self { volume, key, cookie }
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NeedleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.volume, self.key, self.cookie)
    }
}

impl FromStr for VolumeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error =
            || ParseIdError::new("volume id", "a decimal number from 1 to 4294967295", text);
        parse_digits(text).and_then(Self::new).ok_or_else(error)
    }
}

impl FromStr for Key {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("key", "a decimal number below 2^64", text);
        parse_digits(text).map(Self).ok_or_else(error)
    }
}

impl FromStr for Cookie {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("cookie", "a decimal number below 2^32", text);
        parse_digits(text).map(Self).ok_or_else(error)
    }
}

impl FromStr for Epoch {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("epoch", "a decimal number below 2^64", text);
        parse_digits(text).map(Self).ok_or_else(error)
    }
}

impl FromStr for NeedleId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut parts = text.splitn(3, ',');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(volume), Some(key), Some(cookie)) => {
                Ok(Self { volume: volume.parse()?, key: key.parse()?, cookie: cookie.parse()? })
            }
            _ => Err(ParseIdError::new("needle id", "vid,key,cookie", text)),
        }
    }
}

impl ParseIdError {
    pub(crate) fn new(kind: &'static str, expected: &'static str, text: &str) -> Self {
        // A hostile path segment may be long; the message stays short.
        let text = text.chars().take(40).collect();
        Self { kind, expected, text }
    }
}

/// `str::parse` for integers also takes a leading `+`; two spellings of one id
/// would be two URLs of one needle.
fn parse_digits<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needle_id_round_trips() {
        for text in ["1,0,0", "4294967295,18446744073709551615,4294967295"] {
            assert_eq!(text.parse::<NeedleId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "1",
            "1,2",
            "0,1,1",
            "1,2,3,4",
            "+1,2,3",
            "1,-2,3",
            "1,2,4294967296",
            "1, 2,3",
            "a,b,c",
        ] {
            assert!(text.parse::<NeedleId>().is_err(), "{text} parsed");
        }
    }
}
