//! Connections that break while a change commits.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::Condition;
use crate::names::conformance::{bucket, name, needle, put, queued, remove, row};

/// Stands between the engine and the server, and breaks connections at their COMMIT.
struct Breaker {
    url: String,
    /// How many commits are still to break.
    breaks: Arc<AtomicUsize>,
    _folder: TempDir,
}

/// What of a commit is lost.
#[derive(Clone, Copy)]
enum Lost {
    /// It never reaches the server.
    Request,
    /// It is carried out; the answer is lost.
    Answer,
}

const SOCKET: &str = ".s.PGSQL.5432";

impl Breaker {
    fn new(url: &str, lost: Lost) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = url.split(' ').find_map(|part| part.strip_prefix("host=")).unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let breaks = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, Path::new(server).join(SOCKET), Arc::clone(&breaks), lost));
        let url = url.replace(server, folder.path().to_str().unwrap());
        Self { url, breaks, _folder: folder }
    }
}

async fn accept(listener: UnixListener, server: PathBuf, breaks: Arc<AtomicUsize>, lost: Lost) {
    while let Ok((client, _)) = listener.accept().await {
        let server = UnixStream::connect(&server).await.unwrap();
        tokio::spawn(pass(client, server, Arc::clone(&breaks), lost));
    }
}

async fn pass(client: UnixStream, server: UnixStream, breaks: Arc<AtomicUsize>, lost: Lost) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let commits = buffer[..length].windows(7).any(|part| part == b"COMMIT\0");
        let less = |left: usize| left.checked_sub(1);
        if commits && breaks.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok() {
            answers.abort();
            if matches!(lost, Lost::Answer) {
                to_server.write_all(&buffer[..length]).await.unwrap();
            }
            return;
        }
        to_server.write_all(&buffer[..length]).await.unwrap();
    }
    answers.abort();
}

/// Makes changes whose first commits break, and checks that each is made once and answers
/// what it would have without that.
async fn all_is_done_once(lost: Lost, breaks: usize) {
    let server = server();
    let breaker = Breaker::new(&server.database(), lost);
    let names = open(&breaker.url).await;
    let broken = || breaker.breaks.store(breaks, Ordering::Release);

    broken();
    let created = names.put(put("a", row(1), Condition::IfAbsent)).await;
    assert_eq!(created, Ok(Committed::Created));
    broken();
    let replaced = names.put(put("a", row(2), Condition::IfMatch(vec![1]))).await;
    assert_eq!(replaced, Ok(Committed::Replaced(row(1))));
    assert_eq!(queued(&names).await, [1]);
    broken();
    let removed = names.remove(remove("a", 3, Condition::IfPresent)).await;
    assert_eq!(removed, Ok(Some(row(2))));
    assert_eq!(names.get(&bucket(), &name("a")).await, Ok(None));
    assert_eq!(queued(&names).await, [1, 2]);
    broken();
    let needles = vec![needle(1, 7)];
    let discard = Discard { bucket: bucket(), name: name("a"), needles, due_ms: 100 };
    assert_eq!(names.discard(discard).await.unwrap().len(), 1);
    assert_eq!(queued(&names).await, [1, 2, 7]);
    broken();
    names.settle(names.due_in(VolumeId::new(1).unwrap(), 0..=100, 9).await.unwrap()).await.unwrap();
    assert_eq!(queued(&names).await, [0; 0]);
    broken();
    names.close_bucket(&bucket()).await.unwrap();
    assert_eq!(breaker.breaks.load(Ordering::Acquire), 0, "all commits broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_made() {
    all_is_done_once(Lost::Answer, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_lost_is_made_again() {
    all_is_done_once(Lost::Request, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_said_to_be_unknown() {
    let server = server();
    let url = server.database();
    let breaker = Breaker::new(&url, Lost::Answer);
    let (names, others) = (open(&breaker.url).await, open(&url).await);
    let impatient = PostgresConfig { timeout_ms: 300, ..config(&breaker.url) };
    let impatient = PostgresNames::open(&impatient, Uuid::nil(), false).await.unwrap();
    breaker.breaks.store(usize::MAX, Ordering::Release);
    // Found out by looking, though no commit is ever answered.
    let created = names.put(put("a", row(1), Condition::None)).await;
    assert_eq!(created, Ok(Committed::Created));
    // Each attempt is made again, as settling has nothing to tell it by.
    let garbage = Garbage { id: needle(1, 1), due_ms: 1, removal: None };
    let unknown = impatient.settle(vec![garbage]).await;
    assert!(matches!(unknown, Err(NamesError::InDoubt(_))), "{unknown:?}");
    assert_eq!(others.get(&bucket(), &name("a")).await, Ok(Some(row(1))));
}
