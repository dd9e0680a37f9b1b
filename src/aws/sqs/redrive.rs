//! Moving dead letters back by hand, for services that have no move of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{QueueError, QueueErrorKind};
use super::message::{Message, Outgoing};
use super::queue::Queue;
use super::receive::Receive;

/// How long a batch that is being moved stays unseen by others: more than sending and deleting it
/// can take.
const WHILE_MOVING: Duration = Duration::from_secs(120);

/// What one step of a move did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Messages that are in the other queue and no longer in this one.
    pub moved: u64,
    /// Messages that stay, each with the reason; the move is to stop.
    pub stayed: Vec<(String, String)>,
    /// Messages that are in both queues, each with the reason why it could not be deleted here; the
    /// move is to stop.
    pub doubled: Vec<(String, String)>,
    /// Whether nothing more was there to be received.
    pub finished: bool,
}

impl Queue {
    /// Moves up to `max` messages, 10 at most, to `to`: received, sent, and deleted only once the
    /// other queue has acknowledged them. Broken off anywhere it loses nothing, and a message may
    /// be in both queues; what is in the log by source position or revision takes effect once all
    /// the same.
    ///
    /// Body, attributes and message group are kept, and the order within a group. The deduplication
    /// id becomes the message's id in this queue, as in a move by the service: the former one would
    /// be dropped silently by a queue that has seen it within five minutes, and this one makes a
    /// repeated move send once.
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
            // Some may be deleted already. Nobody knows which.
            Err(error) => gone.iter().map(|message| (message.id.clone(), error.to_string())).collect(),
        };
        if !kept.is_empty() {
            // For courtesy: they would come again after two minutes anyway.
            let _ = self.change_visibility(&kept, Duration::ZERO).await;
        }
        match sent {
            // What cannot be sent at all is worth an error, not a list.
            Err(error) if error.kind() != QueueErrorKind::Invalid => Err(error),
            _ => Ok(Moved { moved: (gone.len() - doubled.len()) as u64, stayed, doubled, finished: false }),
        }
    }
}

/// A message as it is sent again.
fn again(message: &Message, to_fifo: bool) -> Outgoing {
    Outgoing {
        body: message.body.clone(),
        // From a queue without groups to one with: what has no group has an order with nobody.
        group: message.group.clone().or_else(|| to_fifo.then(|| message.id.clone())),
        deduplication: to_fifo.then(|| message.id.clone()),
        attributes: message.attributes.clone(),
    }
}
