"""The last words of a pod, as values: what the termination message holds, how it is shortened, how the process exits.
No I/O.
"""

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
from auteur_runner.agent.decisions import Figures

_FAILED = 1
_EXITS = {
    Outcome.SUCCEEDED: os.EX_OK,
    Outcome.CANCELLED: os.EX_OK,
    Outcome.FAILED: _FAILED,
    Outcome.HANDED_BACK: os.EX_TEMPFAIL,
}


def exit_code(word: TerminationMessage) -> int:
    """0: nothing is left to do. 1: the attempt failed. 75: it has to be offered again."""
    if word.outcome is not None:
        return _EXITS[word.outcome]
    return os.EX_OK if word.refused is not None else os.EX_TEMPFAIL


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────────────


def of_report(report: Report) -> TerminationMessage:
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


def of_refusal(order: Order, worker: str, refused: ClaimRefused) -> TerminationMessage:
    message = refused.message or f"attempt {order.attempt} of {order.name}: {refused.reason}"
    return _nothing_run(order, worker, f"The claim was refused: {message}").model_copy(
        update={"refused": refused.reason}
    )


def unanswered(order: Order, worker: str, seconds: float) -> TerminationMessage:
    return _nothing_run(order, worker, f"Nobody answered the claim within {seconds:g} s.")


def unreached(order: Order, worker: str, why: str) -> TerminationMessage:
    return _nothing_run(order, worker, f"The claim could not be asked for: {why}.")


def told_to_leave(order: Order, worker: str) -> TerminationMessage:
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


def spell(word: TerminationMessage, limit: int = MAX_TERMINATION_BYTES) -> bytes:
    """As JSON of at most `limit` bytes, which still parses: shortened no further than it must be."""
    text = _encode(word)
    for shorten in (_fewer_words, _few_words, _fewest_words):
        if len(text) <= limit:
            return text
        word = shorten(word)
        text = _encode(word)
    for shorter in _without_last_outputs(word):
        if len(text) <= limit:
            break
        text = _encode(shorter)
    return text


def _encode(word: TerminationMessage) -> bytes:
    return word.model_dump_json(exclude_defaults=True).encode()


def _fewer_words(word: TerminationMessage) -> TerminationMessage:
    return _cut(word, lines=8, characters=160, message=1024, metrics=word.metrics)


def _few_words(word: TerminationMessage) -> TerminationMessage:
    return _cut(word, lines=3, characters=120, message=512, metrics=_own(word))


def _fewest_words(word: TerminationMessage) -> TerminationMessage:
    return _cut(word, lines=0, characters=0, message=192, metrics=_own(word))


def _own(word: TerminationMessage) -> dict[str, float]:
    """What the agent measured; the function's figures go."""
    return {name: value for name, value in word.metrics.items() if name in Figures.NAMES}


def _cut(
    word: TerminationMessage, *, lines: int, characters: int, message: int, metrics: dict[str, float]
) -> TerminationMessage:
    def clip(text: str) -> str:
        return _clip(text, characters)

    return word.model_copy(
        update={
            "message": _clip(word.message, message),
            "failure": word.failure and _cut_failure(word.failure, lines, message, clip),
            "warnings": tuple(map(clip, word.warnings[:lines])),
            "metrics": metrics,
        }
    )


def _cut_failure(failure: Failure, lines: int, message: int, clip: Callable[[str], str]) -> Failure:
    tail = failure.log_tail[-lines:] if lines else ()  # its end says how it ended
    return failure.model_copy(
        update={
            "message": _clip(failure.message, message),
            "remedy": _clip(failure.remedy, message),
            "log_tail": tuple(map(clip, tail)),
        }
    )


def _clip(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _without_last_outputs(word: TerminationMessage) -> Iterator[TerminationMessage]:
    for count in range(len(word.outputs) - 1, -1, -1):
        yield word.model_copy(update={"outputs": word.outputs[:count], "truncated": True})
