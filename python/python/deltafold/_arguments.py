"""Arguments in the form of the extension module."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from deltafold.errors import InvalidInput
from deltafold.types import Where


def _plain(value: Any) -> Any:
    """A scalar or an array of numpy as plain objects."""
    for convert in ("tolist", "item"):
        plain = getattr(value, convert, None)
        if plain is not None:
            return plain()
    raise TypeError(f"a value of type `{type(value).__name__}` has no form in JSON")


def filter_text(argument: str, filter: Where | None) -> str | None:
    """A filter as JSON."""
    if filter is None:
        return None
    try:
        return json.dumps(filter, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{argument}: {error}; give a dict in the form of Chroma's filters") from None


def column_text(columns: Mapping[str, str | Sequence[str]] | None) -> str:
    """The columns of a table that hold the fields, in their text form."""
    pairs: list[str] = []
    for field, named in (columns or {}).items():
        names = [named] if isinstance(named, str) else (list(named) or [""])
        for name in names:
            if "," in name or "=" in name:
                raise InvalidInput(f"columns: the name `{name}` holds a comma or `=`; rename the column")
            pairs.append(f"{field}={name}")
    return ",".join(pairs)


def id_list(ids: str | Sequence[str]) -> list[str]:
    """A list of ids. One text is one id."""
    listed = [ids] if isinstance(ids, str) else list(ids)
    for row, one in enumerate(listed):
        if not isinstance(one, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"ids, row {row}: it is of type `{type(one).__name__}`; give a text")
    return listed


def version_list(version: int | Sequence[int] | None) -> list[int] | None:
    """A version for each shard. One number is that of a single shard."""
    if version is None:
        return None
    return [version] if isinstance(version, int) else list(version)


def export_place(
    path: str | PathLike[str] | None, folder: str | PathLike[str] | None
) -> tuple[str | PathLike[str], bool]:
    """The place of an export, and whether it is a folder."""
    if path is not None and folder is None:
        return path, False
    if folder is not None and path is None:
        return folder, True
    raise InvalidInput("give the path of a file, or `folder=` for many files")
