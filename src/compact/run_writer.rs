//! Writes a run: rows in id order become parts, their new embeddings become embedding objects.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use deltafold_format::limits::MAX_PART_ROWS;
use deltafold_format::{
    Effect, EmbeddingBuilder, EmbeddingEntry, EmbeddingRef, Embeddings, EncodedEmbeddings, FormatError,
    FormatErrorKind, ObjectName, PartBuilder, PartEntry, PartMeta, PartObject, Version,
};

use crate::env::{self, Task};
use crate::error::{Error, Result};
use crate::shard::Shard;

/// Objects being encoded or uploaded at once.
const CLOSING: usize = 2;

/// Bytes of them. With the two objects that are being filled, this bounds the writer's memory.
const CLOSING_BYTES: usize = 32 << 20;

/// Rows between two yields to other tasks.
const ROWS_A_TURN: u32 = 256;

/// A part is closed at this many bytes of columns, even if it holds fewer rows than it may.
///
/// A scan and a merge hold one part of each run: of 28 runs, seven on each of four levels, 56 MiB.
/// A cold `get` reads the front and the columns of one part: half a megabyte where documents are
/// short.
const PART_BYTES: usize = 2 << 20;

/// Writes one run.
pub(crate) struct RunWriter {
    shard: Shard,
    /// The head version that the edit starts from. The name of every object written contains it.
    born: Version,
    part: PartBuilder,
    embeddings: Option<(ObjectName, EmbeddingBuilder)>,
    /// Each with its bytes.
    closing: VecDeque<(usize, Task<Result<Closed>>)>,
    /// In id order. `None` for those still being closed.
    parts: Vec<Option<PartEntry>>,
    written: Written,
    /// The part is closed at this many rows.
    cut_at: usize,
    /// The part is closed at this many bytes of columns, too.
    cut_bytes: usize,
    turn: u32,
}

/// Whether a part stands alone. The next merge joins smaller ones with their neighbours.
pub(crate) fn is_large(part: &PartEntry) -> bool {
    // Stored bytes: text columns compress to a quarter as a rule, seldom to less than a sixteenth.
    part.rows as usize >= LARGE_ROWS || part.bytes >= (PART_BYTES / 16) as u64
}

/// The same by the bytes that a part takes once it is decoded.
pub(crate) fn is_large_in_memory(part: &PartMeta) -> bool {
    part.decoded_bytes() >= LARGE_BYTES
}

/// A part of this many rows stands alone.
const LARGE_ROWS: usize = MAX_PART_ROWS / 4;

/// A part with this many bytes of columns does, too.
const LARGE_BYTES: usize = PART_BYTES / 4;

/// The result of a run writer.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// In id order, including those carried over.
    pub(crate) parts: Vec<PartEntry>,
    /// The new embedding objects.
    pub(crate) embeddings: Vec<EmbeddingEntry>,
    /// The references from the new parts to each object that existed before.
    pub(crate) references: BTreeMap<ObjectName, u32>,
    /// Rows of `parts`.
    pub(crate) rows: u64,
    /// Bytes of the objects written.
    pub(crate) bytes: u64,
}

impl RunWriter {
    pub(crate) fn new(shard: Shard, born: Version) -> Self {
        Self {
            shard,
            born,
            part: PartBuilder::new(),
            embeddings: None,
            closing: VecDeque::new(),
            parts: Vec::new(),
            written: Written::default(),
            cut_at: MAX_PART_ROWS,
            cut_bytes: PART_BYTES,
            turn: 0,
        }
    }

    /// Writes an embedding and returns its future place.
    pub(crate) async fn embed(&mut self, row: &[f32]) -> Result<EmbeddingRef> {
        let (object, builder) = self.open_embeddings().await?;
        Ok(EmbeddingRef { object: *object, row: builder.push(row) })
    }

    /// Copies an embedding with its codes and returns its future place.
    pub(crate) async fn embed_copy(
        &mut self,
        from: &Embeddings,
        row: u32,
    ) -> Result<Result<EmbeddingRef, FormatError>> {
        let (object, builder) = self.open_embeddings().await?;
        Ok(builder.push_copy(from, row).map(|row| EmbeddingRef { object: *object, row }))
    }

    /// The embedding object that is being filled.
    async fn open_embeddings(&mut self) -> Result<&mut (ObjectName, EmbeddingBuilder)> {
        if self.embeddings.as_ref().is_some_and(|(_, builder)| builder.is_full()) {
            self.close_embeddings().await?;
        }
        Ok(self.embeddings.get_or_insert_with(|| {
            let name = ObjectName { version: self.born, nonce: self.shard.env().nonce() };
            (name, EmbeddingBuilder::new(self.shard.rotation()))
        }))
    }

    /// Appends a row; ids must ascend.
    pub(crate) async fn push(&mut self, id: &str, effect: &Effect<EmbeddingRef>) -> Result<()> {
        self.make_room().await?;
        self.part.push_effect(id, effect).map_err(|error| self.refused(&error))
    }

    /// Appends a row of another part unchanged, but with its embedding at `embedding` if given.
    pub(crate) async fn copy(&mut self, from: &PartMeta, row: usize, embedding: Option<EmbeddingRef>) -> Result<()> {
        self.make_room().await?;
        self.part.copy_row(from, row, embedding).map_err(|error| self.refused(&error))
    }

    /// Takes a whole part over by reference; its ids must follow all that came before.
    pub(crate) async fn carry(&mut self, entry: PartEntry) -> Result<()> {
        self.close_part().await?;
        self.written.rows += u64::from(entry.rows);
        self.parts.push(Some(entry));
        Ok(())
    }

    /// Whether the part being filled may end here: it is empty, or large enough to stand alone.
    pub(crate) fn may_close(&self) -> bool {
        let rows = self.part.rows();
        rows == 0 || rows >= LARGE_ROWS || self.part.estimated_bytes() >= LARGE_BYTES
    }

    /// Prepares for the rows of an older part. Where they do not fit behind the pending ones, the
    /// cut falls in the middle, so that no small rest is left over. Parts then split and grow like
    /// the leaves of a B-tree.
    pub(crate) fn expect(&mut self, part: &PartMeta) {
        let rows = self.part.rows() + part.rows();
        self.cut_at = if rows > MAX_PART_ROWS { rows.div_ceil(2) } else { MAX_PART_ROWS };
        let bytes = self.part.estimated_bytes() + part.memory_bytes();
        // A far larger part comes from another program, or holds a single row.
        self.cut_bytes = if bytes > PART_BYTES { bytes.div_ceil(2).min(PART_BYTES) } else { PART_BYTES };
    }

    /// Ends the part where an older part ended, if it is large enough to stand alone.
    pub(crate) async fn end_part(&mut self) -> Result<()> {
        if self.may_close() { self.close_part().await } else { Ok(()) }
    }

    /// Writes the rest and waits until everything is stored.
    pub(crate) async fn finish(mut self) -> Result<Written> {
        self.close_part().await?;
        self.close_embeddings().await?;
        while !self.closing.is_empty() {
            self.wait_for_one().await?;
        }
        self.written.parts = self.parts.into_iter().flatten().collect();
        for entry in &mut self.written.embeddings {
            entry.live = self.written.references.remove(&entry.name).unwrap_or(0);
        }
        Ok(self.written)
    }

    async fn make_room(&mut self) -> Result<()> {
        self.turn += 1;
        if self.turn == ROWS_A_TURN {
            self.turn = 0;
            tokio::task::yield_now().await;
        }
        if self.part.rows() >= self.cut_at || self.part.estimated_bytes() >= self.cut_bytes {
            self.close_part().await?;
        }
        Ok(())
    }

    async fn close_part(&mut self) -> Result<()> {
        if self.part.rows() == 0 {
            return Ok(());
        }
        let part = mem::replace(&mut self.part, PartBuilder::new());
        self.cut_at = MAX_PART_ROWS;
        self.cut_bytes = PART_BYTES;
        let bytes = part.estimated_bytes();
        self.written.rows += part.rows() as u64;
        let place = self.parts.len();
        self.parts.push(None);
        let name = self.name();
        let shard = self.shard.clone();
        self.close(bytes, async move {
            let part = env::blocking(move || part.finish()).await.map_err(|error| refused(&shard, &error))?;
            let entry = PartEntry {
                name,
                rows: part.rows,
                bytes: part.object.bytes,
                front_bytes: part.front_bytes,
                columns_end: part.columns_end,
                crc32: part.object.crc32,
                min_id: part.min_id,
                max_id: part.max_id,
                embeddings: part.references.iter().map(|(object, _)| *object).collect(),
                absent: part.absent,
            };
            shard.create_own(&shard.layout().part(PartObject::Meta(name)), part.object.chunks).await?;
            Ok(Closed::Part { place, entry, references: part.references })
        })
        .await
    }

    async fn close_embeddings(&mut self) -> Result<()> {
        let Some((name, builder)) = self.embeddings.take() else { return Ok(()) };
        let bytes = builder.estimated_bytes();
        let shard = self.shard.clone();
        self.close(bytes, async move {
            let finished = env::blocking(move || builder.finish()).await;
            let EncodedEmbeddings { object, rows, .. } = finished.map_err(|error| refused(&shard, &error))?;
            let entry = EmbeddingEntry { name, rows, live: 0, bytes: object.bytes, crc32: object.crc32 };
            shard.create_own(&shard.layout().part(PartObject::Embeddings(name)), object.chunks).await?;
            Ok(Closed::Embeddings(entry))
        })
        .await
    }

    fn name(&self) -> ObjectName {
        ObjectName { version: self.born, nonce: self.shard.env().nonce() }
    }

    /// Encodes and stores an object in the background.
    async fn close(
        &mut self,
        bytes: usize,
        closing: impl Future<Output = Result<Closed>> + Send + 'static,
    ) -> Result<()> {
        let taken = |closing: &VecDeque<(usize, _)>| closing.iter().map(|(bytes, _)| bytes).sum::<usize>();
        while self.closing.len() >= CLOSING
            || (taken(&self.closing) > 0 && taken(&self.closing) + bytes > CLOSING_BYTES)
        {
            self.wait_for_one().await?;
        }
        self.closing.push_back((bytes, env::spawn(closing)));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        let Some((_, closing)) = self.closing.pop_front() else { return Ok(()) };
        match env::join(closing).await? {
            Closed::Part { place, entry, references } => {
                for (object, rows) in references {
                    *self.written.references.entry(object).or_default() += rows;
                }
                self.written.bytes += entry.bytes;
                self.parts[place] = Some(entry);
            }
            Closed::Embeddings(entry) => {
                self.written.bytes += entry.bytes;
                self.written.embeddings.push(entry);
            }
        }
        Ok(())
    }

    fn refused(&self, error: &FormatError) -> Error {
        refused(&self.shard, error)
    }
}

/// The encoder refuses rows that break the format. Rows of checked objects can break it only by
/// growing.
fn refused(shard: &Shard, error: &FormatError) -> Error {
    match error.kind() {
        FormatErrorKind::TooLarge => Error::invalid(format!(
            "a record of shard {} has grown by patches until no part can hold it ({error}); `put` it anew or `delete` it, and compaction goes on",
            shard.id().get()
        )),
        _ => Error::corrupt(&shard.layout().head(), format!("a row cannot be written: {error}")),
    }
}

/// A stored object.
enum Closed {
    Part {
        /// Its place among the run's parts.
        place: usize,
        entry: PartEntry,
        references: Vec<(ObjectName, u32)>,
    },
    Embeddings(EmbeddingEntry),
}
