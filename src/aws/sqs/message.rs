//! Messages, received and outgoing.

use std::collections::BTreeMap;

use deltafold_format::Timestamp;

/// A received message. It stays in the queue until it is [deleted](super::Queue::delete), invisible
/// to other consumers for the visibility timeout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The service's id for it. A move to or from a dead-letter queue may change it.
    pub id: String,
    /// The handle to delete it or put it off. Each delivery has its own.
    pub receipt: String,
    /// The text that was sent.
    pub body: String,
    /// The time of sending. A move from a FIFO queue to its dead-letter queue resets it.
    pub sent: Option<Timestamp>,
    /// The time of the first receive.
    pub first_received: Option<Timestamp>,
    /// The number of receives, including this one.
    pub receives: u32,
    /// Its message group. Always set on FIFO queues.
    pub group: Option<String>,
    /// Its deduplication id, on FIFO queues.
    pub deduplication: Option<String>,
    /// Its position in its group, on FIFO queues: 20 digits, which exceed 64 bits. A move changes
    /// it.
    pub sequence: Option<u128>,
    /// The ARN of its source queue, in a dead-letter queue.
    pub dead_letter_of: Option<String>,
    /// The attributes that its sender attached.
    pub attributes: BTreeMap<String, Attribute>,
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Text, or a number as text: its data type and its value.
    Text(String, String),
    /// Bytes: data type and value.
    Binary(String, Vec<u8>),
}

/// A message to send. Body and attributes together take at most 1 MiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its body.
    pub body: String,
    /// The message group. FIFO queues require one and keep the order within it.
    pub group: Option<String>,
    /// The deduplication id, on FIFO queues: they drop a second message with the same id within
    /// five minutes. Use the event's own id, never a hash of its content.
    pub deduplication: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Outgoing {
    /// The size that counts towards the limit of 1 MiB for a message and for a batch.
    pub(super) fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &Attribute)| {
            name.len()
                + match value {
                    Attribute::Text(kind, text) => kind.len() + text.len(),
                    Attribute::Binary(kind, bytes) => kind.len() + bytes.len(),
                }
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service counts names, types and values of attributes, in UTF-8 bytes.
    #[test]
    fn a_message_counts_its_attributes() {
        let mut message = Outgoing { body: "é".to_owned(), ..Outgoing::default() };
        assert_eq!(message.bytes(), 2);
        message.attributes.insert("name".to_owned(), Attribute::Text("String".to_owned(), "value".to_owned()));
        assert_eq!(message.bytes(), 2 + 4 + 6 + 5);
        message.attributes.insert("b".to_owned(), Attribute::Binary("Binary".to_owned(), vec![0; 100]));
        assert_eq!(message.bytes(), 2 + 4 + 6 + 5 + 1 + 6 + 100);
    }
}
