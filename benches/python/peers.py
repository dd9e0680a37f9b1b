"""The Python package beside chromadb and lancedb, each by its Python API, on the same records.

`benches/python/run` starts it. Each peer upserts all rows, answers queries one at a time, and takes
small upserts. Cold, a new process opens the folder and answers one query. Files lie in the page
cache. chromadb searches its HNSW index; the others search exactly.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import data as sets  # noqa: E402

K = 10
SMALL = 10
"""Rows of a small upsert."""


class Peer:
    """A peer on a folder. `open` imports its package."""

    name = ""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def create(self, dimension: int) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def upsert(self, ids: list[str], rows: np.ndarray) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Work that another process does as a rule."""

    def query(self, vector: np.ndarray) -> list[str]:
        raise NotImplementedError


class Deltafold(Peer):
    name = "deltafold"

    def create(self, dimension: int) -> None:
        import deltafold

        self.collection: Any = deltafold.open(self.folder).create("peers", dimension, metric="cosine")

    def open(self) -> None:
        import deltafold

        self.collection = deltafold.open(self.folder).collection("peers")

    def upsert(self, ids: list[str], rows: np.ndarray) -> None:
        self.collection.upsert(ids=ids, embeddings=rows)

    def settle(self) -> None:
        self.collection.compact(merge_all=True)

    def query(self, vector: np.ndarray) -> list[str]:
        return self.collection.query(vector, k=K, include=[]).ids


class Chroma(Peer):
    name = "chromadb"

    def _client(self) -> Any:
        import chromadb

        settings = chromadb.config.Settings(anonymized_telemetry=False)
        return chromadb.PersistentClient(path=self.folder, settings=settings)

    def create(self, dimension: int) -> None:
        client = self._client()
        self.most = client.get_max_batch_size()
        self.collection = client.create_collection("peers", configuration={"hnsw": {"space": "cosine"}})

    def open(self) -> None:
        self.collection = self._client().get_collection("peers")

    def upsert(self, ids: list[str], rows: np.ndarray) -> None:
        for start in range(0, len(ids), self.most):
            end = start + self.most
            self.collection.upsert(ids=ids[start:end], embeddings=rows[start:end])

    def query(self, vector: np.ndarray) -> list[str]:
        return self.collection.query(query_embeddings=[vector], n_results=K, include=[])["ids"][0]


class Lance(Peer):
    name = "lancedb"

    def _batch(self, ids: list[str], rows: np.ndarray) -> Any:
        import pyarrow

        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
        return pyarrow.table({"id": pyarrow.array(ids, pyarrow.string()), "vector": vectors})

    def create(self, dimension: int) -> None:
        import lancedb

        schema = self._batch([], np.empty((0, dimension), np.float32)).schema
        self.table = lancedb.connect(self.folder).create_table("peers", schema=schema)

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(self.folder).open_table("peers")

    def upsert(self, ids: list[str], rows: np.ndarray) -> None:
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(self._batch(ids, rows))

    def query(self, vector: np.ndarray) -> list[str]:
        found = self.table.search(vector).distance_type("cosine").select(["id", "_distance"]).limit(K)
        return found.to_arrow()["id"].to_pylist()


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Deltafold, Chroma, Lance)}


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def cold(name: str, folder: str, vectors: str) -> None:
    """Opens a folder and asks once, in a new process."""
    vector = np.load(vectors)[0]
    peer = PEERS[name](folder)
    imported = seconds(lambda: __import__(name))
    print(json.dumps({"import": imported, "first": seconds(lambda: (peer.open(), peer.query(vector)))}))


def measured(peer: Peer, made: sets.DataSet, truth: np.ndarray, rounds: int) -> str:
    ids = [str(number) for number in range(len(made.rows))]
    peer.create(made.dimension)
    loaded = seconds(lambda: peer.upsert(ids, made.rows))
    settled = seconds(peer.settle)
    # The first query of a process reads what the others find in memory.
    peer.query(made.queries[0])
    taken = [[seconds(lambda: peer.query(vector)) for vector in made.queries] for _ in range(rounds)]
    query = statistics.median(statistics.median(times) for times in taken)
    recall = made.recall([peer.query(vector) for vector in made.queries], truth, K)
    with tempfile.NamedTemporaryFile(suffix=".npy") as vectors:
        np.save(vectors.name, made.queries[:1])
        command = [sys.executable, __file__, "--cold", peer.name, "--folder", peer.folder, "--vectors", vectors.name]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    begun = [statistics.median(run[key] for run in runs) * 1e3 for key in ("import", "first")]
    parts = [slice(start, start + SMALL) for start in range(0, min(50 * SMALL, len(ids)), SMALL)]
    small = statistics.median(seconds(lambda: peer.upsert(ids[part], made.rows[part])) for part in parts)
    return (
        f"| {peer.name} | {loaded:.2f} s | {len(ids) / loaded:,.0f} | {settled:.2f} s | {small * 1e3:.2f} ms "
        f"| {query * 1e3:.2f} ms | {recall:.3f} | {begun[0]:.0f} ms | {begun[1]:.1f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--cold", help="a peer's name: open and ask once")
    parser.add_argument("--folder")
    parser.add_argument("--vectors")
    arguments = parser.parse_args()
    if arguments.cold:
        cold(arguments.cold, arguments.folder, arguments.vectors)
        return
    made = sets.SETS["debian"](arguments.rows, arguments.queries, 7)
    truth = made.truth(K)
    print(f"{len(made.rows):,} x {made.dimension}, cosine: {made.about}; {len(made.queries)} queries, top {K}")
    heads = ["upsert of all", "rows a second", "fold", f"upsert of {SMALL}", "query", "recall", "import", "cold query"]
    print(f"| peer | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for name in arguments.peers.split(","):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            print(measured(PEERS[name](folder), made, truth, arguments.rounds), flush=True)


main()
