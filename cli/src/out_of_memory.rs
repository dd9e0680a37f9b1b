//! The programs' global allocator. It ends a program that runs out of memory with a sentence and an
//! exit code. Without it the standard library aborts, which a script sees as signal 6.
//!
//! Decoders use fallible allocation for large buffers. Such a request gets the system's null
//! pointer, and the decoder returns an ordinary error.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use deltafold::format::reserve::is_reserving;

use crate::kept_blocks::KeptBlocks;

/// The exit code of a program that ran out of memory; `EX_OSERR` of `sysexits.h`.
pub(crate) const EXIT_CODE: u8 = 71;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

static KEPT: KeptBlocks = KeptBlocks::new(0);

/// Whether to report the error as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses JSON or text for the error.
pub(crate) fn tell_as_json(json: bool) {
    JSON.store(json, Relaxed);
}

/// The programs' global allocator.
#[derive(Debug)]
pub struct Allocator;

/// Bounds the memory of large free blocks kept for the next request.
pub(crate) fn keep_blocks(bytes: u64) {
    KEPT.set_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
}

// SAFETY: `KEPT` always serves a layout that it covers, and `System` any other one, with the
// arguments unchanged. `checked` neither allocates nor unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = if KeptBlocks::covers(layout) {
            KEPT.alloc(layout)
        } else {
            // SAFETY: the caller keeps the contract of this same method.
            unsafe { System.alloc(layout) }
        };
        checked(start, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let start = if KeptBlocks::covers(layout) {
            KEPT.alloc_zeroed(layout)
        } else {
            // SAFETY: as above.
            unsafe { System.alloc_zeroed(layout) }
        };
        checked(start, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; `KEPT` or `System` made the block, as its layout says.
        let start = unsafe { KEPT.realloc(pointer, layout, size) };
        checked(start, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if KeptBlocks::covers(layout) {
            // SAFETY: as above; the layout is covered, so `KEPT` made the block.
            unsafe { KEPT.dealloc(pointer, layout) }
        } else {
            // SAFETY: as above.
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}

fn checked(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() && !is_reserving() {
        end(size);
    }
    pointer
}

/// Reports the failure and ends the program. Allocates nothing.
#[cold]
fn end(size: usize) -> ! {
    let mut buffer = [0; 512];
    let length = sentence(&mut buffer, size, JSON.load(Relaxed));
    let told = buffer.get(..length).unwrap_or_default();
    // SAFETY: the pointer and the length are those of a live slice. `_exit` runs no handlers, which
    // might allocate. Where standard error is closed, only the exit code tells.
    unsafe {
        libc::write(libc::STDERR_FILENO, told.as_ptr().cast(), told.len());
        libc::_exit(libc::c_int::from(EXIT_CODE))
    }
}

/// Writes the error into `buffer`, and returns its length.
fn sentence(buffer: &mut [u8], size: usize, json: bool) -> usize {
    let room = buffer.len();
    let mut rest = &mut *buffer;
    let what = "out of memory: the system refused";
    let help = "set a smaller `--memory`, or let the process have more; acknowledged ops are safe";
    // A buffer that is too short cuts the sentence. That cannot be reported.
    let _ = if json {
        writeln!(rest, r#"{{"error":{{"kind":"out_of_memory","message":"{what} {size} bytes","help":["{help}"]}}}}"#)
    } else {
        writeln!(rest, "error: {what} {size} bytes\nhelp: {help}")
    };
    room - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_fits_its_buffer_for_any_size() {
        for json in [false, true] {
            let mut buffer = [0; 512];
            let length = sentence(&mut buffer, usize::MAX, json);
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            assert!(text.ends_with('\n') && text.contains(&usize::MAX.to_string()), "{text}");
            if json {
                let document: serde_json::Value = serde_json::from_str(text).unwrap();
                assert_eq!(document["error"]["kind"], "out_of_memory");
            }
        }
    }

    #[test]
    fn a_refused_request_of_a_decoder_stays_its_error() {
        let mut buffer: Vec<u8> = Vec::new();
        assert!(deltafold::format::reserve::reserve_exact(&mut buffer, isize::MAX as usize / 2).is_err());
    }
}
