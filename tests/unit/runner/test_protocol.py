"""Frames survive the way there, and strangers are noticed."""

import pytest

from auteur_contracts.resources import Failure, Progress, Tier
from auteur_contracts.vocabulary import Fault, Quality, Reason
from auteur_runner import protocol
from auteur_runner.describe import describe
from auteur_runner.function import Runner
from tests.support.echo import Echo

TIER = Tier(quality=Quality.DRAFT, pipeline="echo", optimizations=("tiling",), threads=2)
FAILURE = Failure(fault=Fault.FUNCTION, reason=Reason.OUT_OF_MEMORY, message="no room", recycle=True)
DOWN: list[protocol.Down] = [
    protocol.Setup(tier=TIER),
    protocol.Run(function="echo", params={"text": "größe ✓", "x": None}, tier=TIER, folder="f", uid="u", attempt=2),
    protocol.Cancel(uid="u", attempt=2),
    protocol.Exit(),
]
UP: list[protocol.Up] = [
    protocol.Hello(sdk="0.1.0", python="3.11.7", runner=describe(Runner.of(Echo))),
    protocol.Ready(),
    protocol.SetupFailed(failure=FAILURE),
    protocol.Started(),
    protocol.Progressed(progress=Progress(phase="denoise", fraction=0.5, step=1, steps=2)),
    protocol.Previewed(file="p.jpg", step=3),
    protocol.Log(stream="stderr", level="error", line="oh"),
    protocol.Metric(name="entered_at_ns", value=1.5),
    protocol.Warned(text="unknown word"),
    protocol.Succeeded(outputs=(protocol.OutputFile(field="image", file="a.png", media_type="image/png", width=1),)),
    protocol.Failed(failure=FAILURE),
    protocol.Cancelled(forced=True),
]


@pytest.mark.parametrize("message", DOWN, ids=lambda message: message.type)
def test_what_the_agent_says_arrives(message: protocol.Down) -> None:
    frame = protocol.encode(message)
    body = frame[protocol.HEADER :]
    assert protocol.body_length(frame[: protocol.HEADER]) == len(body)
    assert protocol.decode_down(body) == message


@pytest.mark.parametrize("message", UP, ids=lambda message: message.type)
def test_what_the_child_says_arrives(message: protocol.Up) -> None:
    assert protocol.decode_up(protocol.encode(message)[protocol.HEADER :]) == message


def test_fields_of_a_newer_version_are_skipped() -> None:
    assert protocol.decode_up(b'{"type": "ready", "mood": "good"}') == protocol.Ready()


def test_a_frame_that_cannot_be_ours_is_refused_before_it_is_read() -> None:
    with pytest.raises(protocol.FrameTooLarge, match="at most"):
        protocol.body_length(b"HTTP")
