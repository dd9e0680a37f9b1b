#!/usr/bin/env python3
"""Runs VectorDBBench, with its own client of Chroma, against `deltafold serve` and `chroma run`.

    benches/serve/vectordbbench                    20,000 x 384
    benches/serve/vectordbbench --records 100000   the whole comparison
    benches/serve/vectordbbench --records 2000 --seconds 2
    benches/serve/vectordbbench --streaming 100    searches at 50 and 80 % of 100 inserts/s, too

The data set is a custom one in Parquet, with the exact neighbours by cosine, found in f64. A second
run after a restart searches without loading: the cold one. Streaming searches with several clients
only where 10 s of inserts lie between two stages: 20,000 records at 100/s, say.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import pyarrow
import pyarrow.parquet

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))

import data
import servers


def log(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def neighbours(made, k):
    """The numbers of the k nearest rows of each query, nearest first."""
    rows, found = data.unit(made.rows), []
    for query in made.queries:
        near = -(rows @ query)
        candidates = numpy.argpartition(near, min(4 * k, len(near)) - 1)[: 4 * k]
        found.append(candidates[numpy.argsort(made.distances(query, candidates), kind="stable")][:k])
    return found


def write(made, k, folder):
    """Writes the data set as VectorDBBench reads a custom one."""
    def table(name, column, rows, kind):
        ids = pyarrow.array(range(len(rows)), pyarrow.int64())
        lists = pyarrow.array([list(row) for row in rows], pyarrow.list_(kind))
        pyarrow.parquet.write_table(pyarrow.table({"id": ids, column: lists}), folder / f"{name}.parquet")

    table("train", "emb", made.rows, pyarrow.float32())
    table("test", "emb", made.queries, pyarrow.float32())
    table("neighbors", "neighbors_id", neighbours(made, k), pyarrow.int64())


def bench(server, made, arguments, folder, stage):
    """One run of VectorDBBench. Returns its metrics."""
    results = pathlib.Path(tempfile.mkdtemp(prefix="results-", dir=folder))
    environment = os.environ | {
        "DATASET_LOCAL_DIR": str(folder),
        "RESULTS_LOCAL_DIR": str(results),
        "ANONYMIZED_TELEMETRY": "False",
        "LOG_FILE": str(results / "bench.log"),
    }
    stages = {
        "warm": ["--case-type", "PerformanceCustomDataset"],
        "cold": ["--case-type", "PerformanceCustomDataset", "--skip-drop-old", "--skip-load", "--skip-search-concurrent"],
        "streaming": ["--case-type", "StreamingCustomDataset", "--streaming-insert-rate", str(arguments.streaming)],
    }[stage]
    # VectorDBBench refuses batches of more than a second of a stream.
    batch = min(arguments.batch, arguments.streaming) if stage == "streaming" else arguments.batch
    command = [
        sys.executable, pathlib.Path(__file__).with_name("client.py"), "chroma",
        "--host", "127.0.0.1", "--port", str(server.port), "--db-label", server.name.split()[0],
        "--k", str(arguments.k), "--insert-batch-size", str(batch),
        "--num-concurrency", arguments.concurrency, "--concurrency-duration", str(arguments.seconds),
        "--custom-case-name", "records", "--custom-dataset-name", "records",
        "--custom-dataset-dir", str(folder / "set"), "--custom-dataset-size", str(len(made.rows)),
        "--custom-dataset-dim", str(made.dimension), "--custom-dataset-metric-type", "COSINE",
        "--custom-dataset-file-count", "1", "--skip-custom-dataset-use-shuffled", "--custom-dataset-with-gt",
        *stages,
    ]
    output = folder / f"{server.name.split()[0]}-{stage}.log"
    with open(output, "wb") as to:
        subprocess.run(command, env=environment, stdout=to, stderr=to, timeout=arguments.patience, check=True)
    found = sorted(results.rglob("result_*.json"))
    if not found:
        raise RuntimeError(f"VectorDBBench wrote no result: {output.read_text(errors='replace')[-2_000:]}")
    result = json.loads(found[-1].read_text())["results"][0]
    if result.get("label") not in (None, ":)"):
        raise RuntimeError(f"VectorDBBench failed: {output.read_text(errors='replace')[-2_000:]}")
    return result["metrics"]


def measure(server, made, arguments, folder, report):
    server.start()
    report["warm"] = bench(server, made, arguments, folder, "warm")
    log(f"{server.name}: {report['warm']}")
    report["memory"] = server.memory()
    server.stop()
    server.start()
    report["cold"] = bench(server, made, arguments, folder, "cold")
    if arguments.streaming:
        report["streaming"] = bench(server, made, arguments, folder, "streaming")
    server.stop()


def by_stage(report, name, form):
    """A figure of each stage of a streaming run."""
    return ", ".join(form.format(figure) for figure in report["streaming"][name])


def table(whole):
    peers = whole["peers"]
    rows = [
        ("insert and optimise", lambda r: r["warm"].get("load_duration"), "{:.1f} s"),
        ("recall", lambda r: r["warm"]["recall"], "{:.4f}"),
        ("most QPS", lambda r: r["warm"]["qps"], "{:,.0f}"),
        ("QPS at each concurrency", lambda r: ", ".join(f"{q:,.0f}" for q in r["warm"]["conc_qps_list"]), "{}"),
        ("serial latency, p99", lambda r: 1_000 * r["warm"]["serial_latency_p99"], "{:.2f} ms"),
        ("serial latency after a restart, p99", lambda r: 1_000 * r["cold"]["serial_latency_p99"], "{:.2f} ms"),
        ("recall after a restart", lambda r: r["cold"]["recall"], "{:.4f}"),
        ("streaming: recall at each stage", lambda r: by_stage(r, "st_recall_list", "{:.4f}"), "{}"),
        ("streaming: serial latency at each stage, p99", lambda r: by_stage(r, "st_serial_latency_p99_list", "{:.4f} s"), "{}"),
        ("streaming: most QPS at each stage", lambda r: by_stage(r, "st_max_qps_list_list", "{:,.0f}"), "{}"),
        ("memory, peak", lambda r: r["memory"]["VmHWM"], "{:,.0f} MiB"),
    ]
    lines = [
        f"{whole['records']:,} x {whole['dimension']}, {whole['about']}; top {whole['k']}, concurrency "
        f"{whole['concurrency']}, batches of {whole['batch']}.",
        "",
        "| | " + " | ".join(peers) + " |",
        "|---" * (1 + len(peers)) + "|",
    ]
    for name, figure, form in rows:
        cells = []
        for report in peers.values():
            try:
                cells.append(form.format(figure(report)))
            except (KeyError, TypeError):
                cells.append("-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [f"\n{name} failed: {report['failed']}" for name, report in peers.items() if "failed" in report]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built `deltafold`; `vectordbbench` gives it")
    parser.add_argument("--out", default="target/vectordbbench", help="the folder of the table and its JSON")
    parser.add_argument("--set", default="debian", choices=sorted(data.SETS), help="the vectors")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=96)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1_000, help="records of one call of the client")
    parser.add_argument("--concurrency", default="1,8", help="clients that search at once, one run each")
    parser.add_argument("--seconds", type=int, default=10, help="the time of each concurrent search")
    parser.add_argument("--streaming", type=int, default=0, help="inserts a second of a streaming run; 0 for none")
    parser.add_argument("--patience", type=float, default=600, help="longest time of one run, in seconds")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--peers", default="deltafold,chroma")
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    made = data.SETS[arguments.set](arguments.records, arguments.queries, arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=out))
    (folder / "set").mkdir()
    # A streaming run asks for 100 neighbours, whatever `--k` says.
    write(made, max(arguments.k, 100 if arguments.streaming else 0), folder / "set")
    whole = vars(arguments) | {"about": made.about, "dimension": made.dimension, "peers": {}}
    servers.run(
        arguments.peers,
        folder,
        arguments.program,
        whole["peers"],
        lambda server, report: measure(server, made, arguments, folder, report),
    )
    (out / "vectordbbench.json").write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")
    text = table(whole)
    (out / "vectordbbench.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
