//! Settings of the C library's heap that keep a process within its memory.
//!
//! By default glibc raises the size from which a buffer is mapped on its own, up to 32 MiB, with each
//! such buffer that is freed. Later buffers then come from heaps, one for each thread or so, which keep
//! what they once grew to: 100 MiB and more beyond what is in use, where documents of 15 MiB are read.

/// Has large buffers given back to the system as soon as they are freed, and bounds the number of
/// heaps. Call it when the program starts. It does nothing where the C library is not glibc.
pub(crate) fn give_back_early() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers and has no precondition; no other thread runs yet. A setting
    // that it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
