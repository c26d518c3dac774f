"""Spans. Off unless an OTLP endpoint is set, and free while off: OpenTelemetry is not even imported. What came with a
request or a message still travels on, so that a program without telemetry does not cut other programs' traces in two.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from auteur_kit import trace
from auteur_kit.settings import TelemetrySettings

Value = str | bool | int | float
_STANDARD = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Kind(Enum):
    """Of a span, as OpenTelemetry has it."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Span:
    """What `with telemetry.span(…) as span` gives: here while telemetry is off."""

    __slots__ = ()

    def set(self, **attributes: Value) -> None:
        """What is only known meanwhile."""

    def fail(self, message: str) -> None:
        """It did not go well, though nothing was raised."""


class Recorder(Protocol):
    """What records: `auteur_kit.otlp`."""

    provider: Any

    def span(
        self, name: str, parent: str, kind: Kind, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]: ...
    def carry(self, parent: str) -> AbstractContextManager[Span]: ...
    def traceparent(self) -> str: ...
    def record(
        self, name: str, parent: str, times: tuple[datetime, datetime], attributes: Mapping[str, Value], error: str
    ) -> str: ...
    def shutdown(self) -> None: ...


_carried: ContextVar[str] = ContextVar("traceparent", default="")
_recorder: Recorder | None = None


def configure(settings: TelemetrySettings, *, service: str, instance: str = "") -> Callable[[], None]:
    """Once, in `__main__`. What it returns is called at the end: it sends what is left, and may take seconds."""
    global _recorder  # noqa: PLW0603  # as structlog's configuration and OpenTelemetry's own: one a process
    if not settings.endpoint and not any(os.environ.get(name) for name in _STANDARD):
        return _nothing_to_send
    from auteur_kit.otlp import OtlpRecorder  # noqa: PLC0415  # its imports cost a tenth of a second

    _recorder = OtlpRecorder(settings, service, instance)
    return _shut_down


def _nothing_to_send() -> None:
    pass


def _shut_down() -> None:
    global _recorder
    recorder, _recorder = _recorder, None
    if recorder is not None:
        recorder.shutdown()


def span(
    name: str, *, parent: str = "", kind: Kind = Kind.INTERNAL, **attributes: Value
) -> AbstractContextManager[Span]:
    """Around what is measured. A child of `parent`, which came with a message or a job; without one, of the span that
    is active. An exception that leaves it marks it as failed.
    """
    if _recorder is not None:
        return _recorder.span(name, parent, kind, attributes)
    return _Carry(parent) if parent else _NOTHING


def carry(parent: str) -> AbstractContextManager[Span]:
    """What is said inside belongs to `parent`, and no span is made of it."""
    if _recorder is not None:
        return _recorder.carry(parent)
    return _Carry(parent) if parent else _NOTHING


def provider() -> Any:
    """OpenTelemetry's TracerProvider, for a framework that makes spans of its own; None while off."""
    return None if _recorder is None else _recorder.provider


def traceparent() -> str:
    """Of the active span, to send along; empty when there is none."""
    return _carried.get() if _recorder is None else _recorder.traceparent()


def record(name: str, *, parent: str, start: datetime, end: datetime, error: str = "", **attributes: Value) -> str:
    """A span that was measured elsewhere and is over. Returns its traceparent, to be a parent; `parent` while off."""
    if _recorder is None:
        return parent
    return _recorder.record(name, parent, (start, end), attributes, error)


def job_attributes(namespace: str, name: str, uid: str, attempt: int = 0) -> dict[str, Value]:
    """Our names for what OpenTelemetry's conventions have none for."""
    said: dict[str, Value] = {"auteur.namespace": namespace, "auteur.job.name": name, "auteur.job.uid": uid}
    return {**said, "auteur.job.attempt": attempt} if attempt else said


class _Nothing(AbstractContextManager[Span]):
    """Stateless, so one serves all."""

    __slots__ = ("_span",)

    def __init__(self) -> None:
        self._span = Span()

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, *_: object) -> None:
        pass


class _Carry(AbstractContextManager[Span]):
    __slots__ = ("_parent", "_token")

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._token: Token[str] | None = None

    def __enter__(self) -> Span:
        if trace.valid(self._parent):
            self._token = _carried.set(self._parent)
        return _SPAN

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _carried.reset(self._token)


_NOTHING = _Nothing()
_SPAN = Span()
