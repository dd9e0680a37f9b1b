"""Stores: the places of collections."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Literal

from deltafold import _deltafold
from deltafold.collection import Collection
from deltafold.reports import DropReport
from deltafold.types import Metric

__all__ = ["Store", "open"]


class Store:
    """A store: a local folder, or a prefix of a bucket."""

    def __init__(self, store: _deltafold.Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """The address."""
        return self._store.url

    def create(
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
    ) -> Collection:
        """Creates a collection. Its settings never change.

        Args:
            name: The name.
            dimension: Length of every embedding, 1 to 65,536.
            metric: ``l2`` (squared), ``cosine`` or ``inner-product``.
            shards: Number of independent logs. One holds a million records well.
            ordering: The later op in the ``log`` wins, or the op of the higher ``revision``.
            keep_tombstones: Seconds for which a collection ordered by revision remembers deletes.
            heads: Table and region of DynamoDB for the heads, where a bucket lacks conditional
                replace.
            memory: Bytes that each reader, writer and compactor may take, 64 MiB or more.
            exists_ok: Open the collection if it exists.

        Raises:
            AlreadyExists: A collection has this name.
            Unfit: The bucket does not keep the promises that a collection needs.
        """
        call = self._store.create(name, dimension, metric, shards, ordering, keep_tombstones, heads, memory, exists_ok)
        return Collection(call.wait())

    def collection(self, name: str, *, memory: int | None = None) -> Collection:
        """Opens a collection. Two GETs.

        Args:
            name: The name.
            memory: Bytes that each reader, writer and compactor may take: 256 MiB by default.

        Raises:
            NotFound: No collection has this name.
        """
        return Collection(self._store.collection(name, memory).wait())

    def list(self) -> list[str]:
        """The names of all collections, in order. One LIST for each 1,000 objects of the store."""
        return self._store.list().wait()

    def drop(self, name: str) -> DropReport:
        """Deletes a collection and all its objects, and finishes an interrupted drop."""
        return self._store.drop(name).wait()

    def __repr__(self) -> str:
        return f"<deltafold.Store {self.url!r}>"


def open(url: str | PathLike[str]) -> Store:
    """Opens a store: ``s3://BUCKET/PREFIX``, or a folder, which is made if it is missing.

    Credentials of AWS come from the environment, a profile, a container, an instance or SSO, as
    the SDK of AWS finds them.

    >>> import tempfile
    >>> store = open(tempfile.mkdtemp())
    >>> articles = store.create("articles", dimension=2)
    >>> ack = articles.upsert(ids=["a", "b"], embeddings=[[0.0, 1.0], [1.0, 0.0]])
    >>> articles.query([0.1, 0.9], k=1).ids
    ['a']
    """
    return Store(_deltafold.open(fspath(url)).wait())
