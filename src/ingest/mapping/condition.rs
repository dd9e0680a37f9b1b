//! Conditions of a rule: patterns of attributes, or of the identity that deleted an item.

use super::attribute::Attribute;
use super::error::RecordError;
use super::path::Path;
use super::pattern::Patterns;
use super::view::View;

/// Member of a record, not of an item. An item's own map of that name is out of reach.
const IDENTITY: &str = "userIdentity";

/// Patterns, and what they are about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    subject: Subject,
    patterns: Patterns,
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Attribute(Path),
    /// The service or user that deleted the item.
    PrincipalId,
    /// The type of that identity.
    IdentityType,
}

impl Condition {
    /// A condition on `name`: an attribute, or `userIdentity.principalId` or `userIdentity.type`.
    pub(super) fn parse(name: &str, patterns: Patterns) -> Result<Self, String> {
        let subject = match name.split_once('.') {
            Some((IDENTITY, "principalId")) => Subject::PrincipalId,
            Some((IDENTITY, "type")) => Subject::IdentityType,
            Some((IDENTITY, other)) => {
                return Err(format!("`{IDENTITY}` has no `{other}`; it has `principalId` and `type`"));
            }
            _ => Subject::Attribute(Path::parse(name)?),
        };
        Ok(Self { subject, patterns })
    }

    /// Whether it is about the identity that deleted an item, so that it fits deleted items only.
    pub(super) fn is_about_deletions(&self) -> bool {
        !matches!(self.subject, Subject::Attribute(_))
    }

    /// Whether the item fits. An item that was not deleted has no identity, and does not fit.
    pub(super) fn fits(&self, view: View<'_>) -> Result<bool, RecordError> {
        let identity = view.deleted_by();
        let text = match &self.subject {
            Subject::Attribute(path) => match view.find(path, "decides whether the rule takes the item")? {
                Some(Attribute::String(text) | Attribute::Number(text)) => Some(text.as_str()),
                Some(Attribute::Bool(truth)) => Some(if *truth { "true" } else { "false" }),
                _ => None,
            },
            Subject::PrincipalId => identity.and_then(|identity| identity.principal_id.as_deref()),
            Subject::IdentityType => identity.and_then(|identity| identity.kind.as_deref()),
        };
        Ok(text.is_some_and(|text| self.patterns.match_text(text)))
    }
}
