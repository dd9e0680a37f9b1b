//! Sorts more than fits in memory: full chunks are sorted and moved to a temporary file, then
//! merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::marker::PhantomData;
use std::vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::env;
use crate::error::{Error, Result};
use crate::scratch::{Extent, Scratch, damaged, failed};

/// Bytes of records in one block of a chunk; a hash of 8 bytes follows them.
const BLOCK_BYTES: usize = 64 << 10;
const HASH_BYTES: usize = size_of::<u64>();

/// An item to sort. No two are equal, and each takes the same number of bytes.
pub(super) trait Item: Ord + Copy + Send + Sync + 'static {
    /// Bytes of an item.
    const BYTES: usize;
    /// Appends exactly [`BYTES`](Self::BYTES).
    fn write(&self, to: &mut Vec<u8>);
    /// Reads one back; `None` if the bytes are too few.
    fn read(from: &[u8]) -> Option<Self>;
}

/// Takes items in any order.
#[derive(Debug)]
pub(super) struct Sorter<T> {
    scratch: Scratch,
    /// Most items of the chunk in memory.
    full: usize,
    /// Number of items wanted, the first in order.
    limit: usize,
    open: Vec<T>,
    chunks: Vec<Chunk<T>>,
}

impl<T: Item> Sorter<T> {
    /// A sorter that holds about `memory` bytes.
    pub(super) fn new(scratch: Scratch, memory: u64, limit: usize) -> Self {
        let full = usize::try_from(memory).unwrap_or(usize::MAX) / size_of::<T>();
        Self { scratch, full: full.max(2), limit, open: Vec::new(), chunks: Vec::new() }
    }

    /// Takes an item. Returns a full chunk now and then, which the caller must [write](Full::write)
    /// and [add](Self::add).
    pub(super) fn push(&mut self, item: T) -> Option<Full<T>> {
        self.open.push(item);
        if self.open.len() / 2 >= self.limit.max(1) {
            self.open.select_nth_unstable(self.limit.saturating_sub(1));
            self.open.truncate(self.limit);
        }
        if self.open.len() < self.full {
            return None;
        }
        Some(Full { items: std::mem::take(&mut self.open), scratch: self.scratch.clone() })
    }

    pub(super) fn add(&mut self, chunk: Chunk<T>) {
        self.chunks.push(chunk);
    }

    /// All items in order.
    pub(super) async fn finish(self) -> Result<Sorted<T>> {
        let Self { mut open, chunks, .. } = self;
        let sorted = env::blocking(move || {
            open.sort_unstable();
            let mut sources: Vec<Source<T>> = chunks.into_iter().map(Source::Stored).collect();
            sources.push(Source::Memory(open.into_iter()));
            let mut heads = BinaryHeap::new();
            for (number, source) in sources.iter_mut().enumerate() {
                heads.extend(source.next()?.map(|item| Reverse((item, number))));
            }
            Ok(Sorted { sources, heads })
        });
        sorted.await
    }
}

/// A full chunk, which must move to the temporary file.
#[derive(Debug)]
pub(super) struct Full<T> {
    items: Vec<T>,
    scratch: Scratch,
}

impl<T: Item> Full<T> {
    /// Sorts and writes it.
    pub(super) async fn write(self) -> Result<Chunk<T>> {
        let Self { mut items, scratch } = self;
        let written = env::blocking(move || -> io::Result<Chunk<T>> {
            items.sort_unstable();
            let mut blocks = Vec::new();
            for block in items.chunks(per_block::<T>()) {
                let mut bytes = Vec::with_capacity(block.len() * T::BYTES + HASH_BYTES);
                block.iter().for_each(|item| item.write(&mut bytes));
                let hash = xxh3_64(&bytes);
                bytes.extend_from_slice(&hash.to_le_bytes());
                blocks.push(Bytes::from(bytes));
            }
            let extent = scratch.put(&blocks)?;
            Ok(Chunk { extent, left: items.len(), at: 0, block: Vec::new().into_iter(), kind: PhantomData })
        });
        Ok(written.await.map_err(failed)?)
    }
}

fn per_block<T: Item>() -> usize {
    (BLOCK_BYTES / T::BYTES).max(1)
}

/// A sorted chunk in the temporary file, read block by block.
#[derive(Debug)]
pub(super) struct Chunk<T> {
    extent: Extent,
    /// Items left to read.
    left: usize,
    at: u64,
    block: vec::IntoIter<T>,
    kind: PhantomData<T>,
}

impl<T: Item> Chunk<T> {
    fn next(&mut self) -> Result<Option<T>> {
        if let Some(item) = self.block.next() {
            return Ok(Some(item));
        }
        if self.left == 0 {
            return Ok(None);
        }
        let items = self.left.min(per_block::<T>());
        let end = self.at + (items * T::BYTES + HASH_BYTES) as u64;
        let bytes = self.extent.read(self.at, end).map_err(failed)?;
        let block = decode(&bytes).ok_or_else(|| damaged(&Error::invalid("a hash does not match")))?;
        self.left -= items;
        self.at = end;
        self.block = block.into_iter();
        Ok(self.block.next())
    }
}

fn decode<T: Item>(bytes: &[u8]) -> Option<Vec<T>> {
    let (items, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
    if xxh3_64(items) != u64::from_le_bytes(*hash) {
        return None;
    }
    items.chunks_exact(T::BYTES).map(T::read).collect()
}

#[derive(Debug)]
enum Source<T> {
    Memory(vec::IntoIter<T>),
    Stored(Chunk<T>),
}

impl<T: Item> Source<T> {
    fn next(&mut self) -> Result<Option<T>> {
        match self {
            Self::Memory(items) => Ok(items.next()),
            Self::Stored(chunk) => chunk.next(),
        }
    }
}

/// Items in order.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    sources: Vec<Source<T>>,
    /// The next item of each source that has one.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

impl<T: Item> Sorted<T> {
    /// The next `count` items, fewer at the end. Blocks.
    pub(super) fn next_many(&mut self, count: usize) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while items.len() < count
            && let Some(mut head) = self.heads.peek_mut()
        {
            let Reverse((item, number)) = *head;
            items.push(item);
            // In place: popping one head and pushing another would sort twice.
            match self.sources[number].next()? {
                Some(next) => *head = Reverse((next, number)),
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Item for u32 {
        const BYTES: usize = 4;

        fn write(&self, to: &mut Vec<u8>) {
            to.extend_from_slice(&self.to_le_bytes());
        }

        fn read(from: &[u8]) -> Option<Self> {
            Some(Self::from_le_bytes(*from.first_chunk()?))
        }
    }

    async fn sorted(scratch: &Scratch, items: &[u32], memory: u64, limit: usize) -> Result<Sorted<u32>> {
        let mut sorter = Sorter::new(scratch.clone(), memory, limit);
        for item in items {
            if let Some(full) = sorter.push(*item) {
                sorter.add(full.write().await?);
            }
        }
        sorter.finish().await
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn items_come_in_order_under_any_memory_limit(
            items in proptest::collection::hash_set(any::<u32>(), 0..300),
            memory in 0..2_000_u64,
            limit in prop_oneof![Just(usize::MAX), 1..400_usize],
        ) {
            let items: Vec<u32> = items.into_iter().collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            expected.truncate(limit);
            let mut found = run(sorted(&Scratch::default(), &items, memory, limit)).unwrap().next_many(usize::MAX).unwrap();
            found.truncate(limit);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn damage_of_a_sorted_chunk_is_an_error() {
        let scratch = Scratch::default();
        let items: Vec<u32> = (0..100_000).rev().collect();
        let mut whole = run(sorted(&scratch, &items, 100_000, usize::MAX)).unwrap();
        assert!(scratch.bytes() > 300_000);
        scratch.damage();
        let error = whole.next_many(usize::MAX).unwrap_err();
        assert!(error.to_string().contains("temporary file"), "{error}");
    }
}
