"""Facts → rows. Keeps what is known of every unfinished job in memory, writes it in batches, archives what finished,
and asks the truth about whatever the events may not have said.
"""

import asyncio
import contextlib
import heapq
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from auteur_contracts import names
from auteur_contracts.commands import ListedJobs, ListJobs, Release, Snapshot
from auteur_contracts.errors import AuteurError
from auteur_contracts.events import DecidedFact, Envelope, Rejected
from auteur_contracts.resources import Condition, GenerationJobStatus, QueueStatus
from auteur_contracts.subjects import WORKER_FACTS, JobQuery, Verb
from auteur_contracts.vocabulary import ApiStatus, ConditionStatus, ConditionType, Phase, Reason
from auteur_gateway.commands import Commands
from auteur_gateway.database import repository
from auteur_gateway.database.models import JobRow, OutboxRow, document
from auteur_gateway.database.repository import Repository
from auteur_gateway.database.writer import Writer
from auteur_gateway.ids import Ids
from auteur_gateway.outbox import Relay
from auteur_gateway.overlay import Live, Seen, hear, is_running, is_waiting, overlay
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle import status as lifecycle
from auteur_lifecycle.refusal import Refusal

log = get_logger()
_FLUSH_EVERY = 0.03
_REMEMBERED = 20_000
_JUST_ARCHIVED = 256
_PAGE = 200
_ANSWER_BYTES = 512 * 1024
"""Half of what a NATS message holds by default: weights are estimates."""
_STRANGER_WEIGHT = 16 * 1024
_ASK_AGAIN = 1.0
_ABSENT_TWICE = 2
_MOST_PATIENCE = 4
_PLACES_EVERY = 1.0
_PLACE_IS_NEWS = 1.5
"""Seconds that a place in the queue is shown before it is asked for again."""
_FIRST_PLACE = 0.5
"""Seconds after which a new job that waits still is worth a question."""
_LOOKED_AT = 10.0
"""Seconds after a look in which a job's place goes before those that nobody looks at."""


@dataclass(eq=False)
class Tracked:
    """An unfinished job."""

    row: JobRow
    live: Live = field(default_factory=Live)
    heard: float = 0.0
    """`time.monotonic()` of its last fact or answer."""
    asked: int = 0
    """How often it was asked for since its last fact: one that only waits in a long queue is asked for less often."""
    marked_running: bool = False
    absent: int = 0
    """How often the truth said that it does not know this job."""
    place: QueueStatus | None = None
    """Where it stood in the queue when the truth last said so: facts do not say, and no version tells of it."""
    placed: float = 0.0
    """`time.monotonic()` of that, or of the last question."""
    looked: float = 0.0
    """`time.monotonic()` of the last look at it."""
    weight: int = 0
    """About how many bytes an answer about it has."""
    reused: bool = False
    """A deleted job had this name: a fact that carries it may be of that one, and only the truth can tell."""

    @property
    def seen(self) -> Seen:
        return overlay(self.row.status, self.live, self.place)

    @property
    def waits(self) -> bool:
        return is_waiting(self.row.status, self.live)

    def is_silent(self, now: float, patience: float) -> bool:
        return now - self.heard > patience * min(1 + self.asked, _MOST_PATIENCE)


class Projection:
    def __init__(
        self,
        *,
        bus: Bus,
        repository: Repository,
        writer: Writer,
        relay: Relay,
        commands: Commands,
        ids: Ids,
        namespace: str,
        silence: float,
        now: Clock,
    ) -> None:
        self._bus = bus
        self._repository = repository
        self._writer = writer
        self._relay = relay
        self._commands = commands
        self._ids = ids
        self._namespace = namespace
        self._silence = silence
        self._now = now
        self._by_uid: dict[str, Tracked] = {}
        self._by_name: dict[str, Tracked] = {}
        self._by_id: dict[int, Tracked] = {}
        self._done: OrderedDict[str, None] = OrderedDict()
        self._archived: OrderedDict[int, JobRow] = OrderedDict()
        self._dirty: dict[int, Tracked] = {}
        self._starting: set[int] = set()
        self._releases: list[OutboxRow] = []
        self._work = asyncio.Event()
        self._strangers: set[str] = set()
        self._any_strangers = asyncio.Event()
        self._sync = asyncio.Event()

    # ── what others ask ───────────────────────────────────────────────────────────────────────────────────────────

    def seen(self, row: JobRow) -> Seen:
        """A row as it is now: with what was heard since it was written."""
        tracked = self._by_id.get(row.id)
        if tracked is not None:
            tracked.looked = time.monotonic()
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

    @property
    def unfinished(self) -> int:
        return len(self._by_id)

    def track(self, rows: Iterable[JobRow], *, reused: Collection[str] = ()) -> None:
        """These were committed. `reused` are names that deleted jobs had before."""
        for row in rows:
            now = time.monotonic()
            tracked = Tracked(row, heard=now, reused=row.name in reused, weight=_weight(row))
            tracked.placed = now - _PLACE_IS_NEWS + _FIRST_PLACE
            self._by_id[row.id] = tracked
            self._by_name[row.name] = tracked
            if row.uid:
                self._by_uid[row.uid] = tracked

    def forget(self, row: JobRow) -> None:
        """It was deleted, or is finished and archived: late facts about it say nothing."""
        tracked = self._by_id.pop(row.id, None)
        self._dirty.pop(row.id, None)
        uid = tracked.row.uid if tracked else row.uid
        if self._by_name.get(row.name) is tracked:
            self._by_name.pop(row.name, None)
        if uid:
            self._by_uid.pop(uid, None)
            self._done[uid] = None
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)

    # ── hearing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, fact: Envelope) -> None:
        tracked = self._find(fact)
        if tracked is None:
            if fact.uid not in self._done:
                self._strangers.add(fact.name)
                self._any_strangers.set()
            return
        tracked.heard = time.monotonic()
        tracked.absent = tracked.asked = 0
        if fact.data.fact in WORKER_FACTS:
            tracked.live = hear(tracked.live, fact)
            self._mark_running(tracked)
        elif isinstance(fact.data, DecidedFact):
            version = fact.data.version
            if isinstance(fact.data, Rejected):  # nothing was written that could have a version
                version = max(version, tracked.row.version + 1)
            decided = replace(tracked.row, uid=fact.uid, version=version, status=fact.data.status)
            self._take(tracked, decided)

    def _find(self, fact: Envelope) -> Tracked | None:
        if tracked := self._by_uid.get(fact.uid):
            return tracked
        unbound = self._by_name.get(fact.name)
        if unbound is None or unbound.row.uid or fact.uid in self._done:
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
            self._starting.add(tracked.row.id)
            self._work.set()

    def _take(self, tracked: Tracked, newer: JobRow) -> None:
        """A newer decided status. Never backwards."""
        if newer.version <= tracked.row.version:
            return
        tracked.asked = 0
        running = is_running(newer.status, tracked.live)
        state = ApiStatus.RUNNING if running else newer.status.view.api
        tracked.marked_running = running
        tracked.row = replace(newer, job=tracked.row.job, state=state)
        self._dirty[tracked.row.id] = tracked
        self._work.set()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def flush_forever(self) -> None:
        while True:
            await self._work.wait()
            try:
                await self.flush()
            except AuteurError as error:
                log.warning("statuses not written", error=str(error))
            await asyncio.sleep(_FLUSH_EVERY)

    async def flush(self) -> None:
        """Writes what was heard. Finished jobs are archived and released in one transaction."""
        self._work.clear()
        dirty, self._dirty = self._dirty, {}
        starting, self._starting = self._starting, set()
        releases, self._releases = self._releases, []
        rows = [tracked.row for tracked in dirty.values()]
        if not (rows or starting or releases):
            return
        commands = [*releases, *(self._release(row) for row in rows if row.finished and row.uid)]
        try:
            await self._writer.change(repository.save_statuses(rows, sorted(starting), commands))
        except AuteurError:
            self._dirty = {**dirty, **self._dirty}
            self._starting |= starting
            self._releases = [*releases, *self._releases]
            self._work.set()
            raise
        self._relay.kick(commands)
        for row in rows:
            if row.finished:
                self._archived[row.id] = row
                self.forget(row)
        while len(self._archived) > _JUST_ARCHIVED:
            self._archived.popitem(last=False)

    def _release(self, row: JobRow) -> OutboxRow:
        return self._commands.make(
            row.name, Verb.RELEASE, Release(uid=row.uid, version=row.version), f"release-{row.uid}-{row.version}"
        )

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self) -> None:
        rows = await self._repository.unfinished()
        unbound = [row.name for row in rows if not row.uid]
        reused: set[str] = set()
        for page in _pages(unbound):
            reused |= await self._repository.reused(page)
        self.track(rows, reused=reused)

    async def on_reset(self) -> None:
        """Events may have been missed: the truth is asked for everything."""
        self._sync.set()

    async def ask_forever(self) -> None:
        """At start and after a reset for everything, then from time to time for those who are silent."""
        pause = min(5.0, self._silence / 4)
        while True:
            try:
                if self._sync.is_set():
                    self._sync.clear()
                    await self._ask_all()
                await self._ask_silent()
            except AuteurError as error:
                log.debug("the truth does not answer", error=str(error))
                await asyncio.sleep(_ASK_AGAIN)
                self._sync.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sync.wait()

    async def ask_places_forever(self) -> None:
        """How the queue moves is in no event. One page at a time: those that are looked at first, then the stalest."""
        while True:
            await asyncio.sleep(_PLACES_EVERY)
            try:
                if stale := self._stale_places(time.monotonic()):
                    page = next(self._named_pages([one.row.name for one in stale]))
                    await self._take_in((await self._list(ListJobs(names=page))).items)
            except AuteurError as error:
                log.debug("places in the queue not learned", error=str(error))

    def _stale_places(self, now: float) -> list[Tracked]:
        """At most a page. A queue may be long and this is looked at every second: what is cheap to know goes first."""
        queued = [
            one
            for one in self._by_id.values()
            if now - one.placed > _PLACE_IS_NEWS and one.row.state is ApiStatus.QUEUED
        ]
        first = heapq.nsmallest(_PAGE, queued, key=lambda one: (now - one.looked > _LOOKED_AT, one.placed))
        for one in first:
            one.placed = now
        return [one for one in first if one.waits]

    def refuse(self, command: OutboxRow, why: AuteurError) -> None:
        """The bus will never take this command: a job that was to be made by it has failed."""
        tracked = self._by_name.get(command.lane)
        if tracked is None or tracked.row.version or not command.msg_id.startswith(tracked.row.request_id):
            return
        row = tracked.row
        refusal = Refusal(Reason.INVALID_REQUEST, f"The job is too large to be handed on: {why.message}.")
        status = lifecycle.refuse(row.job.model_copy(update={"status": row.status}), refusal, self._now())
        self._take(tracked, replace(row, version=1, status=status))

    async def meet_strangers_forever(self) -> None:
        """Jobs that came by other means, facts that overtook their row, and those of a name that was used before."""
        while True:
            await self._any_strangers.wait()
            self._any_strangers.clear()
            met, self._strangers = self._strangers, set()
            try:
                for page in self._named_pages(sorted(met)):
                    await self._take_in((await self._list(ListJobs(names=page))).items)
            except AuteurError as error:
                log.info("strangers not met", error=str(error))
                self._sync.set()
                await asyncio.sleep(_ASK_AGAIN)  # who does not answer is not asked ten times a second
            await asyncio.sleep(0.1)

    async def _list(self, question: ListJobs) -> ListedJobs:
        answer = await self._bus.request(JobQuery(self._namespace, "list"), question)
        return ListedJobs.model_validate_json(answer)

    def _named_pages(self, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """As many names as one answer can hold."""
        page: list[str] = []
        weight = 0
        for name in wanted:
            tracked = self._by_name.get(name)
            adds = tracked.weight if tracked else _STRANGER_WEIGHT
            if page and (weight + adds > _ANSWER_BYTES or len(page) == _PAGE):
                yield tuple(page)
                page, weight = [], 0
            page.append(name)
            weight += adds
        if page:
            yield tuple(page)

    async def _ask_all(self) -> None:
        after, limit, known = "", _PAGE, set[str]()
        while True:
            try:
                listed = await self._list(ListJobs(after=after, limit=limit))
            except AuteurError:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)  # an answer larger than a message may be does not come
                continue
            known.update(item.job.metadata.name for item in listed.items)
            await self._take_in(listed.items)
            after = listed.more
            if not after:
                break
        for tracked in list(self._by_id.values()):
            if tracked.row.name not in known:
                tracked.heard = 0.0  # asked for by name next
        log.info("asked the truth for all jobs", answered=len(known))

    async def _ask_silent(self) -> None:
        now = time.monotonic()
        silent = sorted({one.row.name for one in self._by_id.values() if one.is_silent(now, self._silence)})
        for page in self._named_pages(silent):
            listed = await self._list(ListJobs(names=page))
            await self._take_in(listed.items)
            answered = {item.job.metadata.name for item in listed.items}
            for name in page:
                if name not in answered and (tracked := self._by_name.get(name)):
                    await self._unknown_to_truth(tracked)

    async def _unknown_to_truth(self, tracked: Tracked) -> None:
        """Never created: the command was lost, so say it again. Known before and gone: somebody deleted it."""
        tracked.heard = time.monotonic()
        tracked.absent += 1
        row = tracked.row
        if not row.version:
            log.warning("submit sent again", job=row.name)
            again = self._commands.submit(row, again=tracked.absent)
            await self._writer.change(repository.send([again]))
            self._relay.kick([again])
        elif tracked.absent >= _ABSENT_TWICE:
            log.warning("job is gone", job=row.name, uid=row.uid)
            self._take(tracked, self._gone(row))

    def _gone(self, row: JobRow) -> JobRow:
        now = self._now()
        message = "The job's resource was deleted before it finished."
        ended = [
            Condition(type=kind, status=status, reason=Reason.CANCELLED, message=message, last_transition_time=now)
            for kind, status in (
                (ConditionType.FINISHED, ConditionStatus.TRUE),
                (ConditionType.SUCCEEDED, ConditionStatus.FALSE),
            )
        ]
        kept = [
            one for one in row.status.conditions if one.type not in (ConditionType.FINISHED, ConditionType.SUCCEEDED)
        ]
        status = row.status.model_copy(
            update={"conditions": (*kept, *ended), "phase": Phase.CANCELLED, "completion_time": now}
        )
        return replace(row, version=row.version + 1, status=status)

    async def _take_in(self, snapshots: Sequence[Snapshot]) -> None:
        """The truth's own words: newer ones replace ours, unknown jobs become rows."""
        unknown = []
        for snapshot in snapshots:
            tracked = self._by_uid.get(snapshot.job.metadata.uid) or self._unbound(snapshot)
            if tracked is None:
                unknown.append(snapshot)
                continue
            tracked.heard = time.monotonic()
            tracked.absent = 0
            tracked.asked += 1
            self._take(tracked, replace(tracked.row, version=snapshot.version, status=_placeless(snapshot)))
            tracked.place, tracked.placed = snapshot.job.status.queue, time.monotonic()
        if unknown:
            await self._meet(unknown)

    def _unbound(self, snapshot: Snapshot) -> Tracked | None:
        tracked = self._by_name.get(snapshot.job.metadata.name)
        if tracked is None or tracked.row.uid or request_id_of(snapshot) != tracked.row.request_id:
            return None
        self._bind(tracked, snapshot.job.metadata.uid)
        return tracked

    async def _meet(self, snapshots: Sequence[Snapshot]) -> None:
        rows = await self._repository.known(
            {snapshot.job.metadata.uid for snapshot in snapshots}, {request_id_of(snapshot) for snapshot in snapshots}
        )
        by_uid = {row.uid: row for row in rows if row.uid}
        by_request = {row.request_id: row for row in rows}
        for snapshot in snapshots:
            uid = snapshot.job.metadata.uid
            row = by_uid.get(uid) or by_request.get(request_id_of(snapshot))
            if row is None:
                await self._adopt(snapshot)
            elif row.tomb:
                self._done[uid] = None
            elif row.finished:
                self._done[uid] = None
                if snapshot.job.status.finished and not snapshot.job.status.archived_time:
                    self._releases.append(self._release(replace(row, uid=uid, version=snapshot.version)))
                    self._work.set()
            elif row.id not in self._by_id:  # another gateway's
                self.track([replace(row, uid=uid)])
                self._take(
                    self._by_id[row.id], replace(row, uid=uid, version=snapshot.version, status=_placeless(snapshot))
                )

    async def _adopt(self, snapshot: Snapshot) -> None:
        """A job that was not asked for here."""
        job = snapshot.job
        row = JobRow(
            id=self._ids.next(),
            tomb=0,
            uid=job.metadata.uid,
            request_id=request_id_of(snapshot),
            state=job.status.view.api if not job.status.finished else ApiStatus.QUEUED,
            version=0,
            job=job,
            status=_placeless(snapshot),
            created_at=job.metadata.creation_timestamp or self._now(),
        )
        try:
            await self._writer.change(repository.insert_row(row))
        except AuteurError as error:
            log.info("job not taken in", job=row.name, error=str(error))
            return
        self.track([row])
        self._take(self._by_id[row.id], replace(row, version=snapshot.version, status=_placeless(snapshot)))


def _weight(row: JobRow) -> int:
    """The job, its parameters once more in its plan, and its conditions."""
    return 2 * len(document(row.job).encode()) + 4096


def _placeless(snapshot: Snapshot) -> GenerationJobStatus:
    """As it is stored: a place in the queue is news for seconds."""
    return snapshot.job.status.model_copy(update={"queue": None})


def request_id_of(snapshot: Snapshot) -> str:
    metadata = snapshot.job.metadata
    return metadata.annotations.get(names.ANNOTATION_REQUEST_ID) or f"uid:{metadata.uid}"


def _pages(items: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(items[start : start + _PAGE]) for start in range(0, len(items), _PAGE))
