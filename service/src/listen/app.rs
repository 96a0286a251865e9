//! What a listener answers with: a router, and before it a shortcut.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, Method, Response, Uri};
use futures::future::BoxFuture;

/// All that answers on one listener.
#[derive(Clone)]
pub struct App {
    router: Router,
    shortcut: Option<Arc<dyn Shortcut>>,
}

/// Answers what can be answered at once, before the router is asked.
///
/// A router costs more than a small object does: allocations for each of its layers, a span, a log
/// line. What is asked for most need not pay for that. Such a request passes the same checks, and is
/// counted and logged, as every other; but it has no span while it is answered, so an answer that has
/// something to log is the router's, or names the request itself ([`crate::request::current_id`]).
pub trait Shortcut: Send + Sync + 'static {
    /// The answer to a request without a body. `None` leaves it to the router, and errors should be
    /// left to it too.
    fn answer(&self, head: &Head<'_>) -> Option<Short>;
}

/// The whole answer to a request.
pub enum Short {
    /// Nothing has to be waited for: no disk, no other server, no queue.
    Now(Response<Bytes>),
    /// It takes a while.
    Soon(Soon),
}

/// An answer that takes a while, or that is the router's after all: then that finds these extensions
/// with the request, so that nothing has to be found out twice.
pub type Soon = BoxFuture<'static, Result<Response<Bytes>, Extensions>>;

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl App {
    /// A router, with this before it.
    pub fn with_shortcut(router: Router, shortcut: impl Shortcut) -> Self {
        Self { router, shortcut: Some(Arc::new(shortcut)) }
    }

    pub(crate) fn has_shortcut(&self) -> bool {
        self.shortcut.is_some()
    }

    /// What the shortcut answers, if there is one and it does.
    pub fn short_answer(&self, head: &Head<'_>) -> Option<Short> {
        self.shortcut.as_ref()?.answer(head)
    }

    /// The same with another router around, or in place of, the one that there is.
    #[must_use]
    pub fn map_router(self, change: impl FnOnce(Router) -> Router) -> Self {
        Self { router: change(self.router), ..self }
    }

    /// The router alone, which answers everything.
    pub fn into_router(self) -> Router {
        self.router
    }
}

impl From<Response<Bytes>> for Short {
    fn from(answer: Response<Bytes>) -> Self {
        Self::Now(answer)
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self { router, shortcut: None }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("shortcut", &self.shortcut.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::extract::Path;
    use axum::routing::get;
    use futures::FutureExt as _;

    use super::*;
    use crate::auth::{Secret, require_bearer};
    use crate::listen::ListenOptions;
    use crate::metrics;
    use crate::request::current_id;
    use crate::testing::TestServer;

    /// Answers even numbers, and soon those from 10 to 19, of which it leaves odd ones to the router.
    struct Even;

    /// What the shortcut has found out for the router, and for which request.
    #[derive(Clone)]
    struct IsOdd(String);

    impl Shortcut for Even {
        fn answer(&self, head: &Head<'_>) -> Option<Short> {
            let number: u32 = head.uri.path().strip_prefix('/')?.parse().ok()?;
            if head.method != Method::GET {
                return None;
            }
            let is_even = number.is_multiple_of(2);
            let answer = Response::new(Bytes::from(format!("short {number}")));
            if !(10..20).contains(&number) {
                return is_even.then_some(answer.into());
            }
            let soon = async move {
                tokio::task::yield_now().await;
                assert_ne!(number, 13, "on purpose");
                let mut known = Extensions::new();
                known.insert(IsOdd(current_id()));
                if is_even { Ok(answer) } else { Err(known) }
            };
            Some(Short::Soon(soon.boxed()))
        }
    }

    fn app() -> App {
        let long = |Path(number): Path<u32>, odd: Option<Extension<IsOdd>>, body: Bytes| async move {
            let is_known = odd.is_some_and(|Extension(IsOdd(id))| id == current_id());
            let known = if is_known { " odd" } else { "" };
            format!("long{known} {number}, {} bytes", body.len())
        };
        App::with_shortcut(Router::new().route("/{number}", get(long).put(long)), Even)
    }

    async fn ask(app: App, request: &str) -> String {
        ask_at("shortcut", app, request).await
    }

    async fn ask_at(listener: &'static str, app: App, request: &str) -> String {
        let server = TestServer::start(app, ListenOptions::named(listener)).await;
        let request = request.replacen('\n', " HTTP/1.1\nConnection: close\n", 1);
        server.raw(&request.replace('\n', "\r\n")).await
    }

    #[tokio::test]
    async fn the_router_answers_what_the_shortcut_does_not() {
        for (request, end) in [
            ("GET /2\nHost: a\n\n", "short 2"),
            ("GET /3\nHost: a\n\n", "long 3, 0 bytes"),
            ("GET /10\nHost: a\n\n", "short 10"),
            ("GET /11\nHost: a\n\n", "long odd 11, 0 bytes"),
            ("GET /13\nHost: a\n\n", "long 13, 0 bytes"),
            ("PUT /2\nHost: a\nContent-Length: 3\n\nabc", "long 2, 3 bytes"),
            ("GET /2\nHost: a\nContent-Length: 3\n\nabc", "long 2, 3 bytes"),
        ] {
            let answer = ask(app(), request).await;
            assert!(answer.ends_with(end), "{request}: {answer}");
            assert_eq!(answer.matches("\r\nx-request-id: ").count(), 1, "{answer}");
        }
    }

    #[tokio::test]
    async fn it_is_no_way_around_the_checks() {
        let bad_host = ask(app(), "GET /2\n\n").await;
        assert!(bad_host.starts_with("HTTP/1.1 400"), "{bad_host}");
        let guarded = || require_bearer(app(), Some(Secret::new("s3cret")));
        for (header, start, end) in [
            ("", "HTTP/1.1 401", "}"),
            ("Authorization: Bearer guess\n", "HTTP/1.1 401", "}"),
            ("Authorization: Bearer s3cret\n", "HTTP/1.1 200", "short 2"),
        ] {
            let answer = ask(guarded(), &format!("GET /2\nHost: a\n{header}\n")).await;
            assert!(answer.starts_with(start) && answer.ends_with(end), "{header}: {answer}");
        }
    }

    #[tokio::test]
    async fn its_answers_are_counted() {
        let metrics = metrics::install().unwrap();
        for path in ["/2", "/10", "/11"] {
            ask_at("counted", app(), &format!("GET {path}\nHost: a\n\n")).await;
        }
        let text = metrics.render();
        for line in [
            r#"hayrick_http_requests_total{listener="counted",method="GET",status="2xx"} 3"#,
            r#"hayrick_http_requests_in_flight{listener="counted"} 0"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }

    /// A bug costs the shortcut, not the connection.
    #[tokio::test]
    async fn where_it_panics_the_router_answers() {
        struct Bug;
        impl Shortcut for Bug {
            fn answer(&self, head: &Head<'_>) -> Option<Short> {
                assert_ne!(head.uri.path(), "/2", "on purpose");
                None
            }
        }
        let app = App::with_shortcut(app().into_router(), Bug);
        let answer = ask(app, "GET /2\nHost: a\n\n").await;
        assert!(answer.ends_with("long 2, 0 bytes"), "{answer}");
    }
}
