"""A plugin of pytest: Chroma's own tests get clients of ``deltafold.chroma``.

``pytest -p chroma_own --pyargs chromadb.test.test_api``. Folds happen after every fourth segment.
Property tests are short unless ``DELTAFOLD_CHROMA`` names modules.
"""

# The package chromadb is in an environment of its own.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import chromadb.errors
import hypothesis
import pytest
from chromadb.config import Settings

from deltafold import chroma
from deltafold.chroma import collection, errors

# Their tests expect the classes of their package. Ours have the same names.
for name in errors.__all__:
    if hasattr(chromadb.errors, name):
        setattr(chromadb.errors, name, getattr(errors, name))

FOLD_SEGMENTS = 4


class Model(dict[str, Any]):
    """A collection's model as their tests look at it: fields are attributes."""

    __getattr__ = dict.__getitem__


class Collection(collection.Collection):
    """A collection with such a model."""

    def __init__(self, transport: Any, model: Any, *rest: Any) -> None:
        super().__init__(transport, Model(model), *rest)


class System:
    """What their fixtures call a system: a store, here in a folder."""

    def __init__(self, folder: str) -> None:
        # A port makes their tests leave Chroma's own files alone.
        self.settings = Settings(
            allow_reset=True,
            persist_directory=folder,
            chroma_api_impl="deltafold",
            chroma_server_http_port=1,
        )

    def client(self, *place: Any, **names: Any) -> Any:
        settings = chroma.Settings(allow_reset=True, fold_segments=FOLD_SEGMENTS)
        client = chroma.PersistentClient(self.settings.persist_directory, settings, *place, **names)
        client._settings = self.settings
        client._system = self
        client._server = None
        return client

    def instance(self, kind: Any) -> Any:
        return self.client()

    def reset_state(self) -> None:
        self.client().reset()


class ClientCreator:
    """Makes clients as the class of this name in their tests does."""

    def __new__(cls, tenant: Any = None, database: Any = None, settings: Any = None) -> Any:
        names = {"tenant": tenant, "database": database}
        system = System(settings.persist_directory)
        return system.client(**{name: value for name, value in names.items() if value is not None})

    @staticmethod
    def from_system(system: System, **names: Any) -> Any:
        return system.client(**names)


class AdminClient:
    """Makes clients for tenants and databases."""

    def __new__(cls, settings: Any) -> Any:
        return cls.from_system(System(settings.persist_directory))

    @staticmethod
    def from_system(system: System) -> Any:
        return chroma.AdminClient.of(system.client())


@pytest.fixture
def system() -> Iterator[System]:
    with tempfile.TemporaryDirectory() as folder:
        made = System(folder)
        yield made
        # A fold may be under way.
        made.client().close()


@pytest.hookimpl(tryfirst=True)
def pytest_plugin_registered(plugin: object) -> None:
    if not isinstance(plugin, ModuleType) or not hasattr(plugin, "ClientFactories"):
        return
    if not os.environ.get("DELTAFOLD_CHROMA"):
        # Their own shortest profile takes minutes.
        hypothesis.settings.register_profile("short", hypothesis.settings(), max_examples=4, stateful_step_count=8)
        hypothesis.settings.load_profile("short")
    chroma.client.Collection = Collection
    for fixture in ("system", "system_http_server"):
        setattr(plugin, fixture, system)
    plugin.ClientCreator = ClientCreator
    plugin.AdminClient = AdminClient
