"""Every part of the studio is killed (-9) again and again: nothing accepted is lost, nothing is done twice."""

import json
import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.echo import LEDGER
from tests.support.stack import Stack, children_of, running
from tests.support.waiting import wait_for

JOBS = 210
WORKERS = 3
ROUNDS = 5
PARTS = ("child", "agent", "gateway", "engine", "nats", "store", "supervisor")


@dataclass
class Client:
    """Submits until told to stop. A submit counts as accepted when its 202 arrived; until then it is sent again."""

    url: str
    accepted: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=10) as client:
            for number in range(JOBS):
                if self.stopped.is_set():
                    return
                self._submit(client, f"chaos-{number}")

    def has_accepted(self, count: int) -> bool:
        return len(self.accepted) >= count

    def _submit(self, client: httpx.Client, name: str) -> None:
        body = {"function": "echo", "name": name, "params": {"text": name, "seconds": 0.2, "steps": 4}, "retries": 10}
        while not self.stopped.is_set():
            try:
                reply = client.post("/v1/generations", json=body, headers={"Idempotency-Key": name})
            except httpx.TransportError:
                self.stopped.wait(0.1)
                continue
            if reply.status_code == 202:
                self.accepted.append(name)
                return
            assert reply.status_code in (429, 503), reply.text
            self.stopped.wait(0.2)


def agents(stack: Stack) -> list[int]:
    return [part.pid for part in stack.state.parts if part.name.startswith("runner-echo") and part.pid]


def victim(stack: Stack, part: str) -> int | None:
    """The process to kill; None while the part has none."""
    match part:
        case "agent":
            return next(iter(agents(stack)), None)
        case "child":
            return next((child for agent in agents(stack) for child in children_of(agent)), None)
        case _:
            return stack.pid_of(part)


def strike(stack: Stack, part: str) -> None:
    def struck() -> bool:
        with suppress(OSError):  # died with its parent since we looked
            if pid := victim(stack, part):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    wait_for(struck, f"{part} to be there")
    if part == "supervisor":
        stack.up()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_no_accepted_job_is_lost_or_committed_twice_however_the_parts_die(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger"
    stack = Stack(tmp_path / "home", None, **{LEDGER: str(ledger), "AUTEUR_GATEWAY__QUEUE_LIMIT": "60"})
    stack.up()
    client = Client(stack.url)
    thread = threading.Thread(target=client.run, name="client")
    kills: Counter[str] = Counter()
    try:
        stack.add_echo(workers=WORKERS)
        stack.wait_until_ready("echo")
        thread.start()
        schedule = [part for _ in range(ROUNDS) for part in PARTS]
        random.Random(7).shuffle(schedule)
        for part in schedule:
            before = len(client.accepted)
            strike(stack, part)
            kills[part] += 1
            # Work goes on between two kills: that is what makes the next one hurt.
            wait_for(partial(client.has_accepted, min(before + 3, JOBS)), "submits to go on")
        thread.join(240)
        assert not thread.is_alive()
        views = wait_for(lambda: finished_views(stack, client.accepted), "every job to finish", seconds=240)
    finally:
        client.stopped.set()
        thread.join(20)
        stack.end()

    truth = engine_view(stack)
    executions = ledger.read_text().splitlines()
    attempts = Counter(tuple(line.split()[:2]) for line in executions)
    with capsys.disabled():
        print(f"\n  kills       {sum(kills.values())}  {dict(kills)}")
        print(f"  accepted    {len(client.accepted)}")
        print(f"  committed   {sum(view['status'] == 'done' for view in views.values())}")
        print(f"  executions  {len(executions)} (at most {len(client.accepted) + sum(kills.values())})")
    assert min(kills.values()) >= ROUNDS
    assert len(client.accepted) == JOBS == len(set(client.accepted))
    assert {name: view["status"] for name, view in views.items()} == dict.fromkeys(client.accepted, "done")
    assert max(attempts.values()) == 1, "one attempt is one execution"
    assert len(executions) <= JOBS + sum(kills.values())
    for name, view in views.items():
        assert seen_by_gateway(view) == truth[name], name


def finished_views(stack: Stack, names: list[str]) -> dict[str, dict[str, object]] | None:
    """The gateway's view of every job once all are finished."""
    views: dict[str, dict[str, object]] = {}
    with httpx.Client(base_url=stack.url, timeout=10) as client:
        for name in names:
            view = client.get(f"/v1/generations/{name}").json()
            if view["status"] not in ("done", "failed", "cancelled"):
                return None
            views[name] = view
    return views


def seen_by_gateway(view: dict[str, object]) -> tuple[object, ...]:
    outputs = view["outputs"]
    assert isinstance(outputs, list)
    return view["uid"], view["phase"], view["attempt"], tuple(output["sha256"] for output in outputs)


def engine_view(stack: Stack) -> dict[str, tuple[object, ...]]:
    """The truth, read from the engine's own database after everything has stopped."""
    connection = sqlite3.connect(stack.layout.engine_database)
    rows = [json.loads(text) for (text,) in connection.execute("SELECT resource FROM resources")]
    connection.close()
    return {
        row["metadata"]["name"]: (
            row["metadata"]["uid"],
            row["status"]["phase"],
            row["status"]["attempt"],
            tuple(output["sha256"] for output in row["status"]["outputs"]),
        )
        for row in rows
    }


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_a_lost_worker_shows_and_its_job_is_done_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        stack.add_echo()
        stack.wait_until_ready("echo")
        stack.submit(name="long", params={"seconds": 8, "steps": 80})
        wait_for(lambda: stack.call("GET", "/v1/generations/long")[1]["status"] == "running", "the job to run")
        strike(stack, "agent")

        def noticed() -> bool:
            _, view = stack.call("GET", "/v1/generations/long")
            return bool(view["phase"] != "Running" or view["attempt"] > 1)

        wait_for(noticed, "the loss to show")
        view = stack.finished("long")
        assert (view["status"], view["attempt"]) == ("done", 2)
