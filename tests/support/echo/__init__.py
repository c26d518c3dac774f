"""A function for tests and benches: says back what it is told, at a given pace, and fails on demand."""

import enum
import os
import signal
import time
from pathlib import Path
from typing import Annotated

from auteur_runner import Context, Field, Function, InvalidRequest, Media, MediaType, OutOfMemory, PlatformError

LEDGER = "AUTEUR_ECHO_LEDGER"
"""Names a file that gets one line `uid attempt nanoseconds` for each execution: how harnesses count and time them."""


class Fail(enum.StrEnum):
    NONE = "none"
    USER = "user"
    FUNCTION = "function"
    PLATFORM = "platform"
    OOM = "oom"
    CRASH = "crash"
    HANG = "hang"


class Echo(Function):
    """Writes what it was told to a file."""

    name = "echo"
    example = {"text": "hello"}  # noqa: RUF012 -- as an author writes it

    class Params(Function.Params):
        text: str = Field("hello", max_length=10_000)
        steps: int = Field(0, ge=0, le=10_000)
        seconds: float = Field(0, ge=0, le=3600, description="Total, spread over the steps.")
        bytes: int = Field(0, ge=0, le=1024**3, description="Size of a second output, `blob.bin`; 0: none.")
        lines: int = Field(0, ge=0, le=10_000_000, description="Lines of 100 bytes to print at the start.")
        seed: int | None = Field(None, ge=0)
        fail: Fail = Fail.NONE

    class Output(Function.Output):
        echo: Annotated[Media, MediaType("application/json")]
        blob: Media | None = None

    def run(self, params: Params, ctx: Context) -> Output:
        entered = time.time_ns()
        ctx.metric("entered_at_ns", entered)
        _note(ctx, entered)
        for _ in range(params.lines):
            print("x" * 99)
        _fail(params.fail)
        with ctx.phase("echo", steps=params.steps or None) as step:
            for _ in range(params.steps):
                time.sleep(params.seconds / params.steps)
                step()
            if not params.steps:
                time.sleep(params.seconds)
        echo = ctx.save({"text": params.text, "seed": ctx.seed, "drawn": ctx.rng().random()}, "echo.json")
        blob = ctx.save(ctx.rng().randbytes(params.bytes), "blob.bin") if params.bytes else None
        return self.Output(echo=echo, blob=blob)


def _note(ctx: Context, entered: int) -> None:
    if ledger := os.environ.get(LEDGER):
        descriptor = os.open(Path(ledger), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(
                descriptor, f"{ctx.uid} {ctx.attempt} {entered}\n".encode()
            )  # one write: whole lines, whoever else writes
        finally:
            os.close(descriptor)


def _fail(how: Fail) -> None:
    match how:
        case Fail.NONE:
            return
        case Fail.USER:
            raise InvalidRequest("asked to fail", field="fail")
        case Fail.FUNCTION:
            raise RuntimeError("asked to fail")
        case Fail.PLATFORM:
            raise PlatformError("asked to fail")
        case Fail.OOM:
            raise OutOfMemory("asked to fail")
        case Fail.CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fail.HANG:
            while True:
                time.sleep(3600)
