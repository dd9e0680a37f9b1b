"""The program of the package: `python -m deltafold`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import deltafold

PROGRAM = [sys.executable, "-m", "deltafold"]


def run(*arguments: str | bytes, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    names = os.environ | environment
    return subprocess.run([*PROGRAM, *arguments], input=text, capture_output=True, text=True, env=names, timeout=120)


def test_it_works_on_the_collections_of_the_library(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    appended = run("--store", folder, "append", "articles", text='{"op":"put","id":"a","embedding":[0,1]}\n')
    assert appended.returncode == 0, appended.stderr
    assert articles.get("a").ids == ["a"]
    shown = run("--store", folder, "--json", "get", "articles", "a")
    assert json.loads(shown.stdout)["id"] == "a", shown.stdout + shown.stderr


def test_it_has_the_commands_of_every_feature() -> None:
    shown = run("--help").stdout
    for command in ("serve", "import", "ingest", "map", "export", "query"):
        assert f"\n  {command} " in shown, shown


def test_its_exit_codes_and_errors_are_the_programs(folder: str) -> None:
    missing = run("--store", folder, "count", "articles")
    assert missing.returncode == 4 and missing.stderr.startswith("error: "), missing.stderr
    usage = run("--json", "count")
    assert usage.returncode == 2
    assert json.loads(usage.stderr)["error"]["kind"] == "usage"
    assert run("--version").stdout == f"deltafold {deltafold.__version__}\n"


def test_a_path_need_not_be_utf_8(tmp_path: Path) -> None:
    store = os.fsencode(tmp_path / "store") + b"\xff"
    created = run("--store", store, "create", "articles", "--dimension", "2")
    # The program refuses such a path by its name, and Python passes it on unchanged.
    assert created.returncode == 2 and "UTF-8" in created.stderr, created.stderr


def test_a_closed_output_ends_a_scan_in_peace(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    articles.put(ids=[str(number) for number in range(20_000)], documents=["text" * 10] * 20_000)
    scan = subprocess.Popen([*PROGRAM, "--store", folder, "scan", "articles"], stdout=subprocess.PIPE)
    assert scan.stdout is not None
    scan.stdout.readline()
    scan.stdout.close()
    assert scan.wait(60) == 0


def test_ctrl_c_stops_an_append_and_loses_nothing(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=2)
    command = [*PROGRAM, "--store", folder, "append", "articles", "--acks", "--json"]
    append = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert append.stdin is not None and append.stdout is not None and append.stderr is not None
    append.stdin.write('{"op":"put","id":"a"}\n')
    append.stdin.flush()
    assert append.stdout.readline(), "the op is acknowledged"
    append.send_signal(signal.SIGINT)
    assert append.wait(60) == 130, append.stderr.read()
    assert articles.get("a").ids == ["a"]
    for pipe in (append.stdin, append.stdout, append.stderr):
        pipe.close()


def test_it_runs_once_a_process() -> None:
    code = """
from deltafold import _deltafold
assert _deltafold.main(["deltafold", "--version"]) == 0
try:
    _deltafold.main(["deltafold", "--version"])
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "once a process" in done.stdout, done.stdout + done.stderr
