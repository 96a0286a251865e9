//! The public door.
//!
//! | request | answer |
//! |---|---|
//! | `PUT`, `POST /{bucket}/{name}` | 201 if the name is new, else 200; with `Location`, `ETag` and `X-Hayrick-Needle` |
//! | `POST /{bucket}` | the same, under a name made of the content's SHA-1, as bfs does |
//! | `GET`, `HEAD /{bucket}/{name}` | the object, with ranges and conditions |
//! | `GET`, `HEAD /{bucket}/{name}@{suffix}` | the picture, resized: see [`hayrick_images::Suffix`], as far as the bucket's [`ImagePolicy`](hayrick_directory::ImagePolicy) allows |
//! | `GET`, `HEAD /{bucket}/{name}?info` | what is known of the picture, as JSON: [`hayrick_images::Info`] |
//! | `DELETE /{bucket}/{name}` | 204 |
//! | `GET /{bucket}?prefix=&delimiter=&cursor=&limit=` | a page of names, as JSON |
//!
//! While no directory answers, `GET` and `HEAD` serve what the name held when it was last seen, with
//! the header `X-Hayrick-Degraded: names`; everything else is answered 503.
//!
//! A name is everything behind the bucket, percent-decoded once: any UTF-8 of 1 to 1,024
//! bytes. An object whose name happens to look like a resized picture's is served as it is.

mod access;
mod download;
mod error;
mod list;

mod path;
mod picture;
mod plain;
mod store;
mod validators;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use hayrick_service::ApiError;
use hayrick_service::listen::App;

use crate::Proxy;
pub use list::{ListedObject, Listing};
use path::Target;
use plain::{Known, Plain};

/// The needle that holds the object, or its first chunk: `vid,key,cookie`.
pub const NEEDLE_HEADER: HeaderName = HeaderName::from_static("x-hayrick-needle");

/// Says of an answer that not all of the cluster had a part in it: `names`, that the object is
/// the one that this proxy last saw under the name, as no directory answers.
pub const DEGRADED_HEADER: HeaderName = HeaderName::from_static("x-hayrick-degraded");

/// Says of a picture that its source moves and it does not, as there are too many frames:
/// `dropped`.
pub const ANIMATION_HEADER: HeaderName = HeaderName::from_static("x-hayrick-animation");

/// Says of an answer that it is the object itself, as no picture could be made of it:
/// `passthrough`.
pub const IMAGE_HEADER: HeaderName = HeaderName::from_static("x-hayrick-image");

/// Request and answer headers that carry the uploader's own metadata start with this.
pub const USER_PREFIX: &str = "x-hayrick-meta-";

/// What somebody uploaded is what it says it is, and nothing a browser guesses.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// What answers on the public listener.
pub fn app(proxy: Arc<Proxy>) -> App {
    // One handler: a name may be any path, so there is nothing for a router to match.
    let router = Router::new().fallback(handle).with_state(Arc::clone(&proxy));
    App::with_shortcut(router, Plain(proxy))
}

/// A request but for its body, which is not shared between threads.
struct Call {
    proxy: Arc<Proxy>,
    method: Method,
    headers: axum::http::HeaderMap,
    query: String,
    /// Found out on the way here.
    known: Option<Known>,
}

async fn handle(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let known = head.extensions.remove();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let call = Call { proxy, method: head.method, headers: head.headers, query, known };
    let mut answer = match Target::parse(head.uri.path()) {
        Ok(target) => call.dispatch(target, body).await.unwrap_or_else(ApiError::into_response),
        Err(error) => error.into_response(),
    };
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

impl Call {
    async fn dispatch(self, target: Target, body: Body) -> Result<Response, ApiError> {
        match (target, self.method.as_str()) {
            (Target::Root, "GET" | "HEAD") => Err(ApiError::not_found(
                "name a bucket: /{bucket}/{name} for an object, /{bucket} for a list of them",
            )),
            (Target::Root, _) => Err(ApiError::method_not_allowed("GET, HEAD")),
            (Target::Bucket(bucket), "GET") => self.list(&bucket).await,
            (Target::Bucket(bucket), "POST") => self.store_by_digest(&bucket, body).await,
            (Target::Bucket(_), _) => Err(ApiError::method_not_allowed("GET, POST")),
            (Target::Object(bucket, name), "GET" | "HEAD") => self.download(&bucket, name).await,
            (Target::Object(bucket, name), "PUT" | "POST") => self.store(&bucket, name, body).await,
            (Target::Object(bucket, name), "DELETE") => self.remove(&bucket, name).await,
            (Target::Object(..), _) => {
                Err(ApiError::method_not_allowed("GET, HEAD, PUT, POST, DELETE"))
            }
        }
    }
}
