"""The first port: what is true. A tiny Kubernetes API over resources of one kind: find, list, watch, create, change at
a version, delete. On one machine a table behind it, on a cluster custom resources, in tests a dictionary.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from auteur_contracts.resources import GenerationJob, GenerationJobStatus, ObjectMeta
from auteur_control.errors import Conflicted, Gone
from auteur_lifecycle.refusal import Refusal

Key = tuple[str, str]
"""Namespace and name."""
_TRIES = 8


class Status(Protocol):
    @property
    def finished(self) -> bool: ...


StatusT = TypeVar("StatusT", bound=Status)


class Resource(Protocol):
    """The fields that every kind of resource has."""

    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def spec(self) -> Any: ...
    @property
    def status(self) -> Any: ...
    @property
    def key(self) -> Key: ...
    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self: ...
    def model_dump_json(self, *, exclude_none: bool = False) -> str: ...


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Malformed(Generic[R]):
    """A resource that is stored and that our models cannot read. Where its status is written, what cannot be read stays
    as it is.
    """

    resource: R
    """As much of it as can be read."""
    refusal: Refusal
    lost: frozenset[str]
    """The fields that cannot be read, as `spec.deadline`."""
    raw: Mapping[str, Any]
    """As it is stored."""


def resource_of(read: R | Malformed[R]) -> R:
    """As much of it as can be read."""
    return read.resource if isinstance(read, Malformed) else read


def document_of(read: R | Malformed[R]) -> str:
    """As it is to be stored."""
    return json.dumps(read.raw) if isinstance(read, Malformed) else read.model_dump_json(exclude_none=True)


def with_status(read: R | Malformed[R], status: Any) -> R | Malformed[R]:
    if not isinstance(read, Malformed):
        return read.model_copy(update={"status": status})
    old, new = (each.model_dump(mode="json", exclude_none=True) for each in (read.resource.status, status))
    decided = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    stored = read.raw.get("status")
    kept = {name: value for name, value in stored.items() if name not in decided} if isinstance(stored, Mapping) else {}
    raw = {**read.raw, "status": kept | {name: new[name] for name in decided & new.keys()}}
    return replace(read, resource=read.resource.model_copy(update={"status": status}), raw=raw)


def at_version(read: R | Malformed[R], version: str) -> R | Malformed[R]:
    resource = resource_of(read)
    meta = resource.metadata.model_copy(update={"resource_version": version})
    resource = resource.model_copy(update={"metadata": meta})
    if not isinstance(read, Malformed):
        return resource
    raw = {**read.raw, "metadata": {**read.raw["metadata"], "resourceVersion": version}}
    return replace(read, resource=resource, raw=raw)


@dataclass(frozen=True)
class Patch:
    """A change of what is wanted. Fields of the spec by their names in Python, annotations beside them."""

    spec: Mapping[str, object] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Expired:
    key: Key
    uid: str


class Watcher(ABC, Generic[R, StatusT]):
    """Is told of changes, in their order, once they are durable."""

    @abstractmethod
    def on_seen(self, key: Key) -> None:
        """The resource was made, or changed by anything but `update`."""

    @abstractmethod
    def on_written(self, before: StatusT, resource: R) -> None:
        """A status was written by `update`, or together with the resource by `create`."""

    @abstractmethod
    def on_deleted(self, last: R, version: int) -> None:
        """The resource was deleted. `last`: as it was; `version`: of its deletion."""


class Resources(ABC, Generic[R, StatusT]):
    """Lookups answer from memory with what was decided last; every method that writes returns when its write is
    durable, also where nothing had to be changed. Raises the errors of `auteur_control.errors`.
    """

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def read(self, key: Key) -> R | Malformed[R] | None:
        """Also a finished one."""

    def find(self, key: Key) -> R | None:
        """Also a finished one. None for one that cannot be read."""
        found = self.read(key)
        return None if isinstance(found, Malformed) else found

    @abstractmethod
    def live(self, key: Key) -> R | Malformed[R] | None:
        """The resource, unless it is finished."""

    @abstractmethod
    def live_keys(self) -> Iterable[Key]: ...

    @abstractmethod
    def key_of(self, uid: str) -> Key | None:
        """Of a resource that is not finished."""

    @abstractmethod
    def page(self, namespace: str, after: str, limit: int, most_bytes: int) -> tuple[list[R], bool]:
        """Resources that are not released yet, by name, and whether there are more: at least one, and what fits."""

    @abstractmethod
    def unreleased(self, most: int) -> Iterator[R]:
        """Finished resources that somebody holds."""

    @abstractmethod
    def expired(self, now: datetime, most: int) -> list[Expired]:
        """Resources whose time to live is over."""

    @abstractmethod
    async def get(self, key: Key) -> R | None:
        """As it is stored now; None where there is none, or none that can be read."""

    @abstractmethod
    def watch(self, watcher: Watcher[R, StatusT]) -> None:
        """Changes from now on are told to the watcher: one at a time."""

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def hold(self, key: Key) -> AbstractAsyncContextManager[None]:
        """Nobody else decides about this resource meanwhile. Needs no lock where nothing awaits between looking and
        deciding.
        """

    @abstractmethod
    async def create(self, resource: R, first: Callable[[R], StatusT]) -> R:
        """Gives it uid and version. `first` decides its first status where resource and status are one write; elsewhere
        the status is the next write, after the watcher's `on_seen`. Raises Exists, Invalid, Forbidden.
        """

    @abstractmethod
    async def update(self, resource: R, status: StatusT) -> R:
        """Under `hold`: its status, if the resource is still at its version. Raises Conflicted or Gone otherwise."""

    @abstractmethod
    async def patch(self, key: Key, patch: Patch) -> R | None:
        """None where there is none, or nothing that can be changed any more."""

    @abstractmethod
    async def delete(self, key: Key, uid: str) -> bool:
        """False where there was none of that uid."""

    async def change(self, key: Key, decide: Callable[[R], StatusT], *, malformed: bool = False) -> R | None:
        """Under `hold`. Decides anew when the resource has changed meanwhile. None where no live one can be read;
        `malformed`: as much as can be read will do.
        """
        for _ in range(_TRIES):
            found = self.live(key)
            if found is None or (isinstance(found, Malformed) and not malformed):
                return None
            resource = resource_of(found)
            try:
                return await self.update(resource, decide(resource))
            except Conflicted:
                continue
            except Gone:
                return None
        raise Conflicted(f"change of {'/'.join(key)}", f"it changed {_TRIES} times while it was written")


def patched(resource: R, patch: Patch) -> R:
    """The resource with the patch applied, itself where nothing is changed. A changed spec is a new generation."""
    meta, spec = resource.metadata, resource.spec.model_copy(update=dict(patch.spec))
    annotations = {**meta.annotations, **patch.annotations}
    if spec == resource.spec and annotations == meta.annotations:
        return resource
    generation = meta.generation + (spec != resource.spec)
    meta = meta.model_copy(update={"annotations": annotations, "generation": generation})
    return resource.model_copy(update={"metadata": meta, "spec": spec})


JobResources = Resources[GenerationJob, GenerationJobStatus]
JobWatcher = Watcher[GenerationJob, GenerationJobStatus]
