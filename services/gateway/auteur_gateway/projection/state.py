"""What is known of every unfinished job, decided by facts and by the control plane's answers. No I/O, and the time is
an argument: seconds of a monotonic clock, or a moment where a status is written.
"""

import heapq
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from auteur_contracts import names
from auteur_contracts.commands import Snapshot
from auteur_contracts.events import DecidedFact, Envelope, Rejected
from auteur_contracts.resources import Condition, GenerationJobStatus, QueueStatus
from auteur_contracts.subjects import WORKER_FACTS
from auteur_contracts.vocabulary import ApiStatus, ConditionStatus, ConditionType, Phase, Reason
from auteur_gateway.database.tables import JobRow, document
from auteur_gateway.overlay import Live, Seen, hear, is_running, is_waiting, overlay
from auteur_lifecycle import status as lifecycle
from auteur_lifecycle.refusal import Refusal

_REMEMBERED = 20_000
_JUST_ARCHIVED = 256
PAGE = 200
_ANSWER_BYTES = 512 * 1024
"""Half of what a NATS message holds by default: weights are estimates."""
_UNKNOWN_WEIGHT = 16 * 1024
_MOST_PATIENCE = 4
_PLACE_IS_FRESH = 1.5
"""Seconds that a place in the queue is shown before it is asked for again."""
_FIRST_PLACE = 0.5
"""Seconds after which a new job that waits still is worth a question."""
_VIEWED_RECENTLY = 10.0
"""Seconds after a view in which a job's place goes before those that nobody looks at."""


@dataclass(eq=False)
class Tracked:
    """An unfinished job."""

    row: JobRow
    heard_at: float
    """Of its last fact or answer."""
    weight: int
    """About how many bytes an answer about it has."""
    place_asked_at: float
    """When its place in the queue was learned or asked for last."""
    reused: bool = False
    """A deleted job had this name: a fact that carries it may be of that one, and only the control plane can tell."""
    live: Live = field(default_factory=Live)
    asked: int = 0
    """How often it was asked for since its last fact: one that only waits in a long queue is asked for less often."""
    marked_running: bool = False
    absent: int = 0
    """How often the control plane said that it does not know this job."""
    place: QueueStatus | None = None
    """Where it stood in the queue by the last answer: facts do not say, and no version tells of it."""
    viewed_at: float = 0.0

    @property
    def seen(self) -> Seen:
        return overlay(self.row.status, self.live, self.place)

    @property
    def waits(self) -> bool:
        return is_waiting(self.row.status, self.live)

    def is_silent(self, now: float, patience: float) -> bool:
        return now - self.heard_at > patience * min(1 + self.asked, _MOST_PATIENCE)


@dataclass(frozen=True)
class Changes:
    """What is not written yet."""

    decided: dict[int, Tracked]
    started: set[int]
    """Ids of rows whose jobs run by their workers' word, before any decided status says so."""

    def __bool__(self) -> bool:
        return bool(self.decided or self.started)

    @property
    def rows(self) -> list[JobRow]:
        return [tracked.row for tracked in self.decided.values()]


class State:
    def __init__(self) -> None:
        self._by_uid: dict[str, Tracked] = {}
        self._by_name: dict[str, Tracked] = {}
        self._by_id: dict[int, Tracked] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        """Uids of jobs that were archived or deleted: facts about them that come late say nothing."""
        self._archived: OrderedDict[int, JobRow] = OrderedDict()
        self._changes = Changes({}, set())
        self._unknown: set[str] = set()

    # ── what others ask ───────────────────────────────────────────────────────────────────────────────────────────

    def seen(self, row: JobRow, now: float) -> Seen:
        """A row as it is now: with what was heard since it was written."""
        tracked = self._by_id.get(row.id)
        if tracked is not None:
            tracked.viewed_at = now
            return tracked.seen
        newest = self._newest(row)
        return Seen(newest.status, newest.status.view)

    def current(self, row: JobRow) -> JobRow:
        """A row with the newest decided status."""
        tracked = self._by_id.get(row.id)
        return replace(tracked.row if tracked else self._newest(row), job=row.job)

    def _newest(self, row: JobRow) -> JobRow:
        """A row may have been read just before it was archived: nobody may see a finished job unfinished again."""
        archived = self._archived.get(row.id)
        return archived if archived is not None and archived.version > row.version else row

    def named(self, name: str) -> Tracked | None:
        return self._by_name.get(name)

    def tracks(self, row: JobRow) -> bool:
        return row.id in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Tracked]:
        return iter(list(self._by_id.values()))

    # ── beginning and end ─────────────────────────────────────────────────────────────────────────────────────────

    def track(self, rows: Iterable[JobRow], now: float, *, reused: Collection[str] = ()) -> None:
        """These were committed. `reused` are names that deleted jobs had before."""
        for row in rows:
            tracked = Tracked(
                row,
                heard_at=now,
                weight=_weight(row),
                place_asked_at=now - _PLACE_IS_FRESH + _FIRST_PLACE,
                reused=row.name in reused,
            )
            self._by_id[row.id] = tracked
            self._by_name[row.name] = tracked
            if row.uid:
                self._by_uid[row.uid] = tracked

    def forget(self, row: JobRow) -> None:
        """It was deleted, or is finished and archived."""
        tracked = self._by_id.pop(row.id, None)
        self._changes.decided.pop(row.id, None)
        uid = tracked.row.uid if tracked else row.uid
        if self._by_name.get(row.name) is tracked:
            self._by_name.pop(row.name, None)
        if uid:
            self._by_uid.pop(uid, None)
            self.close(uid)

    def close(self, uid: str) -> None:
        self._closed[uid] = None
        if len(self._closed) > _REMEMBERED:
            self._closed.popitem(last=False)

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def hear(self, fact: Envelope, now: float) -> None:
        tracked = self._whose(fact)
        if tracked is None:
            if fact.uid not in self._closed:
                self._unknown.add(fact.name)
            return
        tracked.heard_at = now
        tracked.absent = tracked.asked = 0
        if fact.data.fact in WORKER_FACTS:
            tracked.live = hear(tracked.live, fact)
            self._mark_running(tracked)
        elif isinstance(fact.data, DecidedFact):
            version = fact.data.version
            if isinstance(fact.data, Rejected):  # nothing was written that could have a version
                version = max(version, tracked.row.version + 1)
            self.decide(tracked, replace(tracked.row, uid=fact.uid, version=version, status=fact.data.status))

    def _whose(self, fact: Envelope) -> Tracked | None:
        if tracked := self._by_uid.get(fact.uid):
            return tracked
        unbound = self._by_name.get(fact.name)
        if unbound is None or unbound.row.uid or fact.uid in self._closed:
            return None
        if fact.request_id != unbound.row.request_id and (fact.request_id or unbound.reused):
            return None
        self._bind(unbound, fact.uid)
        return unbound

    def _bind(self, tracked: Tracked, uid: str) -> None:
        tracked.row = replace(tracked.row, uid=uid)
        self._by_uid[uid] = tracked

    def _mark_running(self, tracked: Tracked) -> None:
        if not tracked.marked_running and is_running(tracked.row.status, tracked.live):
            tracked.marked_running = True
            self._changes.started.add(tracked.row.id)

    def decide(self, tracked: Tracked, newer: JobRow) -> None:
        """A newer decided status. Never backwards."""
        if newer.version <= tracked.row.version:
            return
        tracked.asked = 0
        running = is_running(newer.status, tracked.live)
        state = ApiStatus.RUNNING if running else newer.status.view.api
        tracked.marked_running = running
        tracked.row = replace(newer, job=tracked.row.job, state=state)
        self._changes.decided[tracked.row.id] = tracked

    def refuse(self, name: str, msg_id: str, refusal: Refusal, at: datetime) -> None:
        """The bus will never take this command: a job that was to be made by it has failed."""
        tracked = self._by_name.get(name)
        if tracked is None or tracked.row.version or not msg_id.startswith(tracked.row.request_id):
            return
        row = tracked.row
        status = lifecycle.refuse(row.job.model_copy(update={"status": row.status}), refusal, at)
        self.decide(tracked, replace(row, version=1, status=status))

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def take_answer(self, snapshot: Snapshot, now: float) -> bool:
        """A job as the control plane has it. False for one that is not tracked."""
        tracked = self._by_uid.get(snapshot.job.metadata.uid) or self._unbound(snapshot)
        if tracked is None:
            return False
        tracked.heard_at = tracked.place_asked_at = now
        tracked.absent = 0
        tracked.asked += 1
        self.decide(tracked, replace(tracked.row, version=snapshot.version, status=stored_status(snapshot)))
        tracked.place = snapshot.job.status.queue
        return True

    def take_presence(self, name: str, now: float) -> None:
        """It is there, and one of us cannot read it: no news."""
        if tracked := self._by_name.get(name):
            tracked.heard_at = now
            tracked.absent = 0

    def _unbound(self, snapshot: Snapshot) -> Tracked | None:
        tracked = self._by_name.get(snapshot.job.metadata.name)
        if tracked is None or tracked.row.uid or request_id_of(snapshot) != tracked.row.request_id:
            return None
        self._bind(tracked, snapshot.job.metadata.uid)
        return tracked

    # ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def take_unknown(self) -> set[str]:
        """Names that facts spoke of and that nobody here knows."""
        unknown, self._unknown = self._unknown, set()
        return unknown

    @property
    def has_unknown(self) -> bool:
        return bool(self._unknown)

    def silent(self, now: float, patience: float) -> list[str]:
        return sorted({one.row.name for one in self._by_id.values() if one.is_silent(now, patience)})

    def stale_places(self, now: float) -> list[str]:
        """At most a page. A queue may be long and this is asked every second: what is cheap to know goes first."""
        queued = [
            one
            for one in self._by_id.values()
            if now - one.place_asked_at > _PLACE_IS_FRESH and one.row.state is ApiStatus.QUEUED
        ]
        first = heapq.nsmallest(
            PAGE, queued, key=lambda one: (now - one.viewed_at > _VIEWED_RECENTLY, one.place_asked_at)
        )
        for one in first:
            one.place_asked_at = now
        return [one.row.name for one in first if one.waits]

    def pages(self, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """As many names as one answer can hold."""
        page: list[str] = []
        weight = 0
        for name in wanted:
            tracked = self._by_name.get(name)
            adds = tracked.weight if tracked else _UNKNOWN_WEIGHT
            if page and (weight + adds > _ANSWER_BYTES or len(page) == PAGE):
                yield tuple(page)
                page, weight = [], 0
            page.append(name)
            weight += adds
        if page:
            yield tuple(page)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    def take_changes(self) -> Changes:
        changes, self._changes = self._changes, Changes({}, set())
        return changes

    def put_back(self, changes: Changes) -> None:
        """They could not be written."""
        self._changes = Changes(changes.decided | self._changes.decided, changes.started | self._changes.started)

    def archived(self, row: JobRow) -> None:
        """It is finished and written."""
        self._archived[row.id] = row
        self.forget(row)
        while len(self._archived) > _JUST_ARCHIVED:
            self._archived.popitem(last=False)


def lost(row: JobRow, at: datetime) -> JobRow:
    """A job whose resource somebody deleted before it finished."""
    ended = [
        Condition(
            type=kind,
            status=status,
            reason=Reason.CANCELLED,
            message="The job's resource was deleted before it finished.",
            last_transition_time=at,
        )
        for kind, status in (
            (ConditionType.FINISHED, ConditionStatus.TRUE),
            (ConditionType.SUCCEEDED, ConditionStatus.FALSE),
        )
    ]
    kept = [one for one in row.status.conditions if one.type not in (ConditionType.FINISHED, ConditionType.SUCCEEDED)]
    update = {"conditions": (*kept, *ended), "phase": Phase.CANCELLED, "completion_time": at}
    return replace(row, version=row.version + 1, status=row.status.model_copy(update=update))


def _weight(row: JobRow) -> int:
    """The job, its parameters once more in its plan, and its conditions."""
    return 2 * len(document(row.job).encode()) + 4096


def stored_status(snapshot: Snapshot) -> GenerationJobStatus:
    """Without its place in the queue, which is true for seconds."""
    return snapshot.job.status.model_copy(update={"queue": None})


def request_id_of(snapshot: Snapshot) -> str:
    metadata = snapshot.job.metadata
    return metadata.annotations.get(names.ANNOTATION_REQUEST_ID) or f"uid:{metadata.uid}"
