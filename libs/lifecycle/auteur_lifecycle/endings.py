"""How a job ends: refused, succeeded, failed or cancelled. Each is `_end` with other words."""

from datetime import datetime

from auteur_contracts.orders import Report
from auteur_contracts.quantities import MAX_WARNINGS
from auteur_contracts.resources import Failure, GenerationJob, GenerationJobStatus, Progress
from auteur_contracts.vocabulary import ConditionType, Fault, Reason
from auteur_lifecycle.conditions import FALSE, TRUE, change, failure_of
from auteur_lifecycle.refusal import Refusal


def _end(
    job: GenerationJob,
    now: datetime,
    reason: Reason,
    message: str,
    *,
    accepted: bool = True,
    succeeded: bool = False,
    **fields: object,
) -> GenerationJobStatus:
    over = (ConditionType.DISPATCHED, FALSE, reason, ""), (ConditionType.RUNNING, FALSE, reason, "")
    return change(
        job,
        now,
        *(over if accepted else ((ConditionType.ACCEPTED, FALSE, reason, message),)),
        (ConditionType.FINISHED, TRUE, reason, message),
        (ConditionType.SUCCEEDED, TRUE if succeeded else FALSE, reason, message),
        retry_at=None,
        completion_time=now,
        **fields,
    )


def refuse(job: GenerationJob, refusal: Refusal, now: datetime) -> GenerationJobStatus:
    failure = failure_of(Fault.USER, refusal.reason, refusal.message, refusal.remedy)
    return _end(job, now, refusal.reason, refusal.text, accepted=False, failure=failure)


def succeed(job: GenerationJob, said: Report, now: datetime) -> GenerationJobStatus:
    last = job.status.progress or Progress(phase="done")
    return _end(
        job,
        now,
        Reason.OUTPUTS_COMMITTED,
        f"Made {len(said.outputs)} output{'' if len(said.outputs) == 1 else 's'}.",
        succeeded=True,
        outputs=said.outputs,
        warnings=said.warnings[:MAX_WARNINGS],
        failure=None,
        progress=last.model_copy(update={"fraction": 1.0, "eta_seconds": None}),
    )


def fail(job: GenerationJob, failure: Failure, now: datetime) -> GenerationJobStatus:
    return _end(job, now, failure.reason, f"{failure.message} {failure.remedy}".strip(), failure=failure)


def finish_cancelled(job: GenerationJob, now: datetime, by: str) -> GenerationJobStatus:
    message = f"Cancelled by {by}." if by else "Cancelled."
    return _end(job, now, Reason.CANCELLED, message, cancelled_by=by, failure=None)
