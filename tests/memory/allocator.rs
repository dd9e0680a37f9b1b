//! An allocator that counts the bytes in use.
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static MEMORY: Counting = Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::const_new(());

struct Counting;

fn taken(bytes: usize) {
    let now = IN_USE.fetch_add(bytes, SeqCst) + bytes;
    PEAK.fetch_max(now, SeqCst);
}

// SAFETY: every call is the system's own with the same arguments; counting touches no memory that
// is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps what the trait asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps what the trait asks.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: it came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at once.
        taken(size);
        IN_USE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: it came from the system's allocator, and the caller keeps the rest.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Keeps the other tests of this program from running: the count covers the whole process.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Begins to measure.
pub(crate) struct Measure(usize);

impl Measure {
    pub(crate) fn start() -> Self {
        let now = IN_USE.load(SeqCst);
        PEAK.store(now, SeqCst);
        Self(now)
    }

    /// The most bytes in use at once beyond those at the start.
    pub(crate) fn peak(&self) -> usize {
        PEAK.load(SeqCst).saturating_sub(self.0)
    }
}

#[test]
fn a_block_that_is_gone_again_counts_for_the_peak() {
    let _alone = ALONE.blocking_lock();
    let measure = Measure::start();
    drop(std::hint::black_box(vec![1u8; 8 << 20]));
    assert!((8 << 20..9 << 20).contains(&measure.peak()), "{}", measure.peak());
    let after = Measure::start();
    assert!(after.peak() < 1 << 20);
}
