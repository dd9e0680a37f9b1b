//! Compares the codes of some rows with queries.

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{EmbeddingSection, FormatError};

use super::bits::ones;
use super::kernel::{
    Bounds, ByteFactors, Estimates, GROUP, Kernel, Queries, QueryCodes, Rows, SignExtremes, SignFactors,
};
use super::nearest::{Nearest, Spot};
use super::owner::Selection;
use super::probe::{Probe, Unit};
use super::request::Exactness;

/// Rows compared at once; a multiple of [`GROUP`].
pub(crate) const TILE_ROWS: usize = 1_024;

/// If at most this part of rows is wanted, in eighths, only their codes of 8 bits are read. Among
/// more of them, memory is faster in its own order.
const FEW_BYTES: usize = 5;

/// The same for codes of one bit. Nearly all of them are in the cache, and gaps cost nothing.
const FEW_SIGNS: usize = 6;

/// If coarse dots leave more than one row in this many, fine dots of all rows cost less.
const OPEN: usize = 16;

/// Additional rows that coarse dots may leave to each query, because the reach is far at first.
const OPEN_AT_FIRST: usize = 1_024;

/// At least this many queries gain by the extremes of each group of rows. For fewer, they cost more
/// than they spare.
const MANY: usize = 16;

/// Queries with the same selection and the same exactness.
struct Group<'a> {
    exact: bool,
    /// Whether coarse dots come first, which rule out nearly all rows. The rows left then get fine
    /// ones.
    coarse: bool,
    /// Rows compared by coarse dots, and rows left by them, over all queries.
    compared: usize,
    left: usize,
    selections: Option<&'a Arc<Vec<Selection>>>,
    codes: Queries<'a>,
    sides: Vec<Side<'a>>,
}

/// One query of a group.
struct Side<'a> {
    /// The number of its probe.
    probe: usize,
    codes: &'a QueryCodes,
    coarse: Bounds,
    fine: Bounds,
    estimates: Estimates,
}

/// The buffers of one worker that compares codes, reused for each tile.
pub(crate) struct Tiles<'a> {
    kernel: Kernel,
    groups: Vec<Group<'a>>,
    dots: Vec<i32>,
    /// The numbers of the wanted rows.
    picks: Vec<u32>,
}

/// The rows of a tile that a group of queries selects, a bit each.
struct Wanted {
    words: [u64; TILE_ROWS / GROUP],
    count: usize,
}

/// Some rows of an object.
struct Tile<'a> {
    unit: &'a Unit,
    /// The number of the unit.
    number: u32,
    rows: Range<u32>,
}

impl<'a> Tiles<'a> {
    pub(crate) fn new(probes: &'a [Probe]) -> Self {
        let kernel = Kernel::detect();
        let mut groups: Vec<Group<'a>> = Vec::new();
        for (number, probe) in probes.iter().enumerate() {
            let side = Side {
                probe: number,
                codes: &probe.codes,
                coarse: Bounds::coarse(probe.metric, &probe.codes),
                fine: Bounds::fine(probe.metric, &probe.codes),
                estimates: Estimates::new(probe.metric, &probe.codes),
            };
            if let Some(group) = groups.iter_mut().find(|group| group.takes(probe)) {
                group.sides.push(side);
                group.codes.push(&probe.codes);
                continue;
            }
            groups.push(Group {
                exact: probe.exactness == Exactness::Exact,
                coarse: kernel.gains_by_coarse(),
                compared: 0,
                left: 0,
                selections: probe.selections.as_ref(),
                codes: Queries::new([&probe.codes]),
                sides: vec![side],
            });
        }
        Self { kernel, groups, dots: Vec::new(), picks: Vec::new() }
    }

    /// Compares rows of an object with every query. The rows are at most [`TILE_ROWS`], from a
    /// multiple of [`GROUP`] on.
    pub(crate) fn scan(
        &mut self,
        unit: &Unit,
        number: u32,
        rows: Range<u32>,
        nearest: &mut [Nearest],
    ) -> Result<(), FormatError> {
        let Self { kernel, groups, dots, picks } = self;
        let tile = Tile { unit, number, rows };
        for group in groups {
            let wanted = Wanted::of(group, &tile);
            if wanted.count > 0 {
                group.dots(*kernel, &tile, &wanted, dots, picks)?;
                match group.exact {
                    true => group.bound(*kernel, &tile, &wanted, dots, nearest)?,
                    false => group.estimate(*kernel, &tile, &wanted, dots, nearest)?,
                }
            }
        }
        Ok(())
    }
}

impl Group<'_> {
    /// Whether a query can share the pass over the rows.
    fn takes(&self, probe: &Probe) -> bool {
        let same = match (self.selections, &probe.selections) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same && self.exact == (probe.exactness == Exactness::Exact)
    }

    /// The dots of the wanted rows, query after query. The dots of other rows are arbitrary.
    fn dots(
        &self,
        kernel: Kernel,
        tile: &Tile<'_>,
        wanted: &Wanted,
        dots: &mut Vec<i32>,
        picks: &mut Vec<u32>,
    ) -> Result<(), FormatError> {
        let (embeddings, rows) = (&tile.unit.object.embeddings, tile.rows.clone());
        dots.resize(rows.len() * self.codes.len(), 0);
        picks.clear();
        let few = if self.exact { FEW_BYTES } else { FEW_SIGNS };
        if wanted.count * 8 <= rows.len() * few {
            picks.extend(wanted.rows());
        }
        if self.exact {
            let rows = picked(embeddings.byte_codes(rows)?, picks);
            match self.coarse {
                true => kernel.coarse_dots(&self.codes, rows, dots),
                false => kernel.fine_dots(&self.codes, rows, dots),
            }
        } else {
            let rows = picked(embeddings.section(EmbeddingSection::Signs, rows)?, picks);
            kernel.sign_dots(&self.codes, rows, dots);
        }
        Ok(())
    }

    /// Gives each query the rows that its bounds do not rule out.
    fn bound(
        &mut self,
        kernel: Kernel,
        tile: &Tile<'_>,
        wanted: &Wanted,
        dots: &[i32],
        nearest: &mut [Nearest],
    ) -> Result<(), FormatError> {
        let numbers = |section| tile.unit.object.embeddings.numbers(section, tile.rows.clone());
        let (norms, scales, residuals) = (
            numbers(EmbeddingSection::Norms)?,
            numbers(EmbeddingSection::Scales)?,
            numbers(EmbeddingSection::Residuals)?,
        );
        for (dots, side) in dots.chunks_exact(tile.rows.len()).zip(&self.sides) {
            let Some(nearest) = nearest.get_mut(side.probe) else { continue };
            nearest.work.coded += wanted.count as u64;
            let bounds = if self.coarse { &side.coarse } else { &side.fine };
            let factors = norms.chunks(GROUP).zip(scales.chunks(GROUP)).zip(residuals.chunks(GROUP));
            let groups =
                wanted.words.iter().zip(dots.chunks(GROUP)).zip(factors).zip((tile.rows.start..).step_by(GROUP));
            for (((wanted, dots), ((norms, scales), residuals)), start) in groups {
                if *wanted == 0 {
                    continue;
                }
                let factors = ByteFactors { norms, scales, residuals };
                let open = wanted & bounds.may_reach(kernel, dots, factors, nearest.reach());
                self.left += open.count_ones() as usize;
                for place in ones(open) {
                    let row = (dots.get(place), norms.get(place), scales.get(place), residuals.get(place));
                    let (Some(dot), Some(norm), Some(scale), Some(residual)) = row else { continue };
                    let dot = if self.coarse { side.fine_dot(kernel, tile, start + place as u32)? } else { *dot };
                    let (lower, upper) = side.fine.of(dot, *norm, *scale, *residual);
                    if lower <= nearest.reach() {
                        nearest.bounded(tile.spot(start, place, lower), upper);
                    }
                }
            }
        }
        self.compared += wanted.count * self.sides.len();
        self.coarse &= self.left <= self.compared / OPEN + self.sides.len() * OPEN_AT_FIRST;
        Ok(())
    }

    /// Gives each query the rows with a near estimate.
    fn estimate(
        &self,
        kernel: Kernel,
        tile: &Tile<'_>,
        wanted: &Wanted,
        dots: &[i32],
        nearest: &mut [Nearest],
    ) -> Result<(), FormatError> {
        let numbers = |section| tile.unit.object.embeddings.numbers(section, tile.rows.clone());
        let (norms, estimators) = (numbers(EmbeddingSection::Norms)?, numbers(EmbeddingSection::Estimators)?);
        let Some(metric) = self.sides.first().map(|side| side.estimates.metric()) else { return Ok(()) };
        let factors = norms.chunks(GROUP).zip(estimators.chunks(GROUP));
        let mut extremes = [SignExtremes::default(); TILE_ROWS / GROUP];
        // Without extremes no group is left out.
        if self.sides.len() >= MANY {
            for (extremes, (norms, estimators)) in extremes.iter_mut().zip(factors.clone()) {
                *extremes = SignExtremes::of(metric, kernel, SignFactors { norms, estimators });
            }
        }
        for (dots, side) in dots.chunks_exact(tile.rows.len()).zip(&self.sides) {
            let Some(nearest) = nearest.get_mut(side.probe) else { continue };
            nearest.work.coded += wanted.count as u64;
            let groups = wanted.words.iter().zip(dots.chunks(GROUP)).zip(factors.clone().zip(&extremes));
            for (((wanted, dots), ((norms, estimators), extremes)), start) in
                groups.zip((tile.rows.start..).step_by(GROUP))
            {
                let bound = nearest.estimate_bound();
                if *wanted == 0 || side.estimates.are_beyond(kernel, dots, extremes, bound) {
                    continue;
                }
                let factors = SignFactors { norms, estimators };
                let near = wanted & side.estimates.may_reach(kernel, dots, factors, bound);
                for place in ones(near) {
                    let row = (dots.get(place), norms.get(place), estimators.get(place));
                    let (Some(dot), Some(norm), Some(estimator)) = row else { continue };
                    let estimate = side.estimates.of(*dot, *norm, *estimator);
                    if estimate <= nearest.estimate_bound() {
                        nearest.estimated(tile.spot(start, place, estimate));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The rows of these numbers; all if there are none.
fn picked<'a, T>(codes: &'a [T], picks: &'a [u32]) -> Rows<'a, T> {
    if picks.is_empty() { Rows::all(codes) } else { Rows::picked(codes, picks) }
}

impl Side<'_> {
    fn fine_dot(&self, kernel: Kernel, tile: &Tile<'_>, row: u32) -> Result<i32, FormatError> {
        let codes = tile.unit.object.embeddings.byte_codes(row..row.saturating_add(1))?;
        Ok(kernel.fine_dot(self.codes, codes))
    }
}

impl Tile<'_> {
    /// The row at an offset from `start`.
    fn spot(&self, start: u32, place: usize, distance: f64) -> Spot {
        Spot { distance, unit: self.number, row: start + place as u32 }
    }
}

impl Wanted {
    fn of(group: &Group<'_>, tile: &Tile<'_>) -> Self {
        let selection = group.selections.map(|all| all.get(usize::from(tile.unit.shard)));
        let mut words = [0; TILE_ROWS / GROUP];
        let places = (tile.rows.start as usize / GROUP)..(tile.rows.end as usize).div_ceil(GROUP);
        for (word, place) in words.iter_mut().zip(places) {
            *word = match selection {
                None => tile.unit.rows.live().word(place),
                Some(Some(selection)) => tile.unit.rows.selected(place, selection),
                Some(None) => 0,
            };
        }
        // An object may have fewer rows than its last word has bits.
        let behind = tile.rows.end as usize % GROUP;
        if behind > 0
            && let Some(last) = words.get_mut((tile.rows.len() - 1) / GROUP)
        {
            *last &= (1 << behind) - 1;
        }
        Self { words, count: words.iter().map(|word| word.count_ones() as usize).sum() }
    }

    /// The numbers of the rows, from the first of the tile on.
    fn rows(&self) -> impl Iterator<Item = u32> {
        let words = self.words.iter().zip((0..).step_by(GROUP));
        words.flat_map(|(word, start)| ones(*word).map(move |bit| start + bit as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Query;
    use super::super::scan::tests::scan_of;
    use super::*;

    /// Story: among rows at one distance, coarse dots ruled out none. Each row then cost a coarse
    /// dot and a fine one.
    #[tokio::test]
    async fn fine_dots_follow_coarse_ones_that_rule_out_few() {
        let rows = 3 * TILE_ROWS;
        let alike = vec![vec![1.0, 2.0]; rows];
        let apart: Vec<_> = (0..rows).map(|row| vec![row as f32, 2.0]).collect();
        for (all, expected) in [(alike, [true, false, false]), (apart, [true, true, true])] {
            let scan = scan_of(&all, Query::new(vec![1.0, 2.0], 10)).await;
            let (mut tiles, mut nearest) = (Tiles::new(&scan.probes), scan.nothing());
            // Some machines never begin with coarse dots.
            tiles.groups.iter_mut().for_each(|group| group.coarse = true);
            let mut coarse = Vec::new();
            for start in (0..rows as u32).step_by(TILE_ROWS) {
                let tile = start..start + TILE_ROWS as u32;
                tiles.scan(&scan.units[0], 0, tile, &mut nearest).unwrap();
                coarse.extend(tiles.groups.iter().map(|group| group.coarse));
            }
            assert_eq!(coarse, expected);
            assert_eq!(nearest[0].work.coded, rows as u64);
        }
    }
}
