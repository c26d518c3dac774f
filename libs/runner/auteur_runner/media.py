"""Files a function reads and makes, and their media types. Pillow is used where it is installed, never required."""

import fnmatch
import mimetypes
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_OUTPUT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
RESULT_NAME = "result.json"
"""The agent's own file beside the outputs. Its others begin with a dot, which no output's name does."""
OUTPUT_NAMES = (
    "an output's name has letters, digits, '.', '_' and '-', at most 128, begins with no dot, and is not "
    f"{RESULT_NAME}, which is the platform's own file"
)

# Fixed here: `mimetypes` reads files of the machine, and the same output must have the same type everywhere.
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tiff": "image/tiff",
    ".svg": "image/svg+xml",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".json": "application/json",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".vtt": "text/vtt",
    ".srt": "application/x-subrip",
}


def media_type_of(name: str) -> str:
    """The media type by the name's ending; `application/octet-stream` where it is not known."""
    known = _TYPES.get(Path(name).suffix.lower())
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def is_output_name(name: str) -> bool:
    return _OUTPUT_NAME.fullmatch(name) is not None and name != RESULT_NAME


def matches(media_type: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(media_type, pattern)


@dataclass(frozen=True)
class MediaType:
    """What an annotation says of a file: `image/png`, `image/*`."""

    pattern: str


@dataclass(frozen=True)
class _File:
    path: Path

    @classmethod
    def __class_getitem__(cls, pattern: str) -> Any:
        """`Input["image/*"]` is short for `Annotated[Input, MediaType("image/*")]`, which type checkers prefer."""
        return Annotated[cls, MediaType(pattern)]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True)
class Input(_File):
    """A file the job was given. It lies in the attempt's folder."""

    media_type: str = "application/octet-stream"

    @property
    def name(self) -> str:
        return self.path.name

    @classmethod
    def at(cls, path: Path) -> Self:
        return cls(path, media_type_of(path.name))


@dataclass(frozen=True)
class Media(_File):
    """A file the job made. `ctx.save` returns one."""

    media_type: str = "application/octet-stream"
    width: int | None = None
    height: int | None = None
    seconds: float | None = None

    @property
    def name(self) -> str:
        return self.path.name


def pixels(path: Path, media_type: str) -> tuple[int | None, int | None]:
    """Width and height of a picture; PNG without Pillow, the rest with it."""
    if not media_type.startswith("image/"):
        return None, None
    with path.open("rb") as file:
        head = file.read(24)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    try:
        from PIL import Image  # noqa: PLC0415 -- optional, and 40 ms that most functions need not pay

        with Image.open(path) as picture:
            return picture.size
    except (ImportError, OSError):  # no Pillow, or not a picture it knows: the file is still an output
        return None, None
