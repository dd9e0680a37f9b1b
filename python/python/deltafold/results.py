"""Records as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from deltafold import _deltafold
from deltafold.types import Float32Array, Float64Array

if TYPE_CHECKING:
    import pandas

__all__ = ["Hit", "QueryResult", "Record", "Records"]


@dataclass(frozen=True)
class Record:
    """A record. Fields that were not asked for are ``None``."""

    id: str
    embedding: Float32Array | None
    metadata: dict[str, Any] | None
    document: str | None


@dataclass(frozen=True)
class Hit(Record):
    """A record that a query found."""

    distance: float
    """Squared Euclidean distance, 1 - cosine similarity, or 1 - inner product. Less is nearer."""
    query: int
    """Number of the query in its call, from 0."""


class _Columns:
    """Columns of records. Each is made when it is asked for first, and kept."""

    def __init__(self, rows: _deltafold.Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """Number of records."""
        return len(self._rows)

    @cached_property
    def ids(self) -> list[str]:
        """The ids."""
        return self._rows.ids()

    @cached_property
    def embeddings(self) -> Float32Array | None:
        """The embeddings, of shape (rows, dimension). A record without one has NaN."""
        return self._rows.embeddings()

    @cached_property
    def metadatas(self) -> list[dict[str, Any]] | None:
        """The metadata of each record."""
        return self._rows.metadatas()

    @cached_property
    def documents(self) -> list[str | None] | None:
        """The document of each record."""
        return self._rows.documents()

    @cached_property
    def revisions(self) -> list[int] | None:
        """The revision of each record, in a collection ordered by revision."""
        return self._rows.revisions()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The columns for other libraries, by the Arrow PyCapsule interface.

        Metadata keys whose values have one type are fields of the column ``metadata``. All others
        stand as JSON in ``metadata_json``.
        """
        return self._rows.__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> Any:
        """The columns as a ``pyarrow.Table``, without another copy."""
        # It has no types.
        pyarrow: Any = import_module("pyarrow")
        return pyarrow.table(self)

    def _frame(self) -> dict[str, Any]:
        columns: dict[str, Any] = {"id": self.ids}
        if self.embeddings is not None:
            columns["embedding"] = list(self.embeddings)
        if self.metadatas is not None:
            columns["metadata"] = self.metadatas
        if self.documents is not None:
            columns["document"] = self.documents
        if self.revisions is not None:
            columns["revision"] = self.revisions
        return columns

    def to_pandas(self) -> pandas.DataFrame:
        """The columns as a data frame of pandas: one row a record."""
        import pandas

        return pandas.DataFrame(self._frame())

    def _state(self) -> dict[str, Any]:
        return {
            "ids": self.ids,
            "embeddings": self.embeddings,
            "metadatas": self.metadatas,
            "documents": self.documents,
            "revisions": self.revisions,
            "distances": None,
            "offsets": self._rows.offsets(),
            "dimension": self._rows.dimension(),
        }

    def __getstate__(self) -> dict[str, Any]:
        return self._state()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._rows = _deltafold.Rows.restored(dict(state))

    def _part(
        self, at: int
    ) -> tuple[str, Float32Array | None, dict[str, Any] | None, str | None]:
        embeddings, metadatas, documents = self.embeddings, self.metadatas, self.documents
        return (
            self.ids[at],
            None if embeddings is None else embeddings[at],
            None if metadatas is None else metadatas[at],
            None if documents is None else documents[at],
        )


class Records(_Columns):
    """Records of a ``get``, a ``find`` or a batch of a ``scan``."""

    def __iter__(self) -> Iterator[Record]:
        """The records one by one."""
        return (Record(*self._part(at)) for at in range(len(self)))

    def __getitem__(self, at: int) -> Record:
        """The record of a row."""
        return Record(*self._part(range(len(self))[at]))

    def __repr__(self) -> str:
        return f"<deltafold.Records: {len(self)}>"


class QueryResult(_Columns):
    """The hits of one query or several, nearest first.

    The columns hold the hits of all queries, one query after the other. ``hits(0)`` are the hits
    of the first query.
    """

    @cached_property
    def distances(self) -> Float64Array:
        """The distance of each hit: less is nearer."""
        # Only rows that no query found have none.
        return cast(Float64Array, self._rows.distances())

    @cached_property
    def offsets(self) -> list[int]:
        """The first row of each query, and the end."""
        return self._rows.offsets()

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Hit]:
        """The hits one by one, query after query."""
        for query in range(self.queries):
            yield from self.hits(query)

    def hits(self, query: int = 0) -> list[Hit]:
        """The hits of one query, nearest first."""
        query = range(self.queries)[query]
        rows = range(self.offsets[query], self.offsets[query + 1])
        return [Hit(*self._part(at), distance=float(self.distances[at]), query=query) for at in rows]

    def to_pandas(self) -> pandas.DataFrame:
        """The hits as a data frame of pandas: one row a hit."""
        import numpy
        import pandas

        frame = self._frame()
        counts = numpy.diff(self.offsets)
        query = numpy.repeat(numpy.arange(self.queries), counts)
        return pandas.DataFrame({"query": query, "id": frame.pop("id"), "distance": self.distances, **frame})

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "distances": self.distances.tolist()}

    def __repr__(self) -> str:
        return f"<deltafold.QueryResult: {len(self)} hits of {self.queries} queries>"
