//! An access key as `hayrick key create` prints it.

use std::str::FromStr;

use hayrick_service::auth::Secret;

/// `ID:SECRET`. Never printed.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Names the key in tokens.
    pub id: String,
    /// Signs them.
    pub secret: Secret,
}

/// A text that is not an access key. The text itself is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an access key is written ID:SECRET, as `hayrick key create BUCKET` prints it")]
pub struct KeyError;

impl FromStr for AccessKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.trim().split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
                Ok(Self { id: id.to_owned(), secret: Secret::new(secret) })
            }
            _ => Err(KeyError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_not_shown() {
        let key: AccessKey = "k1:s:x\n".parse().unwrap();
        assert_eq!((key.id.as_str(), key.secret.expose()), ("k1", "s:x"));
        assert!(!format!("{key:?}").contains("s:x"));
        for bad in ["", "k1", ":s", "k1:"] {
            assert_eq!(bad.parse::<AccessKey>().unwrap_err(), KeyError);
        }
    }
}
