//! A copy of a folder of files that lies in a store.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::retry;
use crate::store::{Key, Listed, Store};

/// Bytes of one request.
const CHUNK: u64 = 16 << 20;
/// Most files of a folder.
const MAX_FILES: usize = 100_000;

/// A temporary folder with the files of a store. It ends with this value.
#[derive(Debug)]
pub struct Download {
    folder: TempDir,
}

impl Download {
    /// Copies all objects of a store into a temporary folder: one GET for each 16 MiB and a LIST
    /// for each 1,000 objects, twice. `progress` gets the bytes copied, and all bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where an object changed meanwhile, or the folder cannot be written; otherwise
    /// the errors of the store.
    pub async fn of(store: &dyn Store, mut progress: impl FnMut(u64, u64) + Send) -> Result<Self> {
        let files = listed(store).await?;
        let of = files.iter().map(|file| file.bytes).sum();
        let folder = tempfile::tempdir().map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
        let mut bytes = 0;
        for file in &files {
            let path = folder.path().join(file.key.as_str());
            let parent = path.parent().unwrap_or(folder.path());
            std::fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
            let mut written = File::create(&path).map_err(|error| unwritable(&path, &error))?;
            let mut at = 0;
            while at < file.bytes {
                let end = (at + CHUNK).min(file.bytes);
                let part = retry::transient(|| store.get_range(&file.key, at, end)).await?;
                let part =
                    part.filter(|part| part.len() as u64 == end - at).ok_or_else(|| changed(store, &file.key))?;
                written.write_all(&part).map_err(|error| unwritable(&path, &error))?;
                at = end;
                bytes += part.len() as u64;
                progress(bytes, of);
            }
        }
        let now = listed(store).await?;
        match files.iter().zip(&now).find(|(before, now)| before != now) {
            Some((before, _)) => Err(changed(store, &before.key)),
            None if files.len() != now.len() => Err(Error::invalid(format!(
                "{} has changed while it was copied. Stop the program that writes to it, and run the same command again",
                store.location()
            ))),
            None => Ok(Self { folder }),
        }
    }

    /// The folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid(format!("`{}` cannot be written: {error}. Make room there, or set TMPDIR", path.display()))
}

fn changed(store: &dyn Store, key: &Key) -> Error {
    Error::invalid(format!(
        "object `{key}` of {} has changed while it was copied. Stop the program that writes to it, and run the same \
         command again",
        store.location()
    ))
}

async fn listed(store: &dyn Store) -> Result<Vec<Listed>> {
    let mut files: Vec<Listed> = Vec::new();
    loop {
        let after = files.last().map(|file| file.key.clone());
        let page = retry::transient(|| store.list_after("", after.as_ref(), 1_000)).await?;
        let is_last = page.len() < 1_000;
        files.extend(page);
        if files.len() > MAX_FILES {
            return Err(Error::invalid(format!(
                "{} holds more than {MAX_FILES} objects, so it is not a directory of files. Name a longer prefix",
                store.location()
            )));
        }
        if is_last {
            return Ok(files);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn files_come_with_their_folders() {
        let store = Memory::new();
        for (key, content) in [("chroma.sqlite3", "tables"), ("a-b/header.bin", ""), ("a-b/length.bin", "norms")] {
            let key = Key::new(key).unwrap();
            store.create(&key, vec![Bytes::from(content)]).await.unwrap();
        }
        let mut told = Vec::new();
        let download = Download::of(&store, |bytes, of| told.push((bytes, of))).await.unwrap();
        let read = |name: &str| std::fs::read_to_string(download.path().join(name)).unwrap();
        assert_eq!([read("chroma.sqlite3"), read("a-b/header.bin"), read("a-b/length.bin")], ["tables", "", "norms"]);
        assert_eq!(told, [(5, 11), (11, 11)]);
        let path = download.path();
        drop(download);
        assert!(!path.exists());
    }
}
