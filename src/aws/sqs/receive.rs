//! Receives.

use std::time::Duration;

use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName as Name};
use deltafold_format::Timestamp;

use super::count::QueueAction;
use super::error::QueueError;
use super::message::{Attribute, Message};
use super::queue::{Queue, retried};
use crate::setters::setters;

/// Options of a receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receive {
    /// Messages at most, 1 to 10: 10.
    pub max: u8,
    /// The wait for the first message, up to 20 s: 20 s. It must be less than the timeout of a
    /// request.
    pub wait: Duration,
    /// The visibility timeout, up to 12 h. `None`: the queue's.
    pub visibility: Option<Duration>,
}

impl Receive {
    /// Up to 10 messages that are there now, without a wait.
    pub const NOW: Self = Self { max: 10, wait: Duration::ZERO, visibility: None };
}

setters!(Receive {
    max: u8,
    wait: Duration,
    visibility: into Option<Duration>,
});

impl Default for Receive {
    fn default() -> Self {
        Self { max: 10, wait: Duration::from_secs(20), visibility: None }
    }
}

impl Queue {
    /// Receives messages, or none if none came in time. One request, billed also when empty.
    ///
    /// A FIFO queue delivers none of a message group while messages of it are in flight.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`](super::QueueErrorKind).
    pub async fn receive(&self, how: Receive) -> Result<Vec<Message>, QueueError> {
        let seconds = |span: Duration| i32::try_from(span.as_secs()).unwrap_or(i32::MAX);
        retried(|| async {
            let request = self.client.receive_message().queue_url(&self.url);
            let request = request
                .max_number_of_messages(how.max.clamp(1, 10).into())
                .wait_time_seconds(seconds(how.wait).min(20))
                .set_visibility_timeout(how.visibility.map(|span| seconds(span).min(43_200)))
                .message_system_attribute_names(Name::All)
                .message_attribute_names("All");
            let answer = request.send().await.map_err(|error| QueueError::of("receive from", &self.name, &error));
            let received = answer.map(|output| output.messages.unwrap_or_default());
            let received = self.count.answered(QueueAction::Receive, received, Vec::len)?;
            Ok(received.into_iter().map(message).collect())
        })
        .await
    }
}

fn message(received: Received) -> Message {
    let system = received.attributes.unwrap_or_default();
    let text = |name: Name| system.get(&name).cloned();
    let moment = |name| text(name).and_then(|text| text.parse().ok()).map(Timestamp::from_millis);
    let attributes = received.message_attributes.unwrap_or_default().into_iter().map(|(name, value)| {
        let value = match (value.binary_value, value.string_value) {
            (Some(bytes), _) => Attribute::Binary(value.data_type, bytes.into_inner()),
            (None, text) => Attribute::Text(value.data_type, text.unwrap_or_default()),
        };
        (name, value)
    });
    Message {
        attributes: attributes.collect(),
        sent: moment(Name::SentTimestamp),
        first_received: moment(Name::ApproximateFirstReceiveTimestamp),
        receives: text(Name::ApproximateReceiveCount).and_then(|text| text.parse().ok()).unwrap_or(0),
        group: text(Name::MessageGroupId),
        deduplication: text(Name::MessageDeduplicationId),
        sequence: text(Name::SequenceNumber).and_then(|text| text.parse().ok()),
        dead_letter_of: text(Name::DeadLetterQueueSourceArn),
        id: received.message_id.unwrap_or_default(),
        receipt: received.receipt_handle.unwrap_or_default(),
        body: received.body.unwrap_or_default(),
    }
}
