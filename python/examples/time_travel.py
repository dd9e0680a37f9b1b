"""Reads a collection as it was: pins and versions.

    python time_travel.py [STORE]
"""

import sys
import tempfile

import deltafold

store = deltafold.open(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
prices = store.create("prices", dimension=2)
prices.put(ids=["apple", "pear"], embeddings=[[1, 0], [0, 1]], metadatas=[{"cents": 30}, {"cents": 40}])

# A pin keeps what is folded.
prices.compact()
prices.pin("before-the-sale", ttl=30 * 24 * 3600.0)

prices.update(ids=["apple"], metadatas=[{"cents": 15}])
prices.delete("pear")
prices.compact(merge_all=True)
# A sweep deletes older versions, except pinned ones.
prices.sweep(keep_versions=0, min_age=0.0)

now = {record.id: record.metadata for record in prices.find()}
then = {record.id: record.metadata for record in prices.snapshot(pin="before-the-sale").find()}
print("now:", now)
print("then:", then)
assert now == {"apple": {"cents": 15}}
assert then == {"apple": {"cents": 30}, "pear": {"cents": 40}}
