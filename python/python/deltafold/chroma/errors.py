"""The exceptions of Chroma's API, with the names that the package ``chromadb`` gives them.

Arguments of a wrong type or form raise ``ValueError`` or ``TypeError``, as there.
"""

from __future__ import annotations

from typing import NoReturn, Optional

from deltafold.errors import DeltafoldError

__all__ = [
    "AuthorizationError",
    "BatchSizeExceededError",
    "ChromaError",
    "DuplicateIDError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidDimensionException",
    "NotFoundError",
    "RateLimitError",
    "UniqueConstraintError",
]


class ChromaError(DeltafoldError):
    """The base of the exceptions of Chroma's API."""

    trace_id: Optional[str] = None
    _code = 400

    def code(self) -> int:
        """The status of HTTP for this error."""
        return self._code

    def message(self) -> str:
        """The reason and the remedy."""
        return ", ".join(str(argument) for argument in self.args)

    @classmethod
    def name(cls) -> str:
        """The name of the error in HTTP."""
        return cls.__name__


class InvalidDimensionException(ChromaError):
    """An embedding has another length than the collection's."""

    @classmethod
    def name(cls) -> str:
        return "InvalidDimension"


class DuplicateIDError(ChromaError):
    """An id stands twice in one call."""

    @classmethod
    def name(cls) -> str:
        return "DuplicateID"


class InvalidArgumentError(ChromaError):
    """The store refused an argument. Nothing was written."""

    @classmethod
    def name(cls) -> str:
        return "InvalidArgument"


class AuthorizationError(ChromaError):
    """The settings of this client do not allow the call."""

    _code = 401


class NotFoundError(ChromaError):
    """There is no such tenant, database or collection."""

    _code = 404


class UniqueConstraintError(ChromaError):
    """The name is taken."""

    _code = 409


class BatchSizeExceededError(ChromaError):
    """The batch is too large. Nothing was written: send smaller ones."""

    _code = 413


class RateLimitError(ChromaError):
    """The writer holds as many waiting writes as it may. Nothing was written: try again."""

    _code = 429


class InternalError(ChromaError):
    """The store could not be read or written. The log of the program has the reason."""

    _code = 500


_BY_NAME: dict[str, type[ChromaError]] = {
    "InvalidArgumentError": InvalidArgumentError,
    "NotFoundError": NotFoundError,
    "InternalError": InternalError,
    "BatchSizeExceededError": BatchSizeExceededError,
    "RateLimitError": RateLimitError,
    "AuthorizationError": AuthorizationError,
}


def refuse(status: int, name: str, message: str) -> NoReturn:
    """Raises the exception of an answer.

    >>> refuse(404, "NotFoundError", "Collection [a] does not exist")
    Traceback (most recent call last):
    deltafold.chroma.errors.NotFoundError: Collection [a] does not exist
    """
    kind = _BY_NAME.get(name, ChromaError)
    if kind is ChromaError and status == 409:
        kind = UniqueConstraintError
    raise kind(message)
