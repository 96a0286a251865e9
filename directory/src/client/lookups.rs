//! Names that are looked up together.

use tokio::sync::oneshot;

use super::{AskError, DirectoryClient, FOR_A_ROW, object};
use crate::http::wire::Object;
use crate::{BucketName, DirectoryError, ObjectName, Row};
use hayrick_service::gather::{Carrier, Limits, gathered};

/// A request under way takes about as long as another 16 lookups take to come, where there are
/// that many.
pub(super) const LIMITS: Limits = Limits { take: 64, patience: 16, carriers: 64 };

/// A name that somebody waits for.
pub(super) struct Lookup {
    object: Object,
    answer: oneshot::Sender<Result<Option<Row>, DirectoryError>>,
}

impl DirectoryClient {
    /// The row of a name. Names that are asked for at the same time share a request.
    pub(crate) async fn lookup(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
    ) -> Result<Option<Row>, DirectoryError> {
        let (answer, row) = oneshot::channel();
        let lookup = Lookup { object: object(bucket, name), answer };
        if let Some(carrier) = self.shared.lookups.add(lookup) {
            tokio::spawn(self.clone().carry(carrier));
        }
        // It is dropped unanswered only where everything ends.
        row.await.unwrap_or_else(|_| Err(AskError::Nobody.about(bucket, 0)))
    }

    async fn carry(self, mut carrier: Carrier<Lookup>) {
        loop {
            gathered().await;
            let mut lookups = carrier.load();
            if lookups.is_empty() {
                return;
            }
            lookups.retain(|lookup| !lookup.answer.is_closed());
            while !lookups.is_empty() {
                self.look_up(&mut lookups).await;
            }
        }
    }

    /// Answers some of them, at least one.
    async fn look_up(&self, lookups: &mut Vec<Lookup>) {
        let objects: Vec<_> = lookups.iter().map(|lookup| &lookup.object).collect();
        let rows: Result<Vec<Option<Row>>, _> = self.ask("lookup", FOR_A_ROW, &objects).await;
        match rows {
            // Where rows are large, only the first are answered.
            Ok(rows) if (1..=lookups.len()).contains(&rows.len()) => {
                for (lookup, row) in lookups.drain(..rows.len()).zip(rows) {
                    // Whoever asked may have gone.
                    drop(lookup.answer.send(Ok(row)));
                }
            }
            rows => {
                let error = rows.err().unwrap_or(AskError::OtherQuestions);
                for Lookup { object, answer } in lookups.drain(..) {
                    drop(answer.send(Err(error.about(&object.bucket, 0))));
                }
            }
        }
    }
}
