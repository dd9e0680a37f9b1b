"""Functions of AWS Lambda in Python: `handler.ingest` and `handler.compact`.

The environment of the functions names the store and the collection: `template.yaml` sets it.
"""

from __future__ import annotations

from deltafold.aws import compact_handler, ingest_handler

# Outside of any function: instances keep their connections between invocations.
ingest = ingest_handler()
compact = compact_handler()
