"""A cluster in memory: an API server, and as much of its controllers as the operator meets. Tests play the kubelet.

It is the operator's own client, whose calls reach a dictionary instead of a server: paths, bodies and errors are the
real ones. `cluster_suite` runs on it and on a real control plane. Simpler here: lists of an applied manifest are
replaced as a whole, finalizers are ignored, what a controller does is done at once, and objects other than our custom
resources are neither validated nor filled with defaults.
"""

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from auteur_control.errors import Unreachable
from auteur_operator.cluster import Cluster, Json, _error, _plural
from tests.support import custom_resources
from tests.support.memory_kubelet import JobController, Kubelet
from tests.support.memory_objects import Change, Key, Objects, Refused, merged, parse

_STATUS_IS_APART = {"generationjobs", "functionrunners", "pods", "jobs", "deployments", "namespaces", "nodes"}
"""Kinds whose status is a subresource: a write of the object does not change it."""
_FIRST_STATUS = {"pods": {"phase": "Pending"}, "namespaces": {"phase": "Active"}}
_NAMESPACES = Key("v1", "namespaces", "", "")


class MemoryCluster(Cluster):
    """Without a connection: the client's own constructor is not called."""

    def __init__(self) -> None:
        self.objects = Objects(self._on_change)
        self.kubelet = Kubelet(self.objects)
        self.job_controller = JobController(self.objects)
        self.calls: list[tuple[str, str]] = []
        """Verb and path of each, refused ones too."""
        self.is_away = False
        self.writable = asyncio.Event()
        """While it is cleared, writes wait."""
        self.writable.set()
        self.answers_after = 0.0
        """Seconds between a write and its answer."""
        self._refusals: list[tuple[str, str, int, str]] = []
        self._applied: dict[str, Json] = {}
        """What was applied last, by uid."""
        self.listeners: list[Callable[[Change], None]] = []
        """They hear of each change at once: in the place of watches, which are Kopf's on a real cluster."""
        self.put_namespace("default")

    async def close(self) -> None:
        """There is no connection."""

    # ── switches for tests ────────────────────────────────────────────────────────────────────────────────────────

    def put_namespace(self, name: str, **labels: str) -> Json:
        made = {"metadata": {"labels": labels}, "status": {"phase": "Active"}}
        return self.objects.add(_NAMESPACES._replace(name=name), made)

    def put(self, path: str, manifest: Json) -> None:
        """As by `kubectl apply`."""
        self._answer("apply", path, copy.deepcopy(manifest), {})

    def refuse(self, verb: str, plural: str, status: int, message: str = "refused") -> None:
        """The next such call is answered so: `refuse("create", "jobs", 403, "exceeded quota")`."""
        self._refusals.append((verb, plural, status, message))

    def go_away(self) -> None:
        """Until `come_back` calls find nobody."""
        self.is_away = True

    def come_back(self) -> None:
        self.is_away = False

    def _on_change(self, change: Change) -> None:
        for listen in self.listeners:
            listen(change)
        self._collect_garbage(change)
        self.job_controller.on_change(change)

    def _collect_garbage(self, change: Change) -> None:
        """What belongs to an object goes with it, and what is in a namespace."""
        if change.before is None or change.after is not None:
            return
        orphans = self.objects.owned_by(change.before["metadata"]["uid"])
        if change.key.plural == "namespaces":
            orphans += [key for key, _ in self.objects.select(Key("", "", change.key.name, ""), {})]
        for key in orphans:
            if self.objects.find(key) is not None:
                self.objects.delete(key)

    # ── a call ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _text(self, verb: str, path: str, body: Json | None = None, **asked: Any) -> str:
        """In place of a request over HTTP."""
        self.calls.append((verb, path))
        if self.is_away:
            raise Unreachable(f"{verb} {path}", "connection refused")
        if verb not in ("get", "list"):
            await self.writable.wait()
        try:
            self._refuse_if_told(verb, path)
            answer = self._answer(verb, path, copy.deepcopy(body or {}), asked.get("query") or {})
        except Refused as refused:
            said = json.dumps({"message": str(refused)})
            raise _error(f"{verb} {path}", verb, refused.status, said) from None
        await asyncio.sleep(0 if verb in ("get", "list") else self.answers_after)
        return answer if isinstance(answer, str) else json.dumps(answer)

    def _refuse_if_told(self, verb: str, path: str) -> None:
        for refusal in self._refusals:
            if refusal[:2] == (verb, _plural(path)):
                self._refusals.remove(refusal)
                raise Refused(*refusal[2:])

    def _answer(self, verb: str, path: str, body: Json, query: Mapping[str, str]) -> Json | str:
        key, sub = parse(path)
        match verb:
            case "get" if sub == "log":
                return self.kubelet.log(key)
            case "get":
                return self.objects.get(key)
            case "list":
                items = [made for _, made in self.objects.select(key, query)]
                return {"items": items, "metadata": {"resourceVersion": str(self.objects.version)}}
            case "create":
                return self._create(key, body)
            case "update":
                return self._put(key, sub, body)
            case "patch":
                return self._put(key, sub, merged(self.objects.get(key), body))
            case "apply":
                return self._apply(key, body)
            case _:
                return self._delete(key, body)

    def _create(self, key: Key, body: Json) -> Json:
        key = key._replace(name=body["metadata"]["name"])
        if body["metadata"].get("namespace", key.namespace) != key.namespace:
            raise Refused(400, "the namespace of the object does not match the namespace of the request")
        if key.namespace:
            self.objects.get(_NAMESPACES._replace(name=key.namespace))
        if self.objects.find(key) is not None:
            raise Refused(409, f'{key.plural} "{key.name}" already exists')
        if key.plural == "resourcequotas":  # it is counted at once
            body["status"] = {"hard": body["spec"]["hard"]}
        new = _with_status(body, {"status": _FIRST_STATUS.get(key.plural)}) if key.plural in _STATUS_IS_APART else body
        return self.objects.add(key, self._admitted(key, None, new))

    def _put(self, key: Key, sub: str, body: Json) -> Json:
        """A write of the status changes nothing else, and a write of the object not its status. One of a Lease that is
        gone makes it anew, unless it says which one it means.
        """
        if key.plural == "leases" and self.objects.find(key) is None:
            if "uid" in body["metadata"]:
                raise Refused(409, "Precondition failed: UID in precondition")
            return self._create(key, body)
        old = self.objects.get(key)
        meta = body["metadata"]
        if "resourceVersion" not in meta:
            raise Refused(422, "metadata.resourceVersion: must be specified for an update")
        if meta["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise Refused(409, "the object has been modified; please apply your changes to the latest version")
        if meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise Refused(409, "Precondition failed: UID in precondition")
        if sub == "status":
            body = _with_status(old, body)
        elif key.plural in _STATUS_IS_APART:
            body = _with_status(body, old)
        return self.objects.put(key, self._admitted(key, old, body))

    def _admitted(self, key: Key, old: Json | None, new: Json) -> Json:
        if key.plural not in custom_resources.schemas():
            return new
        new = custom_resources.admitted(key.plural, new)
        if why := custom_resources.objections(key.plural, old, new):
            raise Refused(422, f'{key.plural} "{key.name}" is invalid: {"; ".join(why)}')
        return new

    def _apply(self, key: Key, body: Json) -> Json:
        """Fields that the last manifest named and this one does not are taken away."""
        old = self.objects.find(key)
        if old is None:
            made = self._create(key, copy.deepcopy(body))
        else:
            before = self._applied.get(old["metadata"]["uid"], {})
            made = self._put(key, "", merged(_without(old, before, body), body))
        self._applied[made["metadata"]["uid"]] = body
        return made

    def _delete(self, key: Key, body: Json) -> Json:
        uid = self.objects.get(key)["metadata"]["uid"]
        if body.get("preconditions", {}).get("uid", uid) != uid:
            raise Refused(409, "Precondition failed: UID in precondition")
        self.objects.delete(key)
        return {}


def _with_status(made: Json, other: Json) -> Json:
    """`made` with the status of `other`."""
    rest = {name: value for name, value in made.items() if name != "status"}
    return {**rest, "status": other["status"]} if other.get("status") is not None else rest


def _without(old: Json, before: Json, body: Json) -> Json:
    """`old` less what `before` named and `body` does not."""
    made = dict(old)
    for name, value in before.items():
        if name not in body:
            made.pop(name, None)
        elif isinstance(value, dict) and isinstance(made.get(name), dict) and isinstance(body[name], dict):
            made[name] = _without(made[name], value, body[name])
    return made
