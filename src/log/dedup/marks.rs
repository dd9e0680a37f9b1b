//! High-water marks: the positions of producers that a log holds already.

use std::collections::{HashMap, HashSet};

use deltafold_format::{Manifest, SegmentHeader, Sequence};

use super::change::{CHANGE, MAX_CHANGE_MARKS, eviction_watermark_of, eviction_watermark_of_source};
use crate::simulation::Guard;

/// High-water marks that a manifest carries. The one seen longest ago goes first.
pub(crate) const MAX_MARKS: usize = 1_024;
/// Marks under such names have no producer: they record dates.
pub(crate) const CLOCK_SOURCE: &str = "clock/";

/// The highest position of each producer, and the slot where it was seen. As in a manifest, those
/// seen longest ago are evicted if there are too many.
#[derive(Debug, Default)]
pub(in crate::log) struct HighWaterMarks {
    sources: HashMap<String, (u128, Sequence)>,
    /// Marks of changes. They are many and would evict the producers.
    changes: HashMap<String, (u128, Sequence)>,
}

impl HighWaterMarks {
    pub(in crate::log) fn of(manifest: &Manifest) -> Self {
        let mut marks = Self::default();
        for mark in &manifest.marks {
            marks.add(&mark.source, mark.position, mark.sequence);
        }
        marks
    }

    pub(in crate::log) fn learn(&mut self, header: &SegmentHeader) {
        for mark in &header.marks {
            self.add(&mark.source, mark.position, header.sequence);
        }
    }

    pub(in crate::log) fn add(&mut self, source: &str, position: u128, sequence: Sequence) {
        if eviction_watermark_of(source).is_some() {
            note(&mut self.changes, source, position, sequence);
            if self.changes.len() > 2 * MAX_CHANGE_MARKS {
                self.forget_changes();
            }
            return;
        }
        note(&mut self.sources, source, position, sequence);
        if self.sources.len() > 2 * MAX_MARKS {
            let oldest = oldest_kept(&self.sources, MAX_MARKS);
            // While a source is known, the eviction watermark of its changes is known, too.
            let kept = self.sources.iter().filter(|(_, known)| known.1 >= oldest);
            let watermarks: HashSet<String> =
                kept.filter_map(|(source, _)| eviction_watermark_of_source(source)).collect();
            self.sources.retain(|source, known| {
                if source.starts_with(CHANGE) { watermarks.contains(source) } else { known.1 >= oldest }
            });
        }
    }

    fn forget_changes(&mut self) {
        let oldest = oldest_kept(&self.changes, MAX_CHANGE_MARKS);
        let forgotten: Vec<_> = self.changes.extract_if(|_, known| known.1 < oldest).collect();
        for (mark, (position, sequence)) in forgotten {
            if let Some(watermark) = eviction_watermark_of(&mark) {
                note(&mut self.sources, watermark, position, sequence);
            }
        }
    }

    /// The highest position of a mark.
    pub(in crate::log) fn position(&self, mark: &str) -> Option<u128> {
        self.changes.get(mark).or_else(|| self.sources.get(mark)).map(|known| known.0)
    }

    /// Whether the log holds this position, or a later one, of the producer.
    pub(in crate::log) fn hold(&self, source: &str, position: u128) -> bool {
        self.sources.get(source).is_some_and(|known| known.0 >= position) && Guard::SourceMarks.holds()
    }
}

fn note(marks: &mut HashMap<String, (u128, Sequence)>, source: &str, position: u128, sequence: Sequence) {
    match marks.get_mut(source) {
        Some(known) => *known = (known.0.max(position), known.1.max(sequence)),
        None => drop(marks.insert(source.to_owned(), (position, sequence))),
    }
}

/// The earliest slot of the `most` marks seen last.
fn oldest_kept(marks: &HashMap<String, (u128, Sequence)>, most: usize) -> Sequence {
    let mut seen: Vec<Sequence> = marks.values().map(|known| known.1).collect();
    seen.sort_unstable();
    seen.len().checked_sub(most).and_then(|at| seen.get(at)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    /// The changes seen longest ago are evicted first, and the watermark of the eviction is kept. A
    /// change below it is late, and must not pass as new.
    #[test]
    fn evicted_changes_leave_a_watermark() {
        let floor = format!("{CHANGE}{:016x}", 7);
        let mark = |number: u64| format!("{floor}/{number:016x}");
        let twice = 2 * MAX_CHANGE_MARKS as u64;
        let mut marks = HighWaterMarks::default();
        for number in 1..=twice {
            marks.add(&mark(number), number.into(), sequence(number));
        }
        assert!((1..=twice).all(|number| marks.position(&mark(number)) == Some(number.into())));
        assert_eq!(marks.position(&floor), None);
        marks.add(&mark(twice + 1), u128::from(twice) + 1, sequence(twice + 1));
        let kept = twice + 2 - MAX_CHANGE_MARKS as u64;
        for number in 1..=twice + 1 {
            assert_eq!(marks.position(&mark(number)), (number >= kept).then_some(number.into()), "{number}");
        }
        assert_eq!(marks.position(&floor), Some(u128::from(kept) - 1));
    }

    #[test]
    fn the_oldest_sources_are_forgotten() {
        let twice = 2 * MAX_MARKS as u64;
        let mut marks = HighWaterMarks::default();
        for number in 1..=twice {
            marks.add(&format!("source/{number}"), number.into(), sequence(number));
        }
        assert!((1..=twice).all(|number| marks.hold(&format!("source/{number}"), number.into())));
        marks.add(&format!("source/{}", twice + 1), u128::from(twice) + 1, sequence(twice + 1));
        let kept = twice + 2 - MAX_MARKS as u64;
        for number in 1..=twice + 1 {
            assert_eq!(marks.hold(&format!("source/{number}"), number.into()), number >= kept, "{number}");
            assert!(!marks.hold(&format!("source/{number}"), u128::from(number) + 1));
        }
    }
}
