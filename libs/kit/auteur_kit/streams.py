"""The JetStream streams and their durability, as data. `Bus.ensure_streams` makes the server agree."""

from datetime import timedelta

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from auteur_contracts import subjects

EVENTS = "EVENTS"
COMMANDS = "COMMANDS"
WORK = "WORK"
REPORTS = "REPORTS"

_DUPLICATE_WINDOW = timedelta(minutes=2).total_seconds()


def _work_queue(name: str, subject: str) -> StreamConfig:
    """On disk, and synced before the acknowledgement by the server's `sync_interval: always`."""
    return StreamConfig(
        name=name,
        subjects=[subject],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        duplicate_window=_DUPLICATE_WINDOW,
        allow_direct=True,
    )


STREAMS: tuple[StreamConfig, ...] = (
    # Events may be lost: readers resume by cursor, and a new epoch sends them to the truth. So memory, and no fsync in
    # the way of progress.
    StreamConfig(
        name=EVENTS,
        subjects=[subjects.EVENTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.MEMORY,
        discard=DiscardPolicy.OLD,
        max_age=timedelta(hours=1).total_seconds(),
        max_bytes=128 * 1024**2,
        duplicate_window=_DUPLICATE_WINDOW,
        allow_direct=True,
    ),
    _work_queue(COMMANDS, subjects.COMMANDS),
    _work_queue(WORK, subjects.WORK),
    _work_queue(REPORTS, subjects.REPORTS),
)
