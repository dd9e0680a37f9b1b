//! Filters about records, made from choices. The operands are values of the records, or lie beside
//! them. Text that changes blindly rarely has such operands.

use deltafold::format::{Metadata, Record, Value};
use deltafold::{Condition, DocumentCondition, Filter, Scalar};

use crate::Choices;

/// Most records: three words of a set of rows, and a part of a fourth.
const RECORDS: usize = 200;

/// Most values of a column. A summary lists at most 16.
const VALUES: usize = 40;

/// Integers at which arithmetic and conversions change.
const INTEGERS: [i64; 8] =
    [0, -2, 1 << 53, -(1 << 53) - 3, i64::MIN, i64::MAX - VALUES as i64, (1 << 62) + 1, 1_000_000];

/// Beginnings of texts. Summaries cut texts after 64 bytes.
const BEGINNINGS: [usize; 4] = [0, 1, 62, 64];

const WORDS: [&str; 6] = ["", "a", "Text", "text x", "né", "x\ny"];

const PATTERNS: [&str; 6] = ["", "t.?x", "^a", "é$", "(?i)TEXT", "x\\n"];

const KEYS: [&str; 3] = ["a", "b", "tags"];

/// The values of one key.
struct Column {
    kind: usize,
    first: usize,
    values: usize,
    step: usize,
    /// One record in this many has none.
    gap: usize,
}

impl Column {
    fn new(choices: &mut Choices<'_>) -> Self {
        Self {
            kind: choices.below(9),
            first: choices.below(8),
            values: 1 + choices.below(VALUES),
            step: 1 + choices.below(7),
            gap: 1 + choices.below(9),
        }
    }

    fn integer(&self, number: usize) -> i64 {
        INTEGERS[self.first % INTEGERS.len()].saturating_add((number % self.values) as i64)
    }

    fn float(&self, number: usize) -> f64 {
        let halves = (number % self.values) as f64 / 2.0;
        match self.first % 4 {
            0 => halves - 2.0,
            1 => (1_u64 << 53) as f64 + 2.0 * halves,
            2 => (i64::MAX as f64) * (halves - 1.0),
            _ => (0..number % self.values).fold(1.0_f64, |float, _| float.next_up()),
        }
    }

    fn text(&self, number: usize) -> String {
        let beginning = "x".repeat(BEGINNINGS[self.first % BEGINNINGS.len()]);
        let number = number % self.values;
        if self.first < BEGINNINGS.len() { format!("{beginning}{number:02}") } else { format!("{beginning}é{number}") }
    }

    fn value(&self, row: usize) -> Option<Value> {
        if row % self.gap == self.gap - 1 && self.gap > 1 {
            return None;
        }
        let number = row * self.step;
        // A list has up to two elements.
        let numbers = number..number + row % 3;
        Some(match self.kind {
            0 => Value::I64(self.integer(number)),
            1 => Value::F64(self.float(number)),
            2 => Value::String(self.text(number)),
            3 => Value::Bool(number % self.values % 2 == 1),
            4 => Value::I64s(numbers.map(|number| self.integer(number)).collect()),
            5 => Value::F64s(numbers.map(|number| self.float(number)).collect()),
            6 => Value::Strings(numbers.map(|number| self.text(number)).collect()),
            7 => Value::Bools(numbers.map(|number| number % 2 == 1).collect()),
            // Columns of several types under one key.
            _ if row.is_multiple_of(3) => Value::I64(self.integer(number)),
            _ if row % 3 == 1 => Value::F64(self.float(number)),
            _ => Value::String(self.text(number)),
        })
    }

    /// A value of the column, or one beside it.
    fn operand(&self, choices: &mut Choices<'_>) -> Scalar {
        let number = choices.below(VALUES);
        let integer = || self.integer(number);
        match (self.kind, choices.below(6)) {
            (3 | 7, beside) => Scalar::Bool(beside % 2 == 1),
            (2 | 6, 0 | 1) => Scalar::String(self.text(number)),
            (2 | 6, 2) => Scalar::String(format!("{}x", self.text(number))),
            (2 | 6, _) => {
                let text = self.text(number);
                Scalar::String(text.chars().take(text.chars().count() - 1).collect())
            }
            (1 | 5, 0 | 1) => Scalar::F64(self.float(number)),
            (1 | 5, 2) => Scalar::F64(self.float(number).next_up()),
            (1 | 5, 3) => Scalar::F64(self.float(number).next_down()),
            (1 | 5, 4) => Scalar::I64(self.float(number) as i64),
            // Beyond 2^53 it may round up to the float.
            (1 | 5, _) => Scalar::I64((self.float(number) as i64).saturating_sub(1)),
            (8, 0) => Scalar::String(self.text(number)),
            (8, 1) => Scalar::F64(self.float(number)),
            (_, 2) => Scalar::I64(integer().saturating_add(1)),
            (_, 3) => Scalar::I64(integer().saturating_sub(1)),
            (_, 4) => Scalar::F64(integer() as f64),
            (_, 5) => Scalar::F64(integer() as f64 + 0.5),
            _ => Scalar::I64(integer()),
        }
    }
}

/// A filter, and records for it.
pub fn made(mut choices: Choices<'_>) -> (Filter, Vec<Record>) {
    let columns: Vec<Column> = KEYS.iter().map(|_| Column::new(&mut choices)).collect();
    let documents = 1 + choices.below(5);
    let count = 1 + choices.below(RECORDS);
    let record = |row: usize| {
        let value = |(key, column): (&&str, &Column)| Some(((*key).to_owned(), column.value(row)?));
        let metadata: Metadata = KEYS.iter().zip(&columns).filter_map(value).collect();
        let text = || format!("{} {}", WORDS[row % WORDS.len()], WORDS[row / 2 % WORDS.len()]);
        let document = row.is_multiple_of(documents).then(text);
        Record { embedding: None, metadata, document }
    };
    let records = (0..count).map(record).collect();
    (filter(&mut choices, &columns, 3), records)
}

fn filter(choices: &mut Choices<'_>, columns: &[Column], depth: usize) -> Filter {
    let some = |choices: &mut Choices<'_>| {
        let count = 1 + choices.below(3);
        (0..count).map(|_| filter(choices, columns, depth - 1)).collect()
    };
    match choices.below(8) {
        0 if depth > 0 => Filter::And(some(choices)),
        1 if depth > 0 => Filter::Or(some(choices)),
        2 if depth > 0 => !filter(choices, columns, depth - 1),
        3 => Filter::Document(document_condition(choices)),
        _ => {
            let column = choices.below(KEYS.len() + 1);
            let condition = condition(choices, columns.get(column).unwrap_or(&columns[0]));
            Filter::metadata(*KEYS.get(column).unwrap_or(&"none"), condition)
        }
    }
}

fn condition(choices: &mut Choices<'_>, column: &Column) -> Condition {
    let how = choices.below(12);
    let operand = column.operand(choices);
    let is_bool = matches!(operand, Scalar::Bool(_));
    match how {
        0 => Condition::Equals(operand),
        1 => Condition::NotEquals(operand),
        // Booleans have no order.
        2 if !is_bool => Condition::Greater(operand),
        3 if !is_bool => Condition::GreaterOrEqual(operand),
        4 if !is_bool => Condition::Less(operand),
        5 if !is_bool => Condition::LessOrEqual(operand),
        6 | 7 => {
            let of_type = |other: &Scalar| std::mem::discriminant(other) == std::mem::discriminant(&operand);
            let more = (0..choices.below(20)).map(|_| column.operand(choices)).filter(of_type);
            let list: Vec<Scalar> = std::iter::once(operand.clone()).chain(more).collect();
            if how == 6 { Condition::In(list) } else { Condition::NotIn(list) }
        }
        8 => Condition::Contains(operand),
        9 => Condition::NotContains(operand),
        10 => match operand {
            Scalar::String(prefix) => Condition::StartsWith(prefix),
            operand => Condition::Equals(operand),
        },
        how => Condition::Exists(how % 2 == 1),
    }
}

fn document_condition(choices: &mut Choices<'_>) -> DocumentCondition {
    let word = choices.one_of(&WORDS).unwrap_or_default().to_owned();
    let pattern = choices.one_of(&PATTERNS).unwrap_or_default().to_owned();
    match choices.below(6) {
        0 => DocumentCondition::Contains(word),
        1 => DocumentCondition::NotContains(word),
        2 => DocumentCondition::Regex(pattern),
        3 => DocumentCondition::NotRegex(pattern),
        how => DocumentCondition::Exists(how == 4),
    }
}
