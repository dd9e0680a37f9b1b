//! What a part must be beyond a valid archive: rkyv proves memory safety, not integrity.

use rkyv::rend::{f64_le, u32_le, u64_le};

use super::Form;
use super::columns::{
    ArchivedColumns, ArchivedPresence, ArchivedTexts, ArchivedValues, CLEAR, FIRST_OBJECT, u32_at, u64_at,
};
use super::meta::object_name;
use crate::error::FormatError;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_LIST_LEN, MAX_PART_ROWS};
use crate::name::ObjectName;

const WHAT: &str = "part columns";

fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::invalid(WHAT, reason)
}

fn require(holds: bool, rule: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(invalid(rule)) }
}

/// What a payload is, by the form of its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payload {
    Record,
    Patch,
    /// Of a tombstone: nothing.
    Nothing,
}

/// Checks all columns; returns how many payloads refer to each embedding object.
pub(super) fn check(columns: &ArchivedColumns) -> Result<Vec<(ObjectName, u32)>, FormatError> {
    let rows = columns.forms.len();
    require(rows > 0, "it has no rows")?;
    if rows > MAX_PART_ROWS {
        return Err(FormatError::too_large("part rows", rows as u64, MAX_PART_ROWS as u64));
    }
    ids(columns, rows)?;
    let payloads = payloads(columns, rows)?;
    positions(columns, &payloads)?;
    documents(columns, &payloads)?;
    let references = embeddings(columns, &payloads)?;
    keys(columns, &payloads)?;
    Ok(references)
}

fn ids(columns: &ArchivedColumns, rows: usize) -> Result<(), FormatError> {
    texts(&columns.ids, MAX_ID_BYTES)?;
    require(columns.ids.len() == rows, "there is not one id for each row")?;
    let mut before = "";
    for row in 0..rows {
        let id = columns.ids.get(row);
        require(before < id, "ids do not ascend")?;
        before = id;
    }
    Ok(())
}

/// Forms are known, and the splits are the rows that say so.
fn payloads(columns: &ArchivedColumns, rows: usize) -> Result<Vec<Payload>, FormatError> {
    let mut payloads = Vec::with_capacity(rows + columns.splits.len());
    let mut splits = columns.splits.iter();
    for (row, byte) in columns.forms.iter().enumerate() {
        let form = Form::from_byte(*byte).ok_or_else(|| invalid(format!("row {row} has the unknown form {byte}")))?;
        require(form == Form::Put || *byte == form as u8, "a row that is no whole record says that it is renewed")?;
        if form == Form::Split {
            let listed = splits.next().is_some_and(|split| split.to_native() as usize == row);
            require(listed, "a split row is not listed as one")?;
        }
        payloads.push(match form {
            Form::Put | Form::Add | Form::Split => Payload::Record,
            Form::Patch | Form::Upsert => Payload::Patch,
            Form::Delete => Payload::Nothing,
        });
    }
    require(splits.next().is_none(), "a row is listed as split that is not")?;
    payloads.extend(std::iter::repeat_n(Payload::Patch, columns.splits.len()));
    let lengths =
        [columns.inserted.len(), columns.changed.len(), columns.embedding_objects.len(), columns.embedding_rows.len()];
    require(lengths.iter().all(|len| *len == payloads.len()), "a column has not one value for each payload")?;
    Ok(payloads)
}

fn positions(columns: &ArchivedColumns, payloads: &[Payload]) -> Result<(), FormatError> {
    for (number, payload) in payloads.iter().enumerate() {
        let (inserted, changed) = (u64_at(&columns.inserted, number), u64_at(&columns.changed, number));
        let upsert = columns.forms.get(number).is_some_and(|form| *form == Form::Upsert as u8);
        require(
            match payload {
                Payload::Record => inserted != 0 && changed != 0,
                Payload::Patch => (inserted != 0) == upsert,
                Payload::Nothing => inserted == 0 && changed == 0,
            },
            "a row's positions do not fit its form",
        )?;
    }
    Ok(())
}

fn documents(columns: &ArchivedColumns, payloads: &[Payload]) -> Result<(), FormatError> {
    presence(&columns.documents, payloads.len())?;
    texts(&columns.texts, MAX_DOCUMENT_BYTES)?;
    let set = columns.documents.count(payloads.len());
    require(columns.texts.len() == set, "there is not one document for each payload that sets one")?;
    let mut lawful = true;
    columns.documents.for_each(payloads.len(), |payload| {
        lawful &= payloads.get(payload).is_some_and(|payload| *payload != Payload::Nothing);
    });
    require(lawful, "a tombstone has a document")?;
    ascending(&columns.documents_cleared, payloads.len())?;
    for payload in columns.documents_cleared.iter() {
        let payload = payload.to_native() as usize;
        require(payloads.get(payload) == Some(&Payload::Patch), "something that is no patch clears a document")?;
        require(columns.documents.rank(payload).is_none(), "a payload sets a document and clears it")?;
    }
    Ok(())
}

fn embeddings(columns: &ArchivedColumns, payloads: &[Payload]) -> Result<Vec<(ObjectName, u32)>, FormatError> {
    let objects = columns.object_versions.len();
    require(columns.object_nonces.len() == objects, "an embedding object has half a name")?;
    let mut counts: Vec<(ObjectName, u32)> = (0..objects).map(|i| (object_name(columns, i), 0)).collect();
    require(counts.is_sorted_by(|a, b| a.0 < b.0), "embedding objects do not ascend")?;
    for (number, payload) in payloads.iter().enumerate() {
        let object = u32_at(&columns.embedding_objects, number);
        match object.checked_sub(FIRST_OBJECT) {
            Some(object) => {
                require(*payload != Payload::Nothing, "a tombstone has an embedding")?;
                let count = counts.get_mut(object as usize);
                count.ok_or_else(|| invalid("a row refers to an embedding object that is not listed"))?.1 += 1;
            }
            None => {
                require(
                    object != CLEAR || *payload == Payload::Patch,
                    "something that is no patch clears an embedding",
                )?;
                require(u32_at(&columns.embedding_rows, number) == 0, "a row without an embedding names one")?;
            }
        }
    }
    require(counts.iter().all(|(_, count)| *count > 0), "an embedding object is listed that no row refers to")?;
    Ok(counts)
}

fn keys(columns: &ArchivedColumns, payloads: &[Payload]) -> Result<(), FormatError> {
    let order =
        |column: &super::columns::ArchivedKeyColumn| (column.key.as_str().to_owned(), column.values.type_number());
    require(columns.keys.iter().map(order).is_sorted_by(|a, b| a < b), "metadata columns do not ascend")?;
    // One key has one value in a payload: a bit for each payload seen under the key at hand.
    let mut seen = vec![0_u64; payloads.len().div_ceil(64)];
    let mut key = None;
    for column in columns.keys.iter() {
        let name = column.key.as_str();
        require((1..=MAX_KEY_BYTES).contains(&name.len()), "a metadata key is empty or too long")?;
        presence(&column.presence, payloads.len())?;
        let count = column.presence.count(payloads.len());
        require(count > 0, "a metadata column has no values")?;
        values(&column.values, count)?;
        if key != Some(name) {
            seen.fill(0);
            key = Some(name);
        }
        let removes = matches!(column.values, ArchivedValues::Removed);
        let mut lawful = true;
        column.presence.for_each(payloads.len(), |payload| {
            let kind = payloads.get(payload).copied().unwrap_or(Payload::Nothing);
            lawful &= if removes { kind == Payload::Patch } else { kind != Payload::Nothing };
            if let Some(word) = seen.get_mut(payload / 64) {
                lawful &= *word >> (payload % 64) & 1 == 0;
                *word |= 1 << (payload % 64);
            }
        });
        require(lawful, "a payload has metadata that its form does not allow, or two values of one key")?;
    }
    Ok(())
}

fn values(values: &ArchivedValues, count: usize) -> Result<(), FormatError> {
    let one_each = |len: usize| require(len == count, "a metadata column has not one value for each payload present");
    match values {
        ArchivedValues::Removed => Ok(()),
        ArchivedValues::Strings(items) => {
            texts(items, crate::limits::MAX_METADATA_BYTES)?;
            one_each(items.len())
        }
        ArchivedValues::I64s(items) => one_each(items.len()),
        ArchivedValues::F64s(items) => {
            finite(items)?;
            one_each(items.len())
        }
        ArchivedValues::Bools(items) => {
            booleans(items)?;
            one_each(items.len())
        }
        ArchivedValues::StringLists { ends, items } => {
            texts(items, crate::limits::MAX_METADATA_BYTES)?;
            lists(ends, items.len())?;
            one_each(ends.len())
        }
        ArchivedValues::I64Lists { ends, items } => {
            lists(ends, items.len())?;
            one_each(ends.len())
        }
        ArchivedValues::F64Lists { ends, items } => {
            finite(items)?;
            lists(ends, items.len())?;
            one_each(ends.len())
        }
        ArchivedValues::BoolLists { ends, items } => {
            booleans(items)?;
            lists(ends, items.len())?;
            one_each(ends.len())
        }
    }
}

/// Offsets begin at 0, do not descend, end at the last byte and lie on the boundaries of valid UTF-8.
fn texts(texts: &ArchivedTexts, longest: usize) -> Result<(), FormatError> {
    let bytes = texts.bytes.as_slice();
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("a text is not UTF-8"))?;
    require(texts.offsets.first().is_some_and(|first| first.to_native() == 0), "text offsets do not begin at 0")?;
    let last = texts.offsets.last().map_or(0, |last| last.to_native() as usize);
    require(last == bytes.len(), "text offsets do not end with the texts")?;
    let mut before = 0;
    for offset in texts.offsets.iter() {
        let offset = offset.to_native() as usize;
        let fits = offset >= before && offset - before <= longest && text.is_char_boundary(offset);
        require(fits, "a text offset descends, is too far, or lies within a character")?;
        before = offset;
    }
    Ok(())
}

fn presence(presence: &ArchivedPresence, payloads: usize) -> Result<(), FormatError> {
    match presence {
        ArchivedPresence::All => Ok(()),
        ArchivedPresence::Rows(rows) => ascending(rows, payloads),
        ArchivedPresence::Bits { words, ranks } => {
            require(words.len() == payloads.div_ceil(64), "presence has not one bit for each payload")?;
            require(ranks.len() == words.len().div_ceil(8), "presence has not one rank for each 512 bits")?;
            let beyond = payloads % 64;
            let last = words.last().map_or(0, |last| last.to_native());
            require(beyond == 0 || last >> beyond == 0, "presence has bits behind the last payload")?;
            ranked(words, ranks)
        }
    }
}

fn ranked(words: &[u64_le], ranks: &[u32_le]) -> Result<(), FormatError> {
    let mut before = 0;
    for (chunk, rank) in words.chunks(8).zip(ranks) {
        require(rank.to_native() == before, "a rank of a presence is wrong")?;
        before += chunk.iter().map(|word| word.to_native().count_ones()).sum::<u32>();
    }
    Ok(())
}

fn ascending(rows: &[u32_le], payloads: usize) -> Result<(), FormatError> {
    let ordered = rows.is_sorted_by(|a, b| a.to_native() < b.to_native());
    let within = rows.last().is_none_or(|last| (last.to_native() as usize) < payloads);
    require(ordered && within, "a list of payloads does not ascend or names one that is not there")
}

fn lists(ends: &[u32_le], items: usize) -> Result<(), FormatError> {
    let mut before = 0;
    for end in ends {
        let end = end.to_native() as usize;
        require(end >= before && end - before <= MAX_LIST_LEN, "a list ends before it begins, or is too long")?;
        before = end;
    }
    require(before == items, "lists do not end with their items")
}

fn finite(items: &[f64_le]) -> Result<(), FormatError> {
    require(items.iter().all(|value| value.to_native().is_finite()), "a number is not finite")
}

fn booleans(items: &[u8]) -> Result<(), FormatError> {
    require(items.iter().all(|value| *value <= 1), "a boolean is neither 0 nor 1")
}
