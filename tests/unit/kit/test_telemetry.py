"""Telemetry while it is off: it costs nothing, and does not cut other programs' traces in two."""

import contextlib
import subprocess
import sys
import timeit
from datetime import UTC, datetime

from auteur_kit import telemetry
from auteur_kit.settings import TelemetrySettings

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_came_with_a_message_travels_on_and_no_further_than_its_block() -> None:
    with telemetry.span("consume", parent=PARENT):
        assert telemetry.traceparent() == PARENT
        with telemetry.span("within") as span:
            span.set(outputs=3)
            span.fail("no")
            assert telemetry.traceparent() == PARENT
    assert telemetry.traceparent() == ""


def test_what_is_no_traceparent_is_not_passed_on() -> None:
    with telemetry.carry(PARENT), telemetry.span("consume", parent="nonsense"):
        assert telemetry.traceparent() == PARENT
    with telemetry.carry("nonsense"):
        assert telemetry.traceparent() == ""


def test_what_was_measured_elsewhere_is_let_go() -> None:
    assert telemetry.record("load", parent=PARENT, start=NOW, end=NOW, error="no") == PARENT


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    program = (
        "import sys; from auteur_kit import bus, telemetry; from auteur_kit.settings import TelemetrySettings\n"
        "shutdown = telemetry.configure(TelemetrySettings(), service='test')\n"
        "with telemetry.span('a'): pass\n"
        "shutdown(); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_span_costs_about_what_an_empty_block_costs() -> None:
    """Compared with `contextlib.nullcontext`, so that a slow machine does not matter: an SDK's span costs fifty times
    as much.
    """

    def spanning() -> None:
        with telemetry.span("name", uid="u1", attempt=1):
            pass

    def nothing() -> None:
        with contextlib.nullcontext():
            pass

    telemetry.configure(TelemetrySettings(), service="test")
    ours, bare = (min(timeit.repeat(each, number=2000, repeat=25)) for each in (spanning, nothing))
    assert ours < bare * 8
