"""A collection with the methods of ``chromadb.Collection``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, cast
from uuid import UUID

from deltafold.chroma import checks, configuration
from deltafold.chroma.checks import in_call
from deltafold.chroma.configuration import CollectionConfiguration
from deltafold.chroma.functions import DEFAULT, check_function, embed, is_default, remembered
from deltafold.chroma.records import (
    many,
    metadatas_read,
    normalized_embeddings,
    normalized_metadatas,
    packed,
    unpacked,
)
from deltafold.chroma.transport import CHROMA, OWN, Transport
from deltafold.chroma.types import (
    ID,
    URI,
    CollectionMetadata,
    DataLoader,
    DeleteResult,
    Document,
    Embeddings,
    GetResult,
    GivenEmbeddings,
    Image,
    Include,
    IndexingStatus,
    Metadatas,
    OneOrMany,
    QueryResult,
    ReadLevel,
    Where,
    WhereDocument,
)

Records = dict[str, Optional[list[Any]]]

_EMBEDDABLE = ("documents", "images", "uris")
_NEED_LOADER = "You must set a data loader on the collection if loading from URIs."


class Collection:
    """A collection of records. Clients make it.

    Every method raises ``ValueError`` or ``TypeError`` for arguments of a wrong form, and a class of
    :mod:`deltafold.chroma.errors` otherwise. A write that returns is durable. A read sees every
    write that any process finished before it began: that costs two conditional GETs.
    """

    def __init__(
        self,
        transport: Transport,
        model: dict[str, Any],
        embedding_function: Any = DEFAULT,
        data_loader: Optional[DataLoader] = None,
        max_batch_size: int = 5_461,
    ) -> None:
        if embedding_function is not None:
            check_function(embedding_function)
        self._transport = transport
        self._model = model
        self._embedding_function = embedding_function
        self._data_loader = data_loader
        self._max_batch_size = max_batch_size

    @property
    def id(self) -> UUID:
        """The id. A collection that is deleted and made again has another one."""
        return UUID(self._model["id"])

    @property
    def name(self) -> str:
        """The name."""
        return cast(str, self._model["name"])

    @property
    def metadata(self) -> Optional[CollectionMetadata]:
        """The metadata of the collection itself."""
        return cast(Optional[CollectionMetadata], self._model["metadata"])

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return cast(dict[str, Any], self._model["configuration_json"])

    @property
    def configuration(self) -> CollectionConfiguration:
        """The configuration, with the embedding function that it names."""
        return configuration.read(self.configuration_json)

    @property
    def schema(self) -> Optional[dict[str, Any]]:
        """The schema as JSON."""
        return cast(Optional[dict[str, Any]], self._model.get("schema"))

    @property
    def tenant(self) -> str:
        """The tenant."""
        return cast(str, self._model["tenant"])

    @property
    def database(self) -> str:
        """The database."""
        return cast(str, self._model["database"])

    def get_model(self) -> dict[str, Any]:
        """The collection as JSON."""
        return self._model

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return NotImplemented
        return (
            self._model == other._model
            and self._embedding_function == other._embedding_function
            and self._data_loader == other._data_loader
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

    def count(self, read_level: ReadLevel = ReadLevel.INDEX_AND_WAL) -> int:
        """Returns the number of records, whatever the level: see :class:`ReadLevel`."""
        return cast(int, self._call("GET", "count"))

    def get_indexing_status(self) -> IndexingStatus:
        """Returns the progress of indexing: always complete."""
        return IndexingStatus(**self._call("GET", "indexing_status"))

    def add(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[GivenEmbeddings] = None,
        metadatas: Optional[Metadatas] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Inserts records. An id that is there stays as it is.

        Without embeddings the embedding function makes them of documents, images or URIs.
        """
        self._write("add", self._prepared("add", ids, embeddings, metadatas, documents, images, uris))

    def upsert(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[GivenEmbeddings] = None,
        metadatas: Optional[Metadatas] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Inserts records, or changes those that are there.

        A change merges metadata, and keeps the document that is not given. A value of None removes
        its key.
        """
        self._write("upsert", self._prepared("upsert", ids, embeddings, metadatas, documents, images, uris))

    def update(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[GivenEmbeddings] = None,
        metadatas: Optional[Metadatas] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Changes records, as :meth:`upsert` does. Ids that are not there stay so."""
        self._write("update", self._prepared("update", ids, embeddings, metadatas, documents, images, uris))

    def put(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[GivenEmbeddings] = None,
        metadatas: Optional[Metadatas] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Inserts records in place of those that are there. Nothing of the old ones stays.

        Chroma has no such call.
        """
        records = self._prepared("put", ids, embeddings, metadatas, documents, images, uris)
        self._write("put", records, api=OWN)

    def _prepared(
        self, call: str, ids: Any, embeddings: Any, metadatas: Any, documents: Any, images: Any, uris: Any
    ) -> Records:
        with in_call(call):
            records: Records = {
                "ids": many(ids),
                "metadatas": normalized_metadatas(metadatas),
                "embeddings": normalized_embeddings(embeddings),
                "documents": many(documents),
                "images": many(images),
                "uris": many(uris),
            }
            checks.insert_records(records)
            # Chroma's client loads URIs for `add` alone.
            fields = ("documents", "images") if call in ("update", "upsert") else _EMBEDDABLE
            changes = call != "update" or any(records[field] is not None for field in fields)
            if records["embeddings"] is None and changes:
                records["embeddings"] = self._embed_one_of(records, fields)
            return records

    def _write(self, call: str, records: Records, api: str = CHROMA) -> None:
        ids = records["ids"] or []
        if len(ids) > self._max_batch_size:
            raise ValueError(f"Batch size {len(ids)} exceeds maximum batch size {self._max_batch_size}")
        body: dict[str, Any] = {name: records[name] for name in ("ids", "metadatas", "documents", "uris")}
        self._call("POST", call, {**body, "embeddings": packed(records["embeddings"])}, api)

    def get(
        self,
        ids: Optional[OneOrMany[ID]] = None,
        where: Optional[Where] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        where_document: Optional[WhereDocument] = None,
        include: Include = ["metadatas", "documents"],
    ) -> GetResult:
        """Returns records in the order of their insertion: those of ``ids``, or all that match."""
        listed = self._checked_get(ids, where, where_document, include)
        checks.page(limit, offset)
        body = {"ids": listed, "where": where, "where_document": where_document, "limit": limit, "offset": offset}
        return self._got(body, include)

    @in_call("get")
    def _checked_get(self, ids: Any, where: Any, where_document: Any, include: Any) -> Optional[list[Any]]:
        listed = many(ids)
        if listed is not None:
            checks.ids(listed)
        checks.filters(where, where_document)
        checks.include(include, disallowed=("distances",))
        if "data" in include and self._data_loader is None:
            raise ValueError(_NEED_LOADER)
        return listed

    def peek(self, limit: int = 10) -> GetResult:
        """Returns the first records."""
        checks.page(limit, None)
        return self._got({"limit": limit}, ["metadatas", "documents", "embeddings"])

    def _got(self, body: dict[str, Any], include: Include) -> GetResult:
        answer = self._call("POST", "get", {**body, **_wanted(include)})
        loads = "data" in include and self._data_loader is not None and answer["uris"] is not None
        return {
            "ids": answer["ids"],
            "embeddings": unpacked(answer["embeddings"]),
            "documents": answer["documents"],
            "uris": answer["uris"] if "uris" in include else None,
            "data": self._data_loader(answer["uris"]) if loads and self._data_loader else None,
            "metadatas": metadatas_read(answer["metadatas"]),
            "included": include,
        }

    def query(
        self,
        query_embeddings: Optional[GivenEmbeddings] = None,
        query_texts: Optional[OneOrMany[Document]] = None,
        query_images: Optional[OneOrMany[Image]] = None,
        query_uris: Optional[OneOrMany[URI]] = None,
        ids: Optional[OneOrMany[ID]] = None,
        n_results: int = 10,
        where: Optional[Where] = None,
        where_document: Optional[WhereDocument] = None,
        include: Include = ["metadatas", "documents", "distances"],
    ) -> QueryResult:
        """Returns the nearest records of each query, the nearest first. The search is exact.

        ``ids`` and filters select the records that are searched. Distances are those of Chroma:
        squared for ``l2``, 1 - cos for ``cosine``, 1 - dot for ``ip``.
        """
        embeddings, listed = self._checked_query(
            query_embeddings, query_texts, query_images, query_uris, ids, n_results, where, where_document, include
        )
        body = {
            "query_embeddings": packed(embeddings),
            "ids": listed,
            "n_results": n_results,
            "where": where,
            "where_document": where_document,
        }
        answer = self._call("POST", "query", {**body, **_wanted(include)})
        uris, loader = answer["uris"], self._data_loader
        loads = "data" in include and loader is not None and uris is not None
        return {
            "ids": answer["ids"],
            "embeddings": None if answer["embeddings"] is None else [unpacked(rows) for rows in answer["embeddings"]],
            "documents": answer["documents"],
            "uris": uris if "uris" in include else None,
            "data": [loader(one) for one in uris] if loads and loader and uris else None,
            "metadatas": None if answer["metadatas"] is None else [
                metadatas_read(one) or [] for one in answer["metadatas"]
            ],
            "distances": answer["distances"],
            "included": include,
        }

    @in_call("query")
    def _checked_query(
        self,
        embeddings: Any,
        texts: Any,
        images: Any,
        uris: Any,
        ids: Any,
        n_results: Any,
        where: Any,
        where_document: Any,
        include: Any,
    ) -> tuple[Embeddings, Optional[list[Any]]]:
        records: Records = {
            "embeddings": normalized_embeddings(embeddings),
            "documents": many(texts),
            "images": many(images),
            "uris": many(uris),
        }
        checks.base_records(records)
        checks.filters(where, where_document)
        checks.include(include)
        checks.n_results(n_results)
        made = records["embeddings"]
        if made is None:
            made = self._embed_one_of(records, _EMBEDDABLE, is_query=True)
        return made, many(ids)

    def delete(
        self,
        ids: Optional[OneOrMany[ID]] = None,
        where: Optional[Where] = None,
        where_document: Optional[WhereDocument] = None,
        limit: Optional[int] = None,
    ) -> DeleteResult:
        """Deletes the records of ``ids``, those that match, or those of ``ids`` that match.

        ``limit`` needs a filter. Returns their number; every id counts where no filter is given.
        """
        listed = self._checked_delete(ids, where, where_document, limit)
        body = {"ids": listed, "where": where, "where_document": where_document, "limit": limit}
        return cast(DeleteResult, self._call("POST", "delete", body))

    @in_call("delete")
    def _checked_delete(self, ids: Any, where: Any, where_document: Any, limit: Any) -> Optional[list[Any]]:
        if ids is None and where is None and where_document is None:
            raise ValueError("At least one of ids, where, or where_document must be provided")
        checks.limit(limit, is_filtered=where is not None or where_document is not None)
        listed = many(ids)
        if listed is not None:
            checks.ids(listed)
        checks.filters(where, where_document)
        return listed

    def modify(
        self,
        name: Optional[str] = None,
        metadata: Optional[CollectionMetadata] = None,
        configuration: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Changes the name, replaces the metadata, or changes the configuration."""
        if metadata is not None:
            checks.metadata(metadata)
            if "hnsw:space" in metadata:
                raise ValueError(
                    "Changing the distance function of a collection once it is created is not supported currently."
                )
        changes = self._changes(configuration)
        body = {"new_name": name, "new_metadata": metadata, "new_configuration": changes}
        self._transport.call("PUT", self._path(), body)
        if name:
            self._model["name"] = name
        if metadata:
            self._model["metadata"] = metadata
        if changes:
            self._model["configuration_json"] = _configuration.overwritten(self.configuration_json, changes)

    def _changes(self, given: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
        if not given:
            return None
        _configuration.check_changed(self.configuration_json.get("embedding_function"), given.get("embedding_function"))
        return _configuration.changed(given)

    def _embed_one_of(self, records: Records, fields: tuple[str, ...], is_query: bool = False) -> Embeddings:
        """Embeds the one field that is given."""
        given = [field for field in fields if records[field] is not None]
        if len(given) != 1:
            raise ValueError(f"Exactly one of {', '.join(fields)} must be provided")
        inputs: Any = records[given[0]]
        if given[0] == "uris":
            if self._data_loader is None:
                raise ValueError(_NEED_LOADER)
            inputs = self._data_loader(inputs)
        return embed(self._function(), inputs, is_query)

    def _function(self) -> Any:
        """The function that was passed, or the one that the collection remembers."""
        own = self._embedding_function
        if own is not None and not is_default(own):
            return own
        kept = remembered(self.configuration_json.get("embedding_function"))
        if kept is not None or own is not None:
            return kept or own
        raise ValueError(
            "You must provide an embedding function to compute embeddings."
            "https://docs.trychroma.com/guides/embeddings"
        )

    def _path(self, *rest: str) -> list[str]:
        return ["tenants", self.tenant, "databases", self.database, "collections", self._model["id"], *rest]

    def _call(self, method: str, call: str, body: Optional[dict[str, Any]] = None, api: str = CHROMA) -> Any:
        return self._transport.call(method, self._path(call), body, api=api)


_configuration = configuration
"""For methods with a parameter of that name."""


def _wanted(include: Include) -> dict[str, Any]:
    """The fields that a request asks for. A loader makes `data` of URIs."""
    fields = ["uris" if field == "data" else field for field in include]
    return {"include": list(dict.fromkeys(fields)), "embedding_encoding": "base64"}
