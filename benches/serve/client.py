"""The command line of VectorDBBench with four faults mended, two of them in its client of Chroma.

- `ChromaIndexConfig` inherits a host that is a plain string by default, where its serializer
  expects a `SecretStr`. So version 2.0 fails before it begins, against every server. The host given
  here is never used: the one of `ChromaConfig` is.
- `optimize` sets `ef_search` beside `hnsw` instead of in it, which sets nothing on any server, and
  needs a schema in the collection. Here it does nothing.
- The command line makes no case `StreamingCustomDataset`: it leaves out the data set.
- That case searches with 5 and with 10 processes for 30 s, whatever the command line says, and all
  over again after `optimize`. Here it goes by the command line, and ends after the first time.

Processes that VectorDBBench starts import this file too, and so get the same client.
"""

import os

from pydantic import SecretStr

import vectordb_bench.cli.cli as command
from vectordb_bench.backend.clients.chroma.chroma import ChromaClient
from vectordb_bench.backend.clients.chroma.config import ChromaIndexConfig

made = ChromaIndexConfig.__init__


def make(self, **given):
    made(self, **({"host": SecretStr("unused")} | given))


ChromaIndexConfig.__init__ = make
case_of = command.get_custom_case_config


def with_data_set(given):
    if given["case_type"] != "StreamingCustomDataset":
        return case_of(given)
    custom = case_of(given | {"case_type": "PerformanceCustomDataset"})
    return case_of(given) | {
        "description": "records",
        "dataset_config": custom["dataset_config"],
        "concurrencies": [int(number) for number in given["num_concurrency"]],
        "read_dur_after_write": given["concurrency_duration"],
        "optimize_after_write": False,
    }


command.get_custom_case_config = with_data_set
ChromaClient.optimize = lambda self, data_size=None: None

if __name__ == "__main__":
    from vectordb_bench.cli.vectordbbench import cli

    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    cli()
