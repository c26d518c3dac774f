"""The floor of the operator: it sees the same watch events through the same client, makes the same calls, says as many
facts on NATS, and decides nothing. Jobs and statuses are those of the first job, under another name. Where the runner
has warm workers it orders, and grants what is claimed, as the engine of `tests.bench.bare_chain` does.

`python -m tests.bench.cluster.bare_operator NATS_URL USER PASSWORD`
"""

import asyncio
import gc
import json
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import kopf
import nats
import uvloop
from nats.aio.msg import Msg
from nats.js.api import StorageType, StreamConfig
from nats.js.client import JetStreamContext

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, GenerationJob, Plan
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.resolve import resolve
from auteur_operator import handlers
from auteur_operator.cluster import Cluster, configuration, path_of
from auteur_operator.desired import Surroundings, attempt_job
from tests.bench.bare_chain import CLAIMS, READY, WORK, durable_streams

_COLLECT = (50_000, 20, 50)
"""As the operator's."""
_EVENTS = "auteur.event.v1"
Raw = dict[str, Any]
Key = tuple[str, str]


class Template:
    """What the first job of a runner comes to, as text in which other jobs' names stand in for its own."""

    def __init__(self, raw: Raw, runner: FunctionRunner) -> None:
        job = GenerationJob.model_validate(raw)
        plan = resolve(job, [runner], platform=CLUSTER)
        assert isinstance(plan, Plan), plan
        self._own = (job.metadata.name, job.metadata.uid)
        self._job = json.dumps(attempt_job(job, plan, 1, runner, Surroundings(nats_url="nats://nats:4222")))
        self._status = json.dumps(_dispatched(plan))

    def job_of(self, meta: Raw) -> Raw:
        return self._made(self._job, meta)

    def status_of(self, meta: Raw) -> Raw:
        return self._made(self._status, meta)

    def _made(self, text: str, meta: Raw) -> Raw:
        name, uid = self._own
        made: Raw = json.loads(text.replace(uid, meta["uid"]).replace(name, meta["name"]))
        return made


class BareOperator:
    """What the watches call."""

    def __init__(self, cluster: Cluster, stream: JetStreamContext) -> None:
        self._cluster = cluster
        self._stream = stream
        self._runners: dict[str, FunctionRunner] = {}
        self._templates: dict[str, Template] = {}
        self._dispatched: defaultdict[Key, asyncio.Future[Raw]] = defaultdict(asyncio.get_running_loop().create_future)
        self._begun: set[Key] = set()
        self._ended: set[Key] = set()
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def on_runner(self, raw: Raw, *, deleted: bool) -> None:
        if not deleted:
            self._runners[raw["metadata"]["namespace"]] = FunctionRunner.model_validate(dict(raw))

    def on_job(self, raw: Raw, *, deleted: bool) -> None:
        key = _key(raw)
        if not deleted and key not in self._begun:
            self._begun.add(key)
            self._tasks.create_task(self._dispatch(key, dict(raw)))

    def on_pod(self, raw: Raw, *, deleted: bool) -> None:
        job = raw["metadata"].get("labels", {}).get(names.LABEL_JOB)
        key = (raw["metadata"]["namespace"], job)
        if job and not deleted and raw["status"]["phase"] == "Succeeded" and key not in self._ended:
            self._ended.add(key)
            self._tasks.create_task(self._finish(key))

    def on_deployment(self, raw: Raw, *, deleted: bool) -> None:
        pass

    def on_namespace(self, raw: Raw, *, deleted: bool) -> None:
        pass

    def on_lease(self, raw: Raw, *, deleted: bool) -> None:
        pass

    async def _dispatch(self, key: Key, raw: Raw) -> None:
        space = key[0]
        runner, template = self._runners[space], self._templates.get(space)
        if template is None:
            template = self._templates[space] = Template(raw, runner)
        warm = runner.spec.tiers[0].warm.max > 0
        if not warm:
            await self._cluster.make(path_of("batch/v1", "jobs", space), template.job_of(raw["metadata"]))
        raw["status"] = template.status_of(raw["metadata"])
        await self._write(key, raw)
        self._dispatched[key].set_result(raw)
        if warm:
            await self._stream.publish(WORK, json.dumps(key).encode())
        await self._say(raw, "accepted", "dispatched")

    async def on_claim(self, message: Msg) -> None:
        space, name = json.loads(message.data)
        raw = await self._dispatched[space, name]
        raw["status"]["phase"] = "Running"
        await self._write((space, name), raw)
        await message.respond(b"granted")

    async def _finish(self, key: Key) -> None:
        raw = await self._dispatched[key]  # its pod may be quicker than our own write
        raw["status"]["phase"] = "Succeeded"
        raw["status"]["completionTime"] = datetime.now(UTC).isoformat()
        await self._write(key, raw)
        await self._say(raw, "succeeded")

    async def _write(self, key: Key, raw: Raw) -> None:
        path = path_of(names.API_VERSION, "generationjobs", *key, "status")
        raw["metadata"] = {**raw["metadata"], "resourceVersion": await self._cluster.replace(path, raw)}

    async def _say(self, raw: Raw, *facts: str) -> None:
        meta = raw["metadata"]
        text = json.dumps({"uid": meta["uid"], "name": meta["name"], "data": raw["status"]["plan"]}).encode()
        for fact in facts:
            subject = f"{_EVENTS}.{meta['namespace']}.default.job.{meta['uid']}.{fact}"
            await self._stream.publish(subject, text, headers={"Nats-Msg-Id": f"{meta['uid']}-{fact}"})


def _key(raw: Raw) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _dispatched(plan: Plan) -> Raw:
    """A status of about the size that ours has."""
    now = datetime.now(UTC).isoformat()
    condition = {"status": "True", "reason": "PodCreated", "lastTransitionTime": now, "observedGeneration": 1}
    kinds = ("Accepted", "Dispatched", "Finished")
    message = "Attempt 1 has a pod of its own, by Job job-1."
    return {
        "attempt": 1,
        "conditions": [{"type": kind, "message": message, **condition} for kind in kinds],
        "dispatchTime": now,
        "observedGeneration": 1,
        "phase": "Dispatched",
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
    }


async def main(url: str, user: str, password: str) -> None:
    client = await nats.connect(url, user=user, password=password)
    stream = await durable_streams(client)
    await stream.add_stream(StreamConfig(name="EVENTS", subjects=[f"{_EVENTS}.>"], storage=StorageType.MEMORY))
    access = await configuration()
    cluster = Cluster(access)
    bare = BareOperator(cluster, stream)
    await client.subscribe(CLAIMS, cb=bare.on_claim)
    running = asyncio.create_task(bare.run())
    await asyncio.sleep(0)  # its group is open before anybody is told of anything
    await kopf.spawn_tasks(
        registry=handlers.registry(bare, access),  # type: ignore[arg-type]  # it is called as an Intake is
        settings=handlers.settings(("default", "none")),
        standalone=True,
        clusterwide=True,
    )
    print(READY, flush=True)
    await running


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    uvloop.run(main(*sys.argv[1:]))
