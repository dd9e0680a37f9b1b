//! The folder of a cache: dropped copies, and the bound.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder holds at most one file for this many bytes of its bound, so that a scan of it stays
/// cheap.
pub(super) const BYTES_A_FILE: u64 = 64 << 10;
/// The folder may hold this many files in any case.
const FILES: u64 = 1 << 10;

/// Removes copies of whole objects, and those of their ranges.
pub(super) fn forget(folder: &Path, copies: &HashSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let whole = name.to_str().and_then(|name| name.split('-').next());
        if whole.is_some_and(|whole| copies.contains(&folder.join(whole))) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where the folder exceeds its bound, removes the least recently used copies until an eighth of
/// bytes and files is free. Temporary files of dead processes go too.
pub(super) fn evict(folder: &Path, max_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Another process may have removed it meanwhile.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    let (mut number, max_files) = (files.len() as u64, (max_bytes / BYTES_A_FILE).max(FILES));
    if total <= max_bytes && number <= max_files {
        return Ok(());
    }
    files.sort_unstable();
    for (_, bytes, path) in files {
        if total <= max_bytes - max_bytes / 8 && number <= max_files - max_files / 8 {
            break;
        }
        let _ = fs::remove_file(path);
        total -= bytes;
        number -= 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Copies of 100 bytes each, the least recently used first.
    fn folder_of(copies: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        // The names are in the opposite order.
        for number in 0..copies {
            let file = File::create(folder.path().join(format!("{:02}", copies - number))).unwrap();
            file.set_len(100).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + number);
            file.set_times(FileTimes::new().set_modified(used)).unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        folder
    }

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "folder").collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn eviction_frees_an_eighth_and_begins_with_the_oldest() {
        let folder = folder_of(10);
        evict(folder.path(), 800).unwrap();
        assert_eq!(left(folder.path()), ["01", "02", "03", "04", "05", "06", "07"]);
    }

    #[test]
    fn eviction_bounds_the_number_of_files() {
        let folder = folder_of(FILES + 1);
        evict(folder.path(), FILES * 100 + 100).unwrap();
        assert_eq!(left(folder.path()).len() as u64, FILES / 8 * 7);
    }

    #[test]
    fn nothing_is_evicted_up_to_the_bound() {
        let folder = folder_of(10);
        evict(folder.path(), 1_000).unwrap();
        assert_eq!(left(folder.path()).len(), 10);
        evict(folder.path(), 999).unwrap();
        // An eighth of 999 is 124: 875 bytes may stay.
        assert_eq!(left(folder.path()).len(), 8);
    }
}
