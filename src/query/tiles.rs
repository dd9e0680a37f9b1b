//! Comparing the codes of some rows with queries.

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{EmbeddingSection, FormatError};

use super::bits::Bits;
use super::kernel::{ByteFactors, Kernel, QueryCodes, SignFactors, bounds, estimates};
use super::nearest::{Nearest, Spot};
use super::request::Exactness;
use super::scan::{Probe, Unit};

/// Rows that are compared at once; a multiple of 64.
pub(crate) const TILE_ROWS: usize = 1_024;

/// Where at most one row in so many is wanted, each is compared by itself.
const SPARSE: usize = 8;

/// Queries about the same records, in the same way.
struct Group<'a> {
    /// A probe of it: what it is about.
    first: &'a Probe,
    /// The numbers of its probes.
    probes: Vec<usize>,
    codes: Vec<&'a QueryCodes>,
}

/// The memory of one worker that compares codes.
pub(crate) struct Tiles<'a> {
    kernel: Kernel,
    groups: Vec<Group<'a>>,
    dots: Vec<i32>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl<'a> Tiles<'a> {
    pub(crate) fn new(probes: &'a [Probe]) -> Self {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for (number, probe) in probes.iter().enumerate() {
            match groups.iter_mut().find(|group| alike(group.first, probe)) {
                Some(group) => {
                    group.probes.push(number);
                    group.codes.push(&probe.codes);
                }
                None => groups.push(Group { first: probe, probes: vec![number], codes: vec![&probe.codes] }),
            }
        }
        Self { kernel: Kernel::detect(), groups, dots: Vec::new(), lower: Vec::new(), upper: Vec::new() }
    }

    /// Compares rows of an object, at most [`TILE_ROWS`] from a multiple of 64 on, with every query.
    pub(crate) fn scan(
        &mut self,
        unit: &Unit,
        number: u32,
        rows: Range<u32>,
        nearest: &mut [Nearest],
    ) -> Result<(), FormatError> {
        for group in 0..self.groups.len() {
            let Some(wanted) = self.groups.get(group).map(|group| wanted(group.first, unit, &rows)) else { continue };
            let range = rows.start as usize..rows.end as usize;
            let count = wanted.count_in(range.clone());
            if count == 0 {
                continue;
            }
            if count * SPARSE > range.len() {
                self.compare(group, unit, number, rows.clone(), &wanted, nearest)?;
                continue;
            }
            for row in wanted.rows(range) {
                let row = u32::try_from(row).unwrap_or(u32::MAX);
                self.compare(group, unit, number, row..row + 1, &wanted, nearest)?;
            }
        }
        Ok(())
    }

    /// Compares all of some rows with the queries of a group, and tells of those wanted.
    fn compare(
        &mut self,
        group: usize,
        unit: &Unit,
        number: u32,
        rows: Range<u32>,
        wanted: &Bits,
        nearest: &mut [Nearest],
    ) -> Result<(), FormatError> {
        let Self { kernel, groups, dots, lower, upper } = self;
        let Some(Group { first, probes, codes }) = groups.get(group) else { return Ok(()) };
        let len = rows.len();
        let embeddings = &unit.object.embeddings;
        dots.resize(len * codes.len(), 0);
        lower.resize(len, 0.0);
        upper.resize(len, 0.0);
        let numbers = |section| embeddings.numbers(section, rows.clone());
        let norms = numbers(EmbeddingSection::Norms)?;
        let exact = first.exactness == Exactness::Exact;
        let others = match exact {
            true => (numbers(EmbeddingSection::Scales)?, numbers(EmbeddingSection::Residuals)?),
            false => (numbers(EmbeddingSection::Estimators)?, Default::default()),
        };
        match exact {
            true => kernel.byte_dots(codes, embeddings.byte_codes(rows.clone())?, dots),
            false => kernel.sign_dots(codes, embeddings.section(EmbeddingSection::Signs, rows.clone())?, dots),
        }
        let start = rows.start;
        for ((dots, codes), probe) in dots.chunks_exact(len.max(1)).zip(codes).zip(probes) {
            let Some(nearest) = nearest.get_mut(*probe) else { continue };
            if exact {
                let factors = ByteFactors { norms: &norms, scales: &others.0, residuals: &others.1 };
                bounds(first.metric, codes, dots, factors, lower, upper);
                for (row, (low, high)) in (start..).zip(lower.iter().zip(&*upper)) {
                    if *low <= nearest.reach() && wanted.contains(row as usize) {
                        nearest.bounded(Spot { distance: *low, unit: number, row }, *high);
                    }
                }
            } else {
                let factors = SignFactors { norms: &norms, estimators: &others.0 };
                estimates(first.metric, codes, dots, factors, lower);
                for (row, distance) in (start..).zip(&*lower) {
                    if *distance <= nearest.estimate_bound() && wanted.contains(row as usize) {
                        nearest.estimated(Spot { distance: *distance, unit: number, row });
                    }
                }
            }
            nearest.work.coded += wanted.count_in(start as usize..rows.end as usize) as u64;
        }
        Ok(())
    }
}

/// Whether two queries can share one look at the rows.
fn alike(one: &Probe, other: &Probe) -> bool {
    let same = match (&one.selections, &other.selections) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    let exact = |probe: &Probe| probe.exactness == Exactness::Exact;
    same && exact(one) == exact(other)
}

/// The rows of an object that a query is about.
fn wanted<'a>(probe: &Probe, unit: &'a Unit, rows: &Range<u32>) -> std::borrow::Cow<'a, Bits> {
    let live = unit.rows.live();
    if probe.selections.is_none() {
        return std::borrow::Cow::Borrowed(live);
    }
    let mut wanted = Bits::default();
    for row in live.rows(rows.start as usize..rows.end as usize) {
        let number = u32::try_from(row).unwrap_or(u32::MAX);
        if unit.rows.owners(number).any(|owner| probe.selects(unit.shard, owner)) {
            wanted.insert(row);
        }
    }
    std::borrow::Cow::Owned(wanted)
}
