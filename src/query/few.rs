//! Objects of which a filter leaves few rows. These rows are read in f32 by range, and no codes are
//! fetched to rule them out.

use std::sync::Arc;

use super::base::Indexed;
use super::bits::ones;
use super::owner::Selection;
use super::probe::Probe;
use super::refine::spans;

/// Most rows of an object that are read this way.
const ROWS: usize = 256;

/// Most ranges that hold them: more requests cost more than the codes of the object.
const SPANS: usize = 8;

/// The rows of an object that some query selects, ascending; `None` if they are many, or a query
/// has no filter.
pub(super) fn few(rows: &Indexed, shard: u16, probes: &[Probe], row_bytes: usize) -> Option<Vec<u32>> {
    let mut filters: Vec<&Arc<Vec<Selection>>> = Vec::new();
    for probe in probes {
        let selections = probe.selections.as_ref()?;
        if !filters.iter().any(|known| Arc::ptr_eq(known, selections)) {
            filters.push(selections);
        }
    }
    let mut selected = Vec::new();
    for number in 0..rows.words() {
        let of_filter = |filter: &&Arc<Vec<Selection>>| {
            filter.get(usize::from(shard)).map_or(0, |selection| rows.selected(number, selection))
        };
        let word = filters.iter().map(of_filter).fold(0, |all, word| all | word);
        selected.extend(ones(word).filter_map(|bit| Some((0, u32::try_from(number * 64 + bit).ok()?))));
        if selected.len() > ROWS {
            return None;
        }
    }
    let is_near = spans(&selected, row_bytes).len() <= SPANS;
    is_near.then(|| selected.into_iter().map(|(_, row)| row).collect())
}
