//! Which source positions a log holds already.

use std::collections::HashMap;

use deltafold_format::{Manifest, Segment, Sequence};

use crate::simulation::Guard;

/// How many source marks a manifest carries; the one seen longest ago goes first.
pub(crate) const MAX_MARKS: usize = 1_024;
/// Marks under such names are no sources: they note dates.
pub(crate) const CLOCK_SOURCE: &str = "clock/";

/// The highest position of each source, and where it was seen. As in a manifest, those seen longest ago are forgotten when there are too many.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<String, (u128, Sequence)>);

impl Marks {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut marks = Self::default();
        for mark in &manifest.marks {
            marks.add(&mark.source, mark.position, mark.sequence);
        }
        marks
    }

    pub(super) fn learn(&mut self, segment: &Segment) {
        let header = segment.header();
        for mark in &header.marks {
            self.add(&mark.source, mark.position, header.sequence);
        }
    }

    pub(super) fn add(&mut self, source: &str, position: u128, sequence: Sequence) {
        match self.0.get_mut(source) {
            Some(known) => *known = (known.0.max(position), known.1.max(sequence)),
            None => drop(self.0.insert(source.to_owned(), (position, sequence))),
        }
        if self.0.len() > 2 * MAX_MARKS {
            let mut seen: Vec<Sequence> = self.0.values().map(|known| known.1).collect();
            seen.sort_unstable();
            let oldest = seen.get(seen.len() - MAX_MARKS).copied().unwrap_or_default();
            self.0.retain(|_, known| known.1 >= oldest);
        }
    }

    /// Whether the log holds this position, or a later one, of the source.
    pub(super) fn hold(&self, source: &str, position: u128) -> bool {
        self.0.get(source).is_some_and(|known| known.0 >= position) && Guard::SourceMarks.holds()
    }
}
