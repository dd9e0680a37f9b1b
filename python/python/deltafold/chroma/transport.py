"""Calls of Chroma's API, answered in this process."""

from __future__ import annotations

import json
import os
import threading
import weakref
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import quote, urlencode

from deltafold._deltafold import Chroma
from deltafold.chroma.errors import refuse
from deltafold.chroma.records import text

Location = Union[str, "os.PathLike[str]"]

CHROMA = "/api/v2"
"""Where the calls of Chroma's API begin."""
OWN = "/api/deltafold"
"""Where the calls of Deltafold's own begin."""


class Transport:
    """Chroma's API on one store. Clients of one process share it, and so share writers and caches."""

    def __init__(self, engine: Chroma) -> None:
        self._engine = engine

    def call(
        self,
        method: str,
        path: list[str],
        body: Optional[dict[str, Any]] = None,
        query: Optional[dict[str, Any]] = None,
        api: str = CHROMA,
    ) -> Any:
        """Makes a request, and returns the JSON of its answer."""
        target = f"{api}/{'/'.join(quote(part, safe='') for part in path)}"
        given = {key: value for key, value in (query or {}).items() if value is not None}
        if given:
            target = f"{target}?{urlencode(given)}"
        status, answer = self._engine.call(method, target, b"" if body is None else text(body)).wait()
        if status < 400:
            return json.loads(answer)
        refused: dict[str, str] = json.loads(answer) if answer.startswith(b"{") else {}
        message = refused.get("message") or answer.decode(errors="replace")
        refuse(status, refused.get("error", ""), message)

    def close(self) -> None:
        """Decides every write, and closes what is open."""
        self._engine.close().wait()


_open: weakref.WeakValueDictionary[tuple[Any, ...], Transport] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def connect(location: Optional[Location], **options: Any) -> Transport:
    """The transport of a store with these options. A store in memory is new each time."""
    if location is None:
        return Transport(Chroma(None, **options))
    name = os.fspath(location)
    if ":" not in name or Path(name).exists():
        _refuse_foreign(Path(name))
        name = os.path.abspath(name)
    key = (name, os.getpid(), *sorted(options.items()))
    with _lock:
        transport = _open.get(key)
        if transport is None:
            transport = _open[key] = Transport(Chroma(name, **options))
        return transport


def _refuse_foreign(folder: Path) -> None:
    """Refuses a folder of Chroma itself, whose records would seem to be gone."""
    if (folder / "chroma.sqlite3").is_file():
        raise ValueError(
            f"`{folder}` is a folder of Chroma, in files of its own. Copy it into a store of deltafold with "
            f"`deltafold --store ANOTHER_FOLDER import chroma {folder}`, and open that one"
        )
