//! Embeddings of requests and answers: a list of numbers, or base64 of little-endian floats.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deltafold_format::limits::MAX_DIMENSION;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// An embedding of a request.
#[derive(Debug)]
pub(super) struct Embedding(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for Embedding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Embedding;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an embedding: a list of numbers, or base64 of little-endian 32-bit floats")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Embedding, E> {
        if text.len() > MAX_DIMENSION * 6 {
            return Err(E::custom(format!("an embedding has at most {MAX_DIMENSION} numbers")));
        }
        let bytes = STANDARD.decode(text).map_err(|error| E::custom(format!("an embedding is not base64: {error}")))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("an embedding in base64 has 4 bytes for each number"));
        }
        Ok(Embedding(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Embedding, A::Error> {
        let mut numbers = Vec::with_capacity(list.size_hint().unwrap_or(0).min(MAX_DIMENSION));
        while let Some(number) = list.next_element::<f32>()? {
            if numbers.len() == MAX_DIMENSION {
                return Err(A::Error::custom(format!("an embedding has at most {MAX_DIMENSION} numbers")));
            }
            numbers.push(number);
        }
        Ok(Embedding(numbers))
    }
}

impl JsonSchema for Embedding {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Embedding".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list of numbers, or base64 of little-endian 32-bit floats.",
            "anyOf": [{ "type": "array", "items": { "type": "number" } }, { "type": "string" }],
        })
    }
}

/// The form of the embeddings in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// Lists of numbers, as Chroma's clients expect them.
    #[default]
    Numbers,
    /// Base64 of little-endian 32-bit floats: half as long, and read without parsing numbers.
    Base64,
}

impl Encoding {
    /// The embedding in this form; empty where a record has none.
    pub(super) fn of(self, embedding: Option<Vec<f32>>) -> Encoded {
        Encoded { numbers: embedding.unwrap_or_default(), encoding: self }
    }
}

/// An embedding of an answer.
#[derive(Debug)]
pub(super) struct Encoded {
    numbers: Vec<f32>,
    encoding: Encoding,
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encoding {
            Encoding::Numbers => self.numbers.serialize(serializer),
            Encoding::Base64 => {
                let bytes: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                serializer.serialize_str(&STANDARD.encode(bytes))
            }
        }
    }
}

impl JsonSchema for Encoded {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Embedding::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Embedding::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_an_answer_reads_back_exactly() {
        let numbers = vec![0.1, -1.5e-30, f32::MAX, 0.0];
        for encoding in [Encoding::Numbers, Encoding::Base64] {
            let text = serde_json::to_string(&encoding.of(Some(numbers.clone()))).unwrap();
            assert_eq!(text.starts_with('"'), encoding == Encoding::Base64);
            let Embedding(read) = serde_json::from_str(&text).unwrap();
            assert_eq!(read, numbers);
        }
        assert_eq!(serde_json::to_string(&Encoding::Base64.of(None)).unwrap(), "\"\"");
        assert_eq!(serde_json::to_string(&Encoding::Numbers.of(None)).unwrap(), "[]");
    }
}
