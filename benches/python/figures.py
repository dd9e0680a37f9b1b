"""Figures of the Python package beside the Rust API, in one process and one run.

`benches/python/run` builds the wheel with the feature `figures` and starts it. Each figure is the
median of some rounds; Python and Rust take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

import deltafold
from deltafold import _deltafold


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def upserts(rows: np.ndarray, ids: list[str], rounds: int) -> None:
    native = _deltafold.RustRows(rows)
    python, rust = [], []
    for _ in range(rounds):
        for taken, name in ((python, "python"), (rust, "rust")):
            with tempfile.TemporaryDirectory() as folder:
                collection = deltafold.open(folder).create("rows", rows.shape[1])
                if name == "python":
                    taken.append(seconds(lambda: collection.upsert(ids=ids, embeddings=rows)))
                else:
                    taken.append(seconds(lambda: native.upsert(collection._collection).wait()))
                assert collection.count() == len(rows)
    ours, theirs = statistics.median(python), statistics.median(rust)
    print(f"upsert {len(rows)} x {rows.shape[1]}: Python {ours:.3f} s, Rust {theirs:.3f} s, {theirs / ours:.0%} of its rate")


def queries(collection: deltafold.Collection, rows: np.ndarray, rounds: int) -> None:
    snapshot = collection.snapshot()
    vectors = rows[:200]
    for include, k in ([], 10), (["metadatas", "documents"], 10):
        python, rust = [], []
        for _ in range(rounds):
            python.append(seconds(lambda: [snapshot.query(vector, k, include=include).ids for vector in vectors]))
            call = _deltafold.rust_queries(snapshot._view, vectors.tolist(), k, bool(include))
            rust.append(seconds(call.wait))
        ours, theirs = (statistics.median(taken) / len(vectors) * 1e6 for taken in (python, rust))
        print(f"query of {len(collection)} rows, include {include}: Python {ours:.0f} us, Rust {theirs:.0f} us, {ours - theirs:+.0f} us")


def scans(collection: deltafold.Collection, rounds: int) -> None:
    taken, size = [], 0
    for _ in range(rounds):
        begin = time.perf_counter()
        size = sum(batch.nbytes for batch in pa.RecordBatchReader.from_stream(collection.scan()))
        taken.append(time.perf_counter() - begin)
    print(f"scan to Arrow: {size / statistics.median(taken) / 1e9:.2f} GB/s of {size / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = np.random.default_rng(7).standard_normal((arguments.rows, arguments.dimension), np.float32)
    ids = [f"{number:08}" for number in range(arguments.rows)]
    upserts(rows, ids, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        collection = deltafold.open(folder).create("rows", arguments.dimension)
        collection.upsert(ids=ids, embeddings=rows)
        collection.compact(merge_all=True)
        queries(collection, rows, arguments.rounds)
        scans(collection, arguments.rounds)
        # A small collection shows the overhead of a call alone.
        small = deltafold.open(folder).create("small", arguments.dimension)
        small.upsert(ids=ids[:200], embeddings=rows[:200])
        small.compact()
        queries(small, rows, arguments.rounds)


main()
