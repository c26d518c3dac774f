"""Spans of messages, as OpenTelemetry's messaging conventions name them. Only of what belongs to a trace already: most
messages are heartbeats and progress.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

from auteur_kit import telemetry
from auteur_kit.telemetry import Kind, Span

_NO_MORE: Mapping[str, telemetry.Value] = MappingProxyType({})
_TYPES = {Kind.PRODUCER: "send", Kind.CLIENT: "send", Kind.CONSUMER: "process", Kind.SERVER: "process"}


def of_producer(subject: str, parent: str, msg_id: str) -> AbstractContextManager[Span]:
    return _span(Kind.PRODUCER, "publish", subject, parent, {"messaging.message.id": msg_id})


def of_consumer(subject: str, parent: str) -> AbstractContextManager[Span]:
    return _span(Kind.CONSUMER, "process", subject, parent)


def of_request(subject: str) -> AbstractContextManager[Span]:
    return _span(Kind.CLIENT, "request", subject, telemetry.traceparent())


def of_answer(subject: str, parent: str) -> AbstractContextManager[Span]:
    return _span(Kind.SERVER, "answer", subject, parent)


def _span(
    kind: Kind, operation: str, subject: str, parent: str, attributes: Mapping[str, telemetry.Value] = _NO_MORE
) -> AbstractContextManager[Span]:
    if not parent:
        return telemetry.carry("")
    # auteur.work.v1: what comes after names one pool, job or worker, and a span's name should not.
    destination = ".".join(subject.split(".")[:3])
    named: dict[str, telemetry.Value] = {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": _TYPES[kind],
        "messaging.destination.name": subject,
        "messaging.destination.template": destination,
        **attributes,
    }
    return telemetry.span(f"{operation} {destination}", parent=parent, kind=kind, **named)
