"""Waiting, awaiting, and the ways in which a call ends early."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import deltafold
from deltafold import _deltafold


def test_a_panic_is_an_exception_and_the_process_goes_on() -> None:
    for _ in range(2):
        with pytest.raises(deltafold.errors.Panicked, match="planted by a test.*report"):
            _deltafold._panic().wait()


def test_an_awaited_panic_is_the_same_exception() -> None:
    async def run() -> None:
        await _deltafold._panic().future()

    with pytest.raises(deltafold.errors.Panicked, match="planted by a test"):
        asyncio.run(run())


def test_a_cancelled_call_is_dropped() -> None:
    before = _deltafold._ends()

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_deltafold._forever().future(), 0.01)
        while _deltafold._ends() == before:
            await asyncio.sleep(0.01)

    asyncio.run(run())


def interrupt_once_begun(before: int, turns: list[int]) -> None:
    """Sends the signal of Ctrl-C to this process once the call waits."""
    while _deltafold._begun() == before:
        time.sleep(0.001)
    turns.extend(range(1_000))
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_call_that_lets_other_threads_run() -> None:
    begun, ended = _deltafold._begun(), _deltafold._ends()
    turns: list[int] = []
    thread = threading.Thread(target=interrupt_once_begun, args=(begun, turns))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _deltafold._forever().wait()
    thread.join()
    assert len(turns) == 1_000, "the thread ran while the call waited"
    assert _deltafold._ends() == ended + 1, "the call was dropped"


def test_a_forked_child_is_refused() -> None:
    """A fork copies no threads: without the check, the child would wait for ever."""
    code = """
import os, deltafold
from deltafold import _deltafold
try:
    _deltafold._panic().wait()
except deltafold.errors.Panicked:
    pass
child = os.fork()
if child == 0:
    try:
        _deltafold._panic().wait()
    except deltafold.Forked as error:
        assert "spawn" in str(error)
        os._exit(7)
    os._exit(8)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7", done.stderr


def test_a_call_is_made_once() -> None:
    call = _deltafold._panic()
    with pytest.raises(deltafold.errors.Panicked):
        call.wait()
    with pytest.raises(RuntimeError, match="made already"):
        call.wait()
