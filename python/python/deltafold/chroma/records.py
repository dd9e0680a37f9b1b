"""Records: from the arguments of calls to JSON, and back."""

# Values of any type come in here, so their parts are unknown.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Sequence
from typing import Any, Optional

import numpy as np

from deltafold.chroma.types import (
    DTYPES,
    SPARSE_VECTOR_TYPE_VALUE,
    TYPE_KEY,
    Embedding,
    Embeddings,
    SparseVector,
)


def many(target: Any) -> Optional[list[Any]]:
    """A list of what may be one or several."""
    if target is None or isinstance(target, list):
        return target
    return list(target) if isinstance(target, tuple) else [target]


def normalized_embeddings(target: Any) -> Optional[Embeddings]:
    """Embeddings as a list of arrays.

    >>> normalized_embeddings([1, 2])
    [array([1., 2.], dtype=float32)]
    >>> normalized_embeddings([[1.0, 2.0], [3.0, 4.0]])
    [array([1., 2.], dtype=float32), array([3., 4.], dtype=float32)]
    """
    if target is None:
        return None
    if len(target) == 0:
        raise ValueError(f"Expected Embeddings to be non-empty list or numpy array, got {target}")
    if isinstance(target, np.ndarray):
        if target.ndim == 1:
            return [target]
        if target.ndim == 2:
            return list(target)
    elif isinstance(target, list):
        first = target[0]
        if isinstance(first, np.ndarray):
            return target
        # A number beyond the range becomes infinite, and the store refuses it.
        with np.errstate(over="ignore"):
            if _is_number(first):
                return [np.array(target, dtype=np.float32)]
            if isinstance(first, list) and first and _is_number(first[0]):
                return [np.array(row, dtype=np.float32) for row in target]
    raise ValueError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list of "
        f"numpy arrays, got {target}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_embeddings(embeddings: Any) -> Embeddings:
    """Refuses what is no list of arrays of numbers."""
    if not isinstance(embeddings, (list, np.ndarray)):
        raise ValueError(f"Expected embeddings to be a list, got {type(embeddings).__name__}")
    if len(embeddings) == 0:
        raise ValueError(f"Expected embeddings to be a list with at least one item, got {len(embeddings)} embeddings")
    if not all(isinstance(embedding, np.ndarray) for embedding in embeddings):
        raise ValueError(
            "Expected each embedding in the embeddings to be a numpy array, got "
            f"{list({type(embedding).__name__ for embedding in embeddings})}"
        )
    for at, embedding in enumerate(embeddings):
        if embedding.ndim == 0:
            raise ValueError(f"Expected a 1-dimensional array, got a 0-dimensional array {embedding}")
        if embedding.size == 0:
            raise ValueError(
                "Expected each embedding in the embeddings to be a 1-dimensional numpy array with at least 1 "
                f"int/float value. Got a 1-dimensional numpy array with no values at pos {at}"
            )
        if embedding.ndim > 1:
            raise ValueError(f"Expected a 1-dimensional array, got a {embedding.ndim}-dimensional array {embedding}")
        if embedding.dtype not in DTYPES:
            raise ValueError(
                "Expected each value in the embedding to be a int or float, got an embedding with "
                f"{embedding.dtype} - {embedding}"
            )
    return list(embeddings)


def packed(embeddings: Optional[Sequence[Embedding]]) -> Optional[list[str]]:
    """Embeddings as base64 of little-endian floats of 32 bits.

    >>> packed([np.array([1.0, 2.0])])
    ['AACAPwAAAEA=']
    """
    if embeddings is None:
        return None
    # A number beyond the range becomes infinite, and the store refuses it.
    with np.errstate(over="ignore"):
        return [
            b2a_base64(np.asarray(embedding, dtype="<f4").tobytes(), newline=False).decode()
            for embedding in embeddings
        ]


def unpacked(rows: Optional[Sequence[str]]) -> Any:
    """Embeddings of an answer: an array of float32, one row a record.

    Where records differ in length, or some have no embedding, a list of arrays and None.
    """
    if rows is None:
        return None
    raw = [a2b_base64(row) for row in rows]
    lengths = {len(row) for row in raw}
    if len(lengths) > 1 or lengths == {0}:
        return [np.frombuffer(bytearray(row), dtype="<f4") if row else None for row in raw]
    if not raw:
        return np.empty((0,), dtype=np.float32)
    return np.frombuffer(bytearray(b"".join(raw)), dtype="<f4").reshape(len(raw), -1)


def normalized_metadatas(metadatas: Any) -> Optional[list[Any]]:
    """Metadata as a list. Sparse vectors become objects, which checks them."""
    listed = many(metadatas)
    if listed is None:
        return None
    return [sparse_read(metadata) if isinstance(metadata, dict) else metadata for metadata in listed]


def sparse_read(metadata: dict[str, Any]) -> dict[str, Any]:
    """Makes objects of sparse vectors."""
    return {
        key: SparseVector.from_dict(value) if _is_sparse(value) else value for key, value in metadata.items()
    }


def _is_sparse(value: Any) -> bool:
    return isinstance(value, dict) and value.get(TYPE_KEY) == SPARSE_VECTOR_TYPE_VALUE


def metadatas_read(metadatas: Optional[Iterable[Any]]) -> Optional[list[Any]]:
    """Metadata of an answer."""
    if metadatas is None:
        return None
    return [None if metadata is None else sparse_read(metadata) for metadata in metadatas]


def text(document: Any) -> bytes:
    """A request as JSON."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json).encode()


def _json(value: Any) -> Any:
    # Sparse vectors of the package `chromadb` have the same method.
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON; give numbers, strings or booleans")
