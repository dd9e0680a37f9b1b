//! The columns that the records of an export need.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use deltafold_format::{Metadata, Value};

use super::columns::{METADATA, METADATA_JSON};

/// Most keys that get a column of their own.
const MAX_TYPED: usize = 1_024;
/// Most keys whose types are noted. Later ones go to the column of JSON.
const MAX_NOTED: usize = 65_536;

/// The type of a metadata value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    I64,
    F64,
    Bool,
    Strings,
    I64s,
    F64s,
    Bools,
}

impl Kind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::String,
            Value::I64(_) => Self::I64,
            Value::F64(_) => Self::F64,
            Value::Bool(_) => Self::Bool,
            Value::Strings(_) => Self::Strings,
            Value::I64s(_) => Self::I64s,
            Value::F64s(_) => Self::F64s,
            Value::Bools(_) => Self::Bools,
        }
    }

    pub(super) fn data_type(self) -> DataType {
        let list = |of| DataType::List(Arc::new(Field::new("item", of, false)));
        match self {
            Self::String => DataType::Utf8,
            Self::I64 => DataType::Int64,
            Self::F64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Strings => list(DataType::Utf8),
            Self::I64s => list(DataType::Int64),
            Self::F64s => list(DataType::Float64),
            Self::Bools => list(DataType::Boolean),
        }
    }
}

/// The metadata keys of some records, and the type of each: which columns an export needs.
///
/// A key whose values all have one type gets a column of its own. The values of all other keys
/// stand together as JSON.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// `None`: values of several types.
    kinds: BTreeMap<String, (Option<Kind>, u64)>,
    /// Keys that were not noted, because there are too many.
    more: bool,
}

impl Shape {
    /// Notes the keys of a record.
    pub fn note(&mut self, metadata: &Metadata) {
        for (key, value) in metadata {
            let kind = Kind::of(value);
            let room = self.kinds.len() < MAX_NOTED;
            // Most keys are known.
            if let Some((known, count)) = self.kinds.get_mut(key) {
                *known = known.filter(|known| *known == kind);
                *count += 1;
            } else if !room {
                self.more = true;
            } else if let Entry::Vacant(place) = self.kinds.entry(key.clone()) {
                place.insert((Some(kind), 1));
            }
        }
    }

    /// The keys with columns of their own, in their order.
    pub(super) fn typed(&self) -> Vec<(String, Kind)> {
        let mut typed: Vec<(&String, Kind, u64)> =
            self.kinds.iter().filter_map(|(key, (kind, count))| Some((key, (*kind)?, *count))).collect();
        // Those of most records.
        typed.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
        typed.truncate(MAX_TYPED);
        typed.sort_by_key(|(key, ..)| *key);
        typed.into_iter().map(|(key, kind, _)| (key.clone(), kind)).collect()
    }
}

/// The columns of a file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) schema: Arc<Schema>,
    pub(super) dimension: i32,
    pub(super) revisions: bool,
    pub(super) typed: Vec<(String, Kind)>,
    /// Whether there is a column of JSON.
    pub(super) rest: bool,
}

impl Layout {
    pub(super) fn new(shape: &Shape, dimension: i32, revisions: bool, about: HashMap<String, String>) -> Self {
        let typed = shape.typed();
        let rest = shape.more || typed.len() < shape.kinds.len();
        let mut fields = vec![Field::new("id", DataType::Utf8, false)];
        if revisions {
            fields.push(Field::new("revision", DataType::Utf8, false));
        }
        let number = Arc::new(Field::new("item", DataType::Float32, false));
        fields.push(Field::new("embedding", DataType::FixedSizeList(number, dimension), true));
        fields.push(Field::new("document", DataType::Utf8, true));
        if !typed.is_empty() {
            fields.push(Field::new(METADATA, DataType::Struct(Self::keys(&typed)), false));
        }
        if rest {
            fields.push(Field::new(METADATA_JSON, DataType::Utf8, true));
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, about));
        Self { schema, dimension, revisions, typed, rest }
    }

    pub(super) fn keys(typed: &[(String, Kind)]) -> Fields {
        typed.iter().map(|(key, kind)| Field::new(key, kind.data_type(), true)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_one_type_has_a_column_and_a_mixed_one_has_none() {
        let mut shape = Shape::default();
        let metadata = |pairs: &[(&str, Value)]| -> Metadata {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
        };
        shape.note(&metadata(&[("a", Value::I64(1)), ("b", Value::I64(1))]));
        shape.note(&metadata(&[("a", Value::I64(2)), ("b", Value::F64(1.0)), ("c", Value::Bools(vec![]))]));
        shape.note(&metadata(&[("b", Value::I64(2))]));
        assert_eq!(shape.typed(), [("a".to_owned(), Kind::I64), ("c".to_owned(), Kind::Bools)]);
        let layout = Layout::new(&shape, 3, false, HashMap::new());
        let names: Vec<&str> = layout.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "embedding", "document", "metadata", "metadata_json"]);
        let layout = Layout::new(&Shape::default(), 3, true, HashMap::new());
        let names: Vec<&str> = layout.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "revision", "embedding", "document"]);
    }

    #[test]
    fn too_many_keys_go_to_the_column_of_json() {
        let mut shape = Shape::default();
        for number in 0..MAX_TYPED + 5 {
            shape.note(&[(format!("k{number:05}"), Value::Bool(true))].into());
        }
        shape.note(&[(format!("k{:05}", MAX_TYPED + 4), Value::Bool(true))].into());
        let typed = shape.typed();
        assert_eq!(typed.len(), MAX_TYPED);
        assert!(typed.iter().any(|(key, _)| *key == format!("k{:05}", MAX_TYPED + 4)), "it is in most records");
        assert!(Layout::new(&shape, 1, false, HashMap::new()).rest);
    }
}
