//! The names in a log, listed before the head of its shard is read.
//!
//! A slot that a listing did not show was empty at some moment of the listing. A sweep publishes
//! the log start before it deletes. So a head that is read afterwards, and starts the log at or
//! below the slot, proves that no writer had taken the slot by then. The log ends there, and no
//! second look at the head is needed. The order in which a store looks at names does not matter,
//! and neither does a deletion meanwhile.

use deltafold_format::{ObjectName, Sequence};

use crate::error::Result;
use crate::layout::ShardLayout;
use crate::retry;
use crate::store::Store;

/// Names listed at most. More take longer than the request that they may save.
const NAMES: usize = 512;

/// The names of a log and of the manifests that follow it, as far as one LIST tells them.
#[derive(Debug)]
pub(crate) struct Names {
    /// Ascending, with the length of each object.
    segments: Vec<(Sequence, u64)>,
    /// Whether the log has no others.
    whole: bool,
    newest: Option<ObjectName>,
}

impl Names {
    /// Lists them. One LIST.
    pub(crate) async fn list(store: &dyn Store, layout: &ShardLayout) -> Result<Self> {
        // Manifests follow the log in the order of keys. A local folder has a list for each, and
        // its requests are cheap.
        let prefix = if store.maps_objects() { layout.log_prefix() } else { layout.prefix() };
        let from = layout.segment(Sequence::ZERO);
        let page = retry::transient(|| store.list_after(&prefix, Some(&from), NAMES)).await?;
        let last = page.last().filter(|_| page.len() >= NAMES);
        let is_whole = |of: &str| last.is_none_or(|last| !last.key.as_str().starts_with(of));
        let whole = is_whole(&layout.log_prefix());
        let all_manifests = whole && is_whole(&layout.manifest_prefix());
        let segments = page.iter().filter_map(|listed| Some((layout.parse_segment(&listed.key)?, listed.bytes)));
        let manifests = page.iter().filter_map(|listed| layout.parse_manifest(&listed.key));
        Ok(Self { segments: segments.collect(), whole, newest: manifests.max().filter(|_| all_manifests) })
    }

    /// The manifest of the highest version: as a rule the one that the head names.
    pub(crate) fn newest_manifest(&self) -> Option<ObjectName> {
        self.newest
    }

    /// The segments behind the last one folded, by a head that was read after the names. `None`
    /// where the names do not tell them: there are too many, or one does not join on.
    pub(crate) fn behind(&self, folded: Sequence) -> Option<&[(Sequence, u64)]> {
        let first = self.segments.partition_point(|(sequence, _)| *sequence <= folded);
        let segments = self.segments.get(first..).unwrap_or_default();
        let joins = |(at, (sequence, _)): (u64, &(Sequence, u64))| sequence.get() == folded.get() + 1 + at;
        let known = self.whole && (0..).zip(segments).all(joins);
        known.then_some(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    #[test]
    fn names_tell_a_log_without_gaps() {
        let names = |slots: &[u64], whole| Names {
            segments: slots.iter().map(|number| (slot(*number), 100)).collect(),
            whole,
            newest: None,
        };
        let behind = |slots: &[u64], folded| {
            let names = names(slots, true);
            Some(names.behind(slot(folded))?.iter().map(|(sequence, _)| sequence.get()).collect::<Vec<_>>())
        };
        assert_eq!(behind(&[], 0), Some(vec![]));
        assert_eq!(behind(&[1, 2, 3], 0), Some(vec![1, 2, 3]));
        // A sweep left the last segment folded.
        assert_eq!(behind(&[7], 7), Some(vec![]));
        assert_eq!(behind(&[7, 8, 9], 7), Some(vec![8, 9]));
        // Folded since the names were listed.
        assert_eq!(behind(&[7], 9), Some(vec![]));
        assert_eq!(behind(&[3, 7, 8], 7), Some(vec![8]));
        assert_eq!(behind(&[7, 9], 7), None);
        assert_eq!(behind(&[9], 7), None);
        assert!(names(&[7], false).behind(slot(7)).is_none());
    }
}
