"""Makes persistent directories of Chroma, and reads them back.

usage: chroma_directory.py make PATH RECORDS SPACE (close|crash)
       chroma_directory.py dump PATH

`make` fills a collection of a tenant of its own and one of the default tenant, then changes, deletes
and adds again. `crash` ends the process without closing anything. `dump` prints the records of every
collection as the program itself reads them: one JSON document.
"""

import json
import os
import sys

import chromadb
import numpy as np

DIMENSION = 24
BATCH = 500
# Chroma 1.5 has lists in metadata.
LISTS = not chromadb.__version__.startswith("0.")


def vectors(random, count):
    return random.normal(size=(count, DIMENSION)).astype(np.float32).tolist()


def metadata(n):
    held = {"n": n, "third": n / 3, "even": n % 2 == 0, "text": f"text {n}"}
    if LISTS and n % 5 == 0:
        held |= {"tags": ["a", str(n)], "numbers": [n, 2], "shares": [0.5, n / 7], "flags": [True, False]}
    return held


def fill(collection, count, random):
    for start in range(0, count, BATCH):
        numbers = range(start, min(count, start + BATCH))
        ids = [f"id-{n}" for n in numbers]
        documents = [f"document {n} é" for n in numbers]
        collection.add(
            ids=ids,
            embeddings=vectors(random, len(ids)),
            metadatas=[metadata(n) for n in numbers],
            documents=documents,
            uris=[f"file:///{n}" for n in numbers],
        )
    tenth = [f"id-{n}" for n in range(0, count, 10)]
    collection.delete(ids=tenth)
    collection.update(
        ids=["id-1", "id-2"], embeddings=vectors(random, 2), metadatas=[{"new": 1}, {"text": "changed"}]
    )
    collection.upsert(ids=["id-0", "id-3"], embeddings=vectors(random, 2), documents=["again", "three"])
    collection.add(ids=["id-10"], embeddings=vectors(random, 1))


def make(path, count, space, end):
    client = chromadb.PersistentClient(path=path)
    random = np.random.default_rng(count)
    held = {"hnsw:space": space, "about": "tests", "level": 3, "share": 0.5, "good": True}
    fill(client.create_collection("Articles-1", metadata=held), count, random)
    admin = client._admin_client
    admin.create_tenant("acme")
    admin.create_database("archive", tenant="acme")
    client.set_tenant("acme", "archive")
    fill(client.create_collection("notes", metadata={"hnsw:space": "ip"}), 30, random)
    client.create_collection("empty")
    if end == "crash":
        sys.stdout.flush()
        os._exit(9)


def dump(path):
    client = chromadb.PersistentClient(path=path)
    everything = []
    for tenant, database in [("default_tenant", "default_database"), ("acme", "archive")]:
        client.set_tenant(tenant, database)
        for known in client.list_collections():
            collection = client.get_collection(known if isinstance(known, str) else known.name)
            got = collection.get(include=["embeddings", "metadatas", "documents", "uris"])
            records = [
                {"id": id, "embedding": [float(x) for x in embedding], "metadata": held, "document": document, "uri": uri}
                for id, embedding, held, document, uri in zip(
                    got["ids"], got["embeddings"], got["metadatas"], got["documents"], got["uris"]
                )
            ]
            everything.append(
                {
                    "tenant": tenant,
                    "database": database,
                    "name": collection.name,
                    "id": str(collection.id),
                    "metadata": collection.metadata,
                    "records": records,
                }
            )
    print(json.dumps(everything))


match sys.argv[1:]:
    case ["make", path, count, space, end]:
        make(path, int(count), space, end)
    case ["dump", path]:
        dump(path)
    case _:
        sys.exit(__doc__)
