//! The listeners. They answer from the moment that they are bound: 503 while the
//! data is being loaded, so that nobody hangs on a server that is starting.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::response::IntoResponse as _;
use hayrick_service::auth::require_bearer;
use hayrick_service::listen::{App, Head, Short, Shortcut, serve};
use hayrick_service::metrics::Metrics;
use hayrick_service::ops::{self, Readiness};
use hayrick_service::{ApiError, Shutdown};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::role::Role;
use crate::config::{Listener, Settings};
use crate::failure::Failure;

const LOADING_RETRY: Duration = Duration::from_secs(1);

/// The sockets, bound and not answered yet.
pub struct Sockets {
    public: Option<TcpListener>,
    internal: Option<TcpListener>,
    admin: TcpListener,
}

/// Where the listeners are that the role has.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The public door.
    pub public: Option<SocketAddr>,
    /// Where other servers ask.
    pub internal: Option<SocketAddr>,
    /// Where operators ask.
    pub admin: SocketAddr,
}

/// What answers once the data is loaded.
pub struct Apps {
    /// The public door.
    pub public: Option<App>,
    /// The data interface.
    pub internal: Option<App>,
    /// The admin interfaces.
    pub admin: App,
}

/// The listeners at work.
pub struct Listeners {
    tasks: JoinSet<()>,
    public: Late,
    internal: Late,
    admin: Late,
}

impl Sockets {
    /// Binds all that the role has, or none.
    pub async fn bind(role: Role, settings: &Settings) -> Result<Self, Failure> {
        let public = match role.has_public().then_some(&settings.public) {
            Some(listener) => Some(bind(listener, "public", "--listen").await?),
            None => None,
        };
        let internal = match role.has_internal().then_some(&settings.internal) {
            Some(listener) => Some(bind(listener, "internal", "--store-listen").await?),
            None => None,
        };
        Ok(Self {
            public,
            internal,
            admin: bind(&settings.admin, "admin", "--admin-listen").await?,
        })
    }

    /// Where they ended up; port 0 becomes a real one.
    pub fn addresses(&self) -> Result<Addresses, Failure> {
        let address = |socket: &TcpListener| {
            socket.local_addr().map_err(|error| Failure::failed(format!("no address: {error}")))
        };
        Ok(Addresses {
            public: self.public.as_ref().map(address).transpose()?,
            internal: self.internal.as_ref().map(address).transpose()?,
            admin: address(&self.admin)?,
        })
    }

    /// Begins to answer.
    pub fn serve(
        self,
        settings: &Settings,
        readiness: &Readiness,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> Listeners {
        let ops = || ops::router(readiness.clone(), metrics.clone());
        let (public, internal, admin) = (Late::default(), Late::default(), Late::default());
        let mut tasks = JoinSet::new();
        for (socket, listener, app) in [
            (self.public, &settings.public, public.app(Router::new())),
            (self.internal, &settings.internal, internal.app(ops())),
            (Some(self.admin), &settings.admin, admin.app(ops())),
        ] {
            let Some(socket) = socket else { continue };
            let app = require_bearer(app, listener.token.clone());
            tasks.spawn(serve(socket, app, listener.options.clone(), shutdown.clone()));
        }
        Listeners { tasks, public, internal, admin }
    }
}

async fn bind(
    listener: &Listener,
    section: &'static str,
    flag: &'static str,
) -> Result<TcpListener, Failure> {
    let address = listener.address;
    TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {address}: {error}"))
            .hint(format!("name another address with {flag} or {section}.listen; port 0 takes any"))
    })
}

impl Listeners {
    /// From now on these answer.
    pub fn install(&self, apps: Apps) {
        // Each is set once, here.
        let _ = apps.public.map(|app| self.public.0.set(app));
        let _ = apps.internal.map(|app| self.internal.0.set(app));
        let _ = self.admin.0.set(apps.admin);
    }

    /// Waits until all have drained. Should one of them die, the others are stopped.
    pub async fn finished(mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut died = None;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener died");
                died = Some(Failure::failed(format!("a listener died: {error}")));
                shutdown.trigger();
            }
        }
        died.map_or(Ok(()), Err)
    }
}

/// What comes later.
#[derive(Clone, Default)]
struct Late(Arc<OnceLock<App>>);

impl Late {
    /// `first` answers what it knows, all else what comes later; but its shortcut comes before both.
    fn app(&self, first: Router) -> App {
        let later = Router::new().fallback(forward).with_state(self.clone());
        App::with_shortcut(first.fallback_service(later), self.clone())
    }
}

impl Shortcut for Late {
    fn answer(&self, head: &Head<'_>) -> Option<Short> {
        self.0.get()?.short_answer(head)
    }
}

async fn forward(State(late): State<Late>, request: Request) -> Response<Body> {
    let Some(app) = late.0.get() else {
        let message = "starting: the data is being loaded";
        return ApiError::unavailable(message, LOADING_RETRY).with_code("Starting").into_response();
    };
    match app.clone().into_router().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn status(router: &Router, path: &str) -> u16 {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn what_comes_later_is_told_to_wait() {
        let late = Late::default();
        let router = late.app(Router::new().route("/healthz", get(|| async {}))).into_router();
        assert_eq!([status(&router, "/healthz").await, status(&router, "/a/b").await], [200, 503]);
        let real = Router::new().route("/a/{name}", get(|| async {}));
        late.0.set(real.into()).unwrap();
        assert_eq!([status(&router, "/a/b").await, status(&router, "/c").await], [200, 404]);
    }
}
