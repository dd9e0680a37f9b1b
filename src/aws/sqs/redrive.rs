//! Moves of dead letters by hand, for services without a move task.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{QueueError, QueueErrorKind};
use super::message::{Message, Outgoing};
use super::queue::Queue;
use super::receive::Receive;

/// The visibility timeout of a batch in a move: longer than its sending and deletion can take.
const WHILE_MOVING: Duration = Duration::from_secs(120);

/// The outcome of one step of a move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Messages that are in the other queue and no longer in this one.
    pub moved: u64,
    /// Messages that stay, each with the reason. The move must stop.
    pub stayed: Vec<(String, String)>,
    /// Messages that are in both queues, each with the reason why it could not be deleted here. The
    /// move must stop.
    pub doubled: Vec<(String, String)>,
    /// Whether nothing more was there to receive.
    pub finished: bool,
}

impl Queue {
    /// Moves up to `max` messages, 10 at most, to `to`. It receives and sends them, and deletes
    /// each only once the other queue has acknowledged it. A broken-off move loses nothing, but a
    /// message may then be in both queues. A change with a source position or a revision still
    /// takes effect once.
    ///
    /// It keeps body, attributes, message group, and the order within a group. The message's id in
    /// this queue becomes its deduplication id, as in a move by the service. A queue that has seen
    /// the former one within five minutes would drop the message silently. With the new one, a
    /// repeated move sends once.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`].
    pub async fn move_some(&self, to: &Self, max: u8) -> Result<Moved, QueueError> {
        let how = Receive { max, wait: Duration::from_secs(1), visibility: Some(WHILE_MOVING) };
        let messages = self.receive(how).await?;
        if messages.is_empty() {
            return Ok(Moved { finished: true, ..Moved::default() });
        }
        let outgoing: Vec<Outgoing> = messages.iter().map(|message| again(message, to.is_fifo())).collect();
        let sent = to.send(&outgoing).await;
        let failed: BTreeMap<usize, String> = match &sent {
            Ok(failed) => failed.iter().map(|failed| (failed.index, failed.reason.clone())).collect(),
            Err(error) => (0..messages.len()).map(|index| (index, error.to_string())).collect(),
        };
        let (mut gone, mut kept, mut stayed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, message) in messages.iter().enumerate() {
            match failed.get(&index) {
                None => gone.push(message),
                Some(reason) => {
                    kept.push(message.receipt.as_str());
                    stayed.push((message.id.clone(), reason.clone()));
                }
            }
        }
        let receipts: Vec<&str> = gone.iter().map(|message| message.receipt.as_str()).collect();
        let doubled: Vec<(String, String)> = match self.delete(&receipts).await {
            Ok(undeleted) => undeleted
                .into_iter()
                .filter_map(|failed| Some((gone.get(failed.index)?.id.clone(), failed.reason)))
                .collect(),
            // Some may be deleted already; which ones is unknown.
            Err(error) => gone.iter().map(|message| (message.id.clone(), error.to_string())).collect(),
        };
        if !kept.is_empty() {
            // A courtesy: they would come again after two minutes anyway.
            let _ = self.change_visibility(&kept, Duration::ZERO).await;
        }
        match sent {
            // A message that no queue takes is worth an error, not a list.
            Err(error) if error.kind() != QueueErrorKind::Invalid => Err(error),
            _ => Ok(Moved { moved: (gone.len() - doubled.len()) as u64, stayed, doubled, finished: false }),
        }
    }
}

/// The message to send again.
fn again(message: &Message, to_fifo: bool) -> Outgoing {
    Outgoing {
        body: message.body.clone(),
        // From a queue without groups to one with groups: a message without a group had no order to
        // keep.
        group: message.group.clone().or_else(|| to_fifo.then(|| message.id.clone())),
        deduplication: to_fifo.then(|| message.id.clone()),
        attributes: message.attributes.clone(),
    }
}
