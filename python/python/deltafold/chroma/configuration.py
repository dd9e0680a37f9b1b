"""Configurations of collections: from the arguments of calls to JSON, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Optional, TypedDict

from deltafold.chroma.functions import is_default, name_of, register_embedding_function, remembered


class HNSWConfiguration(TypedDict, total=False):
    """The index of Chroma. Deltafold keeps the values, and only ``space`` has an effect."""

    space: str
    ef_construction: int
    max_neighbors: int
    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class CollectionConfiguration(TypedDict, total=False):
    """The configuration of a collection."""

    hnsw: Optional[HNSWConfiguration]
    spann: Optional[dict[str, Any]]
    embedding_function: Any


_UPDATABLE = ("ef_search", "num_threads", "batch_size", "sync_threshold", "resize_factor")


def created(configuration: Mapping[str, Any], metadata: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """The configuration of a new collection as JSON."""
    hnsw: Optional[Mapping[str, Any]] = configuration.get("hnsw")
    spann: Optional[Mapping[str, Any]] = configuration.get("spann")
    function: Any = configuration.get("embedding_function")
    if hnsw is not None and spann is not None:
        raise ValueError("hnsw and spann cannot both be provided")
    named = function_document(function)
    if named["type"] == "known":
        if hnsw is None and spann is None and (metadata or {}).get("hnsw:space") is None:
            hnsw = dict[str, Any]()
        hnsw, spann = with_space(hnsw, function), with_space(spann, function)
        chosen = hnsw or spann or {"space": (metadata or {}).get("hnsw:space")}
        space = chosen["space"]
        if space is not None and space not in function.supported_spaces():
            warnings.warn(
                f"space {space} is not supported by {name_of(function)}. "
                f"Supported spaces: {function.supported_spaces()}",
                UserWarning,
                stacklevel=4,
            )
    return {"hnsw": hnsw, "spann": spann, "embedding_function": named}


def with_space(part: Optional[Mapping[str, Any]], function: Any) -> Optional[dict[str, Any]]:
    """Fills in the metric that the embedding function is made for."""
    if part is None or part.get("space") is not None:
        return None if part is None else dict(part)
    return {**part, "space": function.default_space()}


def function_document(function: Any) -> dict[str, Any]:
    """An embedding function as JSON. Its class is registered, so that it is found again."""
    name = name_of(function)
    if function is None or name is None:
        return {"type": "legacy"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if function.is_legacy():
                return {"type": "legacy"}
            document = {"type": "known", "name": name, "config": function.get_config()}
    except Exception as error:
        warnings.warn(f"legacy embedding function config: {error}", DeprecationWarning, stacklevel=5)
        return {"type": "legacy"}
    if not is_default(function):
        register_embedding_function(function.__class__)
    return document


def changed(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a configuration as JSON."""
    hnsw, spann = configuration.get("hnsw"), configuration.get("spann")
    function = configuration.get("embedding_function")
    if hnsw is None and spann is None and function is None:
        return {}
    named = None if function is None else function_document(function)
    return {"hnsw": hnsw, "spann": spann, "embedding_function": named}


def read(document: Mapping[str, Any]) -> CollectionConfiguration:
    """The configuration of a collection."""
    return {
        "hnsw": document.get("hnsw"),
        "spann": document.get("spann"),
        "embedding_function": remembered(document.get("embedding_function")),
    }


def overwritten(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration after changes, both as JSON."""
    merged: dict[str, Any] = dict(document)
    hnsw: Any = changes.get("hnsw")
    if hnsw is not None and merged.get("hnsw") is not None:
        merged["hnsw"] = {**merged["hnsw"], **{key: hnsw[key] for key in _UPDATABLE if key in hnsw}}
    if changes.get("embedding_function") is not None:
        merged["embedding_function"] = changes["embedding_function"]
    return merged


def check_created(function: Any, configured: Any) -> None:
    """Refuses two embedding functions for a new collection."""
    if function is None or configured is None or name_of(function) in (None, "default"):
        return
    if name_of(function) != name_of(configured):
        raise ValueError(
            "Multiple embedding functions provided. Please provide only one. Embedding function conflict: "
            f"{name_of(function)} vs {name_of(configured)}"
        )


def check_got(function: Any, document: Optional[Mapping[str, Any]]) -> None:
    """Refuses another embedding function than the one that the collection was made with."""
    if function is None or document is None or name_of(function) in (None, "default"):
        return
    kept = document.get("name")
    if kept is not None and kept != name_of(function):
        raise ValueError(
            "An embedding function already exists in the collection configuration, and a new one is provided. If "
            "this is intentional, please embed documents separately. Embedding function conflict: new: "
            f"{name_of(function)} vs persisted: {kept}"
        )


def check_changed(document: Optional[Mapping[str, Any]], function: Any) -> None:
    """Refuses a change to an embedding function of another name."""
    kept = (document or {}).get("name")
    if function is None or kept is None or name_of(function) is None:
        return
    if kept != name_of(function):
        raise ValueError(
            f"Cannot update embedding function: incompatible types ({kept} vs {name_of(function)})"
        )
    existing = remembered(dict(document or {}))
    check = getattr(function, "validate_config_update", None)
    if existing is not None and check is not None:
        check(existing.get_config(), function.get_config())
