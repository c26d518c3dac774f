"""Whatever is killed, every job ends once: operators, NATS, the store, the API server.

`AUTEUR_TEST_FULL=1` (`make chaos`) makes it thousands of jobs, ten kills and half minutes of silence; without it the
same stories are told at a tenth of that, but for those that `test_operator_replicas` tells at that size.
"""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from auteur_contracts import names, subjects
from auteur_contracts.events import Envelope
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from tests.support.cluster import api, kwok
from tests.support.cluster.control_plane import ControlPlane, Options, running
from tests.support.cluster.kwok import End
from tests.support.cluster.operators import COLD, Operator, install_crds, job, operator, runner
from tests.support.servers import ServerProcess, nats_server, store_server
from tests.support.waiting import eventually, wait_for

pytestmark = pytest.mark.chaos

FULL = os.environ.get("AUTEUR_TEST_FULL") == "1"
JOBS = 5000 if FULL else 250
KILLS = 10 if FULL else 3
LEADERS = 10
SILENCE = 30.0 if FULL else 8.0
PATIENCE = 1200.0 if FULL else 240.0
HOME = "auteur"
SPACES = ("film", "ads", "games")

only_in_full = pytest.mark.skipif(not FULL, reason="at a small size test_operator_replicas tells it")
FAILS_ONCE_IN = {"fails": End.FAIL, "vanishes": End.VANISH, "hangs": End.HANG}


@dataclass
class Studio:
    """A cluster of the test's own, and what runs around it."""

    folder: Path
    plane: ControlPlane
    nats: ServerProcess
    nats_settings: NatsSettings
    store: ServerProcess
    store_settings: StoreSettings
    _made: int = field(default=0)

    def operator(self, **wanted: str) -> Operator:
        self._made += 1
        return operator(
            self.plane.kubeconfig,
            self.folder / "operators",
            home=HOME,
            nats=self.nats_settings,
            store=self.store_settings,
            identity=f"operator-{self._made}",
            wanted={"max_active_per_namespace": "10000", **wanted},
        )


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    nats, nats_settings = nats_server(tmp_path / "nats")
    store, store_settings = store_server(tmp_path / "store")
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(running(tmp_path / "control-plane", Options(audit=True)))
        for server in (nats, store):
            server.start()
            stack.callback(server.stop)
        install_crds(plane.kubectl)
        stack.enter_context(kwok.playing(plane, tmp_path / "kwok", kwok.Shape("fake", count=4, gpus=0)))
        for space in (HOME, *SPACES):
            plane.kubectl("create", "namespace", space)
            plane.kubectl("label", "namespace", space, f"{names.LABEL_ENABLED}=true")
            plane.kubectl.within(space)("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
        yield Studio(tmp_path, plane, nats, nats_settings, store, store_settings)


@pytest.fixture
async def client(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    store = Store(studio.store_settings)
    await store.ensure_bucket()
    store.close()
    async with api.connect(studio.plane.kubeconfig, connections=16) as connected:
        yield connected


def _path(space: str, plural: str = "generationjobs") -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{space}/{plural}"


async def _create(client: httpx.AsyncClient, manifests: list[dict[str, Any]]) -> None:
    waiting = iter(manifests)

    async def hand() -> None:
        for manifest in waiting:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    answer = await client.post(_path(manifest["metadata"]["namespace"]), json=manifest)
                    if answer.status_code in (201, 409):
                        break
                await asyncio.sleep(0.2)  # the API server is away: that is the test

    await asyncio.gather(*(hand() for _ in range(16)))


async def _jobs(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return [item for space in SPACES for item in await api.items(client, _path(space))]


def _finished(item: dict[str, Any]) -> bool:
    return _condition(item, "Finished") == "True"


def _condition(item: dict[str, Any], kind: str) -> str:
    found = [each for each in item.get("status", {}).get("conditions", ()) if each["type"] == kind]
    assert len(found) <= 1
    return str(found[0]["status"]) if found else ""


@contextlib.asynccontextmanager
async def _ends_heard(settings: NatsSettings) -> AsyncIterator[defaultdict[str, set[str]]]:
    """Uid → ids of the terminal facts that were said of it."""
    heard: defaultdict[str, set[str]] = defaultdict(set)

    async def on_fact(_subject: str, data: bytes) -> None:
        said = Envelope.model_validate_json(data)
        if said.data.fact in subjects.TERMINAL_FACTS:
            heard[said.uid].add(said.id)

    async with Bus.connect(settings, name="listener") as bus:
        await bus.listen("auteur.event.v1.>", on_fact)
        yield heard


@pytest.mark.timeout(PATIENCE + 120)
async def test_every_job_ends_once_while_the_operator_is_killed_again_and_again(
    studio: Studio, client: httpx.AsyncClient
) -> None:
    draw = random.Random(4)
    # A pod that vanishes keeps its place on a played node for ever: thousands have to fit.
    small = [{"quality": "standard", "pipeline": "tiny", "warm": COLD, "resources": {"cpu": "10m", "memory": "16Mi"}}]
    runners = [runner("works", HOME, tiers=small)]
    runners += [runner(name, HOME, end=end, tiers=small) for name, end in FAILS_ONCE_IN.items()]
    studio.plane.kubectl.apply(*runners)
    kinds = draw.choices(("works", "fails", "vanishes", "hangs"), (80, 8, 8, 4), k=JOBS)
    manifests = [
        job(f"job-{number}", SPACES[number % len(SPACES)], runner=kind, retries=1 if number % 2 else 0)
        for number, kind in enumerate(kinds)
    ]
    replica = studio.operator()
    replica.process.start()
    try:
        async with _ends_heard(studio.nats_settings) as heard:
            creating = asyncio.create_task(_create(client, manifests))
            hangs = [each["metadata"] for each, kind in zip(manifests, kinds, strict=True) if kind == "hangs"]
            cancelling = asyncio.create_task(_cancel_when_dispatched(client, hangs))
            for kill in range(KILLS):
                share = JOBS * (kill + 1) / (KILLS + 1)
                await eventually(
                    partial(_ended_at_least, client, share * 0.9),
                    f"{share:.0f} jobs to end",
                    seconds=PATIENCE,
                )
                replica.process.kill()
                replica.process.start()
            await creating
            await cancelling
            await eventually(lambda: _ended_at_least(client, JOBS), "all jobs to end", seconds=PATIENCE)
            items = await _jobs(client)
            await eventually(lambda: len(heard) >= JOBS, "an end to be said of each job")
    finally:
        replica.process.stop()
    assert len({item["metadata"]["uid"] for item in items}) == JOBS
    ends = Counter((item["spec"]["runner"], item["status"]["phase"]) for item in items)
    print(f"\n{JOBS} jobs, {KILLS} kills: {dict(ends)}")
    assert {kind for kind, _ in ends} == {"works", "fails", "vanishes", "hangs"}
    for kind, phase in ends:
        assert phase == {"works": "Succeeded", "hangs": "Cancelled"}.get(kind, "Failed"), (kind, phase)
    assert {len(ids) for ids in heard.values()} == {1}, "each job's end has one id, however often it is said"
    await _one_job_per_attempt(client, items)


async def _cancel_when_dispatched(client: httpx.AsyncClient, hanging: list[dict[str, str]]) -> None:
    """They would run until their deadline."""
    for meta in hanging:
        path = f"{_path(meta['namespace'])}/{meta['name']}"

        async def is_dispatched(path: str = path) -> bool:
            answer = await client.get(path)
            return answer.status_code == 200 and _condition(answer.json(), "Dispatched") == "True"

        await eventually(is_dispatched, f"{meta['name']} to be dispatched", seconds=PATIENCE)
        patch = {"spec": {"cancel": True}}
        headers = {"Content-Type": "application/merge-patch+json"}
        (await client.patch(path, json=patch, headers=headers)).raise_for_status()


async def _ended_at_least(client: httpx.AsyncClient, wanted: float) -> bool:
    ended = sum(_finished(item) for item in await _jobs(client))
    if ended < wanted:
        await asyncio.sleep(0.5)  # the question costs the API server more than the answer is worth
    return ended >= wanted


async def _one_job_per_attempt(client: httpx.AsyncClient, items: list[dict[str, Any]]) -> None:
    made: Counter[tuple[str, str]] = Counter()
    for space in SPACES:
        for each in await api.items(client, f"/apis/batch/v1/namespaces/{space}/jobs"):
            labels = each["metadata"]["labels"]
            made[labels[names.LABEL_JOB_UID], labels[names.LABEL_ATTEMPT]] += 1
    assert set(made.values()) == {1}
    attempts = {item["metadata"]["uid"]: item["status"]["attempt"] for item in items}
    for uid, number in made:
        assert int(number) <= attempts[uid], "nobody but the reconciler starts an attempt"


@only_in_full
@pytest.mark.timeout(LEADERS * 40 + 120)
async def test_a_killed_leader_is_succeeded(studio: Studio, client: httpx.AsyncClient) -> None:
    """SIGKILL of the leader → the next job has its Job: within 15 s on a machine that has time, as is printed."""
    studio.plane.kubectl.apply(runner("works", HOME))
    replicas = [studio.operator(), studio.operator()]
    for replica in replicas:
        replica.process.start()
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/auteur-operator"
    took = []
    try:
        for number in range(LEADERS):
            holder = (await client.get(lease)).json()["spec"]["holderIdentity"]
            leader = next(replica for replica in replicas if replica.identity == holder)
            leader.process.kill()
            began = time.monotonic()
            await _create(client, [job(f"next-{number}", "film")])
            path = f"/apis/batch/v1/namespaces/film/jobs/next-{number}-1"
            await eventually(partial(_is_there, client, path), "the next Job")
            took.append(time.monotonic() - began)
            leader.process.start()
    finally:
        for replica in replicas:
            replica.process.stop()
    print(f"\n{LEADERS} leaders killed; next Job after {min(took):.1f} to {max(took):.1f} s")


async def _is_there(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 200


@pytest.mark.parametrize("away", ["nats", "store", "apiserver"])
@pytest.mark.timeout(SILENCE * 2 + PATIENCE)
async def test_a_part_that_goes_away_and_comes_back_costs_time_and_no_job(
    studio: Studio, client: httpx.AsyncClient, away: str
) -> None:
    studio.plane.kubectl.apply(runner("works", HOME), runner("silent", HOME, end=End.FAIL))
    server = {"nats": studio.nats, "store": studio.store, "apiserver": studio.plane.apiserver}[away]
    before = [job(f"before-{number}", "film", runner="works") for number in range(20)]
    # What ended without a word is judged by what lies in the store: nobody may judge it while the store is away.
    before += [job(f"silent-{number}", "film", runner="silent", retries=0) for number in range(5)]
    during = [job(f"during-{number}", "film", runner="works") for number in range(20)]
    after = [job(f"after-{number}", "film", runner="works") for number in range(20)]
    replica = studio.operator()
    replica.process.start()
    try:
        await _create(client, before)
        server.kill()
        gone = time.monotonic()
        meanwhile = asyncio.create_task(_create(client, during))
        await asyncio.sleep(SILENCE)
        server.start()
        await meanwhile
        await _create(client, after)
        if replica.process.ended:
            # Without the API server a leader cannot renew its Lease: it ends, and its Deployment starts it again.
            assert away == "apiserver"
            replica.process.start()
        await eventually(lambda: _ended_at_least(client, 65), "all jobs to end", seconds=120)
        items = await _jobs(client)
    finally:
        replica.process.stop()
    ends = Counter((item["metadata"]["name"].partition("-")[0], item["status"]["phase"]) for item in items)
    print(f"\n{away} away for {time.monotonic() - gone:.0f} s: {dict(ends)}")
    assert ends == {
        ("before", "Succeeded"): 20,
        ("silent", "Failed"): 5,
        ("during", "Succeeded"): 20,
        ("after", "Succeeded"): 20,
    }


@only_in_full
@pytest.mark.timeout(400)
async def test_who_has_nothing_to_do_writes_nothing(studio: Studio, client: httpx.AsyncClient) -> None:
    """Finished jobs, waiting jobs, and not one write but Leases."""
    finished, waiting, seconds = 1000, 100, 120.0
    studio.plane.kubectl.apply(runner("works", HOME), runner("warm", HOME, end=End.HANG, tiers=[_WARM]))
    # A busy machine's API server may be silent for longer than a Lease usually lasts: that is another story.
    replica = studio.operator(keep_finished_jobs="1d", lease_duration="10m", lease_renew_deadline="5m")
    replica.process.start()
    try:
        held, queued = range(waiting // 2), range(waiting - waiting // 2)
        await _create(client, [job(f"done-{number}", "film", runner="works") for number in range(finished)])
        await _create(client, [job(f"held-{number}", "film", suspend=True) for number in held])
        await _create(client, [job(f"next-{number}", "film", runner="warm") for number in queued])
        await eventually(lambda: _ended_at_least(client, finished), "all jobs to end", seconds=180)

        async def all_accepted() -> bool:
            return all(_condition(item, "Accepted") for item in await _jobs(client))

        await eventually(all_accepted, "the waiting to be accepted")
        await eventually(lambda: _pool_is_up(client, len(queued)), "the pool to grow")
        await asyncio.sleep(12)  # the last counts of workers and Jobs settle
        start = studio.plane.audit_log.stat().st_size
        await asyncio.sleep(seconds)
        writes = [
            (line["verb"], line["objectRef"]["resource"])
            for line in studio.plane.audited(start)
            if line["userAgent"].startswith((names.MANAGER, "kopf"))
            and line["verb"] not in ("get", "list", "watch")
            and line["objectRef"]["resource"] != "leases"
        ]
        leases = sum(
            line["verb"] == "update" and line["userAgent"].startswith(names.MANAGER)
            for line in studio.plane.audited(start)
        )
    finally:
        replica.process.stop()
    print(
        f"\n{seconds:.0f} s with {finished} finished and {waiting} waiting jobs: {len(writes)} writes, {leases} Leases"
    )
    assert writes == []
    assert leases > 0, "the log shows our writes, if there are any"


async def _pool_is_up(client: httpx.AsyncClient, workers: int) -> bool:
    answer = await client.get(f"/apis/apps/v1/namespaces/{HOME}/deployments/warm-standard")
    return answer.status_code == 200 and answer.json().get("status", {}).get("readyReplicas", 0) >= workers


_WARM = {"quality": "standard", "pipeline": "tiny", "warm": {**COLD, "min": 1, "max": 1000}}


def test_a_standby_is_ready_and_alive(studio: Studio) -> None:
    """A Deployment of two replicas becomes available."""
    replicas = [studio.operator(), studio.operator()]
    try:
        for replica in replicas:
            replica.process.start()
            wait_for(replica.is_alive, "a pulse")
        leading = [
            float(line.rpartition(" ")[2])
            for replica in replicas
            for line in httpx.get(f"{replica.url}/metrics").text.splitlines()
            if line.startswith("auteur_operator_leading ")
        ]
        assert sorted(leading) == [0.0, 1.0]
    finally:
        for replica in replicas:
            replica.process.stop()
