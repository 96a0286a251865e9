//! One keeper leads; the others stand by.
//!
//! The leader is whoever made the ephemeral node. It knows that it leads as long as it
//! has heard from ZooKeeper's own leader within two thirds of the session timeout:
//! nobody else can be elected before the whole of it has passed. A leader that was cut
//! off, or stopped, thus stands back before another begins.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error, SessionState};

use super::change::Stop;
use super::entries::read;
use super::layout::{Entry, LEADER, LeaderRecord, encode};
use super::{Shared, ZooKeeperCoordinator};
use crate::CoordinatorError;

/// The leader makes sure of its leadership this many times in a session timeout.
const CHECKS_PER_TIMEOUT: u32 = 8;

/// A keeper that leads whenever it is elected. Dropping it leaves the node to the end
/// of the session; [`Candidacy::resign`] gives the lead away at once.
#[must_use = "the keeper stands for election by it"]
pub struct Candidacy {
    shared: Arc<Shared>,
    leadership: watch::Receiver<Option<Leadership>>,
    task: JoinHandle<()>,
}

/// The lead, from an election to its loss.
#[derive(Debug, Clone)]
pub struct Leadership {
    term: u64,
    /// Until when nobody else can be elected.
    until: Arc<Mutex<Instant>>,
    /// Ends with the leadership.
    lost: watch::Receiver<()>,
}

impl Leadership {
    /// Higher than the term of every leader before, in this cluster: whoever is told to
    /// do something by two leaders obeys the higher.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether it leads for certain at this instant. To be asked before each change.
    pub fn is_held(&self) -> bool {
        self.lost.has_changed().is_ok() && Instant::now() < *self.until.lock()
    }

    /// Returns once the lead is lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        while lost.changed().await.is_ok() {}
    }
}

impl Candidacy {
    /// Waits until this keeper leads.
    pub async fn elected(&mut self) -> Leadership {
        let held =
            |leadership: &Option<Leadership>| leadership.as_ref().is_some_and(Leadership::is_held);
        let elected = match self.leadership.wait_for(held).await {
            Ok(leadership) => leadership.clone(),
            Err(_) => None,
        };
        match elected {
            Some(leadership) => leadership,
            // The candidate's task is gone, with the process.
            None => std::future::pending().await,
        }
    }

    /// The lead, if this keeper has it for certain now.
    pub fn leadership(&self) -> Option<Leadership> {
        self.leadership.borrow().clone().filter(Leadership::is_held)
    }

    /// Stands back, and gives the lead away if it has it.
    pub async fn resign(self) -> Result<(), CoordinatorError> {
        self.task.abort();
        let leads = self.leadership.borrow().is_some();
        if leads { self.shared.give_up_lead().await } else { Ok(()) }
    }
}

impl Drop for Candidacy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ZooKeeperCoordinator {
    /// Stands for election as the keeper, under a name that others are shown, with the
    /// `host:port` at which they may ask it how things are.
    pub fn campaign(&self, name: impl Into<String>, address: Option<String>) -> Candidacy {
        let shared = Arc::clone(&self.shared);
        let (sender, leadership) = watch::channel(None);
        let task = tokio::spawn(Arc::clone(&shared).stand(name.into(), address, sender));
        Candidacy { shared, leadership, task }
    }
}

/// A won election.
struct Won {
    client: Client,
    term: i64,
    /// Before this the election was not over.
    since: Instant,
}

impl Shared {
    async fn stand(
        self: Arc<Self>,
        name: String,
        address: Option<String>,
        sender: watch::Sender<Option<Leadership>>,
    ) {
        let mut maps = self.map.subscribe();
        loop {
            match self.try_lead(&name, address.as_deref()).await {
                Ok(Some(won)) => {
                    tracing::info!(name, term = won.term, "elected as keeper");
                    self.lead(won, &sender).await;
                    sender.send_replace(None);
                    tracing::warn!(name, "no longer the keeper");
                }
                // The map tells when the leader is gone; the wait is for the case that
                // it cannot.
                Ok(None) => {
                    let vacant = maps.wait_for(|map| map.keeper.is_none());
                    let _ = tokio::time::timeout(self.session_timeout(), vacant).await;
                }
                Err(error) => {
                    tracing::warn!(name, %error, "the keeper's election failed");
                    tokio::time::sleep(self.check_interval()).await;
                }
            }
        }
    }

    /// Takes the lead, if nobody has it.
    async fn try_lead(
        &self,
        name: &str,
        address: Option<&str>,
    ) -> Result<Option<Won>, CoordinatorError> {
        let (name, address) = (name.to_owned(), address.map(str::to_owned));
        let record = LeaderRecord { name, address, boot_id: self.boot_id };
        let bytes = encode(Uuid::new_v4(), &record)?;
        let bytes = bytes.as_slice();
        self.change("the keeper", |client, doubt| async move {
            let since = Instant::now();
            let ephemeral = CreateMode::Ephemeral.with_acls(self.acls());
            match doubt.settle(client.create(LEADER, bytes, &ephemeral)).await {
                Ok((stat, _)) => return Ok(Some(Won { client, term: stat.czxid, since })),
                Err(Error::NodeExists) => {}
                Err(error) => return Err(error.into()),
            }
            let since = Instant::now();
            client.sync(LEADER).await?;
            let Some(leader) = read::<LeaderRecord>(&client, LEADER).await? else {
                return Err(Stop::Again);
            };
            if leader.stat.ephemeral_owner == client.session_id().0 {
                // Made by an attempt in doubt, or kept while the connection was lost.
                return Ok(Some(Won { client, term: leader.stat.czxid, since }));
            }
            if leader.value.boot_id == self.boot_id {
                // Of a session that is over: nobody leads by it any more.
                match doubt.settle(client.delete(LEADER, Some(leader.stat.version))).await {
                    Ok(()) | Err(Error::NoNode | Error::BadVersion) => return Err(Stop::Again),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(None)
        })
        .await
    }

    /// Leads until that is not certain any more.
    async fn lead(&self, won: Won, sender: &watch::Sender<Option<Leadership>>) {
        let Won { client, term, since } = won;
        // As the server set it, which may be shorter than what was asked for.
        let tenure = client.session_timeout() * 2 / 3;
        let until = Arc::new(Mutex::new(since + tenure));
        let (_held, lost) = watch::channel(());
        let number = u64::try_from(term).unwrap_or(0);
        sender.send_replace(Some(Leadership { term: number, until: Arc::clone(&until), lost }));
        loop {
            let deadline = *until.lock();
            let asked = Instant::now();
            match tokio::time::timeout_at(deadline, leads(&client, term)).await {
                Ok(Ok(true)) => *until.lock() = asked + tenure,
                Ok(Err(_)) if !is_over(&client) => {}
                Ok(Ok(false) | Err(_)) | Err(_) => return,
            }
            tokio::time::sleep_until(deadline.min(asked + self.check_interval())).await;
            if self.sessions.id() != client.session_id().0 {
                return;
            }
        }
    }

    /// Removes the node by which this process leads.
    async fn give_up_lead(&self) -> Result<(), CoordinatorError> {
        self.change("the keeper", |client, doubt| async move {
            let Some(leader) = read::<LeaderRecord>(&client, LEADER).await? else {
                return Ok(());
            };
            if leader.value.boot_id != self.boot_id {
                return Ok(());
            }
            match doubt.settle(client.delete(LEADER, Some(leader.stat.version))).await {
                Ok(()) | Err(Error::NoNode | Error::BadVersion) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.show(vec![Entry::Leader]).await;
        Ok(())
    }

    fn check_interval(&self) -> Duration {
        self.session_timeout() / CHECKS_PER_TIMEOUT
    }
}

/// Whether the node is still the one that was elected by. Goes through ZooKeeper's own
/// leader: a server that is cut off from it must not vouch for anybody.
async fn leads(client: &Client, term: i64) -> Result<bool, Error> {
    client.sync(LEADER).await?;
    Ok(client.check_stat(LEADER).await?.is_some_and(|stat| stat.czxid == term))
}

fn is_over(client: &Client) -> bool {
    matches!(
        client.state(),
        SessionState::Expired | SessionState::Closed | SessionState::AuthFailed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lead_ends_with_its_time_even_if_nobody_could_say_so() {
        let (_held, lost) = watch::channel(());
        let until = Arc::new(Mutex::new(Instant::now() + Duration::from_hours(1)));
        let leadership = Leadership { term: 1, until: Arc::clone(&until), lost };
        assert!(leadership.is_held());
        // As after the process was stopped: its task has not run yet.
        *until.lock() = Instant::now();
        assert!(!leadership.is_held());
    }
}
