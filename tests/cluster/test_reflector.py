"""The operator's lean watch of pods, on a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest

from auteur_operator.cluster import Cluster, Gone, Json, Unreachable, configuration, path_of
from auteur_operator.reflector import reflect
from tests.support.cluster.control_plane import Cluster as ClusterUnderTest
from tests.support.waiting import eventually

Asked = TypeVar("Asked", bound=Cluster)
_WATCHED = {"watched": "yes"}
_QUERY = {"labelSelector": "watched=yes"}


class _Heard:
    """What is there by all that was heard, and how often a list came."""

    def __init__(self) -> None:
        self.there: dict[str, str] = {}
        self.lists = 0
        self._news = asyncio.Condition()

    def listed(self, objects: list[Json], _resource_version: str) -> None:
        self.lists += 1
        self.there = {
            each["metadata"]["name"]: each["metadata"].get("annotations", {}).get("n", "") for each in objects
        }
        self._tell()

    def hear(self, changed: Json, *, deleted: bool) -> None:
        meta = changed["metadata"]
        if deleted:
            self.there.pop(meta["name"], None)
        else:
            self.there[meta["name"]] = _note(changed)
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._news:
                self._news.notify_all()

        self._telling = asyncio.ensure_future(tell())

    async def until(self, there: dict[str, str]) -> None:
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: self.there == there)


def _note(pod: Json) -> str:
    return str(pod["metadata"].get("annotations", {}).get("n", ""))


class _Forgotten(Cluster):
    """Its first list says that it is as old as the server's first object: too old to watch from."""

    lists = 0

    async def list(self, path: str, **query: str) -> tuple[list[Json], str]:
        objects, version = await super().list(path, **query)
        self.lists += 1
        return objects, "1" if self.lists == 1 else version


class _Away(Cluster):
    """Does not answer the first list, nor the first watch."""

    def __init__(self, wanted: Any) -> None:
        super().__init__(wanted)
        self.refused: list[str] = []

    def _refuse(self, verb: str) -> None:
        if verb not in self.refused:
            self.refused.append(verb)
            raise Unreachable(verb, "away")

    async def list(self, path: str, **query: str) -> tuple[list[Json], str]:
        self._refuse("list")
        return await super().list(path, **query)

    async def watch(self, path: str, since: str, **query: str) -> AsyncIterator[tuple[str, Json]]:
        self._refuse("watch")
        async for each in super().watch(path, since, **query):
            yield each


@contextlib.asynccontextmanager
async def _cluster(rig: ClusterUnderTest, kind: type[Asked], patch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    patch.setenv("KUBECONFIG", str(rig.kubeconfig))
    made = kind(await configuration())
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def _reflecting(cluster: Cluster, path: str) -> AsyncIterator[_Heard]:
    heard = _Heard()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reflect(cluster, path, _QUERY, listed=heard.listed, hear=heard.hear))
        yield heard
        task.cancel()


def _pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "none", "image": "registry.invalid/none"}], "schedulerName": "nobody"},
    }


async def test_everything_there_and_each_change_is_heard(
    control_plane: ClusterUnderTest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of("v1", "pods", namespace)
    async with _cluster(control_plane, Cluster, monkeypatch) as cluster:
        await cluster.create(path, _pod("before", watched="yes"))
        await cluster.create(path, _pod("foreign"))
        async with _reflecting(cluster, path) as heard:
            await heard.until({"before": ""})
            await cluster.create(path, _pod("after", watched="yes"))
            await heard.until({"before": "", "after": ""})
            await cluster.merge(f"{path}/after", {"metadata": {"annotations": {"n": "é" * 100_000}}})  # many chunks
            await heard.until({"before": "", "after": "é" * 100_000})
            await cluster.merge(f"{path}/after", {"metadata": {"labels": {"watched": "no"}}})
            await cluster.delete(f"{path}/before")
            await heard.until({})
        assert heard.lists == 1


async def test_when_the_server_has_forgotten_the_list_is_read_again(
    control_plane: ClusterUnderTest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kind that was made just now the server cannot tell what was before."""
    control_plane.kubectl.apply(_kind(f"{namespace}.example"))
    control_plane.kubectl.learn(f"notes.{namespace}.example")
    path = path_of(f"{namespace}.example/v1", "notes", namespace)
    note = {"apiVersion": f"{namespace}.example/v1", "kind": "Note", "metadata": {"name": "new", "labels": _WATCHED}}
    try:
        async with _cluster(control_plane, _Forgotten, monkeypatch) as cluster:
            await eventually(lambda: _is_forgotten(cluster, path), "the server to know since when it knows the kind")
            async with _reflecting(cluster, path) as heard:
                control_plane.kubectl.within(namespace).apply(note)
                await heard.until({"new": ""})
                await eventually(lambda: heard.lists == 2, "the second list")
    finally:
        control_plane.kubectl("delete", "crd", f"notes.{namespace}.example", "--wait=false")


async def _is_forgotten(cluster: Cluster, path: str) -> bool:
    """Whether a watch from the first of all changes is refused, as it should be."""
    try:
        async with asyncio.timeout(1):
            async for _ in cluster.watch(path, "1"):
                pass
    except Gone:
        return True
    except (TimeoutError, Unreachable):
        return False
    return False


def _kind(group: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"notes.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Note", "plural": "notes"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_a_server_that_does_not_answer_is_asked_again(
    control_plane: ClusterUnderTest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of("v1", "pods", namespace)
    async with _cluster(control_plane, _Away, monkeypatch) as cluster, _reflecting(cluster, path) as heard:
        await cluster.create(path, _pod("there", watched="yes"))
        await heard.until({"there": ""})
        await eventually(lambda: cluster.refused == ["list", "watch"], "the watch to be refused")
        await cluster.create(path, _pod("later", watched="yes"))
        await heard.until({"there": "", "later": ""})
        assert heard.lists == 1
