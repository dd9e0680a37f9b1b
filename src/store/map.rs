//! Files as memory.

use std::fs::{File, Metadata};
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

use super::resident::{Mapped, Shared};

/// The whole content of `file`. The operating system reads each page when it is first used.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    Ok(Bytes::from_owner(Mapped::new(map_whole(file)?)))
}

/// As [`map`], but all readers of the file share its pages, and the file stays open, so that single
/// rows are copied from it.
pub(super) fn map_sparing(file: &File, metadata: &Metadata) -> io::Result<Bytes> {
    Ok(Bytes::from_owner(match Shared::of(metadata) {
        Some(shared) => shared,
        None => Shared::with_file(map_whole(file)?, file, metadata),
    }))
}

#[expect(unsafe_code, reason = "mapping a file is the one thing that cannot be done without")]
fn map_whole(file: &File) -> io::Result<Mmap> {
    // SAFETY: the memory must not change while it is borrowed. Objects never change once they have
    // their name. Registers are the only files that are replaced: a rename replaces them and leaves
    // the old file as it was. A deleted file lives on while it is mapped. The folder belongs to
    // Deltafold, as the documentation of `Dir` says.
    unsafe { Mmap::map(file) }
}

/// Bytes `at..at + len` of `file`, which belongs to this process alone. `owner` lives as long as
/// the bytes are in use.
#[expect(unsafe_code, reason = "mapping a file is the one thing that cannot be done without")]
pub(crate) fn map_range<T: Send + Sync + 'static>(file: &File, at: u64, len: u64, owner: T) -> io::Result<Bytes> {
    /// The mapping goes before its owner.
    struct Owned<T>(Mapped, T);
    impl<T> AsRef<[u8]> for Owned<T> {
        fn as_ref(&self) -> &[u8] {
            self.0.as_ref()
        }
    }
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: the memory must not change while it is borrowed. The file has no name, so no other
    // process can write it. This process writes an extent before it maps it, and punches a hole
    // there only when `owner` is dropped.
    let map = unsafe { memmap2::MmapOptions::new().offset(at).len(len).map(file)? };
    Ok(Bytes::from_owner(Owned(Mapped::new(map), owner)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mapped_file_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        File::create(&path).unwrap().write_all(&[7; 100_000]).unwrap();
        let mapped = map(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped, vec![7; 100_000]);
    }
}
