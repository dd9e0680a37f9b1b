"""Collections, snapshots and writers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, cast

from deltafold import _deltafold
from deltafold._arguments import column_text, export_place, filter_text, id_list, version_list
from deltafold.errors import InvalidInput
from deltafold.ops import Op
from deltafold.reading import Reads
from deltafold.reports import (
    Ack,
    CompactReport,
    Config,
    CopyReport,
    History,
    Refreshed,
    Status,
    SweepReport,
    VerifyReport,
)
from deltafold.types import ArrowTable, Document, Embeddings, FileFormat, Metadata, MetadataChange, Order, Where

__all__ = ["Collection", "Follow", "Snapshot", "Writer"]


def write_call(
    target: Any,
    verb: str,
    table: ArrowTable | None,
    ids: Sequence[str] | None,
    embeddings: Embeddings | None,
    metadatas: Sequence[Any] | None,
    documents: Sequence[Document] | None,
    revisions: Sequence[int] | None,
    columns: Mapping[str, str | Sequence[str]] | None,
) -> _deltafold.Call[Any]:
    """The call of a write, of columns or of a table."""
    if table is not None:
        if any(column is not None for column in (ids, embeddings, metadatas, documents, revisions)):
            raise InvalidInput("give a table, or `ids=` and other columns, not both")
        call: _deltafold.Call[Any] = target.write_table(verb, table, column_text(columns))
        return call
    if ids is None:
        raise InvalidInput("ids is missing; give `ids=` and other columns, or a table")
    if columns is not None:
        raise InvalidInput("columns: it names the columns of a table; leave it out")
    written: _deltafold.Call[Any] = target.write(verb, ids, embeddings, metadatas, documents, revisions)
    return written


class Writer:
    """A writer that goes on while its ops are on their way.

    Each call hands its rows over, and returns as soon as there is room for them. Rows of calls
    that wait together share segments of the log, in the order of the calls. :meth:`flush` waits
    for all of them; leaving the ``with`` block flushes and closes.

    A failure is raised by the next call, and by ``flush``. Its ``acknowledged`` counts the ops
    that were durable before. A ``with`` block that ends by an exception waits as well.
    """

    def __init__(self, writer: _deltafold.Writer) -> None:
        self._writer = writer

    def put(
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
        """Like :meth:`Collection.put`, without waiting."""
        write_call(self._writer, "put", table, ids, embeddings, metadatas, documents, revisions, columns).wait()

    def upsert(
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
        """Like :meth:`Collection.upsert`, without waiting."""
        write_call(self._writer, "upsert", table, ids, embeddings, metadatas, documents, revisions, columns).wait()

    def append(self, ops: Sequence[Op]) -> None:
        """Hands mixed ops over: together in each shard, or not at all there."""
        self._writer.append(ops).wait()

    def delete(self, ids: str | Sequence[str], *, revision: int | None = None) -> None:
        """Deletes records."""
        self.append([Op.delete(id, revision=revision) for id in id_list(ids)])

    def flush(self) -> Ack:
        """Waits until everything handed over is durable. Returns the ack of it since the last flush."""
        return self._writer.flush().wait()

    def close(self) -> Ack:
        """Flushes, and refuses further calls."""
        self._writer.close()
        return self.flush()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self.close()
        except Exception as failure:
            # The block's own exception goes first.
            assert error is not None
            error.__context__ = error.__context__ or failure


class Follow:
    """The ops of a shard in log order, each with its position. It ends after an error."""

    def __init__(self, follow: _deltafold.Follow) -> None:
        self._follow = follow

    def __iter__(self) -> Iterator[tuple[str, Op]]:
        """Pairs of a position and an op."""
        return self

    def __next__(self) -> tuple[str, Op]:
        pair = self._follow.next().wait()
        if pair is None:
            raise StopIteration
        return pair


class Snapshot(Reads):
    """A state of a collection that changes only by :meth:`refresh`. Reads cost no look at the log."""

    def refresh(self) -> Refreshed:
        """Moves on to the latest state. A snapshot of versions or of a pin stays where it is.

        Costs, for each shard, one conditional GET and a GET for each new segment.
        """
        # Only the view of a collection has no report.
        return cast(Refreshed, self._view.refresh().wait())

    def __repr__(self) -> str:
        return f"<deltafold.Snapshot of versions {self.versions()}>"


class Collection(Reads):
    """An open collection.

    Reads see everything that was acknowledged before the call, by any process. That costs one
    conditional GET a shard; a :meth:`snapshot` saves it. Threads may share a collection.
    """

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

    def put(
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
        """Sets whole records, whether they were there or not.

        Args:
            table: A table or data frame that offers Arrow (pyarrow, polars, pandas 2.2 or later).
                Its columns are found by their usual names: ``id``, ``embedding``, ``document``,
                ``revision``. All others are metadata.
            ids: The ids, one for each record.
            embeddings: Shape (rows, dimension). 32-bit floats are copied once, into the log; other
                numbers are converted. ``None`` for a row without an embedding.
            metadatas: A dict for each record, or ``None``.
            documents: A text for each record, or ``None``.
            revisions: A whole number below 2**128 for each record, in a collection ordered by
                revision.
            columns: The column of each field of a table: ``{"id": "key", "metadata": ["a", "b"]}``.

        Returns:
            The ack: every row is durable. More than 16,384 rows, or 12 MiB, become several
            segments, one after the other.

        Raises:
            InvalidInput: An argument is wrong; the message names argument and row.
            Busy: The log is too long. Run ``compact`` first.
            Unknown: The store's answer was lost for good. The same call again does no harm.

        After a failure the exception's ``acknowledged`` counts the rows that are durable. Costs one
        PUT and one conditional GET a segment.
        """
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "put", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return call.wait()

    def upsert(
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
        """Changes the given fields of records, and inserts records that are absent.

        A field that is ``None`` in a row is kept. A metadata key with ``None`` is removed, and keys
        not named are kept. Arguments, result and errors are those of :meth:`put`.
        """
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "upsert", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return call.wait()

    def add(
        self,
        table: ArrowTable | None = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Embeddings | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
        documents: Sequence[Document] | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Ack:
        """Inserts records that are absent. Records that are there stay as they are.

        Arguments, result and errors are those of :meth:`put`.
        """
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "add", table, ids, embeddings, metadatas, documents, None, columns
        )
        return call.wait()

    def update(
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
        """Changes the given fields of records that are there. Ids without a record are ignored.

        Arguments, result and errors are those of :meth:`upsert`.
        """
        call: _deltafold.Call[Ack] = write_call(
            self._collection, "update", table, ids, embeddings, metadatas, documents, revisions, columns
        )
        return call.wait()

    def delete(self, ids: str | Sequence[str], *, revision: int | None = None) -> Ack:
        """Deletes records. Ids without a record are ignored.

        Args:
            ids: The ids.
            revision: The revision of the deletes, in a collection ordered by revision.
        """
        return self._collection.delete(id_list(ids), revision).wait()

    def delete_where(
        self, where: Where | None = None, *, where_document: Where | None = None, revision: int | None = None
    ) -> int:
        """Deletes the records that match in the latest state, and returns their number.

        The latest state decides. A record that another process changes meanwhile is deleted, too.
        """
        filters = filter_text("where", where), filter_text("where_document", where_document)
        return self._collection.delete_where(*filters, revision).wait()

    def append(
        self,
        ops: Sequence[Op],
        *,
        source: str | None = None,
        position: int | None = None,
        positions: Sequence[int] | None = None,
        change: bool = False,
    ) -> Ack:
        """Appends mixed ops. The ops of one shard become part of one segment together, or of none.

        Args:
            ops: The ops, in order.
            source: The name of a queue, stream or file. Ops of a source take effect once, however
                often they come.
            position: The position of all ops in the source. Positions ascend.
            positions: The position of each op, instead of ``position``.
            change: The ops at ``position`` are one change with an idempotency key, which may come
                late. A late change is refused if the log holds later changes of its records.

        Raises:
            Conflict: An earlier position has failed, or a change came too late.
        """
        return self._collection.append(ops, source, position, positions, change).wait()

    def writer(self, *, linger: float = 0.0, max_waiting_bytes: int = 64 << 20) -> Writer:
        """A writer that goes on while its ops are on their way. Use it in a ``with`` block.

        Args:
            linger: Seconds that a segment waits for more ops after its first ones.
            max_waiting_bytes: Bytes of ops that may wait. Beyond that, calls wait for room.
        """
        return Writer(self._collection.writer(linger, max_waiting_bytes))

    def snapshot(self, *, version: int | Sequence[int] | None = None, pin: str | None = None) -> Snapshot:
        """A snapshot of the latest state, of a version of each shard, or of a pin.

        Raises:
            NotFound: The version was swept or is still to come, or there is no such pin.
        """
        return Snapshot(self._collection.snapshot(version_list(version), pin).wait())

    def follow(
        self, *, shard: int = 0, after: str | None = None, until_end: bool = False, interval: float = 1.0
    ) -> Follow:
        """The ops of a shard in log order, as they come.

        Args:
            shard: The shard.
            after: The position of the op seen last; by default all ops that were not swept.
            until_end: End at the end of the log, instead of waiting for more ops.
            interval: Seconds between two looks at the end of the log.

        Raises:
            Superseded: The segment behind ``after`` was swept.
        """
        return Follow(self._collection.follow(shard, after, until_end, interval))

    def refresh(self) -> None:
        """Reads the changes since the last read, ahead of the next one."""
        self._view.refresh().wait()

    def compact(self, *, merge_all: bool = False) -> CompactReport:
        """Folds the log, and does the merges that are due. Any number of processes may do so.

        Args:
            merge_all: Merge everything into one run.
        """
        return self._collection.compact(merge_all).wait()

    def sweep(self, *, keep_versions: int = 8, min_age: float = 600.0, dry_run: bool = False) -> SweepReport:
        """Deletes the objects that no reader and no writer can need any more.

        Args:
            keep_versions: Versions before the current one that stay readable.
            min_age: Seconds for which an outdated version stays readable, by the store's clock.
            dry_run: Only report what it would delete.
        """
        return self._collection.sweep(keep_versions, min_age, dry_run).wait()

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Looks for missing and damaged objects. ``deep`` reads and checks every byte."""
        return self._collection.verify(deep).wait()

    def status(self) -> Status:
        """The state of every shard. Two GETs and two LISTs for each."""
        return self._collection.status().wait()

    def history(self) -> History:
        """The versions that are still readable."""
        return self._collection.history().wait()

    def pin(self, name: str, *, ttl: float | None = None) -> list[int]:
        """Keeps the current version of every shard readable under a name. Returns the versions.

        Ops that are not folded yet are not in the pin: run ``compact`` first.

        Args:
            name: The name of the pin.
            ttl: Seconds for which the pin holds; by default until ``unpin``.

        Raises:
            AlreadyExists: There is a pin of this name.
        """
        return self._collection.pin(name, ttl).wait()

    def unpin(self, name: str) -> None:
        """Removes a pin.

        Raises:
            NotFound: There is no pin of this name.
        """
        self._collection.unpin(name).wait()

    def copy(
        self,
        target: Collection,
        *,
        version: int | Sequence[int] | None = None,
        pin: str | None = None,
        follow: bool | Callable[[CopyReport], bool] = False,
        interval: float = 1.0,
        overwrite: bool = False,
        verify: bool = True,
    ) -> CopyReport:
        """Copies the records into another collection, in any store. A later copy takes the changes.

        A copy may break off at any moment, also by Ctrl-C. The same call goes on from there.

        Args:
            target: The other collection, of the same dimension and metric.
            version: Copy this version, or one version for each shard, instead of the latest state.
            pin: Copy the versions of this pin.
            follow: Go on with the ops of the log: a warm standby. Both collections must be ordered
                by the log. ``True`` goes on until the call is ended from outside. A function gets
                the report so far, and the copy goes on while it returns true. Then the copy applies
                the rest, compares both, and returns. An exception of the function ends the call.
            interval: Seconds between two looks at the end of the log, and between two calls of the
                function.
            overwrite: Make the target equal, whatever it holds.
            verify: Compare both at the end, which reads both once.

        Raises:
            Conflict: Another copy has overtaken this one, or another program writes to the target.
        """
        call = self._collection.copy(
            target._collection, version_list(version), pin, follow, interval, overwrite, verify
        )
        return call.wait()

    def export(
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
        """Writes the records of one state to files, and returns their number.

        Nothing stands under the final name before all of it is written and durable.

        Args:
            path: The file, for one file.
            folder: A new or empty folder instead, for files ``part-00000`` and so on.
            format: ``jsonl``, ``parquet`` or ``arrow``; by default by the ending of the file.
            version: Export this version, or one version for each shard, instead of the latest state.
            pin: Export the versions of this pin.
            order: The order of the records: by ``insertion``, or by ``id``.
            file_size: Bytes after which a folder gets another file.
            overwrite: Replace an existing file.
        """
        place, is_folder = export_place(path, folder)
        call = self._collection.export(
            place, is_folder, format, version_list(version), pin, order, file_size, overwrite
        )
        return call.wait()

    def __repr__(self) -> str:
        return f"<deltafold.Collection {self.name!r} in {self._collection.url!r}>"
