"""The objects of a cluster in memory: each under its key, at a resourceVersion, with the changes that led to it."""

import copy
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = dict[str, Any]
_GENERATIONS = {"generationjobs", "functionrunners", "jobs", "deployments", "pods"}
_SELECTABLE = {
    "events": {"involvedObject.uid", "involvedObject.name", "involvedObject.kind", "reason", "type"},
    "pods": {"spec.nodeName", "status.phase"},
}
"""The fields that a field selector may name, besides name and namespace."""


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Key(NamedTuple):
    """Of an object; without a name: of a list, and without a namespace that of all."""

    version: str
    plural: str
    namespace: str
    name: str

    def holds(self, other: "Key") -> bool:
        return all(not mine or mine == its for mine, its in zip(self, other, strict=True))


def parse(path: str) -> tuple[Key, str]:
    """The inverse of `path_of`: the key, and the subresource."""
    parts = path.strip("/").split("/")
    version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, sub = (*rest, "", "")[:3]
    return Key(version, plural, namespace, name), sub


@dataclass(frozen=True)
class Change:
    version: int
    key: Key
    before: Json | None
    after: Json | None

    @property
    def told(self) -> Json:
        """The object as a watch shows it: as it is now, or as it was and at which version it went."""
        shown = copy.deepcopy(self.after or self.before or {})
        shown["metadata"]["resourceVersion"] = str(self.version)
        return shown


class Objects:
    """`changed` hears of each change, after it was made."""

    def __init__(self, changed: Callable[[Change], None]) -> None:
        self.version = 0
        """The resourceVersion of the last change."""
        self._changed = changed
        self._objects: dict[Key, Json] = {}
        self._changes: list[Change] = []

    def find(self, key: Key) -> Json | None:
        return copy.deepcopy(self._objects.get(key))

    def get(self, key: Key) -> Json:
        found = self.find(key)
        if found is None:
            raise Refused(404, f'{key.plural} "{key.name}" not found')
        return found

    def select(self, key: Key, query: Mapping[str, str]) -> list[tuple[Key, Json]]:
        check_selectors(key.plural, query)
        found = sorted(each for each in self._objects if key.holds(each))
        return [(each, self.get(each)) for each in found if matches(self._objects[each], query)]

    def owned_by(self, uid: str) -> list[Key]:
        return [key for key, made in self._objects.items() if any(owner["uid"] == uid for owner in owners_of(made))]

    def add(self, key: Key, made: Json) -> Json:
        own = {
            "name": key.name,
            **({"namespace": key.namespace} if key.namespace else {}),
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            **({"generation": 1} if key.plural in _GENERATIONS else {}),
        }
        return self._keep(key, {**made, "metadata": {**made.get("metadata", {}), **own}})

    def put(self, key: Key, made: Json) -> Json:
        """In place of what is there. What the server keeps of metadata stays; without a change nothing happens."""
        old = self.get(key)
        kept = {name: old["metadata"][name] for name in _KEPT if name in old["metadata"]}
        new = {**made, "metadata": {**made.get("metadata", {}), **kept}}
        if new == old:
            return old
        if "generation" in kept and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        return self._keep(key, new)

    def delete(self, key: Key) -> None:
        """A pod that has not ended stays, marked, while a kubelet has it, or its Job wants to know how it ends."""
        made = self.get(key)
        if key.plural == "pods" and made["status"]["phase"] in ("Pending", "Running") and self._is_held(key, made):
            if "deletionTimestamp" not in made["metadata"]:
                self._keep(key, {**made, "metadata": {**made["metadata"], "deletionTimestamp": now()}})
        else:
            self.remove(key)

    def _is_held(self, key: Key, pod: Json) -> bool:
        owners = [self._objects.get(Key("batch/v1", "jobs", key.namespace, each["name"])) for each in owners_of(pod)]
        return "nodeName" in pod["spec"] or any(job and not job["spec"].get("suspend") for job in owners)

    def remove(self, key: Key) -> None:
        self.version += 1
        self._tell(Change(self.version, key, self._objects.pop(key), None))

    def _keep(self, key: Key, made: Json) -> Json:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        old, self._objects[key] = self._objects.get(key), copy.deepcopy(made)
        self._tell(Change(self.version, key, old, self._objects[key]))
        return self.get(key)

    def _tell(self, change: Change) -> None:
        self._changes.append(change)
        self._changed(change)

    def history(self, key: Key) -> list[Json]:
        """What it was after each write of it."""
        return [copy.deepcopy(each.after) for each in self._changes if each.key == key and each.after is not None]


_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp")


def owners_of(made: Json) -> list[Json]:
    owners: list[Json] = made["metadata"].get("ownerReferences", [])
    return owners


def check_selectors(plural: str, query: Mapping[str, str]) -> None:
    fields = _equalities(query.get("fieldSelector", "")).keys()
    if unknown := fields - {"metadata.name", "metadata.namespace"} - _SELECTABLE.get(plural, set()):
        raise Refused(400, f"field label not supported: {', '.join(sorted(unknown))}")


def matches(made: Json, query: Mapping[str, str]) -> bool:
    labels = made["metadata"].get("labels") or {}
    wanted = _equalities(query.get("labelSelector", ""))
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    fields = _equalities(query.get("fieldSelector", ""))
    return all(str(_field(made, name) or "") == value for name, value in fields.items())


def _equalities(selector: str) -> dict[str, str]:
    """Selectors of our programs are equalities and nothing else."""
    pairs = [each.partition("=") for each in selector.split(",") if each]
    assert all(mark and not name.endswith("!") for name, mark, _ in pairs), f"not implemented: {selector}"
    return {name: value.removeprefix("=") for name, _, value in pairs}


def _field(made: Json, path: str) -> Any:
    at: Any = made
    for name in path.split("."):
        at = (at or {}).get(name)
    return at


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects are merged, all else is replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made
