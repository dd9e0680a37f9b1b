"""Round trips of any records."""

from __future__ import annotations

import pickle
import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import deltafold

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.one_of(
    TEXT,
    INTEGERS,
    FLOATS,
    st.booleans(),
    *(st.lists(of, min_size=1, max_size=3) for of in (TEXT, INTEGERS, FLOATS, st.booleans())),
)
KEYS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
RECORDS = st.dictionaries(
    IDS,
    st.tuples(
        st.none() | st.lists(NUMBERS, min_size=3, max_size=3),
        st.dictionaries(KEYS, VALUES, max_size=4),
        st.none() | TEXT,
    ),
    max_size=8,
)


def exact(records: dict[str, Any]) -> str:
    """Records as a text that tells `True` from 1, and 1 from 1.0."""
    rows = ((id, embedding, sorted(metadata.items()), document) for id, (embedding, metadata, document) in records.items())
    return repr(sorted(rows, key=lambda row: row[0]))


def read(articles: deltafold.Collection) -> str:
    return exact(records_of(articles.find(include=["embeddings", "metadatas", "documents"])))


def records_of(records: deltafold.Records) -> dict[str, Any]:
    return {
        record.id: (
            None if record.embedding is None or np.isnan(record.embedding).any() else record.embedding.tolist(),
            record.metadata,
            record.document,
        )
        for record in records
    }


@given(RECORDS)
def test_any_record_comes_back(records: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = deltafold.open(folder)
        articles = store.create("articles", dimension=3)
        rows = list(records.values())
        columns: dict[str, Any] = {
            "ids": list(records),
            "embeddings": [row[0] for row in rows],
            "metadatas": [row[1] for row in rows],
            "documents": [row[2] for row in rows],
        }
        articles.put(**columns)
        wanted = exact(records)
        assert read(articles) == wanted
        articles.compact()
        assert read(articles) == wanted
        found = articles.find(include=["embeddings", "metadatas", "documents"])
        assert exact(records_of(pickle.loads(pickle.dumps(found)))) == wanted
        # Through Arrow, from its streams and back.
        through = store.create("through", dimension=3)
        through.put(pa.table(articles.scan()))
        assert read(through) == wanted
        directly = store.create("directly", dimension=3)
        directly.put(found)
        assert read(directly) == wanted
