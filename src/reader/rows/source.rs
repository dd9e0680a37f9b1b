//! One source of rows, and its place in the walk.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{PartEntry, PartMeta};

use super::super::layer::Layer;
use super::super::range::IdRange;
use super::super::unread::Unread;

/// A run, a layer of the log, or segments in the temporary file.
#[derive(Debug)]
pub(super) enum Source {
    Run {
        run: usize,
        /// The parts not begun yet.
        parts: Range<usize>,
        /// The current part, and its rows not passed yet.
        current: Option<(Arc<PartMeta>, Range<usize>)>,
        /// The number of the current part.
        number: usize,
        /// The first id of the next part, if it is known to be in range.
        next: Option<String>,
    },
    Log {
        layer: Arc<Layer>,
        ops: Range<usize>,
    },
    /// Segments in the temporary file, which count among the runs.
    Unread {
        unread: Arc<Unread>,
        ops: Range<usize>,
    },
}

impl Source {
    /// The next id. A part that was not read and may begin before the range has an empty one, which
    /// is always due.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Run { current, parts, next, .. } => match current.as_ref().filter(|(_, rows)| !rows.is_empty()) {
                Some((part, rows)) => Some(part.id(rows.start)),
                None => (!parts.is_empty()).then(|| next.as_deref().unwrap_or_default()),
            },
            Self::Log { layer, ops } => (!ops.is_empty()).then(|| layer.id(ops.start)),
            Self::Unread { unread, ops } => (!ops.is_empty()).then(|| unread.id(ops.start)),
        }
    }

    /// The bytes of the next id.
    pub(super) fn id_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Run { current: Some((part, rows)), .. } if !rows.is_empty() => Some(part.id_bytes(rows.start)),
            other => other.id().map(str::as_bytes),
        }
    }

    /// Whether its next id belongs to a part that was not read.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Run { current, .. } => current.as_ref().is_none_or(|(_, rows)| rows.is_empty()),
            Self::Log { .. } | Self::Unread { .. } => false,
        }
    }
}

/// The first of ascending rows whose id is not below some id. Searches near the start first,
/// because stretches may be short.
pub(super) fn first_not_below(rows: Range<usize>, is_below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (rows.start, 1);
    while low < rows.end && is_below(low) {
        let next = low.saturating_add(step).min(rows.end);
        if next == rows.end || !is_below(next) {
            let (mut low, mut high) = (low + 1, next);
            while low < high {
                let middle = low.midpoint(high);
                if is_below(middle) { low = middle + 1 } else { high = middle }
            }
            return low;
        }
        low = next;
        step = step.saturating_mul(2);
    }
    low
}

/// The first id of the first of `parts`, if it is in range.
pub(super) fn next_id(entries: &[PartEntry], parts: &Range<usize>, range: &IdRange) -> Option<String> {
    let entry = entries.get(parts.start).filter(|_| !parts.is_empty())?;
    (range.place(&entry.min_id) == Ordering::Equal).then(|| entry.min_id.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stretch_ends_at_the_first_id_of_another_source(start in 0..200_usize, len in 0..200_usize, limit in 0..420_usize) {
            let rows = start..start + len;
            let expected = rows.clone().find(|row| *row >= limit).unwrap_or(rows.end);
            let found = first_not_below(rows.clone(), |row| {
                assert!(rows.contains(&row), "row {row} of {rows:?}");
                row < limit
            });
            prop_assert_eq!(found, expected);
        }
    }
}
