//! The canonical form of a collection's state: one line `[id, metadata, document]` a record, keys
//! sorted, no spaces, floats as Python prints them. `expected.json` beside the data holds its hash.

use std::fmt::Write as _;

use deltafold::format::{Record, Value};
use deltafold::{Collection, ScanOptions};
use futures::TryStreamExt;
use sha2::{Digest as _, Sha256};

/// Hashes records, which must come in byte order of their ids.
#[derive(Default)]
pub struct Canonical {
    sha256: Sha256,
    pub records: u64,
    last: Option<String>,
}

impl Canonical {
    pub fn add(&mut self, id: &str, record: &Record) {
        assert!(self.last.as_deref() < Some(id), "`{id}` comes after {:?}", self.last);
        self.last = Some(id.to_owned());
        self.records += 1;
        self.sha256.update(line(id, record));
        self.sha256.update(b"\n");
    }

    pub fn finish(self) -> String {
        self.sha256.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all that is written");
            hex
        })
    }
}

/// The hash of all records.
pub fn sha256<'a>(records: impl IntoIterator<Item = (&'a str, &'a Record)>) -> String {
    let mut canonical = Canonical::default();
    records.into_iter().for_each(|(id, record)| canonical.add(id, record));
    canonical.finish()
}

/// The hash of the records of a collection.
pub async fn of(collection: &Collection) -> String {
    let mut canonical = Canonical::default();
    let reader = collection.reader().await.expect("a reader");
    let mut scan = reader.scan(ScanOptions::default());
    while let Some(entry) = scan.try_next().await.expect("an entry") {
        canonical.add(&entry.id, &entry.record);
    }
    canonical.finish()
}

/// The line of one record.
pub fn line(id: &str, record: &Record) -> String {
    let metadata: Vec<String> =
        record.metadata.iter().map(|(key, value)| format!("{}:{}", string(key), self::value(value))).collect();
    let document = record.document.as_deref().map_or("null".to_owned(), string);
    format!("[{},{{{}}},{document}]", string(id), metadata.join(","))
}

fn string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn value(value: &Value) -> String {
    fn list<T>(items: &[T], print: impl Fn(&T) -> String) -> String {
        format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(","))
    }
    match value {
        Value::String(text) => string(text),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => float(*number),
        Value::Bool(truth) => truth.to_string(),
        Value::Strings(items) => list(items, |text| string(text)),
        Value::I64s(items) => list(items, i64::to_string),
        Value::F64s(items) => list(items, |number| float(*number)),
        Value::Bools(items) => list(items, bool::to_string),
    }
}

/// A float as Python's `repr` prints it: shortest digits, an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` prints an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` prints the exponent as an integer");
    if number == 0.0 || (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[test]
fn floats_print_as_in_python() {
    let cases = [
        (1.0, "1.0"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (-2.5e-10, "-2.5e-10"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (123456.789, "123456.789"),
        (9007199254740993.0, "9007199254740992.0"),
    ];
    for (number, text) in cases {
        assert_eq!(float(number), text);
    }
}
