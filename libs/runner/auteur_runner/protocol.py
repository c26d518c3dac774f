"""The talk between an agent and its child over a socketpair: length-prefixed JSON, one message a frame.

Both ends may be of different versions (the child lives in its author's environment): unknown fields are skipped, and
the hello carries the protocol's number.
"""

import hashlib
import json
import math
import struct
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, field_validator

from auteur_contracts.model import JsonObject, TolerantModel
from auteur_contracts.resources import Failure, FunctionRunner, Progress, Tier

PROTOCOL = 1
MAX_FRAME = 16 * 1024 * 1024
_LENGTH = struct.Struct(">I")
HEADER = _LENGTH.size


class FrameTooLarge(Exception):
    """A frame longer than any message of ours: the other end is not what it should be."""


# Down: agent → child


class Setup(TolerantModel):
    type: Literal["setup"] = "setup"
    tier: Tier


class Run(TolerantModel):
    type: Literal["run"] = "run"
    function: str
    params: JsonObject
    inputs: dict[str, str] = Field(default_factory=dict)
    """Input name → path."""
    seed: int | None = None
    tier: Tier
    folder: str
    uid: str
    attempt: int

    @property
    def params_digest(self) -> str:
        text = json.dumps(self.params, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Cancel(TolerantModel):
    type: Literal["cancel"] = "cancel"
    uid: str
    attempt: int


class Exit(TolerantModel):
    type: Literal["exit"] = "exit"


# Up: child → agent


class Hello(TolerantModel):
    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL
    sdk: str
    python: str
    runner: FunctionRunner


class Ready(TolerantModel):
    type: Literal["ready"] = "ready"


class SetupFailed(TolerantModel):
    """Before the hello: the target cannot be loaded. After it: `setup` raised."""

    type: Literal["setup_failed"] = "setup_failed"
    failure: Failure


class Started(TolerantModel):
    """Sent when `run` is entered."""

    type: Literal["started"] = "started"


class Progressed(TolerantModel):
    type: Literal["progress"] = "progress"
    progress: Progress


class Previewed(TolerantModel):
    type: Literal["preview"] = "preview"
    file: str
    step: int | None = None


class Log(TolerantModel):
    type: Literal["log"] = "log"
    stream: Literal["stdout", "stderr", "log"] = "log"
    level: Literal["debug", "info", "warning", "error"] = "info"
    line: str


class Metric(TolerantModel):
    type: Literal["metric"] = "metric"
    name: str = Field(min_length=1, max_length=64)
    value: float

    @field_validator("value")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("a metric is a finite number")
        return value


class Warned(TolerantModel):
    type: Literal["warning"] = "warning"
    text: str


class OutputFile(TolerantModel):
    field: str
    """Which field of `Output` it fills."""
    file: str
    media_type: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


class Succeeded(TolerantModel):
    type: Literal["succeeded"] = "succeeded"
    outputs: tuple[OutputFile, ...]
    run_seconds: float = 0


class Failed(TolerantModel):
    type: Literal["failed"] = "failed"
    failure: Failure


class Cancelled(TolerantModel):
    type: Literal["cancelled"] = "cancelled"
    forced: bool = False
    """The process did not stop by itself and was killed."""


Down = Setup | Run | Cancel | Exit
Ending = Succeeded | Failed | Cancelled
Event = Started | Progressed | Previewed | Log | Metric | Warned
Up = Hello | Ready | SetupFailed | Event | Ending

_DOWN: TypeAdapter[Down] = TypeAdapter(Annotated[Down, Field(discriminator="type")])
_UP: TypeAdapter[Up] = TypeAdapter(Annotated[Up, Field(discriminator="type")])


def encode(message: Down | Up) -> bytes:
    """One frame: four bytes of length, big-endian, then JSON."""
    body = message.model_dump_json(exclude_defaults=False).encode()
    if len(body) > MAX_FRAME:
        raise FrameTooLarge(f"a {message.type} message of {len(body)} bytes; at most {MAX_FRAME} fit")
    return _LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    length: int = _LENGTH.unpack(header)[0]
    if length > MAX_FRAME:
        raise FrameTooLarge(f"a frame of {length} bytes was announced; at most {MAX_FRAME} fit")
    return length


def decode_down(body: bytes) -> Down:
    return _DOWN.validate_json(body)


def decode_up(body: bytes) -> Up:
    return _UP.validate_json(body)
