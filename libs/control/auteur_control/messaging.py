"""What the control plane hears over NATS, and how each message is settled: acknowledged when what it asked for is
durable, delivered again when it may succeed later, given up when it never will.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from auteur_contracts import subjects
from auteur_contracts.commands import ListedJobs, ListJobs
from auteur_contracts.events import Envelope
from auteur_contracts.orders import ClaimRefused, ClaimRequest, Grant, Heartbeat, RefusalReason, Report, ReportHead
from auteur_control.claims import Claims
from auteur_control.commands import Commands, Rest
from auteur_control.loops import LATER, Background
from auteur_control.progress import ProgressWriter
from auteur_control.queries import Queries
from auteur_control.reading import first_finding
from auteur_control.reports import Reports
from auteur_kit import streams
from auteur_kit.bus import Bus, Consumer, Delivery
from auteur_kit.logs import get_logger

log = get_logger()
_REPEAT = 5.0
"""Seconds after which a message that could not be settled is delivered again."""
_AT_ONCE = 128
_MOST_FAULTS = 5
"""Deliveries of a message that ends in a fault of ours each time: then it is given up."""
_DURABLE = "engine"
"""The consumers' name, on one machine and on a cluster: whoever controls goes on where the last one ended."""


class Messaging:
    def __init__(
        self,
        bus: Bus,
        commands: Commands,
        claims: Claims,
        reports: Reports,
        progress: ProgressWriter,
        queries: Queries,
        on_heartbeat: Callable[[Heartbeat], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._commands = commands
        self._claims = claims
        self._reports = reports
        self._progress = progress
        self._queries = queries
        self._on_heartbeat = on_heartbeat
        self._background = Background()

    async def subscribe(self) -> None:
        """From here on workers are heard and questions answered."""
        await self._bus.listen(subjects.HEARTBEATS, self._heartbeat)
        for fact in (subjects.Fact.PROGRESSED, subjects.Fact.PREVIEWED):
            await self._bus.listen(subjects.events(subjects.JOB, fact), self._hear_progress)
        await self._bus.answer(subjects.CLAIMS, self._answer_claim)
        await self._bus.answer(subjects.queries(subjects.JOB, "list"), self._answer_list)

    async def run(self) -> None:
        """Until cancelled."""
        commands = Consumer(streams.COMMANDS, _DURABLE, subjects.COMMANDS, batch=_AT_ONCE)
        reports = Consumer(streams.REPORTS, _DURABLE, subjects.REPORTS, batch=_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.consume(commands, self._take_commands))
            group.create_task(self._bus.consume(reports, self._take_reports))

    # ── what is answered at once ──────────────────────────────────────────────────────────────────────────────────

    async def _heartbeat(self, _subject: str, data: bytes) -> None:
        await self._on_heartbeat(Heartbeat.model_validate_json(data))

    async def _hear_progress(self, _subject: str, data: bytes) -> None:
        self._progress.hear(Envelope.model_validate_json(data))

    async def _answer_claim(self, _subject: str, data: bytes) -> Grant | ClaimRefused:
        try:
            request = ClaimRequest.model_validate_json(data)
        except ValidationError as error:
            said = f"The claim cannot be read: {first_finding(error)[1]}"
            return ClaimRefused(reason=RefusalReason.UNKNOWN, message=said)
        return await self._claims.answer(request)

    async def _answer_list(self, subject: str, data: bytes) -> ListedJobs:
        asked = subjects.parse(subject)
        if not isinstance(asked, subjects.JobQuery):
            raise TypeError(subject)
        return self._queries.list(asked.namespace, ListJobs.model_validate_json(data))

    # ── what is acknowledged ──────────────────────────────────────────────────────────────────────────────────────

    async def _take_commands(self, batch: list[Delivery]) -> None:
        """Commands about one job in their order, commands about different jobs at once."""
        by_job: dict[str, list[Delivery]] = {}
        for delivery in batch:
            by_job.setdefault(delivery.subject.rpartition(".")[0], []).append(delivery)
        await asyncio.gather(*(self._obey_in_order(deliveries) for deliveries in by_job.values()))

    async def _obey_in_order(self, deliveries: list[Delivery]) -> None:
        """A command that has to wait holds up those that came after it: a cancel must not overtake its submit."""
        waits = False
        for delivery in deliveries:
            if waits:
                await delivery.nak(_REPEAT)
            else:
                obey = functools.partial(self._obey, delivery)
                waits = not await self._settle(delivery, obey, self._commands.give_up)

    async def _obey(self, delivery: Delivery) -> Rest | None:
        with delivery.processing():
            return await self._commands.obey(delivery)

    async def _take_reports(self, batch: list[Delivery]) -> None:
        work = [(delivery, functools.partial(self._report, delivery)) for delivery in batch]
        await asyncio.gather(*(self._settle(delivery, report, _lose) for delivery, report in work))

    async def _report(self, delivery: Delivery) -> None:
        with delivery.processing():
            try:
                said = Report.model_validate_json(delivery.data)
            except ValidationError as error:
                head = ReportHead.model_validate_json(delivery.data)  # or nobody knows whose it is
                await self._reports.take_unreadable(head, first_finding(error)[1])
            else:
                await self._reports.take(said)

    async def _settle(
        self,
        delivery: Delivery,
        work: Callable[[], Awaitable[object]],
        give_up: Callable[[Delivery, Exception], None],
    ) -> bool:
        """False where it comes again. `work` may return what is left to be done before the acknowledgement, for which
        nobody else waits.
        """
        try:
            rest = await work()
        except LATER as error:
            log.warning("message waits", subject=delivery.subject, error=str(error), again_seconds=_REPEAT)
            await delivery.nak(_REPEAT)
            return False
        except (ValidationError, ValueError) as error:
            log.warning("message not understood", subject=delivery.subject, error=str(error)[:500])
            await delivery.ack()
        except Exception as error:  # a fault of ours: neither lost at once nor back for ever
            log.exception("message failed", subject=delivery.subject, deliveries=delivery.deliveries)
            if delivery.deliveries < _MOST_FAULTS:
                await delivery.nak(_REPEAT)
                return False
            give_up(delivery, error)
            await delivery.ack()
        else:
            if callable(rest):
                self._background.spawn(self._settle(delivery, rest, _lose))
            else:
                await delivery.ack()
        return True


def _lose(delivery: Delivery, error: Exception) -> None:
    log.error("message given up", subject=delivery.subject, error=repr(error))
