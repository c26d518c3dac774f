"""Several replicas: one leads, the others only watch; what rights it needs, and that it writes nothing when idle."""

import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from auteur_contracts import names
from auteur_kit.settings import StoreSettings
from tests.support.cluster import kwok
from tests.support.cluster.api import connect
from tests.support.cluster.control_plane import ControlPlane, Options, running
from tests.support.cluster.helm import Helm
from tests.support.cluster.kwok import End
from tests.support.cluster.operators import Here, Operated, Operator, job, operating, runner
from tests.support.waiting import eventually, wait_for

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
QUIET_SECONDS = 20


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With an audit log that nobody else's requests are in."""
    folder = tmp_path_factory.mktemp("replicas")
    shape = kwok.Shape("fake", count=1, gpus=0)
    with running(folder / "control-plane", Options(audit=True)) as made, kwok.playing(made, folder / "kwok", shape):
        yield made


@pytest.fixture(scope="module")
def operated(
    plane: ControlPlane, store_server_settings: StoreSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operated]:
    """No replica is started yet."""
    folder = tmp_path_factory.mktemp("operators")
    with operating(plane, folder, store_server_settings, start=False) as made:
        yield made


@pytest.fixture
async def space(plane: ControlPlane) -> AsyncIterator[Here]:
    """A namespace of the test's own."""
    name = f"film-{uuid.uuid4().hex[:8]}"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("label", "namespace", name, f"{names.LABEL_ENABLED}=true")
    plane.kubectl.within(name)("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    async with connect(plane.kubeconfig) as client:
        yield Here(name, plane.kubectl.within(name), client)


def as_account(operated: Operated, name: str) -> Path:
    """The kubeconfig of a replica with a name of its own in the audit log, and with exactly the chart's rights."""
    kubectl = operated.cluster.kubectl.within(operated.home)
    rendered = Helm(operated.folder).template("auteur", release=name, namespace=operated.home)
    wanted = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount")
    rights = [
        each
        for each in yaml.safe_load_all(rendered)
        if each and each["kind"] in wanted and each["metadata"]["name"].startswith(f"{name}-auteur-operator")
    ]
    kubectl.apply(*rights)
    (account,) = (each["metadata"]["name"] for each in rights if each["kind"] == "ServiceAccount")
    return operated.cluster.service_account(operated.home, account)


def holder(operated: Operated) -> str:
    lease = operated.cluster.kubectl.within(operated.home).run("get", "lease", "auteur-operator", "-o", "yaml")
    spec = yaml.safe_load(lease.stdout)["spec"] if lease.returncode == 0 else {}
    return str(spec.get("holderIdentity") or "")


def writes(plane: ControlPlane, since: int, account: str) -> Counter[str]:
    """What an account wrote, by verb and resource."""
    found: Counter[str] = Counter()
    for each in plane.audited(since):
        if each["user"]["username"].endswith(f":{account}") and each["verb"] in WRITES:
            found[f"{each['verb']} {each['objectRef']['resource']}"] += 1
    return found


@pytest.fixture
def started() -> Iterator[list[Operator]]:
    replicas: list[Operator] = []
    yield replicas
    for each in replicas:
        each.process.stop()


def stopped(replica: Operator) -> float:
    """Seconds that it took to end as it should."""
    process = replica.process.process
    assert process is not None
    began = time.monotonic()
    process.terminate()
    assert process.wait(60) == 0
    return time.monotonic() - began


def start(started: list[Operator], replica: Operator) -> Operator:
    replica.process.start()
    started.append(replica)
    return replica


async def test_with_the_charts_rights_it_does_all_it_has_to(
    operated: Operated, plane: ControlPlane, space: Here, started: list[Operator]
) -> None:
    account = as_account(operated, "entitled")
    start(started, operated.replica("entitled", account, worker_egress="[]"))  # where there are network policies
    tiers = [{"quality": "standard", "pipeline": "tiny", "warm": {"min": 0, "max": 0}}]
    warm = [{"quality": "standard", "pipeline": "tiny", "warm": {"min": 1, "max": 1}}]
    await space.make(runner("diffusion", space.name, tiers=tiers), runner("warm", space.name, end=End.HANG, tiers=warm))
    await space.make(runner("fails", space.name, end=End.FAIL), job("night", space.name, runner="fails", retries=1))
    await space.make(job("alley", space.name, runner="diffusion", ttlSecondsAfterFinished=0))
    await space.until("night", Finished="True/PlatformFailed")
    await space.until_gone("GenerationJob", "alley")  # succeeded, and expired

    async def is_sized() -> bool:
        return await space.find("Deployment", "warm-standard") is not None

    await eventually(is_sized, "the pool")
    refused = [each for each in plane.audited() if _is_refused(each, "entitled")]
    assert refused == []


def _is_refused(entry: dict[str, dict[str, object]], account: str) -> bool:
    who = str(entry["user"]["username"])
    return account in who and entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"


async def test_who_has_nothing_to_do_writes_nothing(
    operated: Operated, plane: ControlPlane, space: Here, started: list[Operator]
) -> None:
    account = as_account(operated, "quiet")
    start(started, operated.replica("quiet", account))
    warm = [{"quality": "standard", "pipeline": "tiny", "warm": {"min": 1, "max": 1}}]
    await space.make(runner("diffusion", space.name), runner("warm", space.name, end=End.HANG, tiers=warm))
    await space.make(runner("slow", space.name, end=End.HANG))
    finished = [job(f"done-{number}", space.name, runner="diffusion") for number in range(10)]
    waiting = [job(f"waits-{number}", space.name, runner="slow", suspend=number < 5) for number in range(10)]
    await space.make(*finished, *waiting)
    for each in finished:
        await space.until(each["metadata"]["name"], Succeeded="True/OutputsCommitted")
    for number in range(5):
        await space.until(f"waits-{number}", Dispatched="False/Suspended")
        await space.until(f"waits-{number + 5}", Running="False/PodStarting")  # told when it takes longer than usual
    await _settled(plane, "auteur-operator")

    since = plane.audit_log.stat().st_size
    until = time.monotonic() + QUIET_SECONDS
    await eventually(lambda: time.monotonic() > until, "the time to pass", seconds=QUIET_SECONDS + 5)
    found = writes(plane, since, "quiet-auteur-operator")
    leases = found.pop("update leases")
    assert found == {}
    assert leases == pytest.approx(QUIET_SECONDS / 2, abs=3)  # that is, the log was read


async def _settled(plane: ControlPlane, account: str) -> None:
    """Whatever was still on its way has been written: three seconds without."""
    last = [plane.audit_log.stat().st_size, time.monotonic()]

    def is_still() -> bool:
        size = plane.audit_log.stat().st_size
        if set(writes(plane, int(last[0]), account)) - {"update leases"}:
            last[:] = [size, time.monotonic()]
        return time.monotonic() - last[1] > 5

    await eventually(is_still, "the operator to have nothing to do")


async def test_a_standby_watches_and_writes_nothing_until_the_leader_goes(
    operated: Operated, plane: ControlPlane, space: Here, started: list[Operator]
) -> None:
    first, second = as_account(operated, "first"), as_account(operated, "second")
    for_long = {"lease_duration": "10m", "lease_renew_deadline": "5m"}  # no test sees the end of such a Lease
    leader = start(started, operated.replica("first", first, **for_long))
    await eventually(lambda: holder(operated) == "first", "the first to lead")
    standby = start(started, operated.replica("second", second, **for_long))
    since = plane.audit_log.stat().st_size
    await space.make(runner("diffusion", space.name), job("alley", space.name))
    await space.until("alley", Succeeded="True/OutputsCommitted")
    assert writes(plane, since, "second-auteur-operator") == {}

    began, stopping = time.monotonic(), stopped(leader)
    await space.make(job("pier", space.name))
    await space.until("pier", Succeeded="True/OutputsCommitted")
    took = time.monotonic() - began
    print(f"\nafter SIGTERM: the leader ended in {stopping:.1f} s, the next job had ended after {took:.1f} s")
    assert holder(operated) == standby.identity
    stopped(standby)  # a leader of seconds


async def test_a_killed_leader_is_succeeded(operated: Operated, space: Here, started: list[Operator]) -> None:
    leader = start(started, operated.replica("third"))
    await eventually(lambda: holder(operated) == "third", "the third to lead")
    start(started, operated.replica("fourth"))
    await space.make(runner("diffusion", space.name))
    leader.process.kill()
    began = time.monotonic()
    await space.make(job("alley", space.name))
    await space.until("alley", Succeeded="True/OutputsCommitted")
    print(f"\nafter SIGKILL of the leader: {time.monotonic() - began:.1f} s until the next job had ended")


async def test_a_leader_that_lost_its_lease_ends_with_an_error(operated: Operated, started: list[Operator]) -> None:
    leader = start(started, operated.replica("fifth"))
    wait_for(lambda: holder(operated) == "fifth", "the fifth to lead")
    thief = '{"spec": {"holderIdentity": "thief", "renewTime": "%s"}}'
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    home = operated.cluster.kubectl.within(operated.home)
    home("patch", "lease", "auteur-operator", "--type=merge", "-p", thief % now)
    process = leader.process.process
    assert process is not None
    assert wait_for(lambda: process.poll() is not None, "it to end") is True
    assert process.returncode == 1
    assert "another replica holds the Lease" in leader.process.log.read_text()
