use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

fn options(threads: usize, queue: usize, deadline: Duration) -> PoolOptions {
    PoolOptions {
        threads: NonZeroUsize::new(threads).unwrap(),
        queue_limit: NonZeroUsize::new(queue).unwrap(),
        deadline,
        memory_bytes: 1000,
    }
}

const LONG: Duration = Duration::from_secs(30);

fn pool(threads: usize, queue: usize, deadline: Duration) -> Arc<Pool<u32>> {
    Arc::new(Pool::start("test", options(threads, queue, deadline)).unwrap())
}

/// Keeps a pool's only thread busy until told.
struct Blocker {
    release: mpsc::Sender<()>,
    done: tokio::task::JoinHandle<Result<(), PoolError>>,
}

impl Blocker {
    async fn start(pool: &Arc<Pool<u32>>) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = oneshot::channel();
        let pool = Arc::clone(pool);
        let done = tokio::spawn(async move {
            pool.run(move |_, _| {
                started.send(()).unwrap();
                let _ = released.recv();
            })
            .await
        });
        starts.await.unwrap();
        Self { release, done }
    }

    async fn finish(self) {
        drop(self.release);
        self.done.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn work_is_done_and_its_state_kept() {
    let pool = pool(1, 1, LONG);
    for expected in 1..=3 {
        let count = pool.run(|state, _| {
            *state += 1;
            *state
        });
        assert_eq!(count.await, Ok(expected));
    }
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let pool = pool(1, 1, LONG);
    let blocker = Blocker::start(&pool).await;
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(|_, _| 7).await }
    });
    while pool.load().queued == 0 {
        tokio::task::yield_now().await;
    }
    let load = pool.load();
    assert_eq!((load.queued, load.running, load.queue_limit, load.threads), (1, 1, 1, 1));
    assert_eq!(pool.run(|_, _| ()).await, Err(PoolError::Busy));
    blocker.finish().await;
    assert_eq!(waiting.await.unwrap(), Ok(7));
}

#[tokio::test]
async fn work_nobody_waits_for_is_dropped_and_makes_room() {
    let pool = pool(1, 1, LONG);
    let blocker = Blocker::start(&pool).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let abandoned = tokio::spawn({
        let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
        async move { pool.run(move |_, _| ran.fetch_add(1, Ordering::SeqCst)).await }
    });
    while pool.load().queued == 0 {
        tokio::task::yield_now().await;
    }
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());

    let next = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(|_, _| ()).await }
    });
    tokio::task::yield_now().await;
    blocker.finish().await;
    assert_eq!(next.await.unwrap(), Ok(()));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_ends_one_piece_of_work() {
    let pool = pool(1, 4, LONG);
    assert_eq!(pool.run(|state, _| *state = 9).await, Ok(()));
    let panicked = pool.run(|_, _| -> () { panic!("bad {}", "picture") }).await;
    assert_eq!(panicked, Err(PoolError::Panicked("bad picture".to_owned())));
    assert_eq!(pool.run(|state, _| *state).await, Ok(0), "a fresh state on the same thread");
    while pool.load().running > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_deadline_counts_waiting_and_work() {
    let pool = pool(1, 4, Duration::from_millis(300));
    let (told, tells) = oneshot::channel();
    let slow = pool.run(move |_, watch: &Watch<'_>| {
        while watch.go_on() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20));
        told.send(()).unwrap();
    });
    let ran = Arc::new(AtomicUsize::new(0));
    let behind = pool.run({
        let ran = Arc::clone(&ran);
        move |_, _| {
            thread::sleep(Duration::from_millis(60));
            ran.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (slow, behind) = tokio::join!(slow, behind);
    assert_eq!(slow, Err(PoolError::Timeout));
    assert_eq!(behind, Err(PoolError::Timeout));
    tells.await.unwrap();
    assert_eq!(pool.run(|_, _| 1).await, Ok(1), "the thread is free again");
}

#[tokio::test]
async fn shutdown_finishes_what_was_taken() {
    let pool = pool(2, 8, LONG);
    let done = Arc::new(AtomicUsize::new(0));
    let mut taken = Vec::new();
    for _ in 0..6 {
        let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
        taken.push(tokio::spawn(async move {
            pool.run(move |_, _| {
                thread::sleep(Duration::from_millis(5));
                done.fetch_add(1, Ordering::SeqCst);
            })
            .await
        }));
    }
    while pool.load().queued + pool.load().running + done.load(Ordering::SeqCst) < 6 {
        tokio::task::yield_now().await;
    }
    pool.shutdown();
    assert_eq!(done.load(Ordering::SeqCst), 6);
    for result in taken {
        assert_eq!(result.await.unwrap(), Ok(()));
    }
    assert_eq!(pool.run(|_, _| ()).await, Err(PoolError::Stopped));
    pool.shutdown();
}

#[tokio::test]
async fn work_waits_for_memory_and_gives_it_back() {
    let pool = pool(2, 4, LONG);
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = oneshot::channel();
    let first = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move {
            pool.run(move |_, watch| {
                let _loan = watch.lend(600).unwrap();
                started.send(()).unwrap();
                let _ = released.recv();
            })
            .await
        }
    });
    starts.await.unwrap();
    assert_eq!((pool.load().memory_bytes, pool.load().memory_limit_bytes), (600, 1000));
    let beside = pool.run(|_, watch| watch.lend(400).is_ok()).await;
    assert_eq!(beside, Ok(true));
    let second = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(|_, watch| watch.lend(500).is_ok()).await }
    });
    while pool.load().running < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    drop(release);
    first.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap(), Ok(true));
    let panicked = pool.run(|_, watch| -> () {
        let _loan = watch.lend(1000);
        panic!("with a loan")
    });
    assert!(matches!(panicked.await, Err(PoolError::Panicked(_))));
    assert_eq!(pool.load().memory_bytes, 0);
    let refused = pool.run(|_, watch| watch.lend(1001).err()).await;
    assert_eq!(refused, Ok(Some(NoMemory::TooLarge { limit: 1000 })));
}
