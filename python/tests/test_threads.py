"""Many threads on one collection, and memory that stays flat."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import deltafold


def test_sixteen_threads_share_a_collection(store: deltafold.Store) -> None:
    articles = store.create("articles", dimension=4, shards=2)

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        for turn in range(5):
            id = f"{thread}-{turn}"
            vector = rng.random(4, np.float32)
            articles.upsert(ids=[id], embeddings=[vector], metadatas=[{"thread": thread}])
            assert articles.get(id).ids == [id], "own writes are read"
            assert articles.query(vector, k=1, where={"thread": thread}).ids == [id]
            assert articles.count({"thread": thread}) == turn + 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert articles.count() == 80


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_thousands_of_calls_leave_memory_flat(folder: str) -> None:
    """`DELTAFOLD_CALLS=10000` makes more calls."""
    count = int(os.environ.get("DELTAFOLD_CALLS", "1000"))
    articles = deltafold.open(folder).create("articles", dimension=512)
    rows = np.random.default_rng(1).random((20, 512), np.float32)
    articles.put(ids=[str(n) for n in range(20)], embeddings=rows, documents=["text" * 5_000] * 20)
    articles.compact()
    snapshot = articles.snapshot()

    def calls(count: int) -> None:
        for number in range(count):
            found = snapshot.get(str(number % 20))
            assert found.embeddings is not None and found.documents is not None
            if number % 10 == 0:
                result = snapshot.query(rows[number % 20], k=1, include=["embeddings", "documents"])
                assert result.ids == [str(number % 20)] and result.embeddings is not None
                assert result.to_arrow().num_rows == 1
                with pytest.raises(deltafold.InvalidInput):
                    snapshot.query([1.0])

    calls(200)
    gc.collect()
    before, objects = resident(), len(gc.get_objects())
    calls(count)
    gc.collect()
    grown = resident() - before
    # A record that each call kept would take 20 kB.
    assert grown < 4 << 20, f"{grown} bytes more"
    assert len(gc.get_objects()) - objects < 100
