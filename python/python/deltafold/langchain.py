"""A vector store of LangChain. Needs ``pip install deltafold[langchain]``.

>>> from langchain_core.embeddings import DeterministicFakeEmbedding
>>> from deltafold.langchain import DeltafoldVectorStore
>>> store = DeltafoldVectorStore(None, embedding=DeterministicFakeEmbedding(size=8))
>>> store.add_texts(["a text"], [{"year": 2024}], ids=["a"])
['a']
>>> store.similarity_search("a text", k=1, filter={"year": {"$gte": 2021}})[0].page_content
'a text'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional, Union
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from deltafold import chroma
from deltafold.chroma.collection import Collection
from deltafold.chroma.transport import Location
from deltafold.chroma.types import Space

__all__ = ["DeltafoldVectorStore"]


class DeltafoldVectorStore(VectorStore):
    """Documents of LangChain as records of a collection.

    ``location`` is a folder, an address such as ``s3://bucket/prefix``, or None for a store in
    memory. A client of :mod:`deltafold.chroma` may take its place. Metadata is flat: strings,
    numbers, booleans, and lists of one of these. ``filter`` is Chroma's ``where``.

    A document whose id is there takes the place of the one before. Each write is durable when its
    call returns.
    """

    def __init__(
        self,
        location: Union[Location, chroma.Client, None],
        collection_name: str = "langchain",
        *,
        embedding: Optional[Embeddings] = None,
        space: Space = "cosine",
        collection_metadata: Optional[dict[str, Any]] = None,
        relevance_score_fn: Optional[Callable[[float], float]] = None,
    ) -> None:
        self._client = _client(location)
        self._embedding = embedding
        self._relevance_score_fn = relevance_score_fn
        self._collection = self._client.get_or_create_collection(
            collection_name,
            configuration={"hnsw": {"space": space}},
            metadata=collection_metadata,
            embedding_function=None,
        )

    @property
    def embeddings(self) -> Optional[Embeddings]:
        """The model that embeds texts and queries."""
        return self._embedding

    @property
    def collection(self) -> Collection:
        """The collection that holds the documents."""
        return self._collection

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Optional[list[dict[str, Any]]] = None,
        *,
        ids: Optional[Sequence[Optional[str]]] = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embeds texts and writes them, and returns their ids. A text without an id gets one."""
        listed = list(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(listed):
                raise ValueError(f"`{name}` has {len(given)} elements for {len(listed)} texts; give one for each")
        if not listed:
            return []
        named = [given or str(uuid4()) for given in (ids or [None] * len(listed))]
        embeddings = self._model().embed_documents(listed)
        most = self._client.get_max_batch_size()
        for start in range(0, len(listed), most):
            part = slice(start, start + most)
            self._collection.put(
                ids=named[part],
                embeddings=embeddings[part],
                # A collection keeps no empty metadata.
                metadatas=None if metadatas is None else [metadata or None for metadata in metadatas[part]],
                documents=listed[part],
            )
        return named

    def delete(
        self, ids: Optional[list[str]] = None, where: Optional[dict[str, Any]] = None, **kwargs: Any
    ) -> Optional[bool]:
        """Deletes the documents of these ids, or those that match ``where``."""
        if ids == []:
            return True
        self._collection.delete(ids=ids, where=where)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents of these ids. Those that are not there are left out."""
        if not ids:
            return []
        got = self._collection.get(ids=list(dict.fromkeys(ids)))
        return [
            _document(id, text, metadata)
            for id, text, metadata in zip(got["ids"], got["documents"] or [], got["metadatas"] or [])
        ]

    def similarity_search(
        self, query: str, k: int = 4, filter: Optional[dict[str, Any]] = None, **kwargs: Any
    ) -> list[Document]:
        """Returns the documents nearest to a text."""
        return [found for found, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Optional[dict[str, Any]] = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Returns the documents nearest to a text, with their distances. Smaller is nearer."""
        return self.similarity_search_with_score_by_vector(self._model().embed_query(query), k, filter, **kwargs)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Optional[dict[str, Any]] = None, **kwargs: Any
    ) -> list[Document]:
        """Returns the documents nearest to an embedding."""
        found = self.similarity_search_with_score_by_vector(embedding, k, filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Optional[dict[str, Any]] = None,
        where_document: Optional[dict[str, Any]] = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """The same with their distances."""
        found, distances, _ = self._nearest(embedding, k, filter, where_document, with_embeddings=False)
        return list(zip(found, distances))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Optional[dict[str, Any]] = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns documents that are near to a text, and far from each other."""
        embedding = self._model().embed_query(query)
        return self.max_marginal_relevance_search_by_vector(embedding, k, fetch_k, lambda_mult, filter, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Optional[dict[str, Any]] = None,
        where_document: Optional[dict[str, Any]] = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The same for an embedding."""
        found, _, embeddings = self._nearest(embedding, fetch_k, filter, where_document, with_embeddings=True)
        if not found:
            return []
        chosen = maximal_marginal_relevance(np.array(embedding), embeddings, lambda_mult, k)
        return [found[at] for at in chosen]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: Optional[list[dict[str, Any]]] = None,
        *,
        ids: Optional[list[str]] = None,
        location: Union[Location, chroma.Client, None] = None,
        collection_name: str = "langchain",
        **kwargs: Any,
    ) -> DeltafoldVectorStore:
        """Makes a store, and adds texts."""
        store = cls(location, collection_name, embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Scores from 0 to 1 for embeddings of length 1: 1 is the same."""
        if self._relevance_score_fn is not None:
            return self._relevance_score_fn
        if self._collection.configuration_json["hnsw"]["space"] == "l2":
            # Distances of `l2` are squared.
            return lambda distance: self._euclidean_relevance_score_fn(math.sqrt(max(distance, 0.0)))
        # A distance of `ip` is 1 - dot, as one of `cosine` is 1 - cos.
        return self._cosine_relevance_score_fn

    def _nearest(
        self,
        embedding: Sequence[float],
        k: int,
        filter: Optional[dict[str, Any]],
        where_document: Optional[dict[str, Any]],
        with_embeddings: bool,
    ) -> tuple[list[Document], list[float], Any]:
        near = self._collection.query(
            query_embeddings=np.asarray(embedding, dtype=np.float32),
            n_results=k,
            where=filter,
            where_document=where_document,
            include=[*_FIELDS, "embeddings"] if with_embeddings else [*_FIELDS],
        )
        texts, metadatas, distances = near["documents"] or [[]], near["metadatas"] or [[]], near["distances"] or [[]]
        found = [_document(*parts) for parts in zip(near["ids"][0], texts[0], metadatas[0])]
        return found, distances[0], near["embeddings"][0] if near["embeddings"] is not None else None

    def _model(self) -> Embeddings:
        if self._embedding is None:
            raise ValueError("This vector store has no embedding model; pass `embedding=` when you make it")
        return self._embedding


_FIELDS: Any = ("documents", "metadatas", "distances")


def _client(location: Union[Location, chroma.Client, None]) -> chroma.Client:
    if isinstance(location, chroma.Client):
        return location
    return chroma.EphemeralClient() if location is None else chroma.PersistentClient(location)


def _document(id: str, text: Optional[str], metadata: Optional[dict[str, Any]]) -> Document:
    return Document(id=id, page_content=text or "", metadata=metadata or {})
