"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("example", ["ingest_dataframe", "time_travel"])
def test_an_example_runs(example: str, folder: str) -> None:
    program = [sys.executable, str(EXAMPLES / f"{example}.py"), folder]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_runs() -> None:
    # They have no types.
    read: Any = nbformat.read
    notebook = read(EXAMPLES / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    shown = {name: "".join(output.get("text", "") for output in made) for name, made in outputs.items()}
    assert outputs["load"][-1].data["text/plain"] == "1500"
    assert "0.0000  bookworm/python/python3-asyncssh\n" in shown["search"]
    assert "bookworm/python/python3-netmiko" in shown["search"], "as in the README"
    assert "1,510 records; sound: True" in shown["check"]
    for name in ("plot", "amplification"):
        assert any("image/png" in output.get("data", {}) for output in outputs[name]), name
