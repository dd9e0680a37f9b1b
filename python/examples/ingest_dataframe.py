"""Ingests a data frame of pandas, and reads a filtered part of it back.

    python ingest_dataframe.py [STORE]
"""

import sys
import tempfile

import numpy as np
import pandas as pd

import deltafold

rng = np.random.default_rng(1)
frame = pd.DataFrame(
    {
        "id": [f"item-{number:04}" for number in range(1_000)],
        "embedding": list(rng.standard_normal((1_000, 64), np.float32)),
        "document": [f"item number {number}" for number in range(1_000)],
        "price": rng.integers(1, 100, 1_000),
        "shelf": rng.choice(["a", "b", "c"], 1_000),
    }
)

store = deltafold.open(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
items = store.create("items", dimension=64, exists_ok=True)
# Columns are found by their usual names; all others are metadata.
ack = items.upsert(frame)
print(f"{ack.appended} rows are durable, in {len(ack.segments)} segment")

cheap = items.query(frame["embedding"][0], k=3, where={"price": {"$lt": 50}}).to_pandas()
print(cheap[["id", "distance", "document"]].to_string(index=False))
