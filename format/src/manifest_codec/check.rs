//! The rules of a single manifest, checked on encoding and decoding. The publisher checks the rules
//! between two versions.

use std::collections::BTreeSet;

use super::WHAT;
use crate::error::FormatError;
use crate::limits::{MAX_EMBEDDING_OBJECT_BYTES, MAX_ID_BYTES, MAX_PART_ROWS, MAX_PIN_NAME, MAX_SOURCE_BYTES};
use crate::manifest::{Manifest, PartEntry, Run};
use crate::name::{Sequence, Version};
use crate::part::Absent;

type Checked = Result<(), FormatError>;

fn require(holds: bool, otherwise: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(FormatError::invalid(WHAT, otherwise)) }
}

pub(super) fn check(of: &Manifest) -> Checked {
    require(of.version > Version::ZERO, "version 0 has no manifest")?;
    let copied = of.config.as_ref().is_none_or(|config| config.uid == of.collection);
    require(copied, "its copy of the collection register is another collection's")?;
    require(
        of.truncated > Sequence::ZERO && of.truncated.prev() <= of.folded,
        "its log start lies behind slots that are not folded",
    )?;
    require(of.sweep_floor <= of.version, "its sweep floor is above its version")?;
    require(of.marks_floor <= of.folded, "its marks floor is above its last folded segment")?;
    let end = of.runs.iter().try_fold(Sequence::ZERO, |end, run| {
        check_run(run)?;
        require(run.first.prev() == end, "its runs do not cover the log without gap or overlap")?;
        Ok(run.last)
    })?;
    require(end == of.folded, "its runs do not cover the log up to its last folded segment")?;
    require(of.embeddings.is_sorted_by(|a, b| a.name < b.name), "its embedding objects are not sorted or not unique")?;
    for entry in &of.embeddings {
        require(
            (1..=MAX_PART_ROWS).contains(&(entry.rows as usize)) && entry.live <= entry.rows,
            "an embedding object has no rows, too many, or more live ones than rows",
        )?;
        require(entry.bytes <= 2 * MAX_EMBEDDING_OBJECT_BYTES as u64, "an embedding object is too long")?;
    }
    require(of.marks.is_sorted_by(|a, b| a.source < b.source), "its marks are not sorted or not unique")?;
    for mark in &of.marks {
        require((1..=MAX_SOURCE_BYTES).contains(&mark.source.len()), "a source's name is empty or too long")?;
        require(mark.sequence <= of.folded, "a mark's segment is not folded")?;
    }
    let ancestors_end = of.ancestors.last().is_none_or(|last| last.version < of.version);
    require(
        ancestors_end && of.ancestors.is_sorted_by(|a, b| a.version < b.version),
        "its ancestors are not in the order of their versions",
    )?;
    require(of.dropped.iter().all(|dropped| dropped.version <= of.version), "an object is dropped by a later version")?;
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for pin in &of.pins {
        require((1..=MAX_PIN_NAME).contains(&pin.name.len()), "a pin's name is empty or too long")?;
        require(names.insert(&pin.name), "two pins have one name")?;
        require(ids.insert(pin.id), "two pins have one id")?;
        require(pin.version < of.version, "it pins a version that is not before it")?;
    }
    Ok(())
}

fn check_run(run: &Run) -> Checked {
    require(Sequence::ZERO < run.first && run.first <= run.last, "a run holds no segments")?;
    let rows = run.parts.iter().try_fold(0u64, |rows, part| {
        check_part(part)?;
        Ok::<_, FormatError>(rows.saturating_add(u64::from(part.rows)))
    })?;
    require(rows == run.rows, "the row count of a run differs from its parts")?;
    let apart = run.parts.is_sorted_by(|a, b| a.max_id < b.min_id);
    require(apart, "a run's parts are not in the order of their ids or overlap")
}

fn check_part(part: &PartEntry) -> Checked {
    let rows = (1..=MAX_PART_ROWS).contains(&(part.rows as usize));
    require(rows, "a part has no rows or too many")?;
    let lengths = 0 < part.front_bytes && part.front_bytes <= part.columns_end && part.columns_end <= part.bytes;
    require(lengths, "a part's front is empty, or longer than its object")?;
    let ids = (1..=MAX_ID_BYTES).contains(&part.min_id.len())
        && part.max_id.len() <= MAX_ID_BYTES
        && part.min_id <= part.max_id
        && (part.min_id == part.max_id) == (part.rows == 1);
    require(ids, "a part's first and last id contradict each other")?;
    let absent = part.absent.rows <= part.rows && (part.absent.rows > 0 || part.absent == Absent::default());
    require(absent, "a part counts more rows without a record than rows, or dates rows that it does not have")?;
    require(part.embeddings.is_sorted_by(|a, b| a < b), "a part's embedding objects are not sorted or not unique")
}
