"""What an agent decides, as values: how an attempt ended, what its report and its facts say. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import ClassVar

from auteur_contracts import names
from auteur_contracts.errors import AuteurError, InvalidRequest, NotFound
from auteur_contracts.events import Envelope, Logged, Previewed, Progressed, Started
from auteur_contracts.orders import Grant, Order, Outcome, Report
from auteur_contracts.quantities import MAX_WARNINGS
from auteur_contracts.resources import Failure, FunctionRunner, Output, PlannedInput, Tier
from auteur_contracts.vocabulary import Fault, Quality, Reason
from auteur_runner import protocol

WorkerFact = Started | Progressed | Previewed | Logged
MAX_METRICS = 100


class Stop(Enum):
    """Why an attempt is asked to stop. The first one counts."""

    CANCELLED = auto()
    DEADLINE = auto()
    DRAIN = auto()


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    failure: Failure | None = None


def decide_outcome(ending: protocol.Ending, stop: Stop | None, deadline_seconds: float) -> Verdict:
    """The attempt's outcome. Work that was finished in spite of a stop counts as done; a failure after a stop is put
    down to the stop."""
    match ending, stop:
        case protocol.Succeeded(), _:
            return Verdict(Outcome.SUCCEEDED)
        case _, Stop.CANCELLED:
            return Verdict(Outcome.CANCELLED)
        case _, Stop.DRAIN:
            return Verdict(Outcome.HANDED_BACK)
        case _, Stop.DEADLINE:
            return Verdict(Outcome.FAILED, deadline_exceeded(deadline_seconds))
        case protocol.Failed(failure=failure), _:
            return Verdict(Outcome.FAILED, failure)
        case _:
            return Verdict(Outcome.FAILED, _nobody_cancelled())


def deadline_exceeded(seconds: float) -> Failure:
    return Failure(
        fault=Fault.FUNCTION,
        reason=Reason.DEADLINE_EXCEEDED,
        message=f"The attempt ran longer than its deadline of {seconds:g} s.",
        remedy='Give the job a longer "deadline", or ask for a lower quality.',
    )


def memory_killed(failure: Failure, limit: int | None) -> Failure:
    """The function failed while the kernel was killing processes for memory, so that was the reason. A fault of the
    user or of the platform stays what it is."""
    if failure.fault is not Fault.FUNCTION:
        return failure
    full = f"its container's limit of {limit / 2**20:.0f} MiB" if limit else "the machine's"
    return failure.model_copy(
        update={
            "reason": Reason.OUT_OF_MEMORY,
            "message": f"The function's process was killed because memory was full: {full}.",
            "remedy": 'Give the tier more memory ("resources.memory"), or ask for less: a lower quality, fewer pixels.',
        }
    )


def input_failed(error: AuteurError, name: str, planned: Sequence[PlannedInput]) -> Failure:
    """Trying again does not bring an input that is not in the store: the user has to upload it, or to name another."""
    if isinstance(error, NotFound):
        return Failure(
            fault=Fault.USER,
            reason=Reason.INVALID_INPUT,
            message=f'Input "{name}" is not in the store: there is no {_place(name, planned)}.'[:2048],
            remedy="Upload it first, or name another job's output.",
        )
    return _platform_failed(f'Input "{name}" could not be fetched: {error.message}')


def _place(name: str, planned: Sequence[PlannedInput]) -> str:
    found = next((each for each in planned if each.name == name), None)
    if found is None:
        return "such file"
    return found.uri or f"output {found.output or 'file'} of job {found.job} any more"


def output_failed(error: AuteurError, name: str) -> Failure:
    message = f"{name} could not be stored: {error.message}"
    if isinstance(error, InvalidRequest):  # larger than the job may store
        return Failure(fault=Fault.FUNCTION, reason=Reason.FUNCTION_FAILED, message=message[:2048])
    return _platform_failed(message)


def agent_failed(error: Exception) -> Failure:
    """A full disk or a defect of the agent: the job is tried again, perhaps on another machine."""
    if isinstance(error, OSError):
        return _platform_failed(f"The worker's machine: {error}", recycle=True)
    return _platform_failed(f"The agent failed: {error!r}", recycle=True)


def report_refused(report: Report, why: str) -> Report:
    """Replaces a report that is too large for NATS, and leaves out what made it large."""
    failure = Failure(
        fault=Fault.FUNCTION,
        reason=Reason.FUNCTION_FAILED,
        message=f"The attempt's report could not be delivered: {why}."[:2048],
        remedy="Make fewer outputs, warnings or metrics, or raise max_payload of NATS.",
    )
    small = {"outcome": Outcome.FAILED, "failure": failure, "outputs": (), "warnings": ()}
    own = {name: value for name, value in report.metrics.items() if name in Timings.NAMES}
    return report.model_copy(update={**small, "metrics": own})


def _platform_failed(message: str, *, recycle: bool = False) -> Failure:
    return Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message=message[:2048], recycle=recycle)


def first_tier(runner: FunctionRunner) -> Tier:
    """What a worker makes ready before it knows its first job: `standard`, or the first that is declared."""
    return (runner.tier(Quality.STANDARD) or runner.spec.tiers[0]).planned


def refused_runner(described: FunctionRunner, expected: str) -> str:
    """A sentence when the target is not the runner this agent was started for; else empty."""
    if described.metadata.name == expected:
        return ""
    return f'the target is runner "{described.metadata.name}", not "{expected}": start the agent with its own name'


@dataclass
class RunRecord:
    """The metrics and warnings of one attempt so far, for its report."""

    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def hear(self, message: protocol.Metric | protocol.Warned) -> None:
        match message:
            case protocol.Metric(name=name, value=value):
                if name in self.metrics or len(self.metrics) < MAX_METRICS:
                    self.metrics[name] = value
            case protocol.Warned(text=text):
                if text not in self.warnings and len(self.warnings) < MAX_WARNINGS:
                    self.warnings.append(text[:512])


@dataclass(frozen=True)
class Timings:
    """The times that every report has."""

    NAMES: ClassVar = ("load_seconds", "run_seconds", "upload_seconds")

    load_seconds: float = 0.0
    run_seconds: float = 0.0
    upload_seconds: float = 0.0

    def over(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return {**metrics, **{name: round(getattr(self, name), 6) for name in self.NAMES}}


def report_of(
    order: Order,
    grant: Grant,
    worker: str,
    verdict: Verdict,
    *,
    outputs: Sequence[Output],
    record: RunRecord,
    timings: Timings,
    started_at: datetime,
    finished_at: datetime,
) -> Report:
    return Report(
        namespace=order.namespace,
        name=order.name,
        uid=order.uid,
        attempt=order.attempt,
        worker=worker,
        token=grant.token,
        outcome=verdict.outcome,
        outputs=tuple(outputs) if verdict.outcome is Outcome.SUCCEEDED else (),
        failure=verdict.failure,
        warnings=tuple(record.warnings),
        metrics=timings.over(record.metrics),
        started_at=started_at,
        finished_at=finished_at,
    )


def result_json(report: Report) -> str:
    """The report as it is stored beside the outputs, without the token, which only worker and control plane may
    know."""
    return report.model_dump_json(indent=2, exclude={"token"}, exclude_none=True)


def fact_of(order: Order, node_id: str, worker: str, data: WorkerFact, number: int, now: datetime) -> Envelope:
    """One fact of an attempt. `number` counts them: an attempt is executed once, so it says each fact once."""
    return Envelope(
        id=names.event_id(order.uid, order.attempt, data.fact, str(number)),
        source=worker,
        time=now,
        namespace=order.namespace,
        project=order.project,
        name=order.name,
        uid=order.uid,
        node_id=node_id,
        data=data,
    )


def _nobody_cancelled() -> Failure:
    return Failure(
        fault=Fault.FUNCTION,
        reason=Reason.FUNCTION_FAILED,
        message="The function raised JobCancelled, but nobody cancelled the job.",
        remedy="JobCancelled is raised by the context; a function that gives up raises an error of its own.",
    )


def broken(message: str) -> Failure:
    """A runner that cannot serve at all."""
    return Failure(fault=Fault.PLATFORM, reason=Reason.RUNNER_NOT_READY, message=message)
