//! Changes that say where they stand: which of them a log holds, which may still come, and which came too late.
//!
//! A source's changes have an order, by their positions, and it matters record by record. So a log remembers of a source the highest position, and of its last changes two things: which they were, and of each
//! record which was the last. All of it stands among the marks, under names of its own:
//!
//! | mark | position |
//! |---|---|
//! | `changes/SOURCE` | the highest that the log holds |
//! | `change/S/r-R` | the highest that it holds of a record; `R` is the hash of its id, `S` that of the source |
//! | `change/S/c-P` | a change that it holds; `P` is the hash of its position |
//! | `change/S` | up to here, marks of records may have been forgotten |
//!
//! Hashes have 64 bits. Two that collide never make a change a repetition, as that takes the same position too: at worst one is refused that might have been taken.

use deltafold_format::limits::MAX_SOURCE_BYTES;
use xxhash_rust::xxh3::xxh3_64;

/// What the marks of sources of changes begin with.
pub(crate) const SOURCE: &str = "changes/";
/// What all other marks of changes begin with.
pub(crate) const CHANGE: &str = "change/";
/// Longest name of a source of changes, in bytes.
pub(crate) const MAX_ORIGIN_BYTES: usize = MAX_SOURCE_BYTES - SOURCE.len();
/// How many marks of changes are remembered; those of the changes held longest go first.
pub(crate) const MAX_CHANGE_MARKS: usize = 1_024;

/// Where a change comes from: a source, and its position there. A position names one change of its source, and what happened to a record later has a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The source: a shard of a stream, a table, a program.
    pub source: String,
    /// The position in it.
    pub position: u128,
}

/// Whether a mark is one of a change, and of which source: then the name of the mark that says up to where those have been forgotten.
pub(crate) fn floor_of(mark: &str) -> Option<&str> {
    let rest = mark.strip_prefix(CHANGE)?;
    let (source, _) = rest.split_once('/')?;
    mark.get(..CHANGE.len() + source.len())
}

/// The mark that says up to where changes of a source have been forgotten, by the mark of the source.
pub(crate) fn floor_of_source(mark: &str) -> Option<String> {
    mark.strip_prefix(SOURCE).map(floor)
}

fn floor(source: &str) -> String {
    format!("{CHANGE}{:016x}", xxh3_64(source.as_bytes()))
}

/// What a log has to know of a change.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) position: u128,
    /// The mark of its source.
    pub(super) source: String,
    floor: String,
    itself: String,
    records: Vec<String>,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The log does not hold it, nor anything of its records that comes behind it.
    New,
    /// The log holds it.
    Held,
    /// The log holds what comes behind it, and cannot tell whether it holds it.
    Passed,
}

impl Trace {
    /// Of a change of these records.
    pub(super) fn new<'a>(origin: &Origin, ids: impl Iterator<Item = &'a str>) -> Self {
        let floor = floor(&origin.source);
        let mut records: Vec<String> = ids.map(|id| format!("{floor}/r-{:016x}", xxh3_64(id.as_bytes()))).collect();
        records.sort_unstable();
        records.dedup();
        let itself = format!("{floor}/c-{:016x}", xxh3_64(&origin.position.to_le_bytes()));
        Self { position: origin.position, source: format!("{SOURCE}{}", origin.source), floor, itself, records }
    }

    /// The marks that say that a log holds it. All of them have its position.
    pub(super) fn marks(&self) -> impl Iterator<Item = &str> {
        [&self.source, &self.itself].into_iter().chain(&self.records).map(String::as_str)
    }

    /// What is to be done with it, by the positions of the marks.
    ///
    /// A change is dropped only where a mark of its own says that it is held, and appended only where the log is known to hold neither it nor a later one of any of its records: one above all positions of its
    /// source, or one above the last of each of its records, where none of these can have been forgotten.
    pub(super) fn judge(&self, position_of: impl Fn(&str) -> Option<u128>) -> Verdict {
        let own = self.position;
        let highest = position_of(&self.source);
        if highest == Some(own) || position_of(&self.itself) == Some(own) {
            return Verdict::Held;
        }
        let last: Vec<Option<u128>> = self.records.iter().map(|record| position_of(record)).collect();
        if last.contains(&Some(own)) {
            return Verdict::Held;
        }
        if last.iter().flatten().any(|last| *last > own) {
            return Verdict::Passed;
        }
        let is_known = position_of(&self.floor).is_none_or(|floor| floor < own) || last.iter().all(Option::is_some);
        if highest.is_none_or(|highest| highest < own) || is_known { Verdict::New } else { Verdict::Passed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A log's marks, without bounds unless some are forgotten.
    #[derive(Default)]
    struct Log(BTreeMap<String, u128>);

    impl Log {
        fn trace(position: u128, ids: &[&str]) -> Trace {
            Trace::new(&Origin { source: "s".to_owned(), position }, ids.iter().copied())
        }

        fn judge(&self, position: u128, ids: &[&str]) -> Verdict {
            Self::trace(position, ids).judge(|mark| self.0.get(mark).copied())
        }

        fn append(&mut self, position: u128, ids: &[&str]) {
            for mark in Self::trace(position, ids).marks() {
                let known = self.0.entry(mark.to_owned()).or_default();
                *known = position.max(*known);
            }
        }

        fn forget(&mut self, of: &str) {
            let is_forgotten = |mark: &&String| floor_of(mark).is_some() && mark.contains(of);
            let forgotten: Vec<String> = self.0.keys().filter(is_forgotten).cloned().collect();
            for mark in forgotten {
                let floor = floor_of(&mark).unwrap().to_owned();
                let position = self.0.remove(&mark).unwrap();
                let known = self.0.entry(floor).or_default();
                *known = position.max(*known);
            }
        }
    }

    #[test]
    fn a_change_is_new_held_or_passed() {
        let mut log = Log::default();
        assert_eq!(log.judge(5, &["a"]), Verdict::New);
        log.append(5, &["a"]);
        log.append(7, &["b", "c"]);
        for (position, ids, verdict) in [
            (8, &["a"][..], Verdict::New),
            (7, &["b", "c"], Verdict::Held),
            // Part of a change in another shard, of which this one holds the rest.
            (7, &["c"], Verdict::Held),
            (5, &["a"], Verdict::Held),
            // Late, but in order: nothing later of its record came.
            (6, &["a"], Verdict::New),
            (6, &["d"], Verdict::New),
            (4, &["a"], Verdict::Passed),
            (6, &["a", "b"], Verdict::Passed),
        ] {
            assert_eq!(log.judge(position, ids), verdict, "{position} {ids:?}");
        }
        // One that is held stays so though a later one of its record came.
        log.append(9, &["a"]);
        assert_eq!(log.judge(5, &["a"]), Verdict::Held);
    }

    #[test]
    fn what_is_forgotten_is_refused_and_never_guessed() {
        let mut log = Log::default();
        log.append(5, &["a"]);
        log.append(7, &["b"]);
        log.forget("/");
        assert!(!log.0.keys().any(|mark| floor_of(mark).is_some()));
        assert_eq!(log.judge(5, &["a"]), Verdict::Passed, "nobody knows whether it is held");
        assert_eq!(log.judge(6, &["a"]), Verdict::Passed);
        assert_eq!(log.judge(8, &["a"]), Verdict::New);
    }

    proptest::proptest! {
        /// Whatever is sent in whatever order, again and again, while marks are forgotten: no change is applied twice, none behind a later one of its record, and none is
        /// said to be held that is not.
        #[test]
        fn changes(steps in proptest::collection::vec((0u128..12, proptest::bool::weighted(0.2)), 1..80)) {
            let mut log = Log::default();
            let mut held: Vec<u128> = Vec::new();
            for (position, forget) in steps {
                // Each change is of the same records whenever it comes.
                let ids: &[&str] = [&["a"][..], &["b"], &["a", "c"], &["c"]][(position % 4) as usize];
                if forget {
                    log.forget(["r-", "c-", "/"][(position % 3) as usize]);
                }
                match log.judge(position, ids) {
                    Verdict::New => {
                        proptest::prop_assert!(!held.contains(&position), "{} twice", position);
                        let shares = |other: &u128| {
                            let others: &[&str] = [&["a"][..], &["b"], &["a", "c"], &["c"]][(other % 4) as usize];
                            others.iter().any(|id| ids.contains(id))
                        };
                        proptest::prop_assert!(!held.iter().any(|other| *other > position && shares(other)));
                        held.push(position);
                        log.append(position, ids);
                    }
                    Verdict::Held => proptest::prop_assert!(held.contains(&position)),
                    Verdict::Passed => {}
                }
            }
        }
    }
}
