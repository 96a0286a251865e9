//! Who may do what in a bucket.

use std::time::{Duration, SystemTime};

use axum::http::header::AUTHORIZATION;
use hayrick_directory::{Access, Bucket, BucketName};
use hayrick_service::ApiError;
use serde::Deserialize;

use super::Call;
use crate::token::{Claim, Token};

/// What the answer to a missing or wrong token asks for.
const CHALLENGE: &str = "Hayrick";

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl Call {
    /// Whether the request may read in the bucket.
    ///
    /// `names` are what a token may have been signed for: the object's name, and for a
    /// resized picture also that of the picture.
    pub(super) fn may_read(&self, bucket: &Bucket, names: &[&str]) -> Result<(), ApiError> {
        self.check(bucket, bucket.read, names)
    }

    /// The bucket, if it exists and the request may write in it.
    pub(super) fn may_write(&self, bucket: &BucketName, name: &str) -> Result<Bucket, ApiError> {
        let bucket = self.bucket(bucket)?;
        self.check(&bucket, bucket.write, &[name])?;
        Ok(bucket)
    }

    /// The bucket, if it exists.
    pub(super) fn bucket(&self, name: &BucketName) -> Result<Bucket, ApiError> {
        let bucket = self.proxy.directory.bucket(name);
        bucket.ok_or_else(|| {
            ApiError::not_found(format!("there is no bucket {name}")).with_code("NoSuchBucket")
        })
    }

    fn check(&self, bucket: &Bucket, access: Access, names: &[&str]) -> Result<(), ApiError> {
        if access == Access::Public {
            return Ok(());
        }
        let token = self.token()?.ok_or_else(|| {
            refused("a token is needed: Authorization: keyid:sign:expire, or ?token=")
        })?;
        // One answer for every token that does not open, so that nobody learns which part was right.
        if !self.opens(&token, bucket, names) {
            return Err(refused("the token does not open this, or has expired"));
        }
        Ok(())
    }

    /// Whether the request has a token for just this picture, signed as we sign.
    pub(super) fn check_signed(&self, bucket: &Bucket, name: &str) -> Result<(), ApiError> {
        let is_signed =
            |token: &Token| token.is_hmac_sha256() && self.opens(token, bucket, &[name]);
        if self.token()?.as_ref().is_some_and(is_signed) {
            return Ok(());
        }
        let message =
            "pictures of this bucket need a token for the whole name with its suffix: hayrick sign";
        Err(ApiError::forbidden(message).with_code("SignatureDoesNotMatch"))
    }

    fn opens(&self, token: &Token, bucket: &Bucket, names: &[&str]) -> bool {
        let Some(key) = self.proxy.directory.access_key(&token.key_id) else { return false };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::MAX);
        if key.bucket != bucket.name || token.expire <= now.as_secs() {
            return false;
        }
        let methods: &[&str] = match self.method.as_str() {
            "HEAD" => &["HEAD", "GET"],
            method => &[method],
        };
        let mut claims =
            methods.iter().flat_map(|method| names.iter().map(move |name| (method, name)));
        claims.any(|(method, name)| {
            token.opens(key.secret.expose(), Claim { method, bucket: bucket.name.as_str(), name })
        })
    }

    /// The token of the header, else that of the query.
    fn token(&self) -> Result<Option<Token>, ApiError> {
        let header = self
            .headers
            .get(AUTHORIZATION)
            .map(|value| value.to_str().unwrap_or_default().to_owned());
        let sent = match header {
            Some(text) => Some(text),
            None => self.query::<TokenQuery>()?.token,
        };
        sent.map(|text| {
            Token::parse(&text).ok_or_else(|| refused("this is no token: keyid:sign:expire"))
        })
        .transpose()
    }

    /// Whether the query has this key, with whatever value.
    pub(super) fn has_flag(&self, key: &str) -> bool {
        let mut pairs =
            self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.any(|(name, _)| name == key)
    }

    /// The request's query, as `T` reads it.
    pub(super) fn query<T: for<'de> Deserialize<'de>>(&self) -> Result<T, ApiError> {
        serde_urlencoded::from_str(&self.query)
            .map_err(|error| ApiError::bad_request(format!("query: {error}")))
    }
}

fn refused(message: &'static str) -> ApiError {
    ApiError::unauthorized(CHALLENGE, message)
}
