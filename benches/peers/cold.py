"""Queries against an S3 server whose every request takes a while: time, GETs and bytes by the state of caches."""

import copy
import importlib
import statistics
import sys
import time

from program import Program

KEY, SECRET, BUCKET = "AKIDEXAMPLE", "wJalrXUtnFEMI", "bucket"


def text(number, length):
    """Words of which few are frequent, as long as Deltafold's documents."""
    words, size = [], 0
    while size < length:
        word = f"{(number * 7 + size * size) % 9_973:x}"
        words.append(word)
        size += len(word) + 1
    return " ".join(words)


# Ops of the segments before a fold, and rows of LanceDB's fragments before a compaction.
BACKLOG = [100 + number * 353 % 901 for number in range(36)]


def measured(server, ask):
    """Figures of a few queries: their median time, and the GETs that the server had for each.

    A peer that warms itself before its queries counts by itself, and gives GETs and bytes a query.
    """
    server.ask(do="reads")
    seconds, answers, *counted = ask()
    reads = server.ask(do="reads")
    gets, size = counted or (reads["gets"] / len(seconds), reads["bytes"] / len(seconds))
    return {"seconds": statistics.median(seconds), "gets": gets, "bytes": size, "answers": answers}


def compare(arguments, made, folder, candidates):
    """A report of cold queries: a row for each peer."""
    server, client = Program(arguments.program), Program(arguments.program)
    rows = {}
    try:
        endpoint = server.ask(do="serve")["endpoint"]
        vectors, queries = f"{folder}/cold.vectors", f"{folder}/cold.queries"
        made.rows.tofile(vectors)
        made.queries.tofile(queries)
        client.ask(do="build", endpoint=endpoint, vectors=vectors, dimension=made.dimension, metric=made.metric,
                   documents=arguments.documents)
        table, record, add, failure = lance(arguments, made, endpoint)
        server.ask(do="latency", milliseconds=arguments.latency)
        searches = [("deltafold", None), (f"deltafold, approximate, {candidates} candidates", candidates)]
        for name, count in searches:
            asked = {"endpoint": endpoint, "queries": queries, "dimension": made.dimension, "k": arguments.k,
                     "candidates": count, "rounds": arguments.cold}

            def ask(**more):
                answer = client.ask(**asked, **more)
                counted = [answer["gets"], answer["bytes"]] if more["do"] == "warm" else []
                return answer["seconds"], answer["ids"], *counted

            cache = f"{folder}/part-cache-{count}"
            rows[name, "nothing"] = measured(server, lambda: ask(do="cold"))
            ask(do="cold", cache=cache)  # Fills it.
            rows[name, "part cache on disk"] = measured(server, lambda: ask(do="cold", cache=cache))
            rows[name, "columns, codes in memory"] = measured(server, lambda: ask(do="warm"))
            rows[name, "and f32 rows"] = measured(server, lambda: ask(do="warm", rows=True))
        if table:
            rows["lancedb", "nothing"] = measured(server, table)
            rows["lancedb", "table open"] = measured(server, lambda: table(is_open=True))
        else:
            rows["lancedb", "nothing"] = {"absent": failure}
        truth = made.truth(arguments.k)
        for row in rows.values():
            if "answers" in row:
                answers = row.pop("answers")
                some = first_queries(made, len(answers))
                row["recall"] = some.recall(answers, truth, arguments.k)
        gets = records(arguments, made, server, client, endpoint, record, add)
    finally:
        client.close()
        server.close()
    rows = [{"peer": peer, "state": state, **row} for (peer, state), row in rows.items()]
    return {"latency_ms": arguments.latency, "documents": arguments.documents, "rows": rows, "gets": gets}


def records(arguments, made, server, client, endpoint, record, add):
    """A row for each peer, backlog and latency: one record is read from nothing by its id."""
    count = len(made.rows)
    ids = [number * 7_919 % count for number in range(1, arguments.cold + 1)]

    def deltafold():
        return client.ask(do="cold-get", endpoint=endpoint, ids=ids)["seconds"], None

    rows = []
    for behind in [[], BACKLOG]:
        server.ask(do="latency", milliseconds=0)
        if behind:
            client.ask(do="backlog", endpoint=endpoint, dimension=made.dimension, documents=arguments.documents,
                       first=count, segments=behind)
            if add:
                add(behind)
        for latency in [arguments.latency, 0]:
            server.ask(do="latency", milliseconds=latency)
            for name, ask in [("deltafold", deltafold), ("lancedb", record and (lambda: record(ids)))]:
                row = {"peer": name, "segments": len(behind), "latency_ms": latency}
                if ask:
                    row |= measured(server, ask)
                    row.pop("answers")
                    rows.append(row)
    return rows


def first_queries(made, count):
    """The same data set with its first queries alone."""
    view = copy.copy(made)
    view.queries = made.queries[:count]
    return view


def lance(arguments, made, endpoint):
    """Builds the table of LanceDB with an index of the ids.

    Returns functions that ask it, that read records from nothing, and that add fragments; or the reason that there are
    none.
    """
    try:
        lancedb, pyarrow = importlib.import_module("lancedb"), importlib.import_module("pyarrow")
    except ImportError as error:
        return None, None, None, f"not on this machine: {error}"
    options = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_endpoint": endpoint,
               "aws_region": "us-east-1", "allow_http": "true", "aws_virtual_hosted_style_request": "false"}
    place = f"s3://{BUCKET}/lance"

    def rows(numbers, vectors):
        return pyarrow.table({
            "id": pyarrow.array(numbers, pyarrow.int64()),
            "text": pyarrow.array([text(number, arguments.documents) for number in numbers]),
            "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), made.dimension),
        })

    try:
        table = rows(list(range(len(made.rows))), made.rows)
        made_table = lancedb.connect(place, storage_options=options).create_table("peers", table)
        made_table.create_scalar_index("id")
    except Exception as error:  # It is said in the table.
        print(error, file=sys.stderr)
        return None, None, None, f"failed: {str(error)[:120]}"
    metric = {"l2": "l2", "cosine": "cosine"}.get(made.metric, "dot")

    def ask(is_open=False):
        seconds, answers = [], []
        opened = lancedb.connect(place, storage_options=options).open_table("peers")
        for query in made.queries[: arguments.cold]:
            before = time.perf_counter()
            if not is_open:
                opened = lancedb.connect(place, storage_options=options).open_table("peers")
            asked = opened.search(query).distance_type(metric).select(["id", "text", "_distance"])
            found = asked.limit(arguments.k).to_arrow()
            seconds.append(time.perf_counter() - before)
            answers.append(found["id"].to_pylist())
        return seconds, answers

    def record(ids):
        seconds = []
        for number in ids:
            before = time.perf_counter()
            opened = lancedb.connect(place, storage_options=options).open_table("peers")
            found = opened.search().where(f"id = {number}").select(["id", "text", "vector"]).limit(1).to_arrow()
            seconds.append(time.perf_counter() - before)
            assert found["id"].to_pylist() == [number]
        return seconds, None

    def add(counts):
        opened, first = lancedb.connect(place, storage_options=options).open_table("peers"), len(made.rows)
        for count in counts:
            opened.add(rows(list(range(first, first + count)), made.rows[:count]))
            first += count

    return ask, record, add, None
