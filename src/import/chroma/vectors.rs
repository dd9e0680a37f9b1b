//! The vectors of a collection: those of its index, then the changes that wait in the queue.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use super::database::{CollectionRow, Database, Kind};
use super::files::{Folder, unusable};
use super::index::{Elements, HEADER_BYTES, Header};
use super::pickle;
use crate::error::Result;

/// Longest pickle that is read: the labels of some ten million records.
const MAX_PICKLE_BYTES: u64 = 1 << 30;
/// The file that tells whether Chroma has ever written the index. Until then the other files are
/// empty stubs, and all vectors wait in the queue.
const PICKLE: &str = "index_metadata.pickle";

/// The place of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// An element of the index.
    Element(u32),
    /// A change in the queue.
    Queue(i64),
}

/// The vectors of a collection, by id.
#[derive(Debug)]
pub(super) struct Vectors {
    elements: Option<Elements<File>>,
    /// The index, for messages.
    index: PathBuf,
    /// Each vector, and whether a record was found for it.
    by_id: HashMap<String, (Origin, bool)>,
    dimension: Option<u32>,
}

impl Vectors {
    /// Finds the vectors of a collection. `cosine` tells that its index keeps norms apart.
    pub(super) fn open(folder: &Folder, database: &Database, row: &CollectionRow, cosine: bool) -> Result<Self> {
        let dimension = row.dimension.map(u32::try_from).transpose();
        let dimension =
            dimension.map_err(|_| database.damaged(format!("collection `{}` has a wrong dimension", row.id)))?;
        let mut vectors = Self { elements: None, index: PathBuf::new(), by_id: HashMap::new(), dimension };
        let mut applied = None;
        if let Some(segment) = &row.vector_segment {
            vectors.index = folder.index_path(segment, "data_level0.bin");
            applied = database.applied(segment)?;
            match folder.index_bytes(segment, PICKLE, MAX_PICKLE_BYTES)? {
                // Chroma before 0.5.12 keeps this number in the pickle only.
                Some(bytes) => applied = applied.or(vectors.read_index(folder, segment, &bytes, cosine)?),
                None if applied.is_some_and(|applied| applied > 0) => {
                    let why = "it is missing, though the database says that the index was written";
                    return Err(unusable(&folder.index_path(segment, PICKLE), why));
                }
                None => {}
            }
        }
        if let Some(topic) = &row.topic {
            vectors.apply_queue(database, topic, applied.unwrap_or(i64::MIN))?;
        }
        Ok(vectors)
    }

    /// Finds the vectors of the index. Returns the last place of the queue that it contains, if the
    /// pickle tells it.
    fn read_index(&mut self, folder: &Folder, segment: &str, pickle: &[u8], cosine: bool) -> Result<Option<i64>> {
        let pickle_path = folder.index_path(segment, PICKLE);
        let found = pickle::labels(pickle).map_err(|error| unusable(&pickle_path, error))?;
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
        self.by_id.reserve(found.labels.len());
        let mut missing = found.labels.len();
        for element in 0..header.count {
            let label = elements.label(element).map_err(|error| unusable(&self.index, error))?;
            let Some(label) = label else { continue };
            // An element without an id is one that the pickle never came to know.
            let Ok(at) = found.labels.binary_search_by_key(&label, |(_, label)| *label) else { continue };
            let Some((id, _)) = found.labels.get(at) else { continue };
            let origin = Origin::Element(u32::try_from(element).unwrap_or(u32::MAX));
            if self.by_id.insert((*id).to_owned(), (origin, false)).is_some() {
                return Err(unusable(&self.index, format!("two of its elements have label {label}")));
            }
            missing -= 1;
        }
        if missing > 0 {
            return Err(unusable(&self.index, format!("it lacks {missing} of the elements that `{PICKLE}` names")));
        }
        self.elements = Some(elements);
        Ok(found.max_seq_id)
    }

    /// Applies the changes behind a place of the queue, as Chroma does when it opens the directory.
    fn apply_queue(&mut self, database: &Database, topic: &str, after: i64) -> Result<()> {
        database.queue(topic, after, |change| {
            let known = self.by_id.contains_key(&change.id);
            let sets = match change.kind {
                Kind::Add => !known,
                Kind::Update => known,
                Kind::Upsert => true,
                Kind::Delete => {
                    self.by_id.remove(&change.id);
                    false
                }
            };
            if sets && change.has_vector {
                self.by_id.insert(change.id, (Origin::Queue(change.place), false));
            }
            Ok(())
        })
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

    /// The number of vectors.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Notes that a record of this id was found. False where it has no vector.
    pub(super) fn note(&mut self, id: &str) -> bool {
        let found = self.by_id.get_mut(id);
        found.map(|(_, noted)| *noted = true).is_some()
    }

    /// The ids of vectors without a record, in the order of the index and the queue.
    pub(super) fn alone(&self) -> Vec<String> {
        let mut alone: Vec<_> = self.by_id.iter().filter(|(_, (_, noted))| !noted).collect();
        alone.sort_unstable_by_key(|(_, (origin, _))| *origin);
        alone.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// The vector of an id.
    pub(super) fn get(&self, database: &Database, id: &str) -> Result<Option<Vec<f32>>> {
        Ok(match (self.by_id.get(id), &self.elements) {
            (Some((Origin::Element(element), _)), Some(elements)) => {
                let vector = elements.vector(u64::from(*element)).map_err(|error| unusable(&self.index, error))?;
                Some(vector)
            }
            (Some((Origin::Queue(place), _)), _) => Some(database.queued_vector(*place)?),
            _ => None,
        })
    }
}
