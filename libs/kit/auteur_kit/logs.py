"""Structured logs: constant messages with key-value facts, on stderr."""

import logging
import sys
from typing import TYPE_CHECKING, cast

import structlog

from auteur_kit.settings import LogSettings

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor


def configure(settings: LogSettings, *, service: str) -> None:
    """Once, in `__main__`. The standard library's loggers (uvicorn, alembic) end in the same stream and form."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
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


def get_logger() -> "FilteringBoundLogger":
    return cast("FilteringBoundLogger", structlog.get_logger())
