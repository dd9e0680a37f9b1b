//! Store locations as people write them: a path, `dir:PATH`, `s3://BUCKET/PREFIX`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use deltafold_format::{CollectionName, HeadPlace};

use crate::collection::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Dir, Store};

/// The location of a store, and the options of its connection.
///
/// ```
/// # use deltafold::Location;
/// for text in ["./data", "dir:/var/lib/vectors", "s3://vectors/prod?region=eu-west-1"] {
///     let location: Location = text.parse()?;
///     assert_eq!(location.to_string(), text);
/// }
/// # Ok::<(), deltafold::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Location {
    text: String,
    backend: Backend,
    spares_memory: bool,
}

#[derive(Debug, Clone)]
enum Backend {
    Folder(PathBuf),
    #[cfg(feature = "s3")]
    S3(Box<crate::store::S3Address>),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let backend = match text.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Backend::Folder(path.into()),
            #[cfg(feature = "s3")]
            Some(("s3", _)) => Backend::S3(Box::new(text.parse().map_err(|reason: String| Error::invalid(reason))?)),
            // `C:\data` is a path.
            Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '.']) => {
                let reason = if scheme == "s3" {
                    format!(
                        "this program was built without S3, so it cannot open `{text}`; build it with the feature `s3`"
                    )
                } else {
                    format!(
                        "`{text}` is not a store that this program knows; use `dir:PATH`, `s3://BUCKET/PREFIX` or a path"
                    )
                };
                return Err(Error::invalid(reason));
            }
            _ if text.is_empty() => return Err(Error::invalid("the address of the store is empty")),
            _ => Backend::Folder(text.into()),
        };
        Ok(Self { text: text.to_owned(), backend, spares_memory: false })
    }
}

impl Location {
    /// The folder, if the location is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Folder(path) => Some(path),
            #[cfg(feature = "s3")]
            Backend::S3(_) => None,
        }
    }

    /// The same location, whose store keeps the resident memory of the process small, as
    /// [`Dir::sparing_memory`] says. No effect on S3, whose objects are not mapped.
    #[must_use]
    pub fn sparing_memory(mut self) -> Self {
        self.spares_memory = true;
        self
    }

    /// The location with a cache of parts in `folder`, unless it names one or is a folder itself.
    #[cfg(feature = "lambda")]
    pub(crate) fn cached_in(mut self, folder: &Path, max_bytes: u64) -> Self {
        if let Backend::S3(address) = &mut self.backend {
            address.cache.get_or_insert_with(|| (folder.to_owned(), max_bytes));
        }
        self
    }

    /// The store, which also holds the heads of its collections.
    ///
    /// # Errors
    ///
    /// `Storage` where a folder cannot be read, no region is set, or the cache cannot be used.
    pub async fn store(&self) -> Result<Arc<dyn Store>> {
        match &self.backend {
            Backend::Folder(path) => {
                let folder = Dir::open(path)?;
                Ok(Arc::new(if self.spares_memory { folder.sparing_memory() } else { folder }))
            }
            #[cfg(feature = "s3")]
            Backend::S3(address) => {
                let store = crate::store::S3::open(&address.bucket, &address.prefix, &address.options).await?;
                let store: Arc<dyn Store> = Arc::new(store);
                Ok(match &address.cache {
                    Some((folder, bytes)) => Arc::new(crate::store::Cached::open(store, folder, *bytes)?),
                    None => store,
                })
            }
        }
    }

    /// The store for one collection, with the heads in the place that the collection register
    /// names. If the register is lost, a copy in a manifest names it. Without either, the heads lie
    /// in the store. One GET as a rule.
    pub async fn store_of(&self, name: &CollectionName) -> Result<Arc<dyn Store>> {
        let store = self.store().await?;
        match Collection::read_config(&*store, name).await {
            Ok(config) => self.with_heads(store, &config.heads).await,
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(store),
            Err(error) if error.kind() == ErrorKind::Corrupt => match Collection::find_heads(&*store, name).await? {
                Some(heads) => self.with_heads(store, &heads).await,
                None => Ok(store),
            },
            Err(error) => Err(error),
        }
    }

    /// `store`, with its heads in another place. The table's endpoint follows the rules of the AWS
    /// tools (`AWS_ENDPOINT_URL_DYNAMODB` names another one), with the timeouts and certificates of
    /// this location.
    pub async fn with_heads(&self, store: Arc<dyn Store>, heads: &HeadPlace) -> Result<Arc<dyn Store>> {
        match heads {
            HeadPlace::Store => Ok(store),
            #[cfg(feature = "dynamodb")]
            HeadPlace::DynamoDb { table, region } => {
                let options = self.table_options(region);
                Ok(Arc::new(crate::head::HeadsInDynamoDb::open(store, table, &options).await?))
            }
            #[cfg(not(feature = "dynamodb"))]
            elsewhere => Err(Error::invalid(format!(
                "the heads of this collection lie in {elsewhere}, which this program was built without; build it with the feature `dynamodb`"
            ))),
        }
    }

    /// Makes the table of these heads, if they lie in one that does not exist yet.
    #[cfg(feature = "dynamodb")]
    pub async fn create_table(&self, store: Arc<dyn Store>, heads: &HeadPlace) -> Result<()> {
        let HeadPlace::DynamoDb { table, region } = heads else { return Ok(()) };
        let heads = crate::head::HeadsInDynamoDb::open(store, table, &self.table_options(region)).await?;
        Ok(heads.create_table().await?)
    }

    #[cfg(feature = "dynamodb")]
    fn table_options(&self, region: &str) -> crate::aws::AwsOptions {
        let options = match &self.backend {
            Backend::Folder(_) => crate::aws::AwsOptions::default(),
            #[cfg(feature = "s3")]
            Backend::S3(address) => address.options.aws.clone(),
        };
        crate::aws::AwsOptions { region: Some(region.to_owned()), endpoint: None, ..options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_paths_with_or_without_a_scheme() {
        for (text, expected) in [
            ("dir:/a/b", Some("/a/b")),
            ("dir:b", Some("b")),
            ("./x:y", Some("./x:y")),
            ("plain", Some("plain")),
            ("memory:", None),
            ("", None),
            ("gs://bucket", None),
        ] {
            let folder = text.parse::<Location>().ok().and_then(|location| location.folder().map(Path::to_owned));
            assert_eq!(folder.as_deref(), expected.map(Path::new), "{text}");
        }
    }

    #[cfg(feature = "s3")]
    #[test]
    fn buckets_have_addresses() {
        let location: Location = "s3://bucket/prefix".parse().unwrap();
        assert!(location.folder().is_none());
        let error = "s3://bucket/prefix?colour=red".parse::<Location>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
