//! The acknowledgement of an append, and the wait for it.

use deltafold_format::{Sequence, ShardId};
use tokio::sync::oneshot;

use super::appender::{Answer, AppendResult};
use crate::error::{Error, ErrorKind, Repr, Result};

/// The acknowledgement of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    segments: Vec<(ShardId, Sequence)>,
    duplicate: bool,
    duplicates: usize,
}

impl Ack {
    /// The segments that hold the ops, one for each shard that got some of them.
    pub fn segments(&self) -> &[(ShardId, Sequence)] {
        &self.segments
    }

    /// Whether the collection held this source position already. Then nothing was appended.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }

    /// The number of ops that the collection held already. All others were appended.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }
}

/// Requests in flight, one for each shard.
pub(super) struct Handed(pub(super) Vec<(ShardId, oneshot::Receiver<Result<Answer>>)>);

impl Handed {
    pub(super) async fn wait(self) -> Result<Ack> {
        let mut segments = Vec::with_capacity(self.0.len());
        let (mut placed, mut failure): (_, Option<Error>) = (0, None);
        let mut passed: Option<Error> = None;
        let mut duplicates = 0;
        for (shard, answer) in self.0 {
            match answer.await.unwrap_or_else(|_| Err(Repr::Closed.into())) {
                Ok(answer) => {
                    if let AppendResult::At(sequence) = answer.result {
                        segments.push((shard, sequence));
                    }
                    placed += 1;
                    duplicates += answer.duplicates;
                }
                // The refusal repeats each time, also after the rest has landed.
                Err(error) if matches!(error.repr(), Repr::SourcePassed { .. }) => passed = Some(error),
                // Another shard's outcome is unknown, which outweighs this shard's certain failure.
                Err(_) if failure.as_ref().is_some_and(|failure| failure.kind() == ErrorKind::Unknown) => {}
                Err(error) => failure = Some(error),
            }
        }
        match failure.or(passed) {
            None => Ok(Ack { duplicate: segments.is_empty() && placed > 0, segments, duplicates }),
            Some(error) if placed == 0 || matches!(error.repr(), Repr::SourcePassed { .. }) => Err(error),
            Some(error) => {
                let what = "an append to several shards, of which some have its ops,".to_owned();
                Err(Repr::Unknown { what, error: error.to_string() }.into())
            }
        }
    }
}
