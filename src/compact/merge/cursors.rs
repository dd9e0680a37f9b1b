//! The runs of a merge, read together in the order of their ids.

use std::cmp::Ordering;

use deltafold_format::{PartEntry, PartMeta, Run};

/// A run being read in id order, part by part.
pub(super) struct Cursor<'a> {
    /// The part being read, and those after it.
    pub(super) parts: &'a [PartEntry],
    /// The first of `parts`, once a row of it is needed.
    pub(super) loaded: Option<PartMeta>,
    /// The next row of the first of `parts`, always below its number of rows.
    pub(super) row: usize,
    /// The number of its input, counted from the oldest. The output's parts follow the parts of
    /// that one.
    pub(super) number: usize,
}

impl<'a> Cursor<'a> {
    fn new(run: &'a Run, number: usize) -> Self {
        Self { parts: &run.parts, loaded: None, row: 0, number }
    }

    /// The bytes of the current id. A text would be checked at each comparison.
    fn id(&self) -> Option<&[u8]> {
        match &self.loaded {
            Some(part) => Some(part.id_bytes(self.row)),
            None => self.parts.first().map(|entry| entry.min_id.as_bytes()),
        }
    }

    /// The next part, if no row of it was read yet and all its ids are below `limit`.
    pub(super) fn whole_part_below(&self, limit: Option<&[u8]>) -> Option<&'a PartEntry> {
        let below = |entry: &&PartEntry| limit.is_none_or(|limit| entry.max_id.as_bytes() < limit);
        self.parts.first().filter(|_| self.row == 0).filter(below)
    }

    /// The first row of the part, from the current one on, whose id is not below `limit`. It is
    /// near as a rule, so the search begins at the current row.
    pub(super) fn find(&self, part: &PartMeta, limit: &[u8]) -> usize {
        let below = |row: usize| row < part.rows() && part.id_bytes(row) < limit;
        let mut step = 1;
        let mut from = self.row;
        while below(from + step) {
            from += step;
            step *= 2;
        }
        // `from` lies below the limit and `from + step` does not.
        while step > 1 {
            step /= 2;
            if below(from + step) {
                from += step;
            }
        }
        from + 1
    }

    pub(super) fn next_part(&mut self) {
        self.parts = self.parts.get(1..).unwrap_or_default();
        self.loaded = None;
        self.row = 0;
    }

    pub(super) fn advance(&mut self) {
        self.row += 1;
        if self.loaded.as_ref().is_none_or(|part| self.row >= part.rows()) {
            self.next_part();
        }
    }
}

/// The cursors of a merge, kept in the order of their ids.
pub(super) struct Cursors<'a> {
    /// By id, those of one id by age. The finished ones come last.
    ordered: Vec<Cursor<'a>>,
    /// The number of them at the lowest id.
    lowest: usize,
}

impl<'a> Cursors<'a> {
    pub(super) fn new(inputs: &[&'a Run]) -> Self {
        let mut ordered: Vec<Cursor<'a>> = inputs.iter().enumerate().map(|(i, run)| Cursor::new(run, i)).collect();
        ordered.sort_by(Self::order);
        Self { ordered, lowest: 0 }
    }

    fn order(a: &Cursor<'_>, b: &Cursor<'_>) -> Ordering {
        match (a.id(), b.id()) {
            (Some(left), Some(right)) => left.cmp(right).then(a.number.cmp(&b.number)),
            (left, right) => left.is_none().cmp(&right.is_none()),
        }
    }

    /// The cursors that stand at the lowest id, oldest run first, and the lowest id of the others.
    pub(super) fn lowest(&mut self) -> Option<(&mut [Cursor<'a>], Option<&[u8]>)> {
        let (first, others) = self.ordered.split_first()?;
        let id = first.id()?;
        self.lowest = 1 + others.iter().take_while(|cursor| cursor.id() == Some(id)).count();
        let (lowest, others) = self.ordered.split_at_mut(self.lowest);
        Some((lowest, others.first().and_then(Cursor::id)))
    }

    /// Sorts in again the cursors that stood at the lowest id and have moved on. Most stay near, so
    /// the search for their place begins there.
    pub(super) fn reorder(&mut self) {
        for moved in (0..self.lowest).rev() {
            let after = self.ordered.get(moved + 1..).unwrap_or_default();
            let cursor = &self.ordered[moved];
            let is_before = |other: &Cursor<'_>| Self::order(other, cursor).is_lt();
            let mut end = 1;
            while after.get(end - 1).is_some_and(is_before) {
                end *= 2;
            }
            let near = after.get(end / 2..after.len().min(end - 1)).unwrap_or_default();
            let place = end / 2 + near.partition_point(is_before);
            self.ordered[moved..=moved + place].rotate_left(1);
        }
    }

    pub(super) fn oldest_parts_left(&self) -> usize {
        self.ordered.iter().find(|cursor| cursor.number == 0).map_or(0, |cursor| cursor.parts.len())
    }
}
