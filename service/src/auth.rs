//! Secrets, and the bearer token that guards internal and admin listeners.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq as _;

use crate::ApiError;
use crate::listen::{App, Head, Short, Shortcut};

const HIDDEN: &str = "<hidden>";

/// A text that must not be shown: `Debug` and `Serialize` write `<hidden>`, an error while
/// reading one from a file does not quote it, and comparing takes the same time wherever the
/// difference is.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for sending or signing; never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in constant time; only the length can be told from the time it takes.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own message for a wrong type quotes the value.
        let text = String::deserialize(deserializer)
            .map_err(|_| de::Error::custom("a secret must be a text in quotes"))?;
        if text == HIDDEN {
            // A printed configuration that was put to use would have a token everybody knows.
            return Err(de::Error::custom(
                "\"<hidden>\" stands for a secret; write the secret itself",
            ));
        }
        Ok(Self(text))
    }
}

/// Lets only requests with `Authorization: Bearer <token>` through; others get 401.
///
/// `/healthz` stays open, as probes carry no credentials. Without a token, or with an empty one,
/// everything is open: a server must then refuse to listen beyond loopback
/// ([`crate::listen::is_loopback`]).
pub fn require_bearer(app: impl Into<App>, token: Option<Secret>) -> App {
    let app = app.into();
    match token {
        Some(token) if !token.is_empty() => {
            let layer = middleware::from_fn_with_state(token.clone(), check);
            let guarded = app.clone().into_router().layer(layer);
            App::with_shortcut(guarded, Guarded { app, token })
        }
        _ => app,
    }
}

/// The shortcut of an app, for those who have the token. The router refuses the others.
struct Guarded {
    app: App,
    token: Secret,
}

impl Shortcut for Guarded {
    fn answer(&self, head: &Head<'_>) -> Option<Short> {
        let sent = bearer(head.headers)?;
        self.token.matches(sent).then(|| self.app.short_answer(head))?
    }
}

async fn check(State(token): State<Secret>, request: Request, next: Next) -> Response {
    let sent = bearer(request.headers());
    if request.uri().path() == "/healthz" || sent.is_some_and(|sent| token.matches(sent)) {
        return next.run(request).await;
    }
    let message = if sent.is_some() {
        "the bearer token is wrong"
    } else {
        "a bearer token is needed: Authorization: Bearer <token>"
    };
    ApiError::unauthorized("Bearer", message).into_response()
}

/// The token of the only `Authorization` header, if it is a bearer token.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(path: &str, authorization: &[&str]) -> u16 {
        let router = Router::new().route("/", get(|| async {})).route("/healthz", get(|| async {}));
        let router = require_bearer(router, Some(Secret::new("s3cret"))).into_router();
        let mut request = Request::get(path);
        for value in authorization {
            request = request.header(AUTHORIZATION, *value);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            response.status() == 401,
            response.headers().get("www-authenticate").is_some_and(|value| value == "Bearer")
        );
        response.status().as_u16()
    }

    #[tokio::test]
    async fn only_the_token_opens_the_door() {
        assert_eq!(status("/", &["Bearer s3cret"]).await, 200);
        assert_eq!(status("/", &["bearer  s3cret"]).await, 200);
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer", "Basic s3cret", "s3cret", ""] {
            assert_eq!(status("/", &[wrong]).await, 401, "{wrong:?}");
        }
        assert_eq!(status("/", &[]).await, 401);
        assert_eq!(status("/", &["Bearer s3cret", "Bearer s3cret"]).await, 401);
        assert_eq!(status("/healthz", &[]).await, 200);
        assert_eq!(status("/nowhere", &[]).await, 401, "unknown paths are not told apart");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "<hidden> Some(<hidden>)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""<hidden>""#);
        let error = serde_json::from_str::<Secret>("4711").unwrap_err().to_string();
        assert!(!error.contains("4711"), "{error}");
        assert!(serde_json::from_str::<Secret>(r#""<hidden>""#).is_err(), "a printed one is none");
        assert!(secret == Secret::new("s3cret") && secret != Secret::new("other"));
    }
}
