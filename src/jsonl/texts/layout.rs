//! The layout of an input, by its first bytes.

use std::io::{self, BufRead};

use super::Layout;
use super::ahead::Ahead;
use crate::jsonl::grammar::{Grammar, Step};

/// The most bytes that are looked at. A first object that is longer stands on a line of its own.
const MOST: usize = 1 << 20;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// Begins each object of a JSON text sequence.
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// Skips a byte order mark, and tells the layout of what follows. Everything that is taken as JSON
/// Lines keeps that layout: its first line ends behind its first object.
pub(super) fn find<R: BufRead>(reader: &mut Ahead<R>) -> io::Result<Layout> {
    let mut mark = 0;
    while mark < BYTE_ORDER_MARK.len() && reader.see(mark)? == BYTE_ORDER_MARK.get(mark).copied() {
        mark += 1;
    }
    if mark == BYTE_ORDER_MARK.len() {
        reader.consume(mark);
    }
    let first = behind_space(reader, 0, true)?;
    Ok(match reader.see(first)? {
        Some(b'[') => {
            let second = behind_space(reader, first + 1, true)?;
            match reader.see(second)? {
                Some(b'{' | b']') => Layout::List,
                _ => Layout::Lines,
            }
        }
        Some(RECORD_SEPARATOR) => Layout::Sequence,
        Some(b'{') => behind_object(reader, first)?,
        _ => Layout::Lines,
    })
}

/// The layout of an input that begins with an object.
fn behind_object<R: BufRead>(reader: &mut Ahead<R>, start: usize) -> io::Result<Layout> {
    let mut grammar = Grammar::new();
    let mut layout = Layout::Lines;
    for at in start..MOST {
        let Some(byte) = reader.see(at)? else { return Ok(layout) };
        match grammar.step(byte) {
            Step::Goes if byte == b'\n' => layout = Layout::Sequence,
            Step::Goes => {}
            // A line that is broken; its error tells more than that of a sequence.
            Step::Wrong | Step::Over => return Ok(Layout::Lines),
            Step::Done if layout == Layout::Sequence => return Ok(layout),
            Step::Done => {
                let next = behind_space(reader, at + 1, false)?;
                let follows = reader.see(next)?;
                return Ok(match follows {
                    Some(b'{' | RECORD_SEPARATOR) => Layout::Sequence,
                    _ => Layout::Lines,
                });
            }
        }
    }
    Ok(layout)
}

/// The distance of the first byte that is not white space.
fn behind_space<R: BufRead>(reader: &mut Ahead<R>, mut at: usize, lines: bool) -> io::Result<usize> {
    while at < MOST {
        match reader.see(at)? {
            Some(b' ' | b'\t' | b'\r') => at += 1,
            Some(b'\n') if lines => at += 1,
            _ => break,
        }
    }
    Ok(at)
}
