"""Handlers for functions of AWS Lambda in Python. They run the code of the functions in Rust.

>>> from deltafold.aws import ingest_handler
>>> handler = ingest_handler("articles", store="s3://bucket/prefix", mapping="mapping.toml")  # doctest: +SKIP

The function is ``MODULE.handler``. Each setting that is left out comes from the environment, under
the name that the functions in Rust read, such as ``DELTAFOLD_STORE``. Make the handler outside of
any function: it keeps its collection and its connections between invocations.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, Optional, Protocol, Union

from deltafold._deltafold import LambdaHandler
from deltafold.errors import DeltafoldError
from deltafold.store import Store

__all__ = ["Context", "InvocationFailed", "compact_handler", "ingest_handler"]


class Context(Protocol):
    """An invocation, as the service describes it."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the service stops the function."""
        ...


Handler = Callable[[Any, Context], dict[str, Any]]
"""Takes an event and its context, and returns the answer."""


class InvocationFailed(DeltafoldError):
    """The whole invocation failed, and the service repeats it. Each op takes effect once.

    ``kind`` is ``Event`` for an event that is not for this function, ``Late`` where the time ran
    out, or the name of an exception of :mod:`deltafold.errors`.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def ingest_handler(
    collection: Optional[str] = None,
    *,
    store: Union[str, Store, None] = None,
    mapping: Union[str, os.PathLike[str], None] = None,
    objects: Optional[str] = None,
    compact_function: Optional[str] = None,
    fold_segments: Optional[int] = None,
    max_receives: Optional[int] = None,
    memory: Optional[str] = None,
) -> Handler:
    """A handler that appends messages of SQS, or records of a stream, to a collection.

    Streams are of DynamoDB or Kinesis. Notifications of SNS, EventBridge and buckets are opened, also
    where they start the function themselves.

    The answer names the messages that failed, or the records that must come again. The event
    source mapping needs ``ReportBatchItemFailures``. Order, redelivery and poison records follow the
    rules of the function ``ingest``.

    - ``collection``: its name.
    - ``store``: the store, or its address.
    - ``mapping``: a mapping file of the package of the function, or an object ``STORE/NAME``.
    - ``objects``: the place of objects that messages may name.
    - ``compact_function``: the function that folds a log of ``fold_segments`` segments (512).
      Without one, this function folds in the remaining time.
    - ``max_receives``: receives after which the queue removes a message (10).
    - ``memory``: a size such as ``512MiB``. Half of the function's memory by default.

    Raises ``InvalidInput``, which names every setting that is wrong. An invocation costs one PUT and
    one conditional GET for each segment that it appends, and a few GETs for the first.
    """
    return _handler(
        "ingest",
        collection,
        store,
        DELTAFOLD_MAPPING=mapping,
        DELTAFOLD_OBJECTS=objects,
        DELTAFOLD_COMPACT_FUNCTION=compact_function,
        DELTAFOLD_FOLD_SEGMENTS=fold_segments,
        DELTAFOLD_MAX_RECEIVES=max_receives,
        DELTAFOLD_MEMORY=memory,
    )


def compact_handler(
    collection: Optional[str] = None, *, store: Union[str, Store, None] = None, memory: Optional[str] = None
) -> Handler:
    """A handler that folds, merges and sweeps what is due: on a schedule, a call, or a message.

    ``collection`` is a name, several with commas, or ``*`` for all of the store. An event may name
    others: ``{"collections": ["articles"]}``. The answer says what was done; for messages of SQS it
    names those that failed.
    """
    return _handler("compact", collection, store, DELTAFOLD_MEMORY=memory)


def _handler(
    function: str, collection: Optional[str], store: Union[str, Store, None], **settings: Any
) -> Handler:
    given: dict[str, Any] = {
        "DELTAFOLD_FUNCTION": function,
        "DELTAFOLD_STORE": store.url if isinstance(store, Store) else store,
        "DELTAFOLD_COLLECTION": collection,
        **settings,
    }
    chosen = {name: str(value) for name, value in given.items() if value is not None}
    engine = LambdaHandler({**os.environ, **chosen})

    def handler(event: Any, context: Context) -> dict[str, Any]:
        deadline = int(time.time() * 1_000) + context.get_remaining_time_in_millis()
        answer, kind, reason = engine.handle(json.dumps(event), context.aws_request_id, deadline).wait()
        if answer is None:
            raise InvocationFailed(kind, reason)
        answered: dict[str, Any] = json.loads(answer)
        return answered

    return handler
