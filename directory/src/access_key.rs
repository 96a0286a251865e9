//! Access keys: what clients sign their tokens with.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::BucketName;

/// A key that opens the private side of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The public half: names the key in tokens.
    pub id: String,
    /// The private half: signs tokens.
    pub secret: Secret,
    /// The bucket it opens.
    pub bucket: BucketName,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// A secret text. `Debug` never shows it; serde does, because it must be kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl AccessKey {
    /// A new key for `bucket`, drawn from the operating system's random source.
    pub fn generate(bucket: BucketName, created_ms: u64) -> Result<Self, getrandom::Error> {
        let mut id = [0_u8; 12];
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        // The id stands between colons in tokens, and on command lines, where a dash in
        // front would make a flag of it: hex has neither.
        let id = format!("{:024x}", id.iter().fold(0_u128, |id, byte| id << 8 | u128::from(*byte)));
        Ok(Self { id, secret: Secret(URL_SAFE_NO_PAD.encode(secret)), bucket, created_ms })
    }
}

impl Secret {
    /// Wraps a secret that came from elsewhere.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for signing, and for showing once to who made the key.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret_and_serde_keeps_it() {
        let key = AccessKey::generate("photos".parse().unwrap(), 5).unwrap();
        assert!(!format!("{key:?}").contains(key.secret.expose()));
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<AccessKey>(&text).unwrap(), key);
    }

    #[test]
    fn no_two_keys_are_alike() {
        let make = || AccessKey::generate("photos".parse().unwrap(), 5).unwrap();
        let (a, b) = (make(), make());
        assert!(a.id != b.id && a.secret != b.secret);
        assert!(a.id.len() == 24 && a.id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", a.id);
    }
}
