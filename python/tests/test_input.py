"""Forms of input: arrays, lists, tables; and the errors that name argument and row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import deltafold


@pytest.fixture
def articles(folder: str) -> deltafold.Collection:
    return deltafold.open(folder).create("articles", dimension=2)


def embeddings_of(articles: deltafold.Collection) -> list[list[float]]:
    found = articles.find(order="id", include=["embeddings"]).embeddings
    assert found is not None
    rows: list[list[float]] = found.tolist()
    return rows


WANTED = [[1.0, 2.0], [3.0, 4.0]]


def packed() -> Any:
    """WANTED as a field of packed records: its rows lie 9 bytes apart."""
    records = np.zeros(2, [("flag", "i1"), ("vector", "f4", 2)])
    records["vector"] = WANTED
    return records["vector"]


def shifted() -> Any:
    """WANTED behind one byte of a message."""
    message = b"\0" + np.array(WANTED, np.float32).tobytes()
    return np.frombuffer(message, np.float32, offset=1).reshape(2, 2)


@pytest.mark.parametrize(
    "embeddings",
    [
        WANTED,
        [(1, 2), (3, 4)],
        [np.array([1.0, 2.0]), np.array([3.0, 4.0])],
        np.array(WANTED, np.float16),
        np.array(WANTED, np.float64),
        np.array(WANTED, np.int32),
        np.array(WANTED, np.float32),
        np.array(WANTED, np.float32, order="F"),
        np.array([[1, 0, 2, 0], [3, 0, 4, 0]], np.float32)[:, ::2],
        np.array(WANTED[::-1], np.float32)[::-1],
        packed(),
        shifted(),
    ],
)
def test_embeddings_come_in_many_forms(articles: deltafold.Collection, embeddings: Any) -> None:
    articles.put(ids=["a", "b"], embeddings=embeddings)
    assert embeddings_of(articles) == WANTED


@pytest.mark.parametrize("vectors", [packed(), shifted(), np.array(WANTED)])
def test_vectors_of_a_query_come_in_many_forms(articles: deltafold.Collection, vectors: Any) -> None:
    articles.put(ids=["a", "b"], embeddings=WANTED)
    assert articles.query(vectors, k=1).ids == ["a", "b"]
    assert [articles.query(vector, k=1).ids for vector in vectors] == [["a"], ["b"]]


def test_a_row_may_have_no_embedding(articles: deltafold.Collection) -> None:
    articles.put(ids=["a", "b"], embeddings=[None, [1.0, 2.0]])
    rows = embeddings_of(articles)
    assert np.isnan(rows[0]).all() and rows[1] == [1.0, 2.0]
    assert articles.query([1.0, 2.0]).ids == ["b"]


def table() -> pa.Table:
    return pa.table(
        {
            "id": ["a", "b"],
            "vector": pa.array(WANTED, pa.list_(pa.float32(), 2)),
            "text": ["first", None],
            "year": [2020, None],
            "tags": pa.array([["x"], ["y", "z"]]),
        }
    )


def frames() -> list[Any]:
    return [
        table(),
        table().to_batches()[0],
        pa.RecordBatchReader.from_batches(table().schema, table().to_batches()),
        pl.from_arrow(table()),
        pd.DataFrame(
            {
                "id": ["a", "b"],
                "vector": WANTED,
                "text": ["first", None],
                "year": pd.array([2020, None], dtype="Int64"),
                "tags": [["x"], ["y", "z"]],
            }
        ),
    ]


@pytest.mark.parametrize("frame", frames(), ids=["table", "batch", "reader", "polars", "pandas"])
def test_tables_come_through_arrow(articles: deltafold.Collection, frame: Any) -> None:
    assert articles.upsert(frame).appended == 2
    assert embeddings_of(articles) == WANTED
    found = articles.find(order="id")
    assert found.metadatas == [{"year": 2020, "tags": ["x"]}, {"tags": ["y", "z"]}]
    assert found.documents == ["first", None]


def test_columns_of_a_table_are_named(articles: deltafold.Collection) -> None:
    frame = table().rename_columns(["key", "v", "body", "year", "tags"])
    articles.put(frame, columns={"id": "key", "embedding": "v", "metadata": ["year"]})
    assert articles.find(order="id").metadatas == [{"year": 2020}, {}]
    with pytest.raises(deltafold.InvalidInput, match="no column of ids"):
        articles.put(frame)
    with pytest.raises(deltafold.InvalidInput, match="no column `w` for `embedding`"):
        articles.put(frame, columns={"id": "key", "embedding": "w"})


def test_a_scan_goes_into_another_collection(articles: deltafold.Collection, tmp_path: Any) -> None:
    articles.put(table())
    other = deltafold.open(tmp_path / "other").create("other", dimension=2)
    assert other.put(articles.scan()).appended == 2
    assert other.find(order="id").metadatas == articles.find(order="id").metadatas


def test_arrow_comes_out(articles: deltafold.Collection) -> None:
    articles.put(table())
    out = pa.table(articles.scan())
    assert out.column_names == ["id", "embedding", "document", "metadata"]
    assert out["embedding"].to_pylist() == WANTED
    assert out["metadata"].to_pylist() == [{"tags": ["x"], "year": 2020}, {"tags": ["y", "z"], "year": None}]
    hits = articles.query([1.0, 2.0], k=1).to_arrow()
    assert hits.column_names == ["query", "id", "distance", "document", "metadata"]
    assert hits.to_pylist()[0]["id"] == "a"
    assert pl.DataFrame(articles.get(["a"]))["document"].to_list() == ["first"]
    frame = articles.query(WANTED, k=1).to_pandas()
    assert frame[["query", "id"]].to_numpy().tolist() == [[0, "a"], [1, "b"]]
    assert articles.find(include=["embeddings"]).to_pandas().columns.tolist() == ["id", "embedding"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"ids": "ab"}, "^ids is of type `str`"),
    ({"ids": ["a", 1]}, "^ids, row 1: it is of type `int`; give a text"),
    ({"ids": ["a", None]}, "^ids, row 1: it is None"),
    ({"ids": ["a", ""]}, "^ids, row 1: "),
    ({"ids": ["a", "b"], "embeddings": [[1.0, 2.0]]}, "^embeddings has 1 rows, and ids has 2"),
    ({"ids": ["a", "b"], "embeddings": [[1.0, 2.0], [1.0]]}, "^embeddings, row 1 has 1 numbers"),
    ({"ids": ["a"], "embeddings": [[1.0, 2.0, 3.0]]}, "^embeddings, row 0: "),
    ({"ids": ["a", "b"], "embeddings": [[1.0, 2.0], [1.0, float("nan")]]}, "^embeddings, row 1: "),
    ({"ids": ["a"], "embeddings": [[1e300, 0.0]]}, "^embeddings, row 0: "),
    ({"ids": ["a"], "embeddings": [1.0, 2.0]}, "shape"),
    ({"ids": ["a"], "embeddings": [["x", "y"]]}, "^embeddings, row 0 is of type `list`; give a vector"),
    ({"ids": ["a"], "embeddings": 7}, "^embeddings"),
    ({"ids": ["a"], "metadatas": {"a": 1}}, "^metadatas is of type `dict`; give a list"),
    ({"ids": ["a"], "metadatas": [3]}, "^metadatas, row 0: it is of type `int`; give a dict"),
    ({"ids": ["a"], "metadatas": [{"k": {"n": 1}}]}, "^metadatas, row 0: key `k`: it is of type `dict`"),
    ({"ids": ["a"], "metadatas": [{"k": [1, "x"]}]}, "^metadatas, row 0: key `k`: .*several types"),
    ({"ids": ["a"], "metadatas": [{1: 1}]}, "^metadatas, row 0: a key is of type `int`"),
    ({"ids": ["a"], "metadatas": [{"k": 2**63}]}, "^metadatas, row 0: key `k`: .*64-bit"),
    ({"ids": ["a"], "metadatas": [{"k": float("inf")}]}, "^metadatas, row 0: "),
    ({"ids": ["a"], "documents": [b"x"]}, "^documents, row 0: it is of type `bytes`; give a text"),
    ({"ids": ["a"], "documents": ["\ud800"]}, "^documents, row 0: .*surrogate"),
    ({"ids": ["a"], "revisions": [1]}, "^revisions, row 0: "),
    ({}, "^ids is missing"),
    ({"table": table(), "ids": ["a"]}, "not both"),
    ({"ids": ["a"], "columns": {"id": "key"}}, "^columns: "),
]


@pytest.mark.parametrize(("columns", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_names_argument_and_row(
    articles: deltafold.Collection, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(deltafold.InvalidInput, match=message):
        articles.put(**columns)
    assert articles.count() == 0, "nothing was written"


def test_the_first_bad_row_is_named_whatever_its_column(articles: deltafold.Collection) -> None:
    ids: Any = ["a", "b", 3]
    embeddings = [[1.0, 2.0], [1.0, float("nan")], [1.0, 2.0]]
    with pytest.raises(deltafold.InvalidInput, match="^embeddings, row 1: "):
        articles.put(ids=ids, embeddings=embeddings, documents=["x", "y", "z"])
    with pytest.raises(deltafold.InvalidInput, match="^ids, row 2: "):
        articles.put(ids=ids, embeddings=np.ones((3, 2), np.float32))
    assert articles.count() == 0, "nothing was written"


def test_a_bad_row_of_a_table_is_named(articles: deltafold.Collection) -> None:
    bad = table().set_column(1, "vector", pa.array([[1.0, 2.0], [1.0]]))
    with pytest.raises(deltafold.InvalidInput, match="row 2: column `vector`"):
        articles.put(bad)
    with pytest.raises(deltafold.InvalidInput, match="offers no batches of Arrow"):
        articles.put(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("vectors", [[1.0], [[1.0, 2.0], [1.0]], ["x", "y"], None, [[None]], [1.0, float("nan")]])
def test_a_bad_vector_is_refused(articles: deltafold.Collection, vectors: Any) -> None:
    with pytest.raises(deltafold.InvalidInput):
        articles.query(vectors)


def test_scalars_of_numpy_are_metadata(articles: deltafold.Collection) -> None:
    metadata: Any = {"i": np.int32(1), "f": np.float32(0.5), "b": np.bool_(True), "l": np.array([1, 2]), "e": []}
    articles.put(ids=["a"], metadatas=[metadata])
    assert articles.find().metadatas == [{"i": 1, "f": 0.5, "b": True, "l": [1, 2], "e": []}]


def test_a_call_larger_than_a_segment_is_cut(articles: deltafold.Collection) -> None:
    ids = [f"{number:06}" for number in range(40_000)]
    ack = articles.put(ids=ids, embeddings=np.zeros((40_000, 2), np.float32))
    assert ack.appended == 40_000 and len(ack.segments) > 1
    assert articles.count() == 40_000


def test_a_failure_tells_how_many_rows_are_durable(articles: deltafold.Collection) -> None:
    ids = [f"{number:06}" for number in range(20_000)]
    rows = np.zeros((20_000, 2), np.float32)
    rows[19_999, 0] = np.nan
    with pytest.raises(deltafold.InvalidInput, match="^embeddings, row 19999: ") as failed:
        articles.put(ids=ids, embeddings=rows)
    assert failed.value.acknowledged == articles.count() == 16_384
