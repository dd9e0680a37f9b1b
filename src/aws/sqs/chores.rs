//! Actions on whole queues: a purge, and a move out of a dead-letter queue.

use deltafold_format::Timestamp;

use super::error::{QueueError, QueueErrorKind};
use super::queue::{Queue, retried};

/// A move of messages by the service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveTask {
    /// The handle that stops it. Set only while it runs.
    pub handle: Option<String>,
    /// `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// Messages moved so far.
    pub moved: u64,
    /// Messages to move, as far as the service knows.
    pub to_move: Option<u64>,
    /// The destination. `None`: each message moves to its source queue.
    pub destination: Option<String>,
    /// The time of its start.
    pub started: Timestamp,
    /// The reason of its failure.
    pub failure: Option<String>,
}

impl MoveTask {
    /// Whether the service still works on it.
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "CANCELLING")
    }
}

impl Queue {
    /// Deletes all messages, including those in flight. It takes up to 60 s, and may delete
    /// messages sent meanwhile as well. A FIFO queue still remembers deduplication ids for five
    /// minutes. It drops the same events if a producer sends them again before that.
    ///
    /// # Errors
    ///
    /// `Busy` if the queue was purged less than 60 s ago.
    pub async fn purge(&self) -> Result<(), QueueError> {
        let purged =
            retried(|| async { self.other("purge", self.client.purge_queue().queue_url(&self.url).send().await) });
        purged.await.map(drop)
    }

    /// The URLs of the queues whose dead letters come here.
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

    /// Asks the service to move all messages of this dead-letter queue: to `destination`, an ARN,
    /// or each to its source queue. It moves at most `a_second` messages a second, up to 500.
    /// Returns the task's handle.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the service has no such task, or moves messages of this queue already:
    /// [`moves`](Self::moves) tells the two apart.
    pub async fn start_move(
        &self,
        arn: &str,
        destination: Option<&str>,
        a_second: Option<u16>,
    ) -> Result<String, QueueError> {
        // Without a retry, because the first task would cause the refusal of a second.
        let request = self.client.start_message_move_task().source_arn(arn);
        let request = request.set_destination_arn(destination.map(str::to_owned));
        let request = request.set_max_number_of_messages_per_second(a_second.map(i32::from));
        let answer = self.other("move messages of", request.send().await)?;
        let missing =
            || QueueError::new(QueueErrorKind::Unsupported, "move messages of", &self.name, "no task was named");
        answer.task_handle.ok_or_else(missing)
    }

    /// The service's moves of this queue, newest first, ten at most.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the service has no such tasks.
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

    /// Stops a move. Returns the number of messages moved.
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
