"""Other threads run while a call works: it has released the lock of the interpreter."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import deltafold

EMPTY = b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"


class Bucket(BaseHTTPRequestHandler):
    """An empty bucket, served by threads of this interpreter."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("x-amz-request-id", "1")
        self.send_header("content-length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_call_waits_for_an_answer_of_the_same_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lock held no thread could answer, and the call would fail after some attempts."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{server.server_port}"
            store = deltafold.open(f"s3://b/x?region=us-east-1&endpoint={endpoint}&first_byte_timeout=3")
            assert store.list() == []
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def counting() -> Iterator[list[int]]:
    """A thread that counts whenever it has the lock, and gets it only from those who release it."""
    turns, begun, stop = [0], threading.Event(), threading.Event()

    def count() -> None:
        begun.set()
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    thread = threading.Thread(target=count)
    try:
        thread.start()
        begun.wait()
        yield turns
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def lets_count(call: Callable[[], object]) -> bool:
    """Whether the thread counted while the call ran.

    The machine may be busy, so it runs up to 20 times.
    """
    with counting() as turns:
        for _ in range(20):
            before = turns[0]
            call()
            if turns[0] > before:
                return True
    return False


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="it has no lock")
def test_the_counter_counts_only_while_the_lock_is_free() -> None:
    rows = np.ones((200, 1_000), np.float32)
    assert not lets_count(lambda: rows.tolist())
    assert lets_count(lambda: time.sleep(0.001))


def test_embeddings_are_copied_without_the_lock(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=1_000)
    ids, rows = [str(n) for n in range(2_000)], np.ones((2_000, 1_000), np.float32)
    made = articles._collection._made
    assert made(ids, rows) == 2_000
    assert lets_count(lambda: made(ids, rows))


def test_columns_of_arrow_are_made_without_the_lock(folder: str) -> None:
    articles = deltafold.open(folder).create("articles", dimension=1_000)
    ids = [str(n) for n in range(2_000)]
    articles.put(ids=ids, embeddings=np.ones((2_000, 1_000), np.float32))
    records = articles.get(ids, include=["embeddings"])
    assert lets_count(records.__arrow_c_stream__)
