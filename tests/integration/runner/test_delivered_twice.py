"""1,000 orders, each delivered twice, run once: real agents with real children, a real engine, NATS and S3. How often a
function was entered is counted by itself, in a file.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from auteur_contracts import subjects
from auteur_contracts.orders import ClaimRequest, Order
from auteur_engine.settings import EngineSettings
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings
from auteur_kit.store import Store
from auteur_runner.describe import describe
from auteur_runner.function import Runner
from tests.integration.runner.test_agent import _agent
from tests.support.echo import LEDGER, Echo
from tests.support.engine import running_engine
from tests.support.scripted import Facts, echo_job, register, submit
from tests.support.waiting import eventually

ORDERS = 1000
WORKERS = 4


@pytest.fixture
async def engine(bus: Bus, store: Store, tmp_path: Path) -> AsyncIterator[None]:
    """One that gives out more orders than there are workers: they wait in the queue, where twins meet."""
    register(tmp_path / "runners", describe(Runner.of(Echo)))
    settings = EngineSettings(
        database=tmp_path / "engine.db", runners=tmp_path / "runners", secret=SecretStr("s"), max_active=WORKERS
    )
    async with running_engine(bus, store, settings):
        yield
    await store.delete_prefix("default/")


class Twins:
    """Hears every order as it is published, and publishes it once more. On a slow machine an order whose claim takes
    long is repeated by the engine besides: delivered twice is the least.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.delivered: Counter[tuple[str, int]] = Counter()

    async def hear(self, _subject: str, data: bytes) -> None:
        order = Order.model_validate_json(data)
        key = (order.uid, order.attempt)
        self.delivered[key] += 1
        if self.delivered[key] == 1:
            await self._bus.publish(
                subjects.Work(order.pool, order.uid), order, msg_id=f"twin-{order.uid}-{order.attempt}"
            )


@pytest.mark.timeout(240)
async def test_a_thousand_orders_delivered_twice_run_once(
    bus: Bus, fresh_nats: NatsSettings, engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER, str(ledger))
    twins, facts, claimed = Twins(bus), Facts(), Counter[str]()

    async def hear_claim(_subject: str, data: bytes) -> None:
        claimed[ClaimRequest.model_validate_json(data).uid] += 1

    await bus.listen(subjects.WORK, twins.hear)
    await bus.listen(subjects.CLAIMS, hear_claim)
    await bus.listen(subjects.EVENTS, facts.hear)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(WORKERS):
            name = f"echo-{number}"
            await stack.enter_async_context(
                _agent(fresh_nats, tmp_path, worker=name, scratch=tmp_path / "scratch" / name)
            )
        for number in range(ORDERS):
            await submit(bus, echo_job(f"twice-{number}"))

        def ended() -> list[str]:
            return [fact.id for fact in facts.seen if fact.data.fact in subjects.TERMINAL_FACTS]

        await eventually(lambda: len(ended()) >= ORDERS, "every job to end", seconds=200)

        async def queue_is_empty() -> bool:
            return (await bus.js.stream_info("WORK")).state.messages == 0

        await eventually(queue_is_empty, "the last twins to be taken")
    entered = Counter(line.rsplit(" ", 1)[0] for line in ledger.read_text().splitlines())
    assert len(twins.delivered) == ORDERS
    assert min(twins.delivered.values()) >= 2
    assert sum(count > 1 for count in claimed.values()) > ORDERS / 4, "twins were asked for by other workers"
    assert len(entered) == ORDERS
    assert set(entered.values()) == {1}, [key for key, count in entered.items() if count > 1]
    assert {attempt for _, attempt in twins.delivered} == {1}
    assert len(ended()) == len(set(ended())) == ORDERS
    assert {fact.data.fact for fact in facts.seen if fact.data.fact in subjects.TERMINAL_FACTS} == {
        subjects.Fact.SUCCEEDED
    }
