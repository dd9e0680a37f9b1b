//! Deletes finished messages, and puts off others.

use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::count::QueueAction;
use super::error::{NotDone, QueueError, QueueErrorKind};
use super::queue::{Queue, retried};

/// The most that a request takes.
const RECEIPTS_A_REQUEST: usize = 10;
/// Requests in flight at once.
const DELETES_AT_ONCE: usize = 8;

impl Queue {
    /// Deletes messages by their receipts, and returns those that were not deleted. One request for
    /// 10 messages. Success is not proof: with an outdated receipt the service may delete nothing,
    /// and the message comes again.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`]; some may be deleted already.
    pub async fn delete(&self, receipts: &[&str]) -> Result<Vec<NotDone>, QueueError> {
        let deletes = receipts.chunks(RECEIPTS_A_REQUEST).zip(0..).map(|(batch, number)| async move {
            let entries = batch.iter().enumerate().map(|(index, receipt)| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(*receipt).build()
            });
            let entries: Result<Vec<_>, _> = entries.collect();
            let entries = entries.map_err(|error| self.invalid("delete from", error))?;
            let deleted = retried(|| async {
                let request =
                    self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries.clone()));
                let answer = request.send().await.map_err(|error| QueueError::of("delete from", &self.name, &error));
                self.count.answered(QueueAction::Delete, answer, |output| output.successful.len())
            });
            Ok(not_done(deleted.await?.failed, number * RECEIPTS_A_REQUEST))
        });
        let failed: Result<Vec<Vec<NotDone>>, QueueError> =
            stream::iter(deletes.collect::<Vec<_>>()).buffered(DELETES_AT_ONCE).try_collect().await;
        Ok(failed?.into_iter().flatten().collect())
    }

    /// Makes messages visible again after `visibility` from now, up to 12 h since they were
    /// received. Zero returns them at once; more keeps them for their consumer. Returns those whose
    /// time was over. One request for 10.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn change_visibility(&self, receipts: &[&str], visibility: Duration) -> Result<Vec<NotDone>, QueueError> {
        let seconds = i32::try_from(visibility.as_secs()).unwrap_or(i32::MAX).min(43_200);
        let mut failed = Vec::new();
        for (number, batch) in receipts.chunks(RECEIPTS_A_REQUEST).enumerate() {
            let entries = batch.iter().enumerate().map(|(index, receipt)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(*receipt)
                    .visibility_timeout(seconds)
                    .build()
            });
            let entries: Result<Vec<_>, _> = entries.collect();
            let entries = entries.map_err(|error| self.invalid("keep messages of", error))?;
            let changed = retried(|| async {
                let request = self
                    .client
                    .change_message_visibility_batch()
                    .queue_url(&self.url)
                    .set_entries(Some(entries.clone()));
                let answer = request.send().await;
                let answer = answer.map_err(|error| QueueError::of("keep messages of", &self.name, &error));
                self.count.answered(QueueAction::ChangeVisibility, answer, |output| output.successful.len())
            });
            failed.extend(not_done(changed.await?.failed, number * RECEIPTS_A_REQUEST));
        }
        Ok(failed)
    }

    fn invalid(&self, verb: &'static str, reason: impl std::fmt::Display) -> QueueError {
        QueueError::new(QueueErrorKind::Invalid, verb, &self.name, reason)
    }
}

/// The failed entries of a batch. Their names are their indexes in it.
pub(super) fn not_done(failed: Vec<BatchResultErrorEntry>, start: usize) -> Vec<NotDone> {
    let entry = |entry: BatchResultErrorEntry| {
        let message = entry.message.unwrap_or_default();
        NotDone {
            index: start + entry.id.parse::<usize>().unwrap_or(0),
            is_transient: !entry.sender_fault,
            reason: if message.is_empty() { entry.code } else { format!("{}: {message}", entry.code) },
        }
    };
    failed.into_iter().map(entry).collect()
}
