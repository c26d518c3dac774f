"""The termination message of a pod that served one order: what it holds, how it is shortened to what a kubelet keeps,
and the exit code that goes with it. No I/O."""

import os
from collections.abc import Callable, Iterator

from auteur_contracts.orders import (
    MAX_TERMINATION_BYTES,
    ClaimRefused,
    Order,
    Outcome,
    Report,
    TerminationMessage,
)
from auteur_contracts.resources import Failure
from auteur_runner.agent.decisions import Timings

_FAILED = 1
_EXITS = {
    Outcome.SUCCEEDED: os.EX_OK,
    Outcome.CANCELLED: os.EX_OK,
    Outcome.FAILED: _FAILED,
    Outcome.HANDED_BACK: os.EX_TEMPFAIL,
}


def exit_code(termination: TerminationMessage) -> int:
    """0: nothing is left to do. 1: the attempt failed. 75: it has to be offered again."""
    if termination.outcome is not None:
        return _EXITS[termination.outcome]
    return os.EX_OK if termination.refused is not None else os.EX_TEMPFAIL


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────────────


def from_report(report: Report) -> TerminationMessage:
    return TerminationMessage(
        namespace=report.namespace,
        name=report.name,
        uid=report.uid,
        attempt=report.attempt,
        worker=report.worker,
        outcome=report.outcome,
        outputs=report.outputs,
        failure=report.failure,
        warnings=report.warnings,
        metrics=report.metrics,
        started_at=report.started_at,
        finished_at=report.finished_at,
    )


def from_refusal(order: Order, worker: str, refused: ClaimRefused) -> TerminationMessage:
    message = refused.message or f"attempt {order.attempt} of {order.name}: {refused.reason}"
    return _nothing_run(order, worker, f"The claim was refused: {message}").model_copy(
        update={"refused": refused.reason}
    )


def claim_unanswered(order: Order, worker: str, seconds: float) -> TerminationMessage:
    return _nothing_run(order, worker, f"Nobody answered the claim within {seconds:g} s.")


def bus_unreachable(order: Order, worker: str, why: str) -> TerminationMessage:
    return _nothing_run(order, worker, f"The claim could not be asked for: {why}.")


def stopped_before_claim(order: Order, worker: str) -> TerminationMessage:
    return _nothing_run(order, worker, "The worker was told to stop before its claim was answered.")


def _nothing_run(order: Order, worker: str, message: str) -> TerminationMessage:
    return TerminationMessage(
        namespace=order.namespace,
        name=order.name,
        uid=order.uid,
        attempt=order.attempt,
        worker=worker,
        message=message,
    )


# ── how it is shortened ───────────────────────────────────────────────────────────────────────────────────────────────


def to_bytes(termination: TerminationMessage, limit: int = MAX_TERMINATION_BYTES) -> bytes:
    """As JSON of at most `limit` bytes, which still parses: shortened no further than it must be."""
    text = _encode(termination)
    for shorten in (_shorten, _shorten_more, _shorten_most):
        if len(text) <= limit:
            return text
        termination = shorten(termination)
        text = _encode(termination)
    for shorter in _without_last_outputs(termination):
        if len(text) <= limit:
            break
        text = _encode(shorter)
    return text


def _encode(termination: TerminationMessage) -> bytes:
    return termination.model_dump_json(exclude_defaults=True).encode()


def _shorten(termination: TerminationMessage) -> TerminationMessage:
    return _cut(termination, lines=8, characters=160, message=1024, metrics=termination.metrics)


def _shorten_more(termination: TerminationMessage) -> TerminationMessage:
    return _cut(termination, lines=3, characters=120, message=512, metrics=_own(termination))


def _shorten_most(termination: TerminationMessage) -> TerminationMessage:
    return _cut(termination, lines=0, characters=0, message=192, metrics=_own(termination))


def _own(termination: TerminationMessage) -> dict[str, float]:
    """What the agent measured; the function's own metrics are left out."""
    return {name: value for name, value in termination.metrics.items() if name in Timings.NAMES}


def _cut(
    termination: TerminationMessage, *, lines: int, characters: int, message: int, metrics: dict[str, float]
) -> TerminationMessage:
    def clip(text: str) -> str:
        return _clip(text, characters)

    return termination.model_copy(
        update={
            "message": _clip(termination.message, message),
            "failure": termination.failure and _cut_failure(termination.failure, lines, message, clip),
            "warnings": tuple(map(clip, termination.warnings[:lines])),
            "metrics": metrics,
        }
    )


def _cut_failure(failure: Failure, lines: int, message: int, clip: Callable[[str], str]) -> Failure:
    tail = failure.log_tail[-lines:] if lines else ()  # the last lines say most
    return failure.model_copy(
        update={
            "message": _clip(failure.message, message),
            "remedy": _clip(failure.remedy, message),
            "log_tail": tuple(map(clip, tail)),
        }
    )


def _clip(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _without_last_outputs(termination: TerminationMessage) -> Iterator[TerminationMessage]:
    for count in range(len(termination.outputs) - 1, -1, -1):
        yield termination.model_copy(update={"outputs": termination.outputs[:count], "truncated": True})
