//! The parser of mapping files.

use std::collections::BTreeMap;
use std::ops::Range;

use deltafold_format::CollectionName;
use deltafold_format::limits::{MAX_KEY_BYTES, MAX_METADATA_KEYS};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mapping;
use super::condition::Condition;
use super::convert::Kind;
use super::error::MappingError;
use super::path::Path;
use super::pattern::Patterns;
use super::rule::{Insert, Modify, Remove, Revision, Rule};
use super::template::Template;

const FILE_KEYS: [&str; 2] = ["unmatched", "rule"];
const RULE_KEYS: [&str; 14] = [
    "name",
    "collection",
    "table",
    "arn",
    "match",
    "unless",
    "id",
    "document",
    "embedding",
    "metadata",
    "revision",
    "insert",
    "modify",
    "remove",
];

type Value<'a> = Spanned<DeValue<'a>>;
type Read<T> = Result<T, MappingError>;

/// Parses a mapping. `file` is its name in messages.
pub(super) fn parse(text: &str, file: &str) -> Read<Mapping> {
    let reading = Reading { file, text, rule: None };
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        reading.error(span, format!("not valid TOML: {}", error.message().replace('\n', "; ")))
    })?;
    reading.known(document.get_ref(), &FILE_KEYS, "a mapping")?;
    let mut refuses_unmatched = false;
    let mut rules = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() == "unmatched" {
            refuses_unmatched = reading.choice(value, "unmatched", &[("skip", false), ("refuse", true)])?;
        } else {
            let DeValue::Array(array) = value.get_ref() else {
                return Err(reading.error(value.span(), "rules stand under `[[rule]]`, with two brackets"));
            };
            for (place, rule) in (1..).zip(array.iter()) {
                rules.push(reading.rule(rule, place)?);
            }
        }
    }
    if rules.is_empty() {
        return Err(reading.error(0..0, "there is no rule; write one under `[[rule]]`"));
    }
    for (place, rule) in rules.iter().enumerate() {
        if rules.iter().take(place).any(|other| other.name == rule.name) {
            let reason = format!("two rules are called `{}`; give each a name of its own", rule.name);
            return Err(reading.error(0..0, reason));
        }
    }
    Ok(Mapping { rules: rules.into(), refuses_unmatched })
}

struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    /// The current rule, as messages name it.
    rule: Option<String>,
}

impl Reading<'_> {
    fn error(&self, span: Range<usize>, reason: impl Into<String>) -> MappingError {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        MappingError { file: self.file.to_owned(), line, rule: self.rule.clone(), reason: reason.into() }
    }

    fn rule(&self, value: &Value<'_>, place: usize) -> Read<Rule> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.error(value.span(), "a rule is a table; write `[[rule]]` on a line of its own"));
        };
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let name = name.map_or_else(|| format!("rule {place}"), str::to_owned);
        let reading = Reading { rule: Some(name.clone()), ..*self };
        reading.known(table, &RULE_KEYS, "a rule")?;
        if let Some(given) = table.get("name") {
            reading.text(given, "name")?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(reading.error(given.span(), "`name` is empty or holds control characters"));
            }
        }
        let needed = |key: &str, what: &str| {
            let missing = || reading.error(value.span(), format!("`{key}` is missing: {what}"));
            table.get(key).ok_or_else(missing)
        };
        let collection = needed("collection", "the collection that the items go to")?;
        let id = needed("id", "how a record's id is made, such as `id = \"{image_id}#{line_id:05}\"`")?;
        let path = |key: &str| table.get(key).map(|value| reading.path(value, key)).transpose();
        let rule = Rule {
            collection: reading.collection(collection)?,
            tables: table.get("table").map(|value| reading.patterns(value, "table")).transpose()?,
            arns: table.get("arn").map(|value| reading.patterns(value, "arn")).transpose()?,
            matches: reading.conditions(table.get("match"), "match")?,
            unless: reading.conditions(table.get("unless"), "unless")?,
            id: Template::parse(reading.text(id, "id")?)
                .map_err(|reason| reading.error(id.span(), format!("`id`: {reason}")))?,
            document: path("document")?,
            embedding: path("embedding")?,
            metadata: reading.metadata(table.get("metadata"))?,
            revision: match table.get("revision") {
                None => Revision::Sequence,
                Some(value) => reading.revision(value)?,
            },
            insert: match table.get("insert") {
                None => Insert::Put,
                Some(value) => reading.choice(value, "insert", &[("put", Insert::Put), ("upsert", Insert::Upsert)])?,
            },
            modify: match table.get("modify") {
                None => Modify::Patch,
                Some(value) => {
                    let choices = [("patch", Modify::Patch), ("upsert", Modify::Upsert), ("put", Modify::Put)];
                    reading.choice(value, "modify", &choices)?
                }
            },
            remove: match table.get("remove") {
                None => Remove::Delete,
                Some(value) => {
                    reading.choice(value, "remove", &[("delete", Remove::Delete), ("keep", Remove::Keep)])?
                }
            },
            name,
        };
        // A rule about deletions makes no record.
        let is_about_deletions = rule.matches.iter().any(Condition::is_about_deletions);
        let maps_nothing = rule.document.is_none() && rule.embedding.is_none() && rule.metadata.is_empty();
        if maps_nothing && !is_about_deletions {
            let reason = "it maps nothing; name attributes under `document`, `embedding` or `[rule.metadata]`";
            return Err(reading.error(value.span(), reason));
        }
        Ok(rule)
    }

    /// Refuses unknown keys, because a mistyped key would have no effect.
    fn known(&self, table: &DeTable<'_>, known: &[&str], what: &str) -> Read<()> {
        match table.keys().find(|key| !known.contains(&&**key.get_ref())) {
            None => Ok(()),
            Some(key) => {
                let reason = format!("unknown key `{}`; {what} has {}", key.get_ref(), known.join(", "));
                Err(self.error(key.span(), reason))
            }
        }
    }

    fn text<'v>(&self, value: &'v Value<'_>, key: &str) -> Read<&'v str> {
        value.get_ref().as_str().ok_or_else(|| {
            let found = value.get_ref().type_str();
            self.error(value.span(), format!("`{key}` is a text in quotes, not {}", article(found)))
        })
    }

    fn choice<T: Copy>(&self, value: &Value<'_>, key: &str, choices: &[(&str, T)]) -> Read<T> {
        let text = self.text(value, key)?;
        choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.error(value.span(), format!("`{key}` is {}, not \"{text}\"", names.join(" or ")))
        })
    }

    fn collection(&self, value: &Value<'_>) -> Read<CollectionName> {
        let text = self.text(value, "collection")?;
        text.parse().map_err(|error| self.error(value.span(), format!("`collection`: {error}")))
    }

    /// One text, or a list of texts.
    fn texts(&self, value: &Value<'_>, key: &str) -> Read<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(array) if !array.is_empty() => {
                array.iter().map(|value| Ok(self.text(value, key)?.to_owned())).collect()
            }
            DeValue::Array(_) => Err(self.error(value.span(), format!("`{key}` is an empty list; name at least one"))),
            _ => Ok(vec![self.text(value, key)?.to_owned()]),
        }
    }

    fn patterns(&self, value: &Value<'_>, key: &str) -> Read<Patterns> {
        self.texts(value, key).map(Patterns)
    }

    fn path(&self, value: &Value<'_>, key: &str) -> Read<Path> {
        let path = match value.get_ref() {
            DeValue::Array(_) => Path::of(self.texts(value, key)?),
            _ => Path::parse(self.text(value, key)?),
        };
        path.map_err(|reason| self.error(value.span(), format!("`{key}`: {reason}")))
    }

    fn table<'v, 'a>(&self, value: &'v Value<'a>, key: &str, like: &str) -> Read<&'v DeTable<'a>> {
        value.get_ref().as_table().ok_or_else(|| {
            let found = value.get_ref().type_str();
            self.error(value.span(), format!("`{key}` is a table such as `{like}`, not {}", article(found)))
        })
    }

    fn conditions(&self, value: Option<&Value<'_>>, key: &str) -> Read<Vec<Condition>> {
        let Some(value) = value else { return Ok(Vec::new()) };
        let table = self.table(value, key, &format!("{key} = {{ SK = \"LINE#*\" }}"))?;
        let condition = |(attribute, patterns): (&Spanned<_>, &Value<'_>)| {
            let name: &std::borrow::Cow<'_, str> = attribute.get_ref();
            Condition::parse(name, self.patterns(patterns, name)?)
                .map_err(|reason| self.error(attribute.span(), format!("`{key}`: {reason}")))
        };
        table.iter().map(condition).collect()
    }

    fn metadata(&self, value: Option<&Value<'_>>) -> Read<BTreeMap<String, (Path, Kind)>> {
        let Some(value) = value else { return Ok(BTreeMap::new()) };
        let table = self.table(value, "metadata", "metadata = { page = \"i64\" }")?;
        if table.len() > MAX_METADATA_KEYS {
            let reason = format!("`metadata` has {} keys, the limit is {MAX_METADATA_KEYS}", table.len());
            return Err(self.error(value.span(), reason));
        }
        let mut metadata = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref();
            if name.is_empty() || name.len() > MAX_KEY_BYTES {
                let reason = format!("a metadata key has 1 to {MAX_KEY_BYTES} bytes");
                return Err(self.error(key.span(), reason));
            }
            let (path, kind) = match value.get_ref() {
                DeValue::Table(table) => {
                    self.known(table, &["from", "type"], "a metadata key")?;
                    let missing = || self.error(value.span(), format!("`{name}` needs a `type`: {}", Kind::NAMES));
                    let kind = table.get("type").ok_or_else(missing)?;
                    let path = match table.get("from") {
                        Some(from) => self.path(from, "from")?,
                        None => self.path_named(key)?,
                    };
                    (path, kind)
                }
                _ => (self.path_named(key)?, value),
            };
            let text = self.text(kind, name)?;
            let kind = Kind::parse(text).ok_or_else(|| {
                self.error(kind.span(), format!("`{name}` has the unknown type `{text}`; choose {}", Kind::NAMES))
            })?;
            metadata.insert(name.clone().into_owned(), (path, kind));
        }
        Ok(metadata)
    }

    /// The attribute with the name of the key, dots included.
    fn path_named(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> Read<Path> {
        let name = key.get_ref().clone().into_owned();
        Path::of(vec![name]).map_err(|reason| self.error(key.span(), reason))
    }

    fn revision(&self, value: &Value<'_>) -> Read<Revision> {
        let like = "`revision` is \"sequence_number\" or `{ attribute = \"version\" }`";
        match value.get_ref() {
            DeValue::String(text) if text == "sequence_number" => Ok(Revision::Sequence),
            DeValue::Table(table) => {
                self.known(table, &["attribute"], "`revision`")?;
                let attribute = table.get("attribute").ok_or_else(|| self.error(value.span(), like))?;
                Ok(Revision::Attribute(self.path(attribute, "attribute")?))
            }
            _ => Err(self.error(value.span(), like)),
        }
    }
}

fn article(found: &str) -> String {
    let an = found.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {found}", if an { "an" } else { "a" })
}
