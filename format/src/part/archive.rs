//! Archives that are read in place: the bytes, and beside them their validated structure.

use std::sync::Arc;

use bytes::Bytes;
use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use self_cell::self_cell;

use super::revisions::ArchivedRevisions;
use super::rows::{ArchivedRows, ArchivedTexts};
use super::values::ArchivedValues;
use super::{DOCUMENTS, REVISIONS, ROWS, VALUES};
use crate::error::FormatError;

/// Defines the archive of one structure, which `rkyv::access` validates.
macro_rules! archive {
    ($name:ident, $root:ident, $archived:ty, $section:expr) => {
        self_cell! {
            pub(super) struct $name {
                owner: Bytes,
                #[covariant]
                dependent: $root,
            }
        }

        type $root<'a> = &'a $archived;

        impl $name {
            /// Validates that `bytes`, which lie at a 16-byte boundary, are such an archive.
            pub(super) fn access(bytes: Bytes) -> Result<Self, FormatError> {
                Self::try_new(bytes, |bytes| {
                    rkyv::access::<$archived, rkyv::rancor::Error>(bytes)
                        .map_err(|error| FormatError::archive($section.name, error))
                })
            }

            pub(super) fn get(&self) -> &$archived {
                self.borrow_dependent()
            }

            /// Bytes of memory.
            pub(super) fn bytes(&self) -> usize {
                self.borrow_owner().len()
            }
        }
    };
}

archive!(RowsArchive, RowsRoot, ArchivedRows, ROWS);
archive!(RevisionsArchive, RevisionsRoot, ArchivedRevisions, REVISIONS);
archive!(ValuesArchive, ValuesRoot, ArchivedValues, VALUES);
archive!(TextsArchive, TextsRoot, ArchivedTexts, DOCUMENTS);

self_cell! {
    /// All metadata columns of a part, each one step away. A merge reads all of them for every row.
    pub(super) struct AllColumns {
        owner: Vec<Arc<ValuesArchive>>,
        #[covariant]
        dependent: Columns,
    }
}

type Columns<'a> = Vec<&'a ArchivedValues>;

impl AllColumns {
    /// The columns in order, if all are loaded.
    pub(super) fn of(columns: &[Option<Arc<ValuesArchive>>]) -> Option<Self> {
        let all = columns.iter().cloned().collect::<Option<Vec<_>>>()?;
        Some(Self::new(all, |all| all.iter().map(|column| column.get()).collect()))
    }

    pub(super) fn get(&self) -> &[&ArchivedValues] {
        self.borrow_dependent()
    }
}

/// Archives a structure of about `estimate` bytes.
pub(super) fn archived<T>(of: &T, estimate: usize, what: &'static str) -> Result<AlignedVec, FormatError>
where
    T: for<'a> rkyv::Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rkyv::rancor::Error>>,
{
    let to = AlignedVec::with_capacity(estimate);
    to_bytes_in::<_, rkyv::rancor::Error>(of, to).map_err(|error| FormatError::archive(what, error))
}
