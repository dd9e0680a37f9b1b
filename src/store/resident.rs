//! The resident pages of mapped files.
//!
//! The kernel counts each page of a mapping that was read as memory of the process. Around a page
//! it maps 64 KiB that the page cache has, and newer kernels up to 2 MiB where they lie together
//! there. So random reads of few rows make a large file resident. Pages that are given back stay in
//! the page cache, and come again when they are read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use memmap2::{Mmap, UncheckedAdvice};

/// Rows that are read before the pages around them are given back: 16 MiB of pages at most.
const ROWS: u32 = 8;

/// All mapped files of the process.
static ALL: Mutex<All> = Mutex::new(All { maps: BTreeMap::new(), rows: 0 });

#[derive(Debug)]
struct All {
    /// By the address of their first byte.
    maps: BTreeMap<usize, Entry>,
    /// Rows noted since pages were given back.
    rows: u32,
}

#[derive(Debug)]
struct Entry {
    map: Weak<Mmap>,
    len: usize,
    /// The part of it that holds the rows noted.
    noted: Option<Range<usize>>,
    /// Whether huge pages were refused for that part.
    is_small: bool,
}

/// A mapped file, whose pages can be given back as long as it is mapped.
#[derive(Debug)]
pub(super) struct Mapped(Arc<Mmap>);

impl Mapped {
    pub(super) fn new(map: Mmap) -> Self {
        let map = Arc::new(map);
        let entry = Entry { map: Arc::downgrade(&map), len: map.len(), noted: None, is_small: false };
        all().maps.insert(map.as_ptr().addr(), entry);
        Self(map)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // The file is still mapped here, so no other mapping has the address yet.
        all().maps.remove(&self.0.as_ptr().addr());
    }
}

/// Gives back the pages of the mapped file that holds these bytes. Other memory stays as it is.
pub(crate) fn give_back(bytes: &[u8]) {
    if let Some((entry, _)) = all().find(bytes) {
        entry.give_back(0..entry.len);
    }
}

/// Notes that a row of a section was read, where the next one may lie anywhere in it. Every
/// [`ROWS`] rows the pages of all such sections are given back.
pub(crate) fn note_row(section: &[u8]) {
    let mut all = all();
    let Some((entry, range)) = all.find(section) else { return };
    let noted = entry.noted.take().unwrap_or_else(|| range.clone());
    entry.noted = Some(noted.start.min(range.start)..noted.end.max(range.end));
    entry.refuse_huge_pages(range);
    all.rows += 1;
    if all.rows >= ROWS {
        all.rows = 0;
        for entry in all.maps.values_mut() {
            if let Some(noted) = entry.noted.take() {
                entry.give_back(noted);
            }
        }
    }
}

fn all() -> MutexGuard<'static, All> {
    // Each change is a single insert, remove or assignment.
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl All {
    /// The mapped file that holds some bytes, and their place in it.
    fn find(&mut self, bytes: &[u8]) -> Option<(&mut Entry, Range<usize>)> {
        let at = bytes.as_ptr().addr();
        let (start, entry) = self.maps.range_mut(..=at).next_back()?;
        let range = at - start..(at - start).checked_add(bytes.len())?;
        (range.end <= entry.len).then_some((entry, range))
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

    use super::super::map::map;
    use super::*;

    const MIB: usize = 1 << 20;

    fn mapped(mib: usize) -> Bytes {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; mib * MIB]).unwrap();
        map(&file).unwrap()
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
            note_row(rows);
            if row.is_multiple_of(16) {
                let resident = resident(&bytes);
                assert!(resident <= 4 * MIB + ROWS as usize * 2 * MIB, "row {row}: {resident} bytes are resident");
            }
        }
        assert!(resident(&bytes) >= 4 * MIB, "the codes are read by every query, and stay");
    }

    #[test]
    fn memory_of_the_heap_keeps_its_content() {
        let heap = vec![7_u8; 4 * MIB];
        give_back(&heap);
        (0..2 * ROWS).for_each(|_| note_row(&heap));
        assert_eq!(heap, vec![7; 4 * MIB]);
    }

    #[test]
    fn a_file_that_is_no_longer_mapped_is_forgotten() {
        let bytes = mapped(1);
        let at = bytes.as_ptr().addr();
        assert!(all().maps.contains_key(&at));
        note_row(&bytes);
        // Another mapping may get the address at once, so only the entry of this one is looked at.
        let map = all().maps.get(&at).unwrap().map.clone();
        drop(bytes);
        assert!(map.upgrade().is_none());
        let all = all();
        assert!(all.maps.get(&at).is_none_or(|entry| !Weak::ptr_eq(&entry.map, &map)));
    }
}
