//! Registers as items of a table. `format/SPEC.md`, section "Registers", defines them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::store::{Key, Object, StoreError, StoreErrorKind, Tag};

// Attributes of an item.
pub(super) const COLLECTION: &str = "collection";
pub(super) const REGISTER: &str = "register";
pub(super) const VERSION: &str = "version";
pub(super) const DIGEST: &str = "digest";
pub(super) const CONTENT: &str = "content";

/// The key of an item: collection and register.
pub(super) struct ItemKey {
    pub(super) collection: String,
    pub(super) register: String,
}

impl ItemKey {
    pub(super) fn item(self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (COLLECTION.to_owned(), AttributeValue::S(self.collection)),
            (REGISTER.to_owned(), AttributeValue::S(self.register)),
        ])
    }
}

/// Whether a register's key behind the collection may begin with `prefix`.
pub(super) fn may_be_register(prefix: &str) -> bool {
    prefix.split_once('/').is_none_or(|(_, name)| "head".starts_with(name) || "claim".starts_with(name))
}

pub(super) fn tag_of(version: u64, digest: &str) -> Tag {
    Tag::new(format!("{version}-{digest}"))
}

pub(super) fn parse_tag(tag: &Tag) -> Result<(u64, &str), ()> {
    let (version, digest) = tag.as_str().split_once('-').ok_or(())?;
    Ok((version.parse().map_err(|_| ())?, digest))
}

pub(super) fn object(key: &Key, item: &HashMap<String, AttributeValue>) -> Result<Object, StoreError> {
    let version = item.get(VERSION).and_then(|version| version.as_n().ok()).and_then(|version| version.parse().ok());
    let digest = item.get(DIGEST).and_then(|digest| digest.as_s().ok());
    let content = item.get(CONTENT).and_then(|content| content.as_b().ok());
    match (version, digest, content) {
        (Some(version), Some(digest), Some(content)) if *digest == format!("{:032x}", xxh3_128(content.as_ref())) => {
            Ok(Object { bytes: Bytes::copy_from_slice(content.as_ref()), tag: tag_of(version, digest) })
        }
        _ => {
            let reason = "its item in the table is not one that Deltafold wrote, or is damaged; restore the item";
            Err(StoreError::new(StoreErrorKind::Damaged, "read", key, reason))
        }
    }
}
