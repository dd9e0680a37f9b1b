//! The resident pages of mapped files.
//!
//! The kernel counts each page of a mapping that was read as memory of the process. Around a page
//! it maps 64 KiB that the page cache has, and newer kernels up to 2 MiB where they lie together
//! there. So random reads of few rows make a large file resident. Pages that are given back stay in
//! the page cache, and come again when they are read. Giving back costs the other cores an
//! interrupt, and the pages a fault each: 12 us a row where each row gave back its own. A store
//! that spares memory therefore keeps the file, and its rows are copied by a read of it: 0.5 us. It
//! also maps a file once for all its readers, since the kernel counts the pages of each mapping.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use memmap2::{Mmap, UncheckedAdvice};

/// First reads of a block, which verify it in place, before the pages around them are given back:
/// 1 MiB of pages as a rule.
const TOUCHES: u32 = 16;

/// Files kept open for rows that are copied. Rows of others are read in place, because a process
/// may hold 1,024 files as a rule.
const FILES: usize = 256;

/// All mapped files of the process.
static ALL: RwLock<All> = RwLock::new(All { maps: BTreeMap::new(), shared: BTreeMap::new(), files: 0, touches: 0 });

#[derive(Debug)]
struct All {
    /// By the address of their first byte.
    maps: BTreeMap<usize, Entry>,
    /// Those that all readers of a file share.
    shared: BTreeMap<Identity, Weak<Mapped>>,
    /// Those whose file is kept open.
    files: usize,
    /// Touches noted since pages were given back.
    touches: u32,
}

/// A file, whatever its name: device and inode. No other file gets them while it is mapped.
type Identity = (u64, u64);

#[derive(Debug)]
struct Entry {
    map: Weak<Mmap>,
    len: usize,
    /// The file, if its rows are to be copied.
    file: Option<Arc<File>>,
    /// The part of it that holds the touches noted.
    noted: Option<Range<usize>>,
    /// Whether huge pages were refused for that part.
    is_small: bool,
}

/// A mapped file, whose pages can be given back as long as it is mapped.
#[derive(Debug)]
pub(super) struct Mapped {
    map: Arc<Mmap>,
    shared_as: Option<Identity>,
}

/// A mapping that other readers of the file may use, too.
#[derive(Debug)]
pub(super) struct Shared(Arc<Mapped>);

impl Shared {
    /// The mapping of a file that was mapped by [`with_file`](Self::with_file) and is in use.
    pub(super) fn of(file: &Metadata) -> Option<Self> {
        let mapped = all().shared.get(&(file.dev(), file.ino()))?.upgrade()?;
        (mapped.map.len() as u64 == file.len()).then_some(Self(mapped))
    }

    /// The mapping of a whole file. [`copy`] reads the file.
    pub(super) fn with_file(map: Mmap, file: &File, metadata: &Metadata) -> Self {
        let identity = (metadata.dev(), metadata.ino());
        let has_room = all().files < FILES;
        let mapped = Arc::new(Mapped::add(map, if has_room { file.try_clone().ok() } else { None }, Some(identity)));
        change().shared.insert(identity, Arc::downgrade(&mapped));
        Self(mapped)
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }
}

impl Mapped {
    pub(super) fn new(map: Mmap) -> Self {
        Self::add(map, None, None)
    }

    fn add(map: Mmap, file: Option<File>, shared_as: Option<Identity>) -> Self {
        let map = Arc::new(map);
        let mut all = change();
        all.files += usize::from(file.is_some());
        let file = file.map(Arc::new);
        let entry = Entry { map: Arc::downgrade(&map), len: map.len(), file, noted: None, is_small: false };
        all.maps.insert(map.as_ptr().addr(), entry);
        Self { map, shared_as }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // The file is still mapped here, so no other mapping has the address yet.
        let mut all = change();
        if all.maps.remove(&self.map.as_ptr().addr()).is_some_and(|entry| entry.file.is_some()) {
            all.files -= 1;
        }
        // Another reader may have mapped the file anew meanwhile.
        if let Some(identity) = self.shared_as
            && all.shared.get(&identity).is_some_and(|shared| shared.strong_count() == 0)
        {
            all.shared.remove(&identity);
        }
    }
}

/// Gives back the pages of the mapped file that holds these bytes. Other memory stays as it is.
pub(crate) fn give_back(bytes: &[u8]) {
    if let Some((entry, _)) = change().find(bytes) {
        entry.give_back(0..entry.len);
    }
}

/// Copies bytes of a file that is kept open, without a touch of its mapping. False for other
/// memory, and where the file cannot be read: then they are there to be read in place.
pub(crate) fn copy(bytes: &[u8], into: &mut [u8]) -> bool {
    let found = all().file(bytes);
    let Some((file, at)) = found else { return false };
    into.len() == bytes.len() && file.read_exact_at(into, at).is_ok()
}

/// Notes that a row of a section was read in place, where the next one may lie anywhere in it.
/// Every [`TOUCHES`] of them the pages of all such sections are given back. Files that are not kept
/// open stay as they are.
pub(crate) fn note_touch(section: &[u8]) {
    if all().file(section).is_none() {
        return;
    }
    let mut all = change();
    let Some((entry, range)) = all.find(section) else { return };
    let noted = entry.noted.take().unwrap_or_else(|| range.clone());
    entry.noted = Some(noted.start.min(range.start)..noted.end.max(range.end));
    entry.refuse_huge_pages(range);
    all.touches += 1;
    if all.touches >= TOUCHES {
        all.touches = 0;
        for entry in all.maps.values_mut() {
            if let Some(noted) = entry.noted.take() {
                entry.give_back(noted);
            }
        }
    }
}

fn all() -> RwLockReadGuard<'static, All> {
    // Each change leaves a whole registry.
    ALL.read().unwrap_or_else(PoisonError::into_inner)
}

fn change() -> RwLockWriteGuard<'static, All> {
    ALL.write().unwrap_or_else(PoisonError::into_inner)
}

impl All {
    /// The mapped file that holds some bytes, and their place in it.
    fn find(&mut self, bytes: &[u8]) -> Option<(&mut Entry, Range<usize>)> {
        let at = bytes.as_ptr().addr();
        let (start, entry) = self.maps.range_mut(..=at).next_back()?;
        let range = at - start..(at - start).checked_add(bytes.len())?;
        (range.end <= entry.len).then_some((entry, range))
    }

    /// The open file that holds some bytes, and where they begin in it.
    fn file(&self, bytes: &[u8]) -> Option<(Arc<File>, u64)> {
        if self.files == 0 {
            return None;
        }
        let at = bytes.as_ptr().addr();
        let (start, entry) = self.maps.range(..=at).next_back()?;
        let is_in = (at - start).checked_add(bytes.len())? <= entry.len;
        Some((entry.file.clone().filter(|_| is_in)?, (at - start) as u64))
    }
}

impl Entry {
    /// Has the kernel map single pages. Where a file lies in huge pages of the page cache, it
    /// otherwise maps 2 MiB around a row.
    fn refuse_huge_pages(&mut self, range: Range<usize>) {
        if !self.is_small {
            self.is_small = true;
            #[cfg(target_os = "linux")]
            if let Some(map) = self.map.upgrade()
                && let Err(error) = map.advise_range(memmap2::Advice::NoHugePage, range.start, range.len())
            {
                tracing::debug!(%error, "a mapped file may take huge pages");
            }
            self.give_back(range);
        }
    }

    #[expect(unsafe_code, reason = "the advice is unchecked, because it empties memory that is not of a file")]
    fn give_back(&self, range: Range<usize>) {
        let Some(map) = self.map.upgrade() else { return };
        // SAFETY: the pages are of a shared mapping of a file that does not change, and nothing
        // writes to them. A later read finds the same bytes in the file.
        let given = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        if let Err(error) = given {
            tracing::debug!(%error, "the pages of a mapped file stay resident");
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write;

    use bytes::Bytes;

    use super::super::map::{map, map_sparing};
    use super::*;

    const MIB: usize = 1 << 20;

    fn mapped(mib: usize) -> Bytes {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; mib * MIB]).unwrap();
        spared(&file)
    }

    fn spared(file: &File) -> Bytes {
        map_sparing(file, &file.metadata().unwrap()).unwrap()
    }

    fn read(bytes: &[u8]) -> usize {
        bytes.iter().step_by(4096).map(|byte| usize::from(*byte)).sum()
    }

    /// The resident bytes of the mapping that holds some bytes, as the kernel counts them.
    fn resident(bytes: &[u8]) -> usize {
        let at = bytes.as_ptr().addr();
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = text.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16);
            !range
                .is_some_and(|(start, end)| matches!((number(start), number(end)), (Ok(s), Ok(e)) if s <= at && at < e))
        });
        let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    fn pages_given_back_are_not_resident_and_come_again() {
        let (given, kept) = (mapped(4), mapped(4));
        let sums = (read(&given), read(&kept));
        assert_eq!((resident(&given), resident(&kept)), (4 * MIB, 4 * MIB));
        give_back(&given[MIB..MIB + 5]);
        assert_eq!((resident(&given), resident(&kept)), (0, 4 * MIB));
        assert_eq!((read(&given), read(&kept)), sums);
    }

    /// Story: a server read some dozen rows for each query. After a hundred queries the rows of the
    /// whole collection were resident.
    #[test]
    fn sections_of_which_rows_are_read_do_not_stay_resident() {
        let bytes = mapped(40);
        let (codes, rows) = bytes.split_at(4 * MIB);
        read(codes);
        for row in 0..576_usize {
            assert_eq!(rows[row * 53 % 576 * (64 << 10)], 7);
            note_touch(rows);
            if row.is_multiple_of(16) {
                let resident = resident(&bytes);
                let most = 4 * MIB + 2 * MIB + (TOUCHES as usize + 1) * (64 << 10);
                assert!(resident <= most, "row {row}: {resident} bytes are resident");
            }
        }
        assert!(resident(&bytes) >= 4 * MIB, "the codes are read by every query, and stay");
    }

    #[test]
    fn rows_are_copied_without_a_resident_page() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..4 * MIB).map(|at| (at / 1000) as u8).collect();
        file.write_all(&content).unwrap();
        let (spared, other) = (spared(&file), map(&file).unwrap());
        let mut row = [0; 1536];
        for at in (0..4 * MIB - row.len()).step_by(99_991) {
            assert!(copy(&spared[at..at + row.len()], &mut row));
            assert_eq!(row, content[at..at + row.len()]);
            assert!(!copy(&other[at..at + row.len()], &mut row), "its file is not kept");
        }
        assert_eq!(resident(&spared), 0);
        note_touch(&other);
        assert_eq!(read(&other), read(&content));
        assert_eq!(resident(&other), 4 * MIB, "a file that is not kept stays as it is");
    }

    /// Story: a fold mapped the segments that a reader had mapped, and their pages counted twice.
    #[test]
    fn readers_of_a_file_share_its_mapping() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; MIB]).unwrap();
        let metadata = file.metadata().unwrap();
        let (one, two, alone) = (spared(&file), spared(&file), map(&file).unwrap());
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert_ne!(one.as_ptr(), alone.as_ptr());
        drop(one);
        assert_eq!(spared(&file).as_ptr(), two.as_ptr());
        // Not what was mapped before it grew.
        file.write_all(&[8]).unwrap();
        let grown = spared(&file);
        assert_eq!((two.len(), grown.len(), grown.last()), (MIB, MIB + 1, Some(&8)));
        drop(two);
        assert_eq!(spared(&file).as_ptr(), grown.as_ptr());
        drop(grown);
        assert!(Shared::of(&metadata).is_none() && !all().shared.contains_key(&(metadata.dev(), metadata.ino())));
    }

    #[test]
    fn memory_of_the_heap_keeps_its_content() {
        let heap = vec![7_u8; 4 * MIB];
        give_back(&heap);
        (0..2 * TOUCHES).for_each(|_| note_touch(&heap));
        assert!(!copy(&heap[..8], &mut [0; 8]));
        assert_eq!(heap, vec![7; 4 * MIB]);
    }

    #[test]
    fn a_file_that_is_no_longer_mapped_is_forgotten() {
        let bytes = mapped(1);
        let at = bytes.as_ptr().addr();
        assert!(all().maps.contains_key(&at));
        note_touch(&bytes);
        // Another mapping may get the address at once, so only the entry of this one is looked at.
        let map = all().maps.get(&at).unwrap().map.clone();
        drop(bytes);
        assert!(map.upgrade().is_none());
        let all = all();
        assert!(all.maps.get(&at).is_none_or(|entry| !Weak::ptr_eq(&entry.map, &map)));
    }
}
