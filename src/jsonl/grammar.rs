//! The structure of JSON text, byte by byte: where a value ends, and where it breaks the grammar.
//!
//! It knows strings, brackets, commas and colons. It takes any word for a number, `NaN` too: the
//! parser refuses it later, by its name.

/// Deeper text is refused. The parser refuses it far earlier.
const MAX_DEPTH: usize = 1_024;

/// One value while its bytes arrive.
#[derive(Debug)]
pub(super) struct Grammar {
    /// The open brackets: true for an object.
    open: Vec<bool>,
    state: State,
}

/// The next bytes that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Value,
    /// A value, or the end of an empty list.
    FirstValue,
    Key,
    /// A key, or the end of an empty object.
    FirstKey,
    Colon,
    /// A comma or a closing bracket.
    Separator,
    String {
        key: bool,
        escaped: bool,
    },
    Scalar,
    Done,
}

/// The effect of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The value goes on.
    Goes,
    /// The value ends with this byte.
    Done,
    /// The value ended in front of this byte, which does not belong to it.
    Over,
    /// The byte breaks the grammar.
    Wrong,
}

impl Grammar {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), state: State::Value }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Open brackets.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the innermost open bracket is that of a list.
    pub(super) fn in_list(&self) -> bool {
        self.open.last() == Some(&false)
    }

    pub(super) fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Done => return Step::Over,
            State::String { escaped: true, key } => self.state = State::String { key, escaped: false },
            State::String { key, .. } => match byte {
                b'\\' => self.state = State::String { key, escaped: true },
                b'"' if key => self.state = State::Colon,
                b'"' => return self.behind_value(),
                b'\n' => return Step::Wrong,
                _ => {}
            },
            State::Scalar => match byte {
                b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n' => {
                    if self.behind_value() == Step::Done {
                        return Step::Over;
                    }
                    return self.step(byte);
                }
                b'"' | b'{' | b'[' | b':' => return Step::Wrong,
                _ => {}
            },
            _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {}
            State::Value | State::FirstValue => match byte {
                b'{' => return self.open(true),
                b'[' => return self.open(false),
                b'"' => self.state = State::String { key: false, escaped: false },
                b']' if self.state == State::FirstValue => return self.close(false),
                b',' | b':' | b']' | b'}' => return Step::Wrong,
                _ => self.state = State::Scalar,
            },
            State::Key | State::FirstKey => match byte {
                b'"' => self.state = State::String { key: true, escaped: false },
                b'}' if self.state == State::FirstKey => return self.close(true),
                _ => return Step::Wrong,
            },
            State::Colon if byte == b':' => self.state = State::Value,
            State::Separator => match (byte, self.in_list()) {
                (b',', true) => self.state = State::Value,
                (b',', false) => self.state = State::Key,
                (b']', _) => return self.close(false),
                (b'}', _) => return self.close(true),
                _ => return Step::Wrong,
            },
            State::Colon => return Step::Wrong,
        }
        Step::Goes
    }

    fn open(&mut self, is_object: bool) -> Step {
        if self.open.len() == MAX_DEPTH {
            return Step::Wrong;
        }
        self.open.push(is_object);
        self.state = if is_object { State::FirstKey } else { State::FirstValue };
        Step::Goes
    }

    fn close(&mut self, is_object: bool) -> Step {
        if self.open.pop() != Some(is_object) {
            return Step::Wrong;
        }
        self.behind_value()
    }

    fn behind_value(&mut self) -> Step {
        if self.open.is_empty() {
            self.state = State::Done;
            return Step::Done;
        }
        self.state = State::Separator;
        Step::Goes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The length of the value at the beginning of a text, or the place of the fault.
    fn ends(text: &str) -> Result<usize, usize> {
        let mut grammar = Grammar::new();
        for (at, byte) in text.bytes().enumerate() {
            match grammar.step(byte) {
                Step::Goes => {}
                Step::Done => return Ok(at + 1),
                Step::Over => return Ok(at),
                Step::Wrong => return Err(at),
            }
        }
        Err(text.len())
    }

    #[test]
    fn a_value_ends_where_its_last_bracket_closes() {
        assert_eq!(ends(r#"{"a":[1,{"b":"}\"]"}],"c":null} {"#), Ok(31));
        assert_eq!(ends("[]x"), Ok(2));
        assert_eq!(ends("12,"), Ok(2));
        assert_eq!(ends(r#""a" "#), Ok(3));
        assert_eq!(ends("{\n  \"a\" : NaN\n}"), Ok(15));
    }

    #[test]
    fn a_fault_is_found_where_it_stands() {
        let table = [
            ("{\"a\":1,\n{\"b\"", 8),
            ("{\"a\":1\n{\"b\"", 7),
            ("{\"a\n\":1}", 3),
            ("{\"a\" 1}", 5),
            ("[1,]", 3),
            ("{\"a\":1]", 6),
            ("[1}", 2),
            ("{]", 1),
            ("{\"a\":\"b\"\"c\"", 8),
            ("[1\"", 2),
        ];
        for (text, at) in table {
            assert_eq!(ends(text), Err(at), "{text}");
        }
        assert_eq!(ends(&"[".repeat(2_000)), Err(MAX_DEPTH));
    }

    proptest! {
        #[test]
        fn valid_json_is_followed_to_its_end(keys in proptest::collection::vec(".*", 0..5), number in any::<f64>(), behind in "[ ,]") {
            let object: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), serde_json::json!([key, number, {}]))).collect();
            let text = serde_json::to_string_pretty(&object).unwrap();
            prop_assert_eq!(ends(&format!("{text}{behind}")), Ok(text.len()));
        }
    }
}
