//! The memory that the readers and the compactor of a collection may take, and how they share it out.

use crate::error::{Error, Result};

/// The memory that work on a collection may take: 256 MiB by default.
///
/// It bounds each [`Reader`](crate::Reader) and its clones together, and each [`Compactor`](crate::Compactor).
/// A process that runs several of them at once adds their limits up. The program itself, its
/// connections and the objects on their way from the store take up to 64 MiB more.
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

    /// A limit of so many bytes.
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

    /// Decoded bytes of the log that one read of it brings into memory. `docs/design.md` has the table of shares.
    pub(crate) const fn log_read(self) -> u64 {
        self.bytes / 8
    }

    /// Decoded bytes of the segments that one fold holds.
    pub(crate) const fn fold_input(self) -> u64 {
        self.bytes / 4
    }
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self { bytes: 256 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_limit_below_the_minimum_is_refused() {
        assert_eq!(MemoryLimit::new(MemoryLimit::MIN).unwrap().bytes(), 64 << 20);
        let error = MemoryLimit::new(MemoryLimit::MIN - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("at least 67108864"), "{error}");
    }
}
