//! Names and numbers, each with one fixed-width, sortable text form. `Display` and `FromStr`
//! round-trip.

use std::fmt;
use std::str::FromStr;

use crate::limits::{MAX_COLLECTION_NAME, MAX_SEGMENT_OPS, MAX_SEQUENCE, MAX_SHARDS};

/// The reason why a text is not the name or number it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: impl fmt::Display, expected: &'static str) -> Self {
        Self { what, text: text.to_string(), expected }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a {}: expected {}", self.text.escape_debug(), self.what, self.expected)
    }
}

impl std::error::Error for NameError {}

/// Reads exactly `width` ASCII digits.
fn fixed_decimal(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Reads exactly `width` lower-case hexadecimal digits.
fn fixed_hex(text: &str, width: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == width && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// The place of a segment in its shard's log. The first segment is 1; 0 means "nothing yet".
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// Before the first segment.
    pub const ZERO: Self = Self(0);
    /// The first segment of a log.
    pub const FIRST: Self = Self(1);

    /// A sequence number, `None` above [`MAX_SEQUENCE`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= MAX_SEQUENCE { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The slot after this one. Saturates at the last, which no log reaches: 557 years at 1,000
    /// segments a second.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < MAX_SEQUENCE { Self(self.0 + 1) } else { self }
    }

    /// The slot before this one; saturates at zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

impl FromStr for Sequence {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        fixed_decimal(text, 20)
            .and_then(Self::new)
            .ok_or_else(|| NameError::new("sequence number", text, "20 decimal digits, at most 2^44 - 1"))
    }
}

/// The place of one op in its shard's log: 44 bits of [`Sequence`], 20 bits of index in the
/// segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before every op.
    pub const ZERO: Self = Self(0);

    /// The position of op `index` of segment `sequence`; `None` if a segment cannot hold that many
    /// ops.
    pub const fn new(sequence: Sequence, index: usize) -> Option<Self> {
        if index < MAX_SEGMENT_OPS { Some(Self((sequence.0 << 20) | index as u64)) } else { None }
    }

    /// The packed form; any 64-bit number is a position.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The packed form, which sorts like the log.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The segment.
    pub const fn sequence(self) -> Sequence {
        Sequence(self.0 >> 20)
    }

    /// The op's index in the segment.
    pub const fn index(self) -> u32 {
        (self.0 & 0xF_FFFF) as u32
    }
}

/// `<sequence>.<index>`, 20 and 7 digits.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:07}", self.sequence(), self.index())
    }
}

impl FromStr for Position {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = text.split_once('.').and_then(|(sequence, index)| {
            let index = usize::try_from(fixed_decimal(index, 7)?).ok()?;
            Self::new(sequence.parse().ok()?, index)
        });
        parsed.ok_or_else(|| NameError::new("log position", text, "<sequence>.<index>, 20 and 7 digits"))
    }
}

/// The number of a head. Each publish adds exactly 1. 0 is the empty shard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The empty shard.
    pub const ZERO: Self = Self(0);

    /// Version `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version that a publish over this one makes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

impl FromStr for Version {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        fixed_decimal(text, 20).map(Self).ok_or_else(|| NameError::new("version", text, "20 decimal digits"))
    }
}

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

/// The name of a collection: 1 to 128 bytes of `a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// Upper case is refused because names that differ only in case are one folder on some file
/// systems.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName(String);

impl CollectionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CollectionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let allowed = |b: u8| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-');
        let valid = text.len() <= MAX_COLLECTION_NAME
            && text.bytes().next().is_some_and(alphanumeric)
            && text.bytes().all(allowed);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(
                "collection name",
                text,
                "1 to 128 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
            ))
        }
    }
}

/// A moment in milliseconds since 1970-01-01 UTC. Times are for people; no rule of the protocol
/// compares them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// The first and last moment in a segment or run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

impl TimeRange {
    /// The range that covers both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
