"""Spans by OpenTelemetry's SDK, sent over OTLP/HTTP. Only `telemetry` imports this, where it is on: the SDK, its
exporter and protobuf take a while to import.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from opentelemetry import context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from auteur_kit import trace
from auteur_kit.settings import TelemetrySettings
from auteur_kit.telemetry import Kind, Span, Value

_EXPORT_TIMEOUT = 3.0
_SHUTDOWN_TIMEOUT = 2.0
"""Seconds. A collector that is away must not hold up a program that was told to end."""


class OtlpRecorder:
    """A provider of its own, not the process's global one: a test may have one after the other."""

    def __init__(self, settings: TelemetrySettings, service: str, instance: str) -> None:
        # Without an endpoint of ours the exporter reads the standard variables itself, and headers always.
        endpoint = f"{settings.endpoint.rstrip('/')}/v1/traces" if settings.endpoint else None
        named = {"service.namespace": "auteur", "service.name": service}
        self.provider: Any = TracerProvider(
            resource=Resource.create({**named, "service.instance.id": instance} if instance else named),
            sampler=ParentBasedTraceIdRatio(settings.sample_ratio),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(_WithoutSecrets())
        self.provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint, timeout=_EXPORT_TIMEOUT),
                schedule_delay_millis=settings.export_interval.total_seconds() * 1000,
            )
        )
        self._tracer = self.provider.get_tracer("auteur")

    @contextlib.contextmanager
    def span(self, name: str, parent: str, kind: Kind, attributes: Mapping[str, Value]) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name, _context_of(parent), kind=otel.SpanKind[kind.value], attributes=attributes
        ) as span:
            yield _Recorded(span)

    @contextlib.contextmanager
    def carry(self, parent: str) -> Iterator[Span]:
        token = context.attach(_context_of(parent) or context.get_current())
        try:
            yield Span()
        finally:
            context.detach(token)

    def traceparent(self) -> str:
        return _traceparent_of(otel.get_current_span())

    def record(
        self, name: str, parent: str, times: tuple[datetime, datetime], attributes: Mapping[str, Value], error: str
    ) -> str:
        began, ended = (int(time.timestamp() * 1e9) for time in times)
        span = self._tracer.start_span(name, _context_of(parent), attributes=attributes, start_time=began)
        if error:
            span.set_status(otel.StatusCode.ERROR, error)
        span.end(ended)
        return _traceparent_of(span)

    def shutdown(self) -> None:
        """The SDK would try for half a minute."""
        ending = threading.Thread(target=self.provider.shutdown, name="telemetry shutdown", daemon=True)
        ending.start()
        ending.join(_SHUTDOWN_TIMEOUT)


class _Recorded(Span):
    __slots__ = ("_span",)

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(attributes)

    def fail(self, message: str) -> None:
        self._span.set_status(otel.StatusCode.ERROR, message)


class _WithoutSecrets(SpanProcessor):
    """Browsers cannot set headers on sockets, event streams and pictures: a query may hold a token, or a link's
    signature.
    """

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        del parent_context
        if "url.query" in (span.attributes or {}):
            span.set_attribute("url.query", "REDACTED")


def _context_of(traceparent: str) -> Context | None:
    """None for what is no traceparent: the active span is the parent then."""
    if not trace.valid(traceparent):
        return None
    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    remote = otel.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_flags(flags))
    return otel.set_span_in_context(otel.NonRecordingSpan(remote))


def _flags(digits: str) -> otel.TraceFlags:
    return otel.TraceFlags(int(digits, 16))


def _traceparent_of(span: otel.Span) -> str:
    said = span.get_span_context()
    if not said.is_valid:
        return ""
    return f"00-{said.trace_id:032x}-{said.span_id:016x}-{said.trace_flags:02x}"
