//! The error of an invalid filter.

use std::fmt;

use crate::error::Repr;

/// Characters of a key or value that a message displays.
const SHOWN: usize = 40;

/// The reason why a filter is invalid, its place, and the remedy. Fix the filter and try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    path: String,
    reason: String,
}

impl FilterError {
    pub(super) fn new(path: &Path<'_>, reason: impl Into<String>) -> Self {
        Self { path: path.to_string(), reason: reason.into() }
    }

    /// The place in the JSON form, such as `$and[1].year.$gt`; empty for the whole filter.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The fault, and the remedy.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "the filter cannot be used: {}", self.reason)
        } else {
            write!(f, "the filter cannot be used: at `{}`: {}", self.path, self.reason)
        }
    }
}

impl std::error::Error for FilterError {}

impl From<FilterError> for Repr {
    fn from(error: FilterError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// A place in a filter's JSON form. It lives on the stack of the walk over the filter, and only
/// errors write it out.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(&shown(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", shown(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// `text` for a message: control characters escaped, a long text cut.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
