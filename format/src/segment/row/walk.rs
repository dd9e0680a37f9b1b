//! The one walk over a row. Checking a row and making an op of it both use it, so they cannot
//! differ.

use super::tag::{ADD, CLEAR, DELETE, KEEP, PATCH, PUT, REVISED, SET, UPSERT};
use super::value::ValueRef;
use crate::codec::Cursor;
use crate::error::FormatError;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_METADATA_KEYS};
use crate::revision::Revision;

/// The shortest metadata entry: a key of one byte, removed.
const MIN_ENTRY_BYTES: usize = 6;

/// The fields in front of a row: action, id, revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front<'a> {
    /// Without the bit that marks a revision.
    pub(super) action: u8,
    pub(super) id: &'a str,
    pub(super) revision: Option<Revision>,
}

/// The fields of a row except its metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) embedding: Field<()>,
    pub(super) document: Field<&'a str>,
}

/// The content of one field in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<T> {
    Keep,
    Clear,
    Set(T),
}

impl<'a> Front<'a> {
    pub(super) fn take(from: &mut Cursor<'a>) -> Result<Self, FormatError> {
        let tag = from.u8()?;
        let id = from.string()?;
        let revision = if tag & REVISED != 0 { Some(Revision::new(from.u128()?)) } else { None };
        Ok(Self { action: tag & !REVISED, id, revision })
    }

    /// Whether the op carries a whole record, not a patch.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.action, PUT | ADD)
    }

    fn check(&self, from: &Cursor<'_>) -> Result<(), FormatError> {
        if !(1..=MAX_ID_BYTES).contains(&self.id.len()) {
            return Err(from.invalid(format!("an id has {} bytes, it may have 1 to {MAX_ID_BYTES}", self.id.len())));
        }
        if !matches!(self.action, PUT | UPSERT | ADD | PATCH | DELETE) {
            return Err(from.invalid(format!("an op has the unknown action {}", self.action)));
        }
        if self.action == ADD && self.revision.is_some() {
            return Err(from.invalid("an `add` has a revision"));
        }
        Ok(())
    }
}

impl<'a> Fields<'a> {
    /// Takes the fields behind the front of a row that is not a delete.
    pub(super) fn take(from: &mut Cursor<'a>) -> Result<Self, FormatError> {
        let embedding = field(from, |_| Ok(()))?;
        let document = field(from, Cursor::string)?;
        Ok(Self { embedding, document })
    }
}

/// Checks a row, which must end where `bytes` does, against every rule and limit of the format.
/// Passes each metadata entry to `entry`, in order. Allocates nothing.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut entry: impl FnMut(&'a str, Option<ValueRef<'a>>),
) -> Result<(Front<'a>, Option<Fields<'a>>), FormatError> {
    let mut from = Cursor::new(bytes, "ops");
    let front = Front::take(&mut from)?;
    front.check(&from)?;
    if front.action == DELETE {
        from.finish()?;
        return Ok((front, None));
    }
    let fields = Fields::take(&mut from)?;
    if front.is_whole() && (fields.embedding == Field::Clear || fields.document == Field::Clear) {
        return Err(from.invalid("a whole record removes a field"));
    }
    if let Field::Set(text) = fields.document
        && text.len() > MAX_DOCUMENT_BYTES
    {
        return Err(from.invalid(format!("a document has {} bytes, the limit is {MAX_DOCUMENT_BYTES}", text.len())));
    }
    let count = from.count(MIN_ENTRY_BYTES)?;
    if count > MAX_METADATA_KEYS {
        return Err(from.invalid(format!("{count} metadata keys, the limit is {MAX_METADATA_KEYS}")));
    }
    let (mut last, mut total) = ("", 0usize);
    for _ in 0..count {
        let key = from.string()?;
        let value = ValueRef::take(&mut from)?;
        if key.len() > MAX_KEY_BYTES {
            return Err(from.invalid(format!("a metadata key has {} bytes, the limit is {MAX_KEY_BYTES}", key.len())));
        }
        // No key is empty, so the first one sorts after the empty text.
        if key <= last {
            return Err(from.invalid("metadata keys are empty or not in order"));
        }
        if front.is_whole() && value.is_none() {
            return Err(from.invalid("a whole record removes a key"));
        }
        let counted = value.as_ref().map_or(0, ValueRef::counted);
        total = total.saturating_add(key.len()).saturating_add(counted);
        last = key;
        entry(key, value);
    }
    if total > MAX_METADATA_BYTES {
        return Err(from.invalid(format!("metadata has {total} bytes, the limit is {MAX_METADATA_BYTES}")));
    }
    from.finish()?;
    Ok((front, Some(fields)))
}

fn field<'a, T>(
    from: &mut Cursor<'a>,
    set: impl FnOnce(&mut Cursor<'a>) -> Result<T, FormatError>,
) -> Result<Field<T>, FormatError> {
    match from.u8()? {
        KEEP => Ok(Field::Keep),
        CLEAR => Ok(Field::Clear),
        SET => set(from).map(Field::Set),
        other => Err(from.invalid(format!("a field has the unknown state {other}"))),
    }
}
