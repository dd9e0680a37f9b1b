//! The place where an object is assembled: memory, or a mapped temporary file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::env;
use crate::store::map::map;

/// Objects from this size on go to a file and are mapped, so they cost no memory of the process.
pub(super) const SPOOL_FROM_BYTES: u64 = 1 << 20;

/// The place where an object is assembled.
pub(super) enum Destination {
    Memory(BytesMut),
    File(Spool),
}

impl Destination {
    /// For an object of `total` bytes.
    pub(super) async fn new(folder: &Path, total: u64) -> io::Result<Self> {
        if total < SPOOL_FROM_BYTES {
            return Ok(Self::Memory(BytesMut::new()));
        }
        Ok(Self::File(Spool::new(folder.to_owned()).await?))
    }

    /// Writes the next piece of it.
    pub(super) async fn put(&mut self, at: u64, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                all.extend_from_slice(&bytes);
                Ok(())
            }
            Self::File(spool) => spool.put(at, bytes).await,
        }
    }

    pub(super) fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Memory(all) => Ok(all.freeze()),
            Self::File(spool) => spool.map(),
        }
    }
}

/// A temporary file without a name for one object. It ends with its last user.
pub(super) struct Spool(Arc<File>);

impl Spool {
    pub(super) async fn new(folder: PathBuf) -> io::Result<Self> {
        Ok(Self(Arc::new(env::blocking(move || tempfile::tempfile_in(folder)).await?)))
    }

    /// Writes a piece.
    pub(super) async fn put(&mut self, at: u64, bytes: Bytes) -> io::Result<()> {
        let file = self.0.clone();
        env::blocking(move || file.write_all_at(&bytes, at)).await
    }

    /// Maps the written bytes.
    pub(super) fn map(self) -> io::Result<Bytes> {
        map(&self.0)
    }
}
