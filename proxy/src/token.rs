//! Tokens: a signature that opens one name of a private bucket until a given time.
//!
//! A token is `keyid:sign:expire`, in the `Authorization` header or as `?token=`.
//! `expire` is a time in seconds since 1970, and `sign` is base64 of the HMAC, under the
//! access key's secret, of
//!
//! ```text
//! method \n bucket \n name \n expire \n
//! ```
//!
//! HMAC-SHA256 is what we sign with; HMAC-SHA1, which clients of bfs send, is told by
//! its length and accepted. A token for `GET` opens `HEAD` too, and one for a picture's
//! name opens its resized forms. For a bucket itself the name is empty.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// Clients may pad or not.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const SHA1_BYTES: usize = 20;
const SHA256_BYTES: usize = 32;

/// A token taken apart. Whether it opens anything is for [`Token::opens`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Which access key signed it.
    pub key_id: String,
    /// Seconds since 1970.
    pub expire: u64,
    signature: Vec<u8>,
}

/// What a token is asked to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object's name; empty for the bucket itself.
    pub name: &'a str,
}

/// Signs a token for `claim` with an access key.
pub fn sign(key_id: &str, secret: &str, claim: Claim<'_>, expire: u64) -> String {
    let signature = hmac::<Hmac<Sha256>>(secret, claim, expire).finalize().into_bytes();
    format!("{key_id}:{}:{expire}", URL_SAFE_NO_PAD.encode(signature))
}

impl Token {
    /// Takes a token apart; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (key_id, rest) = text.trim().split_once(':')?;
        let (signature, expire) = rest.rsplit_once(':')?;
        // In a query string a plus that was not encoded arrives as a blank.
        let signature = signature.replace(' ', "+");
        let decoded = STANDARD.decode(&signature).or_else(|_| URL_SAFE.decode(&signature));
        Some(Self {
            key_id: key_id.to_owned(),
            expire: expire.parse().ok()?,
            signature: decoded.ok()?,
        })
    }

    /// Whether it was signed as we sign, and not as clients of bfs do.
    pub fn is_hmac_sha256(&self) -> bool {
        self.signature.len() == SHA256_BYTES
    }

    /// Whether the token was signed with `secret` for `claim`. Takes as long for a wrong
    /// signature as for a right one. The expiry is the caller's to check.
    pub fn opens(&self, secret: &str, claim: Claim<'_>) -> bool {
        if self.signature.len() == SHA1_BYTES {
            hmac::<Hmac<Sha1>>(secret, claim, self.expire).verify_slice(&self.signature).is_ok()
        } else {
            hmac::<Hmac<Sha256>>(secret, claim, self.expire).verify_slice(&self.signature).is_ok()
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac<M: Mac + hmac::digest::KeyInit>(secret: &str, claim: Claim<'_>, expire: u64) -> M {
    let Claim { method, bucket, name } = claim;
    let mut mac = <M as Mac>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(format!("{method}\n{bucket}\n{name}\n{expire}\n").as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: Claim<'_> = Claim { method: "PUT", bucket: "photos", name: "cats/tom.jpg" };

    #[test]
    fn a_token_opens_what_it_was_signed_for_and_nothing_else() {
        let token = Token::parse(&sign("k1", "secret", CLAIM, 2_000_000_000)).unwrap();
        assert_eq!((token.key_id.as_str(), token.expire), ("k1", 2_000_000_000));
        assert!(token.opens("secret", CLAIM));
        assert!(!token.opens("Secret", CLAIM));
        assert!(!token.opens("secret", Claim { method: "GET", ..CLAIM }));
        assert!(!token.opens("secret", Claim { bucket: "photo", ..CLAIM }));
        assert!(!token.opens("secret", Claim { name: "cats/tom.jp", ..CLAIM }));
        let later = Token { expire: 2_000_000_001, ..token };
        assert!(!later.opens("secret", CLAIM));
    }

    /// Made with `openssl dgst -sha1 -hmac secret -binary | base64`.
    #[test]
    fn tokens_of_bfs_clients_are_understood() {
        let token = Token::parse("k1:QsGvskBowhlRnHfhMqHTE0DSAPU=:2000000000");
        assert!(token.unwrap().opens("secret", CLAIM));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "k1", "k1:abc", "k1:abc:", "k1:!!:5", "k1:YWJj:x", "k1:YWJj:-1"] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
        // Too short to be any signature.
        assert!(!Token::parse("k1:YWJj:5").unwrap().opens("secret", CLAIM));
    }
}
