//! The range of ids that a scan reads.

use std::cmp::Ordering;
use std::ops::{Bound, Range};

use deltafold_format::PartEntry;

/// A range of ids: those with the prefix `prefix` and between the bounds, in byte order.
#[derive(Debug, Clone)]
pub(crate) struct IdRange {
    pub(super) prefix: Option<String>,
    pub(super) start: Bound<String>,
    pub(super) end: Bound<String>,
}

impl IdRange {
    /// Every id.
    pub(crate) const ALL: Self = Self { prefix: None, start: Bound::Unbounded, end: Bound::Unbounded };

    /// Whether it may exclude ids.
    pub(super) fn is_narrow(&self) -> bool {
        self.prefix.is_some() || self.start != Bound::Unbounded || self.end != Bound::Unbounded
    }

    /// The place of an id: before the range (`Less`), in it, or behind it. Ascends with the id.
    pub(super) fn place(&self, id: &str) -> Ordering {
        let before = match &self.start {
            Bound::Unbounded => false,
            Bound::Included(start) => id < start.as_str(),
            Bound::Excluded(start) => id <= start.as_str(),
        };
        let prefix = self.prefix.as_deref().unwrap_or("");
        if before || id < prefix {
            return Ordering::Less;
        }
        let behind = match &self.end {
            Bound::Unbounded => false,
            Bound::Included(end) => id > end.as_str(),
            Bound::Excluded(end) => id >= end.as_str(),
        };
        if behind || !id.starts_with(prefix) { Ordering::Greater } else { Ordering::Equal }
    }

    /// The rows in range of a sorted list of `len` ids.
    pub(super) fn rows<'a>(&self, len: usize, id: impl Fn(usize) -> &'a str) -> Range<usize> {
        let first = |beyond: &dyn Fn(Ordering) -> bool| {
            let (mut low, mut high) = (0, len);
            while low < high {
                let middle = low + (high - low) / 2;
                if beyond(self.place(id(middle))) { high = middle } else { low = middle + 1 }
            }
            low
        };
        first(&|place| place != Ordering::Less)..first(&|place| place == Ordering::Greater)
    }

    /// The parts of a run that may hold ids in range.
    pub(super) fn parts(&self, parts: &[PartEntry]) -> Range<usize> {
        let start = parts.partition_point(|part| self.place(&part.max_id) == Ordering::Less);
        let end = parts.partition_point(|part| self.place(&part.min_id) != Ordering::Greater);
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound() -> impl Strategy<Value = Bound<String>> {
        prop_oneof![
            Just(Bound::Unbounded),
            "[a-cä]{0,2}".prop_map(Bound::Included),
            "[a-cä]{0,2}".prop_map(Bound::Excluded),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_range_holds_the_ids_between_its_bounds(
            prefix in proptest::option::of("[a-cä]{0,2}"),
            start in bound(),
            end in bound(),
            ids in proptest::collection::btree_set("[a-cä]{1,3}", 0..20),
        ) {
            let ids: Vec<String> = ids.into_iter().collect();
            let range = IdRange { prefix: prefix.clone(), start: start.clone(), end: end.clone() };
            let expected: Vec<&String> = ids.iter().filter(|id| {
                use std::ops::RangeBounds;
                (start.clone(), end.clone()).contains(*id) && id.starts_with(prefix.as_deref().unwrap_or(""))
            }).collect();
            let rows = range.rows(ids.len(), |at| ids[at].as_str());
            prop_assert_eq!(ids[rows].iter().collect::<Vec<_>>(), expected);
        }
    }
}
