"""LlamaIndex's interface of vector stores. Its wheel has no tests for stores of others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from deltafold.llama_index import DeltafoldVectorStore


def node(at: int, **metadata: Any) -> TextNode:
    """A node of document d0 or d1; its angle grows with its number."""
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"d{at % 2}")}
    return TextNode(
        id_=f"n{at}",
        text=f"text {at}",
        embedding=[1.0, at / 4],
        metadata={"n": at, "parity": "odd" if at % 2 else "even", "tags": ["all", f"t{at}"], **metadata},
        relationships=related,
    )


NODES = [node(at) for at in range(4)] + [node(4, note="present")]


@pytest.fixture
def store() -> DeltafoldVectorStore:
    made = DeltafoldVectorStore(None)
    assert made.add(NODES) == ["n0", "n1", "n2", "n3", "n4"]
    return made


def only(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


def ids(store: BasePydanticVectorStore, filters: MetadataFilters) -> list[str]:
    query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=10, filters=filters)
    return sorted(store.query(query).ids or [])


def test_query_returns_nodes_as_they_were_given(store: DeltafoldVectorStore) -> None:
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=2))
    assert result.ids == ["n0", "n1"]
    assert result.similarities is not None and result.similarities[0] == pytest.approx(1.0)
    assert result.nodes == NODES[:2]


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
def test_similarities_fall_with_the_distance(space: Any) -> None:
    store = DeltafoldVectorStore(None, space=space)
    store.add(NODES)
    similarities = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=5)).similarities
    assert similarities is not None and similarities == sorted(similarities, reverse=True)


OPERATORS = [
    only("n", 2),
    only("n", 2, FilterOperator.NE),
    only("n", 2, FilterOperator.GT),
    only("n", 2, FilterOperator.GTE),
    only("n", 2, FilterOperator.LT),
    only("n", 2, FilterOperator.LTE),
    only("parity", ["odd", "none"], FilterOperator.IN),
    only("parity", ["odd", "none"], FilterOperator.NIN),
    only("tags", "t3", FilterOperator.CONTAINS),
    only("tags", ["t1", "t3"], FilterOperator.ANY),
    only("tags", ["all", "t3"], FilterOperator.ALL),
    only("note", None, FilterOperator.IS_EMPTY),
    only("note", "present"),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: one.operator.value)
def test_filters_select_what_the_simple_store_selects(store: DeltafoldVectorStore, operator: MetadataFilter) -> None:
    simple = SimpleVectorStore()
    simple.add(NODES)
    for condition in FilterCondition:
        filters = MetadataFilters(filters=[operator, only("n", 0)], condition=condition)
        assert ids(store, filters) == ids(simple, filters), condition
    alone = MetadataFilters(filters=[operator])
    assert ids(store, alone) == ids(simple, alone)


def test_filters_nest(store: DeltafoldVectorStore) -> None:
    inner = MetadataFilters(filters=[only("n", 1), only("n", 2)], condition=FilterCondition.OR)
    assert ids(store, MetadataFilters(filters=[inner, only("parity", "odd")])) == ["n1"]
    assert store.get_nodes(filters=MetadataFilters(filters=[inner])) == NODES[1:3]


def test_text_match_is_refused(store: DeltafoldVectorStore) -> None:
    with pytest.raises(ValueError, match="no filter operator `text_match`"):
        ids(store, MetadataFilters(filters=[only("parity", "od", FilterOperator.TEXT_MATCH)]))


def test_ids_of_nodes_and_documents_narrow_a_query(store: DeltafoldVectorStore) -> None:
    def found(**names: Any) -> Any:
        return store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=10, **names)).ids

    assert found(doc_ids=["d1"]) == ["n1", "n3"]
    assert found(node_ids=["n3", "n0"]) == ["n0", "n3"]
    assert found(doc_ids=["d0"], node_ids=["n3", "n4"]) == ["n4"]
    assert found(node_ids=[], doc_ids=[]) == ["n0", "n1", "n2", "n3", "n4"]


def test_marginal_relevance_prefers_what_differs(store: DeltafoldVectorStore) -> None:
    query = VectorStoreQuery(
        query_embedding=[1.0, 0.0], similarity_top_k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.1
    )
    assert store.query(query).ids == ["n0", "n4"]
    with pytest.raises(ValueError, match="no query mode `sparse`"):
        store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], mode=VectorStoreQueryMode.SPARSE))


def test_deletes_take_documents_ids_and_filters(store: DeltafoldVectorStore) -> None:
    store.delete("d1")
    assert [one.node_id for one in store.get_nodes()] == ["n0", "n2", "n4"]
    store.delete_nodes(["n0", "n1"])
    store.delete_nodes(filters=MetadataFilters(filters=[only("n", 4)]))
    store.delete_nodes()
    assert [one.node_id for one in store.get_nodes()] == ["n2"]
    store.clear()
    assert store.get_nodes() == []


def test_a_node_is_replaced_whole(store: DeltafoldVectorStore) -> None:
    changed = TextNode(id_="n0", text="other", embedding=[0.0, 1.0], metadata={"nested": {"kept": [1, "a"]}})
    store.add([changed])
    assert store.get_nodes(["n0"]) == [changed]


def test_async_calls_do_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        store = DeltafoldVectorStore(tmp_path)
        await store.async_add(NODES)
        await store.adelete("d1")
        await store.adelete_nodes(["n0"])
        assert [one.node_id for one in await store.aget_nodes()] == ["n2", "n4"]
        assert (await store.aquery(VectorStoreQuery(query_embedding=[1.0, 0.0]))).ids == ["n2"]
        await store.aclear()
        assert await store.aget_nodes() == []

    asyncio.run(work())


def test_an_index_lies_on_the_store(tmp_path: Path) -> None:
    model = MockEmbedding(embed_dim=3)
    context = StorageContext.from_defaults(vector_store=DeltafoldVectorStore(tmp_path))
    VectorStoreIndex([TextNode(id_="a", text="hello")], storage_context=context, embed_model=model)
    again = VectorStoreIndex.from_vector_store(DeltafoldVectorStore(tmp_path), embed_model=model)
    found = again.as_retriever(similarity_top_k=1).retrieve("hello")
    assert [one.node.get_content() for one in found] == ["hello"]
