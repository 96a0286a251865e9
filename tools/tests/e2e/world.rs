//! What the client knows: its own record of every answer.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::http::StatusCode;
use futures::StreamExt as _;
use futures::stream;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::server::Server;

/// Requests under way at a time.
const CLIENTS: usize = 32;

#[derive(Default)]
pub struct World {
    objects: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
enum Known {
    /// The upload was acknowledged.
    Stored(Bytes),
    /// The delete was acknowledged.
    Deleted,
    /// No answer came, so it may be there, with these bytes, or not.
    Unsure(Bytes),
}

/// The bytes that belong to a name.
pub fn bytes_for(name: &str, size: usize) -> Bytes {
    let seed =
        name.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into()
}

fn small_bytes(name: &str) -> Bytes {
    let sum: usize = name.bytes().map(usize::from).sum();
    bytes_for(name, sum * 13 % 4000)
}

impl World {
    fn note(&self, name: &str, known: Known) {
        self.objects.lock().unwrap().insert(name.to_owned(), known);
    }

    /// Uploads; the server must take it.
    pub async fn put(&self, server: &Server, name: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        server.put_body(name, bytes.clone()).await.unwrap();
        self.note(name, Known::Stored(bytes));
    }

    pub async fn put_all(&self, server: &Server, names: &[String]) {
        let puts = stream::iter(names);
        puts.for_each_concurrent(CLIENTS, |name| self.put(server, name, small_bytes(name))).await;
    }

    pub async fn delete_all(&self, server: &Server, names: &[String]) {
        let deletes = stream::iter(names).for_each_concurrent(CLIENTS, async |name| {
            server.delete(name).await.unwrap();
            self.note(name, Known::Deleted);
        });
        deletes.await;
    }

    /// Uploads, and tells whether an answer came.
    pub async fn try_put(&self, server: &Server, name: &str) -> bool {
        let bytes = small_bytes(name);
        let stored = server.put_body(name, bytes.clone()).await.is_ok();
        self.note(name, if stored { Known::Stored(bytes) } else { Known::Unsure(bytes) });
        stored
    }

    /// Deletes, and tells whether an answer came.
    pub async fn try_delete(&self, server: &Server, name: &str) -> bool {
        let deleted = server.delete(name).await.is_ok();
        self.note(name, if deleted { Known::Deleted } else { Known::Unsure(small_bytes(name)) });
        deleted
    }

    /// Compares every object with what is known of it.
    pub async fn check(&self, server: &Server) {
        let objects = self.objects.lock().unwrap().clone();
        let checks = stream::iter(objects).for_each_concurrent(CLIENTS, async |(name, known)| {
            let got = server.get(&name).await;
            let missing =
                || got.as_ref().is_err_and(|error| error.status() == Some(StatusCode::NOT_FOUND));
            match known {
                Known::Stored(bytes) => {
                    assert!(got.is_ok_and(|got| got == bytes), "{name} is lost");
                }
                Known::Deleted => assert!(missing(), "{name} is back: {got:?}"),
                Known::Unsure(bytes) => {
                    assert!(missing() || got.is_ok_and(|got| got == bytes), "{name} is wrong");
                }
            }
        });
        checks.await;
    }
}
