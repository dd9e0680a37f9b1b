//! The rules of single columns.

use rkyv::rend::{u32_le, u64_le};

use super::check::Payloads;
use super::column_summary::ColumnSummary;
use super::directory::{BlockEntry, ColumnEntry};
use super::mask::Mask;
use super::presence::ALL;
use super::rows::ArchivedTexts;
use super::rules::{presence, require, texts};
use super::values::{ArchivedValues, BOOL, BOOLS, F64, F64S, I64, I64S, REMOVED, STRING, STRINGS};
use crate::error::FormatError;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_LIST_LEN, MAX_METADATA_BYTES};

/// Checks every rule of a metadata column alone, and that the directory lists this column.
pub(super) fn metadata_column(
    column: &ArchivedValues,
    entry: &ColumnEntry,
    payloads: &Payloads,
) -> Result<(), FormatError> {
    require(column.kind.to_native() == entry.kind, "a metadata column is not of the type that the directory lists")?;
    let count = presence(&column.presence, payloads.count)?;
    values(column, count)?;
    let counted = (count, column.elements()) == (entry.present as usize, entry.elements as usize);
    require(counted, "the number of values of a metadata column differs from the directory")?;
    let lawful = if entry.kind == REMOVED { &payloads.patches } else { &payloads.contents };
    require(lawful.covers(&column.presence), "a payload has metadata that its form does not allow")?;
    let Some(summary) = &entry.summary else { return Ok(()) };
    // Compares bytes, which tell apart numbers that compare as equal.
    let same = ColumnSummary::encoded(Some(summary)) == ColumnSummary::encoded(ColumnSummary::of(column).as_ref());
    require(same, "the summary of a metadata column differs from its values")
}

/// Checks the columns of one key: no payload may have two values of it.
pub(super) fn one_value_each<'a>(
    columns: impl Iterator<Item = &'a ArchivedValues>,
    payloads: &Payloads,
) -> Result<(), FormatError> {
    let mut taken = Mask::new(payloads.count);
    for column in columns {
        let disjoint = column.presence.kind.to_native() != ALL && taken.add(&column.presence);
        require(disjoint, "a payload has two values of one key")?;
    }
    Ok(())
}

/// Checks every rule of a block of documents.
pub(super) fn documents(block: &ArchivedTexts, entry: &BlockEntry) -> Result<(), FormatError> {
    texts(block, 0, MAX_DOCUMENT_BYTES)?;
    require(block.len() == entry.documents as usize, "the number of documents of a block differs from the directory")
}

/// Checks that a column has `count` values, and no data that its type does not need.
pub(super) fn values(column: &ArchivedValues, count: usize) -> Result<(), FormatError> {
    let kind = column.kind.to_native();
    require(kind <= BOOLS, "a metadata column has an unknown type")?;
    let elements = column.elements();
    let is_text = matches!(kind, STRING | STRINGS);
    let unused = (!is_text && !column.texts.offsets.is_empty())
        || (!is_text && !matches!(kind, BOOL | BOOLS) && !column.texts.bytes.is_empty())
        || (!matches!(kind, I64 | F64 | I64S | F64S) && !column.numbers.is_empty())
        || (kind < STRINGS && !column.ends.is_empty());
    require(!unused, "a metadata column has fields that its type does not use")?;
    match kind {
        STRING | STRINGS => texts(&column.texts, 0, MAX_METADATA_BYTES)?,
        F64 | F64S => require(finite(&column.numbers), "a number is not finite")?,
        BOOL | BOOLS => {
            let most = column.texts.bytes.iter().fold(0, |most, byte| most | byte);
            require(most <= 1, "a bool is neither 0 nor 1")?;
        }
        _ => {}
    }
    let found = match kind {
        REMOVED => count,
        STRINGS.. => {
            lists(&column.ends, elements)?;
            column.ends.len()
        }
        _ => elements,
    };
    require(found == count, "a metadata column does not have one value for each payload present")
}

/// No branch depends on an element, so the compiler vectorizes the loop.
fn finite(numbers: &[u64_le]) -> bool {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    !numbers.iter().fold(false, |infinite, bits| infinite | (bits.to_native() & EXPONENT == EXPONENT))
}

fn lists(ends: &[u32_le], elements: usize) -> Result<(), FormatError> {
    let mut before = 0;
    for end in ends {
        let end = end.to_native() as usize;
        require(end >= before && end - before <= MAX_LIST_LEN, "a list ends before it begins, or is too long")?;
        before = end;
    }
    require(before == elements, "lists do not end with their elements")
}
