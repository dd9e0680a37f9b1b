//! Checks of input data. The limits are those of [`limits`](crate::limits).

use crate::input_error::{InputError, InputErrorKind, shown};
use crate::limits::{
    MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_LIST_LEN, MAX_METADATA_BYTES, MAX_METADATA_KEYS,
};
use crate::op::{Action, Op};
use crate::record::Value;
use crate::register::CollectionConfig;

/// The rules of a collection for ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpRules {
    /// Length of every embedding.
    pub dimension: u32,
    /// True if every op must have a revision, false if none may.
    pub revisions: bool,
}

impl OpRules {
    /// The rules of a collection of this dimension, ordered by its log.
    pub const fn log(dimension: u32) -> Self {
        Self { dimension, revisions: false }
    }

    /// The rules of a collection of this dimension, ordered by revision.
    pub const fn revision(dimension: u32) -> Self {
        Self { dimension, revisions: true }
    }
}

impl CollectionConfig {
    /// The rules of the collection for ops.
    pub fn rules(&self) -> OpRules {
        OpRules { dimension: self.dimension, revisions: self.ordering.is_revision() }
    }
}

type Checked = Result<(), InputError>;

impl Op {
    /// Checks the op against every limit of the format and the rules of the collection.
    ///
    /// # Errors
    /// The first fault, in the order id, revision, embedding, document, metadata.
    pub fn validate(&self, rules: OpRules) -> Checked {
        self.validate_fields(rules.revisions)?;
        match self.action.embedding() {
            Some(embedding) => {
                validate_embedding(embedding, rules.dimension).map_err(|error| error.of_record(&self.id))
            }
            None => Ok(()),
        }
    }
}

impl<E> Op<E> {
    /// Checks everything except the embedding.
    pub(crate) fn validate_fields(&self, revisions: bool) -> Checked {
        length("id", &self.id, 1, MAX_ID_BYTES)
            .and_then(|()| self.validate_revision(revisions))
            .and_then(|()| self.action.validate_fields())
            .map_err(|e| e.of_record(&self.id))
    }

    fn validate_revision(&self, revisions: bool) -> Checked {
        match (self.revision, revisions) {
            (None, true) => Err(InputError::new("revision", InputErrorKind::NoRevision)),
            (Some(_), false) => Err(InputError::new("revision", InputErrorKind::NotByRevision)),
            _ if revisions && matches!(self.action, Action::Add(_)) => {
                Err(InputError::new("op", InputErrorKind::AddByRevision))
            }
            _ => Ok(()),
        }
    }
}

impl<E> Action<E> {
    fn validate_fields(&self) -> Checked {
        match self {
            Self::Put(record) | Self::Add(record) => {
                document(record.document.as_deref())?;
                let entries = record.metadata.iter().map(|(key, value)| (key.as_str(), Some(value)));
                metadata(record.metadata.len(), entries)
            }
            Self::Upsert(patch) | Self::Patch(patch) => {
                document(patch.document.value().map(String::as_str))?;
                let entries = patch.metadata.iter().map(|(key, value)| (key.as_str(), value.as_ref()));
                metadata(patch.metadata.len(), entries)
            }
            Self::Delete => Ok(()),
        }
    }
}

/// Checks that an embedding has `dimension` numbers, all finite.
pub(crate) fn validate_embedding(embedding: &[f32], dimension: u32) -> Checked {
    if embedding.len() != dimension as usize {
        let kind = InputErrorKind::WrongDimension { found: embedding.len(), expected: dimension };
        return Err(InputError::new("embedding", kind));
    }
    finite_embedding(embedding).map_err(|index| InputError::new("embedding", InputErrorKind::NotFinite { index }))
}

/// `Err` with the index of the first number that is not finite.
pub(crate) fn finite_embedding(embedding: &[f32]) -> Result<(), usize> {
    // A fold without a branch is vectorized. The index of the bad number is needed only if there is
    // one.
    let all = embedding.iter().fold(true, |all, number| all & number.is_finite());
    if all { Ok(()) } else { Err(embedding.iter().position(|number| !number.is_finite()).unwrap_or(0)) }
}

fn length(field: &str, text: &str, least: usize, limit: usize) -> Checked {
    let kind = match text.len() {
        found if found < least => InputErrorKind::Empty,
        found if found > limit => InputErrorKind::TooLong { found, limit },
        _ => return Ok(()),
    };
    Err(InputError::new(field, kind))
}

/// Checks the name of a source.
pub(crate) fn validate_source(source: &str) -> Checked {
    length(&format!("source `{}`", shown(source)), source, 1, crate::limits::MAX_SOURCE_BYTES)
}

fn document(text: Option<&str>) -> Checked {
    length("document", text.unwrap_or_default(), 0, MAX_DOCUMENT_BYTES)
}

fn metadata<'a>(count: usize, entries: impl Iterator<Item = (&'a str, Option<&'a Value>)>) -> Checked {
    if count > MAX_METADATA_KEYS {
        let kind = InputErrorKind::TooMany { found: count, limit: MAX_METADATA_KEYS };
        return Err(InputError::new("metadata", kind));
    }
    let mut bytes = 0usize;
    for (key, value) in entries {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            length(&format!("metadata key `{}`", shown(key)), key, 1, MAX_KEY_BYTES)?;
        }
        bytes = bytes.saturating_add(key.len());
        if let Some(value) = value {
            let checked = value_bytes(value);
            bytes = bytes.saturating_add(
                checked.map_err(|kind| InputError::new(format!("metadata value of `{}`", shown(key)), kind))?,
            );
        }
    }
    if bytes > MAX_METADATA_BYTES {
        return Err(InputError::new("metadata", InputErrorKind::TooLong { found: bytes, limit: MAX_METADATA_BYTES }));
    }
    Ok(())
}

/// Bytes that a value counts against [`MAX_METADATA_BYTES`]: 8 a number or list element, and the
/// bytes of texts.
fn value_bytes(value: &Value) -> Result<usize, InputErrorKind> {
    let list = |found: usize| {
        let within = found <= MAX_LIST_LEN;
        within.then_some(8 * found).ok_or(InputErrorKind::TooMany { found, limit: MAX_LIST_LEN })
    };
    let finite = |numbers: &[f64]| match numbers.iter().position(|number| !number.is_finite()) {
        Some(index) => Err(InputErrorKind::NotFinite { index }),
        None => Ok(()),
    };
    Ok(match value {
        Value::String(text) => text.len(),
        Value::I64(_) | Value::Bool(_) => 8,
        Value::F64(number) => {
            finite(&[*number])?;
            8
        }
        Value::Strings(texts) => {
            list(texts.len())?.saturating_add(texts.iter().fold(0, |sum, text| sum.saturating_add(text.len())))
        }
        Value::I64s(numbers) => list(numbers.len())?,
        Value::F64s(numbers) => {
            finite(numbers)?;
            list(numbers.len())?
        }
        Value::Bools(bools) => list(bools.len())?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::{Change, Patch, Record};
    use crate::revision::Revision;

    fn with(key: &str, value: Value) -> Op {
        Op::put("r", Record { metadata: BTreeMap::from([(key.to_owned(), value)]), ..Record::default() })
    }

    #[track_caller]
    fn refused(op: Op, field: &str, kind: InputErrorKind, says: &str) {
        let error = op.validate(OpRules::log(3)).unwrap_err();
        assert_eq!((error.field(), error.kind()), (field, kind));
        assert_eq!(error.to_string(), says);
        assert!(error.id().is_some());
    }

    #[test]
    fn every_limit_is_checked_and_named() {
        use InputErrorKind::{Empty, NotFinite, TooLong, TooMany, WrongDimension};
        refused(Op::delete(""), "id", Empty, "record ``: id is empty; give it at least one byte");
        let long = "x".repeat(1_025);
        let says = format!("record `{}…`: id has 1025 bytes, the limit is 1024", "x".repeat(64));
        refused(Op::delete(long), "id", TooLong { found: 1_025, limit: 1_024 }, &says);
        let embedding = |numbers: Vec<f32>| Op::put("r", Record { embedding: Some(numbers), ..Record::default() });
        refused(
            embedding(vec![1.0; 2]),
            "embedding",
            WrongDimension { found: 2, expected: 3 },
            "record `r`: embedding has 2 numbers, the collection's dimension is 3",
        );
        refused(
            embedding(vec![1.0, f32::NAN, f32::INFINITY]),
            "embedding",
            NotFinite { index: 1 },
            "record `r`: embedding has a number at index 1 that is not finite",
        );
        let document = Change::Set("d".repeat(MAX_DOCUMENT_BYTES + 1));
        refused(
            Op::patch("r", Patch { document, ..Patch::default() }),
            "document",
            TooLong { found: MAX_DOCUMENT_BYTES + 1, limit: MAX_DOCUMENT_BYTES },
            "record `r`: document has 16777217 bytes, the limit is 16777216",
        );
        refused(
            with("", Value::Bool(true)),
            "metadata key ``",
            Empty,
            "record `r`: metadata key `` is empty; give it at least one byte",
        );
        let key = "k".repeat(257);
        let field = format!("metadata key `{}…`", "k".repeat(64));
        refused(
            with(&key, Value::Bool(true)),
            &field,
            TooLong { found: 257, limit: 256 },
            &format!("record `r`: {field} has 257 bytes, the limit is 256"),
        );
        refused(
            with("k", Value::F64s(vec![0.0, f64::NEG_INFINITY])),
            "metadata value of `k`",
            NotFinite { index: 1 },
            "record `r`: metadata value of `k` has a number at index 1 that is not finite",
        );
        refused(
            with("k\n", Value::I64s(vec![0; MAX_LIST_LEN + 1])),
            "metadata value of `k\\n`",
            TooMany { found: 65_537, limit: 65_536 },
            "record `r`: metadata value of `k\\n` has 65537 elements, the limit is 65536",
        );
        refused(
            with("k", Value::String("s".repeat(MAX_METADATA_BYTES))),
            "metadata",
            TooLong { found: MAX_METADATA_BYTES + 1, limit: MAX_METADATA_BYTES },
            "record `r`: metadata has 4194305 bytes, the limit is 4194304",
        );
        let many: BTreeMap<_, _> = (0..1_025).map(|i| (i.to_string(), None)).collect();
        refused(
            Op::upsert("r", Patch { metadata: many, ..Patch::default() }),
            "metadata",
            TooMany { found: 1_025, limit: 1_024 },
            "record `r`: metadata has 1025 elements, the limit is 1024",
        );
        refused(
            Op::delete("r").at(Revision::new(1)),
            "revision",
            InputErrorKind::NotByRevision,
            "record `r`: revision must not be there: this collection is ordered by its log; leave it out, or create one with the ordering `revision`",
        );
        let by_revision = |op: Op| op.validate(OpRules::revision(3));
        let error = by_revision(Op::delete("r")).unwrap_err();
        assert_eq!((error.field(), error.kind()), ("revision", InputErrorKind::NoRevision));
        assert!(error.to_string().starts_with("record `r`: revision is missing; "), "{error}");
        let error = by_revision(Op::add("r", Record::default()).at(Revision::new(1))).unwrap_err();
        assert_eq!((error.field(), error.kind()), ("op", InputErrorKind::AddByRevision));
        assert!(error.to_string().contains("use `put` or `upsert`"), "{error}");
        assert_eq!(by_revision(Op::put("r", Record::default()).at(Revision::new(0))), Ok(()));
        assert!(with("k", Value::F64(f64::NAN)).validate(OpRules::log(3)).is_err());
        assert!(validate_source("").unwrap_err().id().is_none());
    }

    #[test]
    fn everything_at_its_limit_passes() {
        let metadata = BTreeMap::from([
            ("k".repeat(256), Value::String("é".repeat(100))),
            ("l".to_owned(), Value::Strings(vec![String::new(); MAX_LIST_LEN])),
            ("m".to_owned(), Value::Bools(vec![true; MAX_LIST_LEN])),
            ("n".to_owned(), Value::F64s(vec![1.5; 3])),
            ("o".to_owned(), Value::I64(i64::MIN)),
            ("p".to_owned(), Value::F64(f64::MAX)),
        ]);
        let record = Record {
            embedding: Some(vec![-0.0, f32::MAX, f32::MIN_POSITIVE]),
            metadata,
            document: Some(String::new()),
        };
        assert_eq!(Op::add("i".repeat(1_024), record).validate(OpRules::log(3)), Ok(()));
    }

    /// Metadata of exactly 4 MiB passes, and metadata with 8 bytes more does not. Lists count 8
    /// bytes an element.
    #[test]
    fn metadata_counts_to_its_limit() {
        let list = |key: usize, len: usize| (format!("{key:08}"), Value::I64s(vec![0; len]));
        let each = 8 + 8 * MAX_LIST_LEN;
        let whole = MAX_METADATA_BYTES / each;
        let rest = (MAX_METADATA_BYTES - whole * each - 8) / 8;
        for (more, fits) in [(0, true), (1, false)] {
            let lists = (0..whole).map(|key| list(key, MAX_LIST_LEN)).chain([list(whole, rest + more)]);
            let record = Record { metadata: lists.collect(), ..Record::default() };
            assert_eq!(Op::put("r", record).validate(OpRules::log(3)).is_ok(), fits, "{more} elements more");
        }
    }
}
