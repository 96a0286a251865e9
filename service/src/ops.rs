//! What operators and load balancers ask a server: `/healthz`, `/readyz`, `/metrics`.
//!
//! | path | 200 means | otherwise |
//! |---|---|---|
//! | `/healthz` | the process answers | no answer |
//! | `/readyz` | send traffic here | 503 with the reasons |
//! | `/metrics` | Prometheus text | |

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::Shutdown;
use crate::metrics::Metrics;

/// Where a process's parts say whether they can serve. Clones share one state. A server is ready
/// when no part has a reason against it and it is not stopping.
#[derive(Debug, Clone)]
pub struct Readiness {
    reasons: Arc<Mutex<BTreeMap<&'static str, String>>>,
    shutdown: Shutdown,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessReport {
    /// Whether traffic should be sent here.
    pub ready: bool,
    /// Why not, by part.
    pub reasons: BTreeMap<String, String>,
}

impl Readiness {
    /// Ready until a part objects or `shutdown` is given.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { reasons: Arc::default(), shutdown }
    }

    /// `part` cannot serve, for this reason; replaces an earlier reason of the same part.
    pub fn not_ready(&self, part: &'static str, reason: impl Into<String>) {
        self.reasons.lock().insert(part, reason.into());
    }

    /// `part` can serve.
    pub fn ready(&self, part: &'static str) {
        self.reasons.lock().remove(part);
    }

    /// The state now.
    pub fn report(&self) -> ReadinessReport {
        let mut reasons: BTreeMap<String, String> = self
            .reasons
            .lock()
            .iter()
            .map(|(part, reason)| ((*part).to_owned(), reason.clone()))
            .collect();
        if self.shutdown.is_triggered() {
            reasons.insert("process".to_owned(), "stopping".to_owned());
        }
        ReadinessReport { ready: reasons.is_empty(), reasons }
    }
}

/// The three routes, to be merged into a server's admin or internal router.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { ([(CACHE_CONTROL, "no-store")], "ok\n") }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_its_parts_and_the_stop_signal() {
        let shutdown = Shutdown::new();
        let readiness = Readiness::new(shutdown.clone());
        let router = router(readiness.clone(), crate::metrics::install().unwrap());
        readiness.not_ready("store", "loading volumes");
        let (status, body) = get(&router, "/readyz").await;
        assert_eq!(status, 503);
        let report: ReadinessReport = serde_json::from_str(&body).unwrap();
        assert_eq!(report.reasons["store"], "loading volumes");
        readiness.ready("store");
        assert_eq!(get(&router, "/readyz").await.0, 200);
        shutdown.trigger();
        assert_eq!(get(&router, "/readyz").await.0, 503);
        assert_eq!(get(&router, "/healthz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_served() {
        let router = router(Readiness::new(Shutdown::new()), crate::metrics::install().unwrap());
        crate::metrics::process_started("0", "test");
        let (status, text) = get(&router, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE hayrick_build_info gauge"), "{text}");
    }
}
