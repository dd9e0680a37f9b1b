//! Mapped temporary files for objects.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::env;
use crate::store::map::map;

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
