"""What the control plane promises about jobs, on whatever is true and whoever executes them: a scripted worker speaks
the protocol, and nothing runs. Every shell passes this suite; what one of them does beside it is tested elsewhere.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import NoReturn

import pytest

from auteur_contracts import catalogue, names, subjects
from auteur_contracts.commands import Cancel, Delete, ListedJobs, ListJobs, Submit
from auteur_contracts.errors import Unavailable
from auteur_contracts.events import Cancelled, Envelope, Progressed
from auteur_contracts.orders import ClaimRefused, Grant, Order, Outcome, RefusalReason, WorkerState
from auteur_contracts.resources import Failure, FunctionRunner, InputDeclaration, Output, Progress
from auteur_contracts.vocabulary import ConditionType, Fault, Phase, Reason
from auteur_control.commands import Commands, Rest
from auteur_control.dependents import Dependents
from auteur_kit.bus import Bus, Delivery
from auteur_kit.clock import utc_now
from auteur_lifecycle import status as life
from auteur_lifecycle.gate import gate
from tests.support.holds_suite import HoldsSuite
from tests.support.scripted import ECHO, Facts, ScriptedWorker, echo_job, find, submit
from tests.support.shells import Shell
from tests.support.versions_suite import VersionsSuite
from tests.support.waiting import eventually


async def _phase(bus: Bus, name: str) -> Phase | None:
    found = await find(bus, name)
    return found.job.status.phase if found else None


async def has_phase(bus: Bus, name: str, phase: Phase) -> None:
    async def reached() -> bool:
        return await _phase(bus, name) is phase

    await eventually(reached, f"{name} to be {phase}")


def stored(grant: Grant, name: str, media_type: str) -> Output:
    """An output as a worker says it has stored it, where its grant lets it."""
    uri = names.s3_uri(grant.upload.bucket, f"{grant.upload.prefix}{name}")
    return Output(name=name, uri=uri, media_type=media_type, sha256="0" * 64, bytes=2)


MIRRORED = {"function": "mirror", "inputs": [{"name": "image", "from": {"job": "source"}}]}


def _with_mirror() -> FunctionRunner:
    """ECHO with a second function, which takes a picture."""
    function = ECHO.spec.functions[0]
    picture = InputDeclaration(name="image", media_type="image/*")
    mirror = function.model_copy(update={"name": "mirror", "inputs": (picture,)})
    return ECHO.model_copy(update={"spec": ECHO.spec.model_copy(update={"functions": (function, mirror)})})


MIRROR = _with_mirror()


async def make_source(worker: ScriptedWorker) -> None:
    """Takes the order of `source` and makes its one output."""
    order = await worker.order()
    grant = await worker.claim(order)
    assert isinstance(grant, Grant)
    await worker.report(order, grant.token, outputs=(stored(grant, "image.png", "image/png"),))


class ControlPlaneSuite(HoldsSuite, VersionsSuite):
    """A class of tests with a fixture `shell`, which offers ECHO, inherits these."""

    @pytest.fixture
    async def control(self, shell: Shell) -> AsyncIterator[None]:
        async with shell.running():
            yield

    @pytest.fixture
    async def worker(self, bus: Bus, shell: Shell) -> AsyncIterator[ScriptedWorker]:
        scripted = ScriptedWorker(bus, pool=shell.pool)
        async with scripted.living():
            yield scripted

    @pytest.fixture
    async def facts(self, bus: Bus) -> Facts:
        heard = Facts()
        await bus.listen(subjects.EVENTS, heard.hear)
        return heard

    async def test_a_submitted_job_is_planned_dispatched_claimed_and_succeeds(
        self, bus: Bus, control: None, worker: ScriptedWorker, facts: Facts
    ) -> None:
        await submit(bus, echo_job("one"))
        order = await worker.order()
        grant = await worker.claim(order)
        assert isinstance(grant, Grant)
        assert grant.plan.params == {"text": "one", "seed": names.seed_of(order.uid)}
        assert grant.upload.prefix == f"default/default/jobs/{order.uid}/1/"
        output = stored(grant, "echo.json", "application/json")
        await worker.report(order, grant.token, outputs=(output,))
        await has_phase(bus, "one", Phase.SUCCEEDED)
        found = await find(bus, "one")
        assert found is not None
        assert found.job.status.outputs == (output,)
        await eventually(lambda: "succeeded" in facts.of("one"), "the last fact")
        assert facts.of("one") == ["accepted", "dispatched", "succeeded"]
        terminal = facts.seen[-1].data
        assert terminal.fact is subjects.Fact.SUCCEEDED
        assert terminal.status == found.job.status

    async def test_a_submit_delivered_twice_makes_one_job_and_another_of_its_name_is_refused(
        self, bus: Bus, control: None, facts: Facts
    ) -> None:
        job = echo_job("twin")
        await submit(bus, job)
        await eventually(lambda: facts.of("twin"), "the first fact")
        await bus.publish(
            subjects.JobCommand("default", "twin", subjects.Verb.SUBMIT),
            f'{{"job": {job.model_dump_json()}}}'.encode(),
            msg_id="beyond the duplicate window",
        )
        await submit(bus, echo_job("twin"))
        await eventually(lambda: "rejected" in facts.of("twin"), "the refusal of the other")
        assert facts.of("twin").count("accepted") == 1
        rejected = facts.seen[-1]
        assert rejected.data.fact is subjects.Fact.REJECTED
        assert rejected.data.status.failure is not None
        assert rejected.data.status.failure.reason is Reason.NAME_TAKEN

    async def test_a_bad_parameter_is_refused_before_a_worker_is_asked(
        self, bus: Bus, control: None, facts: Facts
    ) -> None:
        await submit(bus, echo_job("bad", params={"txt": "x"}))
        await eventually(lambda: facts.of("bad"), "a fact")
        assert facts.of("bad") == ["rejected"]
        found = await find(bus, "bad")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.message == 'echo has no parameter "txt"; did you mean "text" (text)?'

    async def test_of_two_claims_for_one_attempt_one_wins_and_a_lost_reply_can_be_asked_again(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("contested"))
        order = await worker.order()
        first = await worker.claim(order, nonce="n1")
        again = await worker.claim(order, nonce="n1")
        second = await worker.claim(order, nonce="n2", worker="worker-2")
        assert isinstance(first, Grant)
        assert isinstance(again, Grant)
        assert again.token == first.token
        assert isinstance(second, ClaimRefused)
        assert second.reason is RefusalReason.CLAIMED

    async def test_a_report_with_a_wrong_token_or_of_an_older_attempt_changes_nothing(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("fenced"))
        order = await worker.order()
        grant = await worker.claim(order)
        assert isinstance(grant, Grant)
        await worker.report(order, "not the token")
        failure = Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message="the store was down")
        await worker.report(order, grant.token, Outcome.FAILED, failure=failure)
        second = await worker.order()
        assert second.attempt == 2
        await worker.report(order, grant.token)  # late, of attempt 1
        grant2 = await worker.claim(second)
        assert isinstance(grant2, Grant)
        assert await _phase(bus, "fenced") is Phase.RUNNING
        await worker.report(second, grant2.token)
        await has_phase(bus, "fenced", Phase.SUCCEEDED)
        found = await find(bus, "fenced")
        assert found is not None
        assert (found.job.status.attempt, found.job.status.failures) == (2, 1)

    async def test_the_job_of_a_silent_worker_is_retried_within_ten_seconds(
        self, shell: Shell, bus: Bus, control: None, facts: Facts
    ) -> None:
        doomed = ScriptedWorker(bus, "doomed", pool=shell.pool)
        async with doomed.living():
            await submit(bus, echo_job("orphan"))
            order = await doomed.order()
            assert isinstance(await doomed.claim(order), Grant)
        # Silent from here on.
        await eventually(lambda: "queued" in facts.of("orphan"), "the loss to be noticed")
        survivor = ScriptedWorker(bus, "survivor", pool=shell.pool)
        async with survivor.living():
            taken = await survivor.run_one()
            assert taken.attempt == 2
            await has_phase(bus, "orphan", Phase.SUCCEEDED)
        found = await find(bus, "orphan")
        assert found is not None
        assert (found.job.status.losses, found.job.status.failures) == (1, 0)

    async def test_cancel_reaches_the_worker_until_it_stops_and_the_job_is_cancelled_at_once(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("unwanted"))
        order = await worker.order()
        assert isinstance(await worker.claim(order), Grant)
        command = subjects.JobCommand("default", "unwanted", subjects.Verb.CANCEL)
        await bus.publish(command, Cancel(by="ada"), msg_id="cancel-unwanted")
        await has_phase(bus, "unwanted", Phase.CANCELLED)
        found = await find(bus, "unwanted")
        assert found is not None
        assert found.job.status.cancelled_by == "ada"
        signal = str(subjects.CancelSignal(order.uid, 1))
        await eventually(lambda: worker.cancelled.count(signal) > 1, "the signal to be repeated")

    async def test_a_suspended_job_waits_and_resumes_under_a_new_attempt(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("paused"))
        order = await worker.order()
        grant = await worker.claim(order)
        assert isinstance(grant, Grant)
        await bus.publish(subjects.JobCommand("default", "paused", subjects.Verb.SUSPEND), b"{}", msg_id="s1")
        await has_phase(bus, "paused", Phase.SUSPENDED)
        await worker.report(order, grant.token, Outcome.CANCELLED)
        await bus.publish(subjects.JobCommand("default", "paused", subjects.Verb.RESUME), b"{}", msg_id="s2")
        assert (await worker.run_one()).attempt == 2
        await has_phase(bus, "paused", Phase.SUCCEEDED)
        found = await find(bus, "paused")
        assert found is not None
        assert (found.job.status.failures, found.job.status.losses) == (0, 0)

    async def test_an_input_that_is_deleted_at_the_last_moment_fails_its_job_and_holds_up_nobody(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        shell.offer(MIRROR)
        async with shell.running():
            await submit(bus, echo_job("source"))
            await make_source(worker)
            await submit(bus, echo_job("mirrored", **MIRRORED))
            order = await worker.order()
            assert order.name == "mirrored"
            await bus.publish(
                subjects.JobCommand("default", "source", subjects.Verb.DELETE), Delete(), msg_id="d-source"
            )

            async def gone() -> bool:
                return await find(bus, "source") is None

            await eventually(gone, "the source to be deleted")
            assert isinstance(await worker.claim(order), ClaimRefused)
            await has_phase(bus, "mirrored", Phase.FAILED)
            found = await find(bus, "mirrored")
            assert found is not None
            assert found.job.status.failure is not None
            assert found.job.status.failure.message == 'Input "image": job source was there and has been deleted.'
            await submit(bus, echo_job("next"))
            assert (await worker.run_one()).name == "next"

    async def test_links_of_a_job_that_may_run_for_weeks_are_signed_for_as_long_as_they_may_be(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        shell.offer(MIRROR)
        async with shell.running():
            await submit(bus, echo_job("source"))
            await make_source(worker)
            await submit(bus, echo_job("mirrored", deadline="30d", **MIRRORED))
            grant = await worker.claim(await worker.order())
            assert isinstance(grant, Grant)
            assert "X-Amz-Expires=604800" in grant.inputs[0].url

    async def test_a_job_whose_input_was_made_just_before_a_crash_runs_in_the_next_life(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shell.offer(MIRROR)
        with monkeypatch.context() as dying:
            async with shell.running():
                await submit(bus, echo_job("mirrored", **MIRRORED))
                await submit(bus, echo_job("source"))
                dying.setattr(Dependents, "of", lambda *_: ())  # as if it died right after the write
                await make_source(worker)
                await has_phase(bus, "source", Phase.SUCCEEDED)
                assert await _phase(bus, "mirrored") is Phase.QUEUED
        async with shell.running():
            assert (await worker.order()).name == "mirrored"

    async def test_a_name_is_free_as_soon_as_its_job_is_deleted(self, bus: Bus, control: None, facts: Facts) -> None:
        await submit(bus, echo_job("phoenix"))
        await eventually(lambda: facts.of("phoenix"), "the first one")
        await asyncio.gather(
            bus.publish(subjects.JobCommand("default", "phoenix", subjects.Verb.DELETE), Delete(), msg_id="d-phoenix"),
            submit(bus, echo_job("phoenix", params={"text": "again"})),
        )

        async def reborn() -> bool:
            found = await find(bus, "phoenix")
            return found is not None and found.job.spec.params["text"] == "again"

        await eventually(reborn, "the second one to be there")
        await eventually(lambda: facts.of("phoenix").count("accepted") == 2, "the second one to be announced")
        assert "rejected" not in facts.of("phoenix")

    async def test_commands_that_come_again_do_not_meet_the_next_job_of_the_name(
        self, bus: Bus, control: None, facts: Facts
    ) -> None:
        first = echo_job("phoenix")
        request = first.metadata.annotations[names.ANNOTATION_REQUEST_ID]
        subject = {verb: subjects.JobCommand("default", "phoenix", verb) for verb in subjects.Verb}
        await submit(bus, first)
        await bus.publish(subject[subjects.Verb.DELETE], Delete(request_id=request), msg_id="delete")
        await submit(bus, echo_job("phoenix"))
        await bus.publish(subject[subjects.Verb.CANCEL], Cancel(request_id=request), msg_id="cancel-again")
        await bus.publish(subject[subjects.Verb.DELETE], Delete(request_id=request), msg_id="delete-again")
        await bus.publish(subject[subjects.Verb.SUSPEND], b"", msg_id="suspend")

        async def suspended() -> bool:
            found = await find(bus, "phoenix")
            return found is not None and found.job.spec.suspend and not found.job.spec.cancel

        await eventually(suspended, "the second one to be there and heed the last command")
        await eventually(lambda: facts.of("phoenix").count("cancelled") == 1, "the end of the first one to be told")

    async def test_long_answers_come_in_pages(self, bus: Bus, control: None, facts: Facts) -> None:
        for number in range(3):
            await submit(bus, echo_job(f"long-{number}", params={"text": "x" * 120_000}))
        await eventually(lambda: facts.of("long-2"), "the last of them")

        async def page(after: str) -> ListedJobs:
            question = ListJobs(after=after)
            return ListedJobs.model_validate_json(await bus.request(subjects.JobQuery("default", "list"), question))

        first = await page("")
        assert 0 < len(first.items) < 3
        rest = await page(first.more)
        assert [snapshot.job.metadata.name for snapshot in (*first.items, *rest.items)][:2] == ["long-0", "long-1"]

    async def test_a_job_waits_for_its_input_and_fails_with_it(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        shell.offer(MIRROR)
        async with shell.running():
            await submit(bus, echo_job("mirrored", **MIRRORED))
            await has_phase(bus, "mirrored", Phase.QUEUED)
            await submit(bus, echo_job("source", retries=0))
            order = await worker.order()
            assert order.name == "source"
            grant = await worker.claim(order)
            assert isinstance(grant, Grant)
            failure = Failure(fault=Fault.FUNCTION, reason=Reason.FUNCTION_FAILED, message="no")
            await worker.report(order, grant.token, Outcome.FAILED, failure=failure)
            await has_phase(bus, "mirrored", Phase.FAILED)
            found = await find(bus, "mirrored")
            assert found is not None
            assert found.job.status.failure is not None
            assert found.job.status.failure.message == 'Input "image": job source is Failed.'

    async def test_the_next_life_of_the_engine_goes_on_where_the_last_one_ended(
        self, bus: Bus, shell: Shell, worker: ScriptedWorker
    ) -> None:
        async with shell.running():
            await submit(bus, echo_job("running"))
            order = await worker.order()
            grant = await worker.claim(order)
            assert isinstance(grant, Grant)
            for number in range(5):
                await submit(bus, echo_job(f"waiting-{number}"))
            await has_phase(bus, "waiting-4", Phase.QUEUED)
        # Nobody answers now; the worker ends its job all the same.
        await worker.report(order, grant.token)
        async with shell.running():
            await has_phase(bus, "running", Phase.SUCCEEDED)
            ran = [(await worker.run_one()).name for _ in range(5)]
            assert ran == [f"waiting-{number}" for number in range(5)]
            await has_phase(bus, "waiting-4", Phase.SUCCEEDED)

    async def test_delete_cancels_first_and_then_forgets(self, bus: Bus, control: None, facts: Facts) -> None:
        await submit(bus, echo_job("mistake"))
        await has_phase(bus, "mistake", Phase.QUEUED)
        await bus.publish(
            subjects.JobCommand("default", "mistake", subjects.Verb.DELETE), Delete(by="ada"), msg_id="d1"
        )

        async def gone() -> bool:
            return await find(bus, "mistake") is None

        await eventually(gone, "the job to be forgotten")
        await eventually(lambda: facts.of("mistake")[-1] == "cancelled", "the end to be told")
        assert isinstance(facts.seen[-1].data, Cancelled)
        assert facts.seen[-1].data.status.cancelled_by == "ada"

    async def test_high_priority_goes_first_and_equal_ones_in_the_order_they_came(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("blocker"))
        blocking = await worker.order()
        grant = await worker.claim(blocking)
        assert isinstance(grant, Grant)
        for name, priority in (("low", "low"), ("first", "normal"), ("second", "normal"), ("urgent", "high")):
            await submit(bus, echo_job(name, priority=priority))
        await has_phase(bus, "urgent", Phase.QUEUED)
        found = await find(bus, "second")
        assert found is not None
        assert found.job.status.queue is not None
        assert found.job.status.queue.position == 3
        await worker.report(blocking, grant.token)
        assert [(await worker.run_one()).name for _ in range(4)] == ["urgent", "first", "second", "low"]

    async def test_a_job_that_no_worker_starts_in_time_fails_saying_so(self, bus: Bus, control: None) -> None:
        await submit(bus, echo_job("impatient", startDeadline=timedelta(milliseconds=300)))
        await has_phase(bus, "impatient", Phase.FAILED)
        found = await find(bus, "impatient")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.reason is Reason.START_DEADLINE_EXCEEDED

    async def test_the_catalogue_says_which_runner_is_ready_and_why_not(
        self, shell: Shell, bus: Bus, control: None
    ) -> None:
        async def says(message: str, *, ready: bool = False) -> None:
            async def said() -> bool:
                data = await bus.get_document(catalogue.BUCKET, catalogue.key("default"))
                status = catalogue.decode(data).runners[0].status if data else None
                return status is not None and (status.ready, status.message) == (ready, message)

            await eventually(said, f"the catalogue to say {message or 'that the runner is ready'!r}")

        worker = ScriptedWorker(bus, pool=shell.pool)
        await says("no worker of it is running")
        worker.state = WorkerState.STARTING
        async with worker.living():
            await says("its worker is starting")
            worker.state, worker.message = WorkerState.BROKEN, "no such model"
            await says("its setup failed: no such model")
            worker.state = WorkerState.READY
            await says("", ready=True)
        await says("no worker of it is running")

    async def test_commands_and_reports_that_nobody_understands_do_not_stop_the_engine(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await bus.publish("auteur.command.v1.default.job.x.submit", b"not json", msg_id="junk-1")
        await bus.publish("auteur.command.v1.default.job.x.explode", b"{}", msg_id="junk-2")
        await bus.publish("auteur.report.v1.echo.x.1", b"{}", msg_id="junk-3")
        await submit(bus, echo_job("after"))
        await worker.run_one()
        await has_phase(bus, "after", Phase.SUCCEEDED)

    async def test_a_token_of_whatever_letters_is_a_wrong_token_and_holds_up_no_report(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("forged", retries=0))
        order = await worker.order()
        grant = await worker.claim(order)
        await worker.report(order, "töken")
        await worker.report(order, _token(grant))
        await has_phase(bus, "forged", Phase.SUCCEEDED)

    @pytest.mark.parametrize("wrong", [{"outputs": [{"name": "x.png", "bytes": 2**70}]}, {"outcome": "gone fishing"}])
    async def test_a_report_that_cannot_be_read_ends_its_attempt_if_its_sender_is_believed(
        self, bus: Bus, control: None, worker: ScriptedWorker, wrong: dict[str, object]
    ) -> None:
        await submit(bus, echo_job("odd", retries=0))
        order = await worker.order()
        grant = await worker.claim(order)
        await worker.say_of_its_end(order, {"token": "not the token", **wrong})
        await worker.say_of_its_end(order, {"token": _token(grant), **wrong})
        await has_phase(bus, "odd", Phase.FAILED)
        found = await find(bus, "odd")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.reason is Reason.RESULT_MISSING
        assert found.job.status.failures == 1
        assert "It cannot be read: out" in found.job.status.failure.message
        await submit(bus, echo_job("next"))
        assert (await worker.run_one()).name == "next"

    async def test_a_claim_that_cannot_be_kept_is_refused_and_the_attempt_is_left_to_others(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("named"))
        order = await worker.order()
        asked = order.model_dump(mode="json", include={"namespace", "name", "uid", "attempt"})
        data = json.dumps({**asked, "worker": "w" * 129, "nonce": "n"}).encode()
        refused = ClaimRefused.model_validate_json(await bus.request(subjects.Claim(order.namespace), data))
        assert refused.message == "The claim cannot be read: worker: String should have at most 128 characters"
        grant = await worker.claim(order)
        await worker.report(order, _token(grant))
        await has_phase(bus, "named", Phase.SUCCEEDED)

    async def test_two_outputs_of_one_name_end_the_attempt(
        self, bus: Bus, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("twins", retries=0))
        order = await worker.order()
        grant = await worker.claim(order)
        assert isinstance(grant, Grant)
        one = stored(grant, "image.png", "image/png")
        await worker.report(order, grant.token, outputs=(one, one))
        await has_phase(bus, "twins", Phase.FAILED)
        found = await find(bus, "twins")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.message == "Two outputs were reported under the name image.png."

    # ── what the shells once did each in its own way ──────────────────────────────────────────────────────────────

    async def test_the_job_of_a_worker_that_was_never_heard_before_its_claim_is_not_lost(
        self, bus: Bus, shell: Shell, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("shy"))
        order = await worker.order()
        stranger = ScriptedWorker(bus, "stranger", pool=shell.pool)
        stranger.heartbeats = False
        grant = await stranger.claim(order)
        assert isinstance(grant, Grant)
        await _progress(bus, order, 0.5)

        async def written() -> bool:  # about a second, in which its silence was looked at several times
            found = await find(bus, "shy")
            return found is not None and found.job.status.progress is not None

        await eventually(written, "progress in the status")
        await stranger.report(order, grant.token)
        await has_phase(bus, "shy", Phase.SUCCEEDED)
        found = await find(bus, "shy")
        assert found is not None
        assert (found.job.status.attempt, found.job.status.losses) == (1, 0)

    async def test_nothing_is_answered_before_it_is_written(
        self, bus: Bus, shell: Shell, control: None, worker: ScriptedWorker, facts: Facts
    ) -> None:
        await submit(bus, echo_job("durable"))
        order = await worker.order()
        with shell.stalled():
            claims = [asyncio.create_task(worker.claim(order, nonce="n")) for _ in range(2)]
            done, _ = await asyncio.wait(claims, timeout=1.0)
            assert not done, "a claim was answered before its write"
        grants = await asyncio.gather(*claims)
        assert all(isinstance(grant, Grant) for grant in grants)
        assert await _phase(bus, "durable") is Phase.RUNNING
        with shell.stalled():
            await worker.report(order, _token(grants[0]))
            await asyncio.wait([asyncio.create_task(asyncio.sleep(1.0))])
            assert facts.of("durable")[-1] == "dispatched", "a fact was told before its write"
        await eventually(lambda: facts.of("durable")[-1] == "succeeded", "the end to be told")

    async def test_a_cancel_does_not_overtake_the_submit_that_has_to_wait(
        self, bus: Bus, control: None, facts: Facts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = echo_job("late")
        request = job.metadata.annotations[names.ANNOTATION_REQUEST_ID]
        obey, tries = Commands.obey, list[subjects.Verb]()

        async def obeyed(self: Commands, delivery: Delivery) -> Rest | None:
            verb = subjects.Verb(delivery.subject.rpartition(".")[2])
            tries.append(verb)
            if tries.count(verb) == 1 and verb is subjects.Verb.SUBMIT:
                raise Unavailable("as if what is true could not be reached")
            return await obey(self, delivery)

        monkeypatch.setattr(Commands, "obey", obeyed)
        cancel = subjects.JobCommand("default", "late", subjects.Verb.CANCEL)
        await asyncio.gather(  # in one batch, or the one behind the other
            submit(bus, job), bus.publish(cancel, Cancel(by="ada", request_id=request), msg_id="cancel-late")
        )
        await has_phase(bus, "late", Phase.CANCELLED)
        assert "dispatched" not in facts.of("late")

    async def test_a_request_that_is_refused_twice_is_told_as_one_fact(
        self, bus: Bus, control: None, facts: Facts
    ) -> None:
        await submit(bus, echo_job("taken"))
        await eventually(lambda: facts.of("taken"), "the first")
        refused = echo_job("taken")
        for number in range(2):
            subject = subjects.JobCommand(*refused.key, subjects.Verb.SUBMIT)
            await bus.publish(subject, Submit(job=refused), msg_id=f"refused-{number}")
        await submit(bus, echo_job("later"))
        await eventually(lambda: facts.of("later"), "what came after it")
        assert facts.of("taken").count("rejected") == 1

    async def test_a_submit_that_comes_again_has_what_was_said_of_its_job_said_again(
        self, bus: Bus, control: None, facts: Facts
    ) -> None:
        job = echo_job("again")
        await submit(bus, job)
        await eventually(lambda: facts.of("again"), "the first facts")
        told = [fact.id for fact in facts.seen if fact.name == "again"]
        facts.seen.clear()
        await bus.publish(subjects.JobCommand(*job.key, subjects.Verb.SUBMIT), Submit(job=job), msg_id="once more")
        await eventually(lambda: facts.of("again"), "the facts once more")
        assert facts.seen[0].id == told[0]

    @pytest.mark.parametrize("traceparent", ["", f"00-{'a1' * 16}-{'b2' * 8}-01"])
    async def test_every_job_has_a_trace(self, bus: Bus, control: None, facts: Facts, traceparent: str) -> None:
        job = echo_job("traced")
        subject = subjects.JobCommand(*job.key, subjects.Verb.SUBMIT)
        await bus.publish(subject, Submit(job=job), msg_id="traced", headers={"traceparent": traceparent})
        await eventually(lambda: facts.of("traced"), "a fact")
        found = await find(bus, "traced")
        assert found is not None
        expected = "a1" * 16 if traceparent else found.job.metadata.uid.replace("-", "")
        assert found.job.status.trace_id == expected

    async def test_a_fault_of_ours_in_a_report_neither_loses_its_job_nor_comes_back_for_ever(
        self, bus: Bus, control: None, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await submit(bus, echo_job("cursed", retries=0))
        order = await worker.order()
        grant = await worker.claim(order)
        with monkeypatch.context() as broken:
            broken.setattr(life, "report", _broken)
            await worker.report(order, _token(grant))
            await has_phase(bus, "cursed", Phase.FAILED)
        found = await find(bus, "cursed")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.reason is Reason.PLATFORM_FAILED
        await submit(bus, echo_job("next"))
        assert (await worker.run_one()).name == "next"

    async def test_a_job_that_cannot_be_planned_by_a_fault_of_ours_is_refused_aloud(
        self, bus: Bus, control: None, worker: ScriptedWorker, facts: Facts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(life, "resolve", _broken)
            await submit(bus, echo_job("cursed"))
            await eventually(lambda: facts.of("cursed") == ["rejected"], "the refusal")
        found = await find(bus, "cursed")
        assert found is not None
        assert found.job.status.failure is not None
        assert found.job.status.failure.message.startswith("It cannot be planned, by a fault of Auteur")

    async def test_a_job_that_cannot_be_looked_after_says_so_holds_up_nobody_and_recovers(
        self, bus: Bus, control: None, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await submit(bus, echo_job("blocker"))
        blocking = await worker.order()
        grant = await worker.claim(blocking)
        await submit(bus, echo_job("cursed"))
        await has_phase(bus, "cursed", Phase.QUEUED)

        async def says(*, stalled: bool) -> bool:
            found = await find(bus, "cursed")
            return found is not None and found.job.status.is_true(ConditionType.STALLED) is stalled

        with monkeypatch.context() as broken:
            broken.setattr(life, "gate", lambda job, *more: _broken() if job.key[1] == "cursed" else gate(job, *more))
            subject = subjects.JobCommand("default", "cursed", subjects.Verb.SUSPEND)
            await bus.publish(subject, b"{}", msg_id="look")  # has it looked at
            await eventually(lambda: says(stalled=True), "it to say that it is stalled")
            await submit(bus, echo_job("sound", priority="high"))
            await worker.report(blocking, _token(grant))
            assert (await worker.run_one()).name == "sound"
        await bus.publish(subjects.JobCommand("default", "cursed", subjects.Verb.RESUME), b"{}", msg_id="mended")
        assert (await worker.run_one()).name == "cursed"
        assert await says(stalled=False)


def _broken(*_: object) -> NoReturn:
    raise TypeError("a fault of ours")


def _token(reply: Grant | ClaimRefused) -> str:
    assert isinstance(reply, Grant), reply
    return reply.token


async def _progress(bus: Bus, order: Order, fraction: float) -> None:
    """As the order's worker tells it."""
    said = Envelope(
        id=f"{order.uid}-{fraction}",
        source="worker",
        time=utc_now(),
        namespace=order.namespace,
        project=order.project,
        name=order.name,
        uid=order.uid,
        data=Progressed(attempt=order.attempt, progress=Progress(phase="draw", fraction=fraction)),
    )
    await bus.publish_fact(said)
