"""Writes and reads of collections, on a folder and in a bucket."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import deltafold
from deltafold import Op


def filled(store: deltafold.Store) -> deltafold.Collection:
    articles = store.create("articles", dimension=2)
    ack = articles.upsert(
        ids=["a", "b", "c"],
        embeddings=np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], np.float32),
        metadatas=[{"lang": "en", "year": 2020, "tags": ["x", "y"]}, {"lang": "de", "score": 0.5}, None],
        documents=["first", None, "third"],
    )
    assert (ack.appended, ack.duplicates, len(ack.segments)) == (3, 0, 1)
    return articles


def test_records_come_back_as_they_were_written(store: deltafold.Store) -> None:
    articles = filled(store)
    found = articles.get(["c", "a", "missing"])
    assert found.ids == ["c", "a"]
    assert found.metadatas == [{}, {"lang": "en", "year": 2020, "tags": ["x", "y"]}]
    assert found.documents == ["third", "first"]
    assert found.embeddings is not None
    np.testing.assert_array_equal(found.embeddings, np.array([[0.5, 0.5], [0.0, 1.0]], np.float32))
    assert "a" in articles and "d" not in articles
    assert articles.count() == len(articles) == 3


def test_a_query_finds_the_nearest_records(store: deltafold.Store) -> None:
    articles = filled(store)
    result = articles.query([0.1, 0.9], k=2)
    assert result.ids == ["a", "c"]
    assert result.distances.dtype == np.float64
    np.testing.assert_allclose(result.distances, [0.02, 0.32], rtol=1e-6)
    assert [(hit.id, hit.document, hit.query) for hit in result] == [("a", "first", 0), ("c", "third", 0)]
    many = articles.query(np.eye(2, dtype=np.float64), k=1, include=["embeddings"])
    assert (many.ids, many.offsets, many.queries) == (["b", "a"], [0, 1, 2], 2)
    assert many.metadatas is None and many.documents is None
    assert many.embeddings is not None and many.embeddings.shape == (2, 2)
    assert [hit.id for hit in many.hits(1)] == ["a"]
    assert articles.query([0.1, 0.9], k=2, exact=False).ids == ["a", "c"]


def test_filters_are_those_of_chroma(store: deltafold.Store) -> None:
    articles = filled(store)
    assert articles.query([0.0, 1.0], where={"lang": {"$in": ["de", "fr"]}}).ids == ["b"]
    assert articles.find({"year": {"$gte": np.int64(2020)}}).ids == ["a"]
    assert articles.find(where_document={"$contains": "ird"}).ids == ["c"]
    both = articles.find({"lang": "en"}, where_document={"$contains": "third"})
    assert both.ids == []
    assert articles.count({"lang": "en"}) == 1
    articles.update(ids=["a"], documents=["changed"])
    assert articles.find(order="insertion", offset=1, limit=1).ids == ["b"]
    assert articles.find({"lang": {"$exists": True}}, order="id", limit=1).ids == ["a"]
    with pytest.raises(deltafold.InvalidInput, match=r"^where: .*\$bad"):
        articles.find({"lang": {"$bad": 1}})
    with pytest.raises(deltafold.InvalidInput, match="^where_document: "):
        articles.find(where_document={"lang": 1})


def test_writes_differ_as_their_names_say(store: deltafold.Store) -> None:
    articles = filled(store)
    articles.upsert(ids=["a", "d"], metadatas=[{"lang": None, "new": True}, {"lang": "fr"}])
    articles.add(ids=["a", "e"], documents=["ignored", "fifth"])
    articles.update(ids=["b", "f"], documents=["second", "ignored"])
    articles.put(ids=["c"], metadatas=[{"whole": 1}])
    articles.delete(["d"])
    found = articles.find(order="id", include=["metadatas", "documents"])
    assert list(zip(found.ids, found.metadatas or [], found.documents or [])) == [
        ("a", {"new": True, "year": 2020, "tags": ["x", "y"]}, "first"),
        ("b", {"lang": "de", "score": 0.5}, "second"),
        ("c", {"whole": 1}, None),
        ("e", {}, "fifth"),
    ]
    assert articles.delete_where({"whole": 1}) == 1
    assert articles.find().ids == ["a", "b", "e"]
    with pytest.raises(deltafold.InvalidInput, match="where: give a filter"):
        articles.delete_where()


def test_ops_with_a_position_take_effect_once(store: deltafold.Store) -> None:
    articles = store.create("articles", dimension=2)
    ops = [Op.put("a", embedding=[1, 2], document="one"), Op.delete("b")]
    assert articles.append(ops, source="queue", position=7).appended == 2
    again = articles.append(ops, source="queue", position=7)
    assert (again.appended, again.duplicates) == (0, 2)
    run = articles.append([Op.patch("a", document=None), Op.add("c")], source="file", positions=[1, 2])
    assert run.appended == 2
    assert articles.append([Op.add("c"), Op.add("d")], source="file", positions=[2, 3]).duplicates == 1
    assert articles.find(order="id").documents == [None, None, None]
    with pytest.raises(deltafold.InvalidInput, match="`position` for all ops"):
        articles.append(ops, position=1)
    with pytest.raises(deltafold.InvalidInput, match="ops, row 1: .*Op.put"):
        articles.append([ops[0], "b"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]


def test_a_collection_ordered_by_revision_takes_any_order(store: deltafold.Store) -> None:
    prices = store.create("prices", dimension=1, ordering="revision", keep_tombstones=60.0)
    prices.put(ids=["a"], documents=["new"], revisions=[2**100])
    prices.put(ids=["a", "b"], documents=["old", "b"], revisions=[5, 1])
    found = prices.find(order="id")
    assert (found.documents, found.revisions) == (["new", "b"], [2**100, 1])
    prices.delete("b", revision=2)
    assert prices.find().ids == ["a"]
    with pytest.raises(deltafold.InvalidInput, match="give the revision of the deletes"):
        prices.delete("a")
    with pytest.raises(deltafold.InvalidInput, match="^revisions, row 0: -1 is no revision"):
        prices.put(ids=["a"], revisions=[-1])


def test_snapshots_stay_and_pins_travel_in_time(store: deltafold.Store) -> None:
    articles = filled(store)
    report = articles.compact()
    assert (report.folds, report.edits[0].rows_out) == (1, 3)
    assert articles.pin("before", ttl=600.0) == [1]
    snapshot = articles.snapshot()
    articles.delete(["a", "b", "c"])
    assert snapshot.count() == 3 and articles.count() == 0
    refreshed = snapshot.refresh()
    assert refreshed.changed and refreshed.new_ops == 3
    assert snapshot.count() == 0
    assert articles.snapshot(pin="before").find(order="id").ids == ["a", "b", "c"]
    assert articles.snapshot(version=1).count() == 3
    with pytest.raises(deltafold.NotFound, match="no pin `other`"):
        articles.snapshot(pin="other")
    with pytest.raises(deltafold.AlreadyExists):
        articles.pin("before")
    assert [pin.name for pin in articles.status().shards[0].pins] == ["before"]
    assert "fold" in [version.kind for version in articles.history().versions]
    articles.unpin("before")
    with pytest.raises(deltafold.NotFound):
        articles.unpin("before")


def test_maintenance_reports_its_work(store: deltafold.Store) -> None:
    articles = filled(store)
    for _ in range(3):
        articles.upsert(ids=["a"], documents=["again"])
        articles.compact(merge_all=True)
    dry = articles.sweep(keep_versions=0, min_age=0.0, dry_run=True)
    assert dry.parts > 0 and dry.bytes > 0
    swept = articles.sweep(keep_versions=0, min_age=0.0)
    assert swept == dry
    assert articles.verify(deep=True).is_sound
    assert articles.count() == 3


def test_a_scan_gives_all_records_in_order(store: deltafold.Store) -> None:
    articles = store.create("articles", dimension=2, shards=3)
    ids = [f"{number:04}" for number in range(100)]
    articles.put(ids=ids, embeddings=np.ones((100, 2), np.float16), metadatas=[{"n": n} for n in range(100)])
    batches = list(articles.scan(batch_rows=33))
    assert [len(batch) for batch in batches] == [33, 33, 33, 1]
    assert [id for batch in batches for id in batch.ids] == ids
    cut = articles.scan(prefix="00", start="0010", end="0015", include=["metadatas"])
    assert [record.metadata for batch in cut for record in batch] == [{"n": n} for n in range(10, 15)]


def test_the_log_is_followed(store: deltafold.Store) -> None:
    articles = filled(store)
    articles.append([Op.patch("a", document=None, metadata={"year": None}), Op.delete("b")])
    ops = list(articles.follow(until_end=True))
    assert [op.kind for _, op in ops] == ["upsert", "upsert", "upsert", "patch", "delete"]
    assert ops[3][1] == Op.patch("a", document=None, metadata={"year": None})
    rest = articles.follow(after=ops[2][0], until_end=True)
    assert [op.id for _, op in rest] == ["a", "b"]


def test_a_copy_equals_its_origin(store: deltafold.Store, folder: str) -> None:
    articles = filled(store)
    copy = deltafold.open(folder).create("copy", dimension=2, shards=2)
    report = articles.copy(copy)
    assert (report.written, report.verified) == (3, 3)
    assert copy.find(order="id").ids == ["a", "b", "c"]


def test_a_copy_follows_the_log_while_it_is_told_to(store: deltafold.Store, folder: str) -> None:
    articles = filled(store)
    standby = deltafold.open(folder).create("standby", dimension=2)
    seen: list[tuple[bool, int]] = []

    def go_on(report: deltafold.CopyReport) -> bool:
        """Writes to the origin once the target has caught up. Ends the copy when it has the write."""
        count = standby.count()
        seen.append((report.following, count))
        if report.following and count == 3:
            articles.put(ids=["d"])
        # A copy that brings nothing fails the test, and does not hang.
        return count < 4 and len(seen) < 5_000

    report = articles.copy(standby, follow=go_on, interval=0.002)
    assert seen[-1] == (True, 4), "the op came by the log"
    assert (report.transfers, report.written, report.verified, report.following) == (1, 3, 4, False)
    assert report.ops - report.repeated >= 1 and report.digest
    assert standby.find(order="id").ids == ["a", "b", "c", "d"]

    def fails(_: deltafold.CopyReport) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        articles.copy(standby, follow=fails, interval=0.002)
    with pytest.raises(deltafold.InvalidInput, match="^follow is of type `str`; give True"):
        articles.copy(standby, follow="yes")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_earlier_states_are_copied_and_exported(store: deltafold.Store, folder: str, tmp_path: Path) -> None:
    articles = filled(store)
    articles.compact()
    articles.pin("before")
    articles.delete(["a", "b"])
    states: dict[str, dict[str, Any]] = {"pinned": {"pin": "before"}, "versioned": {"version": 1}, "now": {}}
    for name, at in states.items():
        expected = ["c"] if name == "now" else ["a", "b", "c"]
        copy = deltafold.open(folder).create(name, dimension=2)
        articles.copy(copy, **at)
        assert copy.find(order="id").ids == expected
        lines = tmp_path / f"{name}.jsonl"
        assert articles.export(lines, order="id", **at) == len(expected)
        assert [json.loads(line)["id"] for line in lines.read_text().splitlines()] == expected
    target = deltafold.open(folder).create("target", dimension=2)
    calls: list[Callable[..., Any]] = [partial(articles.copy, target), partial(articles.export, tmp_path / "x.jsonl")]
    for call in calls:
        with pytest.raises(deltafold.NotFound, match="no pin `other`"):
            call(pin="other")
        with pytest.raises(deltafold.InvalidInput, match="not both"):
            call(pin="before", version=1)
        with pytest.raises(deltafold.InvalidInput, match="2 numbers for 1 shards"):
            call(version=[1, 1])
    with pytest.raises(deltafold.InvalidInput, match="begins with the latest state"):
        articles.copy(target, pin="before", follow=True)


def test_an_export_fills_a_folder(store: deltafold.Store, tmp_path: Path) -> None:
    articles = store.create("articles", dimension=2)
    articles.put(ids=[f"{number:03}" for number in range(200)], documents=["text" * 10] * 200)
    folder = tmp_path / "new" / "exported"
    assert articles.export(folder=folder, format="jsonl", file_size=5_000) == 200
    names = sorted(path.name for path in folder.iterdir())
    assert names[:2] == ["part-00000.jsonl", "part-00001.jsonl"] and len(names) > 2
    lines = [line for name in names for line in (folder / name).read_text().splitlines()]
    assert [json.loads(line)["id"] for line in lines] == [f"{number:03}" for number in range(200)]
    with pytest.raises(deltafold.InvalidInput, match="exists already; name a new or empty folder"):
        articles.export(folder=folder, format="jsonl")
    # An export that broke off leaves such a file.
    broken = tmp_path / "tables.partial"
    broken.mkdir()
    (broken / "part-00007.parquet").write_text("half")
    assert articles.export(folder=tmp_path / "tables", format="parquet") == 200
    tables = list((tmp_path / "tables").iterdir())
    assert [path.name for path in tables] == ["part-00000.parquet"]
    assert parquet.read_table(tables[0]).num_rows == 200
    # The user's own files stay.
    (tmp_path / "own.partial").mkdir()
    (tmp_path / "own.partial" / "mine.txt").touch()
    with pytest.raises(deltafold.InvalidInput, match="`mine.txt` in it is not part of an export"):
        articles.export(folder=tmp_path / "own", format="arrow")
    with pytest.raises(deltafold.InvalidInput, match="^format: "):
        articles.export(folder=tmp_path / "other")
    with pytest.raises(deltafold.InvalidInput, match="or `folder=` for many files"):
        articles.export()
    with pytest.raises(deltafold.InvalidInput, match="or `folder=` for many files"):
        articles.export(tmp_path / "a.jsonl", folder=tmp_path / "b")


def test_an_export_is_whole(store: deltafold.Store, tmp_path: Path) -> None:
    articles = filled(store)
    lines = tmp_path / "records.jsonl"
    assert articles.export(lines) == 3
    assert len(lines.read_text().splitlines()) == 3
    with pytest.raises(deltafold.InvalidInput, match="exists already"):
        articles.export(lines)
    assert articles.export(lines, overwrite=True) == 3
    articles.export(tmp_path / "records.parquet")
    assert sorted(path.name for path in tmp_path.glob("records*")) == ["records.jsonl", "records.parquet"]
    with pytest.raises(deltafold.InvalidInput, match="choose `jsonl`"):
        articles.export(tmp_path / "records.csv")


def test_results_are_pickled(store: deltafold.Store) -> None:
    articles = filled(store)
    result = articles.query([0.1, 0.9], include=["embeddings", "metadatas", "documents"])
    again = pickle.loads(pickle.dumps(result))
    assert list(map(repr, again)) == list(map(repr, result))
    np.testing.assert_array_equal(again.embeddings, result.embeddings)
    records = articles.find(include=["documents"])
    assert list(pickle.loads(pickle.dumps(records))) == list(records)


def test_stores_list_create_and_drop_collections(store: deltafold.Store) -> None:
    filled(store)
    assert store.list() == ["articles"]
    with pytest.raises(deltafold.AlreadyExists, match="`articles` exists already"):
        store.create("articles", dimension=2)
    assert store.create("articles", dimension=2, exists_ok=True).count() == 3
    assert store.collection("articles").config.dimension == 2
    with pytest.raises(deltafold.NotFound, match="no collection `other`"):
        store.collection("other")
    assert store.drop("articles").objects > 0
    assert store.list() == []


def test_errors_are_those_of_python_too(folder: str) -> None:
    with pytest.raises(ValueError, match="^metric: `dot` is no metric; choose"):
        deltafold.open(folder).create("a", 2, metric="dot")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(LookupError):
        deltafold.open(folder).collection("a")
    with pytest.raises(deltafold.DeltafoldError, match="gs://bucket"):
        deltafold.open("gs://bucket")
