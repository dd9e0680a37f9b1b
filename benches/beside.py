#!/usr/bin/env python3
"""Measures the figures of `cargo bench` for this checkout and for another commit, in turns, and prints both.

    benches/beside.py a3966c3                                every figure but those on S3
    benches/beside.py a3966c3 --records 100000 bulk absorb   those whose names hold one of the words

Builds the commit in a worktree of its own below `target/beside`. Each group of figures is measured for one
build and then for the other, so a busy moment of the machine meets both. Needs git, cargo and Python 3.9 or later.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
GROUPS = ["append", "callers", "refresh", "bulk-fold-open", "absorb", "day-puts", "day-patches"]


def built(checkout, target):
    """The program of the figures, built in release."""
    # Without the features for AWS. They take most of the time of a build, and no figure here needs
    # them.
    command = ["cargo", "build", "--release", "--no-default-features", "--bench", "figures"]
    command.append("--message-format=json-render-diagnostics")
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    output = subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    for line in output.stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "figures" and message.get("executable"):
            return message["executable"]
    sys.exit(f"{checkout}: cargo named no program `figures`")


def measured(program, checkout, group, records, folder):
    """The figures of a group by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DELTAFOLD_BENCH_RECORDS": str(records), "DELTAFOLD_BENCH_DIR": str(folder)}
    subprocess.run([program, group], cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((folder.parent / "figures.json").read_text(encoding="utf-8"))
    return {figure["figure"]: figure for figure in report["figures"] if not figure["figure"].startswith(("0 ms", "25 ms"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("words", nargs="*", help="measure groups whose names hold one of these")
    parser.add_argument("--records", type=int, default=1_000_000)
    arguments = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
    work = target / "beside"
    other = work / arguments.commit
    if not other.exists():
        subprocess.run(["git", "worktree", "add", "--detach", other, arguments.commit], cwd=REPOSITORY, check=True)
    builds = [("before", other), ("after", REPOSITORY)]
    programs = {name: built(checkout, target) for name, checkout in builds}
    print("| figure | before | after | value before | value after | after / before | goal |")
    print("|---|---|---|---|---|---|---|")
    for group in GROUPS:
        if arguments.words and not any(word in group for word in arguments.words):
            continue
        found = {
            name: measured(programs[name], checkout, group, arguments.records, work / name / "figures")
            for name, checkout in builds
        }
        for name, after in found["after"].items():
            before = found["before"].get(name)
            if before is None:
                print(f"| {name} | - | {after['measured']} | - | {after['value']:.2f} | - | {after['goal']} |")
                continue
            ratio = after["value"] / before["value"] if before["value"] else float("nan")
            print(
                f"| {name} | {before['measured']} | {after['measured']} | {before['value']:.2f} "
                f"| {after['value']:.2f} | {ratio:.2f} | {after['goal']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
