"""A vector store of LlamaIndex. Needs ``pip install deltafold[llama-index]``.

>>> from deltafold.llama_index import DeltafoldVectorStore
>>> from llama_index.core.schema import TextNode
>>> store = DeltafoldVectorStore(None)
>>> store.add([TextNode(id_="a", text="a text", embedding=[1.0, 0.0])])
['a']
>>> store.get_nodes(["a"])[0].get_content()
'a text'
"""

# Parts of llama_index have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from deltafold import chroma
from deltafold.chroma.collection import Collection
from deltafold.chroma.transport import Location
from deltafold.chroma.types import Space

__all__ = ["DeltafoldVectorStore"]

_MMR_FACTOR = 4
"""Candidates for each result of a query by marginal relevance."""

_COMPARED = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.CONTAINS: "$contains",
}


class DeltafoldVectorStore(BasePydanticVectorStore):
    """Nodes of LlamaIndex as records of a collection.

    ``location`` is a folder, an address such as ``s3://bucket/prefix``, or None for a store in
    memory. A client of :mod:`deltafold.chroma` may take its place. Each write is durable when its
    call returns, so ``persist`` has nothing to do. Filters see metadata of strings, numbers,
    booleans, and lists of one of these. Nodes keep all of it.
    """

    stores_text: bool = True
    flat_metadata: bool = False

    _client: chroma.Client = PrivateAttr()
    _collection: Collection = PrivateAttr()

    def __init__(
        self,
        location: Union[Location, chroma.Client, None],
        collection_name: str = "llama_index",
        *,
        space: Space = "cosine",
        collection_metadata: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(stores_text=True)
        if isinstance(location, chroma.Client):
            self._client = location
        else:
            self._client = chroma.EphemeralClient() if location is None else chroma.PersistentClient(location)
        self._collection = self._client.get_or_create_collection(
            collection_name,
            configuration={"hnsw": {"space": space}},
            metadata=collection_metadata,
            embedding_function=None,
        )

    @classmethod
    def class_name(cls) -> str:
        """The name of the class."""
        return "DeltafoldVectorStore"

    @property
    def client(self) -> Collection:
        """The collection that holds the nodes."""
        return self._collection

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Writes nodes with their embeddings, and returns their ids. An id that is there is replaced."""
        most = self._client.get_max_batch_size()
        for start in range(0, len(nodes), most):
            part = nodes[start : start + most]
            self._collection.put(
                ids=[node.node_id for node in part],
                embeddings=[np.asarray(node.get_embedding(), dtype=np.float32) for node in part],
                metadatas=[_metadata(node) for node in part],
                documents=[node.get_content(metadata_mode=MetadataMode.NONE) for node in part],
            )
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        self._collection.delete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self,
        node_ids: Optional[list[str]] = None,
        filters: Optional[MetadataFilters] = None,
        **delete_kwargs: Any,
    ) -> None:
        """Deletes the nodes of these ids, those that match, or those of these ids that match."""
        where = _where(filters)
        if node_ids == [] or (node_ids is None and where is None):
            return
        self._collection.delete(ids=_distinct(node_ids), where=where)

    def clear(self) -> None:
        """Deletes all nodes."""
        self._collection.delete(where={"_node_type": {"$exists": True}})

    def get_nodes(
        self, node_ids: Optional[list[str]] = None, filters: Optional[MetadataFilters] = None
    ) -> list[BaseNode]:
        """Returns the nodes of these ids, those that match, or all. They have their embeddings."""
        if node_ids == []:
            return []
        got = self._collection.get(
            ids=_distinct(node_ids), where=_where(filters), include=["documents", "metadatas", "embeddings"]
        )
        return [
            _node(text, metadata, embedding)
            for text, metadata, embedding in zip(
                got["documents"] or [], got["metadatas"] or [], _rows(got["embeddings"])
            )
        ]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Returns the nodes nearest to an embedding. Similarities are from 0 to 1, but for ``ip``.

        Modes are ``DEFAULT`` and ``MMR``.
        """
        if query.query_embedding is None:
            raise ValueError("The query has no embedding; this vector store searches by embeddings alone")
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise ValueError(f"This vector store has no query mode `{query.mode.value}`; use `default` or `mmr`")
        is_mmr = query.mode == VectorStoreQueryMode.MMR
        # Retrievers pass empty lists where they mean all.
        clauses = [{"ref_doc_id": {"$in": query.doc_ids}}] if query.doc_ids else []
        where = _where(query.filters)
        if where is not None:
            clauses.append(where)
        near = self._collection.query(
            query_embeddings=np.asarray(query.query_embedding, dtype=np.float32),
            n_results=query.similarity_top_k * (_MMR_FACTOR if is_mmr else 1),
            ids=_distinct(query.node_ids) if query.node_ids else None,
            where=_all(clauses),
            include=["documents", "metadatas", "embeddings", "distances"],
        )
        texts, metadatas, distances = near["documents"] or [[]], near["metadatas"] or [[]], near["distances"] or [[]]
        embeddings = (near["embeddings"] or [[]])[0]
        nodes = [
            _node(text, metadata, embedding)
            for text, metadata, embedding in zip(texts[0], metadatas[0], _rows(embeddings))
        ]
        similarities = [self._similarity(distance) for distance in distances[0]]
        chosen = list(range(len(nodes)))
        if is_mmr and nodes:
            similarities, chosen = get_top_k_mmr_embeddings(
                query.query_embedding,
                [list(row) for row in _rows(embeddings)],
                similarity_top_k=query.similarity_top_k,
                embedding_ids=chosen,
                mmr_threshold=kwargs.get("mmr_threshold", query.mmr_threshold),
            )
        return VectorStoreQueryResult(
            nodes=[nodes[at] for at in chosen],
            similarities=list(similarities),
            ids=[nodes[at].node_id for at in chosen],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """:meth:`add` beside the event loop."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """:meth:`delete` beside the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    async def adelete_nodes(
        self,
        node_ids: Optional[list[str]] = None,
        filters: Optional[MetadataFilters] = None,
        **delete_kwargs: Any,
    ) -> None:
        """:meth:`delete_nodes` beside the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """:meth:`clear` beside the event loop."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: Optional[list[str]] = None, filters: Optional[MetadataFilters] = None
    ) -> list[BaseNode]:
        """:meth:`get_nodes` beside the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """:meth:`query` beside the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _similarity(self, distance: float) -> float:
        space = self._collection.configuration_json["hnsw"]["space"]
        return math.exp(-distance) if space == "l2" else 1.0 - distance


def _distinct(ids: Optional[list[str]]) -> Optional[list[str]]:
    return None if ids is None else list(dict.fromkeys(ids))


def _rows(embeddings: Any) -> list[Any]:
    return [] if embeddings is None else list(embeddings)


def _metadata(node: BaseNode) -> dict[str, Any]:
    """The metadata that filters see, and the whole node as text."""
    given = node_to_metadata_dict(node, remove_text=True)
    return {key: value for key, value in given.items() if _is_searchable(key, value)}


def _is_searchable(key: Any, value: Any) -> bool:
    if not isinstance(key, str) or key.startswith(("#", "$")):
        return False
    if isinstance(value, list):
        return len({type(element) for element in value}) == 1 and isinstance(value[0], (str, int, float, bool))
    return isinstance(value, (str, int, float, bool))


def _node(text: Optional[str], metadata: Optional[dict[str, Any]], embedding: Any) -> BaseNode:
    node = metadata_dict_to_node(metadata or {}, text=text)
    node.embedding = None if embedding is None else [float(number) for number in embedding]
    return node


def _where(filters: Optional[MetadataFilters]) -> Optional[dict[str, Any]]:
    """Filters of LlamaIndex as a filter on metadata."""
    if filters is None or not filters.filters:
        return None
    clauses = [
        _where(one) if isinstance(one, MetadataFilters) else _clause(one) for one in filters.filters
    ]
    given = [clause for clause in clauses if clause is not None]
    if filters.condition == FilterCondition.NOT:
        anything = _any(given)
        return None if anything is None else {"$not": anything}
    return _any(given) if filters.condition == FilterCondition.OR else _all(given)


def _clause(one: MetadataFilter) -> dict[str, Any]:
    key, value, operator = one.key, one.value, one.operator
    if operator == FilterOperator.IS_EMPTY:
        return {"$or": [{"$not": {key: {"$exists": True}}}, {key: {"$eq": ""}}]}
    if operator in (FilterOperator.ANY, FilterOperator.ALL):
        values = value if isinstance(value, list) else [value]
        clauses: list[Any] = [{key: {"$contains": element}} for element in values]
        clause = _any(clauses) if operator == FilterOperator.ANY else _all(clauses)
        if clause is None:
            raise ValueError(f"The filter `{operator.value}` on `{key}` has no values; give at least one")
        return clause
    compared = _COMPARED.get(operator)
    if compared is None:
        raise ValueError(f"This vector store has no filter operator `{operator.value}` on metadata; use another one")
    return {key: {compared: value}}


def _all(clauses: Sequence[dict[str, Any]]) -> Optional[dict[str, Any]]:
    return _joined("$and", clauses)


def _any(clauses: Sequence[dict[str, Any]]) -> Optional[dict[str, Any]]:
    return _joined("$or", clauses)


def _joined(operator: str, clauses: Sequence[dict[str, Any]]) -> Optional[dict[str, Any]]:
    if len(clauses) <= 1:
        return clauses[0] if clauses else None
    return {operator: list(clauses)}
