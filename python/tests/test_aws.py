"""Handlers for AWS Lambda, on events as the service sends them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import deltafold
from deltafold import chroma
from deltafold.aws import InvocationFailed, compact_handler, ingest_handler
from deltafold.errors import InvalidInput


class Context:
    """An invocation that has a minute."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def sqs(*bodies: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{at}",
                "receiptHandle": "r",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "MessageGroupId": f"g{at}",
                    "SequenceNumber": str(100 + at),
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:1:updates.fifo",
                "awsRegion": "eu-west-1",
            }
            for at, body in enumerate(bodies)
        ]
    }


def put(id: str, **metadata: Any) -> dict[str, Any]:
    return {"op": "put", "id": id, "embedding": [1.0, 2.0], "metadata": metadata}


@pytest.fixture
def articles(folder: str) -> chroma.Collection:
    """A collection that has a dimension, and so exists as the functions know it."""
    made = chroma.PersistentClient(folder).create_collection("articles")
    made.add(ids=["first"], embeddings=[[0.0, 0.0]])
    return made


def name(collection: chroma.Collection) -> str:
    return f"http.{collection.id.hex}.{collection.name}"


def test_messages_are_appended_and_bad_ones_are_reported(folder: str, articles: chroma.Collection) -> None:
    handler = ingest_handler(name(articles), store=folder)
    answer = handler(sqs(put("a", n=1), "no JSON", put("b")), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert articles.get()["ids"] == ["first", "a", "b"]
    # A redelivered batch takes effect once.
    articles.delete(ids=["a"])
    assert handler(sqs(put("a", n=1)), Context()) == {"batchItemFailures": []}
    assert articles.get()["ids"] == ["first", "b"]


def test_stream_records_stop_at_the_first_bad_one(folder: str, articles: chroma.Collection, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    rule = f'[[rule]]\ncollection = "{name(articles)}"\nid = "{{pk}}"\nembedding = "vector"\n'
    mapping.write_text(rule, encoding="utf-8")
    handler = ingest_handler(name(articles), store=folder, mapping=mapping)

    def record(at: int, vector: Any) -> dict[str, Any]:
        item = {"pk": {"S": f"item{at}"}, "vector": vector}
        return {
            "eventID": f"e{at}",
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "dynamodb": {"Keys": {"pk": item["pk"]}, "NewImage": item, "SequenceNumber": str(10 + at)},
        }

    good = {"L": [{"N": "1"}, {"N": "2"}]}
    records = [record(0, good), record(1, {"S": "no vector"}), record(2, good)]
    again = [{"itemIdentifier": "11"}, {"itemIdentifier": "12"}]
    assert handler({"Records": records}, Context()) == {"batchItemFailures": again}, "it, and all behind it"
    assert articles.get()["ids"] == ["first", "item0"]


def test_compaction_says_what_it_did(folder: str, articles: chroma.Collection) -> None:
    answer = compact_handler("*", store=folder)({"detail-type": "Scheduled Event"}, Context())
    assert [done["collection"] for done in answer["collections"]] == [name(articles)]
    with pytest.raises(InvocationFailed) as raised:
        compact_handler("*", store=folder)({"collections": ["missing"]}, Context())
    assert raised.value.kind == "NotFound"


def test_settings_come_from_the_environment(
    folder: str, articles: chroma.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTAFOLD_STORE", folder)
    monkeypatch.setenv("DELTAFOLD_COLLECTION", name(articles))
    assert ingest_handler()(sqs(put("a")), Context()) == {"batchItemFailures": []}
    assert articles.count() == 2


def test_the_handlers_of_the_example_work(
    folder: str, articles: chroma.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTAFOLD_STORE", folder)
    monkeypatch.setenv("DELTAFOLD_COLLECTION", name(articles))
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples/lambda/handler.py"))
    assert example["ingest"](sqs(put("a")), Context()) == {"batchItemFailures": []}
    assert [done["collection"] for done in example["compact"]({}, Context())["collections"]] == [name(articles)]


def test_a_store_may_be_given_for_its_address(folder: str, articles: chroma.Collection) -> None:
    handler = ingest_handler(name(articles), store=deltafold.open(folder))
    assert handler(sqs(put("a")), Context()) == {"batchItemFailures": []}


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(InvalidInput) as raised:
        ingest_handler("a,b", mapping="none.toml", fold_segments=0)
    for wrong in ("DELTAFOLD_STORE", "DELTAFOLD_COLLECTION", "none.toml", "DELTAFOLD_FOLD_SEGMENTS"):
        assert wrong in str(raised.value)


def test_envelopes_are_opened(folder: str, articles: chroma.Collection) -> None:
    handler = ingest_handler(name(articles), store=folder)
    topic = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": json.dumps(put("a"))}
    rule = {"detail-type": "rec", "source": "my.app", "detail": put("b")}
    assert handler(sqs(json.dumps(topic)), Context()) == {"batchItemFailures": []}
    assert handler(rule, Context()) == {"batchItemFailures": []}
    assert articles.get()["ids"] == ["first", "a", "b"]


def test_an_event_of_another_service_fails(folder: str, articles: chroma.Collection) -> None:
    handler = ingest_handler(name(articles), store=folder)
    with pytest.raises(InvocationFailed, match="aws:s3") as raised:
        handler({"Records": [{"eventSource": "aws:s3"}]}, Context())
    assert raised.value.kind == "Event"
    assert handler(sqs(put("a")), Context()) == {"batchItemFailures": []}, "the handler goes on"
