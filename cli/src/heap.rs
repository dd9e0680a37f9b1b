//! Settings of the C library's heap that keep a process within its memory.
//!
//! By default glibc maps large buffers on their own. It raises the size from which it does so, up
//! to 32 MiB, with each such buffer that is freed. Later buffers then come from heaps, about one
//! for each thread, which never shrink. With documents of 15 MiB they take 100 MiB and more beyond
//! the memory in use.

/// Makes glibc return large buffers to the system as soon as they are freed, and bounds the number
/// of heaps. Call it when the program starts. It does nothing with another C library.
pub(crate) fn give_back_early() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers and has no precondition; no other thread runs yet. A
    // setting that it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::alloc::{GlobalAlloc as _, Layout, System};

    /// Story: once a larger buffer had been freed, the C library put large buffers into heaps that
    /// never shrink. A reader of documents of 15 MiB then took 385 MiB. Now each buffer is mapped
    /// on its own.
    ///
    /// It runs again in a process of its own: blocks freed by other tests may be large enough to
    /// serve it.
    #[test]
    fn a_large_buffer_is_mapped_after_a_larger_one_was_freed() {
        const ALONE: &str = "DELTAFOLD_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = "heap::tests::a_large_buffer_is_mapped_after_a_larger_one_was_freed";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output = alone.args([name, "--exact", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            return;
        }
        super::give_back_early();
        let layout = |mib: usize| Layout::from_size_align(mib << 20, 16).unwrap();
        // SAFETY: each block is this test's, and is freed once, with its layout.
        let starts = unsafe {
            System.dealloc(System.alloc(layout(16)), layout(16));
            let blocks = [2, 4, 8].map(|mib| (System.alloc(layout(mib)), layout(mib)));
            for (start, layout) in blocks {
                System.dealloc(start, layout);
            }
            blocks.map(|(start, _)| start.addr() % 4_096)
        };
        // A block that is mapped on its own begins behind its header, at the start of a page.
        assert_eq!(starts, [16; 3]);
    }
}
