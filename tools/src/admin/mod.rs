//! Commands that a running server's admin listener answers.

pub mod bucket;
mod job;
pub mod key;
pub mod scrub;
pub mod status;
pub mod volume;

use std::time::Duration;

use clap::Args;
use hayrick_service::auth::Secret;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::failure::{Exit, Failure};

/// Where `hayrick up` listens for operators.
pub const DEFAULT_ADMIN: &str = "http://127.0.0.1:8082";

/// How often a server is asked how far it is: at first, so that short work ends at once, and
/// at most.
const FIRST_POLL: Duration = Duration::from_millis(50);
const LAST_POLL: Duration = Duration::from_millis(500);

/// Which server to ask.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Admin listener of the server
    #[arg(long, value_name = "URL", env = "HAYRICK_ADMIN", default_value = DEFAULT_ADMIN)]
    pub admin: String,
    /// Its token, `admin.token` in the server's configuration
    #[arg(long, value_name = "TOKEN", env = "HAYRICK_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<Token>,
}

/// A bearer token from the command line.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl std::str::FromStr for Token {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Secret::new(text)))
    }
}

/// Asks an admin listener.
pub struct Admin {
    client: Client,
    base: String,
}

impl Admin {
    /// Nothing is sent yet.
    pub fn new(args: &AdminArgs) -> Self {
        let token = args.token.clone().map(|token| token.0);
        let client = Client::new(ClientOptions { token, ..ClientOptions::default() });
        Self { client, base: args.admin.trim_end_matches('/').to_owned() }
    }

    /// Another server of the cluster, which the same token opens.
    pub fn at(&self, address: &str) -> Self {
        Self { client: self.client.clone(), base: format!("http://{address}") }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// GET.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.told(self.client.get(self.url(path)).send_json().await)
    }

    /// POST without a body.
    pub async fn start<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.told(self.client.post(self.url(path)).send_json().await)
    }

    /// POST of a JSON body.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.told(self.client.post(self.url(path)).json(body).send_json().await)
    }

    /// PATCH of a JSON body.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let method = axum::http::Method::PATCH;
        self.told(self.client.request(method, self.url(path)).json(body).send_json().await)
    }

    /// PUT of a JSON body, answered with what is there now.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.told(self.client.put(self.url(path)).json(body).send_json().await)
    }

    /// PUT of a JSON body, answered without one.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.told(self.client.put(self.url(path)).json(body).send_bytes(1024).await).map(drop)
    }

    /// DELETE, answered without a body.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.told(self.client.delete(self.url(path)).send_bytes(1024).await).map(drop)
    }

    fn told<T>(&self, answer: Result<T, ClientError>) -> Result<T, Failure> {
        answer.map_err(|error| {
            let failure = Failure::from_client(&error);
            match failure.exit {
                Exit::Unreachable => failure.hint(format!(
                    "is it running? start it with `hayrick up`, or name its admin listener with --admin URL or HAYRICK_ADMIN (asked: {})",
                    self.base
                )),
                Exit::Denied => failure.hint(
                    "give the server's admin.token with --token or HAYRICK_ADMIN_TOKEN",
                ),
                _ => failure,
            }
        })
    }
}

/// Asks until there is an answer.
pub async fn poll<T>(
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut wait = FIRST_POLL;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        sleep(wait).await;
        wait = (wait * 2).min(LAST_POLL);
    }
}
