"""Structured logs: constant messages with key-value facts, on stderr."""

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from auteur_kit.settings import LogSettings

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor


def configure(settings: LogSettings, *, service: str) -> None:
    """Once, in `__main__`. The standard library's loggers (uvicorn, alembic) end in the same stream and form."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    stream = cast("TextIO", _Unfailing(sys.stderr))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(service=service)


class _Unfailing:
    """A line that cannot be written (a full disk, a reader that went away) is lost, and ends nothing else."""

    def __init__(self, stream: "TextIO") -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def get_logger() -> "FilteringBoundLogger":
    return cast("FilteringBoundLogger", structlog.get_logger())
