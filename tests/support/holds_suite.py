"""What the control plane promises about finished jobs that somebody holds: a part of the suite of every shell."""

from auteur_contracts import names, subjects
from auteur_contracts.commands import Release, Snapshot
from auteur_kit.bus import Bus
from tests.support.scripted import ScriptedWorker, echo_job, find, submit
from tests.support.shells import Shell
from tests.support.waiting import eventually


async def _finished(bus: Bus, worker: ScriptedWorker, name: str) -> Snapshot:
    """A job whose time to live is over as soon as nothing holds it."""
    await submit(bus, echo_job(name, ttlSecondsAfterFinished=0))
    await worker.run_one()

    async def ended() -> Snapshot | None:
        found = await find(bus, name)
        return found if found and found.job.status.finished else None

    return await eventually(ended, f"{name} to end")


async def _leave(shell: Shell, name: str, *, holds: tuple[str, ...] | None) -> None:
    """While no control plane runs: as a control plane of another version left it."""
    async with shell.truth() as jobs:
        job = await jobs.get((names.DEFAULT_NAMESPACE, name))
        assert job is not None
        await jobs.update(job, job.status.model_copy(update={"holds": holds}))


async def _release(bus: Bus, finished: Snapshot, **said: str) -> None:
    """Twice, as by one who does not know whether the first was heard. No hold is named where none is given here."""
    name, uid = finished.job.metadata.name, finished.job.metadata.uid
    payload = Release.model_validate({"uid": uid, "version": finished.version, **said})
    command = subjects.JobCommand(names.DEFAULT_NAMESPACE, name, subjects.Verb.RELEASE)
    for number in range(2):
        wire = payload.model_dump_json(exclude_unset=True).encode()
        await bus.publish(command, wire, msg_id=f"release-{name}-{said}-{number}")


async def _goes(bus: Bus, name: str) -> None:
    async def gone() -> bool:
        return await find(bus, name) is None

    await eventually(gone, f"the resource of {name} to expire")


class HoldsSuite:
    async def test_a_finished_job_stays_until_it_is_archived_and_its_time_is_over(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        brief = await _finished(bus, worker, "brief")
        assert (brief.job.status.holds, brief.job.status.archived_time) == (("archive",), None)
        await _release(bus, brief)
        await _goes(bus, "brief")

    async def test_a_job_that_two_hold_stays_until_both_released_it_and_one_of_an_older_version_until_one_did(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        async with shell.running():
            wanted = await _finished(bus, worker, "wanted")
            older = await _finished(bus, worker, "older")
        await _leave(shell, "wanted", holds=("archive", "take"))
        await _leave(shell, "older", holds=None)

        async def holds() -> tuple[str, ...] | None:
            found = await find(bus, "wanted")
            return found.job.status.holds if found else ()

        async def is_half_released() -> bool:
            return await holds() == ("take",)

        async with shell.running():
            await _release(bus, wanted)
            await eventually(is_half_released, "the archive to have it")
            await _release(bus, older)
            await _goes(bus, "older")
            assert await holds() == ("take",), "its time is over as well, and others go"
            await _release(bus, wanted, hold="take")
            await _goes(bus, "wanted")
