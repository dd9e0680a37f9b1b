//! Ids of shards, and unique names.

use std::fmt;
use std::str::FromStr;

use super::{NameError, Version, fixed_decimal, fixed_hex};
use crate::limits::MAX_SHARDS;

/// A shard of a collection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

impl ShardId {
    /// Shard `number`, `None` at [`MAX_SHARDS`] and above.
    pub const fn new(number: u16) -> Option<Self> {
        if number < MAX_SHARDS { Some(Self(number)) } else { None }
    }

    /// The shard that holds record `id` in a collection of `shards` shards: `xxh3_64(id) % shards`.
    pub fn of(id: &str, shards: u16) -> Self {
        let shards = shards.clamp(1, MAX_SHARDS);
        let number = xxhash_rust::xxh3::xxh3_64(id.as_bytes()) % u64::from(shards);
        Self(u16::try_from(number).unwrap_or(0))
    }

    /// All shards of a collection of `shards` shards.
    pub fn all(shards: u16) -> impl Iterator<Item = Self> + Clone {
        (0..shards.min(MAX_SHARDS)).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        fixed_decimal(text, 4)
            .and_then(|number| Self::new(u16::try_from(number).ok()?))
            .ok_or_else(|| NameError::new("shard", text, "4 decimal digits below 4096"))
    }
}

/// Random bits that make a name unique.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(u64);

impl Nonce {
    /// A nonce of these bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Nonce {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        fixed_hex(text, 16)
            .and_then(|bits| u64::try_from(bits).ok().map(Self))
            .ok_or_else(|| NameError::new("nonce", text, "16 lower-case hexadecimal digits"))
    }
}

/// 128 random bits, drawn once for a collection or a writer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    /// A uid of these bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Uid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        fixed_hex(text, 32).map(Self).ok_or_else(|| NameError::new("uid", text, "32 lower-case hexadecimal digits"))
    }
}

/// The name in the key of a part or an embedding object: `<born>-<nonce>`. `born` is the head
/// version from which the edit that wrote it started. Sweep's floor is a version, so a name alone
/// tells whether it may still appear.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The head version from which the edit started (for a manifest: the version it publishes).
    pub version: Version,
    /// Makes the name unique.
    pub nonce: Nonce,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, self.nonce)
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = text
            .split_once('-')
            .and_then(|(version, nonce)| Some(Self { version: version.parse().ok()?, nonce: nonce.parse().ok()? }));
        parsed.ok_or_else(|| {
            NameError::new("object name", text, "<version>-<nonce>, 20 digits and 16 hexadecimal digits")
        })
    }
}
