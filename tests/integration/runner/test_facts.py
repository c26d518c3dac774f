"""Facts on their way to NATS: in order, and when too many wait the newest are the ones that count."""

import asyncio
import contextlib
from datetime import UTC, datetime

from auteur_contracts.events import Envelope, Logged, Progressed, Started
from auteur_contracts.orders import Order
from auteur_contracts.resources import Progress
from auteur_contracts.subjects import EVENTS
from auteur_kit.bus import Bus
from auteur_runner.agent.decisions import WorkerFact, fact_of
from auteur_runner.agent.facts import FactPublisher
from tests.support.scripted import Facts as Heard
from tests.support.waiting import eventually

ORDER = Order(namespace="default", project="film", name="alley", uid="u1", attempt=1, pool="echo")
STEPS = 1000


def facts() -> list[WorkerFact]:
    steps = (Progress(phase="draw", step=step, steps=STEPS, fraction=step / STEPS) for step in range(1, STEPS + 1))
    return [
        Started(attempt=1, worker="echo-1"),
        Logged(attempt=1, stream="log", line="hello"),
        *(Progressed(attempt=1, progress=progress) for progress in steps),
    ]


def envelopes() -> list[Envelope]:
    return [fact_of(ORDER, "", "echo-1", data, number, datetime.now(UTC)) for number, data in enumerate(facts())]


async def test_of_too_many_facts_the_oldest_progress_is_dropped(bus: Bus) -> None:
    heard = Heard()
    await bus.listen(EVENTS, heard.hear)
    waiting = FactPublisher(bus)
    for envelope in envelopes():  # nobody sends yet, as while NATS is away
        waiting.publish(envelope)
    sending = asyncio.create_task(waiting.run())
    await waiting.flush(20)
    await eventually(lambda: len(heard.seen) >= 500, "what was kept")
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    assert heard.of("alley")[:2] == ["started", "logged"]
    steps = [fact.data.progress.step for fact in heard.seen if isinstance(fact.data, Progressed)]
    assert steps == list(range(STEPS - 498 + 1, STEPS + 1))


async def test_what_cannot_be_sent_in_time_is_left(bus: Bus) -> None:
    waiting = FactPublisher(bus)
    await waiting.flush(0.1)  # nothing waits
    waiting.publish(envelopes()[0])
    began = asyncio.get_running_loop().time()
    await waiting.flush(0.1)  # nobody sends
    assert asyncio.get_running_loop().time() - began < 5
