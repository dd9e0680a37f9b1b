//! Places in a log, and versions of a head.

use std::fmt;
use std::str::FromStr;

use super::{NameError, fixed_decimal};
use crate::limits::{MAX_SEGMENT_OPS, MAX_SEQUENCE};

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
