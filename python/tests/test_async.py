"""The awaitable twins of all calls."""

from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path

import numpy as np
import pytest

import deltafold
from deltafold import AsyncCollection, AsyncSnapshot, AsyncStore, AsyncWriter, Op


def test_every_method_has_a_twin_of_the_same_parameters() -> None:
    renamed = {"__contains__": "contains"}
    left_out = {"__len__", "__bool__", "__iter__", "__enter__", "__exit__", "__init__", "__repr__"}
    pairs: list[tuple[type, type]] = [
        (deltafold.Collection, AsyncCollection),
        (deltafold.Snapshot, AsyncSnapshot),
        (deltafold.Store, AsyncStore),
        (deltafold.Writer, AsyncWriter),
    ]
    for sync, twin in pairs:
        for name, method in inspect.getmembers(sync, inspect.isfunction):
            if name in left_out or (name.startswith("_") and name not in renamed):
                continue
            other = getattr(twin, renamed.get(name, name))
            assert list(inspect.signature(method).parameters) == list(inspect.signature(other).parameters), name
            assert method.__doc__ and other.__doc__, f"{name} has a docstring"


def test_a_collection_is_used_without_blocking(folder: str, tmp_path: Path) -> None:
    async def run() -> None:
        store = await deltafold.open_async(folder)
        articles = await store.create("articles", dimension=2)
        ack = await articles.upsert(ids=["a", "b"], embeddings=np.eye(2, dtype=np.float32))
        assert ack.appended == 2
        assert (await articles.query([1.0, 0.0], k=1)).ids == ["a"]
        assert (await articles.get("b")).ids == ["b"]
        assert await articles.contains("a") and await articles.count() == 2
        assert [record.id async for batch in articles.scan() for record in batch] == ["a", "b"]
        await articles.append([Op.delete("b")], source="s", position=1)
        assert [op.kind async for _, op in articles.follow(until_end=True)] == ["upsert", "upsert", "delete"]
        async with articles.writer() as writer:
            await writer.put(ids=["c"])
            await writer.delete("a")
        assert (await articles.find()).ids == ["c"]
        assert (await articles.compact()).folds == 1
        await articles.pin("p")
        snapshot = await articles.snapshot(pin="p")
        await articles.delete("c")
        assert await snapshot.count() == 1 and await articles.count() == 0
        assert (await articles.verify(deep=True)).is_sound
        assert await articles.export(tmp_path / "all.jsonl") == 0
        standby = await store.create("standby", dimension=2)
        copied = await articles.copy(standby, pin="p")
        assert (copied.verified, await standby.count()) == (1, 1)
        assert (await store.collection("articles")).name == "articles"
        assert await store.list() == ["articles", "standby"]
        assert (await store.drop("articles")).objects > 0
        with pytest.raises(deltafold.NotFound):
            await articles.count()

    asyncio.run(run())


def test_calls_run_side_by_side(folder: str) -> None:
    async def run() -> None:
        store = await deltafold.open_async(folder)
        articles = await store.create("articles", dimension=2)
        await asyncio.gather(*(articles.put(ids=[str(n)], embeddings=[[n, 1]]) for n in range(50)))
        results = await asyncio.gather(*(articles.query([n, 1], k=1) for n in range(50)))
        assert [result.ids[0] for result in results] == [str(n) for n in range(50)]

    asyncio.run(run())


def test_a_copy_follows_beside_the_event_loop(folder: str) -> None:
    async def run() -> None:
        store = await deltafold.open_async(folder)
        articles, standby = await store.create("articles", dimension=2), await store.create("standby", dimension=2)
        await articles.put(ids=["a"])
        stop, caught_up = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def go_on(report: deltafold.CopyReport) -> bool:
            if report.following:
                loop.call_soon_threadsafe(caught_up.set)
            return not stop.is_set()

        copy = asyncio.ensure_future(articles.copy(standby, follow=go_on, interval=0.002))
        await caught_up.wait()
        await articles.put(ids=["b"])
        stop.set()
        report = await copy
        assert (report.verified, await standby.count()) == (2, 2), "the rest was applied"

        copy = asyncio.ensure_future(articles.copy(standby, follow=True, interval=0.002))
        await articles.put(ids=["c"])
        while await standby.count() < 3:
            await asyncio.sleep(0.001)
        copy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copy

    asyncio.run(run())


def test_a_follower_is_cancelled_at_the_end_of_the_log(folder: str) -> None:
    async def run() -> None:
        articles = await (await deltafold.open_async(folder)).create("articles", dimension=2)
        await articles.put(ids=["a"])
        follow = articles.follow(interval=0.01)
        assert (await follow.__anext__())[1].id == "a"
        task = asyncio.ensure_future(follow.__anext__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await articles.put(ids=["b"])
        assert (await follow.__anext__())[1].id == "b", "the follower goes on where it was"

    asyncio.run(run())
