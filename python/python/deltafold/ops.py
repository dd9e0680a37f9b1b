"""Ops: single changes of single records."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import Literal

from deltafold.types import MetadataChange, Vector

__all__ = ["Op"]


@dataclass(frozen=True)
class Op:
    """A change of the record ``id``.

    Make it with :meth:`put`, :meth:`upsert`, :meth:`add`, :meth:`patch` or :meth:`delete`. In
    ``upsert`` and ``patch`` a field left out (``...``) is kept, and ``None`` clears it.

    >>> Op.put("a", embedding=[0.1, 0.2], metadata={"lang": "en"}).kind
    'put'
    """

    kind: Literal["put", "upsert", "add", "patch", "delete"]
    id: str
    embedding: Vector | None | EllipsisType = ...
    metadata: MetadataChange | None = None
    document: str | None | EllipsisType = ...
    revision: int | None = None

    @staticmethod
    def put(
        id: str,
        *,
        embedding: Vector | None = None,
        metadata: MetadataChange | None = None,
        document: str | None = None,
        revision: int | None = None,
    ) -> Op:
        """Sets the whole record, whether it was there or not."""
        return Op("put", id, embedding, metadata, document, revision)

    @staticmethod
    def add(
        id: str,
        *,
        embedding: Vector | None = None,
        metadata: MetadataChange | None = None,
        document: str | None = None,
    ) -> Op:
        """Inserts the record if it is absent, otherwise does nothing."""
        return Op("add", id, embedding, metadata, document)

    @staticmethod
    def upsert(
        id: str,
        *,
        embedding: Vector | None | EllipsisType = ...,
        metadata: MetadataChange | None = None,
        document: str | None | EllipsisType = ...,
        revision: int | None = None,
    ) -> Op:
        """Changes the named fields of the record, or inserts it with them."""
        return Op("upsert", id, embedding, metadata, document, revision)

    @staticmethod
    def patch(
        id: str,
        *,
        embedding: Vector | None | EllipsisType = ...,
        metadata: MetadataChange | None = None,
        document: str | None | EllipsisType = ...,
        revision: int | None = None,
    ) -> Op:
        """Changes the named fields of the record if it is there."""
        return Op("patch", id, embedding, metadata, document, revision)

    @staticmethod
    def delete(id: str, *, revision: int | None = None) -> Op:
        """Removes the record."""
        return Op("delete", id, revision=revision)
