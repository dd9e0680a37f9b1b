//! The memory limit of a collection's readers and compactors, and its shares.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The memory limit for work on a collection: 256 MiB by default.
///
/// It bounds each [`Reader`](crate::Reader) and its clones together, and each
/// [`Compactor`](crate::Compactor). In a process that runs several of them at once, their limits
/// add up. The program itself, its connections and the objects on their way from the store take up
/// to 64 MiB more.
///
/// ```
/// use deltafold::MemoryLimit;
///
/// let limit = MemoryLimit::new(512 << 20)?;
/// assert_eq!(limit.bytes(), 512 << 20);
/// assert!(MemoryLimit::new(1 << 20).is_err());
/// # Ok::<(), deltafold::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    bytes: u64,
}

impl MemoryLimit {
    /// The smallest limit: a record may hold a document of 16 MiB, and a fold holds it three times.
    pub const MIN: u64 = 64 << 20;

    /// A limit of [`MIN`](Self::MIN).
    pub const SMALLEST: Self = Self { bytes: Self::MIN };

    /// A limit of this many bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` below [`MIN`](Self::MIN).
    pub fn new(bytes: u64) -> Result<Self> {
        if bytes < Self::MIN {
            return Err(Error::invalid(format!(
                "a memory limit of {bytes} bytes is too small: give at least {} (64 MiB)",
                Self::MIN
            )));
        }
        Ok(Self { bytes })
    }

    /// The limit in bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// Undecoded ops of the log in a reader. Beyond it they move to a temporary file.
    pub(crate) const fn overlay(self) -> u64 {
        self.bytes / 8 * 3
    }

    /// Parts that a reader caches, and the index of its searches.
    pub(crate) const fn parts(self) -> u64 {
        self.bytes / 4
    }

    /// Places of records that a scan in insertion order sorts at once.
    pub(crate) const fn sorting(self) -> u64 {
        self.bytes / 8
    }

    /// Records that such a scan makes ahead.
    pub(crate) const fn ahead(self) -> u64 {
        self.bytes / 16
    }

    /// Sections of embedding objects that a reader caches, or the embedding objects of a merge, of
    /// a store that does not map them.
    pub(crate) const fn embeddings(self) -> u64 {
        self.bytes / 16
    }

    /// Decoded bytes of the log that one read of it loads into memory. `docs/design.md` has the
    /// table of shares.
    pub(crate) const fn log_read(self) -> u64 {
        self.bytes / 8
    }

    /// The size of a large op: a reader decodes it again rather than composing it into a run.
    pub(crate) fn large_op(self) -> u64 {
        (self.bytes / 256).min(1 << 20)
    }

    /// Ops of one writer that wait for their acknowledgement.
    pub(crate) fn waiting(self) -> usize {
        usize::try_from(self.bytes / 2).unwrap_or(usize::MAX)
    }

    /// Ops that a writer gathers for one segment.
    pub(crate) fn batch(self) -> usize {
        usize::try_from(self.bytes / 16).unwrap_or(usize::MAX)
    }

    /// Decoded bytes of the segments that one fold holds.
    pub(crate) const fn fold_input(self) -> u64 {
        self.bytes / 4
    }
}

#[cfg(test)]
impl MemoryLimit {
    /// A limit below the minimum, so that small tests reach it.
    pub(crate) const fn tiny(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self { bytes: 256 << 20 }
    }
}

/// A whole number and a unit (`B`, `KiB`, `MiB`, `GiB`, or `K`, `M`, `G`), as in `256MiB`; bytes if
/// there is no unit.
impl FromStr for MemoryLimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kib" => Some(1 << 10),
            "m" | "mib" => Some(1 << 20),
            "g" | "gib" => Some(1 << 30),
            _ => None,
        };
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        let wrong = || Error::invalid(format!("`{text}` is not an amount of memory: write it as in `256MiB`"));
        Self::new(bytes.ok_or_else(wrong)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_limit_is_read_with_its_unit() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1g", 1 << 30), ("67108864", 64 << 20), (" 65536 K ", 64 << 20)] {
            assert_eq!(text.parse::<MemoryLimit>().unwrap().bytes(), bytes, "{text}");
        }
        for wrong in ["", "MiB", "63MiB", "256", "1.5GiB", "-1", "64 TiB", "99999999999999999999", "20000000000GiB"] {
            assert_eq!(wrong.parse::<MemoryLimit>().unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn a_limit_below_the_minimum_is_refused() {
        assert_eq!(MemoryLimit::new(MemoryLimit::MIN).unwrap().bytes(), 64 << 20);
        let error = MemoryLimit::new(MemoryLimit::MIN - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("at least 67108864"), "{error}");
    }
}
