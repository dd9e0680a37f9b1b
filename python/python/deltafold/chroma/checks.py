"""Checks of arguments, with the messages of the package ``chromadb``."""

# Values of any type come in here, so their parts are unknown.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Optional

import numpy as np

from deltafold.chroma.errors import DuplicateIDError
from deltafold.chroma.records import checked_embeddings
from deltafold.chroma.types import SparseVector

INCLUDABLE = ("documents", "embeddings", "metadatas", "distances", "uris", "data")
"""Fields that an answer may hold."""
RESERVED_KEY = "chroma:document"
"""Key of the document in Chroma's own files."""

_COMPARISONS = ("$gt", "$gte", "$lt", "$lte")
_LISTS = ("$in", "$nin")
_CONTAINS = ("$contains", "$not_contains")
_OPERATORS = (*_COMPARISONS, "$ne", "$eq", *_LISTS, *_CONTAINS)
_OWN_OPERATORS = ("$exists", "$startsWith")
_DOCUMENT_OPERATORS = ("$contains", "$not_contains", "$regex", "$not_regex", "$and", "$or")


@contextmanager
def in_call(name: str) -> Generator[None, None, None]:
    """Adds the name of the call to the message of an exception."""
    try:
        yield
    except Exception as error:
        # An exception may take several arguments; the first is the message.
        if error.args:
            error.args = (f"{error} in {name}.", *error.args[1:])
        raise


def same_lengths(records: dict[str, Optional[list[Any]]]) -> None:
    """Refuses lists that are empty or differ in length."""
    given = {name: values for name, values in records.items() if values is not None}
    if not given:
        raise ValueError(f"At least one of one of {', '.join(records)} must be provided")
    empty = [name for name, values in given.items() if len(values) == 0]
    if empty:
        raise ValueError(f"Non-empty lists are required for {empty}")
    if len({len(values) for values in given.values()}) > 1:
        lengths = ", ".join(f"{name}: {len(values)}" for name, values in given.items())
        raise ValueError(f"Unequal lengths for fields: {lengths}")


def base_records(records: dict[str, Optional[list[Any]]]) -> None:
    """Checks embeddings, documents and images."""
    same_lengths(records)
    embeddings, listed, images = records["embeddings"], records["documents"], records["images"]
    if embeddings is not None:
        checked_embeddings(embeddings)
    if listed is not None:
        documents(listed, nullable=embeddings is not None)
    for image in images or []:
        if not isinstance(image, np.ndarray) or image.ndim < 2:
            raise ValueError(f"Expected image to be a numpy array, got {image}")


def insert_records(records: dict[str, Optional[list[Any]]]) -> None:
    """Checks the records of ``add``, ``update`` and ``upsert``."""
    base_records(records)
    ids(records["ids"])
    for record in records["metadatas"] or []:
        metadata(record)


def ids(values: Any) -> None:
    """Refuses ids that are no strings, and ids that occur twice."""
    if not isinstance(values, list):
        raise ValueError(f"Expected IDs to be a list, got {type(values).__name__} as IDs")
    if len(values) == 0:
        raise ValueError(f"Expected IDs to be a non-empty list, got {len(values)} IDs")
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"Expected ID to be a str, got {value}")
        if value in seen:
            twice[value] = None
        seen.add(value)
    if not twice:
        return
    if len(twice) < 10:
        raise DuplicateIDError(f"Expected IDs to be unique, found duplicates of: {', '.join(twice)}")
    some = list(twice)
    shown = f"{', '.join(some[:5])}, ..., {', '.join(some[-5:])}"
    raise DuplicateIDError(f"Expected IDs to be unique, found {len(twice)} duplicated IDs: {shown}")


def documents(values: Any, nullable: bool = False) -> None:
    """Refuses documents that are no strings. Some may be None beside embeddings."""
    for value in values:
        if not isinstance(value, str) and not (value is None and nullable):
            raise ValueError(f"Expected document to be a str, got {value}")


def metadata(value: Any) -> None:
    """Checks the metadata of a record or a collection."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise ValueError(f"Expected metadata to be a dict or None, got {type(value).__name__} as metadata")
    if len(value) == 0:
        raise ValueError(f"Expected metadata to be a non-empty dict, got {len(value)} metadata attributes")
    for key, held in value.items():
        if key == RESERVED_KEY:
            raise ValueError(f"Expected metadata to not contain the reserved key {RESERVED_KEY}")
        if not isinstance(key, str):
            raise TypeError(f"Expected metadata key to be a str, got {key} which is a {type(key).__name__}")
        if isinstance(held, list):
            _metadata_list(key, held)
        elif isinstance(held, int):
            _fits(key, held)
        elif not (held is None or isinstance(held, (str, int, float, bool)) or _is_sparse_vector(held)):
            raise ValueError(
                "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, "
                f"got {held} which is a {type(held).__name__}"
            )


def _is_sparse_vector(value: Any) -> bool:
    # The class of the package `chromadb` has the same name and form.
    return isinstance(value, SparseVector) or type(value).__name__ == "SparseVector"


def _metadata_list(key: str, values: list[Any]) -> None:
    if len(values) == 0:
        raise ValueError(f"Expected metadata list value for key '{key}' to be non-empty")
    kinds = {type(value) for value in values}
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        raise ValueError(
            f"Expected metadata list value for key '{key}' to contain only str, int, float, or bool "
            f"and all elements must be the same type, got {values}"
        )
    if kinds == {int}:
        for value in values:
            _fits(key, value)


def _fits(key: str, value: int) -> None:
    # JSON would round it.
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"Expected metadata value for key '{key}' to fit 64 bits, got {value}")


def where(value: Any) -> None:
    """Checks a filter on metadata."""
    if not isinstance(value, dict):
        raise ValueError(f"Expected where to be a dict, got {value}")
    if len(value) != 1:
        raise ValueError(f"Expected where to have exactly one operator, got {value}")
    for key, operand in value.items():
        if not isinstance(key, str):
            raise ValueError(f"Expected where key to be a str, got {key}")
        if key in _CONTAINS:
            raise ValueError(
                f"Expected where key to be a metadata field name or a logical operator ($and, $or), got {key}"
            )
        if key == "$not":
            where(operand)
        elif key in ("$and", "$or"):
            _clauses(operand)
        elif key not in _LISTS and not isinstance(operand, (str, int, float, dict)):
            raise ValueError(
                f"Expected where value to be a str, int, float, or operator expression, got {operand}"
            )
        elif isinstance(operand, dict):
            _expression(key, operand)


def _clauses(clauses: Any) -> None:
    if not isinstance(clauses, list):
        raise ValueError(
            f"Expected where value for $and or $or to be a list of where expressions, got {clauses}"
        )
    if len(clauses) <= 1:
        raise ValueError(
            "Expected where value for $and or $or to be a list with at least two where expressions, "
            f"got {clauses}"
        )
    for clause in clauses:
        where(clause)


def _expression(key: str, expression: dict[Any, Any]) -> None:
    if len(expression) != 1:
        raise ValueError(f"Expected operator expression to have exactly one operator, got {expression}")
    for operator, operand in expression.items():
        if operator in _COMPARISONS and not isinstance(operand, (int, float)):
            raise ValueError(
                f"Expected operand value to be an int or a float for operator {operator}, got {operand}"
            )
        if operator in _LISTS and not isinstance(operand, list):
            raise ValueError(f"Expected operand value to be an list for operator {operator}, got {operand}")
        if operator in _CONTAINS:
            if key == "#document" and not isinstance(operand, str):
                raise ValueError(
                    f"Expected operand value to be a str for operator {operator} on #document, got {operand}"
                )
            if not isinstance(operand, (str, int, float, bool)):
                raise ValueError(
                    f"Expected operand value to be a str, int, float, or bool for operator {operator}, got {operand}"
                )
        if operator not in _OPERATORS and operator not in _OWN_OPERATORS:
            raise ValueError(
                "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, "
                f"$contains, $not_contains, got {operator}"
            )
        if not isinstance(operand, (str, int, float, bool, list)):
            raise ValueError(
                "Expected where operand value to be a str, int, float, bool, or list of those type, "
                f"got {operand}"
            )
        if isinstance(operand, list) and not _is_homogeneous(operand):
            raise ValueError(
                "Expected where operand value to be a non-empty list, and all values to be of the same type "
                f"got {operand}"
            )


def _is_homogeneous(values: list[Any]) -> bool:
    return len(values) > 0 and all(isinstance(value, type(values[0])) for value in values)


def where_document(value: Any) -> None:
    """Checks a filter on documents."""
    if not isinstance(value, dict):
        raise ValueError(f"Expected where document to be a dictionary, got {value}")
    if len(value) != 1:
        raise ValueError(f"Expected where document to have exactly one operator, got {value}")
    for operator, operand in value.items():
        if operator == "$not":
            where_document(operand)
        elif operator == "$exists" and isinstance(operand, bool):
            continue
        elif operator not in _DOCUMENT_OPERATORS:
            raise ValueError(
                "Expected where document operator to be one of $contains, $not_contains, $regex, $not_regex, "
                f"$and, $or, got {operator}"
            )
        elif operator in ("$and", "$or"):
            _document_clauses(operand)
        elif not isinstance(operand, str):
            raise ValueError(
                f"Expected where document operand value for operator {operator} to be a str, got {operand}"
            )
        elif len(operand) == 0:
            raise ValueError(
                f"Expected where document operand value for operator {operator} to be a non-empty str"
            )


def _document_clauses(clauses: Any) -> None:
    if not isinstance(clauses, list):
        raise ValueError(
            f"Expected document value for $and or $or to be a list of where document expressions, got {clauses}"
        )
    if len(clauses) <= 1:
        raise ValueError(
            "Expected document value for $and or $or to be a list with at least two where document expressions, "
            f"got {clauses}"
        )
    for clause in clauses:
        where_document(clause)


def filters(on_metadata: Any, on_document: Any) -> None:
    """Checks both filters of a call."""
    if on_metadata is not None:
        where(on_metadata)
    if on_document is not None:
        where_document(on_document)


def include(value: Any, disallowed: tuple[str, ...] = ()) -> None:
    """Checks the fields that an answer should hold."""
    if not isinstance(value, list):
        raise ValueError(f"Expected include to be a list, got {value}")
    for item in value:
        if not isinstance(item, str):
            raise ValueError(f"Expected include item to be a str, got {item}")
        if item not in INCLUDABLE:
            raise ValueError(f"Expected include item to be one of {', '.join(INCLUDABLE)}, got {item}")
        if item in disallowed:
            raise ValueError(f"Include item cannot be one of {', '.join(disallowed)}, got {item}")


def page(limit: Any, offset: Any) -> None:
    """Checks the most records of ``get``, and those left out before them."""
    for name, value in (("limit", limit), ("offset", offset)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"Expected {name} to be a non-negative int, got {value}")


def n_results(value: Any) -> None:
    """Checks the number of neighbours."""
    if not isinstance(value, int):
        raise ValueError(f"Expected requested number of results to be a int, got {value}")
    if value <= 0:
        raise TypeError(f"Number of requested results {value}, cannot be negative, or zero.")


def limit(value: Any, is_filtered: bool) -> None:
    """Checks the most records that ``delete`` takes."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("limit must be a non-negative integer")
    if value < 0:
        raise ValueError("limit must be a non-negative integer")
    if not is_filtered:
        raise ValueError("limit can only be specified when a where or where_document clause is provided")
