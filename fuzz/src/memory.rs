//! A bound on every single allocation.
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, limited to `LIMIT` bytes an allocation. A decoder that believes a length
/// beyond the limits of the format ends the program, even if it would never touch the memory.
#[derive(Debug)]
pub struct Bounded<const LIMIT: usize>;

// SAFETY: every call is the system's own with the same arguments; to have no memory is an answer
// that the trait allows.
unsafe impl<const LIMIT: usize> GlobalAlloc for Bounded<LIMIT> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LIMIT {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps what the trait asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LIMIT {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps what the trait asks.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: it came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LIMIT {
            return std::ptr::null_mut();
        }
        // SAFETY: it came from the system's allocator, and the caller keeps the rest.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
