"""Many threads on one collection, and memory that stays flat."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

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


def test_ten_thousand_calls_leave_memory_flat(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=16)
    rows = np.random.default_rng(1).random((100, 16), np.float32)
    articles.put(ids=[str(n) for n in range(100)], embeddings=rows, documents=["text" * 50] * 100)
    articles.compact()
    snapshot = articles.snapshot()

    def calls(count: int) -> None:
        for number in range(count):
            result = snapshot.query(rows[number % 100], k=5, include=["embeddings", "metadatas", "documents"])
            assert result.ids[0] == str(number % 100)
            assert result.embeddings is not None and result.documents is not None
            if number % 50 == 0:
                memoryview(result.to_arrow().to_batches()[0].column(2).buffers()[1])
                articles.get("1")

    calls(1_000)
    gc.collect()
    before, objects = resident(), len(gc.get_objects())
    calls(10_000)
    gc.collect()
    grown = resident() - before
    # One kept result of each call would be 60 MB.
    assert grown < 8 << 20, f"{grown} bytes more"
    assert len(gc.get_objects()) - objects < 1_000
    assert sys.getrefcount(None) > 0
