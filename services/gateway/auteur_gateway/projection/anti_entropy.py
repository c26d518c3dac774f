"""Asks the control plane for what the events may not have said: everything at start and after the event stream was
rebuilt, jobs that are silent, jobs that nobody here knows, and places in the queue.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from auteur_contracts import names
from auteur_contracts.commands import ListedJobs, ListJobs, Snapshot
from auteur_contracts.errors import AuteurError
from auteur_contracts.subjects import JobQuery
from auteur_contracts.vocabulary import ApiStatus
from auteur_gateway.commands import Commands
from auteur_gateway.database import repository
from auteur_gateway.database.database import Database
from auteur_gateway.database.tables import JobRow
from auteur_gateway.projection.archive import Archive
from auteur_gateway.projection.state import PAGE, State, Tracked, lost, request_id_of, stored_status
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle.expiry import holds_on

log = get_logger()
_RETRY_SECONDS = 1.0
_ABSENT_TWICE = 2
_PLACES_SECONDS = 1.0
_UNKNOWN_SECONDS = 0.1


class ControlPlane:
    """The questions that engine or operator answer."""

    def __init__(self, bus: Bus, namespace: str) -> None:
        self._bus = bus
        self._subject = JobQuery(namespace, "list")

    async def list(self, question: ListJobs) -> ListedJobs:
        return ListedJobs.read(await self._bus.request(self._subject, question))

    async def is_there(self) -> None:
        """Raises Unavailable where nobody answers."""
        await self.list(ListJobs(limit=1))


class AntiEntropy:
    def __init__(
        self,
        state: State,
        archive: Archive,
        control_plane: ControlPlane,
        database: Database,
        commands: Commands,
        silence: timedelta,
        now: Clock,
    ) -> None:
        self._state = state
        self._archive = archive
        self.control_plane = control_plane
        self._database = database
        self._commands = commands
        self._silence = silence.total_seconds()
        self._now = now
        self._resync = asyncio.Event()
        self._any_unknown = asyncio.Event()

    async def on_reset(self) -> None:
        """Events may have been missed."""
        self._resync.set()

    def wake(self) -> None:
        """The state may have heard of a job that it does not know."""
        if self._state.has_unknown:
            self._any_unknown.set()

    # ── all of them, and the silent ones ──────────────────────────────────────────────────────────────────────────

    async def ask_forever(self) -> None:
        pause = min(5.0, self._silence / 4)
        while True:
            try:
                if self._resync.is_set():
                    self._resync.clear()
                    await self._ask_for_all()
                await self._ask_for_silent()
            except AuteurError as error:
                log.debug("control plane does not answer", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._resync.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._resync.wait()

    async def _ask_for_all(self) -> None:
        after, limit, known = "", PAGE, set[str]()
        while True:
            try:
                listed = await self.control_plane.list(ListJobs(after=after, limit=limit))
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
        for tracked in self._state:
            if tracked.row.name not in known:
                tracked.heard_at = 0.0  # asked for by name next
        log.info("jobs resynchronized", answered=len(known))

    async def _ask_for_silent(self) -> None:
        for page in self._state.pages(self._state.silent(time.monotonic(), self._silence)):
            listed = await self._ask_for(page)
            answered = {item.job.metadata.name for item in listed.items} | set(listed.unreadable)
            for name in page:
                if name not in answered and (tracked := self._state.named(name)):
                    await self._absent(tracked)

    async def _absent(self, tracked: Tracked) -> None:
        """Never created: the command was lost, so it is sent again. Known before and gone: somebody deleted it."""
        tracked.heard_at = time.monotonic()
        tracked.absent += 1
        row = tracked.row
        if not row.version:
            log.warning("submit resent", job=row.name)
            await self._database.change(None, [self._commands.submit(row, again=tracked.absent)])
        elif tracked.absent >= _ABSENT_TWICE:
            log.warning("job deleted elsewhere", job=row.name, uid=row.uid)
            self._state.decide(tracked, lost(row, self._now()))
            self._archive.wake()

    async def _ask_for(self, names: tuple[str, ...]) -> ListedJobs:
        listed = await self.control_plane.list(ListJobs(names=names))
        await self._take_in(listed.items)
        for name in listed.unreadable:
            self._state.take_presence(name, time.monotonic())
        return listed

    # ── places in the queue ───────────────────────────────────────────────────────────────────────────────────────

    async def ask_for_places_forever(self) -> None:
        """How the queue moves is in no event. One page at a time: those that are viewed first, then the stalest."""
        while True:
            await asyncio.sleep(_PLACES_SECONDS)
            try:
                if stale := self._state.stale_places(time.monotonic()):
                    await self._ask_for(next(self._state.pages(stale)))
            except AuteurError as error:
                log.debug("places in the queue not learned", error=str(error))

    # ── unknown jobs ──────────────────────────────────────────────────────────────────────────────────────────────

    async def ask_for_unknown_forever(self) -> None:
        """Jobs that came by other means, facts that overtook their row, and those of a name that was used before."""
        while True:
            await self._any_unknown.wait()
            self._any_unknown.clear()
            try:
                for page in self._state.pages(sorted(self._state.take_unknown())):
                    await self._ask_for(page)
            except AuteurError as error:
                log.info("unknown jobs not learned", error=str(error))
                self._resync.set()
                await asyncio.sleep(_RETRY_SECONDS)  # who does not answer is not asked ten times a second
            await asyncio.sleep(_UNKNOWN_SECONDS)

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_in(self, snapshots: Sequence[Snapshot]) -> None:
        """Newer statuses replace ours, unknown jobs become rows."""
        unknown = [one for one in snapshots if not self._state.take_answer(one, time.monotonic())]
        if unknown:
            await self._take_in_unknown(unknown)
        self._archive.wake()

    async def _take_in_unknown(self, snapshots: Sequence[Snapshot]) -> None:
        rows = await self._database.jobs.known(
            {snapshot.job.metadata.uid for snapshot in snapshots}, {request_id_of(snapshot) for snapshot in snapshots}
        )
        by_uid = {row.uid: row for row in rows if row.uid}
        by_request = {row.request_id: row for row in rows}
        for snapshot in snapshots:
            uid = snapshot.job.metadata.uid
            row = by_uid.get(uid) or by_request.get(request_id_of(snapshot))
            if row is None:
                await self._adopt(snapshot)
            elif row.deleted_id:
                self._state.close(uid)
            elif row.finished:
                self._state.close(uid)
                if names.HOLD_ARCHIVE in holds_on(snapshot.job):
                    self._archive.release(replace(row, uid=uid, version=snapshot.version))
            elif not self._state.tracks(row):  # another gateway's
                self._track(replace(row, uid=uid), snapshot)

    async def _adopt(self, snapshot: Snapshot) -> None:
        """A job that was not asked for here."""
        job = snapshot.job
        row = JobRow(
            id=self._commands.ids.next(),
            deleted_id=0,
            uid=job.metadata.uid,
            request_id=request_id_of(snapshot),
            state=job.status.view.api if not job.status.finished else ApiStatus.QUEUED,
            version=0,
            job=job,
            status=stored_status(snapshot),
            created_at=job.metadata.creation_timestamp or self._now(),
        )
        try:
            await self._database.change(repository.insert_row(row))
        except AuteurError as error:
            log.info("job not adopted", job=row.name, error=str(error))
            return
        self._track(row, snapshot)

    def _track(self, row: JobRow, snapshot: Snapshot) -> None:
        now = time.monotonic()
        self._state.track([row], now)
        self._state.take_answer(snapshot, now)
