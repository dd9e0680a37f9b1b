"""Collections of vector records on object storage.

>>> import tempfile, deltafold
>>> store = deltafold.open(tempfile.mkdtemp())
>>> articles = store.create("articles", dimension=2, metric="cosine")
>>> ack = articles.upsert(
...     ids=["a", "b"],
...     embeddings=[[0.1, 0.9], [0.8, 0.2]],
...     metadatas=[{"lang": "en"}, {"lang": "de"}],
...     documents=["first", "second"],
... )
>>> for hit in articles.query([0.2, 0.8], k=1, where={"lang": "en"}):
...     print(hit.id, hit.document)
a first

Each call has an awaitable twin: :func:`open_async` and :class:`AsyncCollection`.
"""

from __future__ import annotations

from deltafold import errors
from deltafold._deltafold import __version__
from deltafold.aio import (
    AsyncCollection,
    AsyncFollow,
    AsyncScan,
    AsyncSnapshot,
    AsyncStore,
    AsyncWriter,
    open_async,
)
from deltafold.collection import Collection, Follow, Snapshot, Writer
from deltafold.errors import (
    AlreadyExists,
    Busy,
    Closed,
    Conflict,
    Corrupt,
    DeltafoldError,
    Forked,
    InvalidInput,
    Invariant,
    NewerFormat,
    NotFound,
    OutOfMemory,
    Panicked,
    Storage,
    Superseded,
    Unavailable,
    Unfit,
    Unknown,
)
from deltafold.logs import log_to_logging
from deltafold.ops import Op
from deltafold.reading import Scan
from deltafold.reports import Ack, CopyReport
from deltafold.results import Hit, QueryResult, Record, Records
from deltafold.store import Store, open

__all__ = [
    "Ack",
    "AlreadyExists",
    "AsyncCollection",
    "AsyncFollow",
    "AsyncScan",
    "AsyncSnapshot",
    "AsyncStore",
    "AsyncWriter",
    "Busy",
    "Closed",
    "Collection",
    "Conflict",
    "CopyReport",
    "Corrupt",
    "DeltafoldError",
    "Follow",
    "Forked",
    "Hit",
    "InvalidInput",
    "Invariant",
    "NewerFormat",
    "NotFound",
    "Op",
    "OutOfMemory",
    "Panicked",
    "QueryResult",
    "Record",
    "Records",
    "Scan",
    "Snapshot",
    "Storage",
    "Store",
    "Superseded",
    "Unavailable",
    "Unfit",
    "Unknown",
    "Writer",
    "__version__",
    "errors",
    "log_to_logging",
    "open",
    "open_async",
]
