"""Embedding functions: objects that make embeddings of documents or images."""

from __future__ import annotations

import sys
import warnings
from inspect import signature
from typing import Any, Optional, TypeVar, cast

from deltafold.chroma.records import checked_embeddings, normalized_embeddings
from deltafold.chroma.types import Embeddings, Space

Class = TypeVar("Class", bound=type)


class EmbeddingFunction:
    """Base of embedding functions. It has the methods of the class of the same name in ``chromadb``.

    Only ``__call__`` is necessary. Define ``name``, ``get_config`` and ``build_from_config`` too, and
    decorate the class with :func:`register_embedding_function`: collections then remember it.

    >>> from deltafold.chroma import EmbeddingFunction
    >>> class Length(EmbeddingFunction):
    ...     def __call__(self, input):
    ...         return [[float(len(text)), 1.0] for text in input]
    >>> Length()(["abc"])
    [array([3., 1.], dtype=float32)]
    """

    def __call__(self, input: Any) -> Any:
        """Returns one embedding for each document or image."""
        raise NotImplementedError(f"`{type(self).__name__}` has no method `__call__`; define it")

    def embed_query(self, input: Any) -> Any:
        """The same for queries. Some models embed them in another way."""
        return self(input)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" not in cls.__dict__:
            return
        call = cls.__dict__["__call__"]

        def __call__(self: EmbeddingFunction, input: Any) -> Embeddings:
            return embeddings_of(call(self, input))

        cls.__call__ = __call__  # type: ignore[method-assign]

    @staticmethod
    def name() -> str:
        """The name by which a collection remembers it."""
        return cast(str, NotImplemented)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction:
        """Makes the function from its configuration."""
        return cast(EmbeddingFunction, NotImplemented)

    def get_config(self) -> dict[str, Any]:
        """The configuration: values of JSON, without secrets."""
        return cast("dict[str, Any]", NotImplemented)

    def default_space(self) -> Space:
        """The metric of a collection that names none."""
        return "l2"

    def supported_spaces(self) -> list[Space]:
        """Metrics for which the embeddings are made."""
        return ["cosine", "l2", "ip"]

    def is_legacy(self) -> bool:
        """Whether collections cannot remember it."""
        return NotImplemented in (self.name(), self.get_config())


class DefaultEmbeddingFunction(EmbeddingFunction):
    """Stands for Chroma's default function. Deltafold brings no model, so it raises ``ValueError``."""

    def __call__(self, input: Any) -> Any:
        raise ValueError(
            "This collection has no embedding function, and deltafold brings no model. Pass `embeddings` "
            "(or `query_embeddings`), or pass `embedding_function=` when you get or create the collection."
        )

    @staticmethod
    def name() -> str:
        return "default"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction:
        return DefaultEmbeddingFunction()

    def get_config(self) -> dict[str, Any]:
        return {}


DEFAULT = DefaultEmbeddingFunction()
"""The default of the parameter ``embedding_function``."""

known_embedding_functions: dict[str, Any] = {"default": DefaultEmbeddingFunction}
"""The registered classes by name."""


def register_embedding_function(cls: Class) -> Class:
    """Registers a class, so that collections made with it find it again."""
    name = cls.name()  # type: ignore[attr-defined]
    if isinstance(name, str):
        known_embedding_functions[name] = cls
    return cls


def is_default(function: Any) -> bool:
    """Whether no function was chosen."""
    return isinstance(function, DefaultEmbeddingFunction)


def name_of(function: Any) -> Optional[str]:
    """The name of a function; None where collections cannot remember it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            name = function.name()
        except Exception:
            return None
    return name if isinstance(name, str) else None


def check_function(function: Any) -> None:
    """Refuses objects with another signature than ``__call__(self, input)``."""
    found = signature(type(function).__call__).parameters.keys()
    wanted = signature(EmbeddingFunction.__call__).parameters.keys()
    if found != wanted:
        raise ValueError(
            f"Expected EmbeddingFunction.__call__ to have the following signature: {wanted}, got {found}\n"
            "Please see https://docs.trychroma.com/guides/embeddings for details of the EmbeddingFunction interface."
        )


def remembered(document: Optional[dict[str, Any]]) -> Any:
    """The function that a collection's configuration names; None if it names none.

    Functions of the package ``chromadb`` are found if the program has imported them.
    """
    if document is None or document.get("type") == "legacy":
        return None
    name = document.get("name")
    if name is None:
        raise ValueError(f"Embedding function name not found in config: {document}")
    theirs = sys.modules.get("chromadb.utils.embedding_functions")
    known = known_embedding_functions.get(name) or getattr(theirs, "known_embedding_functions", {}).get(name)
    if known is None:
        raise ValueError(
            f"Embedding function {name} not found. Add @register_embedding_function decorator to the class "
            "definition, or pass `embedding_function=` when you get the collection."
        )
    try:
        return known.build_from_config(document["config"])
    except Exception as error:
        raise ValueError(
            f"Could not build embedding function {name} from config {document.get('config')}: {error}"
        ) from error


def embeddings_of(made: Any) -> Embeddings:
    """Checks the result of a function."""
    embeddings = normalized_embeddings(made)
    if embeddings is None:
        raise ValueError("The embedding function returned None; return one embedding for each input")
    return checked_embeddings(embeddings)


def embed(function: Any, inputs: Any, is_query: bool) -> Embeddings:
    """Calls a function, and checks that it makes one embedding for each input."""
    call = getattr(function, "embed_query", function) if is_query else function
    embeddings = embeddings_of(call(input=inputs))
    if len(embeddings) != len(inputs):
        raise ValueError(
            f"The embedding function returned {len(embeddings)} embeddings for {len(inputs)} inputs; "
            "return one for each"
        )
    return embeddings
