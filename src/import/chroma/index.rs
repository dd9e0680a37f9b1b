//! An index of hnswlib, as Chroma's fork writes it: the vectors and their labels.
//!
//! Three of its files matter. Numbers are little-endian.
//!
//! | file | content |
//! |---|---|
//! | `header.bin` | 100 bytes: version, counts, and the places of the fields of an element |
//! | `data_level0.bin` | the elements: neighbours, flags, vector, label |
//! | `length.bin` | in indexes for cosine, the norm of each vector, as vectors are stored normalised |
//!
//! `link_lists.bin` is the graph above the lowest level. It holds no vector.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use deltafold_format::limits::MAX_DIMENSION;

/// Length of `header.bin`.
pub(super) const HEADER_BYTES: usize = 100;
/// The version that Chroma's fork of hnswlib writes.
const VERSION: i32 = 1;
/// Flag of an element that was deleted.
const DELETED: u8 = 1;
/// Bytes in front of the neighbours of an element: their count, flags, and padding.
const FRONT: u64 = 4;
/// Most elements of an index: Chroma numbers them with 32 bits.
const MAX_ELEMENTS: u64 = u32::MAX as u64;

/// Bytes that are read at places.
pub(super) trait ReadAt {
    /// Fills `into` with the bytes from `at` on.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
    /// The number of bytes.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let start = usize::try_from(at).ok();
        let found = start.and_then(|start| self.get(start..)?.get(..into.len()));
        let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// The content of `header.bin`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Elements in use, deleted ones among them.
    pub(super) count: u64,
    /// Length of the vectors.
    pub(super) dimension: u32,
    element_bytes: u64,
    label_at: u64,
    vector_at: u64,
}

impl Header {
    /// Reads a header. The reason of a refusal is a clause about the file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != HEADER_BYTES {
            return Err(format!("it has {} bytes instead of {HEADER_BYTES}", bytes.len()));
        }
        let four = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let eight = |at: usize| {
            u64::from_le_bytes(bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default())
        };
        let version = i32::from_le_bytes(four(0));
        if version != VERSION {
            return Err(format!("it has version {version}, and the known one is {VERSION}"));
        }
        let [offset, max, count, element_bytes, label_at, vector_at] = [4, 12, 20, 28, 36, 44].map(eight);
        let most_neighbours = eight(68);
        if offset != 0 || count > max || count > MAX_ELEMENTS {
            return Err(format!("its counts contradict each other: {count} of {max} elements, from byte {offset}"));
        }
        let vector_bytes = label_at.checked_sub(vector_at).filter(|bytes| bytes.is_multiple_of(4));
        let dimension =
            vector_bytes.map(|bytes| bytes / 4).filter(|numbers| (1..=MAX_DIMENSION as u64).contains(numbers));
        let front = most_neighbours.checked_mul(4).and_then(|bytes| bytes.checked_add(FRONT));
        let dimension = dimension.and_then(|numbers| u32::try_from(numbers).ok());
        match dimension {
            Some(dimension) if front == Some(vector_at) && label_at.checked_add(8) == Some(element_bytes) => {
                Ok(Self { count, dimension, element_bytes, label_at, vector_at })
            }
            _ => Err(format!(
                "its fields contradict each other: {most_neighbours} neighbours, the vector at {vector_at}, the label \
                 at {label_at}, {element_bytes} bytes an element"
            )),
        }
    }
}

/// The elements of an index.
#[derive(Debug)]
pub(super) struct Elements<R> {
    header: Header,
    data: R,
    /// `length.bin` of an index for cosine.
    norms: Option<R>,
}

impl<R: ReadAt> Elements<R> {
    /// The elements in `data`. `norms` is given for cosine only, as its content means nothing
    /// otherwise. The reason of a refusal is a sentence without its end.
    pub(super) fn new(header: Header, data: R, norms: Option<R>) -> Result<Self, String> {
        let needed = header.count.checked_mul(header.element_bytes);
        let found = data.length().map_err(|error| format!("`data_level0.bin` cannot be read: {error}"))?;
        if needed.is_none_or(|needed| needed > found) {
            return Err(format!(
                "`data_level0.bin` has {found} bytes, too few for {} elements of {} bytes",
                header.count, header.element_bytes
            ));
        }
        if let Some(norms) = &norms {
            let found = norms.length().map_err(|error| format!("`length.bin` cannot be read: {error}"))?;
            if header.count * 4 > found {
                return Err(format!("`length.bin` has {found} bytes, too few for {} norms", header.count));
            }
        }
        Ok(Self { header, data, norms })
    }

    /// The label of an element; `None` if it was deleted.
    pub(super) fn label(&self, element: u64) -> io::Result<Option<u64>> {
        let at = self.at(element)?;
        let (mut front, mut label) = ([0; FRONT as usize], [0; 8]);
        self.data.read_at(&mut front, at)?;
        self.data.read_at(&mut label, at + self.header.label_at)?;
        let [_, _, flags, _] = front;
        Ok((flags & DELETED == 0).then_some(u64::from_le_bytes(label)))
    }

    /// The vector of an element, with its norm where the index keeps that apart.
    pub(super) fn vector(&self, element: u64) -> io::Result<Vec<f32>> {
        let at = self.at(element)?;
        let mut bytes = vec![0; self.header.dimension as usize * 4];
        self.data.read_at(&mut bytes, at + self.header.vector_at)?;
        let mut vector = floats(&bytes);
        if let Some(norms) = &self.norms {
            let mut norm = [0; 4];
            norms.read_at(&mut norm, element * 4)?;
            let norm = f32::from_le_bytes(norm);
            vector.iter_mut().for_each(|number| *number *= norm);
        }
        Ok(vector)
    }

    /// The place of an element in `data_level0.bin`. It lies within 64 bits, as all elements do.
    fn at(&self, element: u64) -> io::Result<u64> {
        if element < self.header.count {
            Ok(element * self.header.element_bytes)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// Little-endian floats.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests;
