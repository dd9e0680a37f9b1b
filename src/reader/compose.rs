//! Composes older and newer rows of one id.

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{Effect, EmbeddingRef, PartMeta, Place, Record, Segment, Stored, Transition};

use super::layer::Layer;
use crate::error::{Error, Result};

/// The place of an embedding.
#[derive(Debug, Clone)]
pub(crate) enum EmbeddingSource {
    /// In a segment that is not folded.
    Log {
        /// The segment.
        segment: Arc<Segment>,
        /// Its embedding row.
        row: u32,
    },
    /// Here. Its segment was read for this row alone, and must not stay in memory for it.
    Copied(Arc<[f32]>),
    /// In an embedding object.
    Stored(EmbeddingRef),
}

impl EmbeddingSource {
    /// Its numbers, unless they are in an embedding object.
    pub(crate) fn numbers(&self) -> Option<&[f32]> {
        match self {
            Self::Log { segment, row } => Some(segment.vector(*row)),
            Self::Copied(numbers) => Some(numbers),
            Self::Stored(_) => None,
        }
    }
}

impl From<EmbeddingRef> for EmbeddingSource {
    fn from(at: EmbeddingRef) -> Self {
        Self::Stored(at)
    }
}

/// The row of an id in one run or one layer of the log.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    /// A row of a part.
    Part(&'a PartMeta, usize),
    /// The same with empty texts in place of documents that are not loaded.
    WithoutDocuments(&'a PartMeta, usize),
    /// Ops of one id in a layer, at least one.
    Log(&'a Layer, Range<usize>),
    /// An op of a segment in the temporary file: its outline, and the op itself if it was read.
    Unread(&'a Effect<()>, Option<(Arc<Segment>, usize)>),
}

impl Row<'_> {
    /// Its effect on the id. A row of a part needs the columns and the documents of the row.
    pub(super) fn effect(self) -> Result<Option<Effect<EmbeddingSource>>> {
        Ok(match self {
            Self::Part(part, row) => {
                let effect = part.effect(row).map_err(Error::not_loaded)?;
                Some(effect.map_embedding(&mut EmbeddingSource::Stored))
            }
            Self::WithoutDocuments(part, row) => {
                let effect = part.effect_without_documents(row).map_err(Error::not_loaded)?;
                Some(effect.map_embedding(&mut EmbeddingSource::Stored))
            }
            Self::Log(layer, ops) => {
                layer.ops(ops).filter_map(|(segment, op)| op_effect(segment, op)).reduce(Effect::then)
            }
            Self::Unread(_, read) => read.and_then(|(segment, op)| {
                effect_of(&segment, op, |row| EmbeddingSource::Copied(segment.vector(row).into()))
            }),
        })
    }

    /// Its effect on the id's presence and places. The record is empty, so this allocates nothing.
    pub(crate) fn outline(&self) -> Option<Effect<()>> {
        match self {
            Self::Part(part, row) | Self::WithoutDocuments(part, row) => Some(part.outline(*row)),
            Self::Log(layer, ops) => {
                layer.ops(ops.clone()).filter_map(|(segment, op)| segment.outline(op)).reduce(Effect::then)
            }
            Self::Unread(outline, _) => Some((*outline).clone()),
        }
    }
}

/// The effect of an op of a segment in memory.
pub(crate) fn op_effect(segment: &Arc<Segment>, op: usize) -> Option<Effect<EmbeddingSource>> {
    effect_of(segment, op, |row| EmbeddingSource::Log { segment: segment.clone(), row })
}

fn effect_of(
    segment: &Segment,
    op: usize,
    source: impl FnMut(u32) -> EmbeddingSource,
) -> Option<Effect<EmbeddingSource>> {
    Some(Effect::from_op(segment.op(op)?.map_embedding(source).action, segment.place(op)))
}

/// `older` under the newer rows composed so far.
pub(super) fn under<E: Clone>(newer: Option<Effect<E>>, older: Option<Effect<E>>) -> Option<Effect<E>> {
    match (older, newer) {
        (Some(older), Some(newer)) => Some(older.then(newer)),
        (older, newer) => older.or(newer),
    }
}

/// Composes the rows of one id from the newest to the oldest, and stops when older ones cannot
/// matter.
#[derive(Debug, Default)]
pub(crate) enum Composer {
    /// No row was found yet.
    #[default]
    Nothing,
    /// Older rows may show through.
    Open(Effect<EmbeddingSource>),
    /// The record is known. Older rows may only change its insertion place.
    Known(Stored<EmbeddingSource, Place>, Effect<()>),
    /// The record is absent.
    Gone,
}

impl Composer {
    /// Adds the row that lies under those added before.
    pub(crate) fn under(&mut self, older: Row<'_>) -> Result<()> {
        *self = match std::mem::take(self) {
            Self::Nothing => older.effect()?.map_or(Self::Nothing, Self::of),
            Self::Open(newer) => match older.effect()? {
                Some(older) => Self::of(older.then(newer)),
                None => Self::Open(newer),
            },
            Self::Known(record, newer) => match older.outline() {
                Some(older) => Self::Known(record, older.then(newer)),
                None => Self::Known(record, newer),
            },
            Self::Gone => Self::Gone,
        };
        Ok(())
    }

    /// The newest row has this effect.
    pub(crate) fn of(effect: Effect<EmbeddingSource>) -> Self {
        match effect {
            Effect::Log(Transition::Replace { record: None, .. }) => Self::Gone,
            Effect::Log(Transition::Replace { record: Some(stored), renewed }) => {
                let bare = Stored { record: Record::default(), inserted: stored.inserted, changed: stored.changed };
                let outline = Transition::Replace { record: Some(bare), renewed };
                Self::Known(stored.map_places(Place::Log), Effect::Log(outline))
            }
            open => Self::Open(open),
        }
    }

    /// Whether the content of older rows may show through. Otherwise their outlines are enough.
    pub(crate) fn needs_content(&self) -> bool {
        matches!(self, Self::Nothing | Self::Open(_))
    }

    /// Whether older rows cannot matter any more.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Nothing | Self::Open(_) => false,
            Self::Known(_, outline) => outline.is_final(),
            Self::Gone => true,
        }
    }

    /// The record, if nothing lies under the added rows.
    pub(crate) fn finish(self) -> Option<Stored<EmbeddingSource, Place>> {
        match self {
            Self::Nothing | Self::Gone => None,
            Self::Open(effect) => effect.resolve(),
            Self::Known(mut stored, outline) => {
                if let Some(bare) = outline.resolve() {
                    stored.inserted = bare.inserted;
                }
                Some(stored)
            }
        }
    }
}
