//! Where a listing goes on: opaque to clients, so that it may change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::NamesError;

/// The last thing a page told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    /// An object's name: go on after it.
    Name(String),
    /// A common prefix: go on after every name that starts with it.
    Prefix(String),
}

impl Cursor {
    /// The least name to go on with.
    pub(super) fn start(&self) -> Vec<u8> {
        match self {
            Self::Name(name) => [name.as_bytes(), &[0]].concat(),
            // UTF-8 has no byte 0xFF, so a common prefix has a successor.
            Self::Prefix(prefix) => successor(prefix.as_bytes()).unwrap_or_default(),
        }
    }

    pub(super) fn encode(&self) -> String {
        let (tag, text) = match self {
            Self::Name(name) => (b'n', name),
            Self::Prefix(prefix) => (b'p', prefix),
        };
        URL_SAFE_NO_PAD.encode([&[tag], text.as_bytes()].concat())
    }

    pub(super) fn decode(text: &str) -> Result<Self, NamesError> {
        let bad = || NamesError::BadQuery("the cursor is not one that a listing gave");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let (tag, text) = bytes.split_first().ok_or_else(bad)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| bad())?;
        match (*tag, text.is_empty()) {
            (b'n', false) => Ok(Self::Name(text)),
            (b'p', false) => Ok(Self::Prefix(text)),
            _ => Err(bad()),
        }
    }
}

/// The least byte string above all that start with `prefix`; `None` if there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix.get(..=last)?.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        for cursor in [Cursor::Name("a/日\0".to_owned()), Cursor::Prefix("a/".to_owned())] {
            assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "?", "bg", "cA", "eGE", "bv8", "YWJj"] {
            assert!(Cursor::decode(text).is_err(), "{text} decoded");
        }
    }

    #[test]
    fn successors() {
        assert_eq!(successor(b"ab").unwrap(), b"ac");
        assert_eq!(successor(b"a\xFF\xFF").unwrap(), b"b");
        assert_eq!(successor(b"\xFF"), None);
        assert_eq!(successor(b""), None);
    }
}
