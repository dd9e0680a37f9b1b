"""Types of arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Union

import numpy as np
import numpy.typing as npt

__all__ = [
    "ArrowArray",
    "ArrowStream",
    "ArrowTable",
    "Document",
    "Embeddings",
    "Field",
    "FileFormat",
    "Float32Array",
    "Float64Array",
    "Level",
    "Metadata",
    "MetadataChange",
    "Metric",
    "Order",
    "Value",
    "Vector",
    "Where",
]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

Value = Union[str, int, float, bool, Sequence[str], Sequence[int], Sequence[float], Sequence[bool]]
"""One metadata value: a scalar, or a list of scalars of one type. An int has 64 bits."""

Metadata = Mapping[str, Value]
"""Metadata of a record."""

MetadataChange = Mapping[str, Union[Value, None]]
"""Changes to metadata by key. ``None`` removes the key."""

Document = Union[str, None]

Vector = Union[npt.NDArray[np.floating[Any]], npt.NDArray[np.integer[Any]], Sequence[float]]
"""One vector, of the collection's dimension."""

Embeddings = Union[
    npt.NDArray[np.floating[Any]],
    npt.NDArray[np.integer[Any]],
    Sequence[Union[Vector, None]],
]
"""Embeddings of shape (rows, dimension).

A C-contiguous array of 32-bit floats is copied once, into the log. Arrays of other numbers and
lists are converted to 32-bit floats first.
"""

Where = Mapping[str, Any]
"""A filter in the form of Chroma's ``where`` or ``where_document``."""

Field = Literal["embeddings", "metadatas", "documents", "ids", "distances"]
FileFormat = Literal["jsonl", "parquet", "arrow"]
Order = Literal["insertion", "id"]
Metric = Literal["l2", "cosine", "inner-product", "ip"]
Level = Literal["columns", "documents", "signs", "bytes", "rows"]


class ArrowStream(Protocol):
    """Tables of pyarrow, polars and pandas, record batch readers, scans of deltafold."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


class ArrowArray(Protocol):
    """Record batches."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...


ArrowTable = Union[ArrowStream, ArrowArray]
"""Anything that offers batches of Arrow by the PyCapsule interface."""
