"""The agent: sets up its child process, takes one order at a time, claims it, runs it, reports it, sends heartbeats,
and drains on SIGTERM."""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from auteur_contracts import subjects
from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import (
    ClaimRefused,
    ClaimReply,
    ClaimRequest,
    Grant,
    Heartbeat,
    Order,
    Report,
    TerminationMessage,
    WorkerState,
)
from auteur_kit import streams, telemetry, trace
from auteur_kit.backoff import Backoff
from auteur_kit.bus import Bus, Consumer, Delivery, TooLarge
from auteur_kit.clock import Clock, utc_now
from auteur_kit.logs import get_logger
from auteur_kit.store import Transfer
from auteur_runner import protocol
from auteur_runner.agent import decisions, termination
from auteur_runner.agent.attempt import Attempt, Dependencies
from auteur_runner.agent.cgroup import Cgroup
from auteur_runner.agent.decisions import Stop
from auteur_runner.agent.facts import FactPublisher
from auteur_runner.agent.pod import Pod
from auteur_runner.agent.settings import AgentTimes, Identity
from auteur_runner.agent.setup import Setup
from auteur_runner.process import SetupFailed

T = TypeVar("T")
log = get_logger()
_REPLY: TypeAdapter[Grant | ClaimRefused] = TypeAdapter(ClaimReply)
_ACK_WAIT = 30.0
"""Shorter than a claim may take: an order that is delivered again meanwhile is refused or settled, and the order of a
worker that died is soon delivered to another."""
_CLAIM_TIMEOUT = 2.0
_HAND_BACK_DELAY = 1.0
_NO_POD = Pod()
_REMEMBERED_ATTEMPTS = 4096
"""How many attempts are remembered: an order is redelivered within minutes, or never."""
_REPORT_PATIENCE = 10.0


@dataclass
class WorkerStatus:
    """What the agent's heartbeat says."""

    state: WorkerState = WorkerState.STARTING
    uid: str = ""
    attempt: int = 0
    message: str = ""


class Claims:
    """The attempts that this process has claimed, and their nonces. An attempt that was granted once is never run again
    here."""

    def __init__(self) -> None:
        self._nonces: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._settled: OrderedDict[tuple[str, int], None] = OrderedDict()

    def nonce(self, order: Order) -> str:
        """The same for an order that is delivered again after a claim that got no answer: it may have been granted."""
        key = (order.uid, order.attempt)
        found = self._nonces.setdefault(key, secrets.token_hex(16))
        _forget_oldest(self._nonces)
        return found

    def settle(self, order: Order) -> None:
        """The claim was granted."""
        self._settled[order.uid, order.attempt] = None
        self._nonces.pop((order.uid, order.attempt), None)
        _forget_oldest(self._settled)

    def forget(self, order: Order) -> None:
        """The claim was refused: if the same attempt is offered again, it may be claimed again."""
        self._nonces.pop((order.uid, order.attempt), None)

    def is_settled(self, order: Order) -> bool:
        return (order.uid, order.attempt) in self._settled


class Agent:
    """Serves one pool's orders with one worker until it is told to leave, or a single order."""

    def __init__(
        self,
        identity: Identity,
        times: AgentTimes,
        bus: Bus,
        setup: Setup,
        pod: Pod = _NO_POD,
        now: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._pod = pod
        self._times = times
        self._bus = bus
        self._setup = setup
        self._now = now
        self._facts = FactPublisher(bus)
        self._status = WorkerStatus()
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._attempt: Attempt | None = None
        self._idle = asyncio.Event()
        """Set while no order is in hand, neither being claimed nor running."""
        self._idle.set()
        self._claims = Claims()
        self._termination_message: TerminationMessage | None = None
        self._facts_sent = 0
        self._heartbeats_sent = 0
        self._worker = setup.worker
        self._worker.on_log = self._on_log_line
        self._dependencies = Dependencies(
            worker=self._worker,
            worker_id=identity.worker,
            transfer=Transfer(patience=times.upload_patience.total_seconds()),
            scratch=identity.scratch,
            publish=self._publish_fact,
            now=now,
            cancel_grace=times.cancel_grace,
            cgroup=Cgroup(),
        )

    def leave(self) -> None:
        """SIGTERM: no new orders; what runs may end within the drain time, else it is handed back."""
        self._leaving.set()

    async def run(self) -> None:
        """Until `leave`."""
        await self._run_until_left(self._serve())

    async def run_once(self, order: Order, traceparent: str = "") -> TerminationMessage:
        """Serves one order and no other. Its termination message is also written in the pod, as soon as it is known."""
        self._idle.clear()
        message = await self._run_until_left(self._serve_one(order, traceparent))
        return message or self._termination_message or termination.stopped_before_claim(order, self._identity.worker)

    async def _run_until_left(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`; None when it had to be given up on SIGTERM."""
        heartbeats = asyncio.create_task(self._send_heartbeats())
        publisher = asyncio.create_task(self._facts.run())
        serving = asyncio.create_task(work)
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await self._drain()
        finally:
            await _end(serving)
            await self._setup.close()
            await self._facts.flush(1)
            await _end(leaving, publisher, heartbeats)
            self._set_state(WorkerState.DRAINING)
            await self._send_heartbeat()  # the last heartbeat: draining, and without a job
        # A defect of the agent ends the process with a traceback.
        return None if serving.cancelled() else serving.result()

    # ── setup ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self) -> None:
        await self._get_ready()
        consumer = Consumer(
            stream=streams.WORK,
            durable=self._identity.pool,
            filter_subject=subjects.pool_work(self._identity.pool),
            batch=1,  # an order in hand is one that no other worker can take
            ack_wait=_ACK_WAIT,
        )
        await self._bus.consume(consumer, self._on_delivery)

    async def _get_ready(self) -> None:
        """Sets the child up, trying again for ever: what is missing may be mounted or installed meanwhile."""
        backoff = Backoff(1.0, self._times.retry_setup_at_most.total_seconds())
        while not self._leaving.is_set():
            self._set_state(WorkerState.STARTING)
            try:
                await self._setup.finish()
            except SetupFailed as error:
                log.error("setup failed", message=error.failure.message, tail=error.failure.log_tail)  # noqa: TRY400 -- theirs
                self._set_state(WorkerState.BROKEN, message=error.failure.message[:512])
            else:
                self._set_state(WorkerState.READY)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._leaving.wait()

    async def _serve_one(self, order: Order, traceparent: str) -> TerminationMessage:
        """The claim comes first, then the setup: a setup that fails is then the attempt's failure, and is reported."""
        try:
            with self._span_of(order, traceparent) as span:
                match await self._claim(order):
                    case None if self._leaving.is_set():
                        message = termination.stopped_before_claim(order, self._identity.worker)
                    case None:
                        patience = self._times.claim_patience.total_seconds()
                        message = termination.claim_unanswered(order, self._identity.worker, patience)
                    case ClaimRefused() as refused:
                        message = termination.from_refusal(order, self._identity.worker, refused)
                    case Grant() as grant:
                        return termination.from_report(await self._run_attempt(order, grant, span))
            log.warning("order not run", job=order.name, attempt=order.attempt, why=message.message)
            self._leave_message(message)
            return message
        finally:
            self._idle.set()

    def _leave_message(self, message: TerminationMessage) -> None:
        self._termination_message = message
        self._pod.write_termination_message(message)

    # ── orders ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_delivery(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            try:
                order = Order.model_validate_json(delivery.data)
            except ValidationError as error:
                log.warning("order unreadable", subject=delivery.subject, error=str(error))
                await delivery.term()
                continue
            self._idle.clear()
            try:
                await self._on_order(order, delivery)
            finally:
                self._idle.set()

    async def _on_order(self, order: Order, delivery: Delivery) -> None:
        if self._leaving.is_set():
            await delivery.nak()
            return
        if self._claims.is_settled(order):
            await delivery.ack()
            return
        with self._span_of(order, delivery.traceparent) as span:
            match await self._claim(order):
                case None:
                    log.warning("claim unanswered, order handed back", job=order.name, attempt=order.attempt)
                    await delivery.nak(_HAND_BACK_DELAY)
                    return
                case ClaimRefused(reason=reason):
                    log.info("claim refused", job=order.name, attempt=order.attempt, reason=reason)
                    self._claims.forget(order)
                    await delivery.ack()
                    return
                case Grant() as grant:
                    self._claims.settle(order)
                    await delivery.ack()
                    await self._run_attempt(order, grant, span)
        if self._worker.pid is None and not self._leaving.is_set():
            await self._get_ready()
        else:
            self._set_state(WorkerState.READY)

    def _span_of(self, order: Order, traceparent: str) -> AbstractContextManager[telemetry.Span]:
        """Of one attempt, in the trace of its job. An order that names none belongs to the trace of its uid."""
        about = telemetry.job_attributes(order.namespace, order.name, order.uid, order.attempt)
        return telemetry.span(
            "attempt",
            parent=traceparent or trace.of_uid(order.uid),
            kind=telemetry.Kind.CONSUMER,
            **about,
            **{"auteur.worker": self._identity.worker},
        )

    async def _claim(self, order: Order) -> Grant | ClaimRefused | None:
        with telemetry.span("claim") as span:
            reply = await self._ask_for(order)
            if isinstance(reply, ClaimRefused):
                span.set(**{"auteur.refusal": reply.reason})
            elif reply is None:
                span.fail("nobody answered")
            return reply

    async def _ask_for(self, order: Order) -> Grant | ClaimRefused | None:
        request = ClaimRequest(
            namespace=order.namespace,
            name=order.name,
            uid=order.uid,
            attempt=order.attempt,
            worker=self._identity.worker,
            nonce=self._claims.nonce(order),
        )
        loop = asyncio.get_running_loop()
        until = loop.time() + self._times.claim_patience.total_seconds()
        while loop.time() < until and not self._leaving.is_set():
            began = loop.time()
            with contextlib.suppress(Unavailable, ValidationError):
                reply = await self._bus.request(subjects.Claim(order.namespace), request, timeout=_CLAIM_TIMEOUT)
                return _REPLY.validate_json(reply)
            # "No responders" is answered at once, and the engine may only be starting: do not ask in a busy loop.
            await asyncio.sleep(max(0.0, 0.2 - (loop.time() - began)))
        return None

    async def _run_attempt(self, order: Order, grant: Grant, span: telemetry.Span) -> Report:
        """From grant to delivered report."""
        self._set_state(WorkerState.BUSY, order)
        attempt = self._attempt = Attempt(order, grant, self._dependencies)
        signal = subjects.CancelSignal(order.uid, order.attempt)
        listener = await self._bus.listen(signal, self._on_cancel)
        try:
            report = await attempt.run()
            span.set(**{"auteur.outcome": report.outcome})
            if report.failure is not None:
                span.fail(report.failure.message)
            # Before NATS has the report: that may take longer than this pod has left.
            self._leave_message(termination.from_report(report))
            with telemetry.span("report"):
                return await self._deliver(report)
        finally:
            self._attempt = None
            await listener.stop()

    async def _on_cancel(self, subject: str, _data: bytes) -> None:
        signal = subjects.parse(subject)
        attempt = self._attempt
        if isinstance(signal, subjects.CancelSignal) and attempt and attempt.key == (signal.uid, signal.attempt):
            attempt.stop(Stop.CANCELLED)

    async def _deliver(self, report: Report) -> Report:
        """Publishes until NATS has stored the report, and returns what it stored. An agent whose drain time is over
        gives up: the control plane then finds the worker lost. An attempt whose report is too large for NATS has
        failed."""
        subject = subjects.ReportOf(self._identity.pool, report.uid, report.attempt)
        while not self._abandoned.is_set():
            try:
                await self._bus.publish(
                    subject, report, msg_id=f"{report.uid}-{report.attempt}", patience=_REPORT_PATIENCE
                )
            except TooLarge as error:
                log.warning(
                    "report too large, reporting a failure instead",
                    job=report.name,
                    attempt=report.attempt,
                    error=str(error),
                )
                report = decisions.report_refused(report, error.message)
                self._leave_message(termination.from_report(report))
            except Unavailable as error:
                log.warning("report not delivered, retrying", job=report.name, attempt=report.attempt, error=str(error))
            else:
                log.info("attempt ended", job=report.name, attempt=report.attempt, outcome=report.outcome)
                break
        return report

    # ── heartbeats and facts ──────────────────────────────────────────────────────────────────────────────────────────

    def _set_state(self, state: WorkerState, order: Order | None = None, message: str = "") -> None:
        self._status = WorkerStatus(
            state=WorkerState.DRAINING if self._leaving.is_set() and order is None else state,
            uid=order.uid if order else "",
            attempt=order.attempt if order else 0,
            message=message,
        )
        self._pod.write_readiness(self._status.state)
        self._changed.set()

    async def _send_heartbeats(self) -> None:
        while True:
            self._changed.clear()
            await self._send_heartbeat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.heartbeat.total_seconds()):
                    await self._changed.wait()

    async def _send_heartbeat(self) -> None:
        self._heartbeats_sent += 1
        heartbeat = Heartbeat(
            worker=self._identity.worker,
            pool=self._identity.pool,
            runner=self._identity.runner,
            state=self._status.state,
            uid=self._status.uid,
            attempt=self._status.attempt,
            message=self._status.message,
            sequence=self._heartbeats_sent,
        )
        await self._bus.say(subjects.Heartbeat(self._identity.pool, self._identity.worker), heartbeat)

    def _publish_fact(self, order: Order, node_id: str, data: decisions.WorkerFact) -> None:
        self._facts_sent += 1
        self._facts.publish(
            decisions.fact_of(order, node_id, self._identity.worker, data, self._facts_sent, self._now())
        )

    def _on_log_line(self, line: protocol.Log) -> None:
        if self._attempt is not None:
            self._attempt.on_log_line(line)
        else:
            log.info("function output", stream=line.stream, line=line.line)

    # ── draining ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _drain(self) -> None:
        """The running job gets the drain time, then as long again to stop and be reported."""
        patience = self._times.drain.total_seconds()
        self._status.state = WorkerState.DRAINING  # it may still have its job
        self._pod.write_readiness(WorkerState.DRAINING)
        self._changed.set()
        if await self._becomes_idle(patience):
            return
        if self._attempt is not None:
            self._attempt.stop(Stop.DRAIN)
        await self._becomes_idle(self._times.cancel_grace.total_seconds() + patience)
        self._abandoned.set()

    async def _becomes_idle(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()


def _forget_oldest(remembered: OrderedDict[tuple[str, int], Any]) -> None:
    while len(remembered) > _REMEMBERED_ATTEMPTS:
        remembered.popitem(last=False)


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
