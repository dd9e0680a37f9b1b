//! A checked row, read in place.

use super::read::read;
use super::tag::{ADD, DELETE, PATCH, PUT, SET, UPSERT};
use super::walk::{Field, Front, walk};
use crate::codec::Cursor;
use crate::digest::OpHash;
use crate::effect::Effect;
use crate::error::FormatError;
use crate::op::{Action, Op};
use crate::record::{Patch, Record};
use crate::revision::Revision;
use crate::stamp::{Place, Stamp};

/// One op as the row of bytes that a segment stores, without its embedding's numbers. It passed
/// every rule and limit of the format. It borrows the bytes, and allocates only to make an [`Op`].
#[derive(Debug, Clone, Copy)]
pub struct OpRow<'a> {
    bytes: &'a [u8],
    front: Front<'a>,
    carries_embedding: bool,
}

impl<'a> OpRow<'a> {
    /// Checks the bytes of a row from [`OpRow::bytes`], for a row that was kept outside of its
    /// segment.
    ///
    /// # Errors
    /// `Invalid`: the bytes are not exactly one row, or the op in them breaks a rule of the format.
    pub fn check(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (front, fields) = walk(bytes, |_, _| ())?;
        let carries_embedding = fields.is_some_and(|fields| fields.embedding == Field::Set(()));
        Ok(Self { bytes, front, carries_embedding })
    }

    /// A row that has passed [`OpRow::check`] before; `None` if it cannot have.
    pub(in crate::segment) fn checked(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes, "ops");
        let front = Front::take(&mut from).ok()?;
        let carries_embedding = front.action != DELETE && from.rest().first() == Some(&SET);
        Some(Self { bytes, front, carries_embedding })
    }

    /// The row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The record's id.
    pub fn id(&self) -> &'a str {
        self.front.id
    }

    /// The op's revision, in a collection that is ordered by revision.
    pub fn revision(&self) -> Option<Revision> {
        self.front.revision
    }

    /// Whether the op has an embedding.
    pub fn carries_embedding(&self) -> bool {
        self.carries_embedding
    }

    /// The op's name, as [`Action::name`] gives it.
    pub fn name(&self) -> &'static str {
        self.bare().name()
    }

    /// The op. Its embedding, if it has one, gets the number `vector`. Copies id, document and
    /// metadata.
    ///
    /// # Errors
    /// None: the row was checked.
    pub fn op(&self, vector: u32) -> Result<Op<u32>, FormatError> {
        read(self.bytes, vector)
    }

    /// The effect of the op at this place on presence and insertion. Its record is empty. Allocates
    /// nothing.
    pub fn outline(&self, place: Place) -> Effect<()> {
        Effect::from_op(self.bare(), place)
    }

    /// The hash of the op with its embedding's bytes, little-endian; without bytes if it has no
    /// embedding.
    pub(in crate::segment) fn hash(&self, embedding: &[u8]) -> OpHash {
        OpHash::of(self.bytes, embedding)
    }

    /// The op's stamp, if it has a revision.
    pub(in crate::segment) fn stamp(&self, embedding: &[u8]) -> Option<Stamp> {
        Some(Stamp::of(&self.bare(), self.front.revision?, self.hash(embedding)))
    }

    /// The action without the fields.
    fn bare(&self) -> Action<()> {
        match self.front.action {
            PUT => Action::Put(Record::default()),
            UPSERT => Action::Upsert(Patch::default()),
            ADD => Action::Add(Record::default()),
            PATCH => Action::Patch(Patch::default()),
            // The row was checked, so only this action is left.
            _ => Action::Delete,
        }
    }
}
