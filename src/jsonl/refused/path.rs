//! The path of a place in a line: `embedding[17]`, `metadata.tags[1]`.

use crate::jsonl::grammar::{Grammar, State, Step};

/// Characters of a key that a path shows.
const SHOWN: usize = 64;

/// A level of a path.
enum Level<'a> {
    /// An object, with the key of the member at hand.
    Key(Option<&'a [u8]>),
    /// A list, with the index of the element at hand.
    Index(usize),
}

/// The path of the value at an offset of a line that is an object up to there. Empty where no value
/// is: in front of the first key, and behind the object.
pub(super) fn at(line: &[u8], offset: usize) -> String {
    let (grammar, levels) = walk(line.get(..offset).unwrap_or(line));
    let mut path = String::new();
    // Between members nothing says which one is meant.
    let between = matches!(grammar.state(), State::FirstKey | State::Key | State::Separator | State::Done)
        || matches!(grammar.state(), State::String { key: true, .. });
    let known = levels.len() - usize::from(between && !levels.is_empty());
    for level in levels.iter().take(known) {
        match level {
            Level::Key(Some(key)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.extend(String::from_utf8_lossy(key).chars().take(SHOWN));
            }
            Level::Key(None) => break,
            Level::Index(index) if !path.is_empty() => path.push_str(&format!("[{index}]")),
            Level::Index(_) => break,
        }
    }
    path
}

/// The innermost thing that a line leaves open.
pub(super) fn inside(line: &[u8]) -> &'static str {
    let (grammar, _) = walk(line);
    match grammar.state() {
        State::String { .. } => "a text",
        State::Scalar => "a value",
        _ if grammar.in_list() => "a list",
        _ => "an object",
    }
}

fn walk(line: &[u8]) -> (Grammar, Vec<Level<'_>>) {
    let mut grammar = Grammar::new();
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut key = 0;
    for (at, byte) in line.iter().enumerate() {
        let (before, depth) = (grammar.state(), grammar.depth());
        let step = grammar.step(*byte);
        let after = grammar.state();
        match (before, after) {
            (State::Key | State::FirstKey, State::String { .. }) => key = at + 1,
            (State::String { key: true, .. }, State::Colon) => {
                if let Some(level) = levels.last_mut() {
                    *level = Level::Key(line.get(key..at));
                }
            }
            _ => {}
        }
        if grammar.depth() > depth {
            levels.push(if grammar.in_list() { Level::Index(0) } else { Level::Key(None) });
        }
        levels.truncate(grammar.depth());
        if *byte == b','
            && !matches!(before, State::String { .. })
            && let Some(Level::Index(index)) = levels.last_mut()
        {
            *index += 1;
        }
        if matches!(step, Step::Wrong | Step::Over) {
            break;
        }
    }
    (grammar, levels)
}
