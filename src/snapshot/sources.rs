//! The marks of sources: their number, and their retention.
//!
//! A fold cannot date a mark: it knows the segment that carried it, not when that was written. So
//! from time to time a fold notes a date of the store's own clock and the last segment at that
//! date. A mark at or below a segment noted long enough ago belongs to a source that has been
//! silent for that long.
//!
//! Marks of single changes have bounds of their own. Where a fold forgets such a mark and keeps its
//! source, it notes the highest position forgotten: the eviction watermark.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use deltafold_format::{Manifest, Mark, Sequence, Timestamp};

use crate::log::{CLOCK_SOURCE, MAX_CHANGE_MARKS, MAX_MARKS, eviction_watermark_of, eviction_watermark_of_source};

/// The most dates noted. The oldest gives way.
const DATES: u128 = 16;

/// A sample of the store's clock, taken after the folded segments were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockSample {
    pub(crate) now: Timestamp,
    /// The retention of silent sources.
    pub(crate) forget_after: Duration,
}

impl ClockSample {
    /// Whether to read the store's clock, at the cost of a request: no date was noted yet, or the
    /// last one long enough ago. `about` may be any clock: a wrong one costs requests, or prolongs
    /// the retention.
    pub(crate) fn is_due(manifest: &Manifest, about: Timestamp, forget_after: Duration) -> bool {
        // A first version has nothing old.
        manifest.version > deltafold_format::Version::ZERO
            && dates(manifest).map(|mark| mark.position).max().is_none_or(|last| {
                let (last, about) = (last, millis(about));
                about < last || about - last >= spacing(forget_after)
            })
    }
}

fn dates(manifest: &Manifest) -> impl Iterator<Item = &Mark> {
    manifest.marks.iter().filter(|mark| mark.source.starts_with(CLOCK_SOURCE))
}

fn millis(moment: Timestamp) -> u128 {
    u128::try_from(moment.as_millis()).unwrap_or(0)
}

/// The spacing of noted dates. All of them together reach back further than the retention.
fn spacing(forget_after: Duration) -> u128 {
    forget_after.as_millis() / (DATES - 1)
}

/// Merges the marks, with the higher position of each source. Beyond the limit it forgets the
/// sources seen longest ago, and raises `marks_floor` to the last of them.
pub(super) fn merge_marks(new: &mut Manifest, folded: &[Mark]) {
    let mut marks: BTreeMap<String, Mark> = new.marks.drain(..).map(|mark| (mark.source.clone(), mark)).collect();
    for mark in folded {
        let known = marks.entry(mark.source.clone()).or_insert_with(|| mark.clone());
        if mark.position > known.position {
            *known = mark.clone();
        }
        known.sequence = known.sequence.max(mark.sequence);
    }
    forget_changes(&mut marks, |changes| {
        changes.sort_by_key(|mark| mark.sequence);
        changes.len().saturating_sub(MAX_CHANGE_MARKS)
    });
    let (mut changes, mut marks): (Vec<Mark>, Vec<Mark>) =
        marks.into_values().partition(|mark| eviction_watermark_of(&mark.source).is_some());
    if let Some(excess) = marks.len().checked_sub(MAX_MARKS)
        && excess > 0
    {
        // A source goes before its eviction watermark.
        marks.sort_by_key(|mark| (mark.sequence, eviction_watermark_of_source(&mark.source).is_none()));
        let forgotten = marks.drain(..excess).map(|mark| mark.sequence).max();
        new.marks_floor = new.marks_floor.max(forgotten.unwrap_or_default());
    }
    marks.append(&mut changes);
    marks.sort_by(|a, b| a.source.cmp(&b.source));
    new.marks = marks;
}

/// Forgets changes: `choose` sorts them and returns how many of the first go. For each source it
/// notes the highest position forgotten, and keeps that note as long as the source.
fn forget_changes(marks: &mut BTreeMap<String, Mark>, choose: impl FnOnce(&mut Vec<&Mark>) -> usize) {
    let mut changes: Vec<&Mark> = marks.values().filter(|mark| eviction_watermark_of(&mark.source).is_some()).collect();
    let excess = choose(&mut changes);
    let forgotten: Vec<Mark> = changes.into_iter().take(excess).cloned().collect();
    for mark in forgotten {
        marks.remove(&mark.source);
        if let Some(floor) = eviction_watermark_of(&mark.source) {
            let known = marks.entry(floor.to_owned()).or_insert_with(|| Mark { source: floor.to_owned(), ..mark });
            known.position = known.position.max(mark.position);
            known.sequence = known.sequence.max(mark.sequence);
        }
    }
    let floors = marks.values().filter_map(|mark| Some((eviction_watermark_of_source(&mark.source)?, mark.sequence)));
    for (floor, sequence) in floors.collect::<HashMap<_, _>>() {
        if let Some(mark) = marks.get_mut(&floor) {
            mark.sequence = mark.sequence.max(sequence);
        }
    }
}

/// Forgets the sources that have been silent for too long, and notes the date.
pub(super) fn forget_silent(new: &mut Manifest, sample: ClockSample) {
    let (now, forget_after) = (millis(sample.now), sample.forget_after.as_millis());
    if let Some(bound) = now.checked_sub(forget_after) {
        let silent = dates(new).filter(|mark| mark.position < bound).map(|mark| mark.sequence).max();
        let silent = silent.unwrap_or(Sequence::ZERO);
        if silent > new.marks_floor {
            let mut marks: BTreeMap<String, Mark> =
                new.marks.drain(..).map(|mark| (mark.source.clone(), mark)).collect();
            forget_changes(&mut marks, |changes| {
                changes.sort_by_key(|mark| mark.sequence);
                changes.iter().take_while(|mark| mark.sequence <= silent).count()
            });
            new.marks = marks.into_values().filter(|mark| mark.sequence > silent).collect();
            new.marks_floor = silent;
        }
    }
    let noted: Vec<(u128, &str)> = dates(new).map(|mark| (mark.position, mark.source.as_str())).collect();
    let last = noted.iter().map(|(date, _)| *date).max();
    // A store whose clock steps back notes nothing until it has caught up, so that dates and
    // segments rise together.
    if now == 0 || last.is_some_and(|last| now < last || now - last < spacing(sample.forget_after)) {
        return;
    }
    let names = (0..DATES).map(|place| format!("{CLOCK_SOURCE}{place:02}"));
    let free = names.into_iter().find(|name| noted.iter().all(|(_, noted)| noted != name));
    let Some(source) = free.or_else(|| noted.iter().min().map(|(_, oldest)| (*oldest).to_owned())) else { return };
    new.marks.retain(|mark| mark.source != source);
    new.marks.push(Mark { source, position: now, sequence: new.folded });
    new.marks.sort_by(|a, b| a.source.cmp(&b.source));
}

#[cfg(test)]
mod tests {
    use deltafold_format::Uid;
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn sample(days: u64) -> ClockSample {
        let now = Timestamp::from_millis(i64::try_from(days * DAY * 1_000).unwrap());
        ClockSample { now, forget_after: Duration::from_secs(14 * DAY) }
    }

    fn sources(manifest: &Manifest) -> Vec<&str> {
        let names = manifest.marks.iter().map(|mark| mark.source.as_str());
        names.filter(|name| !name.starts_with(CLOCK_SOURCE)).collect()
    }

    fn position(manifest: &Manifest, source: &str) -> Option<u128> {
        manifest.marks.iter().find(|mark| mark.source == source).map(|mark| mark.position)
    }

    /// Applies to the marks a fold of one segment with ops of these sources.
    fn fold(manifest: &mut Manifest, names: &[String], sample: ClockSample) {
        let folded = manifest.folded.next();
        let position = u128::from(folded.get());
        let mut marks: Vec<Mark> =
            names.iter().map(|name| Mark { source: name.clone(), position, sequence: folded }).collect();
        marks.sort_by(|a, b| a.source.cmp(&b.source));
        marks.dedup();
        manifest.folded = folded;
        merge_marks(manifest, &marks);
        forget_silent(manifest, sample);
    }

    #[test]
    fn a_source_silent_for_the_retention_is_forgotten() {
        let mut manifest = Manifest::empty(Uid::new(1));
        let names = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        fold(&mut manifest, &names("a b"), sample(100));
        for day in 101..=114 {
            fold(&mut manifest, &names("b"), sample(day));
            assert_eq!(sources(&manifest), ["a", "b"], "day {day}");
        }
        fold(&mut manifest, &names("c"), sample(115));
        assert_eq!(sources(&manifest), ["b", "c"]);
        assert_eq!(manifest.marks_floor, Sequence::FIRST);
        // However much time has passed, only marks known to be old go.
        fold(&mut manifest, &names("c"), sample(1_000));
        assert_eq!(sources(&manifest), ["c"]);
    }

    /// Changes are many, and evict no source. The eviction watermark lasts as long as its source,
    /// however old it is.
    #[test]
    fn evicted_changes_leave_their_watermark() {
        let mut manifest = Manifest::empty(Uid::new(1));
        let floor = eviction_watermark_of_source("changes/s").unwrap();
        let last = MAX_CHANGE_MARKS as u64 + 10;
        fold(&mut manifest, &["quiet".to_owned()], sample(100));
        for change in 0..last {
            fold(&mut manifest, &["changes/s".to_owned(), format!("{floor}/c-{change}")], sample(100));
        }
        // Each position was that of its segment, and the first change was in the second segment.
        assert_eq!(position(&manifest, &floor), Some(11));
        assert_eq!(
            manifest.marks.iter().filter(|mark| eviction_watermark_of(&mark.source).is_some()).count(),
            MAX_CHANGE_MARKS
        );
        assert_eq!((position(&manifest, "quiet"), manifest.marks_floor), (Some(1), Sequence::ZERO));
        // The source goes on without another change of those records, day after day.
        for day in 101..140 {
            fold(&mut manifest, &["changes/s".to_owned()], sample(day));
        }
        assert_eq!(manifest.marks.iter().filter(|mark| eviction_watermark_of(&mark.source).is_some()).count(), 0);
        assert_eq!(position(&manifest, &floor), Some(u128::from(last) + 1), "the last of those that were forgotten");
        // Then it falls silent.
        for day in [141, 142, 160, 180] {
            fold(&mut manifest, &["other".to_owned()], sample(day));
        }
        assert_eq!(sources(&manifest), ["other"]);
    }

    /// Dates stand at least a spacing apart, so that all of them reach back further than the
    /// retention.
    #[test]
    fn a_date_is_noted_a_spacing_after_the_last() {
        let at = |millis: u128| ClockSample {
            now: Timestamp::from_millis(i64::try_from(millis).unwrap()),
            forget_after: Duration::from_secs(14 * DAY),
        };
        let apart = spacing(Duration::from_secs(14 * DAY));
        let mut manifest = Manifest::empty(Uid::new(1));
        for (millis, noted) in [(1_000, 1), (1_000 + apart - 1, 1), (1_000 + apart, 2), (1_000 + 2 * apart, 3)] {
            fold(&mut manifest, &[], at(millis));
            assert_eq!(dates(&manifest).count(), noted, "{millis}");
        }
    }

    #[test]
    fn no_clock_that_steps_back_forgets_anything() {
        let mut manifest = Manifest::empty(Uid::new(1));
        for day in [100, 50, 0, 99, 100, 113] {
            fold(&mut manifest, &[day.to_string()], sample(day));
        }
        assert_eq!(sources(&manifest).len(), 5, "{:?}", manifest.marks);
    }

    proptest! {
        /// For any folds in any order: a source heard of within the retention stays, and the dates
        /// are few. A source silent for a retention and two spacings before the last look goes.
        #[test]
        fn folds(steps in proptest::collection::vec((0u64..5, proptest::collection::vec(0usize..6, 0..3)), 1..80)) {
            let mut manifest = Manifest::empty(Uid::new(1));
            let mut heard: BTreeMap<String, u64> = BTreeMap::new();
            let mut looked: Vec<u64> = Vec::new();
            let mut day = 100;
            for (days, names) in steps {
                day += days;
                let names: Vec<String> = names.into_iter().map(|name| format!("s{name}")).collect();
                let before = manifest.clone();
                fold(&mut manifest, &names, sample(day));
                looked.push(day);
                heard.extend(names.into_iter().map(|name| (name, day)));
                for (name, last) in &heard {
                    let known = sources(&manifest).contains(&name.as_str());
                    if day - last <= 14 {
                        prop_assert!(known, "{} was heard on day {} and it is day {}", name, last, day);
                    }
                    // Some look came after it by at least the spacing, and is older than the
                    // retention.
                    if looked.iter().any(|look| *look >= last + 2 && look + 15 < day) {
                        prop_assert!(!known, "{} is silent since day {} and it is day {}", name, last, day);
                    }
                }
                for mark in &before.marks {
                    let now = manifest.marks.iter().find(|now| now.source == mark.source);
                    prop_assert!(now.map_or(mark.sequence <= manifest.marks_floor, |now| now.position >= mark.position));
                }
                prop_assert!(manifest.marks.is_sorted_by(|a, b| a.source < b.source));
                prop_assert!(dates(&manifest).count() <= 16);
            }
        }
    }
}
