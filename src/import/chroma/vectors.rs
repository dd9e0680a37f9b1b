//! The vectors of a collection: those of its index, then the changes that wait in the queue.

use std::fs::File;
use std::path::PathBuf;

use super::database::{CollectionRow, Database};
use super::files::{Folder, unusable};
use super::ids::{Ids, Origin, Use};
use super::index::{Elements, HEADER_BYTES, Header};
use super::pickle::{self, PickleError};
use crate::error::Result;

/// The file that tells whether Chroma has ever written the index. Until then the other files are
/// empty stubs, and all vectors wait in the queue.
const PICKLE: &str = "index_metadata.pickle";

/// The vectors of a collection. Their ids are in [`Ids`].
#[derive(Debug)]
pub(super) struct Vectors {
    elements: Option<Elements<File>>,
    /// The index, for messages.
    index: PathBuf,
    dimension: Option<u32>,
}

impl Vectors {
    /// Finds the vectors of a collection. `cosine` tells that its index keeps norms apart.
    pub(super) fn open(
        folder: &Folder,
        database: &Database,
        ids: &Ids,
        row: &CollectionRow,
        cosine: bool,
    ) -> Result<Self> {
        let dimension = row.dimension.map(u32::try_from).transpose();
        let dimension =
            dimension.map_err(|_| database.damaged(format!("collection `{}` has a wrong dimension", row.id)))?;
        let mut vectors = Self { elements: None, index: PathBuf::new(), dimension };
        let mut applied = None;
        if let Some(segment) = &row.vector_segment {
            vectors.index = folder.index_path(segment, "data_level0.bin");
            applied = database.applied(segment)?;
            match folder.index_file_if_any(segment, PICKLE)? {
                // Chroma before 0.5.12 keeps this number in the pickle only.
                Some(pickle) => applied = applied.or(vectors.read_index(folder, ids, segment, pickle, cosine)?),
                None if applied.is_some_and(|applied| applied > 0) => {
                    let why = "it is missing, though the database says that the index was written";
                    return Err(unusable(&folder.index_path(segment, PICKLE), why));
                }
                None => {}
            }
        }
        if let Some(topic) = &row.topic {
            // The changes behind the index, as Chroma applies them when it opens the directory.
            database.queue(topic, applied.unwrap_or(i64::MIN), |change| {
                ids.change_vector(change.kind, &change.id, change.place, change.has_vector)
            })?;
        }
        Ok(vectors)
    }

    /// Finds the vectors of the index. Returns the last place of the queue that it contains, if the
    /// pickle tells it.
    fn read_index(
        &mut self,
        folder: &Folder,
        ids: &Ids,
        segment: &str,
        pickle: File,
        cosine: bool,
    ) -> Result<Option<i64>> {
        let pickle_path = folder.index_path(segment, PICKLE);
        let found = pickle::labels(pickle, |dict, id, label| ids.add_label(dict, id, label));
        let found = found.map_err(|error| match error {
            PickleError::Failed(error) => error,
            fault => unusable(&pickle_path, fault),
        })?;
        if !ids.take_labels(found.dict)? {
            return Err(unusable(&pickle_path, "`label_to_id` has a label twice"));
        }
        let header_path = folder.index_path(segment, "header.bin");
        let missing = || unusable(&header_path, "it is missing, though the index has labels");
        let bytes = folder.index_bytes(segment, "header.bin", HEADER_BYTES as u64)?.ok_or_else(missing)?;
        let header = Header::parse(&bytes).map_err(|why| unusable(&header_path, why))?;
        let told = found.dimension.and_then(|told| u32::try_from(told).ok());
        self.fix_dimension(told.unwrap_or(header.dimension)).map_err(|why| unusable(&pickle_path, why))?;
        self.fix_dimension(header.dimension).map_err(|why| unusable(&header_path, why))?;
        let data = folder.index_file(segment, "data_level0.bin")?;
        let norms = if cosine { Some(folder.index_file(segment, "length.bin")?) } else { None };
        let elements = Elements::new(header, data, norms).map_err(|why| unusable(&self.index, why))?;
        for element in 0..header.count {
            let label = elements.label(element).map_err(|error| unusable(&self.index, error))?;
            let Some(label) = label else { continue };
            // An element without an id is one that the pickle never came to know.
            if ids.add_element(element, label)? == Use::Again {
                return Err(unusable(&self.index, format!("two of its elements have label {label}")));
            }
        }
        let missing = ids.missing_elements()?;
        if missing > 0 {
            return Err(unusable(&self.index, format!("it lacks {missing} of the elements that `{PICKLE}` names")));
        }
        if !ids.take_elements()? {
            return Err(unusable(&pickle_path, "`id_to_label` has an id twice"));
        }
        self.elements = Some(elements);
        Ok(found.max_seq_id)
    }

    fn fix_dimension(&mut self, found: u32) -> Result<(), String> {
        match self.dimension {
            Some(known) if known != found => {
                Err(format!("its vectors have {found} numbers, and those of the collection {known}"))
            }
            _ => {
                self.dimension = Some(found);
                Ok(())
            }
        }
    }

    /// Length of the vectors; `None` where there is none yet.
    pub(super) fn dimension(&self) -> Option<u32> {
        self.dimension
    }

    /// The vector of an id.
    pub(super) fn get(&self, database: &Database, ids: &Ids, id: &str) -> Result<Option<Vec<f32>>> {
        Ok(match (ids.vector(id)?, &self.elements) {
            (Some(Origin::Element(element)), Some(elements)) => {
                Some(elements.vector(element).map_err(|error| unusable(&self.index, error))?)
            }
            (Some(Origin::Queue(place)), _) => Some(database.queued_vector(place)?),
            _ => None,
        })
    }
}
