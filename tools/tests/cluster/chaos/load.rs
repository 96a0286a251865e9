//! Clients that write, read and delete through all proxies, and keep a record of every answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::Response;
use hayrick_proxy::http::DEGRADED_HEADER;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use hayrick_store::NeedleId;
use http_body_util::BodyExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::history::{History, Value};

/// Writes to one name before a client begins another.
const WRITES_PER_NAME: u32 = 6;
/// Longer than any answer of the servers may take.
const PATIENCE: Duration = Duration::from_secs(20);
const READ_ALL_TRIES: usize = 10;
/// Between two requests of one client, so that two cores can run the servers as well.
const PAUSE: Duration = Duration::from_millis(10);

/// When answers came, and when they did not.
#[derive(Default)]
pub struct Service {
    reads: Mutex<Log>,
    writes: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    good: Vec<Instant>,
    failed: Vec<(Instant, String)>,
}

/// What a stretch of time was like for the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub answered: usize,
    pub failed: usize,
    /// The longest time without an answer.
    pub gap: Duration,
}

impl Log {
    fn weather(&self, since: Instant, until: Instant) -> Weather {
        let during = |at: &Instant| (since..until).contains(at);
        let mut good: Vec<_> = self.good.iter().copied().filter(during).collect();
        good.sort_unstable();
        let failed = self.failed.iter().filter(|(at, _)| during(at)).count();
        let bounds = [since].into_iter().chain(good.iter().copied());
        let next = good.iter().copied().chain([until]);
        let gap = bounds.zip(next).map(|(from, to)| to - from).max().unwrap_or_default();
        Weather { answered: good.len(), failed, gap }
    }
}

impl Log {
    fn failures(&self, since: Instant, until: Instant) -> Vec<String> {
        let during = self.failed.iter().filter(|(at, _)| (since..until).contains(at));
        during.map(|(_, error)| error.clone()).collect()
    }
}

impl Service {
    pub fn reads(&self, since: Instant, until: Instant) -> Weather {
        self.reads.lock().unwrap().weather(since, until)
    }

    pub fn writes(&self, since: Instant, until: Instant) -> Weather {
        self.writes.lock().unwrap().weather(since, until)
    }

    /// The failed reads, in words.
    pub fn failed_reads(&self, since: Instant, until: Instant) -> Vec<String> {
        self.reads.lock().unwrap().failures(since, until)
    }

    /// The failed writes, in words.
    pub fn failed_writes(&self, since: Instant, until: Instant) -> Vec<String> {
        self.writes.lock().unwrap().failures(since, until)
    }
}

/// A running crowd. Dropping it stops it at once.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    doors: Vec<String>,
    http: Client,
    history: History,
    service: Service,
    next: AtomicU64,
    ending: AtomicBool,
}

impl Load {
    /// As many writers and as many readers, on all of these doors, in the bucket `photos`.
    pub fn start(doors: Vec<String>, clients: u64, seed: u64) -> Self {
        let http =
            Client::new(ClientOptions { timeout: Some(PATIENCE), ..ClientOptions::default() });
        let shared = Arc::new(Shared {
            doors,
            http,
            history: History::default(),
            service: Service::default(),
            next: AtomicU64::new(1),
            ending: AtomicBool::new(false),
        });
        let mut running = JoinSet::new();
        for number in 0..clients {
            let rng = |salt| StdRng::seed_from_u64(seed.wrapping_add(2 * number + salt));
            running.spawn(Arc::clone(&shared).writer(number, rng(0)));
            running.spawn(Arc::clone(&shared).reader(rng(1)));
        }
        Self { shared, clients: running }
    }

    pub fn service(&self) -> &Service {
        &self.shared.service
    }

    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// Lets every client end what it is doing.
    pub async fn stop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }

    /// Reads every name once more; the answers go into the history. The names that cannot be
    /// read although all is well.
    pub async fn read_all(&self) -> Vec<String> {
        let mut unread = self.shared.history.names();
        for _ in 0..READ_ALL_TRIES {
            let mut still = Vec::new();
            for name in unread {
                if !self.shared.get(&name, 0).await {
                    still.push(name);
                }
            }
            if still.is_empty() {
                return still;
            }
            unread = still;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        unread
    }
}

impl Shared {
    async fn writer(self: Arc<Self>, number: u64, mut rng: StdRng) {
        let mut name = self.new_name(number);
        let mut writes = 0;
        while !self.ending.load(Ordering::Relaxed) {
            let door = rng.random_range(0..self.doors.len());
            let is_known = match rng.random_range(0..4) {
                0 if writes > 0 => self.delete(&name, door).await,
                _ => self.put(&name, door, &mut rng).await,
            };
            writes += 1;
            if !is_known || writes >= WRITES_PER_NAME {
                (name, writes) = (self.new_name(number), 0);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn reader(self: Arc<Self>, mut rng: StdRng) {
        while !self.ending.load(Ordering::Relaxed) {
            let door = rng.random_range(0..self.doors.len());
            if let Some(any) = self.history.pick(rng.next_u32()) {
                self.get(&any, door).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn new_name(&self, client: u64) -> String {
        format!("c{client}/n{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn url(&self, name: &str, door: usize) -> String {
        format!("{}/photos/{name}", self.doors[door])
    }

    /// Whether the outcome is known.
    async fn put(&self, name: &str, door: usize, rng: &mut StdRng) -> bool {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let size = 1 << rng.random_range(0..16);
        self.history.begin(name, Some(value));
        let call = self.http.put(self.url(name, door)).body(bytes_of(value, size));
        let needle = |answer: Response<_>| {
            Some(answer.headers()["x-hayrick-needle"].to_str().unwrap().parse().unwrap())
        };
        self.wrote(name, call.send().await.map(needle))
    }

    async fn delete(&self, name: &str, door: usize) -> bool {
        self.history.begin(name, None);
        let deleted = self.http.delete(self.url(name, door)).send().await.map(|_| None);
        let was_not_there = |error: &ClientError| error.status().is_some_and(|s| s == 404);
        self.wrote(name, deleted.or_else(|e| if was_not_there(&e) { Ok(None) } else { Err(e) }))
    }

    fn wrote(&self, name: &str, answer: Result<Option<NeedleId>, ClientError>) -> bool {
        let mut log = self.service.writes.lock().unwrap();
        match answer {
            Ok(needle) => {
                self.history.acknowledged(name, needle);
                log.good.push(Instant::now());
                true
            }
            Err(error) => {
                log.failed.push((Instant::now(), error.to_string()));
                false
            }
        }
    }

    /// Whether an answer came.
    async fn get(&self, name: &str, door: usize) -> bool {
        let began = Instant::now();
        let answer = self.ask(name, door).await;
        let mut log = self.service.reads.lock().unwrap();
        match answer {
            Ok(saw) => {
                if let Some(saw) = saw {
                    self.history.read(name, began, saw);
                }
                log.good.push(Instant::now());
                true
            }
            Err(error) => {
                log.failed.push((Instant::now(), format!("{name}: {error}")));
                false
            }
        }
    }

    /// What is under the name; `None` if that is only what the proxy last saw there, which
    /// may be old, and is said to be.
    async fn ask(&self, name: &str, door: usize) -> Result<Option<Value>, String> {
        let answer = match self.http.get(self.url(name, door)).send().await {
            Ok(answer) => answer,
            Err(error) if error.status().is_some_and(|status| status == 404) => {
                return Ok(Some(None));
            }
            Err(error) => return Err(error.to_string()),
        };
        let is_old = answer.headers().contains_key(DEGRADED_HEADER);
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let value = value_of(&body.to_bytes());
        Ok((!is_old).then_some(Some(value)))
    }
}

/// The bytes of a put, from its number alone.
fn bytes_of(value: u64, size: usize) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    let start = bytes.len();
    bytes.resize(start + size, 0);
    let mut rng = StdRng::seed_from_u64(value);
    if let Some(rest) = bytes.get_mut(start..) {
        rng.fill_bytes(rest);
    }
    bytes
}

/// The number of the put that these bytes are of; not a byte may be another's.
fn value_of(bytes: &[u8]) -> u64 {
    let (number, rest) = bytes.split_first_chunk::<8>().unwrap();
    let value = u64::from_le_bytes(*number);
    assert!(bytes == bytes_of(value, rest.len()), "put {value} came back with other bytes");
    value
}
