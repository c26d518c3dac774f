"""Everything is listed and compared from time to time: after an interrupted watch Kopf lists anew, and tells nobody of
what was deleted meanwhile.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from auteur_contracts import names
from auteur_control.errors import ResourceError
from auteur_kit.logs import get_logger
from auteur_operator.caches import Caches
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.handlers import MANAGED
from auteur_operator.intake import Intake

log = get_logger()


class Resync:
    """`places`: the namespaces that are looked at; none: all of them."""

    def __init__(self, cluster: Cluster, caches: Caches, intake: Intake, places: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._jobs = caches.jobs
        self._objects = caches.objects
        self._intake = intake
        self._places = places

    async def until_it_works(self) -> None:
        while True:
            try:
                await self.once()
            except ResourceError as error:
                log.warning("objects cannot be listed", error=str(error))
                await asyncio.sleep(1)
            else:
                return

    async def run(self, every: timedelta) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await self.once()
            except ResourceError as error:
                log.warning("resync failed", error=str(error))

    async def once(self) -> None:
        intake, objects = self._intake, self._objects
        jobs = [(*key, self._jobs.uid(key)) for key in self._jobs.all_keys()]
        await self._compare(names.API_VERSION, "generationjobs", intake.on_job, jobs)
        pods = [(*key, "") for key in objects.pods]
        await self._compare("v1", "pods", intake.on_pod, pods, labelSelector=MANAGED)
        runners = [(*key, "") for key in objects.runners]
        await self._compare(names.API_VERSION, "functionrunners", intake.on_runner, runners)
        deployments = [(*key, "") for key in objects.deployments]
        await self._compare("apps/v1", "deployments", intake.on_deployment, deployments, labelSelector=MANAGED)
        for raw in (await self._cluster.list(path_of("v1", "namespaces")))[0]:
            intake.on_namespace(raw, deleted=False)

    async def _compare(
        self, version: str, plural: str, hear: Callable[..., None], known: list[tuple[str, str, str]], **query: str
    ) -> None:
        """`known`: what was known before the list was asked for; what came meanwhile is not judged by it."""
        for place in self._places or ("",):
            raws, listed_at = await self._cluster.list(path_of(version, plural, place), **query)
            there = {(raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in raws}
            for raw in raws:
                hear(raw, deleted=False)
            for namespace, name, uid in known:
                if place in ("", namespace) and (namespace, name) not in there:
                    gone = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": listed_at}
                    hear({"metadata": gone}, deleted=True)
