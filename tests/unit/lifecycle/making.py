"""Jobs, runners and moments for the tests of the lifecycle, as short as they can be said."""

from datetime import UTC, datetime, timedelta
from typing import Any

from auteur_contracts.orders import ClaimRequest, Outcome, Report
from auteur_contracts.resources import (
    Failure,
    FunctionRunner,
    FunctionRunnerStatus,
    GenerationJob,
    GenerationJobStatus,
    Output,
)
from auteur_contracts.vocabulary import ConditionType, Fault, Reason
from auteur_lifecycle.status import Seen, claim, dispatch, next_status

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
UID = "6f0c1a52-0000-4000-8000-000000000001"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 2000},
        "steps": {"type": "integer", "minimum": 1, "maximum": 500, "default": 20},
        "width": {"anyOf": [{"type": "integer", "minimum": 16}, {"type": "null"}]},
        "mode": {"enum": ["fast", "fine"]},
        "strength": {"type": "number", "maximum": 1},
        "seed": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
    },
}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def runner(name: str = "painter", /, *, ready: bool = True, tiers: Any = None, **function: Any) -> FunctionRunner:
    declared = {"name": "text-to-image", "paramsSchema": SCHEMA, **function}
    spec = {"functions": [declared], "tiers": tiers or [{"quality": "standard", "pipeline": "tiny"}]}
    made = FunctionRunner.model_validate({"metadata": {"name": name}, "spec": spec})
    return made.model_copy(update={"status": FunctionRunnerStatus(ready=ready)})


def job(name: str = "demo-1", *, uid: str = UID, created: datetime = NOW, **spec: Any) -> GenerationJob:
    spec.setdefault("params", {"prompt": "a red star"})
    metadata = {"name": name, "uid": uid, "creationTimestamp": created}
    return GenerationJob.model_validate({"metadata": metadata, "spec": spec})


def having(one: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
    return one.model_copy(update={"status": status})


def asked(one: GenerationJob, **spec: Any) -> GenerationJob:
    """The same job with another spec, as somebody suspends or cancels it."""
    return one.model_copy(update={"spec": one.spec.model_copy(update=spec)})


def nobody(_name: str) -> None:
    return None


def seen(*catalogue: FunctionRunner, lookup: Any = nobody, silent: bool = False) -> Seen:
    return Seen(catalogue=catalogue or (runner(),), lookup=lookup, worker_silent=silent)


def waiting(**spec: Any) -> GenerationJob:
    made = job(**spec)
    return having(made, next_status(made, seen(), NOW))


def dispatched(**spec: Any) -> GenerationJob:
    made = waiting(**spec)
    return having(made, dispatch(made, NOW))


def request(attempt: int = 1, *, worker: str = "w-1", nonce: str = "n-1", uid: str = UID) -> ClaimRequest:
    return ClaimRequest(namespace="default", name="demo-1", uid=uid, attempt=attempt, worker=worker, nonce=nonce)


def running(**spec: Any) -> GenerationJob:
    made = dispatched(**spec)
    granted = claim(made, request(), nobody, NOW)
    assert not isinstance(granted, str)
    return having(made, granted.status)


def output(name: str = "image.png", attempt: int = 1, *, uid: str = UID, project: str = "default") -> Output:
    uri = f"s3://media/default/{project}/jobs/{uid}/{attempt}/{name}"
    return Output(name=name, uri=uri, media_type="image/png", sha256="0" * 64, bytes=1)


def report(outcome: Outcome, attempt: int = 1, **fields: Any) -> Report:
    identity = {"namespace": "default", "name": "demo-1", "uid": UID, "attempt": attempt, "worker": "w-1", "token": "t"}
    times = {"started_at": NOW, "finished_at": NOW}
    return Report.model_validate({**identity, **times, "outcome": outcome, **fields})


def failure(fault: Fault = Fault.FUNCTION, reason: Reason = Reason.FUNCTION_FAILED) -> Failure:
    return Failure(fault=fault, reason=reason, message="It broke.")


def said(status: GenerationJobStatus, kind: ConditionType) -> tuple[str, Reason, str]:
    """A condition's value, reason and message."""
    found = status.condition(kind)
    assert found is not None, f"nothing is said of {kind}"
    return found.status.value, found.reason, found.message
