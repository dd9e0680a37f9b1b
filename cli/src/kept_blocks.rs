//! Keeps large blocks of memory for the next request of their size.
//!
//! The C library returns large blocks to the system when they are freed: see `heap.rs`. The next
//! block then costs a page fault for every 4 KiB, and the kernel fills each page with zeros. A
//! command that read documents of 15 MiB spent more than half of its time in the kernel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// The smallest block that is kept. The heap of the C library keeps smaller ones anyway.
const FROM_BYTES: usize = 1 << 20;
/// The alignment of every block of the C library. Requests for a larger one bypass this module.
const ALIGN: usize = 16;
/// The most blocks kept.
const SLOTS: usize = 32;

/// Blocks that are free at the moment.
pub(crate) struct KeptBlocks {
    /// The most bytes of free blocks.
    limit: AtomicUsize,
    blocks: Mutex<Blocks>,
}

/// The oldest comes first.
struct Blocks {
    all: [Block; SLOTS],
    count: usize,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Block {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: no other code knows the address of a kept block.
unsafe impl Send for Blocks {}

impl KeptBlocks {
    pub(crate) const fn new(limit: usize) -> Self {
        let none = Block { start: null_mut(), bytes: 0 };
        let blocks = Mutex::new(Blocks { all: [none; SLOTS], count: 0, bytes: 0 });
        Self { limit: AtomicUsize::new(limit), blocks }
    }

    /// Bounds the kept bytes.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// Whether blocks of this layout are kept.
    pub(crate) fn covers(layout: Layout) -> bool {
        layout.size() >= FROM_BYTES && layout.align() <= ALIGN && rounded(layout.size()).is_some()
    }

    /// A block of a covered layout; null where the system has none.
    pub(crate) fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(bytes) = rounded(layout.size()) else { return null_mut() };
        if let Some(start) = self.take(bytes) {
            return start.as_ptr();
        }
        // SAFETY: the size is not zero.
        let fresh = || unsafe { System.alloc(of_bytes(bytes)) };
        let start = fresh();
        if start.is_null() && self.give_back_all() { fresh() } else { start }
    }

    /// The same, filled with zeros.
    pub(crate) fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(bytes) = rounded(layout.size()) else { return null_mut() };
        if let Some(start) = self.take(bytes) {
            // SAFETY: the block holds at least as many bytes as the layout asks for, and is the
            // caller's alone.
            unsafe { start.as_ptr().write_bytes(0, layout.size()) };
            return start.as_ptr();
        }
        // SAFETY: the size is not zero.
        let fresh = || unsafe { System.alloc_zeroed(of_bytes(bytes)) };
        let start = fresh();
        if start.is_null() && self.give_back_all() { fresh() } else { start }
    }

    /// A block with the same content and another size; null, and the block as it was, where the
    /// system has none.
    ///
    /// # Safety
    ///
    /// As for [`GlobalAlloc::realloc`]. Where the layout is covered, `start` is a block of
    /// [`alloc`](Self::alloc) or its like; else the system's.
    pub(crate) unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the alignment was valid before, and the caller vouches for the size.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old, new) = (served(layout), served(wanted));
        if old == new {
            return start;
        }
        // SAFETY: the system made the block with this layout, kept or not.
        let moved = || unsafe { System.realloc(start, old, new.size()) };
        let moved_to = moved();
        if moved_to.is_null() && self.give_back_all() { moved() } else { moved_to }
    }

    /// Takes back a block that is free now.
    ///
    /// # Safety
    ///
    /// `start` is a block of [`alloc`](Self::alloc) or its like for `layout`, and no code uses it
    /// afterwards.
    pub(crate) unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        let Some(bytes) = rounded(layout.size()) else { return };
        let limit = self.limit.load(Relaxed);
        let block = Block { start, bytes };
        if bytes <= limit
            && let Some(mut blocks) = self.lock()
        {
            while blocks.count == SLOTS || blocks.bytes + bytes > limit {
                let oldest = blocks.remove(0);
                give_back(oldest);
            }
            blocks.push(block);
        } else {
            give_back(block);
        }
    }

    /// The newest kept block of exactly this size: its pages are likely in the cache.
    fn take(&self, bytes: usize) -> Option<NonNull<u8>> {
        let mut blocks = self.lock()?;
        let place = blocks.all.iter().take(blocks.count).rposition(|block| block.bytes == bytes)?;
        NonNull::new(blocks.remove(place).start)
    }

    /// Gives all blocks back to the system. Returns whether there was one.
    fn give_back_all(&self) -> bool {
        let Some(mut blocks) = self.lock() else { return false };
        let any = blocks.count > 0;
        while blocks.count > 0 {
            let oldest = blocks.remove(0);
            give_back(oldest);
        }
        any
    }

    /// The blocks, unless another thread holds the lock.
    fn lock(&self) -> Option<MutexGuard<'_, Blocks>> {
        // No code under the lock can panic, so it is never poisoned.
        self.blocks.try_lock().ok()
    }
}

impl Blocks {
    fn push(&mut self, block: Block) {
        if let Some(slot) = self.all.get_mut(self.count) {
            *slot = block;
            self.count += 1;
            self.bytes += block.bytes;
        }
    }

    /// Removes block `place`, which is below the count.
    fn remove(&mut self, place: usize) -> Block {
        let block = self.all[place];
        self.all.copy_within(place + 1..self.count, place);
        self.count -= 1;
        self.bytes -= block.bytes;
        block
    }
}

fn give_back(block: Block) {
    // SAFETY: the system made the block with this layout, and no code knows it any more.
    unsafe { System.dealloc(block.start, of_bytes(block.bytes)) }
}

/// The layout of the system's block that serves `layout`.
fn served(layout: Layout) -> Layout {
    match rounded(layout.size()) {
        Some(bytes) if KeptBlocks::covers(layout) => {
            // SAFETY: as in `of_bytes`; the alignment is no larger.
            unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) }
        }
        _ => layout,
    }
}

/// The layout of a block of this size, which [`rounded`] gave.
fn of_bytes(bytes: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and `rounded` refuses sizes that overflow with it.
    unsafe { Layout::from_size_align_unchecked(bytes, ALIGN) }
}

/// The size of the block that serves a request: one of four between a power of two and the next.
/// Pages that a request does not touch take no memory. `None` where there is no such block.
fn rounded(size: usize) -> Option<usize> {
    let step = (size.checked_next_power_of_two()? >> 3).max(ALIGN);
    size.checked_next_multiple_of(step).filter(|bytes| *bytes <= isize::MAX as usize - ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    fn kept(blocks: &KeptBlocks) -> (usize, usize) {
        let blocks = blocks.blocks.lock().unwrap();
        (blocks.count, blocks.bytes)
    }

    #[test]
    fn a_freed_block_serves_the_next_request_of_its_size() {
        let blocks = KeptBlocks::new(8 * MIB);
        let first = blocks.alloc(layout(3 * MIB - 5));
        // SAFETY: the block is this test's, and holds as many bytes.
        unsafe {
            first.write_bytes(7, 3 * MIB - 5);
            blocks.dealloc(first, layout(3 * MIB - 5));
        }
        assert_eq!(kept(&blocks), (1, 3 * MIB));
        let other = blocks.alloc(layout(2 * MIB));
        assert_ne!(other, first);
        let second = blocks.alloc_zeroed(layout(3 * MIB - 9));
        assert_eq!((second, kept(&blocks)), (first, (0, 0)));
        // SAFETY: the blocks are this test's, and hold as many bytes.
        unsafe {
            assert!(std::slice::from_raw_parts(second, 3 * MIB - 9).iter().all(|byte| *byte == 0));
            blocks.dealloc(second, layout(3 * MIB - 9));
            blocks.dealloc(other, layout(2 * MIB));
        }
        assert_eq!(kept(&blocks), (2, 5 * MIB));
        assert!(blocks.give_back_all() && kept(&blocks) == (0, 0));
    }

    #[test]
    fn the_oldest_blocks_go_beyond_the_limit() {
        let blocks = KeptBlocks::new(6 * MIB);
        let all: Vec<*mut u8> = (2..=4).map(|mib| blocks.alloc(layout(mib * MIB))).collect();
        for (start, mib) in all.into_iter().zip(2..) {
            // SAFETY: the block is this test's.
            unsafe { blocks.dealloc(start, layout(mib * MIB)) };
            assert!(kept(&blocks).1 <= 6 * MIB);
        }
        assert_eq!(kept(&blocks), (1, 4 * MIB));
        let long = blocks.alloc(layout(7 * MIB));
        // SAFETY: the block is this test's.
        unsafe { blocks.dealloc(long, layout(7 * MIB)) };
        assert_eq!(kept(&blocks), (1, 4 * MIB), "one beyond the limit is not kept, and drives none out");
        blocks.set_limit(0);
        let last = blocks.alloc(layout(MIB));
        // SAFETY: the block is this test's.
        unsafe { blocks.dealloc(last, layout(MIB)) };
        assert_eq!(kept(&blocks), (1, 4 * MIB));
        assert!(blocks.give_back_all());
    }

    #[test]
    fn a_block_that_grows_keeps_its_content() {
        let blocks = KeptBlocks::new(8 * MIB);
        let start = blocks.alloc(layout(MIB));
        // SAFETY: the block is this test's, and holds as many bytes as each step says.
        unsafe {
            start.write_bytes(9, MIB);
            let grown = blocks.realloc(start, layout(MIB), 5 * MIB);
            assert!(std::slice::from_raw_parts(grown, MIB).iter().all(|byte| *byte == 9));
            assert_eq!(blocks.realloc(grown, layout(5 * MIB), 5 * MIB - 100), grown, "the block is as long already");
            blocks.dealloc(grown, layout(5 * MIB - 100));
        }
        assert_eq!(kept(&blocks), (1, 5 * MIB));
        assert!(blocks.give_back_all());
    }

    #[test]
    fn sizes_are_rounded_up_by_less_than_a_third() {
        for size in [1, 15, MIB, MIB + 1, 15 * MIB, 15 * MIB + 7, 16 * MIB, 100 * MIB + 3, 1 << 40] {
            let bytes = rounded(size).unwrap();
            assert!(bytes >= size && (size < 64 || bytes / 4 * 3 <= size), "{size}: {bytes}");
            assert_eq!(rounded(bytes), Some(bytes));
        }
        assert_eq!((rounded(isize::MAX as usize), rounded(usize::MAX)), (None, None));
        assert!(!KeptBlocks::covers(layout(MIB - 1)) && KeptBlocks::covers(layout(MIB)));
        assert!(!KeptBlocks::covers(Layout::from_size_align(MIB, 64).unwrap()));
    }
}
