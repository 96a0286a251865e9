//! Commands that go through the public door, as any client does.

pub mod get;
mod key;
pub mod ls;
mod object;
pub mod put;
pub mod rm;
pub mod sign;
pub mod stat;

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use clap::Args;
use hayrick_proxy::token::{self, Claim};
use hayrick_service::client::{Client, ClientError, ClientOptions};

use crate::failure::{Exit, Failure};

use key::AccessKey;
use object::Target;

/// Where `hayrick up` listens for everybody.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// How long the tokens are good for that commands sign for themselves; enough for a clock
/// that is wrong by some minutes.
const TOKEN_LIFE: Duration = Duration::from_mins(15);

/// Which door, and what opens it.
#[derive(Debug, Args)]
pub struct DoorArgs {
    /// Public door of the server
    #[arg(long, value_name = "URL", env = "HAYRICK_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// Access key of the bucket, for private buckets; see `hayrick key create`
    #[arg(long, value_name = "ID:SECRET", env = "HAYRICK_KEY", hide_env_values = true)]
    pub key: Option<AccessKey>,
}

/// Goes through a public door.
pub struct Door {
    client: Client,
    base: String,
    key: Option<AccessKey>,
}

impl Door {
    /// Nothing is sent yet.
    pub fn new(args: &DoorArgs) -> Self {
        Self {
            client: Client::new(ClientOptions::default()),
            base: args.url.trim_end_matches('/').to_owned(),
            key: args.key.clone(),
        }
    }

    /// The URL of a bucket or an object.
    pub fn url(&self, target: &Target) -> String {
        format!("{}{}", self.base, target.path())
    }

    /// A token for one method on one target, if there is a key.
    pub fn token(&self, method: &Method, target: &Target, life: Duration) -> Option<String> {
        let key = self.key.as_ref()?;
        let claim =
            Claim { method: method.as_str(), bucket: target.bucket.as_str(), name: &target.name };
        Some(token::sign(&key.id, key.secret.expose(), claim, expiry(life)))
    }

    /// Sends a request that carries no body.
    pub async fn send(
        &self,
        method: Method,
        target: &Target,
        query: &str,
    ) -> Result<Response<Body>, Failure> {
        let headers = self.headers(&method, target);
        let call = self.client.request(method, format!("{}{query}", self.url(target)));
        call.headers(headers).send().await.map_err(|error| self.told(&error, target))
    }

    /// Sends a request with a body of any size, without a limit of time.
    pub async fn upload(
        &self,
        target: &Target,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        headers.extend(self.headers(&Method::PUT, target));
        let call = self.client.put(self.url(target)).headers(headers).timeout(None);
        call.body(body).send().await.map_err(|error| self.told(&error, target))
    }

    fn headers(&self, method: &Method, target: &Target) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let token = self.token(method, target, TOKEN_LIFE);
        if let Some(Ok(mut value)) = token.map(HeaderValue::try_from) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }

    /// A failed request, with its next step.
    pub fn told(&self, error: &ClientError, target: &Target) -> Failure {
        let failure = Failure::from_client(error);
        match failure.exit {
            Exit::Unreachable => failure.hint(format!(
                "is it running? start it with `hayrick up`, or name its public door with --url URL or HAYRICK_URL (asked: {})",
                self.base
            )),
            Exit::Denied if self.key.is_none() => failure.hint(format!(
                "bucket {} is private: make a key with `hayrick key create {}` and give it with --key or HAYRICK_KEY",
                target.bucket, target.bucket
            )),
            Exit::Denied => failure.hint(format!(
                "is the key one of this bucket's? see `hayrick key list {}`",
                target.bucket
            )),
            _ => failure,
        }
    }

    /// An answer whose body broke off.
    pub fn broken(error: &axum::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("the download broke off: {error}"))
            .hint("try again")
    }
}

fn expiry(life: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_add(life).as_secs()
}
