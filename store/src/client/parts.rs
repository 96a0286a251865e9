//! Small reads that go to a store together.

use std::ops::Range;

use axum::body::BodyDataStream;
use axum::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use hayrick_service::gather::{Carrier, Limits, gathered};
use tokio::sync::oneshot;

use super::StoreClient;
use crate::error::StoreError;
use crate::http::parts::{Frame, MAX_PART_BYTES, MAX_PARTS, Part, path};
use crate::http::{Subject, store_error, unavailable};
use crate::id::{Epoch, NeedleId};

/// A request under way takes about as long as another 16 reads take to come, where there are that many.
pub(super) const LIMITS: Limits = Limits { take: MAX_PARTS, patience: 16, carriers: 64 };

/// A part that somebody waits for. Dropped unanswered, it has to be asked for alone.
pub(super) struct Read {
    part: Part,
    answer: oneshot::Sender<Result<Bytes, StoreError>>,
}

/// Reads that have been sent, by their numbers.
type Sent = Vec<Option<Read>>;

/// What is still to come of an answer.
struct Frames {
    /// What errors call the store.
    store: String,
    body: BodyDataStream,
    buffer: BytesMut,
}

impl StoreClient {
    /// A few bytes of a needle, in one request with others that are read at the same time. `None` where
    /// they have to be asked for alone.
    pub(super) async fn read_together(
        &self,
        id: NeedleId,
        range: &Range<u64>,
    ) -> Option<Result<Bytes, StoreError>> {
        if range.end.saturating_sub(range.start) > MAX_PART_BYTES {
            return None;
        }
        let (answer, found) = oneshot::channel();
        let read = Read { part: Part { id, range: range.clone() }, answer };
        if let Some(carrier) = self.shared.reads.add(read) {
            // Not within this future: it may be dropped, and others wait for the same carrier.
            tokio::spawn(self.clone().carry(carrier));
        }
        found.await.ok()
    }

    async fn carry(self, mut carrier: Carrier<Read>) {
        loop {
            gathered().await;
            let mut reads = carrier.load();
            if reads.is_empty() {
                return;
            }
            reads.retain(|read| !read.answer.is_closed());
            if !reads.is_empty() {
                self.read_all(reads).await;
            }
        }
    }

    /// Returns when all have been answered for which the store does not have to wait for its disk.
    async fn read_all(&self, reads: Vec<Read>) {
        let path = path(reads.iter().map(|read| &read.part));
        match self.call(Method::GET, &path).send().await {
            Ok(answer) => {
                let body = answer.into_body().into_data_stream();
                let store = self.name().to_owned();
                let mut frames = Frames { store, body, buffer: BytesMut::new() };
                let mut sent = reads.into_iter().map(Some).collect();
                if !frames.deliver(&mut sent).await {
                    tokio::spawn(async move { frames.deliver(&mut sent).await });
                }
            }
            // It knows no parts: it is of an older version.
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {}
            Err(error) => {
                let Some(Read { part: Part { id, .. }, .. }) = reads.first() else { return };
                let subject = Subject { volume: id.volume, key: id.key, epoch: Epoch::NONE };
                let error = store_error(error, self.name(), subject);
                for read in reads {
                    // Whoever asked may be gone.
                    drop(read.answer.send(Err(error.clone())));
                }
            }
        }
    }
}

impl Frames {
    /// Answers reads as their parts come; false at a pause. Those that are left at the end have to be
    /// asked for alone.
    async fn deliver(&mut self, sent: &mut Sent) -> bool {
        while let Some(frame) = self.next().await {
            match frame {
                Frame::Pause => return false,
                Frame::Alone(number) => drop(taken(sent, number)),
                Frame::Damaged(number) => refuse(taken(sent, number), |id| {
                    let reason = format!("so says store {}", self.store).into();
                    StoreError::Corrupt { volume: id.volume, key: id.key, reason }
                }),
                Frame::Unread(number) => refuse(taken(sent, number), |_| {
                    unavailable(&self.store, &"its disk failed to read the needle")
                }),
                Frame::Found(number, bytes) => {
                    if let Some(Read { part, answer }) = taken(sent, number)
                        && part.range.end - part.range.start == bytes.len() as u64
                    {
                        // Whoever asked may be gone.
                        drop(answer.send(Ok(bytes)));
                    }
                }
            }
        }
        true
    }

    /// `None` at the end, and where the answer breaks off or makes no sense.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer).ok()? {
                return Some(frame);
            }
            self.buffer.extend_from_slice(&self.body.next().await?.ok()?);
        }
    }
}

fn refuse(read: Option<Read>, error: impl FnOnce(NeedleId) -> StoreError) {
    if let Some(Read { part, answer }) = read {
        // Whoever asked may be gone.
        drop(answer.send(Err(error(part.id))));
    }
}

fn taken(sent: &mut Sent, number: u16) -> Option<Read> {
    sent.get_mut(usize::from(number))?.take()
}
