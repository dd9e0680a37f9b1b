//! What is done to whole queues: purging, and moving what lies in a dead-letter queue.

use deltafold_format::Timestamp;

use super::error::{QueueError, QueueErrorKind};
use super::queue::{Queue, retried};

/// A move of messages by the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTask {
    /// What stops it; only while it runs.
    pub handle: Option<String>,
    /// `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// Messages moved so far.
    pub moved: u64,
    /// Messages there were to move, as far as the service knows.
    pub to_move: Option<u64>,
    /// Where to, unless each to the queue it came from.
    pub destination: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// Why it failed.
    pub failure: Option<String>,
}

impl MoveTask {
    /// Whether the service still works on it.
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "CANCELLING")
    }
}

impl Queue {
    /// Deletes everything in it, what is in flight included. It takes up to 60 s, and what is sent
    /// meanwhile may go as well. FIFO queues remember deduplication ids for five minutes all the
    /// same: whoever sends the same events again before that sends nothing.
    ///
    /// # Errors
    ///
    /// `Busy` where it was purged less than 60 s ago.
    pub async fn purge(&self) -> Result<(), QueueError> {
        let purged =
            retried(|| async { self.other("purge", self.client.purge_queue().queue_url(&self.url).send().await) });
        purged.await.map(drop)
    }

    /// The queues whose dead letters come here: their URLs.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn dead_letter_sources(&self) -> Result<Vec<String>, QueueError> {
        let (mut urls, mut next) = (Vec::new(), None);
        loop {
            let answer = retried(|| async {
                let request = self.client.list_dead_letter_source_queues().queue_url(&self.url);
                self.other("find the sources of", request.set_next_token(next.clone()).send().await)
            });
            let answer = answer.await?;
            urls.extend(answer.queue_urls);
            next = answer.next_token;
            if next.is_none() {
                return Ok(urls);
            }
        }
    }

    /// Has the service move all messages of this dead-letter queue: to `destination`, an ARN, or
    /// each to the queue it came from; so many a second at most, up to 500. Returns the task's
    /// handle.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the service cannot, or moves messages of this queue already:
    /// [`moves`](Self::moves) tells which.
    pub async fn start_move(
        &self,
        arn: &str,
        destination: Option<&str>,
        a_second: Option<u16>,
    ) -> Result<String, QueueError> {
        // Not tried again: a second task would be refused because of the first.
        let request = self.client.start_message_move_task().source_arn(arn);
        let request = request.set_destination_arn(destination.map(str::to_owned));
        let request = request.set_max_number_of_messages_per_second(a_second.map(i32::from));
        let answer = self.other("move messages of", request.send().await)?;
        let missing =
            || QueueError::new(QueueErrorKind::Unsupported, "move messages of", &self.name, "no task was named");
        answer.task_handle.ok_or_else(missing)
    }

    /// The service's moves of this queue, the newest first, ten at most.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the service cannot.
    pub async fn moves(&self, arn: &str) -> Result<Vec<MoveTask>, QueueError> {
        let answer = retried(|| async {
            let request = self.client.list_message_move_tasks().source_arn(arn).max_results(10);
            self.other("look at the moves of", request.send().await)
        });
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let task = |task: aws_sdk_sqs::types::ListMessageMoveTasksResultEntry| MoveTask {
            handle: task.task_handle,
            status: task.status.unwrap_or_default(),
            moved: count(task.approximate_number_of_messages_moved),
            to_move: task.approximate_number_of_messages_to_move.map(count),
            destination: task.destination_arn,
            started: Timestamp::from_millis(task.started_timestamp),
            failure: task.failure_reason,
        };
        Ok(answer.await?.results.unwrap_or_default().into_iter().map(task).collect())
    }

    /// Stops a move. Returns how many messages it has moved.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn cancel_move(&self, handle: &str) -> Result<u64, QueueError> {
        let answer = retried(|| async {
            self.other("stop the move of", self.client.cancel_message_move_task().task_handle(handle).send().await)
        });
        Ok(u64::try_from(answer.await?.approximate_number_of_messages_moved).unwrap_or(0))
    }
}
