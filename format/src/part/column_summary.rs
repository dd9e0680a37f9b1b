//! The summary of one metadata column: bounds, and a list of the values if they are few.
//!
//! The directory of a part holds it. A reader that has loaded the column computes the summary again
//! and compares the two.

use std::cmp::Ordering;

use super::rows::ArchivedTexts;
use super::values::{ArchivedValues, BOOL, BOOLS, F64, F64S, I64, I64S, REMOVED, STRING, STRINGS};
use crate::codec::{Cursor, Writer};
use crate::error::FormatError;

/// Most distinct values that a summary lists.
const MAX_LISTED: usize = 16;
/// Bytes of a text that a summary keeps.
const MAX_TEXT: usize = 64;

/// The first byte of a summary in the directory: left out, bounds, or a list of all values.
const LEFT_OUT: u8 = 0;
const BOUNDS: u8 = 1;
const LISTED: u8 = 2;

/// Some numbers, at least one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NumberSummary<T> {
    /// Their number.
    pub count: usize,
    /// The least.
    pub min: T,
    /// The greatest.
    pub max: T,
    /// All of them, ascending and without duplicates, if they are few.
    pub listed: Option<Vec<T>>,
}

/// Some texts, at least one, in the order of their bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TextSummary {
    /// Their number.
    pub count: usize,
    /// A lower bound of all texts.
    pub min: String,
    /// An upper bound of all texts. If `max_is_cut`, texts that begin with it may be greater.
    pub max: String,
    /// Whether `max` is only a prefix of the greatest text.
    pub max_is_cut: bool,
    /// All of them, ascending and without duplicates, if they are few and short.
    pub listed: Option<Vec<String>>,
}

/// Some booleans, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoolSummary {
    /// Number of `false`.
    pub falses: usize,
    /// Number of `true`.
    pub trues: usize,
}

/// The summary of the values of a column, or of the elements of its lists.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ColumnSummary {
    Strings(TextSummary),
    I64s(NumberSummary<i64>),
    F64s(NumberSummary<f64>),
    Bools(BoolSummary),
}

impl ColumnSummary {
    /// The summary of a checked column; `None` if it has no elements.
    pub(super) fn of(column: &ArchivedValues) -> Option<Self> {
        match column.kind.to_native() {
            STRING | STRINGS => TextSummary::of(&column.texts).map(Self::Strings),
            I64 | I64S => {
                let numbers = column.numbers.iter().map(|bits| bits.to_native().cast_signed());
                NumberSummary::of(numbers, i64::cmp).map(Self::I64s)
            }
            F64 | F64S => {
                let numbers = column.numbers.iter().map(|bits| f64::from_bits(bits.to_native()));
                NumberSummary::of(numbers, f64::total_cmp).map(Self::F64s)
            }
            BOOL | BOOLS => {
                let bools = column.texts.bytes.as_slice();
                let trues = bools.iter().filter(|value| **value != 0).count();
                (!bools.is_empty()).then(|| Self::Bools(BoolSummary { falses: bools.len() - trues, trues }))
            }
            _ => None,
        }
    }

    /// Its bytes in the directory.
    pub(super) fn encoded(of: Option<&Self>) -> Vec<u8> {
        let mut out = Writer::default();
        match of {
            None => out.u8(LEFT_OUT),
            Some(Self::Strings(TextSummary { listed: Some(listed), .. })) => {
                list(&mut out, listed, |out, text| out.string(text));
            }
            Some(Self::Strings(texts)) => {
                out.u8(BOUNDS);
                out.string(&texts.min);
                out.string(&texts.max);
                out.bool(texts.max_is_cut);
            }
            Some(Self::I64s(numbers)) => write_numbers(&mut out, numbers, Writer::i64),
            Some(Self::F64s(numbers)) => write_numbers(&mut out, numbers, Writer::f64),
            Some(Self::Bools(bools)) => {
                out.u8(BOUNDS);
                out.count(bools.trues);
            }
        }
        out.into_vec()
    }

    /// Reads the summary of a column of this kind with this number of elements.
    pub(super) fn read(from: &mut Cursor<'_>, kind: u32, elements: usize) -> Result<Option<Self>, FormatError> {
        let form = from.u8()?;
        if form == LEFT_OUT {
            return Ok(None);
        }
        let summed =
            form <= LISTED && elements > 0 && kind != REMOVED && (form == BOUNDS || !matches!(kind, BOOL | BOOLS));
        if !summed {
            return Err(from.invalid("a summary has an unknown form, or covers no value"));
        }
        Ok(Some(match kind {
            STRING | STRINGS => Self::Strings(read_texts(from, form, elements)?),
            I64 | I64S => Self::I64s(read_numbers(from, form, elements, Cursor::i64, i64::cmp)?),
            F64 | F64S => Self::F64s(read_numbers(from, form, elements, Cursor::f64, f64::total_cmp)?),
            _ => {
                let trues = from.u32()? as usize;
                let falses = elements.checked_sub(trues);
                let falses = falses.ok_or_else(|| from.invalid("a summary counts more values than the column has"))?;
                Self::Bools(BoolSummary { falses, trues })
            }
        }))
    }
}

fn list<T>(out: &mut Writer, listed: &[T], mut item: impl FnMut(&mut Writer, &T)) {
    out.u8(LISTED);
    out.count(listed.len());
    listed.iter().for_each(|value| item(out, value));
}

fn write_numbers<T: Copy>(out: &mut Writer, numbers: &NumberSummary<T>, number: fn(&mut Writer, T)) {
    match &numbers.listed {
        Some(listed) => list(out, listed, |out, value| number(out, *value)),
        None => {
            out.u8(BOUNDS);
            number(out, numbers.min);
            number(out, numbers.max);
        }
    }
}

/// Refuses a list that this number of elements cannot have.
fn check_list<T>(
    from: &Cursor<'_>,
    listed: &[T],
    elements: usize,
    order: impl Fn(&T, &T) -> Ordering,
) -> Result<(), FormatError> {
    let few = (1..=MAX_LISTED.min(elements)).contains(&listed.len());
    if few && listed.is_sorted_by(|a, b| order(a, b).is_lt()) {
        return Ok(());
    }
    Err(from.invalid("a summary lists no values, too many, or not in their order"))
}

fn crossed(from: &Cursor<'_>) -> FormatError {
    from.invalid("the bounds of a summary are crossed or too long")
}

fn read_numbers<'a, T: Copy>(
    from: &mut Cursor<'a>,
    form: u8,
    count: usize,
    number: fn(&mut Cursor<'a>) -> Result<T, FormatError>,
    order: fn(&T, &T) -> Ordering,
) -> Result<NumberSummary<T>, FormatError> {
    if form == BOUNDS {
        let (min, max) = (number(from)?, number(from)?);
        if order(&min, &max).is_gt() {
            return Err(crossed(from));
        }
        return Ok(NumberSummary { count, min, max, listed: None });
    }
    let listed = from.list(size_of::<u64>(), number)?;
    check_list(from, &listed, count, order)?;
    let bounds = listed.first().copied().zip(listed.last().copied());
    let (min, max) = bounds.ok_or_else(|| crossed(from))?;
    Ok(NumberSummary { count, min, max, listed: Some(listed) })
}

fn read_texts(from: &mut Cursor<'_>, form: u8, count: usize) -> Result<TextSummary, FormatError> {
    let text = |from: &mut Cursor<'_>| match from.string()? {
        long if long.len() > MAX_TEXT => Err(crossed(from)),
        text => Ok(text.to_owned()),
    };
    if form == BOUNDS {
        let (min, max, max_is_cut) = (text(from)?, text(from)?, from.bool()?);
        if min > max {
            return Err(crossed(from));
        }
        return Ok(TextSummary { count, min, max, max_is_cut, listed: None });
    }
    let listed = from.list(size_of::<u32>(), text)?;
    check_list(from, &listed, count, String::cmp)?;
    let bounds = listed.first().cloned().zip(listed.last().cloned());
    let (min, max) = bounds.ok_or_else(|| crossed(from))?;
    Ok(TextSummary { count, min, max, max_is_cut: false, listed: Some(listed) })
}

impl<T: Copy> NumberSummary<T> {
    fn of(numbers: impl ExactSizeIterator<Item = T>, order: fn(&T, &T) -> Ordering) -> Option<Self> {
        let (count, mut numbers) = (numbers.len(), numbers);
        let mut listed: Vec<T> = Vec::with_capacity(MAX_LISTED);
        // The number seen last. Neighbours often are equal.
        let mut last = 0;
        for number in numbers.by_ref() {
            if listed.get(last).is_some_and(|known| order(known, &number).is_eq()) {
                continue;
            }
            match listed.binary_search_by(|known| order(known, &number)) {
                Ok(at) => last = at,
                Err(at) if listed.len() < MAX_LISTED => {
                    listed.insert(at, number);
                    last = at;
                }
                Err(_) => {
                    let (first, last) = (*listed.first()?, *listed.last()?);
                    let lesser = |a: T, b: T| if order(&b, &a).is_lt() { b } else { a };
                    let greater = |a: T, b: T| if order(&b, &a).is_gt() { b } else { a };
                    let bounds = (lesser(first, number), greater(last, number));
                    let bounds = numbers.fold(bounds, |(min, max), number| (lesser(min, number), greater(max, number)));
                    return Some(Self { count, min: bounds.0, max: bounds.1, listed: None });
                }
            }
        }
        let (min, max) = (*listed.first()?, *listed.last()?);
        Some(Self { count, min, max, listed: Some(listed) })
    }
}

impl TextSummary {
    fn of(texts: &ArchivedTexts) -> Option<Self> {
        let count = texts.len();
        let mut all = (0..count).map(|i| texts.bytes_of(i));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut listed = ListedTexts { texts: Vec::with_capacity(MAX_LISTED), known: [&[]; 64] };
        let Some(other) = all.by_ref().find(|text| !listed.take(text)) else {
            let listed: Vec<String> = listed.texts.into_iter().map(text).collect();
            let (min, max) = (listed.first()?.clone(), listed.last()?.clone());
            return Some(Self { count, min, max, max_is_cut: false, listed: Some(listed) });
        };
        let mut min = Bound::new(other);
        let mut max = Bound::new(other);
        for text in listed.texts.iter().copied().chain(all) {
            let start = start_of(text);
            if start <= min.start && text < min.text {
                min = Bound { text, start };
            }
            if start >= max.start && text > max.text {
                max = Bound { text, start };
            }
        }
        // All texts are UTF-8, so a cut before the first byte of a character leaves UTF-8.
        let cut = |bytes: &[u8]| {
            let text = str::from_utf8(bytes).unwrap_or_default();
            text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned()
        };
        let (min, short) = (cut(min.text), cut(max.text));
        Some(Self { count, min, max_is_cut: short.len() < max.text.len(), max: short, listed: None })
    }
}

/// The first 8 bytes of a text as a number. The lesser of two texts never has the greater number.
fn start_of(text: &[u8]) -> u64 {
    if let Some(start) = text.first_chunk() {
        return u64::from_be_bytes(*start);
    }
    let mut start = [0; 8];
    start.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
    u64::from_be_bytes(start)
}

/// The least or the greatest text so far.
struct Bound<'a> {
    text: &'a [u8],
    start: u64,
}

impl<'a> Bound<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, start: start_of(text) }
    }
}

/// Distinct texts in order, while they are few and short.
struct ListedTexts<'a> {
    texts: Vec<&'a [u8]>,
    /// Texts of the list, each at a place computed from its bytes.
    known: [&'a [u8]; 64],
}

impl<'a> ListedTexts<'a> {
    /// Lists a text. Returns false if it is too long, or the list is full.
    fn take(&mut self, text: &&'a [u8]) -> bool {
        let hash = (start_of(text) ^ text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        let known = self.known.get_mut(hash as usize);
        if !text.is_empty() && known.as_ref().is_some_and(|known| *known == text) {
            return true;
        }
        if let Err(at) = self.texts.binary_search(text) {
            if self.texts.len() >= MAX_LISTED || text.len() > MAX_TEXT {
                return false;
            }
            self.texts.insert(at, text);
        }
        if let Some(known) = known {
            *known = text;
        }
        true
    }
}
