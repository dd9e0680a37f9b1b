"""Writers that go on while their ops are on their way."""

from __future__ import annotations

import numpy as np
import pytest

import deltafold
from deltafold import Op


def test_rows_of_many_calls_share_segments(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    with articles.writer(linger=0.05) as writer:
        for number in range(200):
            writer.upsert(ids=[f"{number:03}"], embeddings=[[number, 1.0]])
        writer.append([Op.delete("000")])
        writer.delete(["001"])
        ack = writer.flush()
        assert ack.appended == 202
        assert len(set(ack.segments)) < 100
    assert articles.count() == 198
    with pytest.raises(deltafold.Closed):
        writer.delete(["002"])


def test_calls_of_one_writer_keep_their_order(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    with articles.writer() as writer:
        for number in range(100):
            writer.put(ids=["a"], metadatas=[{"n": number}])
    assert articles.find().metadatas == [{"n": 99}]
    kinds = [op.metadata for _, op in articles.follow(until_end=True)]
    assert kinds == [{"n": number} for number in range(100)]


def test_a_writer_waits_for_room(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=256)
    rows = np.ones((500, 256), np.float32)
    with articles.writer(max_waiting_bytes=1 << 20) as writer:
        for number in range(20):
            writer.put(ids=[f"{number}-{row}" for row in range(500)], embeddings=rows)
    assert articles.count() == 10_000


def test_a_failure_is_raised_by_the_flush(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    with pytest.raises(deltafold.NotFound, match="dropped"):
        with articles.writer() as writer:
            writer.put(ids=["a"])
            writer.flush()
            deltafold.open(folder).drop("articles")
            writer.put(ids=["b"])


def test_an_exception_of_the_block_goes_first(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    with pytest.raises(ZeroDivisionError):
        with articles.writer() as writer:
            writer.put(ids=["a"])
            raise ZeroDivisionError
    assert articles.count() == 1, "the rows before it are durable"
