//! Compressed input: its format by its first bytes, and its decoders.

use std::io::{self, BufRead, BufReader, Read, Seek};

use deltafold::MemoryLimit;

use crate::output::units::bytes;

/// The longest header of both formats.
const MAX_HEADER: usize = 18;
const BUFFER: usize = 1 << 20;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The compression of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// The compression, by the first bytes of an input.
    pub(crate) fn of(first: &[u8]) -> Self {
        if first.starts_with(&ZSTD) || skippable(first) {
            Self::Zstd
        } else if first.starts_with(&GZIP) {
            Self::Gzip
        } else {
            Self::Plain
        }
    }
}

/// Whether a skippable zstd frame begins, as `pzstd` writes them. It holds no data.
fn skippable(first: &[u8]) -> bool {
    matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Reads the first bytes of an input, enough to tell its format. A pipe may hand them over singly.
pub(crate) fn first_bytes(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    while wants_more(&first) {
        let mut byte = [0];
        match source.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => first.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(first)
}

fn wants_more(first: &[u8]) -> bool {
    match (first, Packing::of(first)) {
        (_, Packing::Gzip) => false,
        (_, Packing::Zstd) if skippable(first) => false,
        (_, Packing::Zstd) => Frame::read(first).is_none() && first.len() < MAX_HEADER,
        ([], _) => true,
        (_, Packing::Plain) => {
            let skips = [0x2a, 0x4d, 0x18];
            let frame = first.len() < ZSTD.len() && ZSTD.starts_with(first);
            let skip = first.len() < 4 && matches!(first, [0x50..=0x5f, rest @ ..] if skips.starts_with(rest));
            frame || skip || first == [GZIP[0]]
        }
    }
}

/// A reader that shows what it has read ahead.
pub(crate) trait Buffered: BufRead + Send {
    fn held(&self) -> &[u8];
}

impl<R: Read + Send> Buffered for BufReader<R> {
    fn held(&self) -> &[u8] {
        self.buffer()
    }
}

impl Buffered for Box<dyn Buffered> {
    fn held(&self) -> &[u8] {
        (**self).held()
    }
}

/// Decompressed data that may be compressed once more: by a server that compresses what it sends,
/// and by hand. Its first bytes tell. zstd within zstd stays closed, because two windows would
/// exceed the memory.
struct Twice {
    inner: Box<dyn Buffered>,
    outer: Packing,
    limits: Limits,
    looked: bool,
}

impl Twice {
    fn new(inner: Box<dyn Buffered>, outer: Packing, limits: Limits) -> Self {
        Self { inner, outer, limits, looked: false }
    }

    fn look(&mut self) -> io::Result<()> {
        if self.looked {
            return Ok(());
        }
        let packing = Packing::of(self.inner.fill_buf()?);
        self.looked = true;
        if packing == Packing::Plain || (packing, self.outer) == (Packing::Zstd, Packing::Zstd) {
            return Ok(());
        }
        let inner = std::mem::replace(&mut self.inner, Box::new(BufReader::with_capacity(0, io::empty())));
        self.inner = decoder(packing, inner, self.limits)?;
        Ok(())
    }
}

impl Read for Twice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.look()?;
        self.inner.read(buffer)
    }
}

impl BufRead for Twice {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.look()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.inner.consume(length);
    }
}

impl Buffered for Twice {
    fn held(&self) -> &[u8] {
        self.inner.held()
    }
}

/// The memory that one input may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest line, in bytes.
    pub(crate) line: u64,
}

impl Limits {
    /// No op is longer: a document of 16 MiB with every byte escaped takes 96 MiB. zstd's `--long`
    /// asks for a window of 128 MiB.
    const MOST: u64 = 128 << 20;

    /// Half of the memory for a line, and half for a window.
    pub(crate) fn of(memory: MemoryLimit) -> Self {
        Self { line: (memory.bytes() / 2).min(Self::MOST) }
    }

    /// The largest window of a zstd frame, as a power of two.
    fn window_log(self) -> u32 {
        self.line.max(1).ilog2()
    }

    /// The advice where more memory would raise the limit.
    pub(crate) fn advice(self) -> &'static str {
        if self.line < Self::MOST { ", or give more `--memory`" } else { "" }
    }
}

/// A decoder. It holds at most one window and three buffers.
pub(crate) fn unpacked(
    packing: Packing,
    source: impl Read + Send + 'static,
    limits: Limits,
) -> io::Result<Box<dyn Buffered>> {
    let source = BufReader::with_capacity(BUFFER, source);
    if packing == Packing::Plain {
        return Ok(Box::new(source));
    }
    Ok(Box::new(Twice::new(decoder(packing, source, limits)?, packing, limits)))
}

fn decoder(packing: Packing, source: impl Buffered + 'static, limits: Limits) -> io::Result<Box<dyn Buffered>> {
    Ok(match packing {
        Packing::Plain => Box::new(source),
        Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(source))),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(limits.window_log())?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}

/// The reason why a decoder stopped, and the remedy.
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) help: String,
}

/// Judges an error of a decoder. `damaged` is the remedy for unsound input.
pub(crate) fn judge(error: &io::Error, frame: Option<Frame>, damaged: &str, limits: Limits) -> Trouble {
    // Only this text shows it: the error codes of libzstd do not come through.
    if !error.to_string().contains("too much memory") {
        return Trouble { reason: error.to_string(), help: damaged.to_owned() };
    }
    let log = limits.window_log();
    let limit = bytes(1 << log);
    let window = frame.filter(|frame| frame.window > 1 << log);
    let window = window.map_or("a larger one".to_owned(), |frame| bytes(frame.window));
    Trouble {
        reason: format!("its zstd window is {window}, and the limit is {limit}"),
        help: format!("compress it again without `--ultra` and with at most `--long={log}`{}", limits.advice()),
    }
}

/// The header of a zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes of the header, with the magic.
    length: usize,
    /// Bytes that a decoder must remember.
    pub(crate) window: u64,
    /// Whether the frame ends in a checksum of its content.
    pub(crate) checksum: bool,
}

impl Frame {
    /// Reads a header (RFC 8878, 3.1.1.1). `None` for another format or an incomplete header.
    pub(crate) fn read(first: &[u8]) -> Option<Self> {
        let rest = first.strip_prefix(&ZSTD)?;
        let (&descriptor, rest) = rest.split_first()?;
        let single = descriptor & 0x20 != 0;
        let window = usize::from(!single);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = match (descriptor >> 6, single) {
            (0, false) => 0,
            (0, true) => 1,
            (log, _) => 1 << log,
        };
        let fields = rest.get(..window + dictionary + size)?;
        let window = if single {
            let bytes = fields.get(dictionary..)?;
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            if size == 2 { value + 256 } else { value }
        } else {
            let (exponent, mantissa) = (fields.first()? >> 3, fields.first()? & 7);
            let base = 1_u64 << (10 + exponent);
            base + base / 8 * u64::from(mantissa)
        };
        Some(Self { length: ZSTD.len() + 1 + fields.len(), window, checksum: descriptor & 4 != 0 })
    }
}

/// Whether every frame of a zstd file ends in a checksum. Reads only the headers of its blocks.
pub(crate) fn every_frame_has_a_checksum(file: impl Read + Seek) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(4 << 10, file);
    loop {
        let mut first = [0; MAX_HEADER];
        let read = read_most(&mut file, &mut first)?;
        let first = first.get(..read).unwrap_or_default();
        if first.is_empty() {
            return Ok(true);
        }
        if let ([_, _, _, _, a, b, c, d, ..], true) = (first, skippable(first)) {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            file.seek_relative(8 + i64::from(length) - read as i64)?;
            continue;
        }
        let Some(frame) = Frame::read(first) else { return Err(io::ErrorKind::InvalidData.into()) };
        if !frame.checksum {
            return Ok(false);
        }
        file.seek_relative(frame.length as i64 - read as i64)?;
        loop {
            let mut header = [0; 3];
            file.read_exact(&mut header)?;
            let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            let (last, kind, length) = (header & 1 == 1, header >> 1 & 3, i64::from(header >> 3));
            // A block of one repeated byte holds that byte once.
            file.seek_relative(if kind == 1 { 1 } else { length })?;
            if last {
                break;
            }
        }
        file.seek_relative(4)?;
    }
}

fn read_most(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(length) => read += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn zstd_of(bytes: &[u8], checksum: bool, window_log: Option<u32>) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.include_checksum(checksum).expect("set");
        if let Some(log) = window_log {
            encoder.window_log(log).expect("set");
        }
        encoder.write_all(bytes).expect("compressed");
        encoder.finish().expect("compressed")
    }

    /// A pipe may hand over one byte at a time.
    struct Singly<R>(R);

    impl<R: Read> Read for Singly<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn first_bytes_tell_the_kind_also_singly() {
        let skip = [&[0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd_of(b"x", true, None)].concat();
        let table: [(&[u8], Packing, usize); 8] = [
            (b"", Packing::Plain, 0),
            (b"{\"op\"", Packing::Plain, 1),
            (b"\x28x", Packing::Plain, 2),
            (b"\x28\xb5\x2f", Packing::Plain, 3),
            (b"\x1f\x8b\x08", Packing::Gzip, 2),
            (b"Px", Packing::Plain, 2),
            (&zstd_of(b"x", true, None), Packing::Zstd, 6),
            (&skip, Packing::Zstd, 4),
        ];
        for (bytes, packing, length) in table {
            let first = first_bytes(&mut Singly(bytes)).expect("read");
            assert_eq!((Packing::of(&first), first.len()), (packing, length), "{bytes:?}");
        }
    }

    #[test]
    fn frames_tell_their_window_and_checksum() {
        let frame = |bytes: &[u8]| Frame::read(bytes).expect("a header");
        assert_eq!(frame(&zstd_of(b"x", false, Some(26))).window, 1 << 26);
        assert!(frame(&zstd_of(b"x", true, None)).checksum && !frame(&zstd_of(b"x", false, None)).checksum);
        let whole = |length: usize| zstd::bulk::compress(&vec![b'x'; length], 3).expect("compressed");
        for length in [100, 300, 70_000] {
            assert_eq!(frame(&whole(length)).window, length as u64, "a frame of one segment");
        }
        assert_eq!(Frame::read(&ZSTD), None);
    }

    #[test]
    fn a_frame_without_checksum_is_found_behind_others() {
        let text: Vec<u8> = (0..400_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let skip = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let sound = [zstd_of(&text, true, None), skip, zstd_of(&[7; 300_000], true, None)].concat();
        let every = |bytes: &[u8]| every_frame_has_a_checksum(Cursor::new(bytes.to_vec())).expect("read");
        assert!(every(&sound));
        assert!(!every(&[sound, zstd_of(&text, false, None)].concat()));
    }
}
