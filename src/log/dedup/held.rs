//! A writer's knowledge of sources, for the model of the protocol.

use deltafold_format::{Manifest, Sequence};

use super::marks::HighWaterMarks;

/// The positions that a log holds.
#[derive(Debug, Default)]
pub(crate) struct Held(HighWaterMarks);

impl Held {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self(HighWaterMarks::of(manifest))
    }

    pub(crate) fn add(&mut self, source: &str, position: u128, sequence: Sequence) {
        self.0.add(source, position, sequence);
    }

    pub(crate) fn hold(&self, source: &str, position: u128) -> bool {
        self.0.hold(source, position)
    }
}
