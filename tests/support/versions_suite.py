"""What the control plane promises about jobs that another version has written: a part of the suite of every shell. What
it does not know it keeps and leaves alone; what it cannot read it neither ends nor stops.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auteur_contracts import names
from auteur_contracts.orders import Grant, Order
from auteur_contracts.resources import Output
from auteur_contracts.vocabulary import ConditionType, Phase
from auteur_kit.bus import Bus
from tests.support import custom_resources
from tests.support.memory_objects import Json
from tests.support.scripted import ScriptedWorker, echo_job, find, submit
from tests.support.shells import Shell
from tests.support.waiting import eventually

Change = Callable[[Json], None]
OTHERWISE = "Upgrade the operator if a newer one made it; else delete it, and create it put right."
MOMENT = "2026-01-01T12:00:00Z"


def newer_words(job: Json) -> None:
    status = job["status"]
    for condition in status["conditions"]:
        condition["reason"] = "Levitating"
    checked = {"type": "Checked", "status": "True", "reason": "Levitating", "lastTransitionTime": MOMENT}
    status["conditions"].insert(0, {**checked, "message": "", "observedGeneration": 1})
    status |= {"phase": "Dreaming", "mood": {"serene": True}}


def newer_field(job: Json) -> None:
    job["spec"]["mask"] = {"uri": "s3://media/default/cat.png"}


def without_newer_field(job: Json) -> None:
    del job["spec"]["mask"]


def newer_quality(job: Json) -> None:
    job["spec"]["quality"] = "preview"


def known_quality(job: Json) -> None:
    job["spec"]["quality"] = "standard"


def newer_plan(job: Json) -> None:
    job["status"]["plan"]["tier"]["quality"] = "preview"


def known_plan(job: Json) -> None:
    job["status"]["plan"]["tier"]["quality"] = "standard"


def conditions(job: Json) -> dict[str, tuple[str, str]]:
    return {told["type"]: (told["status"], told["reason"]) for told in job["status"].get("conditions", ())}


async def says(shell: Shell, name: str, kind: ConditionType, status: str, reason: str) -> str:
    """Waits for a condition. Returns its message."""

    async def told() -> bool:
        return conditions(await shell.stored(name)).get(kind.value) == (status, reason)

    await eventually(told, f"{name} to be {kind.value}={status}/{reason}")
    said = (await shell.stored(name))["status"]["conditions"]
    return str(next(each["message"] for each in said if each["type"] == kind.value))


async def begun(bus: Bus, worker: ScriptedWorker, name: str) -> tuple[Order, Grant, Output]:
    """A running attempt, and what it will have made."""
    await submit(bus, echo_job(name))
    order = await worker.order()
    grant = await worker.claim(order)
    assert isinstance(grant, Grant)
    uri = names.s3_uri(grant.upload.bucket, f"{grant.upload.prefix}echo.json")
    return order, grant, Output(name="echo.json", uri=uri, media_type="application/json", sha256="0" * 64, bytes=2)


async def hears(worker: ScriptedWorker) -> None:
    """A few heartbeats long: whoever shall stop is told at each."""
    until = worker.beats + 4
    await eventually(lambda: worker.beats >= until, "some heartbeats")


class VersionsSuite:
    @pytest.fixture(autouse=True)
    def newer_crds(self) -> Iterator[None]:
        with custom_resources.newer():
            yield

    async def test_a_running_job_with_words_of_another_version_goes_on_and_keeps_them(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        async with shell.running():
            order, grant, output = await begun(bus, worker, "foreign")
        await shell.rewrite("foreign", newer_words)
        async with shell.running():
            await eventually(lambda: phase_of(shell, "foreign", Phase.RUNNING), "its phase to be put right")
            await hears(worker)
            assert worker.cancelled == []
            await worker.report(order, grant.token, outputs=(output,))
            await eventually(lambda: phase_of(shell, "foreign", Phase.SUCCEEDED), "its end")
        status = (await shell.stored("foreign"))["status"]
        assert (status["attempt"], status["mood"]) == (1, {"serene": True})
        assert conditions({"status": status})["Checked"] == ("True", "Levitating")

    @pytest.mark.parametrize("change", [newer_words, newer_field, newer_quality, newer_plan])
    async def test_a_finished_job_stays_as_another_version_left_it(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker, change: Change
    ) -> None:
        async with shell.running():
            order, grant, output = await begun(bus, worker, "over")
            await worker.report(order, grant.token, outputs=(output,))
            await eventually(lambda: phase_of(shell, "over", Phase.SUCCEEDED), "its end")
        await shell.rewrite("over", change)
        left = await shell.stored("over")
        async with shell.running():
            await submit(bus, echo_job("next"))
            await worker.run_one()
            await eventually(lambda: phase_of(shell, "next", Phase.SUCCEEDED), "the next one's end")
        assert await shell.stored("over") == left

    @pytest.mark.parametrize(
        ("change", "mend", "reason", "message"),
        [
            (
                newer_field,
                without_newer_field,
                "UnknownField",
                "This version of Auteur does not know spec.mask. Upgrade the operator, or create it anew without.",
            ),
            (
                newer_quality,
                known_quality,
                "InvalidRequest",
                "spec.quality: Input should be 'draft', 'standard', 'high' or 'ultra'. " + OTHERWISE,
            ),
        ],
    )
    async def test_a_job_that_this_version_cannot_do_waits_for_one_that_can(
        self, bus: Bus, shell: Shell, change: Change, mend: Change, reason: str, message: str
    ) -> None:
        async with shell.running():
            await submit(bus, echo_job("early"))
            await eventually(lambda: phase_of(shell, "early", Phase.QUEUED), "it to wait")
        await shell.rewrite("early", change)
        await shell.rewrite("early", lambda job: job["spec"].update(startDeadline="1s"))
        asked = (await shell.stored("early"))["spec"]
        worker = ScriptedWorker(bus, pool=shell.pool)
        async with worker.living(), shell.running():
            assert await says(shell, "early", ConditionType.ACCEPTED, "False", reason) == message
            await submit(bus, echo_job("next"))
            assert (await worker.run_one()).name == "next"
            await hears(worker)
            assert (await shell.stored("early"))["spec"] == asked
            assert ConditionType.FINISHED.value not in true_of(await shell.stored("early"))
        await shell.rewrite("early", mend)
        await shell.rewrite("early", lambda job: job["spec"].update(startDeadline="1h"))
        async with worker.living(), shell.running():
            assert (await worker.run_one()).name == "early"
            await eventually(lambda: phase_of(shell, "early", Phase.SUCCEEDED), "its end")

    @pytest.mark.parametrize("change", [newer_field, newer_quality])
    async def test_a_running_job_of_which_this_version_cannot_read_all_goes_on_and_its_report_ends_it(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker, change: Change
    ) -> None:
        async with shell.running():
            order, grant, output = await begun(bus, worker, "foreign")
        await shell.rewrite("foreign", change)
        before = await shell.stored("foreign")
        async with shell.running():
            await hears(worker)
            assert worker.cancelled == []
            assert await shell.stored("foreign") == before
            await worker.report(order, grant.token, outputs=(output,))
            await eventually(lambda: phase_of(shell, "foreign", Phase.SUCCEEDED), "its end")
        ended = await shell.stored("foreign")
        assert ended["spec"] == before["spec"]
        assert [made["name"] for made in ended["status"]["outputs"]] == ["echo.json"]

    async def test_a_report_waits_for_a_version_that_can_read_its_job(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        async with shell.running():
            order, grant, output = await begun(bus, worker, "foreign")
        await shell.rewrite("foreign", newer_plan)
        before = await shell.stored("foreign")
        async with shell.running():
            await worker.report(order, grant.token, outputs=(output,))
            await hears(worker)
            assert await shell.stored("foreign") == before
            assert await find(bus, "foreign") is None
        await shell.rewrite("foreign", known_plan)
        async with shell.running():
            await eventually(lambda: phase_of(shell, "foreign", Phase.SUCCEEDED), "its end")


async def phase_of(shell: Shell, name: str, phase: Phase) -> bool:
    status: dict[str, Any] = (await shell.stored(name)).get("status", {})
    return bool(status.get("phase") == phase.value)


def true_of(job: Json) -> set[str]:
    return {kind for kind, (status, _) in conditions(job).items() if status == "True"}
