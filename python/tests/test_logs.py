"""Events of the engine reach `logging`."""

from __future__ import annotations

import subprocess
import sys


def test_events_become_records_of_loggers(folder: str) -> None:
    code = """
import logging, sys, time, deltafold
seen = []
class Handler(logging.Handler):
    def emit(self, record): seen.append((record.name, record.levelname, record.getMessage()))
logging.getLogger().addHandler(Handler())
logging.getLogger().setLevel(logging.DEBUG)
assert deltafold.log_to_logging("deltafold=trace")
assert not deltafold.log_to_logging("info"), "the first call decides"
articles = deltafold.open(sys.argv[1]).create("articles", dimension=2)
articles.put(ids=["a"])
articles.compact()
until = time.monotonic() + 20
while not seen and time.monotonic() < until:
    time.sleep(0.01)
print(sorted({name.split(".")[0] for name, _, _ in seen}))
"""
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['deltafold']", done.stdout + done.stderr
