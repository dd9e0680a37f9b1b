//! The stack machine that runs a pickle: one opcode at a time, with its limits.

use super::input::{Input, Text};
use super::memo::Memo;
use super::{Dict, PickleError, Result, Value, fault};
use crate::import::chroma::index::ReadAt;

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
pub(super) const MAX_STACK: usize = 4_096;

/// The stack machine. `each` gets all pairs of an id and a number.
pub(super) struct Machine<R, F> {
    input: Input<R>,
    stack: Vec<Value>,
    memo: Memo,
    dicts: Vec<Dict>,
    each: F,
}

impl<R: ReadAt, F: FnMut(usize, &str, u64) -> crate::error::Result<()>> Machine<R, F> {
    pub(super) fn new(input: Input<R>, each: F) -> Self {
        Self { input, stack: Vec::new(), memo: Memo::default(), dicts: Vec::new(), each }
    }

    /// Runs the program to its end. Returns its result, and all dictionaries.
    pub(super) fn run(mut self) -> Result<(Value, Input<R>, Vec<Dict>)> {
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
        let [opcode] = self.input.take()?;
        match opcode {
            opcode::PROTO => {
                let [protocol] = self.input.take()?;
                if protocol > PROTOCOL {
                    return fault(format!("protocol {protocol} is unknown"));
                }
            }
            // Frames are advice to readers that buffer.
            opcode::FRAME => drop(self.input.take::<8>()?),
            opcode::STOP => {
                let result = self.pop()?;
                if !self.stack.is_empty() {
                    return fault("values that nothing uses");
                }
                return Ok(Some(result));
            }
            _ => {
                let is_known =
                    self.value(opcode)? || self.entries(opcode)? || self.memoized(opcode)? || self.object(opcode)?;
                if !is_known {
                    return fault(format!("opcode 0x{opcode:02x}, which a pickle of Chroma never holds"));
                }
            }
        }
        Ok(None)
    }

    /// Runs an opcode that pushes a value. `false` if it is another opcode.
    fn value(&mut self, opcode: u8) -> Result<bool> {
        let value = match opcode {
            opcode::NONE => Value::None,
            opcode::NEWTRUE | opcode::NEWFALSE => Value::Bool,
            opcode::EMPTY_TUPLE => Value::EmptyTuple,
            opcode::MARK => Value::Mark,
            opcode::BININT => Value::Int(i32::from_le_bytes(self.input.take()?).into()),
            opcode::BININT1 => Value::Int(u8::from_le_bytes(self.input.take()?).into()),
            opcode::BININT2 => Value::Int(u16::from_le_bytes(self.input.take()?).into()),
            opcode::LONG1 => Value::Int(self.long()?),
            opcode::SHORT_BINUNICODE => {
                let len = u8::from_le_bytes(self.input.take()?);
                Value::Text(self.input.text(len.into())?)
            }
            opcode::BINUNICODE => {
                let len = u32::from_le_bytes(self.input.take()?);
                Value::Text(self.input.text(len.into())?)
            }
            opcode::BINUNICODE8 => {
                let len = u64::from_le_bytes(self.input.take()?);
                Value::Text(self.input.text(len)?)
            }
            opcode::EMPTY_DICT if self.dicts.len() == MAX_DICTS => {
                return fault(format!("more than {MAX_DICTS} dictionaries"));
            }
            opcode::EMPTY_DICT => {
                self.dicts.push(Dict::default());
                Value::Dict(self.dicts.len() - 1)
            }
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    /// Runs an opcode that moves entries to their dictionary. `false` if it is another opcode.
    fn entries(&mut self, opcode: u8) -> Result<bool> {
        match opcode {
            opcode::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.dict()?;
                self.set(dict, key, value)?;
            }
            opcode::SETITEMS => self.set_items()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs an opcode that keeps a value, or gets a kept one. `false` if it is another opcode.
    fn memoized(&mut self, opcode: u8) -> Result<bool> {
        match opcode {
            opcode::MEMOIZE => self.keep(self.memo.len())?,
            opcode::BINPUT => {
                let place = u8::from_le_bytes(self.input.take()?);
                self.keep(place.into())?;
            }
            opcode::LONG_BINPUT => {
                let place = u32::from_le_bytes(self.input.take()?);
                self.keep(place as usize)?;
            }
            opcode::BINGET => {
                let place = u8::from_le_bytes(self.input.take()?);
                self.recall(place.into())?;
            }
            opcode::LONG_BINGET => {
                let place = u32::from_le_bytes(self.input.take()?);
                self.recall(place as usize)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs an opcode that names a class or builds an object. `false` if it is another opcode.
    fn object(&mut self, opcode: u8) -> Result<bool> {
        match opcode {
            opcode::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.class(module, name)?;
            }
            opcode::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return fault("a class whose name is no text");
                };
                self.class(module, name)?;
            }
            opcode::NEWOBJ => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                if (class, arguments) != (Value::Class, Value::EmptyTuple) {
                    return fault("an object of something else than a class without arguments");
                }
                self.push(Value::Object(None))?;
            }
            opcode::BUILD => {
                let (state, object) = (self.pop()?, self.pop()?);
                let (Value::Dict(state), Value::Object(None)) = (state, object) else {
                    return fault("the state of something else than a new object");
                };
                self.push(Value::Object(Some(state)))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
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
