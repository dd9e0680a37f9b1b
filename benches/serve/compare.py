#!/usr/bin/env python3
"""Compares `deltafold serve` with `chroma run`: the same requests on the same machine in one run.

    benches/serve/run                       100,000 x 384: about six minutes
    benches/serve/run --quick               2,000 records: half a minute
    benches/serve/run --peers deltafold     one server alone

Each server gets the records, then answers: queries of 1 and of 16 clients, then upserts in batches
of 1, 100 and 1,000 while one client queries. Queries are JSON, embeddings of records base64, as
Chroma's client sends them. Recall is against distances in f64. The table goes to standard output,
and with JSON into the folder `--out`. A server that fails is named in the table.
"""

import argparse
import base64
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import numpy

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))

import data
import load
import servers
import figures

# Records of a batch, and how many different batches are sent in turns.
BATCHES = [(1, 512), (100, 64), (1_000, 12)]


def log(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def batch(path, numbers, rows):
    """A call that brings rows under their numbers, each with metadata."""
    body = {
        "ids": [str(number) for number in numbers],
        "embeddings": [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows],
        "metadatas": [{"percent": int(number) % 100} for number in numbers],
    }
    return load.request("POST", f"{path}/upsert", body)


def query(path, vector, k):
    body = {"query_embeddings": [[float(number) for number in vector]], "n_results": k, "include": ["distances"]}
    return load.request("POST", f"{path}/query", body)


def summary(report, records=1):
    """Rate and latencies of a load."""
    times = sorted(report["times"])
    if not times:
        raise RuntimeError(f"no call succeeded: {report['first_refused']}, {report['broken']} connections broke off")
    at = lambda part: 1_000 * times[min(len(times) - 1, int(part * len(times)))]
    return {
        "per_second": records * len(times) / report["seconds"],
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "refused": report["refused"],
        "first_refused": report["first_refused"],
    }


def bring(server, path, made, arguments):
    """Brings all records in large batches. Returns the seconds."""
    begun = time.perf_counter()
    for start in range(0, len(made.rows), server.batch):
        numbers = range(start, min(start + server.batch, len(made.rows)))
        report = load.run(server.port, [batch(path, numbers, made.rows[start : start + server.batch])])
        if not report["times"]:
            raise RuntimeError(f"a batch was refused: {report['first_refused']}")
        if time.perf_counter() - begun > arguments.patience:
            raise RuntimeError(f"{numbers.stop} of {len(made.rows)} records took {arguments.patience} s; given up")
        if numbers.stop % 20_000 == 0:
            log(f"{server.name}: {numbers.stop} records in {time.perf_counter() - begun:.1f} s")
    return time.perf_counter() - begun


def measure(server, made, truth, arguments, report):
    """Fills the report of a server as far as it gets."""
    report["start_empty_seconds"] = server.start()
    path = server.collection(made.metric)
    report["load_seconds"] = bring(server, path, made, arguments)
    report["memory_loaded"] = server.memory()
    queries = [query(path, vector, arguments.k) for vector in made.queries]
    # Warm caches, and let what the load left behind in the server come to its end.
    load.run(server.port, queries, 1, arguments.seconds / 2)
    answers = load.run(server.port, queries, keep=True)["bodies"]
    ids = [json.loads(answers[number])["ids"][0] for number in range(len(queries))]
    report["recall"] = made.recall(ids, truth, arguments.k)
    for clients in (1, 16):
        found = load.run(server.port, queries, clients, arguments.seconds)
        report[f"queries_{clients}"] = summary(found)
        log(f"{server.name}: {report[f'queries_{clients}']['per_second']:.0f} queries/s of {clients} clients")
    random = numpy.random.default_rng(arguments.seed + 1)
    for size, different in BATCHES:
        numbers = [random.choice(len(made.rows), min(size, len(made.rows)), replace=False) for _ in range(different)]
        requests = [batch(path, few, made.rows[few[::-1]]) for few in numbers]
        beside = load.start(server.port, queries, 1, arguments.seconds)
        found = load.run(server.port, requests, arguments.writers, arguments.seconds)
        report[f"upserts_{size}"] = summary(found, len(numbers[0])) | {"beside": summary(beside())}
        log(f"{server.name}: {report[f'upserts_{size}']['per_second']:.0f} upserts/s in batches of {size}")
    report["memory"] = server.memory()
    server.stop()
    report["disk_mib"] = server.disk()
    report["restart_seconds"] = []
    for _ in range(3):
        begun = time.perf_counter()
        server.start()
        load.run(server.port, queries[:1])
        report["restart_seconds"].append(time.perf_counter() - begun)
        report["memory_restarted"] = server.memory()
        server.stop()


def machine():
    """The processor, its cores, the memory, and how busy the machine was."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built `deltafold`; `run` gives it")
    parser.add_argument("--out", default="target/serve", help="the folder of the table and its JSON")
    parser.add_argument("--set", default="debian", choices=sorted(data.SETS), help="the vectors")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=96)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12, help="the time of each load")
    parser.add_argument("--writers", type=int, default=4, help="clients that upsert at once")
    parser.add_argument("--patience", type=float, default=240, help="longest time to bring the records, in seconds")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--peers", default="deltafold,chroma")
    parser.add_argument("--quick", action="store_true", help="2,000 records, loads of 2 s")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.records, arguments.seconds = 2_000, 2
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    made = data.SETS[arguments.set](arguments.records, arguments.queries, arguments.seed)
    log(f"seed {arguments.seed}, {len(made.rows)} x {made.dimension}, {made.metric}: {made.about}")
    truth = made.truth(arguments.k)
    whole = {
        "machine": machine(),
        "set": made.name,
        "about": made.about,
        "metric": made.metric,
        "records": len(made.rows),
        "dimension": made.dimension,
        "seconds": arguments.seconds,
        "writers": arguments.writers,
        "peers": {},
    }
    folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=out))
    servers.run(
        arguments.peers,
        folder,
        arguments.program,
        whole["peers"],
        lambda server, report: measure(server, made, truth, arguments, report),
    )
    (out / "serve.json").write_text(json.dumps(whole, indent=1, default=float) + "\n", encoding="utf-8")
    text = figures.markdown(whole)
    (out / "serve.md").write_text(text, encoding="utf-8")
    print(text)
    log(f"{out / 'serve.md'} and {out / 'serve.json'}")


if __name__ == "__main__":
    main()
