"""Moves a persistent directory of Chroma into a store of Deltafold, and reads it there.

    python migrate_from_chroma.py ./chroma ./store

The program of this package reads Chroma's files. Neither the package `chromadb` nor a server is
needed. The import resumes where an earlier run stopped, and compares both sides at the end.
"""

from __future__ import annotations

import subprocess
import sys

from deltafold import chroma


def main(source: str, store: str) -> None:
    """Imports every collection of `source`, and shows what is in the store."""
    program = [sys.executable, "-m", "deltafold"]
    subprocess.run([*program, "--store", store, "import", "chroma", source], check=True)

    # Before: client = chromadb.PersistentClient(source)
    client = chroma.PersistentClient(store)
    for collection in client.list_collections():
        first = collection.peek(1)
        print(f"{collection.name}: {collection.count()} records, first {first['ids']}, metadata {first['metadatas']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
