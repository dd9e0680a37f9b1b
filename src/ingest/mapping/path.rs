//! The path of an attribute in an item: its name, then keys and indexes into maps and lists.

use std::fmt;

use super::attribute::{Attribute, Item};

/// A name, then keys of maps and indexes (from 0) of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

impl Path {
    /// `a`, or `a.b.0`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::of(text.split('.').map(str::to_owned).collect())
    }

    /// A path of names that may hold dots.
    pub(super) fn of(names: Vec<String>) -> Result<Self, String> {
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(
                "an attribute's name is empty; write `name`, `map.name`, or a list of names if one holds a dot".into(),
            );
        }
        Ok(Self(names))
    }

    /// The name of the item's own attribute.
    pub(super) fn root(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The attribute at the path. `None` if it is missing or null.
    pub(super) fn find<'a>(&self, item: &'a Item) -> Option<&'a Attribute> {
        let (root, rest) = self.0.split_first()?;
        let mut found = item.get(root)?;
        for name in rest {
            found = match found {
                Attribute::Map(map) => map.get(name)?,
                Attribute::List(list) => list.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        (!matches!(found, Attribute::Null(_))).then_some(found)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
