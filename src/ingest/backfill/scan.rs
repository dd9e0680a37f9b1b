//! The output of `aws dynamodb scan`: pages, items, or items one a line, read as a stream.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use super::chunk::{Chunks, Ended, unpacked};
use super::error::BackfillError;

/// The output of a scan, plain or gzip.
pub struct Scan {
    /// Its name in messages.
    pub(super) name: String,
    pub(super) input: Box<dyn Read + Send>,
    /// The name of the table, for rules that are about certain tables.
    pub(super) table: Option<String>,
    /// Its name as a source.
    pub(super) source: String,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

impl Scan {
    /// A scan with its name in messages. An item takes effect once under one `source`, so that name
    /// must stand for this very output: a digest of it, say.
    pub fn new(name: impl Into<String>, source: impl Into<String>, input: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), input: Box::new(input), table: None, source: source.into() }
    }

    /// The output of a scan in a file. Reads it once before, for a digest of it as the source.
    ///
    /// # Errors
    ///
    /// `Missing` without such a file, `Unusable` if it cannot be read.
    pub fn open(path: &Path) -> Result<Self, BackfillError> {
        let name = path.display().to_string();
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => BackfillError::Missing(format!("there is no file `{name}`")),
            _ => BackfillError::Unusable(format!("cannot read `{name}`: {error}")),
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut digest = Xxh3::new();
        io::copy(&mut file, &mut Digesting(&mut digest)).and_then(|_| file.rewind()).map_err(unreadable)?;
        Ok(Self::new(name.clone(), format!("scan#{:032x}", digest.digest128()), file))
    }

    /// The same of this table.
    #[must_use]
    pub fn of_table(self, table: Option<String>) -> Self {
        Self { table, ..self }
    }
}

struct Digesting<'a>(&'a mut Xxh3);

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads all items. Returns their number. Blocks.
pub(super) fn read_scan(input: Box<dyn Read + Send>, chunks: Chunks) -> Result<u64, Ended> {
    let reader = unpacked(input).map_err(|error| Ended::Broken(error.to_string()))?;
    let mut reading = Reading { chunks, unwanted: false, ends_early: false };
    let mut json = serde_json::Deserializer::from_reader(reader);
    while json.end().is_err() {
        if let Err(error) = Page(&mut reading).deserialize(&mut json) {
            return Err(if reading.unwanted {
                Ended::Unwanted
            } else {
                Ended::Broken(format!("after {} items: {error}", reading.chunks.items))
            });
        }
    }
    reading.chunks.flush()?;
    if reading.ends_early {
        return Err(Ended::Broken(
            "it does not reach the end of the table: its last page has a `LastEvaluatedKey` or a `NextToken`. Let the \
             scan go on from there, and give the rest in the same way"
                .to_owned(),
        ));
    }
    Ok(reading.chunks.items)
}

struct Reading {
    chunks: Chunks,
    unwanted: bool,
    /// The last page says that another follows.
    ends_early: bool,
}

impl Reading {
    fn item<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        let number = self.chunks.items + 1;
        self.chunks.add(number, text.as_bytes()).map_err(|_| {
            self.unwanted = true;
            E::custom("the reader of the items is gone")
        })
    }
}

/// A value of the top level: a page of a scan, an item, or a list of items.
struct Page<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a scan, with `Items`, or an item in DynamoDB JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element::<Box<RawValue>>()? {
            self.0.item(item.get())?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut rest: Vec<(String, String)> = Vec::new();
        let mut on_page = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "Items" {
                match map.next_value_seed(Items(self.0))? {
                    Found::Page(items) => on_page = Some(items),
                    Found::Attribute(text) => rest.push((name, text)),
                }
            } else {
                rest.push((name, map.next_value::<Box<RawValue>>()?.get().to_owned()));
            }
        }
        let find = |wanted: &str| rest.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.as_str());
        match (on_page, find("Item")) {
            (Some(items), _) => {
                if let Some(count) = find("Count").and_then(|text| text.parse::<u64>().ok())
                    && count != items
                {
                    return Err(A::Error::custom(format!("a page holds {items} items, and its `Count` is {count}")));
                }
                let token = |name: &str| find(name).is_some_and(|text| text != "null");
                self.0.ends_early = token("LastEvaluatedKey") || token("NextToken");
                Ok(())
            }
            (None, Some(item)) if rest.len() == 1 && is_item(item) => self.0.item(item),
            _ if rest.iter().all(|(_, text)| text.starts_with('{')) && !rest.is_empty() => {
                let members: Vec<String> = rest.iter().map(|(name, text)| format!("{}:{text}", quoted(name))).collect();
                self.0.item(&format!("{{{}}}", members.join(",")))
            }
            _ => Err(A::Error::custom("it is neither a page of a scan, with `Items`, nor an item in DynamoDB JSON")),
        }
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// Whether a text is an item, rather than one attribute.
fn is_item(text: &str) -> bool {
    serde_json::from_str::<crate::ingest::mapping::Item>(text).is_ok()
}

/// The value of `Items`.
struct Items<'a>(&'a mut Reading);

enum Found {
    /// The items of a page.
    Page(u64),
    /// An attribute of that name.
    Attribute(String),
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Found;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        let mut items = 0;
        while let Some(item) = seq.next_element::<Box<RawValue>>()? {
            self.0.item(item.get())?;
            items += 1;
        }
        Ok(Found::Page(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut value = serde_json::Map::new();
        while let Some((name, member)) = map.next_entry::<String, serde_json::Value>()? {
            value.insert(name, member);
        }
        Ok(Found::Attribute(serde_json::Value::Object(value).to_string()))
    }
}
