"""The types of Chroma's API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Optional, TypedDict, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
OneOrMany = Union[T, list[T]]

ID = str
IDs = list[ID]
Document = str
Documents = list[Document]
URI = str
URIs = list[URI]
Image = NDArray[Any]
Images = list[Image]
Embedding = NDArray[Any]
PyEmbedding = Sequence[Union[int, float]]
Embeddings = list[Embedding]
GivenEmbeddings = Union[Embedding, PyEmbedding, Sequence[Embedding], Sequence[PyEmbedding]]
"""One embedding or several: an array of one or two dimensions, or lists."""

Space = Literal["cosine", "l2", "ip"]
Include = list[Literal["documents", "embeddings", "metadatas", "distances", "uris", "data"]]
Where = dict[str, Any]
WhereDocument = dict[str, Any]
DataLoader = Callable[[URIs], list[Any]]
"""Loads what URIs name: images as arrays."""

TYPE_KEY = "#type"
SPARSE_VECTOR_TYPE_VALUE = "sparse_vector"


@dataclass
class SparseVector:
    """A sparse vector as a value of metadata. It is kept and returned, but not searched.

    ``indices`` ascend strictly. ``values`` and ``labels`` have one element for each.
    """

    indices: list[int]
    values: list[float]
    labels: Optional[list[str]] = None

    def __post_init__(self) -> None:
        for name in ("indices", "values"):
            value = getattr(self, name)
            if not isinstance(value, list):
                raise ValueError(f"Expected SparseVector {name} to be a list, got {type(value).__name__}")
        if len(self.indices) != len(self.values):
            raise ValueError(
                "SparseVector indices and values must have the same length, "
                f"got {len(self.indices)} indices and {len(self.values)} values"
            )
        if self.labels is not None and len(self.labels) != len(self.indices):
            raise ValueError(
                "SparseVector labels must have the same length as indices and values, "
                f"got {len(self.labels)} labels, {len(self.indices)} indices"
            )
        indices: list[Any] = self.indices
        values: list[Any] = self.values
        for at, index in enumerate(indices):
            if not isinstance(index, int):
                raise ValueError(f"SparseVector indices must be integers, got {type(index).__name__} at position {at}")
            if index < 0:
                raise ValueError(f"SparseVector indices must be non-negative, got {index} at position {at}")
            if at > 0 and index <= self.indices[at - 1]:
                raise ValueError(
                    "SparseVector indices must be sorted in strictly ascending order, "
                    f"found indices[{at}]={index} <= indices[{at - 1}]={self.indices[at - 1]}"
                )
        for at, value in enumerate(values):
            if not isinstance(value, (int, float)):
                raise ValueError(f"SparseVector values must be numbers, got {type(value).__name__} at position {at}")

    def to_dict(self) -> dict[str, Any]:
        """The form in JSON."""
        document: dict[str, Any] = {
            TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE,
            "indices": self.indices,
            "values": self.values,
        }
        if self.labels is not None:
            document["tokens"] = self.labels
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SparseVector:
        """Reads the form in JSON."""
        return cls(document["indices"], document["values"], document.get("tokens"))


Scalar = Union[str, int, float, bool]
MetadataValue = Union[Scalar, SparseVector, list[str], list[int], list[float], list[bool], None]
Metadata = Mapping[str, MetadataValue]
Metadatas = Union[Metadata, Sequence[Optional[Metadata]]]
"""The metadata of one record, or a list for several."""
CollectionMetadata = dict[str, Any]


class GetResult(TypedDict):
    """Records in parallel lists. Fields that ``include`` does not name are None."""

    ids: IDs
    embeddings: Optional[Any]
    """Array of float32, one row a record."""
    documents: Optional[list[Optional[Document]]]
    uris: Optional[list[Optional[URI]]]
    data: Optional[list[Any]]
    metadatas: Optional[list[Optional[dict[str, Any]]]]
    included: Include


class QueryResult(TypedDict):
    """Neighbours: for each query a list of records, the nearest first."""

    ids: list[IDs]
    embeddings: Optional[list[Any]]
    """For each query an array of float32, one row a record."""
    documents: Optional[list[list[Optional[Document]]]]
    uris: Optional[list[list[Optional[URI]]]]
    data: Optional[list[list[Any]]]
    metadatas: Optional[list[list[Optional[dict[str, Any]]]]]
    distances: Optional[list[list[float]]]
    included: Include


class DeleteResult(TypedDict):
    """The number of records deleted."""

    deleted: int


class Database(TypedDict):
    """A database of a tenant."""

    id: str
    name: str
    tenant: str


class Tenant(TypedDict):
    """A tenant."""

    name: str


@dataclass
class IndexingStatus:
    """Progress of indexing. Every record is searched as soon as it is written."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    op_indexing_progress: float


class ReadLevel(str, Enum):
    """Levels of Chroma. Every read sees all acknowledged writes, whatever the level."""

    INDEX_AND_WAL = "index_and_wal"
    INDEX_ONLY = "index_only"
    INDEX_AND_BOUNDED_WAL = "index_and_bounded_wal"


DTYPES = (np.float16, np.float32, np.float64, np.int32, np.int64)
"""Types of the numbers of embeddings."""
