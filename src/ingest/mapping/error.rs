//! Why a mapping file, or a record of a stream, cannot be used.

use std::fmt;

/// What is wrong with a mapping file, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) rule: Option<String>,
    pub(super) reason: String,
}

impl MappingError {
    /// The line of the file, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The rule, if one is to blame: by its name, or as `rule 2` by its place.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// What is wrong, and what would be right.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(rule) = &self.rule {
            write!(f, "{}: ", named(rule))?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for MappingError {}

/// Why a record cannot become ops. It is mended in the mapping, in the settings of the stream, or
/// in the table; the record stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    pub(super) rule: Option<String>,
    pub(super) attribute: Option<String>,
    pub(super) reason: String,
}

impl RecordError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { rule: None, attribute: None, reason: reason.into() }
    }

    pub(super) fn of(attribute: &str, reason: impl Into<String>) -> Self {
        Self { attribute: Some(attribute.to_owned()), ..Self::new(reason) }
    }

    pub(super) fn in_rule(self, rule: &str) -> Self {
        Self { rule: Some(rule.to_owned()), ..self }
    }

    /// The rule that was to map the record.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The attribute that is to blame, as the mapping names it.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }

    /// What is wrong, and what to do about it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            write!(f, "{}: ", named(rule))?;
        }
        if let Some(attribute) = &self.attribute {
            write!(f, "attribute `{}`: ", cut(attribute))?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for RecordError {}

/// A rule without a name is called by its place already.
fn named(rule: &str) -> String {
    let by_place = rule.strip_prefix("rule ").is_some_and(|place| place.bytes().all(|byte| byte.is_ascii_digit()));
    if by_place { rule.to_owned() } else { format!("rule `{rule}`") }
}

/// A text of a record as a message shows it.
pub(super) fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_attribute_that_is_to_blame() {
        let error = RecordError::of("box.x", "it is no number").in_rule("lines");
        assert_eq!(
            (error.rule(), error.attribute(), error.reason()),
            (Some("lines"), Some("box.x"), "it is no number")
        );
        assert_eq!(RecordError::new("there is no image").attribute(), None);
    }
}
