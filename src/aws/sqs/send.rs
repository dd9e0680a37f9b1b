//! Sends.

use std::ops::Range;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::count::QueueAction;
use super::error::{NotDone, QueueError, QueueErrorKind};
use super::message::{Attribute, Outgoing};
use super::queue::{Queue, retried};
use super::receipts::not_done;

/// The most that a request takes.
const MESSAGES_A_REQUEST: usize = 10;
const BYTES_A_REQUEST: usize = 1 << 20;

impl Queue {
    /// Sends messages in this order, and returns those that were not taken. A FIFO queue stops at
    /// the first of these, so that none overtakes, and all behind it are returned as well. One
    /// request for 10 messages or 1 MiB, billed by 64 KiB. It repeats a request whose answer was
    /// lost: the messages may then be there twice, unless they have deduplication ids.
    ///
    /// # Errors
    ///
    /// See [`QueueErrorKind`]. The last request may or may not have landed then.
    pub async fn send(&self, messages: &[Outgoing]) -> Result<Vec<NotDone>, QueueError> {
        let mut failed = Vec::new();
        for range in batches(messages) {
            let start = range.start;
            let entries = messages[range.clone()].iter().enumerate().map(|(index, message)| entry(index, message));
            let entries: Result<Vec<_>, _> = entries.collect();
            let entries =
                entries.map_err(|error| QueueError::new(QueueErrorKind::Invalid, "send to", &self.name, error))?;
            let sent = retried(|| async {
                let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.clone()));
                let answer = request.send().await.map_err(|error| QueueError::of("send to", &self.name, &error));
                self.count.answered(QueueAction::Send, answer, |output| output.successful.len())
            });
            failed.extend(not_done(sent.await?.failed, start));
            if self.is_fifo() && !failed.is_empty() {
                let behind = "a message before it was not taken";
                let rest = (range.end..messages.len()).map(|index| NotDone {
                    index,
                    is_transient: true,
                    reason: behind.to_owned(),
                });
                failed.extend(rest);
                break;
            }
        }
        Ok(failed)
    }
}

/// Batches as large as a request takes. A message that exceeds the limit goes alone, for the
/// service to refuse.
fn batches(messages: &[Outgoing]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, message) in messages.iter().enumerate() {
        let more = message.bytes();
        if index > start && (index - start == MESSAGES_A_REQUEST || bytes + more > BYTES_A_REQUEST) {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += more;
    }
    if start < messages.len() {
        batches.push(start..messages.len());
    }
    batches
}

fn entry(
    index: usize,
    message: &Outgoing,
) -> Result<SendMessageBatchRequestEntry, aws_smithy_types::error::operation::BuildError> {
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .set_message_group_id(message.group.clone())
        .set_message_deduplication_id(message.deduplication.clone());
    for (name, value) in &message.attributes {
        let value = match value {
            Attribute::Text(kind, text) => MessageAttributeValue::builder().data_type(kind).string_value(text),
            Attribute::Binary(kind, bytes) => {
                MessageAttributeValue::builder().data_type(kind).binary_value(Blob::new(bytes.clone()))
            }
        };
        entry = entry.message_attributes(name, value.build()?);
    }
    entry.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_ten_messages_and_a_mebibyte() {
        let of = |sizes: &[usize]| {
            let messages: Vec<Outgoing> =
                sizes.iter().map(|size| Outgoing { body: "x".repeat(*size), ..Outgoing::default() }).collect();
            batches(&messages)
        };
        assert!(of(&[]).is_empty());
        assert_eq!(of(&[1; 11]), [0..10, 10..11]);
        assert_eq!(of(&[1; 21]), [0..10, 10..20, 20..21]);
        assert_eq!(of(&[BYTES_A_REQUEST / 2, BYTES_A_REQUEST / 2, 1]), [0..2, 2..3]);
        assert_eq!(of(&[1, BYTES_A_REQUEST + 1, 1]), [0..1, 1..2, 2..3]);
    }
}
