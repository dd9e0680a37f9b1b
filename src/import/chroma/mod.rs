//! Collections of Chroma, read from a persistent directory of version 0.5 or 1.x.
//!
//! A [`Directory`] lists its collections and opens them. A [`Source`] is one collection: it tells
//! how many records it has and whether their two halves fit, and reads them. [`copy()`] makes a
//! collection of it in a store, in the order of insertion, and compares every record afterwards.
//!
//! The directory is only read. Nothing in its files is executed. `docs/import.md` says what comes
//! over and what does not.

mod copy;
mod database;
mod digest;
mod files;
mod ids;
mod index;
mod pickle;
mod rows;
mod settings;
mod source;
mod values;
mod vectors;

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::MemoryLimit;
use database::Database;
use files::Folder;

pub use copy::{Copied, CopyOptions, Progress, Stage, copy, target};
pub use settings::Found;
pub use source::{OnMismatch, Source, Survey};

/// A persistent directory of Chroma.
#[derive(Debug)]
pub struct Directory {
    folder: Arc<Folder>,
    collections: Vec<Found>,
}

impl Directory {
    /// Opens a directory. Blocks: it reads the whole database once, to check it.
    ///
    /// The reader takes three sixteenths of `memory`, whatever the number of records. Ids beyond
    /// that lie in a temporary file.
    ///
    /// A database with a journal is copied to the folder for temporary files first, so that nothing
    /// is written into the directory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the path holds no directory of Chroma, or its database is damaged.
    pub fn open(path: &Path, memory: MemoryLimit) -> Result<Self> {
        let folder = Arc::new(Folder::open(path, memory)?);
        let database = Database::open(folder.clone())?;
        let rows = database.collections()?;
        let found = rows.into_iter().map(|row| Found::new(&database, row)).collect::<Result<_>>()?;
        Ok(Self { folder, collections: found })
    }

    /// Its collections, by tenant, database and name.
    pub fn collections(&self) -> &[Found] {
        &self.collections
    }

    /// Opens a collection, and compares its two halves. Blocks.
    ///
    /// A temporary file takes up to 400 bytes a record and three times its id.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where a file is damaged, or has changed since the directory was opened.
    pub fn source(&self, found: &Found) -> Result<Source> {
        let database = Database::open_again(self.folder.clone())?;
        Source::open(self.folder.clone(), database, found.clone())
    }
}

/// Reads the files of an index from memory, and returns the number of its labels. Fuzzers try the
/// two readers here; [`Source`] reads the same files from a directory.
///
/// # Errors
///
/// The reason why a file is refused, as text.
pub fn read_index(header: &[u8], data: &[u8], norms: Option<&[u8]>, pickle: &[u8]) -> Result<usize> {
    let invalid = |why: String| Error::invalid(why);
    let labels = pickle::labels(pickle, |_, _, _| Ok(())).map_err(|error| invalid(error.to_string()))?;
    let header = index::Header::parse(header).map_err(invalid)?;
    let count = header.count;
    let elements = index::Elements::new(header, data, norms).map_err(invalid)?;
    for element in 0..count {
        let read = elements.label(element).and_then(|label| Ok((label, elements.vector(element)?)));
        read.map_err(|error| invalid(error.to_string()))?;
    }
    Ok(usize::try_from(labels.count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
