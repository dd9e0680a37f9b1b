"""Chroma's API on a store of Deltafold: no server, and no package ``chromadb``.

>>> from deltafold import chroma
>>> client = chroma.EphemeralClient()  # or PersistentClient("./data"), PersistentClient("s3://bucket/prefix")
>>> articles = client.get_or_create_collection("articles")
>>> articles.add(ids=["a", "b"], embeddings=[[1, 0], [0, 1]], metadatas=[{"year": 2020}, {"year": 2024}])
>>> articles.query(query_embeddings=[[1, 0.1]], n_results=1, where={"year": {"$gte": 2021}})["ids"]
[['b']]

Signatures, defaults, results and exceptions are those of ``chromadb`` 1.5. Embeddings of results are
arrays of float32. The code that answers is that of ``deltafold serve``.
"""

from __future__ import annotations

from deltafold.chroma import errors
from deltafold.chroma.client import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    AdminClient,
    Client,
    EphemeralClient,
    PersistentClient,
    Settings,
)
from deltafold.chroma.collection import Collection
from deltafold.chroma.configuration import CollectionConfiguration, HNSWConfiguration
from deltafold.chroma.functions import (
    DefaultEmbeddingFunction,
    EmbeddingFunction,
    register_embedding_function,
)
from deltafold.chroma.types import (
    DeleteResult,
    Documents,
    Embeddings,
    GetResult,
    QueryResult,
    ReadLevel,
    SparseVector,
)

__all__ = [
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "AdminClient",
    "Client",
    "Collection",
    "CollectionConfiguration",
    "DefaultEmbeddingFunction",
    "DeleteResult",
    "Documents",
    "EmbeddingFunction",
    "Embeddings",
    "EphemeralClient",
    "GetResult",
    "HNSWConfiguration",
    "PersistentClient",
    "QueryResult",
    "ReadLevel",
    "Settings",
    "SparseVector",
    "errors",
    "register_embedding_function",
]
