//! Listing.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use deltafold_format::Timestamp;

use super::found;
use crate::store::{Key, Listed};

/// Up to `limit` objects whose keys begin with `prefix` and sort after `after`, in key order.
pub(super) fn list(root: &Path, prefix: &str, after: Option<&Key>, limit: usize) -> io::Result<Vec<Listed>> {
    let mut walk = Walk { prefix, after: after.map_or("", Key::as_str), limit, listed: Vec::new() };
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (path, keys) =
        if folder.is_empty() { (root.to_owned(), String::new()) } else { (root.join(folder), format!("{folder}/")) };
    walk.folder(&path, &keys)?;
    Ok(walk.listed)
}

struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    listed: Vec<Listed>,
}

impl Walk<'_> {
    /// Lists the content of `folder`, whose keys all begin with `keys`.
    fn folder(&mut self, folder: &Path, keys: &str) -> io::Result<()> {
        let Some(entries) = found(fs::read_dir(folder))? else { return Ok(()) };
        // In key order a folder stands where its name with a slash does.
        let mut names: Vec<String> = Vec::new();
        for entry in entries {
            names.extend(self.wanted(keys, &entry?)?);
        }
        names.sort_unstable();
        for name in names {
            if self.listed.len() >= self.limit {
                break;
            }
            let key = format!("{keys}{name}");
            match name.strip_suffix('/') {
                Some(below) => self.folder(&folder.join(below), &key)?,
                None => self.listed.extend(file(&folder.join(&name), key)?),
            }
        }
        Ok(())
    }

    /// The name of an entry, with a slash for a folder, if the entry matches or may hold a match.
    fn wanted(&self, keys: &str, entry: &DirEntry) -> io::Result<Option<String>> {
        // Names that are not UTF-8, or begin with a dot, are not keys.
        let Ok(mut name) = entry.file_name().into_string() else { return Ok(None) };
        if name.starts_with('.') {
            return Ok(None);
        }
        let folder = entry.file_type()?.is_dir();
        if folder {
            name.push('/');
        }
        let key = format!("{keys}{name}");
        let wanted = if folder {
            let holds_prefix = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
            holds_prefix && (key.as_str() > self.after || self.after.starts_with(&key))
        } else {
            key.starts_with(self.prefix) && key.as_str() > self.after
        };
        Ok(wanted.then_some(name))
    }
}

/// A file. `None` if it is gone meanwhile, or its name is not a key. Links, pipes and devices are
/// listed, too, so that verification finds them and a drop removes them. A link to a folder is not
/// listed.
fn file(path: &Path, key: String) -> io::Result<Option<Listed>> {
    let (Some(metadata), Some(key)) = (found(fs::symlink_metadata(path))?, Key::new(key)) else { return Ok(None) };
    // Only a link needs a second look.
    let is_folder = |path| found(fs::metadata(path)).is_ok_and(|of| of.as_ref().is_some_and(fs::Metadata::is_dir));
    if metadata.is_dir() || (metadata.is_symlink() && is_folder(path)) {
        return Ok(None);
    }
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Ok(Some(Listed { key, bytes: metadata.len(), modified }))
}
