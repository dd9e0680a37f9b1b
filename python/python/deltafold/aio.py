"""Stores and collections for ``asyncio``. Each method is the awaitable twin of the one without.

To cancel a task drops its call. A dropped append may have landed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from os import PathLike, fspath
from types import TracebackType
from typing import Literal, cast

from deltafold import _deltafold
from deltafold._arguments import export_place, filter_text, id_list, version_list
from deltafold.collection import write_call
from deltafold.ops import Op
from deltafold.reading import ALL, DEFAULT, Calls
from deltafold.reports import (
    Ack,
    CompactReport,
    Config,
    CopyReport,
    DropReport,
    History,
    Refreshed,
    Status,
    SweepReport,
    VerifyReport,
    Warmth,
)
from deltafold.results import QueryResult, Records
from deltafold.types import (
    ArrowTable,
    Document,
    Embeddings,
    Field,
    FileFormat,
    Level,
    Metadata,
    MetadataChange,
    Metric,
    Order,
    Vector,
    Where,
)

__all__ = [
    "AsyncCollection",
    "AsyncFollow",
    "AsyncScan",
    "AsyncSnapshot",
    "AsyncStore",
    "AsyncWriter",
    "open_async",
]


class AsyncScan:
    """Records in order, in batches: ``async for batch in collection.scan()``."""

    def __init__(self, scan: _deltafold.Scan) -> None:
        self._scan = scan

    def __aiter__(self) -> AsyncIterator[Records]:
        """The batches."""
        return self

    async def __anext__(self) -> Records:
        rows = await self._scan.next().future()
        if rows is None:
            raise StopAsyncIteration
        return Records(rows)


class AsyncFollow:
    """The ops of a shard in log order, each with its position."""

    def __init__(self, follow: _deltafold.Follow) -> None:
        self._follow = follow

    def __aiter__(self) -> AsyncIterator[tuple[str, Op]]:
        """Pairs of a position and an op."""
        return self

    async def __anext__(self) -> tuple[str, Op]:
        pair = await self._follow.next().future()
        if pair is None:
            raise StopAsyncIteration
        return pair


class AsyncReads(Calls):
    """Reads of a collection or a snapshot."""

    async def query(
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
        """Like ``Collection.query``."""
        call = self._query(vectors, k, where, where_document, include, exact, candidates)
        return QueryResult(await call.future())

    async def get(self, ids: str | Sequence[str], *, include: Sequence[Field] = ALL) -> Records:
        """Like ``Collection.get``."""
        return Records(await self._view.get(id_list(ids), include).future())

    async def find(
        self,
        where: Where | None = None,
        *,
        where_document: Where | None = None,
        order: Order = "insertion",
        offset: int = 0,
        limit: int | None = None,
        include: Sequence[Field] = DEFAULT,
    ) -> Records:
        """Like ``Collection.find``."""
        return Records(await self._find(where, where_document, order, offset, limit, include).future())

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
    ) -> AsyncScan:
        """Like ``Collection.scan``, for ``async for``."""
        return AsyncScan(self._view.scan(order, prefix, start, end, limit, include, batch_rows))

    async def count(self, where: Where | None = None, *, where_document: Where | None = None) -> int:
        """Like ``Collection.count``."""
        return await self._count(where, where_document).future()

    async def contains(self, id: str) -> bool:
        """Whether there is a record of this id."""
        return await self._view.contains(id).future()

    async def warm(
        self, levels: Sequence[Level] = ("columns", "bytes"), *, max_bytes: int | None = None
    ) -> Warmth:
        """Like ``Collection.warm``."""
        return await self._view.warm(levels, max_bytes).future()

    async def versions(self) -> list[int]:
        """Like ``Collection.versions``."""
        return await self._view.versions().future()


class AsyncWriter:
    """A writer that goes on while its ops are on their way: ``async with collection.writer() as w``."""

    def __init__(self, writer: _deltafold.Writer) -> None:
        self._writer = writer

    async def put(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
        documents: Sequence[Document] | None = None,
        revisions: Sequence[int] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        """Like ``Writer.put``."""
        await write_call(
            self._writer, "put", table, ids, embeddings, metadatas, documents, revisions, columns
        ).future()

    async def upsert(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[MetadataChange | None] | None = None,
        documents: Sequence[Document] | None = None,
        revisions: Sequence[int] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        """Like ``Writer.upsert``."""
        await write_call(
            self._writer, "upsert", table, ids, embeddings, metadatas, documents, revisions, columns
        ).future()

    async def append(self, ops: Sequence[Op]) -> None:
        """Like ``Writer.append``."""
        await self._writer.append(ops).future()

    async def delete(self, ids: str | Sequence[str], *, revision: int | None = None) -> None:
        """Like ``Writer.delete``."""
        await self.append([Op.delete(id, revision=revision) for id in id_list(ids)])

    async def flush(self) -> Ack:
        """Like ``Writer.flush``."""
        return await self._writer.flush().future()

    async def close(self) -> Ack:
        """Like ``Writer.close``."""
        self._writer.close()
        return await self.flush()

    async def __aenter__(self) -> AsyncWriter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.close()
            return
        try:
            await self.close()
        except Exception as failure:
            # The block's own exception goes first.
            assert error is not None
            error.__context__ = error.__context__ or failure


class AsyncSnapshot(AsyncReads):
    """A state of a collection that changes only by ``refresh``."""

    async def refresh(self) -> Refreshed:
        """Like ``Snapshot.refresh``."""
        # Only the view of a collection has no report.
        return cast(Refreshed, await self._view.refresh().future())


class AsyncCollection(AsyncReads):
    """An open collection. See ``Collection``."""

    def __init__(self, collection: _deltafold.Collection) -> None:
        super().__init__(collection.view())
        self._collection = collection

    @property
    def name(self) -> str:
        """The name."""
        return self._collection.name

    @property
    def config(self) -> Config:
        """The settings chosen at creation."""
        return self._collection.config

    async def put(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
        documents: Sequence[Document] | None = None,
        revisions: Sequence[int] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Ack:
        """Like ``Collection.put``."""
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "put", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return await call.future()

    async def upsert(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[MetadataChange | None] | None = None,
        documents: Sequence[Document] | None = None,
        revisions: Sequence[int] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Ack:
        """Like ``Collection.upsert``."""
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "upsert", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return await call.future()

    async def add(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
        documents: Sequence[Document] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Ack:
        """Like ``Collection.add``."""
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "add", table, ids, embeddings, metadatas, documents, None, columns
        )
        return await call.future()

    async def update(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[MetadataChange | None] | None = None,
        documents: Sequence[Document] | None = None,
        revisions: Sequence[int] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Ack:
        """Like ``Collection.update``."""
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "update", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return await call.future()

    async def delete(self, ids: str | Sequence[str], *, revision: int | None = None) -> Ack:
        """Like ``Collection.delete``."""
        return await self._collection.delete(id_list(ids), revision).future()

    async def delete_where(
        self, where: Where | None = None, *, where_document: Where | None = None, revision: int | None = None
    ) -> int:
        """Like ``Collection.delete_where``."""
        filters = filter_text("where", where), filter_text("where_document", where_document)
        return await self._collection.delete_where(*filters, revision).future()

    async def append(
        self,
        ops: Sequence[Op],
        *,
        source: str | None = None,
        position: int | None = None,
        positions: Sequence[int] | None = None,
        change: bool = False,
    ) -> Ack:
        """Like ``Collection.append``."""
        return await self._collection.append(ops, source, position, positions, change).future()

    def writer(self, *, linger: float = 0.0, max_waiting_bytes: int = 64 << 20) -> AsyncWriter:
        """Like ``Collection.writer``, for ``async with``."""
        return AsyncWriter(self._collection.writer(linger, max_waiting_bytes))

    async def snapshot(
        self, *, version: int | Sequence[int] | None = None, pin: str | None = None
    ) -> AsyncSnapshot:
        """Like ``Collection.snapshot``."""
        return AsyncSnapshot(await self._collection.snapshot(version_list(version), pin).future())

    def follow(
        self, *, shard: int = 0, after: str | None = None, until_end: bool = False, interval: float = 1.0
    ) -> AsyncFollow:
        """Like ``Collection.follow``, for ``async for``."""
        return AsyncFollow(self._collection.follow(shard, after, until_end, interval))

    async def refresh(self) -> None:
        """Like ``Collection.refresh``."""
        await self._view.refresh().future()

    async def compact(self, *, merge_all: bool = False) -> CompactReport:
        """Like ``Collection.compact``."""
        return await self._collection.compact(merge_all).future()

    async def sweep(
        self, *, keep_versions: int = 8, min_age: float = 600.0, dry_run: bool = False
    ) -> SweepReport:
        """Like ``Collection.sweep``."""
        return await self._collection.sweep(keep_versions, min_age, dry_run).future()

    async def verify(self, *, deep: bool = False) -> VerifyReport:
        """Like ``Collection.verify``."""
        return await self._collection.verify(deep).future()

    async def status(self) -> Status:
        """Like ``Collection.status``."""
        return await self._collection.status().future()

    async def history(self) -> History:
        """Like ``Collection.history``."""
        return await self._collection.history().future()

    async def pin(self, name: str, *, ttl: float | None = None) -> list[int]:
        """Like ``Collection.pin``."""
        return await self._collection.pin(name, ttl).future()

    async def unpin(self, name: str) -> None:
        """Like ``Collection.unpin``."""
        await self._collection.unpin(name).future()

    async def copy(
        self,
        target: AsyncCollection,
        *,
        version: int | Sequence[int] | None = None,
        pin: str | None = None,
        follow: bool | Callable[[CopyReport], bool] = False,
        interval: float = 1.0,
        overwrite: bool = False,
        verify: bool = True,
    ) -> CopyReport:
        """Like ``Collection.copy``. A thread beside the event loop calls the function ``follow``."""
        call = self._collection.copy(
            target._collection, version_list(version), pin, follow, interval, overwrite, verify
        )
        return await call.future()

    async def export(
        self,
        path: str | PathLike[str] | None = None,
        *,
        folder: str | PathLike[str] | None = None,
        format: FileFormat | None = None,
        version: int | Sequence[int] | None = None,
        pin: str | None = None,
        order: Order = "insertion",
        file_size: int = 512 << 20,
        overwrite: bool = False,
    ) -> int:
        """Like ``Collection.export``."""
        place, is_folder = export_place(path, folder)
        call = self._collection.export(
            place, is_folder, format, version_list(version), pin, order, file_size, overwrite
        )
        return await call.future()

    def __repr__(self) -> str:
        return f"<deltafold.AsyncCollection {self.name!r} in {self._collection.url!r}>"


class AsyncStore:
    """A store: a local folder, or a prefix of a bucket. See ``Store``."""

    def __init__(self, store: _deltafold.Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """The address."""
        return self._store.url

    async def create(
        self,
        name: str,
        dimension: int,
        *,
        metric: Metric = "l2",
        shards: int = 1,
        ordering: Literal["log", "revision"] = "log",
        keep_tombstones: float | None = None,
        heads: tuple[str, str] | None = None,
        memory: int | None = None,
        exists_ok: bool = False,
    ) -> AsyncCollection:
        """Like ``Store.create``."""
        call = self._store.create(name, dimension, metric, shards, ordering, keep_tombstones, heads, memory, exists_ok)
        return AsyncCollection(await call.future())

    async def collection(self, name: str, *, memory: int | None = None) -> AsyncCollection:
        """Like ``Store.collection``."""
        return AsyncCollection(await self._store.collection(name, memory).future())

    async def list(self) -> list[str]:
        """Like ``Store.list``."""
        return await self._store.list().future()

    async def drop(self, name: str) -> DropReport:
        """Like ``Store.drop``."""
        return await self._store.drop(name).future()

    def __repr__(self) -> str:
        return f"<deltafold.AsyncStore {self.url!r}>"


async def open_async(url: str | PathLike[str]) -> AsyncStore:
    """Opens a store for ``asyncio``. See :func:`deltafold.open`."""
    return AsyncStore(await _deltafold.open(fspath(url)).future())
