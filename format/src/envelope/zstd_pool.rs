//! zstd at one level, with a pool of contexts: making one costs more than compressing a small
//! segment.

use std::sync::Mutex;

use zstd::bulk::{Compressor, Decompressor};

/// The level of every section. Higher levels cost several times the time and save a tenth of the
/// bytes.
const LEVEL: i32 = 1;
/// Contexts of each sort in the pool. Additional threads make their own.
const KEPT: usize = 8;

static COMPRESSORS: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());
static DECOMPRESSORS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

fn take<T>(pool: &Mutex<Vec<T>>) -> Option<T> {
    pool.lock().ok()?.pop()
}

fn give_back<T>(pool: &Mutex<Vec<T>>, context: T) {
    if let Ok(mut pool) = pool.lock()
        && pool.len() < KEPT
    {
        pool.push(context);
    }
}

/// One zstd frame with its content size, or `None` if zstd fails or does not make it shorter.
pub(super) fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    let mut context = take(&COMPRESSORS).or_else(|| Compressor::new(LEVEL).ok())?;
    let compressed = context.compress(raw);
    give_back(&COMPRESSORS, context);
    compressed.ok().filter(|compressed| compressed.len() < raw.len())
}

/// The content size that the frame states.
pub(super) fn content_size(frame: &[u8]) -> Option<u64> {
    zstd::zstd_safe::get_frame_content_size(frame).ok().flatten()
}

/// Whether the bytes are exactly one frame. Reads only the headers of blocks.
pub(super) fn is_one_frame(bytes: &[u8]) -> bool {
    zstd::zstd_safe::find_frame_compressed_size(bytes) == Ok(bytes.len())
}

/// Fills `out` with the content of `frame`; `None` unless the content is exactly as long as `out`.
pub(super) fn decompress(frame: &[u8], out: &mut [u8]) -> Option<()> {
    let mut context = take(&DECOMPRESSORS).or_else(|| Decompressor::new().ok())?;
    let written = context.decompress_to_buffer(frame, out);
    give_back(&DECOMPRESSORS, context);
    (written.ok()? == out.len()).then_some(())
}
