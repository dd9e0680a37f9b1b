"""The peers. Each builds from a data set and answers queries by the numbers of rows."""

import importlib
import time

import numpy

from program import Program


class Engine:
    """A peer. `about` says how it searches; `caches` the state that is measured."""

    name = ""
    about = ""
    caches = "warm"
    exact = False
    filters = False

    def build(self, data, folder):
        raise NotImplementedError

    def search(self, data, queries, k, percent=None):
        """The numbers of the rows found, a list each query."""
        raise NotImplementedError

    def times(self, data, k, batch, percent=None):
        """Seconds of each call with so many queries, and the answers."""
        seconds, answers = [], []
        for start in range(0, len(data.queries), batch):
            queries = data.queries[start : start + batch]
            before = time.perf_counter()
            found = self.search(data, queries, k, percent)
            seconds.append(time.perf_counter() - before)
            answers.extend(found)
        return seconds, answers

    def cpu(self):
        """CPU time of all threads so far."""
        return time.process_time()

    def close(self):
        pass


class Numpy(Engine):
    name = "numpy"
    about = "f32 product, then `argpartition`"
    exact = filters = True

    def build(self, data, folder):
        self.lengths = numpy.sqrt(numpy.einsum("ij,ij->i", data.rows, data.rows))
        self.squares = self.lengths**2

    def search(self, data, queries, k, percent=None):
        if percent is None:
            rows, squares, lengths, numbers = data.rows, self.squares, self.lengths, None
        else:
            numbers = numpy.flatnonzero(data.percent < percent)
            rows, squares, lengths = data.rows[numbers], self.squares[numbers], self.lengths[numbers]
        scores = queries @ rows.T if len(queries) > 1 else (rows @ queries[0])[None, :]
        if data.metric == "l2":
            near = squares - 2 * scores
        elif data.metric == "cosine":
            near = -scores / lengths
        else:
            near = -scores
        found = []
        for near in near:
            first = numpy.argpartition(near, k - 1)[:k]
            first = first[numpy.argsort(near[first])]
            found.append(first if numbers is None else numbers[first])
        return found


class Faiss(Engine):
    def prepared(self, data, rows):
        # Cosine is the inner product of unit vectors.
        if data.metric != "cosine":
            return rows
        return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    def search(self, data, queries, k, percent=None):
        return list(self.index.search(self.prepared(data, queries), k)[1])


class FaissFlat(Faiss):
    name = "faiss flat"
    about = "`IndexFlat`"
    exact = True

    def build(self, data, folder):
        faiss = importlib.import_module("faiss")
        metric = faiss.METRIC_L2 if data.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.IndexFlat(data.dimension, metric)
        self.index.add(self.prepared(data, data.rows))


class FaissIvf(Faiss):
    name = "faiss IVF"

    def build(self, data, folder):
        faiss = importlib.import_module("faiss")
        metric = faiss.METRIC_L2 if data.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        lists = max(1, int(4 * len(data.rows) ** 0.5))
        self.quantizer = faiss.IndexFlat(data.dimension, metric)
        self.index = faiss.IndexIVFFlat(self.quantizer, data.dimension, lists, metric)
        rows = self.prepared(data, data.rows)
        self.index.train(rows[:: max(1, len(rows) // (50 * lists))])
        self.index.add(rows)
        self.lists = lists

    def tune(self, data, truth, k, goal):
        """The least `nprobe` that reaches the recall."""
        for probes in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]:
            self.index.nprobe = min(probes, self.lists)
            if data.recall(self.search(data, data.queries, k), truth, k) >= goal or probes >= self.lists:
                break
        self.about = f"`IndexIVFFlat`, {self.lists} lists, nprobe {self.index.nprobe}"


class Chroma(Engine):
    name = "chromadb"
    about = "HNSW at its defaults"
    filters = True

    def build(self, data, folder):
        chromadb = importlib.import_module("chromadb")
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        self.client = chromadb.PersistentClient(path=str(folder), settings=settings)
        space = {"l2": "l2", "cosine": "cosine"}.get(data.metric, "ip")
        self.collection = self.client.create_collection("peers", configuration={"hnsw": {"space": space}})
        for start in range(0, len(data.rows), 5_000):
            numbers = range(start, min(start + 5_000, len(data.rows)))
            self.collection.add(
                ids=[str(number) for number in numbers],
                embeddings=data.rows[start : start + 5_000],
                metadatas=[{"percent": int(data.percent[number])} for number in numbers],
            )

    def search(self, data, queries, k, percent=None):
        where = None if percent is None else {"percent": {"$lt": percent}}
        return self.collection.query(query_embeddings=queries, n_results=k, include=[], where=where)["ids"]


class Lance(Engine):
    name = "lancedb"
    about = "no index: a scan of f32"
    exact = filters = True

    def build(self, data, folder):
        lancedb = importlib.import_module("lancedb")
        pyarrow = importlib.import_module("pyarrow")
        self.database = lancedb.connect(str(folder))

        def batches():
            for start in range(0, len(data.rows), 50_000):
                rows = data.rows[start : start + 50_000]
                vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), data.dimension)
                numbers = pyarrow.array(range(start, start + len(rows)), pyarrow.int64())
                percent = pyarrow.array(data.percent[start : start + 50_000].astype(numpy.int64))
                yield pyarrow.record_batch([numbers, percent, vectors], names=["id", "percent", "vector"])

        first = next(batches())
        table = pyarrow.Table.from_batches(batches(), first.schema)
        self.table = self.database.create_table("peers", table)

    def search(self, data, queries, k, percent=None):
        metric = {"l2": "l2", "cosine": "cosine"}.get(data.metric, "dot")
        found = []
        for query in queries:
            asked = self.table.search(query).distance_type(metric).select(["id", "_distance"]).limit(k)
            if percent is not None:
                asked = asked.where(f"percent < {percent}", prefilter=True)
            found.append(asked.to_arrow()["id"].to_pylist())
        return found


class Deltafold(Engine):
    """The release program `benches/peers/deltafold.rs`, which times its own calls."""

    name = "deltafold"
    about = "8-bit codes, proved"
    exact = filters = True
    candidates = None

    def __init__(self, program):
        self.program = program

    def ask(self, **request):
        return self.process.ask(**request)

    def build(self, data, folder):
        self.folder = str(folder)
        self.process = Program(self.program)
        self.queries = f"{folder}.queries"
        vectors = f"{folder}.vectors"
        data.rows.tofile(vectors)
        data.queries.tofile(self.queries)
        self.built = self.ask(
            do="build", folder=self.folder, vectors=vectors, dimension=data.dimension, metric=data.metric
        )
        # Another process, so that its memory holds nothing of the building.
        self.process.close()
        self.process = Program(self.program)
        self.opened = self.ask(do="open", folder=self.folder, dimension=data.dimension)

    def times(self, data, k, batch, percent=None):
        answer = self.ask(
            do="search",
            queries=self.queries,
            dimension=data.dimension,
            k=k,
            candidates=self.candidates,
            batch=batch,
            percent=percent,
        )
        self.rows_read = answer["rows_read"]
        return answer["seconds"], answer["ids"]

    def cpu(self):
        return self.process.cpu()

    def close(self):
        self.process.close()


class Approximate(Engine):
    """Deltafold's approximate search of the same collection."""

    name = "deltafold, approximate"
    filters = True

    def __init__(self, exact):
        self.of = exact

    def cpu(self):
        return self.of.cpu()

    def build(self, data, folder):
        pass

    def tune(self, data, truth, k, goal):
        """The least number of candidates that reaches the recall."""
        for candidates in [20, 30, 50, 70, 100, 150, 200, 300, 400, 600, 800, 1_200, 1_600, 2_400, 3_200]:
            self.candidates = max(k, candidates)
            if data.recall(self.times(data, k, len(data.queries))[1], truth, k) >= goal:
                break
        self.about = f"1-bit codes, {self.candidates} candidates"

    def times(self, data, k, batch, percent=None):
        self.of.candidates = self.candidates
        try:
            return self.of.times(data, k, batch, percent)
        finally:
            self.of.candidates = None
