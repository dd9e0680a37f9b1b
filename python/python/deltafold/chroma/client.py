"""Clients with the methods of ``chromadb``'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional, cast
from uuid import UUID

from deltafold.chroma import checks, configuration
from deltafold.chroma.collection import Collection
from deltafold.chroma.functions import DEFAULT
from deltafold.chroma.transport import Location, Transport, connect
from deltafold.chroma.types import CollectionMetadata, Database, DataLoader, Tenant

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"

MAX_BATCH_SIZE = 5_461
"""Most records of one call."""


@dataclass(frozen=True)
class Settings:
    """Settings of a client.

    - ``allow_reset``: lets :meth:`Client.reset` delete everything in the store.
    - ``compact``: folds, merges and sweeps the collections in use. Without it, another process does.
    - ``fold_segments``: a log of this many segments is folded; 64 by default.
    - ``max_staleness``: reads may miss the writes of this many seconds. With 0 they miss none.
    - ``memory``: most bytes that each open collection takes; 256 MiB by default.
    - ``persist_directory`` and ``is_persistent``: the place of the store for :class:`AdminClient`.
    - ``anonymized_telemetry`` of Chroma has no effect: there is no telemetry.
    """

    allow_reset: bool = False
    compact: bool = True
    fold_segments: Optional[int] = None
    max_staleness: float = 0.0
    memory: Optional[int] = None
    anonymized_telemetry: bool = False
    is_persistent: bool = True
    persist_directory: str = "./chroma"


def _connected(location: Optional[Location], settings: Any) -> Transport:
    # An object of the package `chromadb` has some of these settings.
    given = Settings() if settings is None else settings
    names = ("allow_reset", "compact", "fold_segments", "max_staleness", "memory")
    defaults = Settings()
    return connect(location, **{name: getattr(given, name, getattr(defaults, name)) for name in names})


class Client:
    """A client of one database of a store. :func:`PersistentClient` and :func:`EphemeralClient` make it."""

    def __init__(
        self,
        transport: Transport,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        settings: Any = None,
    ) -> None:
        self._transport = transport
        self._settings = Settings() if settings is None else settings
        self.set_tenant(tenant, database)

    @property
    def transport(self) -> Transport:
        """The connection to the store."""
        return self._transport

    def heartbeat(self) -> int:
        """Returns the time in nanoseconds since 1970."""
        return int(self._transport.call("GET", ["heartbeat"])["nanosecond heartbeat"])

    def get_version(self) -> str:
        """Returns the version of Chroma's API."""
        return cast(str, self._transport.call("GET", ["version"]))

    def get_settings(self) -> Any:
        """Returns the settings of this client."""
        return self._settings

    def get_max_batch_size(self) -> int:
        """Returns the most records of one call."""
        return MAX_BATCH_SIZE

    def list_collections(self, limit: Optional[int] = None, offset: Optional[int] = None) -> Sequence[Collection]:
        """Returns the collections of the database."""
        found = self._transport.call("GET", self._path("collections"), query={"limit": limit, "offset": offset})
        return [self._collection(model) for model in found]

    def count_collections(self) -> int:
        """Returns the number of collections of the database."""
        return cast(int, self._transport.call("GET", self._path("collections_count")))

    def create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Optional[Mapping[str, Any]] = None,
        metadata: Optional[CollectionMetadata] = None,
        embedding_function: Any = DEFAULT,
        data_loader: Optional[DataLoader] = None,
        get_or_create: bool = False,
    ) -> Collection:
        """Makes a collection.

        The metric is ``l2`` unless ``configuration={"hnsw": {"space": "cosine"}}`` names another
        one, or ``metadata={"hnsw:space": "cosine"}``. Metadata ``deltafold:shards`` sets the number
        of shards. Raises ``UniqueConstraintError`` where the name is taken.
        """
        configured = dict(configuration or {})
        _configuration.check_created(embedding_function, configured.get("embedding_function"))
        if embedding_function is not None and configured.get("embedding_function") is None:
            configured["embedding_function"] = embedding_function
        if metadata is not None:
            checks.metadata(metadata)
        body = {
            "name": name,
            "metadata": metadata,
            "configuration": _configuration.created(configured, metadata) if configured else None,
            "schema": schema.serialize_to_json() if hasattr(schema, "serialize_to_json") else schema,
            "get_or_create": get_or_create,
        }
        model = self._transport.call("POST", self._path("collections"), body)
        return self._collection(model, embedding_function, data_loader)

    def get_or_create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Optional[Mapping[str, Any]] = None,
        metadata: Optional[CollectionMetadata] = None,
        embedding_function: Any = DEFAULT,
        data_loader: Optional[DataLoader] = None,
    ) -> Collection:
        """Returns the collection of this name. Makes it if there is none.

        Where it is there, schema, configuration and metadata of this call have no effect.
        """
        collection = self.create_collection(
            name, schema, configuration, metadata, embedding_function, data_loader, get_or_create=True
        )
        kept = collection.configuration_json.get("embedding_function")
        _configuration.check_got(embedding_function, kept)
        return collection

    def get_collection(
        self, name: str, embedding_function: Any = DEFAULT, data_loader: Optional[DataLoader] = None
    ) -> Collection:
        """Returns the collection of this name. Raises ``NotFoundError`` where there is none."""
        return self._got(self._path("collections", name), embedding_function, data_loader)

    def get_collection_by_id(
        self, id: UUID, embedding_function: Any = DEFAULT, data_loader: Optional[DataLoader] = None
    ) -> Collection:
        """Returns the collection of this id. Raises ``NotFoundError`` where there is none."""
        return self._got(self._path("collections", "by-id", str(id)), embedding_function, data_loader)

    def delete_collection(self, name: str) -> None:
        """Deletes the collection of this name, with its records and its history."""
        self._transport.call("DELETE", self._path("collections", name))

    def reset(self) -> bool:
        """Deletes everything in the store: every tenant, and every collection.

        Needs ``Settings(allow_reset=True)``.
        """
        return cast(bool, self._transport.call("POST", ["reset"]))

    def set_tenant(self, tenant: str, database: str = DEFAULT_DATABASE) -> None:
        """Goes over to a tenant and its database. Raises ``NotFoundError`` where there is none."""
        admin = AdminClient.of(self)
        admin.get_tenant(tenant)
        admin.get_database(database, tenant)
        self.tenant = tenant
        self.database = database

    def set_database(self, database: str) -> None:
        """Goes over to a database of the tenant. Raises ``NotFoundError`` where there is none."""
        self.set_tenant(self.tenant, database)

    def close(self) -> None:
        """Decides every write, and closes what this process has open in the store.

        Another client of the store opens it anew with its next call.
        """
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    @staticmethod
    def clear_system_cache() -> None:
        """Does nothing: stores are closed with their last client."""

    def _got(self, path: list[str], function: Any, loader: Optional[DataLoader]) -> Collection:
        model = self._transport.call("GET", path)
        _configuration.check_got(function, model["configuration_json"].get("embedding_function"))
        return self._collection(model, function, loader)

    def _collection(
        self, model: dict[str, Any], function: Any = DEFAULT, loader: Optional[DataLoader] = None
    ) -> Collection:
        return Collection(self._transport, model, function, loader, self.get_max_batch_size())

    def _path(self, *rest: str) -> list[str]:
        return ["tenants", self.tenant, "databases", self.database, *rest]


_configuration = configuration
"""For methods with a parameter of that name."""


class AdminClient:
    """A client that makes and deletes tenants and databases.

    It opens the folder or address ``persist_directory`` of its settings. With
    ``is_persistent=False`` it opens a new store in memory.
    """

    def __init__(self, settings: Any = None) -> None:
        given = Settings() if settings is None else settings
        self._transport = _connected(given.persist_directory if given.is_persistent else None, given)

    @classmethod
    def of(cls, client: Client) -> AdminClient:
        """The one for the store of another client."""
        return cls._over(client.transport)

    @classmethod
    def _over(cls, transport: Transport) -> AdminClient:
        admin = cls.__new__(cls)
        admin._transport = transport
        return admin

    @staticmethod
    def clear_system_cache() -> None:
        """Does nothing: stores are closed with their last client."""

    def create_tenant(self, name: str) -> None:
        """Makes a tenant."""
        self._transport.call("POST", ["tenants"], {"name": name})

    def get_tenant(self, name: str) -> Tenant:
        """Returns a tenant. Raises ``NotFoundError`` where there is none."""
        return {"name": self._transport.call("GET", ["tenants", name])["name"]}

    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Makes a database of a tenant."""
        self._transport.call("POST", ["tenants", tenant, "databases"], {"name": name})

    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> Database:
        """Returns a database. Raises ``NotFoundError`` where there is none."""
        return _database(self._transport.call("GET", ["tenants", tenant, "databases", name]))

    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Deletes a database with its collections."""
        self._transport.call("DELETE", ["tenants", tenant, "databases", name])

    def list_databases(
        self, limit: Optional[int] = None, offset: Optional[int] = None, tenant: str = DEFAULT_TENANT
    ) -> Sequence[Database]:
        """Returns the databases of a tenant."""
        query = {"limit": limit, "offset": offset}
        found = self._transport.call("GET", ["tenants", tenant, "databases"], query=query)
        return [_database(document) for document in found]


def _database(document: dict[str, Any]) -> Database:
    return {"id": document["id"], "name": document["name"], "tenant": document["tenant"]}


def PersistentClient(
    path: Location = "./chroma",
    settings: Any = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> Client:
    """A client of a store in a folder or a bucket.

    ``path`` is a folder or an address such as ``s3://bucket/prefix``. Any number of processes may
    open one store at once, also ``deltafold serve``.
    """
    return Client(_connected(path, settings), tenant, database, settings)


def EphemeralClient(
    settings: Any = None, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
) -> Client:
    """A client of a new store in memory. The records end with its last client."""
    return Client(_connected(None, settings), tenant, database, settings)
