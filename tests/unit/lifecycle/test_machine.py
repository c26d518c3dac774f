"""The life of a job as a state machine: whatever happens in whatever order, what we promise of a job holds."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import FunctionRunnerStatus, GenerationJob, GenerationJobStatus, Progress, derive_phase
from auteur_contracts.subjects import TERMINAL_FACTS, Fact
from auteur_contracts.vocabulary import Fault, Reason
from auteur_lifecycle import status
from auteur_lifecycle.facts import envelope, facts_between
from auteur_lifecycle.resolve import resolve
from auteur_lifecycle.status import ClaimGranted, Seen, claim, dispatch, next_status, ready_for_worker
from tests.unit.lifecycle.making import NOW, asked, failure, having, job, output, report, request, runner

workers = st.sampled_from(["w-1", "w-2"])
nonces = st.sampled_from(["n-1", "n-2"])
back = st.sampled_from([0, 0, 0, 1, 2])
"""How many attempts ago: 0 is the current one."""
rarely = st.sampled_from([False] * 5 + [True])
READS_IMAGES = [{"name": "image", "mediaType": "image/*", "required": False}]


class LifeOfAJob(RuleBasedStateMachine):
    """One job, the engine that decides, two workers that claim and report, people who suspend and cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.job: GenerationJob = job()
        self.input: GenerationJob | None = None
        self.ready = True
        self.version = 0
        self.steps = 0
        self.said: list[tuple[str, Fact]] = []
        self.patience = 0
        """How many steps people let it go before they cancel: most jobs should get to work."""
        self.winners: dict[int, set[tuple[str, str]]] = {}

    @initialize(
        retries=st.integers(0, 3),
        needs_input=rarely,
        wrong=rarely,
        patience=st.integers(0, 40),
        deadline=st.sampled_from(["30s", "5m"]),
    )
    def submit(self, retries: int, needs_input: bool, wrong: bool, patience: int, deadline: str) -> None:  # noqa: FBT001
        self.patience = patience
        inputs = [{"name": "image", "from": {"job": "first"}}] if needs_input else []
        params = {"prompt": "x"} | ({"stepz": 1} if wrong else {})
        self.job = job(retries=retries, inputs=inputs, params=params, deadline=deadline, startDeadline="5m")

    # what the world shows

    def seen(self, *, silent: bool = False) -> Seen:
        painter = runner(inputs=READS_IMAGES).model_copy(update={"status": FunctionRunnerStatus(ready=self.ready)})
        return Seen(catalogue=(painter,), lookup=lambda _: self.input, worker_silent=silent)

    def write(self, new: GenerationJobStatus) -> None:
        """As the engine does: one write, then the facts between, and nothing when nothing changed."""
        old = self.job.status
        if new == old:
            return
        assert not old.finished, "there is no way out of a finished state"
        assert new.attempt in (old.attempt, old.attempt + 1), "attempts only grow, one by one"
        assert new.failures >= old.failures
        assert new.losses >= old.losses
        self.version += 1
        self.job = having(self.job, new)
        assert GenerationJobStatus.model_validate_json(new.model_dump_json()) == new, "a status can be stored"
        if old.plan is not None:
            assert new.plan is old.plan, "the plan is frozen"
        elif new.plan is not None:
            assert new.plan == resolve(self.job, self.seen().catalogue), "and repeatable"
        for fact in facts_between(old, new, self.version):
            said = envelope(self.job, fact, source="engine", now=self.now)
            self.said.append((said.id, fact.fact))

    # the engine

    @rule(silent=rarely)
    def decide(self, silent: bool) -> None:  # noqa: FBT001
        saw = self.seen(silent=silent)
        new = next_status(self.job, saw, self.now)
        assert next_status(self.job, saw, self.now) == new, "the same inputs decide the same"
        assert next_status(having(self.job, new), saw, self.now) == new, "asked twice it answers the same"
        self.write(new)

    @rule()
    def order(self) -> None:
        if ready_for_worker(self.job) and not self.job.spec.suspend:
            before = self.job.status.attempt
            self.write(dispatch(self.job, self.now))
            assert self.job.status.attempt == before + 1

    @rule(worker=workers, nonce=nonces)
    def start(self, worker: str, nonce: str) -> None:
        """As it usually goes: decided, ordered, claimed."""
        self.decide(silent=False)
        self.order()
        self.ask(worker, nonce, 0)

    @rule()
    def order_without_looking(self) -> None:
        """Dispatching twice is harmless."""
        once = dispatch(self.job, self.now)
        assert dispatch(having(self.job, once), self.now) == once

    # the workers

    @rule(worker=workers, nonce=nonces, ago=back)
    def ask(self, worker: str, nonce: str, ago: int) -> None:
        attempt = self.job.status.attempt - ago
        answer = claim(self.job, request(attempt, worker=worker, nonce=nonce), lambda _: self.input, self.now)
        if isinstance(answer, ClaimGranted):
            assert ago == 0
            self.winners.setdefault(attempt, set()).add((worker, nonce))
            self.write(answer.status)

    @rule(fraction=st.floats(0, 1), ago=back)
    def progress(self, fraction: float, ago: int) -> None:
        before = self.job.status
        new = status.progress(self.job, before.attempt - ago, Progress(phase="denoise", fraction=fraction))
        if ago or not before.running:
            assert new == before
        elif before.progress and new.progress:
            assert new.progress.fraction >= before.progress.fraction
        self.write(new)

    @rule(
        outcome=st.sampled_from(Outcome),
        ago=back,
        why=st.sampled_from(
            [
                (Fault.USER, Reason.INVALID_REQUEST),
                (Fault.FUNCTION, Reason.OUT_OF_MEMORY),
                (Fault.PLATFORM, Reason.PLATFORM_FAILED),
                (Fault.LOST, Reason.WORKER_LOST),
            ]
        ),
        seconds=st.floats(0, 100),
    )
    def report(self, outcome: Outcome, ago: int, why: tuple[Fault, Reason], seconds: float) -> None:
        before = self.job.status
        ended = report(
            outcome,
            before.attempt - ago,
            failure=failure(*why) if outcome is Outcome.FAILED else None,
            outputs=(output(attempt=max(before.attempt - ago, 0)),) if outcome is Outcome.SUCCEEDED else (),
            metrics={"run_seconds": seconds},
        )
        new = status.report(self.job, ended, self.now)
        if ago or not before.running:
            assert new == before, "a report of an older attempt changes nothing"
        self.write(new)

    @rule(ago=back)
    def lose(self, ago: int) -> None:
        before = self.job.status
        new = status.lose(self.job, before.attempt - ago, self.now)
        if ago:
            assert new == before
        self.write(new)

    # people, other jobs and clocks

    @precondition(lambda self: self.steps > self.patience)
    @rule(by=st.sampled_from(["", "ada"]))
    def cancel(self, by: str) -> None:
        self.write(status.cancel(self.job, by, self.now))

    @precondition(lambda self: self.steps > self.patience)
    @rule()
    def cancel_by_spec(self) -> None:
        self.job = asked(self.job, cancel=True)

    @rule(suspend=rarely)
    def suspend(self, suspend: bool) -> None:  # noqa: FBT001
        self.job = asked(self.job, suspend=suspend)

    @rule(ready=rarely)
    def runner_turns(self, ready: bool) -> None:  # noqa: FBT001
        self.ready = ready

    @rule(outcome=st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED]))
    def input_ends(self, outcome: Outcome) -> None:
        first = job("first", uid="first", retries=0)
        first = having(first, next_status(first, self.seen(), NOW))
        first = having(first, dispatch(first, NOW))
        granted = claim(first, request(uid="first"), lambda _: None, NOW)
        assert isinstance(granted, ClaimGranted)
        first = having(first, granted.status)
        why = failure() if outcome is Outcome.FAILED else None
        made = report(outcome, failure=why, outputs=(output(uid="first"),))
        self.input = having(first, status.report(first, made, NOW))

    @rule(seconds=st.sampled_from([0.5, 1, 5, 10, 61, -30]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # what is always true

    @invariant()
    def patience_runs_out(self) -> None:
        self.steps += 1

    @invariant()
    def the_phase_is_what_the_conditions_say(self) -> None:
        assert self.job.status.phase is derive_phase(self.job.status)

    @invariant()
    def one_attempt_is_one_execution(self) -> None:
        assert all(len(claims) == 1 for claims in self.winners.values())
        assert set(self.winners) <= set(range(1, self.job.status.attempt + 1))

    @invariant()
    def it_ends_once_and_says_so_once(self) -> None:
        ends = [fact for _, fact in self.said if fact in TERMINAL_FACTS]
        assert len(ends) == int(self.job.status.finished)
        if ends:
            assert self.said[-1][1] is ends[0], "nothing is said after the end"

    @invariant()
    def no_two_facts_share_an_id(self) -> None:
        ids = [event_id for event_id, _ in self.said]
        assert len(ids) == len(set(ids))

    @invariant()
    def between_a_status_and_itself_nothing_happened(self) -> None:
        assert facts_between(self.job.status, self.job.status, self.version) == ()

    @invariant()
    def it_runs_only_with_a_claim_and_never_runs_unordered(self) -> None:
        now = self.job.status
        assert bool(now.claim and not now.finished) == now.running
        assert now.dispatched or not now.running

    @invariant()
    def retries_are_budgeted(self) -> None:
        now = self.job.status
        assert now.failures <= self.job.spec.retries + 1
        assert now.losses <= 6
        assert now.finished or now.failures <= self.job.spec.retries


TestLifeOfAJob = LifeOfAJob.TestCase
TestLifeOfAJob.settings = settings(max_examples=80)
