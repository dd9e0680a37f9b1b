//! Messages as they come, and as they are sent.

use std::collections::BTreeMap;

use deltafold_format::Timestamp;

/// A message that was received. It stays in the queue, unseen by others for the visibility timeout,
/// until it is [deleted](super::Queue::delete).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The service's name for it. A move to or from a dead-letter queue may give it another.
    pub id: String,
    /// What deletes it or puts it off; each delivery has its own.
    pub receipt: String,
    /// What was sent.
    pub body: String,
    /// When it was sent. A move from a FIFO queue to its dead-letter queue sets it anew.
    pub sent: Option<Timestamp>,
    /// When it was first received.
    pub first_received: Option<Timestamp>,
    /// How often it has been received, this time included.
    pub receives: u32,
    /// Its message group; FIFO queues have it always.
    pub group: Option<String>,
    /// Its deduplication id, on FIFO queues.
    pub deduplication: Option<String>,
    /// Its place in its group, on FIFO queues: 20 digits, more than 64 bits hold. A move gives it
    /// another.
    pub sequence: Option<u128>,
    /// The ARN of the queue that it was moved from, in a dead-letter queue.
    pub dead_letter_of: Option<String>,
    /// What its sender attached to it.
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

/// A message to be sent. Body and attributes together take at most 1 MiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its body.
    pub body: String,
    /// The message group. FIFO queues need one and keep the order within it.
    pub group: Option<String>,
    /// What makes it the same message if it is sent again within five minutes, on FIFO queues: the
    /// event's own id, never a hash of its content.
    pub deduplication: Option<String>,
    /// What goes with it.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Outgoing {
    /// What counts towards the limit of 1 MiB for a message and for a batch.
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
