//! Errors of mapping files and of stream records.

use std::fmt;

/// An error in a mapping file: its place, the reason and the remedy.
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

    /// The rule to blame, if there is one: its name, or its place, as in `rule 2`.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The reason and the remedy.
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

/// The reason why a record cannot become ops. Fix the mapping, the settings of the stream, or the
/// table; the record stays the same.
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

    /// The rule that took the record.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The attribute to blame, as the mapping names it.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }

    /// The reason and the remedy.
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

/// A rule without a name goes by its place already.
fn named(rule: &str) -> String {
    let by_place = rule.strip_prefix("rule ").is_some_and(|place| place.bytes().all(|byte| byte.is_ascii_digit()));
    if by_place { rule.to_owned() } else { format!("rule `{rule}`") }
}

/// A text of a record in the form for messages.
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
    fn an_error_of_a_file_names_line_rule_and_reason() {
        let error = MappingError {
            file: "map.toml".to_owned(),
            line: 7,
            rule: Some("lines".to_owned()),
            reason: "an unknown field".to_owned(),
        };
        assert_eq!((error.line(), error.rule(), error.reason()), (7, Some("lines"), "an unknown field"));
        assert_eq!(error.to_string(), "map.toml:7: rule `lines`: an unknown field");
    }

    #[test]
    fn an_error_names_the_attribute_that_is_to_blame() {
        let error = RecordError::of("box.x", "it is not a number").in_rule("lines");
        assert_eq!(
            (error.rule(), error.attribute(), error.reason()),
            (Some("lines"), Some("box.x"), "it is not a number")
        );
        assert_eq!(RecordError::new("there is no image").attribute(), None);
    }
}
