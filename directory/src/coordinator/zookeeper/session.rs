//! The session with ZooKeeper: made, lost and made again.
//!
//! A client of ZooKeeper reconnects by itself as long as its session lives, and is dead
//! for good afterwards. [`keep`] then makes a new one, for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use zookeeper_client::{Client, Error, SessionState};

use super::ZooKeeperConfig;
use super::tree::{Ended, Tree};
use crate::CoordinatorError;

const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The client of the present session, for whoever has a change to make.
pub(super) struct Sessions {
    /// Set once the session was seen to be one with the right cluster.
    current: watch::Sender<Option<Client>>,
    /// Why there is none, as it was met last.
    problem: Mutex<Option<String>>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { current: watch::Sender::new(None), problem: Mutex::default() }
    }

    /// A client that is connected now; waits for one.
    pub(super) async fn connected(&self) -> Client {
        let mut sessions = self.current.subscribe();
        loop {
            let client = sessions.borrow_and_update().clone();
            let Some(client) = client else {
                changed(&mut sessions).await;
                continue;
            };
            let mut states = client.state_watcher();
            if states.state() == SessionState::SyncConnected {
                return client;
            }
            tokio::select! {
                () = changed(&mut sessions) => {}
                _ = states.changed() => {}
            }
        }
    }

    /// The id of the present session, connected or not; 0 if there is none.
    pub(super) fn id(&self) -> i64 {
        self.current.borrow().as_ref().map_or(0, |client| client.session_id().0)
    }

    /// The timeout of the present session, as the server set it.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.current.borrow().as_ref().map(Client::session_timeout)
    }

    /// Tells of new sessions.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Client>> {
        self.current.subscribe()
    }

    /// The session may be used for changes.
    pub(super) fn publish(&self, client: &Client) {
        if let Some(problem) = self.problem.lock().take() {
            tracing::info!(after = problem, "ZooKeeper is in use again");
        }
        if self.id() != client.session_id().0 {
            self.current.send_replace(Some(client.clone()));
        }
        metrics::gauge!("hayrick_zookeeper_connected").set(1.0);
    }

    /// The session is over, or is not to be used.
    pub(super) fn withdraw(&self) {
        self.current.send_replace(None);
    }

    /// Notes why ZooKeeper cannot be used now; answers whether that is news.
    fn troubled(&self, problem: &str) -> bool {
        metrics::gauge!("hayrick_zookeeper_connected").set(0.0);
        let mut last = self.problem.lock();
        let is_news = last.as_deref() != Some(problem);
        *last = Some(problem.to_owned());
        is_news
    }

    /// Why a change found no session.
    pub(super) fn problem(&self) -> String {
        self.problem.lock().clone().unwrap_or_else(|| "no answer in time".to_owned())
    }
}

/// Waits for news; for ever if there can be none any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Connects within the session timeout.
pub(super) async fn connect(config: &ZooKeeperConfig) -> Result<Client, CoordinatorError> {
    let mut connector = Client::connector().with_session_timeout(config.session_timeout());
    if let Some(auth) = &config.auth {
        connector = connector.with_auth("digest", auth.expose().as_bytes());
    }
    // The crate's own deadline does not cover the look-up of names.
    let connecting = connector.connect(config.servers());
    let connected = tokio::time::timeout(config.session_timeout() * 2, connecting).await;
    let client = connected.unwrap_or(Err(Error::Timeout)).map_err(|error| match error {
        Error::AuthFailed => CoordinatorError::Denied(config.connect.clone()),
        Error::BadArguments(reason) => {
            CoordinatorError::Setup(format!("zookeeper.connect: {reason}"))
        }
        error => CoordinatorError::Unavailable {
            servers: config.servers().to_owned(),
            reason: error.to_string(),
        },
    })?;
    let bad_root = |_| CoordinatorError::Setup("zookeeper.connect ends in no folder".to_owned());
    client.chroot(config.root().to_owned()).map_err(bad_root)
}

/// Follows the tree from session to session, until it is aborted.
pub(super) async fn keep(
    config: ZooKeeperConfig,
    sessions: Arc<Sessions>,
    mut tree: Tree,
    first: Client,
) {
    let mut next = Some(first);
    let mut pause = MIN_PAUSE;
    loop {
        let session = match next.take() {
            Some(client) => Ok(client),
            None => connect(&config).await,
        };
        match session {
            Ok(client) => {
                let following = follow(&client, &sessions, &mut tree, config.session_timeout());
                // A panic in the client library must not leave the map standing still.
                match AssertUnwindSafe(following).catch_unwind().await {
                    Ok(true) => pause = MIN_PAUSE,
                    Ok(false) => {}
                    Err(_) => report(&sessions, "the client library failed"),
                }
                sessions.withdraw();
            }
            Err(error) => report(&sessions, &error.to_string()),
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Follows the tree through all connections of one session, to the session's end.
/// Answers whether the session was of any use.
async fn follow(
    client: &Client,
    sessions: &Sessions,
    tree: &mut Tree,
    session_timeout: Duration,
) -> bool {
    let mut useful = false;
    let mut pause = MIN_PAUSE;
    let mut states = client.state_watcher();
    loop {
        match states.state() {
            SessionState::SyncConnected => {
                let ended = tree.follow(client, || {
                    useful = true;
                    pause = MIN_PAUSE;
                    sessions.publish(client);
                });
                let ended = ended.await;
                report(sessions, &ended.to_string());
                if matches!(ended, Ended::Cluster(_)) {
                    sessions.withdraw();
                }
            }
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                // The library gives a session up sooner; this is for when it does not.
                let reconnected = tokio::time::timeout(session_timeout * 3, states.changed());
                if reconnected.await.is_err() {
                    report(sessions, "no server answers");
                    return useful;
                }
                continue;
            }
            state @ (SessionState::Expired | SessionState::Closed | SessionState::AuthFailed) => {
                report(sessions, &format!("session {} ended: {state}", client.session_id()));
                return useful;
            }
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

fn report(sessions: &Sessions, problem: &str) {
    if sessions.troubled(problem) {
        tracing::warn!(problem, "no use of ZooKeeper; going on with the last cluster map");
    }
}
