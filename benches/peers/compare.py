#!/usr/bin/env python3
"""Compares Deltafold with numpy, faiss, chromadb and lancedb on the same records, in one run.

    benches/peers/run                                      100,000 x 384, all peers: some minutes
    benches/peers/run --quick                              5,000 records: a minute
    benches/peers/run --set glove --records 399900         GloVe vectors of 50 dimensions
    benches/peers/run --set outliers
    benches/peers/run --cold 5                             cold queries at 25 ms a request, too
    benches/peers/run --set clustered --records 1000000 --peers numpy,faiss-flat,deltafold

All peers take turns in each round, so a busy moment of the machine meets them all. A figure is the
median of all rounds; a ratio to numpy is the median of the ratios within rounds. Truth is computed
here, in f64. The tables go to standard output, and with JSON into the folder `--out`.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

import numpy

import cold
import data
import engines
import table

# Each work: its name, queries a call, the percentage of rows that the filter matches.
WORKS = [("one", 1, None), ("batch", 32, None), ("filtered 1 %", 1, 1), ("filtered 50 %", 1, 50)]


def peers(program):
    """All peers by their names on the command line."""
    deltafold = engines.Deltafold(program)
    return {
        "numpy": engines.Numpy(),
        "faiss-flat": engines.FaissFlat(),
        "faiss-ivf": engines.FaissIvf(),
        "chromadb": engines.Chroma(),
        "lancedb": engines.Lance(),
        "deltafold": deltafold,
        "approximate": engines.Approximate(deltafold),
    }


def measure(arguments, made, folder):
    """Builds every peer, then asks them in turns. Returns a report that JSON can hold."""
    k = arguments.k
    truths = {percent: made.truth(k, percent) for percent in {percent for _, _, percent in WORKS}}
    wanted = arguments.peers.split(",")
    if "deltafold" in wanted:
        wanted.append("approximate")
    every = peers(arguments.program)
    reports, ready = {}, []
    for name in wanted:
        engine = every[name]
        report = reports[engine.name] = {"caches": engine.caches, "exact": engine.exact}
        print(f"{made.name}: {engine.name} is built ...", file=sys.stderr)
        before = time.perf_counter()
        try:
            engine.build(made, folder / name)
            report["build_seconds"] = time.perf_counter() - before
            if hasattr(engine, "tune"):
                engine.tune(made, truths[None], k, arguments.recall)
            ready.append(engine)
        except (ImportError, FileNotFoundError) as error:
            report["absent"] = f"not on this machine: {error}"
        except Exception as error:  # A peer that fails is a row of the table, not the end of the run.
            traceback.print_exc()
            report["absent"] = f"failed: {error}"
        report["about"] = engine.about
    for _ in range(arguments.rounds):
        for engine in ready:
            for work, batch, percent in WORKS:
                if percent is not None and not engine.filters:
                    continue
                before = engine.cpu()
                seconds, answers = engine.times(made, k, batch, percent)
                figure = reports[engine.name].setdefault(work, {"rounds": [], "least": [], "cpu": 0.0})
                figure["cpu"] += (engine.cpu() - before) / len(made.queries) / arguments.rounds
                # The last batch may be shorter.
                full = seconds[: max(1, len(made.queries) // batch)]
                figure["rounds"].append(statistics.median(full) / min(batch, len(made.queries)))
                figure["least"].append(min(full) / min(batch, len(made.queries)))
                figure["recall"] = made.recall(answers, truths[percent], k)
                if engine.name.startswith("deltafold"):
                    source = engine if engine.name == "deltafold" else engine.of
                    figure["rows_read"] = source.rows_read
    for report in reports.values():
        for work, _, _ in WORKS:
            if work in report:
                rounds = report[work]["rounds"]
                report[work]["seconds"] = statistics.median(rounds)
                report[work]["least"] = min(report[work]["least"])
                others = reports.get("numpy", {}).get(work, {}).get("rounds")
                if others:
                    report[work]["to_numpy"] = statistics.median(a / b for a, b in zip(rounds, others))
    candidates = 200
    if every["deltafold"] in ready:
        candidates = every["approximate"].candidates
        own(arguments, made, every["deltafold"], reports)
    for engine in ready:
        engine.close()
    cold_report = None
    if arguments.cold:
        print(f"{made.name}: cold queries ...", file=sys.stderr)
        cold_report = cold.compare(arguments, made, folder, candidates)
    return {
        "cold": cold_report,
        "set": made.name,
        "about": made.about,
        "metric": made.metric,
        "records": len(made.rows),
        "dimension": made.dimension,
        "queries": len(made.queries),
        "k": k,
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "peers": reports,
    }


def own(arguments, made, deltafold, reports):
    """The figures that only Deltafold has."""
    report = reports[deltafold.name]
    codes = made.rows.size
    touched = deltafold.ask(do="touch", bytes=codes, rounds=20)["seconds"]
    report["codes_bytes"] = codes
    report["read_codes_seconds"] = statistics.median(touched)
    report["read_codes_least"] = min(touched)
    report["append_seconds"] = deltafold.built["append"]
    report["compact_seconds"] = deltafold.built["compact"]
    report["disk_bytes"] = deltafold.built["disk_bytes"]
    report["memory"] = {"opened": deltafold.opened, "after": deltafold.ask(do="memory")}
    report["levels"] = []
    truth = made.truth(arguments.k)
    for candidates in [20, 50, 100, 200, 400, 800]:
        deltafold.candidates = candidates
        seconds, answers = deltafold.times(made, arguments.k, 1)
        level = {"candidates": candidates, "seconds": statistics.median(seconds)}
        report["levels"].append(level | {"recall": made.recall(answers, truth, arguments.k)})
    deltafold.candidates = None
    refreshed = deltafold.ask(do="refresh", folder=deltafold.folder, queries=deltafold.queries,
                              dimension=made.dimension, k=arguments.k)
    report["refresh"] = {name: statistics.median(seconds) for name, seconds in refreshed.items()}


def machine():
    """The processor, its cores, the memory, and how busy the machine was."""
    model = platform.processor()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def versions():
    """The versions of the packages that are there."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    every = {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}
    return {name: every.get(name, "absent") for name in ["numpy", "faiss-cpu", "chromadb", "lancedb"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built `benches/peers/deltafold.rs`; `run` gives it")
    parser.add_argument("--out", default="target/peers", help="the folder of tables and JSON")
    parser.add_argument("--set", action="append", choices=sorted(data.SETS), help="the vectors; may be repeated")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=96, help="a multiple of 32, or the last batch is not timed")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recall", type=float, default=0.99, help="recall that approximate searches are set to")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--peers", default="numpy,faiss-flat,faiss-ivf,chromadb,lancedb,deltafold")
    parser.add_argument("--cold", type=int, default=0, metavar="N", help="also ask N cold queries of a slow S3 server")
    parser.add_argument("--latency", type=int, default=25, help="milliseconds of each request to it")
    parser.add_argument("--documents", type=int, default=600, help="characters of each document in it")
    parser.add_argument("--quick", action="store_true", help="5,000 records, all sets, two rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.records, arguments.rounds, arguments.queries = 5_000, 2, 32
        arguments.set = arguments.set or sorted(data.SETS)
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "versions": versions(), "tables": []}
    print(f"seed {arguments.seed}, {report['machine']}, {report['versions']}", file=sys.stderr)
    for name in arguments.set or ["debian"]:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=out))
        try:
            made = data.SETS[name](arguments.records, arguments.queries, arguments.seed)
            report["tables"].append(measure(arguments, made, folder))
        except FileNotFoundError as error:
            report["tables"].append({"set": name, "absent": str(error)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    (out / "peers.json").write_text(json.dumps(report, indent=1, default=float) + "\n", encoding="utf-8")
    text = table.markdown(report)
    (out / "peers.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"{out / 'peers.md'} and {out / 'peers.json'}", file=sys.stderr)


if __name__ == "__main__":
    numpy.seterr(all="ignore")
    main()
