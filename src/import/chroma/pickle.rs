//! The pickle beside an index: the labels of its records, in a subset of Python's pickle format.
//!
//! A pickle is a program for a small stack machine. This reader knows the opcodes that build
//! integers, texts and dictionaries, and one class by its name. It calls nothing and imports
//! nothing. Any other opcode is an error that names the opcode and its place.
//!
//! Chroma 1.x writes a dictionary. Chroma 0.5 writes an object of the class `PersistentData`, whose
//! state is the same dictionary.

use std::fmt;

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

/// The reason why a pickle is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PickleError {
    /// The offset of the opcode, where one is at fault.
    at: Option<usize>,
    reason: String,
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at byte {at}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

type Result<T> = std::result::Result<T, PickleError>;

fn fault<T>(reason: impl Into<String>) -> Result<T> {
    Err(PickleError { at: None, reason: reason.into() })
}

/// The labels of an index. Texts are those of the pickle's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels<'a> {
    /// Length of the embeddings, if the pickle tells it.
    pub(super) dimension: Option<i64>,
    /// The last place of the queue that the index contains, in versions that keep it here.
    pub(super) max_seq_id: Option<i64>,
    /// The label of each id. Ids and labels are unique.
    pub(super) labels: Vec<(&'a str, u64)>,
}

/// Reads the labels of an index.
///
/// Memory is bounded by the length of the pickle: each of its bytes makes at most one value here.
pub(super) fn labels(bytes: &[u8]) -> Result<Labels<'_>> {
    let machine = Machine { bytes, at: 0, stack: Vec::new(), memo: Vec::new(), dicts: Vec::new() };
    let (root, dicts) = machine.run()?;
    let root = match root {
        Value::Dict(root) | Value::Object(Some(root)) => root,
        _ => return fault("it holds no dictionary"),
    };
    let held = |index: usize| dicts.get(index).map(Vec::as_slice).unwrap_or_default();
    let field = |name: &str| {
        let mut found = held(root).iter().filter(|(key, _)| *key == Value::Text(name)).map(|(_, value)| *value);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => fault(format!("it has no `{name}`")),
            _ => fault(format!("it has `{name}` twice")),
        }
    };
    let number = |name: &str| match field(name)? {
        Value::None => Ok(None),
        Value::Int(number) => Ok(Some(number)),
        _ => fault(format!("`{name}` is no number")),
    };
    let dict = |name: &str| match field(name)? {
        Value::Dict(index) => Ok(held(index)),
        _ => fault(format!("`{name}` is no dictionary")),
    };
    let of_ids = dict("id_to_label")?.iter().map(|pair| match *pair {
        (Value::Text(id), Value::Int(label)) => pair_of(id, label, "id_to_label"),
        _ => fault("`id_to_label` holds something else than ids with labels"),
    });
    let mut labels = of_ids.collect::<Result<Vec<_>>>()?;
    let of_labels = dict("label_to_id")?.iter().map(|pair| match *pair {
        (Value::Int(label), Value::Text(id)) => pair_of(id, label, "label_to_id"),
        _ => fault("`label_to_id` holds something else than labels with ids"),
    });
    let mut inverse = of_labels.collect::<Result<Vec<_>>>()?;
    labels.sort_unstable();
    inverse.sort_unstable();
    if labels != inverse {
        return fault("`id_to_label` and `label_to_id` contradict each other");
    }
    if labels.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return fault("`id_to_label` has an id twice");
    }
    labels.sort_unstable_by_key(|(_, label)| *label);
    if labels.windows(2).any(|pair| matches!(pair, [(_, a), (_, b)] if a == b)) {
        return fault("`label_to_id` has a label twice");
    }
    // Chroma 1.x keeps this number in its database only.
    let max_seq_id = if field("max_seq_id").is_ok() { number("max_seq_id")? } else { None };
    Ok(Labels { dimension: number("dimensionality")?, max_seq_id, labels })
}

fn pair_of<'a>(id: &'a str, label: i64, name: &str) -> Result<(&'a str, u64)> {
    match u64::try_from(label) {
        Ok(label) => Ok((id, label)),
        Err(_) => fault(format!("`{name}` has the negative label {label}")),
    }
}

/// A value on the stack. Dictionaries are kept apart, so that a value is small and cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Text(&'a str),
    /// The place of a dictionary.
    Dict(usize),
    EmptyTuple,
    Mark,
    /// The one class that is known.
    Class,
    /// An object of the class, with its state once it has one.
    Object(Option<usize>),
}

type Dict<'a> = Vec<(Value<'a>, Value<'a>)>;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Kept values. A pickler numbers them in order.
    memo: Vec<Value<'a>>,
    dicts: Vec<Dict<'a>>,
}

impl<'a> Machine<'a> {
    /// Runs the program to its end. Returns its result, and all dictionaries.
    fn run(mut self) -> Result<(Value<'a>, Vec<Dict<'a>>)> {
        loop {
            let at = self.at;
            match self.step() {
                Ok(None) => {}
                Ok(Some(result)) if self.at == self.bytes.len() => return Ok((result, self.dicts)),
                Ok(Some(_)) => return Err(PickleError { at: Some(self.at), reason: "bytes follow its end".into() }),
                Err(error) => return Err(PickleError { at: Some(at), ..error }),
            }
        }
    }

    /// Runs one opcode. The last one has the result.
    fn step(&mut self) -> Result<Option<Value<'a>>> {
        use opcode::{
            BINGET, BININT, BININT1, BININT2, BINPUT, BINUNICODE, BINUNICODE8, BUILD, EMPTY_DICT, EMPTY_TUPLE, FRAME,
            GLOBAL, LONG_BINGET, LONG_BINPUT, LONG1, MARK, MEMOIZE, NEWFALSE, NEWOBJ, NEWTRUE, NONE, PROTO, SETITEM,
            SETITEMS, SHORT_BINUNICODE, STACK_GLOBAL, STOP,
        };
        let [opcode] = self.take()?;
        match opcode {
            PROTO => {
                let [protocol] = self.take()?;
                if protocol > PROTOCOL {
                    return fault(format!("protocol {protocol} is unknown"));
                }
            }
            // Frames are advice to readers that buffer.
            FRAME => drop(self.take::<8>()?),
            NONE => self.stack.push(Value::None),
            NEWTRUE | NEWFALSE => self.stack.push(Value::Bool),
            BININT => {
                let number = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Int(number.into()));
            }
            BININT1 => {
                let [number] = self.take()?;
                self.stack.push(Value::Int(number.into()));
            }
            BININT2 => {
                let number = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Int(number.into()));
            }
            LONG1 => {
                let number = self.long()?;
                self.stack.push(Value::Int(number));
            }
            SHORT_BINUNICODE => {
                let [len] = self.take()?;
                self.text(u64::from(len))?;
            }
            BINUNICODE => {
                let len = u32::from_le_bytes(self.take()?);
                self.text(u64::from(len))?;
            }
            BINUNICODE8 => {
                let len = u64::from_le_bytes(self.take()?);
                self.text(len)?;
            }
            EMPTY_DICT => {
                self.stack.push(Value::Dict(self.dicts.len()));
                self.dicts.push(Vec::new());
            }
            EMPTY_TUPLE => self.stack.push(Value::EmptyTuple),
            MARK => self.stack.push(Value::Mark),
            SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.dict()?;
                dict.push((key, value));
            }
            SETITEMS => self.set_items()?,
            BINPUT => {
                let [place] = self.take()?;
                self.keep(place.into())?;
            }
            LONG_BINPUT => {
                let place = u32::from_le_bytes(self.take()?);
                self.keep(place as usize)?;
            }
            MEMOIZE => self.keep(self.memo.len())?,
            BINGET => {
                let [place] = self.take()?;
                self.recall(place.into())?;
            }
            LONG_BINGET => {
                let place = u32::from_le_bytes(self.take()?);
                self.recall(place as usize)?;
            }
            GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
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
                self.stack.push(Value::Object(None));
            }
            BUILD => {
                let (state, object) = (self.pop()?, self.pop()?);
                let (Value::Dict(state), Value::Object(None)) = (state, object) else {
                    return fault("the state of something else than a new object");
                };
                self.stack.push(Value::Object(Some(state)));
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

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).copied();
        let taken = taken.map_or_else(|| fault("the file ends inside an opcode"), Ok)?;
        self.at += N;
        Ok(taken)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.map_or_else(|| fault("the file ends inside an opcode"), Ok)?;
        self.at += len;
        Ok(taken)
    }

    fn text(&mut self, len: u64) -> Result<()> {
        let bytes = self.slice(usize::try_from(len).unwrap_or(usize::MAX))?;
        let text = std::str::from_utf8(bytes).or_else(|_| fault("a text that is not UTF-8"))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// A line of a class in old protocols.
    fn line(&mut self) -> Result<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = memchr::memchr(b'\n', rest).map_or_else(|| fault("the file ends inside an opcode"), Ok)?;
        let line = self.slice(len)?;
        self.at += 1;
        std::str::from_utf8(line).or_else(|_| fault("a name that is not UTF-8"))
    }

    /// A little-endian integer of at most 8 bytes.
    fn long(&mut self) -> Result<i64> {
        let [len] = self.take()?;
        let bytes = self.slice(len.into())?;
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

    fn pop(&mut self) -> Result<Value<'a>> {
        match self.stack.pop() {
            Some(Value::Mark) | None => fault("an opcode that lacks its values"),
            Some(value) => Ok(value),
        }
    }

    /// The dictionary on the top of the stack, which stays there.
    fn dict(&mut self) -> Result<&mut Dict<'a>> {
        let found = match self.stack.last() {
            Some(Value::Dict(index)) => self.dicts.get_mut(*index),
            _ => None,
        };
        found.map_or_else(|| fault("an entry of something else than a dictionary"), Ok)
    }

    /// Moves the pairs above the last mark into the dictionary below it.
    fn set_items(&mut self) -> Result<()> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        let mark = mark.map_or_else(|| fault("entries without a mark"), Ok)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return fault("a key without a value");
        }
        let dict = self.dict()?;
        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn keep(&mut self, place: usize) -> Result<()> {
        let Some(value) = self.stack.last().filter(|value| **value != Value::Mark) else {
            return fault("an opcode that lacks its values");
        };
        if place != self.memo.len() {
            return fault(format!("value {place} is kept before value {}", self.memo.len()));
        }
        self.memo.push(*value);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<()> {
        match self.memo.get(place) {
            // A copy of an object without its state would never get it.
            Some(Value::Object(None)) | None => fault("a reference to nothing"),
            Some(value) => {
                self.stack.push(*value);
                Ok(())
            }
        }
    }

    fn class(&mut self, module: &str, name: &str) -> Result<()> {
        if name != CLASS || !module.starts_with(MODULES) {
            let shown = |text: &str| text.chars().take(64).flat_map(char::escape_debug).collect::<String>();
            return fault(format!("class `{}.{}`, which is none of an index", shown(module), shown(name)));
        }
        self.stack.push(Value::Class);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
