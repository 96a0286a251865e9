//! A small HTTP client for peers and for the command line. `http://` only.
//!
//! Connections are pooled per peer. The id and trace context of the request being served travel
//! along. An answer of 400 and above is an error that carries the server's own words
//! ([`crate::error::ErrorBody`]).
//!
//! ```no_run
//! # use hayrick_service::client::{Client, ClientError, ClientOptions};
//! # #[derive(serde::Deserialize)] struct Status { free_bytes: u64 }
//! # async fn ask() -> Result<(), ClientError> {
//! let client = Client::new(ClientOptions::default());
//! let status: Status = client.get("http://127.0.0.1:8081/status").send_json().await?;
//! # Ok(())
//! # }
//! ```

mod error;

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{ClientError, StatusError};

use crate::auth::Secret;
use crate::request::{self, MinRate, TRACEPARENT, X_REQUEST_ID, stall_limited};

/// A peer answers as fast as it can, however slow that is.
const NO_MIN_RATE: MinRate = MinRate(0);

/// Largest JSON answer that is read into memory.
const MAX_JSON_BYTES: usize = 64 << 20;

/// Limits and credentials of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Longest time to reach a peer. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time in which a peer's machine acknowledges nothing. A line that is cut is noticed
    /// by it, and a server that takes its time is not taken for one. Default 3 s.
    pub silence_timeout: Duration,
    /// Longest time from sending a request until the head of the answer, and for
    /// [`Call::send_json`] and [`Call::send_bytes`] until its end; `None` for no limit, as a
    /// large upload needs. Default 60 s.
    pub timeout: Option<Duration>,
    /// Longest silence inside the body of an answer. Default 30 s.
    pub body_idle_timeout: Duration,
    /// Unused connections kept per peer. Default 64.
    pub max_idle_per_peer: usize,
    /// How long an unused connection is kept; less than a server's own limit. Default 30 s.
    pub idle_timeout: Duration,
    /// Sent as bearer token with every request.
    pub token: Option<Secret>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            silence_timeout: Duration::from_secs(3),
            timeout: Some(Duration::from_mins(1)),
            body_idle_timeout: Duration::from_secs(30),
            max_idle_per_peer: 64,
            idle_timeout: Duration::from_secs(30),
            token: None,
        }
    }
}

/// What was sent and not acknowledged for `limit` ends a connection (RFC 5482), and where there
/// is nothing to acknowledge, empty probes see to it that there is (RFC 9293, 3.8.4).
fn notice_silence(connector: &mut HttpConnector, limit: Duration) {
    const PROBES: u32 = 3;
    // The system counts in whole seconds.
    let interval = (limit / PROBES).max(Duration::from_secs(1));
    connector.set_keepalive(Some(interval));
    connector.set_keepalive_interval(Some(interval));
    connector.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(limit));
}

/// Sends requests. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Body>,
    options: ClientOptions,
}

impl Client {
    /// A client with its own pool.
    pub fn new(options: ClientOptions) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        notice_silence(&mut connector, options.silence_timeout);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.max_idle_per_peer)
            .build(connector);
        Self { http, options }
    }

    /// Begins a request; nothing happens before one of the `send` functions.
    pub fn request(&self, method: Method, url: impl Into<String>) -> Call<'_> {
        let mut headers = HeaderMap::new();
        let token = self.options.token.as_ref().and_then(bearer_value);
        headers.extend(token.map(|value| (AUTHORIZATION, value)));
        Call {
            client: self,
            method,
            url: url.into(),
            headers,
            body: Ok(Body::empty()),
            timeout: self.options.timeout,
        }
    }

    /// Begins a GET.
    pub fn get(&self, url: impl Into<String>) -> Call<'_> {
        self.request(Method::GET, url)
    }

    /// Begins a HEAD.
    pub fn head(&self, url: impl Into<String>) -> Call<'_> {
        self.request(Method::HEAD, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: impl Into<String>) -> Call<'_> {
        self.request(Method::PUT, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: impl Into<String>) -> Call<'_> {
        self.request(Method::POST, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: impl Into<String>) -> Call<'_> {
        self.request(Method::DELETE, url)
    }
}

/// `None` for a token that no header can carry; the server's 401 then says so.
fn bearer_value(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A request being put together.
#[must_use = "a call does nothing before it is sent"]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Result<Body, serde_json::Error>,
    timeout: Option<Duration>,
}

impl Call<'_> {
    /// Sets a header, in place of one of the same name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets several headers.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Another time limit than the client's; `None` for no limit.
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the body: bytes, text, or a stream by `Body::from_stream`. A stream is sent in chunks
    /// unless the header `Content-Length` tells its length.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Ok(body.into());
        self
    }

    /// Sets a JSON body.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = serde_json::to_vec(value).map(Body::from);
        self
    }

    /// Sends the request; the answer's body is a stream, each read of it limited by
    /// [`ClientOptions::body_idle_timeout`].
    pub async fn send(mut self) -> Result<Response<Body>, ClientError> {
        let (url, limit) = (shown(&self.url), self.timeout.take());
        limited(&url, limit, self.exchange()).await
    }

    /// Sends the request and reads the whole answer, at most `max_bytes` of it.
    pub async fn send_bytes(mut self, max_bytes: usize) -> Result<Bytes, ClientError> {
        let (url, limit) = (shown(&self.url), self.timeout.take());
        let whole = async {
            let body = self.exchange().await?.into_body();
            match Limited::new(body, max_bytes).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(cause) => Err(ClientError::from_body(&url, max_bytes, cause)),
            }
        };
        limited(&url, limit, whole).await
    }

    /// Sends the request and reads the answer as JSON, at most 64 MiB of it.
    pub async fn send_json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let url = shown(&self.url);
        let call = self.header(ACCEPT, HeaderValue::from_static("application/json"));
        let bytes = call.send_bytes(MAX_JSON_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Decode { url, source })
    }

    async fn exchange(self) -> Result<Response<Body>, ClientError> {
        let Self { client, method, url, headers, body, .. } = self;
        let mut request = Request::new(body.map_err(ClientError::Encode)?);
        *request.method_mut() = method;
        *request.uri_mut() = parse_url(&url)?;
        let url = shown(&url);
        *request.headers_mut() = headers;
        forward_context(request.headers_mut());
        let answer = client.http.request(request).await;
        let response = answer.map_err(|cause| ClientError::from_exchange(&url, cause))?;
        let idle = client.options.body_idle_timeout;
        let response = response.map(|body| stall_limited(Body::new(body), idle, NO_MIN_RATE));
        if response.status().is_client_error() || response.status().is_server_error() {
            return Err(ClientError::Status(Box::new(StatusError::read(url, response).await)));
        }
        Ok(response)
    }
}

async fn limited<T>(
    url: &str,
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match limit {
        None => work.await,
        Some(after) => tokio::time::timeout(after, work)
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout { url: url.to_owned(), after })),
    }
}

/// A URL as errors name it: without its query, which may carry a token.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

fn parse_url(url: &str) -> Result<Uri, ClientError> {
    let bad = |reason: String| ClientError::BadUrl { url: shown(url), reason };
    let uri: Uri =
        url.parse().map_err(|error: axum::http::uri::InvalidUri| bad(error.to_string()))?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err(bad("it must begin with http:// and a host".to_owned()));
    }
    Ok(uri)
}

fn forward_context(headers: &mut HeaderMap) {
    let Some(context) = request::current() else { return };
    headers.entry(X_REQUEST_ID).or_insert_with(|| HeaderValue::from(&context.request_id));
    if let Some(Ok(value)) = context.trace.map(|trace| HeaderValue::try_from(trace.as_str())) {
        headers.entry(TRACEPARENT).or_insert(value);
    }
}

#[cfg(test)]
mod tests;
