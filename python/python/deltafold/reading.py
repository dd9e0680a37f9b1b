"""Reads of a collection or a snapshot: the calls, and the classes that wait for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deltafold import _deltafold
from deltafold._arguments import filter_text, id_list
from deltafold.reports import Warmth
from deltafold.results import QueryResult, Records
from deltafold.types import Embeddings, Field, Level, Order, Vector, Where

__all__ = ["Reads", "Scan"]

DEFAULT: tuple[Field, ...] = ("metadatas", "documents")
ALL: tuple[Field, ...] = ("embeddings", "metadatas", "documents")


class Calls:
    """The calls of reads."""

    def __init__(self, view: _deltafold.View) -> None:
        self._view = view

    def _query(
        self,
        vectors: Vector | Embeddings,
        k: int,
        where: Where | None,
        where_document: Where | None,
        include: Sequence[Field],
        exact: bool,
        candidates: int | None,
    ) -> _deltafold.Call[_deltafold.Rows]:
        if exact and candidates is None:
            read = None
        else:
            read = max(10 * k, 100) if candidates is None else candidates
        filters = filter_text("where", where), filter_text("where_document", where_document)
        return self._view.query(vectors, k, *filters, include, read)

    def _find(
        self,
        where: Where | None,
        where_document: Where | None,
        order: Order,
        offset: int,
        limit: int | None,
        include: Sequence[Field],
    ) -> _deltafold.Call[_deltafold.Rows]:
        filters = filter_text("where", where), filter_text("where_document", where_document)
        return self._view.find(*filters, order, offset, limit, include)

    def _count(self, where: Where | None, where_document: Where | None) -> _deltafold.Call[int]:
        return self._view.count(filter_text("where", where), filter_text("where_document", where_document))


class Scan:
    """Records in order, in batches.

    Iterate over it for batches of records, or hand it to a library that reads streams of Arrow:
    ``pyarrow.table(scan)``, ``polars.from_arrow(scan)``, or ``upsert`` of another collection. It
    keeps the snapshot of its first batch to the end.
    """

    def __init__(self, scan: _deltafold.Scan) -> None:
        self._scan = scan

    def __iter__(self) -> Iterator[Records]:
        """The batches."""
        return self

    def __next__(self) -> Records:
        rows = self._scan.next().wait()
        if rows is None:
            raise StopIteration
        return Records(rows)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """All records as batches of Arrow with one schema, from the beginning.

        A scan with metadata reads the columns twice: the types of all values decide on the schema.
        """
        return self._scan.__arrow_c_stream__(requested_schema)


class Reads(Calls):
    """Reads of a collection or a snapshot."""

    def query(
        self,
        vectors: Vector | Embeddings,
        k: int = 10,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[Field] = DEFAULT,
        exact: bool = True,
        candidates: int | None = None,
    ) -> QueryResult:
        """Finds the ``k`` records nearest to each vector.

        Args:
            vectors: One vector of shape (dimension,), or several of shape (queries, dimension).
            k: Number of hits of each query, 1 to 65,536.
            where: Only records whose metadata match, in the form of Chroma's ``where``.
            where_document: Only records whose document matches.
            include: Fields of the hits: ``embeddings``, ``metadatas``, ``documents``.
            exact: Prove the nearest. Otherwise the nearest of ``candidates`` likely ones are found.
            candidates: Number of likely records to compare closely for each query. By default
                10 * ``k``, and at least 100. It implies ``exact=False``.

        Raises:
            InvalidInput: A vector of another dimension or with a number that is not finite.
            OutOfMemory: The log is too long to be searched. Run ``compact`` first.

        The first query reads the codes of all embeddings; later ones only the changes.
        """
        return QueryResult(self._query(vectors, k, where, where_document, include, exact, candidates).wait())

    def get(self, ids: str | Sequence[str], *, include: Sequence[Field] = ALL) -> Records:
        """The records of some ids, in the order of the ids. Ids without a record are left out.

        Costs one GET for each run that may hold an id and was not read before, and one or two for
        its embedding.
        """
        return Records(self._view.get(id_list(ids), include).wait())

    def find(
        self,
        where: Where | None = None,
        *,
        where_document: Where | None = None,
        order: Order = "insertion",
        offset: int = 0,
        limit: int | None = None,
        include: Sequence[Field] = DEFAULT,
    ) -> Records:
        """The records that match, in order. Without a filter all records match.

        The filter is evaluated on columns before any record is made. All results are in memory at
        once: for whole collections use :meth:`scan`.
        """
        return Records(self._find(where, where_document, order, offset, limit, include).wait())

    def scan(
        self,
        *,
        order: Order = "id",
        prefix: str | None = None,
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
        include: Sequence[Field] = ALL,
        batch_rows: int = 4096,
    ) -> Scan:
        """All records in order, in batches.

        Args:
            order: By ``id`` in byte order, or by ``insertion``.
            prefix: Only ids with this prefix.
            start: Only ids from this one on.
            end: Only ids before this one.
            limit: At most so many records.
            include: Fields to read.
            batch_rows: Most records of a batch.

        A scan by id holds at most one part of each run in memory.
        """
        return Scan(self._view.scan(order, prefix, start, end, limit, include, batch_rows))

    def count(self, where: Where | None = None, *, where_document: Where | None = None) -> int:
        """Number of records, or of those that match."""
        return self._count(where, where_document).wait()

    def __contains__(self, id: str) -> bool:
        """Whether there is a record of this id."""
        return self._view.contains(id).wait()

    def __len__(self) -> int:
        """Number of records."""
        return self.count()

    def __bool__(self) -> bool:
        """True, also without records: the collection exists."""
        return True

    def warm(
        self, levels: Sequence[Level] = ("columns", "bytes"), *, max_bytes: int | None = None
    ) -> Warmth:
        """Brings levels of the snapshot into memory ahead of use, as far as they fit.

        Args:
            levels: ``columns`` for filters and gets; ``documents`` with them; ``signs`` for
                approximate queries; ``bytes`` for exact ones; ``rows`` for the embeddings.
            max_bytes: Limit on the memory of all levels from now on.
        """
        return self._view.warm(levels, max_bytes).wait()

    def versions(self) -> list[int]:
        """The version of each shard's snapshot, in the order of the shards."""
        return self._view.versions().wait()
