"""Reports of calls. Times are seconds since 1970; sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Ack",
    "CompactReport",
    "Config",
    "CopyReport",
    "DropReport",
    "Edit",
    "Finding",
    "History",
    "HistoryEntry",
    "PinStatus",
    "Refreshed",
    "RunStatus",
    "ShardStatus",
    "Status",
    "SweepReport",
    "VerifyReport",
    "Warmth",
]


@dataclass(frozen=True)
class Ack:
    """The acknowledgement of an append: the ops are durable, ordered and readable."""

    segments: list[tuple[int, int]]
    """Shard and sequence number of each segment that holds ops of the call."""
    appended: int
    """Ops appended."""
    duplicates: int
    """Ops that the collection held already, by their positions."""


@dataclass(frozen=True)
class Config:
    """The settings of a collection, chosen at its creation."""

    dimension: int
    metric: str
    shards: int
    ordering: str
    keep_tombstones: float | None
    """Retention of tombstones in seconds, in a collection ordered by revision."""
    created: float
    heads: str | None
    """The DynamoDB table that holds the heads; ``None`` if the store does."""
    uid: str


@dataclass(frozen=True)
class Edit:
    """One edit of a compaction."""

    shard: int
    kind: str
    version: int | None
    """The version it published; ``None`` where another compactor was faster."""
    rows_in: int
    rows_out: int
    bytes_in: int
    bytes_out: int
    segments: int


@dataclass(frozen=True)
class CompactReport:
    """The work of a compaction."""

    edits: list[Edit]
    folds: int
    merges: int
    conflicts: int
    bytes_out: int


@dataclass(frozen=True)
class SweepReport:
    """The objects that a sweep deleted, or would delete."""

    segments: int
    manifests: int
    parts: int
    bytes: int
    uploads: int
    expired_pins: list[str]


@dataclass(frozen=True)
class Finding:
    """A fault in one object, with its remedy."""

    shard: int
    key: str
    problem: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification."""

    is_sound: bool
    findings: list[Finding]
    notes: list[Finding]
    """Harmless leftovers of dropped collections."""
    objects: int
    bytes: int
    rows: int
    ops: int
    unreferenced: int


@dataclass(frozen=True)
class RunStatus:
    """A run: records sorted by id. The first one is the base."""

    level: int
    first: int
    last: int
    rows: int
    parts: int
    bytes: int


@dataclass(frozen=True)
class PinStatus:
    """A pin."""

    name: str
    version: int
    created: float
    expires: float | None


@dataclass(frozen=True)
class ShardStatus:
    """A shard at one moment."""

    shard: int
    version: int
    published: float
    folded: int
    """The last segment that the snapshot contains."""
    tail: int
    """The last segment of the log."""
    truncated: int
    unfolded_bytes: int
    ops: int
    """Ops ever folded."""
    runs: list[RunStatus]
    embedding_objects: int
    embedding_bytes: int
    embedding_rows: int
    live_embedding_rows: int
    dropped_objects: int
    pins: list[PinStatus]
    damage: list[Finding]


@dataclass(frozen=True)
class Status:
    """A collection at one moment."""

    config: Config
    shards: list[ShardStatus]


@dataclass(frozen=True)
class HistoryEntry:
    """One readable version of a shard."""

    shard: int
    version: int
    published: float
    kind: str
    """The edit that made it: fold, merge, pin, unpin, sweep or repair."""
    rows_in: int
    rows_out: int
    bytes_in: int
    bytes_out: int
    folded: int
    ops: int
    runs: int
    rows: int


@dataclass(frozen=True)
class History:
    """The versions that are still readable, oldest first, shard by shard."""

    versions: list[HistoryEntry]
    damage: list[Finding]


@dataclass(frozen=True)
class CopyReport:
    """The work of a copy."""

    transfers: int
    """Whole states transferred: none where the log was enough."""
    written: int
    deleted: int
    ops: int
    """Ops of the origin's log read."""
    repeated: int
    """Of these, the ops that the target held already."""
    compared: int
    """Records compared so far, while the copy compares."""
    following: bool
    """Whether the target has caught up, and the copy follows the log."""
    verified: int | None
    """Records in both collections, if they were compared at the end."""
    digest: str | None
    """The digest of these records."""


@dataclass(frozen=True)
class DropReport:
    """The objects that a drop deleted."""

    objects: int
    bytes: int


@dataclass(frozen=True)
class Refreshed:
    """The change of a snapshot by a refresh."""

    changed: bool
    new_ops: int
    versions: list[int]


@dataclass(frozen=True)
class Warmth:
    """The part of a snapshot that is in memory."""

    parts: int
    kept: int
    """Parts with their columns in memory."""
    objects: int
    """Embedding objects."""
    memory_bytes: int
    is_complete: bool
