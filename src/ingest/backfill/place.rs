//! The place of an export: a folder, or a prefix of a bucket.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
#[cfg(feature = "s3")]
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::error::BackfillError;
use super::manifest::Within;
use crate::env;
use crate::store::Key;
#[cfg(feature = "s3")]
use crate::{retry, store::Store};

/// Bytes of one request, or of one read.
const PIECE_BYTES: u64 = 8 << 20;
/// A manifest is read whole. One of a million files is smaller.
const MAX_MANIFEST_BYTES: u64 = 512 << 20;
const SUMMARY: &str = "manifest-summary.json";

#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    /// The store reaches the folder above the export, whose name is `id`.
    #[cfg(feature = "s3")]
    Bucket {
        store: Arc<dyn Store>,
        id: String,
    },
}

/// A data file on this machine, and the MD5 digest of its bytes.
pub(super) struct Fetched {
    pub(super) file: File,
    pub(super) md5: [u8; 16],
}

impl Place {
    /// `s3://BUCKET/PREFIX/AWSDynamoDB/ID` with the parameters of a store's address, or a folder.
    pub(super) async fn open(address: &str) -> Result<Self, BackfillError> {
        if address.starts_with("s3:") {
            return Self::bucket(address).await;
        }
        let path = Path::new(address.strip_prefix("dir:").unwrap_or(address));
        let path = if path.ends_with(SUMMARY) { path.parent().unwrap_or(path) } else { path };
        if !path.is_dir() {
            return Err(BackfillError::Missing(format!("there is no folder `{}`", path.display())));
        }
        Ok(Self::Folder(path.to_owned()))
    }

    #[cfg(not(feature = "s3"))]
    async fn bucket(address: &str) -> Result<Self, BackfillError> {
        Err(BackfillError::Unusable(format!(
            "this program was built without S3, so it cannot open `{address}`; build it with the feature `s3`"
        )))
    }

    /// The prefix of an export may be longer than that of a store.
    #[cfg(feature = "s3")]
    async fn bucket(address: &str) -> Result<Self, BackfillError> {
        let (place, query) = address.split_once('?').unwrap_or((address, ""));
        let path = place.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let prefix = prefix.trim_matches('/');
        let prefix = prefix.strip_suffix(SUMMARY).unwrap_or(prefix).trim_end_matches('/');
        let (above, id) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        if id.is_empty() {
            return Err(BackfillError::Missing(format!(
                "`{place}` names no export; write `s3://BUCKET/PREFIX/AWSDynamoDB/ID`"
            )));
        }
        let parsed: crate::store::S3Address =
            format!("s3://{bucket}?{query}").parse().map_err(BackfillError::Unusable)?;
        let store = crate::store::S3::open(&parsed.bucket, above, &parsed.options).await?;
        Ok(Self::Bucket { store: Arc::new(store), id: id.to_owned() })
    }

    /// A manifest; `None` where there is none.
    pub(super) async fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>, BackfillError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                match File::open(&path) {
                    Ok(file) => {
                        let mut bytes = Vec::new();
                        file.take(MAX_MANIFEST_BYTES)
                            .read_to_end(&mut bytes)
                            .map_err(|error| unreadable(&path, &error))?;
                        Ok(Some(bytes))
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(unreadable(&path, &error)),
                }
            }
            #[cfg(feature = "s3")]
            Self::Bucket { store, id } => {
                let key = key_of(&format!("{id}/{name}"))?;
                let object = retry::transient(|| store.get(&key)).await?;
                Ok(object.map(|object| object.bytes.to_vec()))
            }
        }
    }

    /// A data file, copied into a temporary file if it lies elsewhere. `None` where there is none.
    pub(super) async fn fetch(&self, within: &Within) -> Result<Option<Fetched>, BackfillError> {
        match self {
            Self::Folder(folder) => {
                let (Within::Export(name) | Within::Beside(name)) = within;
                let name = key_of(name)?;
                let path = match within {
                    Within::Export(_) => folder.join(name.as_str()),
                    Within::Beside(_) => folder.join("..").join(name.as_str()),
                };
                env::blocking(move || digest(&path)).await
            }
            #[cfg(feature = "s3")]
            Self::Bucket { store, id } => {
                let key = match within {
                    Within::Export(name) => key_of(&format!("{id}/{name}"))?,
                    Within::Beside(name) => key_of(name)?,
                };
                download(store, &key).await
            }
        }
    }

    /// The address of a file, for messages.
    pub(super) fn show(&self, within: &Within) -> String {
        let (name, is_beside) = match within {
            Within::Export(name) => (name, false),
            Within::Beside(name) => (name, true),
        };
        match self {
            Self::Folder(folder) if is_beside => folder.join("..").join(name).display().to_string(),
            Self::Folder(folder) => folder.join(name).display().to_string(),
            #[cfg(feature = "s3")]
            Self::Bucket { store, .. } if is_beside => format!("{}/{name}", store.location()),
            #[cfg(feature = "s3")]
            Self::Bucket { store, id } => format!("{}/{id}/{name}", store.location()),
        }
    }

    /// The names of ended exports below this place, for a user who named the folder above them.
    pub(super) async fn exports(&self) -> Vec<String> {
        let mut found = match self {
            Self::Folder(folder) => {
                let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
                let ended = entries.filter(|entry| entry.path().join(SUMMARY).is_file());
                ended.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
            }
            #[cfg(feature = "s3")]
            Self::Bucket { store, id } => {
                let listed = store.list_after(&format!("{id}/"), None, 1_000).await.unwrap_or_default();
                let names = listed.iter().filter_map(|listed| {
                    let name = listed.key.as_str().strip_suffix(SUMMARY)?.trim_end_matches('/');
                    Some(name.strip_prefix(id.as_str())?.trim_start_matches('/').to_owned())
                });
                names.filter(|name| !name.is_empty()).collect()
            }
        };
        found.sort();
        found
    }
}

fn key_of(name: &str) -> Result<Key, BackfillError> {
    Key::new(name)
        .ok_or_else(|| BackfillError::Unusable(format!("`{name}` is not a name that a file of an export has")))
}

fn unreadable(path: &Path, error: &io::Error) -> BackfillError {
    BackfillError::Unusable(format!("cannot read `{}`: {error}", path.display()))
}

/// Opens a file, and reads it once for its digest. Blocks.
fn digest(path: &Path) -> Result<Option<Fetched>, BackfillError> {
    let read = || -> io::Result<Option<Fetched>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut digest = Md5::new();
        let mut piece = Vec::new();
        while (&mut file).take(PIECE_BYTES).read_to_end(&mut piece)? > 0 {
            digest.update(&piece);
            piece.clear();
        }
        file.rewind()?;
        Ok(Some(Fetched { file, md5: digest.finalize().into() }))
    };
    read().map_err(|error| unreadable(path, &error))
}

/// Copies an object into a temporary file.
#[cfg(feature = "s3")]
async fn download(store: &Arc<dyn Store>, key: &Key) -> Result<Option<Fetched>, BackfillError> {
    use std::io::Write as _;

    let full = |error: io::Error| {
        let folder = std::env::temp_dir();
        BackfillError::Unusable(format!(
            "`{}` cannot be written: {error}. Make room there, or set TMPDIR",
            folder.display()
        ))
    };
    let mut file = tempfile::tempfile().map_err(full)?;
    let mut digest = Md5::new();
    let mut at = 0;
    loop {
        let Some(piece) = retry::transient(|| store.get_range(key, at, at + PIECE_BYTES)).await? else {
            return Ok(None);
        };
        let length = piece.len() as u64;
        let written = env::blocking(move || {
            digest.update(&piece);
            file.write_all(&piece).map(|()| (file, digest))
        });
        (file, digest) = written.await.map_err(full)?;
        at += length;
        if length < PIECE_BYTES {
            file.rewind().map_err(full)?;
            return Ok(Some(Fetched { file, md5: digest.finalize().into() }));
        }
    }
}
