"""LangChain's own tests for vector stores, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from deltafold.langchain import DeltafoldVectorStore


class TestDeltafoldVectorStore(VectorStoreIntegrationTests):
    """Their tests, sync and async, on a folder."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        yield DeltafoldVectorStore(tmp_path, embedding=self.get_embeddings())


class Letters(Embeddings):
    """Embeds the share of the letters a and b."""

    def embed_query(self, text: str) -> list[float]:
        return [text.count("a") / len(text), text.count("b") / len(text)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


TEXTS = ["aaaa", "aaab", "abbb", "bbbb"]


@pytest.fixture(params=["cosine", "l2", "ip"])
def store(request: pytest.FixtureRequest) -> DeltafoldVectorStore:
    made = DeltafoldVectorStore(None, embedding=Letters(), space=request.param)
    made.add_texts(TEXTS, [{"n": at, "tags": ["t"]} for at in range(4)], ids=list("0123"))
    return made


def test_scores_are_highest_for_the_same_text(store: DeltafoldVectorStore) -> None:
    scored = store.similarity_search_with_relevance_scores("aaaa", k=4)
    assert [document.page_content for document, _ in scored] == TEXTS
    assert scored[0][1] == pytest.approx(1.0)
    assert all(0.0 <= score <= 1.0 + 1e-6 for _, score in scored)


def test_filters_select_documents(store: DeltafoldVectorStore) -> None:
    found = store.similarity_search("aaaa", k=4, filter={"n": {"$gte": 2}})
    assert [(document.id, document.metadata) for document in found] == [
        ("2", {"n": 2, "tags": ["t"]}),
        ("3", {"n": 3, "tags": ["t"]}),
    ]
    found = store.similarity_search("aaaa", k=4, where_document={"$contains": "bb"})
    assert [document.page_content for document in found] == ["abbb", "bbbb"]
    store.delete(where={"n": 0})
    assert store.similarity_search("aaaa", k=1)[0].page_content == "aaab"


def test_marginal_relevance_prefers_what_differs() -> None:
    store = DeltafoldVectorStore(None, embedding=Letters())
    store.add_texts(["aaaa", "aaaaa", "aaab", "bbbb"])
    found = store.max_marginal_relevance_search("aaaa", k=2, fetch_k=4, lambda_mult=0.1)
    assert [document.page_content for document in found] == ["aaaa", "bbbb"]
    assert DeltafoldVectorStore(None, embedding=Letters()).max_marginal_relevance_search("a") == []


def test_a_new_document_replaces_the_old_metadata(store: DeltafoldVectorStore) -> None:
    store.add_documents([Document(id="0", page_content="b", metadata={"m": 1})])
    assert store.get_by_ids(["0"]) == [Document(id="0", page_content="b", metadata={"m": 1})]


def test_documents_are_there_in_another_process_s_store(tmp_path: Path) -> None:
    made = DeltafoldVectorStore.from_texts(["aaaa"], Letters(), ids=["x"], location=tmp_path, collection_name="papers")
    made._client.close()
    again = DeltafoldVectorStore(tmp_path, "papers", embedding=Letters())
    assert [document.id for document in again.similarity_search("a")] == ["x"]


def test_mistakes_say_what_to_do(store: DeltafoldVectorStore) -> None:
    with pytest.raises(ValueError, match="`ids` has 1 elements for 2 texts"):
        store.add_texts(["a", "b"], ids=["x"])
    with pytest.raises(ValueError, match="pass `embedding=`"):
        DeltafoldVectorStore(None).similarity_search("a")
    with pytest.raises(ValueError, match="metadata value"):
        store.add_texts(["a"], [{"nested": {"a": 1}}])


def test_many_texts_are_written_in_several_batches() -> None:
    store = DeltafoldVectorStore(None, embedding=DeterministicFakeEmbedding(size=2))
    most = store._client.get_max_batch_size()
    assert len(store.add_texts(["a"] * (most + 1))) == most + 1
    assert store.collection.count() == most + 1
