"""Fixtures of the tests of the package."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import hypothesis
import pytest

import deltafold

# A shell starts programs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A plugin for an environment that has the package chromadb.
collect_ignore = ["chroma_own.py"]

hypothesis.settings.register_profile(
    "gate",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "20")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("gate")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """An empty store in a local folder."""
    return str(tmp_path / "store")


@pytest.fixture(params=["folder", "bucket", "emulator"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> deltafold.Store:
    """An empty store: in a folder, in a bucket of a test server, and in one of an emulator of AWS."""
    if request.param == "folder":
        return deltafold.open(tmp_path / "store")
    variable = f"DELTAFOLD_TEST_{request.param.upper()}"
    bucket = os.environ.get(variable)
    if bucket is None:
        pytest.skip(f"{variable} names no bucket; `cargo test` starts a server")
    path, options = bucket.split("?")
    return deltafold.open(f"{path}/{uuid.uuid4().hex}?{options}")
