"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("example", ["ingest_dataframe", "time_travel"])
def test_an_example_runs(example: str, folder: str) -> None:
    program = [sys.executable, str(EXAMPLES / f"{example}.py"), folder]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
