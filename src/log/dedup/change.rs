//! Changes with a source and a position of their own. The log holds a change, or it may still come,
//! or it came too late.
//!
//! The positions of a source order its changes, and the order matters record by record. So a log
//! keeps the highest position of a source, its last changes, and the last change of each record.
//! All of them are high-water marks under names of their own:
//!
//! | mark | position |
//! |---|---|
//! | `changes/SOURCE` | the highest that the log holds |
//! | `change/S/r-R` | the highest that it holds of a record; `R` is the hash of its id, `S` that of the source |
//! | `change/S/c-P` | a change that it holds; `P` is the hash of its position |
//! | `change/S` | the eviction watermark: marks of records up to here may be gone |
//!
//! Hashes have 64 bits. A collision never makes a change pass as a repetition, because that takes
//! the same position, too. At worst it refuses a change that could have been appended.

use deltafold_format::limits::MAX_SOURCE_BYTES;
use xxhash_rust::xxh3::xxh3_64;

/// Prefix of the marks of sources of changes.
pub(crate) const SOURCE: &str = "changes/";
/// Prefix of all other marks of changes.
pub(crate) const CHANGE: &str = "change/";
/// Longest name of a source of changes, in bytes.
pub(crate) const MAX_CHANGE_SOURCE_BYTES: usize = MAX_SOURCE_BYTES - SOURCE.len();
/// Most marks of changes. Those seen longest ago are evicted first.
pub(crate) const MAX_CHANGE_MARKS: usize = 1_024;

/// The idempotency key of a change: its source, and its position there. A position identifies one
/// change of its source. Later changes of a record have higher positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The source: a shard of a stream, a table, a program.
    pub source: String,
    /// The position in it.
    pub position: u128,
}

/// The name of the eviction watermark of a mark of a change; `None` for other marks.
pub(crate) fn eviction_watermark_of(mark: &str) -> Option<&str> {
    let rest = mark.strip_prefix(CHANGE)?;
    let (source, _) = rest.split_once('/')?;
    mark.get(..CHANGE.len() + source.len())
}

/// The name of the eviction watermark of a source's mark.
pub(crate) fn eviction_watermark_of_source(mark: &str) -> Option<String> {
    mark.strip_prefix(SOURCE).map(watermark)
}

fn watermark(source: &str) -> String {
    format!("{CHANGE}{:016x}", xxh3_64(source.as_bytes()))
}

/// The dedup key of a change: the marks that identify it in a log.
#[derive(Debug, Clone)]
pub(in crate::log) struct DedupKey {
    pub(in crate::log) position: u128,
    /// The mark of its source.
    pub(in crate::log) source: String,
    watermark: String,
    itself: String,
    records: Vec<String>,
}

/// The decision on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Decision {
    /// The log holds neither it nor a later change of its records.
    New,
    /// The log holds it.
    Held,
    /// The log holds a later change, and cannot tell whether it holds this one.
    Passed,
}

impl DedupKey {
    /// The key of a change of these records.
    pub(in crate::log) fn new<'a>(key: &IdempotencyKey, ids: impl Iterator<Item = &'a str>) -> Self {
        let watermark = watermark(&key.source);
        let mut records: Vec<String> = ids.map(|id| format!("{watermark}/r-{:016x}", xxh3_64(id.as_bytes()))).collect();
        records.sort_unstable();
        records.dedup();
        let itself = format!("{watermark}/c-{:016x}", xxh3_64(&key.position.to_le_bytes()));
        Self { position: key.position, source: format!("{SOURCE}{}", key.source), watermark, itself, records }
    }

    /// The marks that it leaves in a log. All of them have its position.
    pub(in crate::log) fn marks(&self) -> impl Iterator<Item = &str> {
        [&self.source, &self.itself].into_iter().chain(&self.records).map(String::as_str)
    }

    /// Decides on the change by the positions of the marks.
    ///
    /// It is dropped only if a mark of its own is there. It is appended only if the log provably
    /// holds neither it nor a later one of its records. That is so in two cases. It lies above all
    /// positions of its source. Or it lies above the last position of each of its records, and none
    /// of these marks can have been evicted.
    pub(in crate::log) fn judge(&self, position_of: impl Fn(&str) -> Option<u128>) -> Decision {
        let own = self.position;
        let highest = position_of(&self.source);
        if highest == Some(own) || position_of(&self.itself) == Some(own) {
            return Decision::Held;
        }
        let last: Vec<Option<u128>> = self.records.iter().map(|record| position_of(record)).collect();
        if last.contains(&Some(own)) {
            return Decision::Held;
        }
        if last.iter().flatten().any(|last| *last > own) {
            return Decision::Passed;
        }
        let is_known =
            position_of(&self.watermark).is_none_or(|watermark| watermark < own) || last.iter().all(Option::is_some);
        if highest.is_none_or(|highest| highest < own) || is_known { Decision::New } else { Decision::Passed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A log's marks, unbounded unless some are evicted.
    #[derive(Default)]
    struct Log(BTreeMap<String, u128>);

    impl Log {
        fn key(position: u128, ids: &[&str]) -> DedupKey {
            DedupKey::new(&IdempotencyKey { source: "s".to_owned(), position }, ids.iter().copied())
        }

        fn judge(&self, position: u128, ids: &[&str]) -> Decision {
            Self::key(position, ids).judge(|mark| self.0.get(mark).copied())
        }

        fn append(&mut self, position: u128, ids: &[&str]) {
            for mark in Self::key(position, ids).marks() {
                let known = self.0.entry(mark.to_owned()).or_default();
                *known = position.max(*known);
            }
        }

        fn forget(&mut self, of: &str) {
            let is_forgotten = |mark: &&String| eviction_watermark_of(mark).is_some() && mark.contains(of);
            let forgotten: Vec<String> = self.0.keys().filter(is_forgotten).cloned().collect();
            for mark in forgotten {
                let floor = eviction_watermark_of(&mark).unwrap().to_owned();
                let position = self.0.remove(&mark).unwrap();
                let known = self.0.entry(floor).or_default();
                *known = position.max(*known);
            }
        }
    }

    #[test]
    fn a_change_is_new_held_or_passed() {
        let mut log = Log::default();
        assert_eq!(log.judge(5, &["a"]), Decision::New);
        log.append(5, &["a"]);
        log.append(7, &["b", "c"]);
        for (position, ids, verdict) in [
            (8, &["a"][..], Decision::New),
            (7, &["b", "c"], Decision::Held),
            // A change whose other records are in another shard.
            (7, &["c"], Decision::Held),
            (5, &["a"], Decision::Held),
            // Late, but in order: no later change of its record came.
            (6, &["a"], Decision::New),
            (6, &["d"], Decision::New),
            (4, &["a"], Decision::Passed),
            (6, &["a", "b"], Decision::Passed),
        ] {
            assert_eq!(log.judge(position, ids), verdict, "{position} {ids:?}");
        }
        // A held change stays held, even if a later one of its record came.
        log.append(9, &["a"]);
        assert_eq!(log.judge(5, &["a"]), Decision::Held);
    }

    #[test]
    fn a_forgotten_change_is_refused() {
        let mut log = Log::default();
        log.append(5, &["a"]);
        log.append(7, &["b"]);
        log.forget("/");
        assert!(!log.0.keys().any(|mark| eviction_watermark_of(mark).is_some()));
        assert_eq!(log.judge(5, &["a"]), Decision::Passed, "the marks do not tell whether it is held");
        assert_eq!(log.judge(6, &["a"]), Decision::Passed);
        assert_eq!(log.judge(8, &["a"]), Decision::New);
    }

    proptest::proptest! {
        /// Changes come in any order, repeatedly, while marks are evicted. No change is applied
        /// twice or behind a later one of its record. No change is acknowledged as held unless the
        /// log holds it.
        #[test]
        fn changes(steps in proptest::collection::vec((0u128..12, proptest::bool::weighted(0.2)), 1..80)) {
            let mut log = Log::default();
            let mut held: Vec<u128> = Vec::new();
            for (position, forget) in steps {
                // Each change has the same records whenever it comes.
                let ids: &[&str] = [&["a"][..], &["b"], &["a", "c"], &["c"]][(position % 4) as usize];
                if forget {
                    log.forget(["r-", "c-", "/"][(position % 3) as usize]);
                }
                match log.judge(position, ids) {
                    Decision::New => {
                        proptest::prop_assert!(!held.contains(&position), "{} twice", position);
                        let shares = |other: &u128| {
                            let others: &[&str] = [&["a"][..], &["b"], &["a", "c"], &["c"]][(other % 4) as usize];
                            others.iter().any(|id| ids.contains(id))
                        };
                        proptest::prop_assert!(!held.iter().any(|other| *other > position && shares(other)));
                        held.push(position);
                        log.append(position, ids);
                    }
                    Decision::Held => proptest::prop_assert!(held.contains(&position)),
                    Decision::Passed => {}
                }
            }
        }
    }
}
