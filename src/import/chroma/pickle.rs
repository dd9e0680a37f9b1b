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
mod memo;

use std::fmt;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::index::ReadAt;
use crate::error::Error;
use input::{Input, Text};
use memo::Memo;

/// The class of Chroma 0.5, in the modules where its versions keep it.
const CLASS: &str = "PersistentData";
const MODULES: &str = "chromadb.segment.impl.vector.";

/// Opcodes, by the names that Python's module `pickletools` gives them.
mod opcode {
    pub(super) const MARK: u8 = b'(';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const STOP: u8 = b'.';
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const NONE: u8 = b'N';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const NEWOBJ: u8 = 0x81;
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const FRAME: u8 = 0x95;
}

/// The highest protocol that the reader knows.
const PROTOCOL: u8 = 5;

/// Most dictionaries: an index has five.
const MAX_DICTS: usize = 64;
/// Most entries of a dictionary that describes the index.
const MAX_FIELDS: usize = 64;
/// Most values on the stack. Beyond it, entries move to their dictionary before it is asked for.
const MAX_STACK: usize = 4_096;

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
    let machine = Machine { input, stack: Vec::new(), memo: Memo::default(), dicts: Vec::new(), each };
    let (root, mut input, dicts) = machine.run()?;
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

struct Machine<R, F> {
    input: Input<R>,
    stack: Vec<Value>,
    memo: Memo,
    dicts: Vec<Dict>,
    each: F,
}

impl<R: ReadAt, F: FnMut(usize, &str, u64) -> crate::error::Result<()>> Machine<R, F> {
    /// Runs the program to its end. Returns its result, and all dictionaries.
    fn run(mut self) -> Result<(Value, Input<R>, Vec<Dict>)> {
        loop {
            let at = self.input.at();
            match self.step() {
                Ok(None) => {}
                Ok(Some(result)) if self.input.is_at_end() => return Ok((result, self.input, self.dicts)),
                Ok(Some(_)) => {
                    let at = Some(self.input.at());
                    return Err(PickleError::Fault { at, reason: "bytes follow its end".into() });
                }
                Err(PickleError::Fault { reason, .. }) => return Err(PickleError::Fault { at: Some(at), reason }),
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs one opcode. The last one has the result.
    fn step(&mut self) -> Result<Option<Value>> {
        use opcode::{
            BINGET, BININT, BININT1, BININT2, BINPUT, BINUNICODE, BINUNICODE8, BUILD, EMPTY_DICT, EMPTY_TUPLE, FRAME,
            GLOBAL, LONG_BINGET, LONG_BINPUT, LONG1, MARK, MEMOIZE, NEWFALSE, NEWOBJ, NEWTRUE, NONE, PROTO, SETITEM,
            SETITEMS, SHORT_BINUNICODE, STACK_GLOBAL, STOP,
        };
        let [opcode] = self.input.take()?;
        match opcode {
            PROTO => {
                let [protocol] = self.input.take()?;
                if protocol > PROTOCOL {
                    return fault(format!("protocol {protocol} is unknown"));
                }
            }
            // Frames are advice to readers that buffer.
            FRAME => drop(self.input.take::<8>()?),
            NONE => self.push(Value::None)?,
            NEWTRUE | NEWFALSE => self.push(Value::Bool)?,
            BININT => {
                let number = i32::from_le_bytes(self.input.take()?);
                self.stack.push(Value::Int(number.into()));
            }
            BININT1 => {
                let [number] = self.input.take()?;
                self.stack.push(Value::Int(number.into()));
            }
            BININT2 => {
                let number = u16::from_le_bytes(self.input.take()?);
                self.stack.push(Value::Int(number.into()));
            }
            LONG1 => {
                let number = self.long()?;
                self.push(Value::Int(number))?;
            }
            SHORT_BINUNICODE => {
                let [len] = self.input.take()?;
                self.text(u64::from(len))?;
            }
            BINUNICODE => {
                let len = u32::from_le_bytes(self.input.take()?);
                self.text(u64::from(len))?;
            }
            BINUNICODE8 => {
                let len = u64::from_le_bytes(self.input.take()?);
                self.text(len)?;
            }
            EMPTY_DICT => {
                if self.dicts.len() == MAX_DICTS {
                    return fault(format!("more than {MAX_DICTS} dictionaries"));
                }
                self.push(Value::Dict(self.dicts.len()))?;
                self.dicts.push(Dict::default());
            }
            EMPTY_TUPLE => self.push(Value::EmptyTuple)?,
            MARK => self.push(Value::Mark)?,
            SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.dict()?;
                self.set(dict, key, value)?;
            }
            SETITEMS => self.set_items()?,
            BINPUT => {
                let [place] = self.input.take()?;
                self.keep(place.into())?;
            }
            LONG_BINPUT => {
                let place = u32::from_le_bytes(self.input.take()?);
                self.keep(place as usize)?;
            }
            MEMOIZE => self.keep(self.memo.len())?,
            BINGET => {
                let [place] = self.input.take()?;
                self.recall(place.into())?;
            }
            LONG_BINGET => {
                let place = u32::from_le_bytes(self.input.take()?);
                self.recall(place as usize)?;
            }
            GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.class(module, name)?;
            }
            STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return fault("a class whose name is no text");
                };
                self.class(module, name)?;
            }
            NEWOBJ => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                if (class, arguments) != (Value::Class, Value::EmptyTuple) {
                    return fault("an object of something else than a class without arguments");
                }
                self.push(Value::Object(None))?;
            }
            BUILD => {
                let (state, object) = (self.pop()?, self.pop()?);
                let (Value::Dict(state), Value::Object(None)) = (state, object) else {
                    return fault("the state of something else than a new object");
                };
                self.push(Value::Object(Some(state)))?;
            }
            STOP => {
                let result = self.pop()?;
                if !self.stack.is_empty() {
                    return fault("values that nothing uses");
                }
                return Ok(Some(result));
            }
            unknown => return fault(format!("opcode 0x{unknown:02x}, which a pickle of Chroma never holds")),
        }
        Ok(None)
    }

    /// Pushes a value. Entries that wait for their dictionary move to it when they are too many.
    fn push(&mut self, value: Value) -> Result<()> {
        if self.stack.len() == MAX_STACK {
            let mark = self.mark()?;
            // The last values may be half of an entry, or built further.
            let pairs = (self.stack.len() - mark - 1) / 2;
            self.set_pairs(mark, pairs.saturating_sub(1))?;
            if self.stack.len() == MAX_STACK {
                return fault(format!("more than {MAX_STACK} values at once"));
            }
        }
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, len: u64) -> Result<()> {
        let text = self.input.text(len)?;
        self.push(Value::Text(text))
    }

    /// A little-endian integer of at most 8 bytes.
    fn long(&mut self) -> Result<i64> {
        let [len] = self.input.take()?;
        let bytes = self.input.slice(len)?;
        if bytes.len() > 8 {
            return fault("an integer beyond 64 bits");
        }
        let sign = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
        let mut whole = [sign; 8];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(i64::from_le_bytes(whole))
    }

    fn pop(&mut self) -> Result<Value> {
        match self.stack.pop() {
            Some(Value::Mark) | None => fault("an opcode that lacks its values"),
            Some(value) => Ok(value),
        }
    }

    /// The dictionary on the top of the stack, which stays there.
    fn dict(&self) -> Result<usize> {
        match self.stack.last() {
            Some(Value::Dict(index)) => Ok(*index),
            _ => fault("an entry of something else than a dictionary"),
        }
    }

    /// The place of the last mark on the stack.
    fn mark(&self) -> Result<usize> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        mark.map_or_else(|| fault("entries without a mark"), Ok)
    }

    /// Moves the pairs above the last mark into the dictionary below it.
    fn set_items(&mut self) -> Result<()> {
        let mark = self.mark()?;
        let values = self.stack.len() - mark - 1;
        if !values.is_multiple_of(2) {
            return fault("a key without a value");
        }
        self.set_pairs(mark, values / 2)?;
        self.stack.truncate(mark);
        self.dict().map(drop)
    }

    /// Moves the first pairs above a mark into the dictionary below it.
    fn set_pairs(&mut self, mark: usize, pairs: usize) -> Result<()> {
        let dict = match mark.checked_sub(1).and_then(|below| self.stack.get(below)) {
            Some(Value::Dict(index)) => *index,
            _ => return fault("an entry of something else than a dictionary"),
        };
        let pairs: Vec<Value> = self.stack.drain(mark + 1..mark + 1 + 2 * pairs).collect();
        let (pairs, _) = pairs.as_chunks::<2>();
        for [key, value] in pairs {
            self.set(dict, *key, *value)?;
        }
        Ok(())
    }

    /// Sets an entry of a dictionary.
    fn set(&mut self, index: usize, key: Value, value: Value) -> Result<()> {
        let Some(dict) = self.dicts.get_mut(index) else { return fault("a reference to nothing") };
        dict.count += 1;
        if dict.first.len() < MAX_FIELDS {
            dict.first.push((key, value));
        }
        match (key, value) {
            (Value::Text(id), Value::Int(number)) if number >= 0 => {
                let (id, number) = (self.input.read(id)?, number.cast_unsigned());
                dict.of_ids.add(id, number);
                (self.each)(index, id, number).map_err(PickleError::Failed)?;
            }
            (Value::Int(number), Value::Text(id)) if number >= 0 => {
                dict.of_numbers.add(self.input.read(id)?, number.cast_unsigned());
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, place: usize) -> Result<()> {
        let Some(value) = self.stack.last().filter(|value| **value != Value::Mark) else {
            return fault("an opcode that lacks its values");
        };
        if place != self.memo.len() {
            return fault(format!("value {place} is kept before value {}", self.memo.len()));
        }
        self.memo.push(*value)
    }

    fn recall(&mut self, place: usize) -> Result<()> {
        match self.memo.get(place)? {
            // A copy of an object without its state would never get it.
            Some(Value::Object(None)) | None => fault("a reference to nothing"),
            Some(value) => self.push(value),
        }
    }

    fn class(&mut self, module: Text, name: Text) -> Result<()> {
        let shown = |text: &str| text.chars().take(64).flat_map(char::escape_debug).collect::<String>();
        let module_text = self.input.read(module)?;
        let (is_module, module) = (module_text.starts_with(MODULES), shown(module_text));
        let name = self.input.read(name)?;
        if name != CLASS || !is_module {
            return fault(format!("class `{module}.{}`, which is none of an index", shown(name)));
        }
        self.push(Value::Class)
    }
}

#[cfg(test)]
mod tests;
