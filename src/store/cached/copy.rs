//! The file of a copy: the bytes, a CRC32 of each block, and a trailer.

use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deltafold_format::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::env::{Env, System};
use crate::store::map;

/// The magic in the trailer of a copy. Before it stand the CRC32 of each block. Behind it stand the
/// hash of the name (u64), the length (u64) and the CRC32 (u32) of the block CRCs. All numbers are
/// little-endian.
const MAGIC: &[u8; 8] = b"DFcopy02";
const TRAILER_BYTES: usize = 8 + 8 + 8 + 4;
/// Bytes that one CRC32 covers.
const BLOCK: usize = 16 << 10;

/// The file of a copy.
pub(super) struct Copy {
    pub(super) path: PathBuf,
    /// The hash of the object's name, and of the range.
    pub(super) name: u64,
}

impl Copy {
    /// The length of the file for so many bytes of an object.
    pub(super) fn file_bytes(bytes: usize) -> u64 {
        (bytes + bytes.div_ceil(BLOCK) * size_of::<u32>() + TRAILER_BYTES) as u64
    }

    /// The file for the copy of a range of the object.
    pub(super) fn range(&self, start: u64, end: u64) -> Self {
        let range = format!("-{start}-{end}");
        let mut path = self.path.clone().into_os_string();
        path.push(&range);
        Self { path: path.into(), name: self.name ^ xxh3_64(range.as_bytes()) }
    }

    /// The CRC32 of each block.
    fn table(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks(BLOCK).flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect()
    }

    fn trailer(&self, length: usize, table: &[u8]) -> Vec<u8> {
        let mut trailer = MAGIC.to_vec();
        trailer.extend_from_slice(&self.name.to_le_bytes());
        trailer.extend_from_slice(&(length as u64).to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(table).to_le_bytes());
        trailer
    }

    /// The bytes `wanted` of the copy, fewer where it ends before; `None` where it is absent or
    /// damaged.
    pub(super) fn read(&self, wanted: Range<u64>) -> Option<Bytes> {
        let file = File::open(&self.path).ok()?;
        let Some(bytes) = map::map(&file).ok().and_then(|all| self.sound(&all, wanted)) else {
            tracing::warn!(copy = %self.path.display(), "a copy is damaged: it is read anew");
            let _ = fs::remove_file(&self.path);
            return None;
        };
        // Marks it as just used. Where that fails, the copy goes sooner.
        let _ = file.set_times(FileTimes::new().set_modified(time(System.now())));
        Some(bytes)
    }

    fn sound(&self, all: &Bytes, wanted: Range<u64>) -> Option<Bytes> {
        let rest = all.len().checked_sub(TRAILER_BYTES)?;
        let length = all.get(rest + 16..rest + 24)?.try_into().ok().map(u64::from_le_bytes)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest)?;
        let table = all.get(length..rest)?;
        let is_whole = table.len() == length.div_ceil(BLOCK) * size_of::<u32>();
        if !is_whole || all.get(rest..)? != self.trailer(length, table) {
            return None;
        }
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(length);
        let (start, end) = (at(wanted.start), at(wanted.end));
        let first = start / BLOCK;
        let blocks = all.get(first * BLOCK..end.next_multiple_of(BLOCK).min(length)).unwrap_or_default();
        let checksums = table.as_chunks::<4>().0.iter().skip(first);
        let is_sound = |(block, checksum): (&[u8], &[u8; 4])| crc32fast::hash(block).to_le_bytes() == *checksum;
        blocks.chunks(BLOCK).zip(checksums).all(is_sound).then(|| all.slice(start..end.max(start)))
    }

    /// Makes the file. It appears whole.
    pub(super) fn write(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let table = Self::table(bytes);
        file.write_all(bytes)?;
        file.write_all(&table)?;
        file.write_all(&self.trailer(bytes.len(), &table))?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp.as_millis()).unwrap_or_default())
}
