"""Chroma's API without a server and without the package ``chromadb``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltafold import chroma
from deltafold.chroma import errors

EMBEDDINGS = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


class Length(chroma.EmbeddingFunction):
    """Embeds the length of a text; queries are negative."""

    def __call__(self, input: Any) -> Any:
        return [[float(len(text)), 1.0] for text in input]

    def embed_query(self, input: Any) -> Any:
        return [[-float(len(text)), 1.0] for text in input]

    @staticmethod
    def name() -> str:
        return "test_length"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> chroma.EmbeddingFunction:
        return Length()


@pytest.fixture
def collection(folder: str) -> chroma.Collection:
    made = chroma.PersistentClient(folder).create_collection("articles")
    made.add(
        ids=["a", "b", "c"],
        embeddings=EMBEDDINGS,
        metadatas=[{"n": 1, "x": 0.5}, {"n": 2, "tags": ["p", "q"]}, {"n": 3, "ok": True}],
        documents=["ä first", "second", "third"],
    )
    return made


def test_get_returns_what_was_added_with_its_types(collection: chroma.Collection) -> None:
    got = collection.get(include=["embeddings", "metadatas", "documents", "uris"])
    assert got["ids"] == ["a", "b", "c"]
    assert got["metadatas"] == [{"n": 1, "x": 0.5}, {"n": 2, "tags": ["p", "q"]}, {"n": 3, "ok": True}]
    assert got["documents"] == ["ä first", "second", "third"]
    assert got["uris"] == [None, None, None]
    embeddings = got["embeddings"]
    assert isinstance(embeddings, np.ndarray) and embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, np.array(EMBEDDINGS, dtype=np.float32))
    embeddings[0, 0] = 7.0  # a result belongs to its caller
    assert collection.get(include=[])["embeddings"] is None
    peeked = collection.peek(2)
    assert (peeked["ids"], peeked["embeddings"].shape) == (["a", "b"], (2, 2))  # type: ignore[union-attr]
    none = collection.get(ids=["z"], include=["embeddings"])
    assert (none["ids"], len(none["embeddings"])) == ([], 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64])
def test_arrays_of_every_type_keep_their_numbers(folder: str, dtype: Any) -> None:
    made = chroma.PersistentClient(folder).create_collection("articles")
    given = np.arange(12, dtype=dtype).reshape(4, 3)
    # A column of a wider array is not contiguous.
    made.add(ids=["0", "1", "2", "3"], embeddings=np.hstack([given, given])[:, :3])
    got = made.get(include=["embeddings"])["embeddings"]
    np.testing.assert_array_equal(got, given.astype(np.float32))
    near = made.query(query_embeddings=given[2], n_results=1, include=["distances"])
    assert (near["ids"], near["distances"]) == ([["2"]], [[0.0]])


def test_query_filters_and_orders(collection: chroma.Collection) -> None:
    near = collection.query(
        query_embeddings=[[1.0, 0.1], [0.0, 2.0]],
        n_results=2,
        where={"n": {"$gte": 2}},
        include=["embeddings", "distances", "documents", "metadatas"],
    )
    assert near["ids"] == [["c", "b"], ["b", "c"]]
    assert near["embeddings"] is not None and near["embeddings"][0].shape == (2, 2)
    assert near["distances"] is not None and near["distances"][1] == [1.0, 2.0]
    assert near["documents"] == [["third", "second"], ["second", "third"]]
    only = collection.query(query_embeddings=[1.0, 0.0], ids=["b", "c"], where_document={"$contains": "second"})
    assert only["ids"] == [["b"]]
    assert collection.query(query_embeddings=[1.0, 0.0], ids=["b"])["ids"] == [["b"]]


def test_filters_of_deltafold_are_understood(collection: chroma.Collection) -> None:
    assert collection.get(where={"tags": {"$exists": True}})["ids"] == ["b"]
    assert collection.get(where={"$not": {"n": 1}})["ids"] == ["b", "c"]


def test_changes_merge_and_deletes_count(collection: chroma.Collection) -> None:
    collection.upsert(ids=["a", "d"], embeddings=[[2.0, 2.0], [3.0, 3.0]], metadatas=[{"x": None}, {"n": 4}])
    collection.update(ids=["b", "z"], metadatas=[{"n": 5}, {"n": 6}])
    got = collection.get()
    assert got["ids"] == ["a", "b", "c", "d"]
    assert got["metadatas"] == [{"n": 1}, {"n": 5, "tags": ["p", "q"]}, {"n": 3, "ok": True}, {"n": 4}]
    assert got["documents"] == ["ä first", "second", "third", None]
    assert collection.delete(where={"n": {"$gt": 3}}, limit=1) == {"deleted": 1}
    assert collection.delete(ids=["a", "z"]) == {"deleted": 2}
    assert collection.count() == 2


def test_embedding_function_makes_and_is_remembered(folder: str) -> None:
    client = chroma.PersistentClient(folder)
    made = client.create_collection("articles", embedding_function=Length())
    made.add(ids=["a", "b"], documents=["x", "xxxx"])
    # Nothing is passed here: the configuration names the function.
    again = client.get_collection("articles")
    again.upsert(ids=["c"], documents=["xx"])
    got = again.get(include=["embeddings"])["embeddings"]
    np.testing.assert_array_equal(got, [[1.0, 1.0], [4.0, 1.0], [2.0, 1.0]])
    near = again.query(query_texts=["xxxx"], n_results=1, include=["distances"])
    assert (near["ids"], near["distances"]) == ([["a"]], [[25.0]]), "queries are embedded as queries"

    class Other(Length):
        @staticmethod
        def name() -> str:
            return "test_other"

    with pytest.raises(ValueError, match="new: test_other vs persisted: test_length"):
        client.get_collection("articles", embedding_function=Other())


def test_a_function_that_makes_too_few_is_refused(folder: str) -> None:
    class Few(chroma.EmbeddingFunction):
        def __call__(self, input: Any) -> Any:
            return [[1.0]]

    made = chroma.PersistentClient(folder).create_collection("articles", embedding_function=Few())
    with pytest.raises(ValueError, match="returned 1 embeddings for 2 inputs"):
        made.add(ids=["a", "b"], documents=["x", "y"])
    assert made.count() == 0


def test_documents_without_a_function_say_what_to_pass(collection: chroma.Collection) -> None:
    with pytest.raises(ValueError, match="Pass `embeddings`.*`embedding_function=`"):
        collection.add(ids=["d"], documents=["fourth"])
    with pytest.raises(ValueError, match="brings no model"):
        collection.query(query_texts="fourth")
    nothing = chroma.EphemeralClient().create_collection("articles", embedding_function=None)
    with pytest.raises(ValueError, match="You must provide an embedding function"):
        nothing.add(ids=["d"], documents=["fourth"])


def test_uris_are_kept_and_loaded(folder: str) -> None:
    client = chroma.PersistentClient(folder)

    def loader(uris: Any) -> list[Any]:
        return [None if uri is None else np.full((2, 2), len(uri)) for uri in uris]

    class Mean(chroma.EmbeddingFunction):
        def __call__(self, input: Any) -> Any:
            return [np.array([image.mean(), 1.0], dtype=np.float32) for image in input]

    made = client.create_collection("pictures", embedding_function=Mean(), data_loader=loader)
    made.add(ids=["a", "b"], uris=["u", "uuu"])
    made.add(ids=["c"], images=[np.full((2, 2), 9)])
    got = made.get(include=["data", "embeddings"])
    assert got["uris"] is None and got["data"] is not None and got["data"][1].mean() == 3
    np.testing.assert_array_equal(got["embeddings"], [[1.0, 1.0], [3.0, 1.0], [9.0, 1.0]])
    assert made.query(query_uris=["uuu"], n_results=1)["ids"] == [["b"]]
    with pytest.raises(ValueError, match="data loader"):
        client.get_collection("pictures", embedding_function=Mean()).get(include=["data"])


def test_clients_of_one_store_see_each_other(folder: str) -> None:
    first, second = chroma.PersistentClient(folder), chroma.PersistentClient(Path(folder))
    assert first._transport is second._transport
    made = first.create_collection("articles", metadata={"owner": "me"})
    found = second.get_collection("articles")
    assert found == made and found.metadata == {"owner": "me"}
    found.modify(name="papers", metadata={"owner": "you"})
    assert (found.name, found.metadata) == ("papers", {"owner": "you"})
    assert [one.name for one in first.list_collections()] == ["papers"]
    assert first.get_collection_by_id(made.id).metadata == {"owner": "you"}
    assert first.count_collections() == 1
    first.delete_collection("papers")
    with pytest.raises(errors.NotFoundError, match="does not exist"):
        made.count()


def test_a_closed_client_opens_anew(folder: str) -> None:
    with chroma.PersistentClient(folder) as client:
        made = client.create_collection("articles")
        made.add(ids=["a"], embeddings=[[1.0]])
    assert made.count() == 1
    assert chroma.PersistentClient(folder).get_collection("articles").count() == 1


def test_another_process_sees_the_records(folder: str, collection: chroma.Collection) -> None:
    script = "import sys; from deltafold import chroma; " \
        "print(chroma.PersistentClient(sys.argv[1]).get_collection('articles').count(), 'chromadb' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script, folder], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["3", "False"]


def test_tenants_and_databases_are_apart(folder: str) -> None:
    client = chroma.PersistentClient(folder)
    admin = chroma.AdminClient.of(client)
    admin.create_tenant("acme")
    admin.create_database("things", "acme")
    with pytest.raises(errors.UniqueConstraintError):
        admin.create_database("things", "acme")
    apart = chroma.PersistentClient(folder, tenant="acme", database="things")
    apart.create_collection("articles")
    assert client.list_collections() == []
    assert [one["name"] for one in admin.list_databases(tenant="acme")] == ["things"]
    admin.delete_database("things", "acme")
    with pytest.raises(errors.NotFoundError):
        apart.set_database("things")
    with pytest.raises(errors.NotFoundError):
        chroma.PersistentClient(folder, tenant="nobody")


def test_an_admin_client_opens_the_store_of_its_settings(folder: str) -> None:
    admin = chroma.AdminClient(chroma.Settings(persist_directory=folder))
    admin.create_tenant("acme")
    admin.create_database("things", "acme")
    chroma.PersistentClient(folder, tenant="acme", database="things").create_collection("articles")
    assert [one["name"] for one in admin.list_databases(tenant="acme")] == ["things"]
    apart = chroma.AdminClient(chroma.Settings(is_persistent=False, persist_directory=folder))
    with pytest.raises(errors.NotFoundError):
        apart.get_tenant("acme")


def test_reset_needs_a_setting(folder: str) -> None:
    with pytest.raises(errors.ChromaError, match="not allowed"):
        chroma.PersistentClient(folder).reset()
    client = chroma.PersistentClient(folder, chroma.Settings(allow_reset=True))
    client.create_collection("articles")
    assert client.reset() and client.list_collections() == []


def test_a_folder_of_chroma_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").touch()
    with pytest.raises(ValueError, match="import chroma"):
        chroma.PersistentClient(tmp_path)


def test_names_with_signs_of_addresses_stay_names(folder: str) -> None:
    client = chroma.PersistentClient(folder)
    client.create_collection("abc")
    for name in ["abc?limit=1", "abc#x", "abc/count", "a/../b", "a?b=c", "by-id/x", "%2e", "", "ä" * 10, "a\x00b"]:
        with pytest.raises((errors.NotFoundError, errors.InvalidArgumentError, errors.ChromaError)):
            client.get_collection(name)
        with pytest.raises(errors.ChromaError):
            client.create_collection(name)


BAD: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("add", {"ids": []}, ValueError, "Non-empty lists are required"),
    ("add", {"ids": ["a"], "embeddings": []}, ValueError, "Expected Embeddings to be non-empty list"),
    ("add", {"ids": ["a", "a"], "embeddings": [[1.0, 1.0]] * 2}, errors.DuplicateIDError, "duplicates of: a in add"),
    ("add", {"ids": [1], "embeddings": [[1.0, 1.0]]}, ValueError, "Expected ID to be a str, got 1"),
    ("add", {"ids": ["a", "b"], "embeddings": [[1.0, 1.0]]}, ValueError, "Unequal lengths"),
    ("add", {"ids": ["x"], "embeddings": [[]]}, ValueError, "Expected embeddings to be a list"),
    ("add", {"ids": ["x"], "embeddings": [["1"]]}, ValueError, "Expected embeddings to be a list"),
    ("add", {"ids": ["x"], "embeddings": np.zeros((1, 1, 1))}, ValueError, "Expected embeddings to be a list"),
    ("add", {"ids": ["x"], "embeddings": [np.array(["a"])]}, ValueError, "int or float"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, float("nan")]]}, errors.InvalidArgumentError, "finite"),
    ("add", {"ids": ["x"], "embeddings": [[1e300, 1.0]]}, errors.InvalidArgumentError, "finite"),
    ("add", {"ids": ["x"], "embeddings": [[1.0]]}, errors.InvalidArgumentError, "dimension of 2, got 1"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{}]}, ValueError, "non-empty dict"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{1: 1}]}, TypeError, "metadata key to be a str"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{"k": {}}]}, ValueError, "metadata value"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{"k": [1, "a"]}]}, ValueError, "same type"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{"k": float("nan")}]}, ValueError, "JSON"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "metadatas": [{"k": 1 << 70}]}, ValueError, "64 bits"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "documents": [1]}, ValueError, "document to be a str"),
    ("add", {"ids": ["x"], "embeddings": [[1.0, 1.0]], "documents": ["\ud800"]}, ValueError, "surrogates"),
    ("add", {"ids": ["x"] * 5_462, "embeddings": np.zeros((5_462, 2))}, errors.DuplicateIDError, "x"),
    ("add", {"ids": list(map(str, range(5_462))), "embeddings": np.zeros((5_462, 2))}, ValueError, "maximum batch size"),
    ("get", {"ids": []}, ValueError, "non-empty list"),
    ("get", {"where": {}}, ValueError, "exactly one operator"),
    ("get", {"where": {"n": {"$near": 1}}}, ValueError, "where operator to be one of"),
    ("get", {"where": {"$and": [{"n": 1}]}}, ValueError, "at least two where expressions"),
    ("get", {"where": {"n": {"$in": []}}}, ValueError, "non-empty list"),
    ("get", {"where_document": {"$contains": ""}}, ValueError, "non-empty str in get"),
    ("get", {"where_document": {"$regex": "("}}, errors.InvalidArgumentError, ""),
    ("get", {"include": ["distances"]}, ValueError, "cannot be one of distances"),
    ("get", {"include": ["all"]}, ValueError, "include item to be one of"),
    ("get", {"limit": -1}, ValueError, "limit to be a non-negative int"),
    ("query", {}, ValueError, "must be provided"),
    ("query", {"query_embeddings": [[1.0, 1.0]], "n_results": 0}, TypeError, "cannot be negative, or zero"),
    ("query", {"query_embeddings": [[1.0, 1.0]], "n_results": "1"}, ValueError, "to be a int"),
    ("query", {"query_embeddings": [[1.0]]}, errors.InvalidArgumentError, "dimension of 2, got 1"),
    ("delete", {}, ValueError, "At least one of ids"),
    ("delete", {"ids": ["a"], "limit": 1}, ValueError, "limit can only be specified"),
    ("delete", {"where": {"n": 1}, "limit": True}, TypeError, "limit must be"),
    ("modify", {"metadata": {"hnsw:space": "ip"}}, ValueError, "not supported"),
]


@pytest.mark.parametrize(("call", "arguments", "kind", "message"), BAD)
def test_bad_input_raises_what_chroma_raises(
    collection: chroma.Collection, call: str, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as raised:
        getattr(collection, call)(**arguments)
    assert message in str(raised.value)
    assert collection.count() == 3
