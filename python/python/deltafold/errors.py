"""The exceptions of deltafold.

Each message says what failed, on which object, and what to do. Programs match the class.
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "Busy",
    "Closed",
    "Conflict",
    "Corrupt",
    "DeltafoldError",
    "Forked",
    "InvalidInput",
    "Invariant",
    "NewerFormat",
    "NotFound",
    "OutOfMemory",
    "Panicked",
    "Storage",
    "Superseded",
    "Unavailable",
    "Unfit",
    "Unknown",
]


class DeltafoldError(Exception):
    """The base of every exception of deltafold."""

    acknowledged: int = 0
    """Number of ops of the failed call that were acknowledged before the failure.

    A large call becomes several segments of the log. The first rows, so many, are durable.
    """


class InvalidInput(DeltafoldError, ValueError):
    """Fix the input: it breaks a limit or a rule. Nothing was written."""


class NotFound(DeltafoldError, LookupError):
    """Name something that exists: there is no such collection, version or pin."""


class AlreadyExists(DeltafoldError):
    """Choose another name: a collection or pin of this name exists."""


class Busy(DeltafoldError):
    """Wait and try again.

    The writer holds as many waiting ops as it may, or the log is as long as it may become. In the
    second case run ``compact`` first.
    """


class Conflict(DeltafoldError):
    """Look again and decide anew: another caller changed the subject of this call."""


class Superseded(DeltafoldError):
    """Open a new snapshot: the version that it reads, or the log that it follows, was swept."""


class Corrupt(DeltafoldError):
    """Report it and run ``verify``: stored bytes are damaged or missing."""


class NewerFormat(DeltafoldError):
    """Update this package: a newer program wrote the object."""


class Unknown(DeltafoldError):
    """Find out by reading whether it happened: the store's answer was lost for good."""


class Unavailable(DeltafoldError):
    """Try again later: the store is unreachable or overloaded."""


class Storage(DeltafoldError):
    """Mend the store's settings: permission, space, address."""


class OutOfMemory(DeltafoldError, MemoryError):
    """Give more memory: a read needs more than its limit."""


class Unfit(DeltafoldError):
    """Use another store: this one does not keep the contract."""


class Closed(DeltafoldError):
    """Open a new writer: this one was closed, or an earlier error stopped it."""


class Invariant(DeltafoldError):
    """Report it: deltafold refused to publish an edit that would break an invariant."""


class Forked(DeltafoldError, RuntimeError):
    """Start processes with ``spawn`` or ``forkserver``.

    This process was forked from one that had used deltafold. The threads of deltafold do not exist
    in the child.
    """


class Panicked(DeltafoldError, RuntimeError):
    """Report it: a call met a defect of deltafold. The process goes on."""
