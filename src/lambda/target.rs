//! The target of a function: its collection, and the parser of its messages.

use deltafold_format::CollectionName;

use super::deadline::Deadline;
use super::failure::Failure;
use crate::aws::read_file;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::ingest::{BodyReader, Mapping, Objects};
use crate::location::Location;
use crate::memory::MemoryLimit;
use crate::retry;
use crate::store::{Key, S3Address, Store};

/// People write mappings by hand, so they are small.
const MAX_MAPPING: u64 = 1 << 20;

/// A collection and a mapping to open.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) store: Location,
    pub(super) name: CollectionName,
    pub(super) mapping: Option<MappingFile>,
    pub(super) objects: Option<S3Address>,
    pub(super) memory: MemoryLimit,
}

/// A mapping, read or still to read.
#[derive(Debug, PartialEq)]
pub(super) enum MappingFile {
    /// A file of the zip, read already.
    Read(Mapping),
    /// An object beside the collections.
    Object(Key),
}

impl MappingFile {
    /// Parses a path, or the address of an object in the store.
    pub(super) fn find(text: &str, store: &str) -> Result<Self, String> {
        if text.starts_with("s3://") {
            let store = store.split('?').next().unwrap_or_default().trim_end_matches('/');
            let key = text.strip_prefix(store).and_then(|rest| rest.strip_prefix('/')).and_then(Key::new);
            let wrong = || format!("`{text}` is not an object of the store; it must be `{store}/NAME`");
            return key.map(Self::Object).ok_or_else(wrong);
        }
        let content = String::from_utf8(read_file(text, "the mapping", MAX_MAPPING)?);
        let content = content.map_err(|_| format!("the mapping `{text}` is not UTF-8 text"))?;
        Mapping::parse(&content, text).map(Self::Read).map_err(|error| error.to_string())
    }

    async fn read(&self, store: &dyn Store) -> Result<Mapping> {
        let key = match self {
            Self::Read(mapping) => return Ok(mapping.clone()),
            Self::Object(key) => key,
        };
        let missing = || Error::invalid(format!("there is no mapping `{key}` in {}", store.location()));
        let object = retry::transient(|| store.get(key)).await?.ok_or_else(missing)?;
        let text = std::str::from_utf8(&object.bytes);
        let text = text.map_err(|_| Error::invalid(format!("the mapping `{key}` is not UTF-8 text")))?;
        Mapping::parse(text, key.as_str()).map_err(|error| Error::invalid(error.to_string()))
    }
}

impl Target {
    /// Opens the collection. One GET, and one more for a mapping in the store.
    pub(super) async fn open(&self, deadline: Deadline) -> Result<(Collection, BodyReader), Failure> {
        let opening = async {
            let collection = Collection::open(self.store.store_of(&self.name).await?, &self.name).await?;
            let collection = collection.with_memory(self.memory);
            let bodies = BodyReader::new(&collection);
            let bodies = match &self.mapping {
                Some(mapping) => bodies.with_mapping(mapping.read(&**collection.store()).await?)?,
                None => bodies,
            };
            let bodies = match &self.objects {
                Some(address) => bodies.with_objects(Objects::open(address).await?),
                None => bodies,
            };
            Ok::<_, Error>((collection, bodies))
        };
        let late = || Failure::late("the collection could not be opened in time".to_owned());
        Ok(deadline.bound(opening).await.ok_or_else(late)??)
    }
}
