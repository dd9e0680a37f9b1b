//! Attributes of DynamoDB items, in the JSON form of streams and the service's tools:
//! `{"S":"text"}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _};

/// An item, or a map in one.
pub type Item = BTreeMap<String, Attribute>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[non_exhaustive]
pub enum Attribute {
    /// Text.
    #[serde(rename = "S")]
    String(String),
    /// A number of up to 38 digits, as its text.
    #[serde(rename = "N")]
    Number(String),
    /// Bytes, in Base64.
    #[serde(rename = "B")]
    Binary(Bytes),
    /// True or false.
    #[serde(rename = "BOOL")]
    Bool(bool),
    /// No value. A mapping treats it as a missing attribute.
    #[serde(rename = "NULL")]
    Null(bool),
    /// Attributes by name.
    #[serde(rename = "M")]
    Map(Item),
    /// Attributes in order.
    #[serde(rename = "L")]
    List(Vec<Attribute>),
    /// A set of texts.
    #[serde(rename = "SS")]
    Strings(Vec<String>),
    /// A set of numbers.
    #[serde(rename = "NS")]
    Numbers(Vec<String>),
    /// A set of bytes.
    #[serde(rename = "BS")]
    Binaries(Vec<Bytes>),
}

/// Bytes that JSON carries in Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|error| D::Error::custom(format!("no Base64: {error}")))
    }
}

impl Attribute {
    /// Its type, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string (S)",
            Self::Number(_) => "a number (N)",
            Self::Binary(_) => "binary (B)",
            Self::Bool(_) => "a boolean (BOOL)",
            Self::Null(_) => "null (NULL)",
            Self::Map(_) => "a map (M)",
            Self::List(_) => "a list (L)",
            Self::Strings(_) => "a set of strings (SS)",
            Self::Numbers(_) => "a set of numbers (NS)",
            Self::Binaries(_) => "a set of binaries (BS)",
        }
    }
}
