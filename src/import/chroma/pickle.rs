//! The pickle beside an index: the labels of its records, in a subset of Python's pickle format.
//!
//! A pickle is a program for a small stack machine. This reader knows the opcodes that build
//! integers, texts and dictionaries, and one class by its name. It calls nothing and imports
//! nothing. Any other opcode is an error that names the opcode and its place.
//!
//! Chroma 1.x writes a dictionary. Chroma 0.5 writes an object of the class `PersistentData`, whose
//! state is the same dictionary.
//!
//! Memory does not grow with the file. A text is its place in the file, kept values move to a
//! temporary file, and the entries of a dictionary go to the caller one by one.

mod input;
mod machine;
mod memo;

use std::fmt;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::index::ReadAt;
use crate::error::Error;
use input::{Input, Text};
use machine::Machine;

/// The reason why a pickle is refused, or could not be read.
#[derive(Debug, Clone)]
pub(super) enum PickleError {
    /// The pickle is at fault.
    Fault {
        /// The offset of the opcode, where one is at fault.
        at: Option<u64>,
        reason: String,
    },
    /// Something else failed.
    Failed(Error),
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { at: Some(at), reason } => write!(f, "{reason} at byte {at}"),
            Self::Fault { at: None, reason } => f.write_str(reason),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

type Result<T> = std::result::Result<T, PickleError>;

fn fault<T>(reason: impl Into<String>) -> Result<T> {
    Err(PickleError::Fault { at: None, reason: reason.into() })
}

/// The labels of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Labels {
    /// Length of the embeddings, if the pickle tells it.
    pub(super) dimension: Option<i64>,
    /// The last place of the queue that the index contains, in versions that keep it here.
    pub(super) max_seq_id: Option<i64>,
    /// The dictionary of the labels, among those that the caller was given.
    pub(super) dict: usize,
    /// The number of labels.
    pub(super) count: u64,
}

/// Reads the labels of an index. `each` gets all pairs of an id and a number, with the number of
/// their dictionary. The caller checks that ids and labels are unique.
pub(super) fn labels<R: ReadAt>(
    file: R,
    each: impl FnMut(usize, &str, u64) -> crate::error::Result<()>,
) -> Result<Labels> {
    let input = Input::new(file)?;
    let (root, mut input, dicts) = Machine::new(input, each).run()?;
    let (Value::Dict(root) | Value::Object(Some(root))) = root else { return fault("it holds no dictionary") };
    let Some(root) = dicts.get(root) else { return fault("it holds no dictionary") };
    if root.count > root.first.len() as u64 {
        return fault(format!("its dictionary has {} entries, and that of an index has few", root.count));
    }
    let mut field = |name: &str| -> Result<Option<Value>> {
        let mut found = None;
        for (key, value) in &root.first {
            if let Value::Text(key) = key
                && input.read(*key)? == name
                && found.replace(*value).is_some()
            {
                return fault(format!("it has `{name}` twice"));
            }
        }
        Ok(found)
    };
    let number = |name: &str, found| match found {
        Some(Value::None) => Ok(None),
        Some(Value::Int(number)) => Ok(Some(number)),
        Some(_) => fault(format!("`{name}` is no number")),
        None => fault(format!("it has no `{name}`")),
    };
    let dict = |name: &str, found| match found {
        Some(Value::Dict(index)) => {
            dicts.get(index).map_or_else(|| fault("it refers to nothing"), |dict| Ok((index, dict)))
        }
        Some(_) => fault(format!("`{name}` is no dictionary")),
        None => fault(format!("it has no `{name}`")),
    };
    let (index, of_ids) = dict("id_to_label", field("id_to_label")?)?;
    let (_, of_labels) = dict("label_to_id", field("label_to_id")?)?;
    if of_ids.of_ids.count != of_ids.count {
        return fault("`id_to_label` holds something else than ids with labels");
    }
    if of_labels.of_numbers.count != of_labels.count {
        return fault("`label_to_id` holds something else than labels with ids");
    }
    if of_ids.of_ids != of_labels.of_numbers {
        return fault("`id_to_label` and `label_to_id` contradict each other");
    }
    // Chroma 1.x keeps this number in its database only.
    let max_seq_id = match field("max_seq_id")? {
        None => None,
        found => number("max_seq_id", found)?,
    };
    let dimension = number("dimensionality", field("dimensionality")?)?;
    Ok(Labels { dimension, max_seq_id, dict: index, count: of_ids.count })
}

/// A value on the stack. Dictionaries are kept apart, so that a value is small and cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Bool,
    Int(i64),
    Text(Text),
    /// The place of a dictionary.
    Dict(usize),
    EmptyTuple,
    Mark,
    /// The one class that is known.
    Class,
    /// An object of the class, with its state once it has one.
    Object(Option<usize>),
}

/// A dictionary: its first entries, and tallies of all.
#[derive(Default)]
struct Dict {
    first: Vec<(Value, Value)>,
    count: u64,
    /// Entries from ids to numbers.
    of_ids: Tally,
    /// Entries from numbers to ids.
    of_numbers: Tally,
}

/// Pairs of an id and a number: their count, and the sum of their hashes, whatever their order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    count: u64,
    sum: u128,
}

impl Tally {
    fn add(&mut self, id: &str, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128_with_seed(id.as_bytes(), number));
    }
}

#[cfg(test)]
mod tests;
